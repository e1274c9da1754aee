"""A run that was made of a damaged one: every command works on it, and says what it does not know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from xtrace.capture.reader import Run

from .front_door import here  # noqa: TID252  # tests have no name to be imported by


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert here("record", "smoke", "-o", folder, "--duration", "12s").status == 0
    assert len(Run.open(folder).blocks) > 2
    return folder


@pytest.fixture(scope="module")
def damaged(whole) -> Path:
    """The whole run with a changed byte in its second block."""
    folder = whole.parent / "damaged"
    shutil.copytree(whole, folder)
    record = Run.open(folder).blocks[1]
    with (folder / "events.arrow").open("r+b") as file:
        file.seek(record.offset + record.length // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    return folder


@pytest.fixture(scope="module")
def recovered(damaged) -> Path:
    folder = damaged.parent / "recovered"
    answer = here("recover", damaged, "-o", folder)
    assert answer.status == 2, "something is lost"
    return folder


def test_recover_says_what_is_lost(damaged, recovered, whole, tmp_path):
    record = Run.open(whole).blocks[1]
    found = here("recover", damaged, "-o", tmp_path / "again", "--json").json
    (hole,) = found["holes"]
    assert (record.first_step, record.last_step) == (hole["first_step"], hole["last_step"])
    assert (record.rows, record.length) == (hole["rows"], hole["bytes"])
    assert Run.open(whole).events - record.rows == found["events"]
    assert (None, "recovered", [], 0) == (found["fingerprint"], found["status"], found["lost"], found["torn_bytes"])


def test_what_is_left_is_valid(recovered, whole):
    record = Run.open(whole).blocks[1]
    assert here("verify", recovered).status == 0
    info = here("info", recovered)
    assert f"holes           steps {record.first_step} to {record.last_step}" in info.out
    assert "none: rows are missing" in info.out
    assert here("show", recovered, "--step", record.first_step).out == ""
    assert here("show", recovered, "--step", record.last_step + 1).out != ""
    counted = here("query", recovered, "SELECT count(*) AS rows FROM events", "--format", "csv").out
    assert f"rows\n{Run.open(whole).events - record.rows}\n" == counted


def test_a_node_is_replayed_up_to_the_hole(recovered, whole):
    """What comes after it depends on inputs that are lost."""
    assert here("replay", recovered, "--all").status == 2, "it was not recorded here"
    replayed = here("replay", recovered, "--all", "--trust", "--json")
    assert replayed.status == 0
    first_lost = Run.open(whole).blocks[1].first_step
    assert all(0 < each["steps"] < first_lost for each in replayed.json["nodes"].values() if each["inputs"])


def test_it_is_the_same_as_nothing(recovered, whole, tmp_path):
    """Not even as a copy of itself: nobody knows what is missing."""
    shutil.copytree(recovered, tmp_path / "copy")
    for other in (whole, tmp_path / "copy"):
        answer = here("diff", recovered, other, "--json")
        assert (1, False) == (answer.status, answer.json["identical"])


def test_a_run_that_lacks_nothing_is_itself(whole, tmp_path):
    assert here("recover", whole, "-o", tmp_path / "copy").status == 0
    assert here("diff", whole, tmp_path / "copy").status == 0
