"""`xtrace recover`: what it prints, and what its exit status says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from xtrace.capture.reader import Run


@pytest.fixture
def damaged(recorded, tmp_path) -> Path:
    """A run with a changed byte in its only block."""
    shutil.copytree(recorded, tmp_path / "damaged")
    data = bytearray((tmp_path / "damaged" / "events.arrow").read_bytes())
    record = Run.open(recorded).blocks[0]
    data[record.offset + record.length // 2] ^= 1
    (tmp_path / "damaged" / "events.arrow").write_bytes(data)
    return tmp_path / "damaged"


def test_an_unsealed_run_lacks_nothing(xtrace, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "open")
    (tmp_path / "open" / "SEAL").unlink()
    answer = xtrace("recover", tmp_path / "open", "-o", tmp_path / "out")
    run = Run.open(recorded)
    assert answer.status == 0
    assert f"complete, {run.steps} steps, {run.events} events" in answer.out
    assert f"fingerprint  {run.fingerprint}\n" in answer.out
    assert "next: xtrace show" in answer.err


def test_a_hole_is_named(xtrace, damaged, tmp_path):
    answer = xtrace("recover", damaged, "-o", tmp_path / "out")
    assert answer.status == 2
    assert "recovered, 0 steps, 0 events" in answer.out
    assert "block 0: the checksum is wrong" in answer.out
    assert "fingerprint  none: rows are missing" in answer.out
    assert xtrace("verify", tmp_path / "out").status == 0


def test_a_lost_file_is_named(xtrace, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "damaged")
    (tmp_path / "damaged" / "timing.arrow").unlink()
    answer = xtrace("recover", tmp_path / "damaged", "-o", tmp_path / "out", "--json")
    found = json.loads(answer.out)
    (lost,) = found["lost"]
    assert (2, "complete", []) == (answer.status, found["status"], found["holes"])
    assert lost["file"].endswith("timing.arrow")


def test_nothing_is_overwritten_or_left(xtrace, damaged, recorded, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    for out, reason in (
        (tmp_path / "taken", "exists already; choose another folder with -o"),
        (tmp_path / "taken" / "file", "exists already; choose another folder with -o"),
        ("", "-o: is empty"),
        (damaged, "lies inside"),
        (recorded, "exists already; choose another folder with -o"),
    ):
        answer = xtrace("recover", damaged, "-o", out)
        assert answer.status == 2
        assert reason in answer.err
        assert "--force" not in answer.err
    assert ["file"] == [path.name for path in (tmp_path / "taken").iterdir()]
    assert xtrace("recover", tmp_path / "none", "-o", tmp_path / "out").status == 2
    assert not (tmp_path / "out").exists()
