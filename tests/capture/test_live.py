"""A run that is being recorded is read as far as it is, and followed to its end."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.capture.runs import ABOUT, NODES, busy_rows, small_blocks, write
from tests.capture.test_recover import flip

from xtrace.capture.blocks import StoredRow, stored_rows
from xtrace.capture.index import HEADER_BYTES
from xtrace.capture.live import LiveRun
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import CorruptionError, InputError


@pytest.fixture
def writer(tmp_path, monkeypatch) -> RunWriter:
    small_blocks(monkeypatch, 40)
    return RunWriter(tmp_path / "run", node_ids=NODES, about=ABOUT)


def seen(live: LiveRun) -> list[StoredRow]:
    return [row for batch in live.new_batches() for row in stored_rows(batch)]


def flush(writer: RunWriter) -> None:
    """Write the journal, as the timer does: at its second look."""
    writer.flush()
    writer.flush()


@pytest.mark.parametrize("seed", range(5))
def test_every_row_comes_once_and_in_order(tmp_path, writer, seed):
    """However reading, flushing and writing take turns, and across the end of the recording."""
    rows, draw = busy_rows(80), random.Random(seed)
    live, found, written = LiveRun(tmp_path / "run"), [], 0
    while written < len(rows):
        count = draw.randrange(1, 30)
        write(writer, rows[written : written + count])
        written += count
        if draw.random() < 0.7:
            flush(writer)
            found += seen(live)
            assert rows[: min(written, len(rows))] == found
            assert (True, False) == (live.is_recording, live.is_closed)
    writer.close("complete")
    found += seen(live)
    assert rows == found
    assert (False, True) == (live.is_recording, live.is_closed)
    assert [] == seen(live)


def test_a_block_that_is_cut_between_two_looks(tmp_path, writer, monkeypatch):
    """The journal is read first: what it held may stand in a block by the time the index is read."""
    rows = busy_rows(80)
    live, original = LiveRun(tmp_path / "run"), LiveRun._frames
    write(writer, rows[:10])
    flush(writer)

    def frames_then_more(self: LiveRun) -> object:
        found = original(self)
        write(writer, rows[10:100])
        flush(writer)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(LiveRun, "_frames", frames_then_more)
        first = seen(live)
    assert rows[: len(first)] == first
    assert rows[:100] == first + seen(live)
    writer.discard()


def test_rows_that_are_in_no_frame_are_not_there_yet(tmp_path, writer):
    write(writer, busy_rows(2))
    live = LiveRun(tmp_path / "run")
    assert [] == seen(live)
    flush(writer)
    assert busy_rows(2) == seen(live)
    writer.discard()


def test_damage_is_not_shown_as_rows(tmp_path, writer):
    """A block is verified against its record, a frame against its checksum, the head against the header."""
    write(writer, busy_rows(60))
    live = LiveRun(tmp_path / "run")
    size = (tmp_path / "run" / "events.arrow").stat().st_size
    flip(tmp_path / "run" / "events.arrow", size - 100)
    with pytest.raises(CorruptionError, match="the checksum is wrong"):
        seen(live)
    flip(tmp_path / "run" / "events.arrow", 500)
    with pytest.raises(CorruptionError, match="schema and vocabulary"):
        LiveRun(tmp_path / "run")
    flip(tmp_path / "run" / "events.index", HEADER_BYTES - 1)
    with pytest.raises(CorruptionError, match="the checksum of the header"):
        LiveRun(tmp_path / "run")
    flip(tmp_path / "run" / "manifest.json", 30)
    with pytest.raises(CorruptionError, match=r"manifest.json"):
        LiveRun(tmp_path / "run")
    writer.discard()


def test_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match="not a run"):
        LiveRun(Path(tmp_path))
