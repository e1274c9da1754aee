"""`xtrace show`."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from xtrace.capture.index import BlockRecord
from xtrace.capture.reader import Run
from xtrace.tools.show import Wanted

ALL = Wanted(nodes=None, kinds=None, types=None, from_us=None, to_us=None, first_step=None, last_step=None)


def rows(answer):
    assert answer.status == 0, answer.err
    return [json.loads(line) for line in answer.out.splitlines()]


def test_a_line_has_everything_a_row_has(xtrace, recorded):
    answer = xtrace("show", recorded, "--step", 3)
    lines = answer.out.splitlines()
    assert answer.err == ""
    assert len(lines) == 4
    assert lines[0].split()[1:9] == ["3", "0.002000s", "input", "listener", "talker", "->", "listener", "word"]
    assert lines[0].endswith("late 1000us")
    assert '"nan":{"$float":"nan"}' in lines[0]
    assert '"bytes":{"$bytes":"AAE="}' in lines[0]
    assert '"$$key":1' in lines[0]
    assert lines[-1].split()[2:] == ["0.003000s", "step"]


def test_nothing_that_a_terminal_obeys_is_printed(xtrace, recorded):
    for options in ([], ["--json"]):
        text = xtrace("show", recorded, *options).out
        assert all(each.isprintable() or each == "\n" for each in text)
        assert "\\u001b[31mred" in text


def test_json_is_a_line_per_row(xtrace, recorded):
    found = rows(xtrace("show", recorded, "--json", "--limit", 0))
    assert [row["seq"] for row in found] == list(range(397))
    assert list(found[0]) == [
        *("seq", "step", "time_us", "kind", "node", "src", "dst", "type", "late_us", "payload", "object", "cause")
    ]
    heard = next(row for row in found if row["type"] == "heard")
    said = found[heard["cause"][0]]
    assert said["payload"]["value"] == heard["payload"]["value"] == 1


@pytest.mark.parametrize(
    ("options", "check"),
    [
        (["--node", "talker"], lambda row: row["node"] == "talker"),
        (["--node", "talker", "--node", "listener"], lambda row: row["node"] in ("talker", "listener")),
        (["--kind", "input"], lambda row: row["kind"] == "input"),
        (["--type", "heard"], lambda row: row["type"] == "heard"),
        (["--from", "20ms", "--to", "30ms"], lambda row: 20_000 <= row["time_us"] < 30_000),
        (["--step", "7"], lambda row: row["step"] == 7),
        (["--step", "7:9"], lambda row: 7 <= row["step"] <= 9),
        (["--step", "90:"], lambda row: row["step"] >= 90),
        (["--node", "listener", "--kind", "output", "--from", "0.05s"], lambda row: (
            row["node"] == "listener" and row["kind"] == "output" and row["time_us"] >= 50_000
        )),
    ],
)  # fmt: skip
def test_filters_give_the_wanted_rows_and_no_other(options, check, xtrace, recorded):
    wanted = [row for row in rows(xtrace("show", recorded, "--json")) if check(row)]
    assert wanted
    assert rows(xtrace("show", recorded, "--json", *options)) == wanted


def test_only_blocks_that_can_hold_wanted_rows_are_read():
    record = BlockRecord(0, 0, 1, 1, 0, 10, 20, 1000, 2000, b"", b"")
    assert ALL.may_be_in(record)
    for wanted in ({"from_us": 2000}, {"to_us": 1001}, {"first_step": 20}, {"last_step": 10}):
        assert ALL._replace(**wanted).may_be_in(record)
    for unwanted in ({"from_us": 2001}, {"to_us": 1000}, {"first_step": 21}, {"last_step": 9}):
        assert not ALL._replace(**unwanted).may_be_in(record)


def test_a_limit_is_told(xtrace, recorded):
    answer = xtrace("show", recorded, "--limit", 3)
    assert len(answer.out.splitlines()) == 3
    assert answer.err == "… more than 3 rows; --limit 0 shows all\n"
    assert xtrace("show", recorded, "--limit", 397).err == ""


def test_no_match_is_an_answer(xtrace, recorded):
    assert xtrace("show", recorded, "--type", "nothing") == (0, "", "no event matches\n")
    assert xtrace("show", recorded, "--type", "word", "--step", 9999) == (0, "", "no event matches\n")


def test_a_type_that_nobody_sent_is_answered_with_the_nearest(xtrace, recorded):
    answer = xtrace("show", recorded, "--type", "wrod")
    assert answer == (0, "", "no event matches; did you mean --type word?\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--node", "taker"], "unknown node 'taker'; did you mean 'talker'?"),
        (["--kind", "inptu"], "unknown kind 'inptu'; did you mean 'input'?"),
        (["--from", "5"], "write 5us, 5ms or 5s"),
        (["--to", "soon"], "'soon' is not a duration"),
        (["--step", "x"], "'x' is not a step such as 7"),
        (["--step", "1:x"], "'1:x' is not a step"),
        (["--step", "5:3"], "5:3 ends before it begins; give 3:5"),
        (["--from", "30ms", "--to", "10ms"], "--to: 10ms is not after --from 30ms"),
        (["--from", "10ms", "--to", "10ms"], "--to: 10ms is not after --from 10ms"),
        (["--to", "0s"], "--to: 0s is not after the beginning of the run"),
        (["--step", "9" * 30], "is not a step"),
        (["--limit", "-1"], "must be 0 or more"),
    ],
)
def test_wrong_filters_are_explained(options, message, xtrace, recorded):
    answer = xtrace("show", recorded, *options)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err


def test_a_failed_step_shows_its_abort(xtrace, failed):
    (row,) = rows(xtrace("show", failed, "--json", "--kind", "abort"))
    assert row["node"] == "talker"
    assert "out of" in row["payload"]["reason"]


def test_a_point_in_time_is_a_step(xtrace, recorded):
    """The step in which it lies; where nothing happened, the last one before it, which is said."""
    run = Run.open(recorded)
    step_us = run.manifest["step_us"]
    steps = sorted({stored.row.step for stored in run.rows()})
    step = steps[len(steps) // 2]
    at = xtrace("show", recorded, "--at", f"{(step - 1) * step_us}us", "--json")
    assert {step} == {row["step"] for row in rows(at)}
    assert xtrace("show", recorded, "--step", step, "--json").out == at.out
    after = xtrace("show", recorded, "--at", "1000s", "--json")
    assert {steps[-1]} == {row["step"] for row in rows(after)}
    assert f"this is step {steps[-1]}, the last before it" in after.err


def test_a_point_in_time_needs_one_block(xtrace, recorded, monkeypatch):
    monkeypatch.setattr("xtrace.capture.writer.BLOCK_MIN_ROWS", 20)
    monkeypatch.setattr("xtrace.capture.writer.BLOCK_MAX_ROWS", 20)
    copy = recorded.parent / "blocks"
    assert xtrace("record", "smoke", "-o", copy).status == 0
    run, read = Run.open(copy), []
    assert len(run.blocks) > 5
    original = Run.read_block
    monkeypatch.setattr(Run, "read_block", lambda self, block: (read.append(block), original(self, block))[1])
    assert xtrace("show", copy, "--at", "50ms").out
    assert 0 < len(read) <= 2


def test_an_open_run_is_shown_as_far_as_it_is(xtrace, recorded, tmp_path):
    """Its recording was killed here: there is no seal, and nobody holds the lock."""
    shutil.copytree(recorded, tmp_path / "open")
    (tmp_path / "open" / "SEAL").unlink()
    answer = xtrace("show", tmp_path / "open", "--follow", "--json")
    assert xtrace("show", recorded, "--json").out == answer.out
    assert "the recording was killed; to make a run of it: xtrace recover" in answer.err
    few = xtrace("show", tmp_path / "open", "--limit", 3, "--kind", "input", "--json")
    assert xtrace("show", recorded, "--limit", 3, "--kind", "input", "--json").out == few.out
    assert xtrace("show", tmp_path / "open", "--at", "1ms").status == 2
    assert xtrace("show", tmp_path / "open", "--node", "nobody").status == 2


def test_a_recording_is_followed_to_its_end(xtrace, xtrace_command, tmp_path):
    """Started while it is being recorded, and every row comes once."""
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from xtrace.engine.model import Model\n"
        "class Slow(Model):\n"
        "    def on_init(self):\n"
        "        self.schedule_periodic(1000, self.tick)\n"
        "    def tick(self):\n"
        "        time.sleep(0.004)\n"
        "        self.observe('tick', None)\n"
    )
    (tmp_path / "slow.yaml").write_text(
        "{duration: 400ms, step: 1ms, network: {model: direct}, nodes: "
        "[{id: slow, type: t, implementation: python_model, model: 'slow.py:Slow'}]}"
    )
    out = tmp_path / "run"
    recording = subprocess.Popen(
        xtrace_command("record", tmp_path / "slow.yaml", "-o", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (out / "events.tail").exists() and recording.poll() is None:
        time.sleep(0.01)
    following = subprocess.run(
        xtrace_command("show", out, "--follow", "--json"), capture_output=True, text=True, timeout=60, check=True
    )
    assert not (out / "events.tail").exists(), "it ended when the recording did"
    assert recording.wait(timeout=60) == 0
    recording.communicate()
    assert xtrace("show", out, "--json").out == following.stdout
