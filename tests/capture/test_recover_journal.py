"""What stands in the journal of a killed recorder is recovered frame by frame, whatever happened to the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.capture.runs import busy_rows, small_blocks
from tests.capture.test_recover import KILLED_ROWS, STEPS, flip, kill, recovered

from xtrace.capture.blocks import StoredRow


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    small_blocks(monkeypatch, 40)


@pytest.fixture
def rows() -> list[StoredRow]:
    return busy_rows(STEPS)


@pytest.fixture
def killed(tmp_path, rows) -> Path:
    return kill(tmp_path, rows[:KILLED_ROWS])


def frames_of(tail: Path) -> list[tuple[int, int]]:
    """Return where the frames of a journal begin, and how long they are."""
    data, offset, found = tail.read_bytes(), 16, []
    while offset < len(data):
        length = 8 + int.from_bytes(data[offset : offset + 4], "little")
        found.append((offset, length))
        offset += length
    return found


@pytest.mark.parametrize("place", [0, 2, 5, 20])
def test_a_damaged_frame_is_a_hole_and_the_later_ones_are_kept(tmp_path, rows, place):
    """Its length, its checksum or its content: what comes after it is found."""
    source = kill(tmp_path, rows[:KILLED_ROWS], flushes=20)
    frames = frames_of(source / "events.tail")
    assert len(frames) > 3
    flip(source / "events.tail", frames[1][0] + place)
    recovery, found = recovered(source)
    (hole,) = recovery.holes
    assert [row for row in rows[:KILLED_ROWS] if row in found] == found
    assert rows[KILLED_ROWS - 1] in found
    assert KILLED_ROWS - len(found) == hole.rows
    assert "events.tail: the checksum of a frame is wrong" in hole.reason
    assert ["events.tail"] == [each.file.name for each in recovery.lost]


def test_a_damaged_last_frame_is_told(tmp_path, rows):
    source = kill(tmp_path, rows[:KILLED_ROWS], flushes=20)
    flip(source / "events.tail", frames_of(source / "events.tail")[-1][0] + 12)
    recovery, found = recovered(source)
    assert rows[: len(found)] == found
    assert ["events.tail"] == [each.file.name for each in recovery.lost]


def test_a_damaged_header_of_the_journal_costs_nothing(killed, rows):
    flip(killed / "events.tail", 3)
    recovery, found = recovered(killed)
    assert rows[:KILLED_ROWS] == found
    assert ((), ["events.tail"]) == (recovery.lost, [each.file.name for each in recovery.mended])


def test_a_killed_run_without_its_manifest_has_all_of_its_rows(killed, rows):
    """The vocabulary stands in the head of the log too."""
    (killed / "manifest.json").unlink()
    recovery, found = recovered(killed)
    assert rows[:KILLED_ROWS] == found
    assert ((), ["manifest.json"]) == (recovery.holes, [each.file.name for each in recovery.lost])


def test_a_frame_that_lies_is_left_out(killed, monkeypatch):
    """Its checksum is right and its content is none of this run."""
    import zlib

    import msgpack

    def frame(content: object) -> bytes:
        body = msgpack.packb(content)
        length = len(body).to_bytes(4, "little")
        return length + zlib.crc32(body, zlib.crc32(length)).to_bytes(4, "little") + body

    good = (killed / "events.tail").read_bytes()
    kept = recovered(killed)[1]
    seq = len(kept)
    runs = [[10_000, "step", 1]]
    columns = [[1], [""], [""], [""], [""], [0], [b""], [], [0], []]
    for content in (
        [],
        7,
        [seq],
        [-1, runs, *columns],
        ["0", runs, *columns],
        [seq, [[1, "step", 2**40]], *columns],
        [seq, [[1, "no kind", 1]], *columns],
        [seq, runs, [2**63], *columns[1:]],
        [seq, runs, [1], ["nobody"], *columns[2:]],
        [seq, runs, *columns[:8], [5], []],
        [seq, runs, *columns[:8], [-1], []],
        [seq, runs, *columns[:6], ["text"], *columns[7:]],
        [seq, runs, *columns[:7], [[0, 5]], *columns[8:]],
    ):
        (killed / "events.tail").write_bytes(good + frame(content))
        assert kept == recovered(killed)[1], content
    (killed / "events.tail").write_bytes(good + frame([seq, runs, *columns]))
    assert len(kept) + 1 == len(recovered(killed)[1]), "an honest one comes through"
