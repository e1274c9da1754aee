"""What is written is what is read, by xtrace and by every other Arrow reader, and is the same bytes every time."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.capture.runs import NODES, any_rows, busy_rows, make_run, small_blocks, write
from tests.conformance import reader

from xtrace.capture import layout
from xtrace.capture.blocks import BlockEncoder, split_head
from xtrace.capture.columns import Pending
from xtrace.capture.layout import Storage, ends_block, vocabulary
from xtrace.capture.reader import Run
from xtrace.capture.writer import RunWriter
from xtrace.engine.recorder import NETWORK


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@given(rows=any_rows(), block_rows=st.sampled_from([1, 3, 1_000]))
@settings(max_examples=60)
def test_rows_come_back_as_they_went_in(rows, block_rows):
    """Every field of every row, in order, whatever it holds and wherever blocks are cut."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, block_rows)
        folder = Path(name) / "run"
        fingerprint = make_run(folder, rows)
        run = Run.open(folder)
        assert rows == list(run.rows())
        assert (fingerprint, len(rows)) == (run.fingerprint, run.events)
        assert sum(each.row.kind == "step" for each in rows) == run.steps
        assert fingerprint == reader.check(folder).fingerprint


def test_bytes_are_equal_for_equal_rows(tmp_path, monkeypatch):
    """Two runs with equal rows differ in nothing but `timing.arrow`, and in the manifest that vouches for it."""
    small_blocks(monkeypatch, 50)
    for name in ("one", "two"):
        make_run(tmp_path / name, busy_rows(100))
    expected = ["SEAL", "events.arrow", "events.index", "manifest.json", "nodes.index", "timing.arrow"]
    assert expected == names_in(tmp_path / "one")
    for name in ("events.arrow", "events.index", "nodes.index"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_pyarrow_opens_the_event_log(tmp_path, monkeypatch):
    """An unmodified Arrow reader sees the file format, every batch and every row."""
    small_blocks(monkeypatch, 50)
    rows = busy_rows(100)
    make_run(tmp_path / "run", rows)
    with pa.ipc.open_file(str(tmp_path / "run" / "events.arrow")) as file:
        assert len(Run.open(tmp_path / "run").blocks) == file.num_record_batches > 3
        table = file.read_all()
    assert layout.schema() == table.schema
    assert [each.row.payload for each in rows] == table["payload"].to_pylist()
    assert [list(each.cause) for each in rows] == table["cause"].to_pylist()
    assert table.equals(Run.open(tmp_path / "run").table())


def test_polars_opens_the_event_log(tmp_path, monkeypatch):
    """So does a reader that shares no code with Arrow's, dictionaries included."""
    small_blocks(monkeypatch, 50)
    rows = busy_rows(100)
    make_run(tmp_path / "run", rows)
    frame = polars.read_ipc(tmp_path / "run" / "events.arrow")
    assert [each.row.node for each in rows] == frame["node"].cast(polars.String).to_list()
    assert [each.row.time_us for each in rows] == frame["time_us"].to_list()


def test_a_run_without_rows(tmp_path):
    """Interrupted before the first step: an empty log, closed, readable, with the fingerprint of nothing."""
    fingerprint = make_run(tmp_path / "run", [], status="interrupted")
    run = Run.open(tmp_path / "run")
    assert "xt1:sha256:" + hashlib.sha256().hexdigest() == fingerprint == run.fingerprint
    assert ([], [], 0, 0, "interrupted") == (list(run.rows()), run.blocks, run.events, run.steps, run.status)
    assert 0 == len(run.table())
    run.verify_raw()
    with pa.ipc.open_file(str(tmp_path / "run" / "events.arrow")) as file:
        assert 0 == file.num_record_batches
    assert [] == reader.check(tmp_path / "run").rows


def test_the_fingerprint_depends_on_rows_alone(tmp_path, monkeypatch):
    """Neither the cuts between blocks nor the compression are part of it."""
    rows = busy_rows(60)
    fingerprints = {make_run(tmp_path / "one", rows)}
    small_blocks(monkeypatch, 10)
    fingerprints.add(make_run(tmp_path / "cut", rows))
    for compression in ("none", "lz4"):
        storage = Storage(compression=compression)
        fingerprints.add(make_run(tmp_path / f"compressed_{compression}", rows, storage=storage))
        assert rows == list(Run.open(tmp_path / f"compressed_{compression}").rows())
    assert 1 == len(fingerprints)
    assert len({(tmp_path / name / "events.arrow").stat().st_size for name in ("one", "cut", "compressed_none")}) == 3


@pytest.mark.parametrize("field", ["step", "time_us", "kind", "node", "src", "dst", "type", "late_us", "payload"])
def test_every_field_is_part_of_the_fingerprint(tmp_path, field):
    """Planted: a change of one field of one row changes it; the causes and row numbers are left out on purpose."""
    rows = busy_rows(4)
    other = {"kind": "drop", "node": "z z", "src": "z z", "dst": "z z", "type": "new", "payload": b"\x01"}
    at = next(at for at, each in enumerate(rows) if each.row.kind == "output" and each.row.step == 4)
    value = other.get(field, 5)
    changed = list(rows)
    changed[at] = rows[at]._replace(row=rows[at].row._replace(**{field: value}))
    assert make_run(tmp_path / "a", rows) != make_run(tmp_path / "b", changed)
    uncaused = [each._replace(cause=()) for each in rows]
    assert Run.open(tmp_path / "a").fingerprint == make_run(tmp_path / "c", uncaused)


def test_words_can_not_run_into_one_another(tmp_path):
    """Lengths are part of the canonical form: moving a letter from one field to the next changes it."""
    first, end = busy_rows(1)[0], busy_rows(1)[-1]._replace(seq=1)
    one = first._replace(row=first.row._replace(type="xy", payload=b"z"))
    two = first._replace(row=first.row._replace(type="x", payload=b"yz"))
    assert make_run(tmp_path / "a", [one, end]) != make_run(tmp_path / "b", [two, end])


def test_a_known_fingerprint(tmp_path):
    """The canonical form is for all time: were it to change, `xt1` would have to."""
    fingerprint = make_run(tmp_path / "run", busy_rows(5))
    assert "xt1:sha256:5fd9a0a04606e981d653a8510c8e361b0ff01020f4c2f8b1ee6c743c2d0f80d0" == fingerprint


def cuts(tmp_path, rows, *, low, high):
    """Return how many rows each block has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xtrace.capture.writer.BLOCK_MIN_ROWS", low)
        patch.setattr("xtrace.capture.writer.BLOCK_MAX_ROWS", high)
        make_run(tmp_path, rows)
    return [block.rows for block in Run.open(tmp_path).blocks]


def test_blocks_end_with_a_step_by_rule(tmp_path):
    """After the step that reaches the upper limit, or the lower one where the number of the step says so."""
    rows = busy_rows(1_000)
    expected, count = [], 0
    for each in rows:
        count += 1
        if each.row.kind == "step" and (count >= 1_500 or (count >= 20 and ends_block(each.row.step))):
            expected.append(count)
            count = 0
    assert [*expected, count] == cuts(tmp_path / "run", rows, low=20, high=1_500)
    assert len(expected) > 1
    assert min(expected) < 1_500, "one of them ended early"
    assert [len(rows)] == cuts(tmp_path / "whole", rows, low=5_000, high=5_000)


def test_the_rule_for_early_ends_never_changes():
    """Runs of different versions share their blocks only if they cut alike: on average each 256th step."""
    assert [477, 1010, 1041, 1578] == [step for step in range(1, 1_600) if ends_block(step)]
    assert 300 < sum(map(ends_block, range(100_000))) < 480


def test_blocks_realign_after_an_insertion(tmp_path):
    """One more row lengthens its own block; the blocks after it begin with the same steps as before."""
    rows = busy_rows(1_500)
    at = next(at for at, each in enumerate(rows) if each.row.step == 100)
    inserted = [each._replace(seq=number) for number, each in enumerate([*rows[:at], rows[at], *rows[at:]])]
    starts = []
    for name, each in (("a", rows), ("b", inserted)):
        cuts(tmp_path / name, each, low=20, high=5_000)
        starts.append([block.first_step for block in Run.open(tmp_path / name).blocks])
    assert starts[0] == starts[1]
    assert len(starts[0]) > 2


def test_every_block_decodes_from_the_head_and_itself():
    """The head holds magic, schema and vocabulary, and stands before there is any block."""
    encoder = BlockEncoder(vocabulary([*NODES, NETWORK]))
    pieces = []
    for seq in (0, 1):
        pending = Pending(seq)
        pending.add((seq, "step", (5,), ("",), ("",), ("",), ("",), (0,), (b"",), ((),)), 1)
        pieces.append(encoder.block(encoder.batch(pending.columns()), bytes(32)))
    assert b"ARROW1" == encoder.head[:6]
    assert (encoder.head, pieces[0]) == split_head(encoder.head + pieces[0])
    assert len(pieces[0]) == len(pieces[1]), "block 0 is as long as a block like it"
    for seq, piece in enumerate(pieces):
        with pa.ipc.open_stream(encoder.head[8:] + piece) as stream:
            assert [seq] == stream.read_next_batch()["seq"].to_pylist()
    for blocks in (2, 1, 0):
        whole = encoder.head + b"".join(pieces[:blocks])
        with pa.ipc.open_file(whole + encoder.finish(blocks)) as file:
            assert list(range(blocks)) == [file.get_batch(each)["seq"][0].as_py() for each in range(blocks)]
            assert blocks == file.num_record_batches


def test_rows_of_a_step_that_did_not_end_are_kept(tmp_path):
    """They are what led to the failure."""
    rows = busy_rows(3)[:-1]
    make_run(tmp_path / "run", rows, status="failed")
    assert rows == list(Run.open(tmp_path / "run").rows())


def test_appending_returns_the_number_of_the_row(tmp_path, monkeypatch):
    """Also across blocks: `seq` counts from 0 through the whole run."""
    small_blocks(monkeypatch, 7)
    writer = RunWriter(tmp_path / "run", node_ids=NODES, about={"seed": 1, "nodes": {}, "scenario": {}})
    assert list(range(len(busy_rows(9)))) == write(writer, busy_rows(9))
    writer.close("complete")
