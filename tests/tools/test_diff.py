"""`xtrace diff`."""

from __future__ import annotations

import io
import json
import shutil

from xtrace.capture.reader import Run
from xtrace.golden.divergence import Comparison, Count, Divergence
from xtrace.tools import diff
from xtrace.tools.output import Console

SCREEN_LINES = 40


def test_equal_runs(xtrace, recorded, same):
    answer = xtrace("diff", recorded, same)
    assert answer.status == 0
    assert answer.out.startswith("identical (101 steps, 397 events; verified: every byte of both event logs)\n")
    comparison = json.loads(xtrace("diff", recorded, same, "--json").out)
    assert comparison["identical"] is True
    assert comparison["first_divergence"] is None
    assert comparison["nodes"] == {"listener": "same", "network": "same", "talker": "same"}


def test_the_first_divergence_is_told_in_the_words_of_the_system(xtrace, recorded, wrong):
    answer = xtrace("diff", recorded, wrong)
    assert answer.status == 1
    assert "step 51, virtual time 0.050000s, node talker\n" in answer.out
    assert "output word talker -> listener has another value\n" in answer.out
    assert "  field     $.value\n  expected  50\n  actual    -1\n" in answer.out
    assert "\nnodes\n  root        talker\n" in answer.out
    assert "note: node talker: config.wrong_at differs: 0 / 50" in answer.out
    assert f"next: xtrace show {wrong} --node talker --step 51\n" in answer.err


def test_json_has_what_scripts_rely_on(xtrace, recorded, wrong):
    answer = xtrace("diff", recorded, wrong, "--json")
    comparison = json.loads(answer.out)
    assert (answer.status, answer.err) == (1, "")
    assert comparison["identical"] is False
    first = comparison["first_divergence"]
    wanted = {key: first[key] for key in ("step", "time_us", "node", "kind", "type", "field", "expected", "actual")}
    assert wanted == {
        "step": 51, "time_us": 50_000, "node": "talker", "kind": "value", "type": "word",
        "field": "$.value", "expected": 50, "actual": -1,
    }  # fmt: skip
    assert comparison["nodes"] == {"listener": "propagated", "network": "propagated", "talker": "root"}
    assert {"counts", "notes", "verified"} <= set(comparison)


def test_one_node_can_be_asked_for(xtrace, recorded, wrong, same):
    assert xtrace("diff", recorded, wrong, "--node", "talker").status == 1
    assert xtrace("diff", recorded, same, "--node", "talker", "--node", "listener").status == 0
    answer = xtrace("diff", recorded, same, "--node", "taker")
    assert answer.status == 2
    assert "taker" in answer.err


def test_a_damaged_run_is_no_answer(xtrace, recorded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    log = copy / "events.arrow"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    answer = xtrace("diff", recorded, copy)
    assert (answer.status, answer.out) == (2, "")
    assert "events.arrow: block 0, offset" in answer.err


def test_a_run_and_its_beginning(xtrace, recorded, scenario_file):
    assert xtrace("record", scenario_file, "-o", "short", "--duration", "50ms").status == 0
    answer = xtrace("diff", recorded, "short", "--json")
    assert answer.status == 1
    first = json.loads(answer.out)["first_divergence"]
    assert (first["kind"], first["actual"]) == ("missing", None)
    assert "\nnodes, as far as both runs go\n" in xtrace("diff", recorded, "short").out


def test_the_text_stays_within_a_screen():
    """A thousand nodes and a thousand kinds of differences do not flood it."""
    value = {"text": "x\x1b" * 5000}
    divergence = Divergence(1, 2, "n1", "value", "t\n", "$.a", value, None, "output", "n1", "n2")
    nodes = {f"n{number}": ("root", "propagated", "same", "missing", "extra")[number % 5] for number in range(1000)}
    counts = tuple(Count(f"n{number}", "output", "t", "value", number) for number in range(1000))
    notes = tuple(f"note {number} " + "x" * 1000 for number in range(100))
    out = io.StringIO()
    diff._print_difference(
        Comparison(False, divergence, nodes, counts, "partial", notes), Console(out=out, err=io.StringIO())
    )
    lines = out.getvalue().splitlines()
    assert len(lines) < SCREEN_LINES
    assert max(map(len, lines)) < 500
    assert all(line.isprintable() for line in lines)
    assert "  … and 95 notes more: --json has them all" in lines
    assert "  root        n0, n10, n100, n105, n110, n115, n120, n125 and 192 more" in lines
    assert "     999  value  n999  output  t" in lines


def test_a_part_in_which_nothing_is_compared_is_no_verdict(xtrace, recorded, same, failed):
    answer = xtrace("diff", recorded, same, "--from", "30ms", "--to", "10ms")
    assert (answer.status, answer.out) == (2, "")
    assert "--to: 10ms is not after --from 30ms" in answer.err
    assert xtrace("diff", recorded, same, "--from", "99ms").status == 0
    for a, b, short in ((recorded, same, recorded), (recorded, failed, failed), (failed, recorded, failed)):
        answer = xtrace("diff", a, b, "--from", "1s" if short == recorded else "50ms")
        assert (answer.status, answer.out) == (2, "")
        assert f"--from: {short} ends at 0." in answer.err


def test_a_run_with_holes_is_not_the_same_as_itself(xtrace, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "damaged")
    record = Run.open(recorded).blocks[0]
    with (tmp_path / "damaged" / "events.arrow").open("r+b") as file:
        file.seek(record.offset + record.length // 2)
        file.write(b"????")
    assert xtrace("recover", "damaged", "-o", "holes").status == 2
    answer = xtrace("diff", "holes", "holes")
    assert answer.status == 1
    assert "rows are missing in holes (recovered run), so the runs can't be called identical\n" in answer.out
    assert "fingerprint" not in answer.out
