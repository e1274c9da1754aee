"""A run is written on a disk on which everything goes wrong: what was acknowledged survives, and nothing is made up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.capture import schedules
from tests.capture.schedules import broken_schedules, small_files
from tests.capture.simulated_disk import SimulatedDisk

from xtrace.capture.disk import LogFile
from xtrace.capture.log import EventLog
from xtrace.capture.recover import recover
from xtrace.capture.remains import Remains
from xtrace.capture.tail import TailWriter
from xtrace.capture.writer import RunWriter

CAMPAIGN = 100_000
SLICE = 500
SAMPLE = 2_000
MEMORY = Path("/dev/shm")
PLANT_SEEDS = 1_500
"""After how many schedules at the latest a planted fault has to be found."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: a disk that is waited for would only make the tests slow."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    small_files(monkeypatch)
    monkeypatch.setattr(schedules, "SEEN", set())
    return monkeypatch


def check_slice(first: int, place: Path) -> None:
    found, ends = broken_schedules(range(first, first + SLICE), place, at_most=5)
    assert found == [], "\n".join(found)
    assert {"closed", "salvaged", "refused", "killed", "power lost", "nothing begun"} == set(ends)
    assert min(ends.values()) > SLICE // 100, ends


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("first", range(0, SAMPLE, SLICE))
def test_what_was_acknowledged_survives(first, place):
    """Short writes, a full disk, errors, kills and losses of power, at any call."""
    check_slice(first, place)


@pytest.mark.campaign
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("first", range(SAMPLE, CAMPAIGN, SLICE))
def test_what_was_acknowledged_survives_every_schedule(first, place):
    """The same, fifty times as often."""
    check_slice(first, place)


def clear_tail_first(cut_block, writer):
    writer._tail.clear()
    cut_block(writer)


def write_once(file, data):
    file._disk.write(file._file, memoryview(data))
    file._running.update(data)
    file.size += len(data)


def remove_journal_after(source, out):
    done = recover(source, out)
    (source / "events.tail").unlink(missing_ok=True)
    return done


def nothing(*_, **__):
    pass


FAULTS = {
    "files are not synced": (LogFile, "sync", nothing),
    "blocks are not synced": (EventLog, "sync", nothing),
    "names are not synced": (SimulatedDisk, "sync_folder", nothing),
    "objects are not synced": (SimulatedDisk, "sync_file", nothing),
    "a block empties the journal before it is written": (
        RunWriter,
        "_cut_block",
        lambda writer, cut_block=RunWriter._cut_block: clear_tail_first(cut_block, writer),
    ),
    "short writes are taken for whole": (LogFile, "append", write_once),
    "what the disk refused is not cut off": (LogFile, "cut_back", nothing),
    "the journal is not read": (Remains, "_journal", lambda _: iter(())),
    "the journal is not written": (TailWriter, "write", nothing),
    "recovery changes its input": (schedules, "recover", remove_journal_after),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, small, place):
    """Each of these would lose or make up rows, some of them once in a thousand crashes."""
    target, name, replacement = FAULTS[fault]
    small.setattr(target, name, replacement)
    found, _ = broken_schedules(range(PLANT_SEEDS), place, at_most=1)
    assert found
