"""`xtrace replay`."""

from __future__ import annotations

import io
import json
import shutil

import pytest

from xtrace.engine.errors import InputError
from xtrace.tools import replay
from xtrace.tools.output import Console


def test_one_node(xtrace, recorded):
    answer = xtrace("replay", recorded, "--node", "talker")
    assert answer.status == 0
    assert answer.out.startswith("talker: same (")
    assert "99 outputs" in answer.out


def test_every_node(xtrace, recorded):
    answer = xtrace("replay", recorded, "--all")
    assert answer.status == 0, answer.err
    assert [line.partition(" (")[0] for line in answer.out.splitlines()] == [
        *("listener: same", "network: same", "talker: same", "3 of 3 nodes the same")
    ]


def test_json(xtrace, recorded):
    answer = xtrace("replay", recorded, "--node", "talker", "--node", "listener", "--json")
    result = json.loads(answer.out)
    assert (answer.status, answer.err) == (0, "")
    assert result["identical"] is True
    assert list(result["nodes"]) == ["talker", "listener"]
    talker = result["nodes"]["talker"]
    assert (talker["identical"], talker["outputs"], talker["divergence"], talker["failure"]) == (True, 99, None, None)


def test_a_changed_node_diverges(xtrace, recorded):
    options = ["--node", "talker", "--with", "config.wrong_at=50"]
    answer = xtrace("replay", recorded, *options)
    assert answer.status == 1
    assert answer.out.startswith("talker: diverged (")
    assert "step 51, virtual time 0.050000s, node talker\n" in answer.out
    assert "  field     $.value\n  expected  50\n  actual    -1\n" in answer.out
    result = json.loads(xtrace("replay", recorded, *options, "--json").out)
    assert result["identical"] is False
    divergence = result["nodes"]["talker"]["divergence"]
    assert (divergence["step"], divergence["field"], divergence["actual"]) == (51, "$.value", -1)


def test_a_recorded_failure_that_happens_again_is_the_same(xtrace, failed):
    answer = xtrace("replay", failed, "--node", "talker")
    assert answer.status == 0, answer.err
    assert answer.out.startswith("talker: same: failed as recorded (")
    assert "out of \\x1b[31mwords" in answer.out
    result = json.loads(xtrace("replay", failed, "--node", "talker", "--json").out)["nodes"]["talker"]
    assert result["expected_failure"] is True
    assert result["failure"]["step"] == 11


def test_a_new_failure_is_a_difference(xtrace, recorded):
    answer = xtrace("replay", recorded, "--node", "talker", "--with", "config.fail_at=10")
    assert answer.status == 1
    assert "out of \\x1b[31mwords" in answer.out


def test_what_the_node_did_can_be_kept(xtrace, recorded, tmp_path):
    assert xtrace("replay", recorded, "--node", "talker", "-o", "again").status == 0
    assert xtrace("info", "again").status == 0
    assert xtrace("diff", recorded, "again", "--node", "talker").status == 0
    answer = xtrace("replay", recorded, "--all", "-o", "each")
    assert answer.status == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["listener", "network", "talker"]


def test_a_run_from_elsewhere_is_refused_until_it_is_trusted(xtrace, recorded, monkeypatch, tmp_path):
    monkeypatch.setenv("XTRACE_STATE_DIR", str(tmp_path / "state"))
    answer = xtrace("replay", recorded, "--node", "talker")
    assert (answer.status, answer.out) == (2, "")
    assert "was not recorded here" in answer.err
    assert f"xtrace replay {recorded} --node=talker --trust" in answer.err
    assert xtrace("replay", recorded, "--node", "talker", "--trust").status == 0
    assert xtrace("replay", recorded, "--node", "talker").status == 0


def test_a_run_moves(xtrace, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "moved")
    assert xtrace("replay", "moved", "--all").status == 0


@pytest.mark.parametrize("where", ["node 'logger': model", "model"])
def test_one_of_several_nodes_that_could_not_be_replayed_is_named_once(where):
    said = io.StringIO()
    replay._print("logger", InputError(where, "gone"), Console(out=io.StringIO(), err=said), several=True)
    assert said.getvalue() == "xtrace: node 'logger': model: gone\n"


def test_a_damaged_run_is_no_answer(xtrace, recorded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    log = copy / "events.arrow"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    answer = xtrace("replay", copy, "--all")
    assert answer.status == 2
    assert "events.arrow: block 0, offset" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--node", "taker"], "unknown node 'taker'; did you mean 'talker'?"),
        (["--all", "--with", "config.wrong_at=1"], "name exactly one with --node"),
        (["--node", "talker", "--with", "config.wrong_at"], "--with path=value, for example --with config.window=3"),
        ([], "one of the arguments --node --all is required"),
        (["--all", "--node", "talker"], "not allowed with"),
    ],
)
def test_wrong_options_are_explained(options, message, xtrace, recorded):
    answer = xtrace("replay", recorded, *options)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err


def test_a_part_in_which_nothing_is_compared_is_no_verdict(xtrace, recorded, failed):
    answer = xtrace("replay", recorded, "--all", "--from", "30ms", "--to", "10ms")
    assert (answer.status, answer.out) == (2, "")
    assert "--to: 10ms is not after --from 30ms" in answer.err
    assert xtrace("replay", recorded, "--node", "talker", "--from", "99ms").status == 0
    for run in (recorded, failed):
        answer = xtrace("replay", run, "--all", "--from", "1s")
        assert (answer.status, answer.out) == (2, "")
        assert f"--from: {run} ends at 0." in answer.err
