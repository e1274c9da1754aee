"""A run that was killed or damaged: all that something vouches for is kept, and what is lost is named."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from tests.capture.runs import ABOUT, NODES, busy_rows, make_run, small_blocks, write
from tests.conformance import reader

from xtrace.capture import remains
from xtrace.capture.blocks import BlockEncoder, StoredRow, decode_with_digest
from xtrace.capture.disk import RealDisk
from xtrace.capture.index import BLOCK_BYTES, HEADER_BYTES, BlockRecord, read_events_index, read_header
from xtrace.capture.layout import Storage, schema, vocabulary
from xtrace.capture.log import EventLog
from xtrace.capture.reader import Run
from xtrace.capture.recover import Recovery, recover
from xtrace.capture.verify import verify
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import InputError
from xtrace.engine.recorder import NETWORK, Row
from xtrace.engine.values import encode

STEPS = 60
KILLED_ROWS = 115
"""The last 30 of them are in no block."""
LARGE = encode({"large": "x" * 70_000})


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    small_blocks(monkeypatch, 40)


@pytest.fixture
def rows() -> list[StoredRow]:
    return busy_rows(STEPS)


@pytest.fixture
def run(tmp_path, rows) -> Path:
    make_run(tmp_path / "run", rows)
    return tmp_path / "run"


@pytest.fixture
def killed(tmp_path, rows) -> Path:
    """A run whose recorder was killed after half of the steps: the last rows stand in the journal only."""
    return kill(tmp_path, rows[:KILLED_ROWS])


def kill(folder: Path, rows: list[StoredRow], *, durability: str = "second", flushes: int = 3) -> Path:
    """Write rows, flush the journal now and then, and leave everything as it is."""
    writer = RunWriter(folder / "writing", node_ids=NODES, about=ABOUT, storage=Storage(durability=durability))
    node = folder / "node.py"
    node.write_text("a model")
    writer.keep("a")("node.py", node)
    part = -(-len(rows) // flushes)
    for start in range(0, len(rows), part):
        write(writer, rows[start : start + part])
        writer.flush()
        writer.flush()  # the first one only sees that nothing was written since the one before
    shutil.copytree(folder / "writing", folder / "killed")
    writer.discard()
    return folder / "killed"


def recovered(source: Path) -> tuple[Recovery, list[StoredRow]]:
    """Recover, check that the result is a valid run and the source as it was, and return its rows."""
    before = contents(source)
    out = source.parent / "recovered"
    shutil.rmtree(out, ignore_errors=True)
    recovery = recover(source, out)
    assert before == contents(source)
    assert [] == verify(out)
    rows = list(Run.open(out).rows())
    assert recovery.rows == len(rows) == Run.open(out).events
    assert recovery.fingerprint == Run.open(out).fingerprint
    if not recovery.holes:
        assert rows == reader_rows(out)
    return recovery, rows


def reader_rows(folder: Path) -> list[StoredRow]:
    """Return the rows as the independent reader reads them."""
    return [
        StoredRow(row["seq"], Row(*(row[name] for name in Row._fields)), tuple(row["cause"]))
        for row in reader.check(folder).rows
    ]


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 16
    path.write_bytes(data)


def test_a_killed_recording_has_all_that_was_written(killed, rows):
    """Blocks and journal together; the fingerprint is that of the same rows recorded without an accident."""
    recovery, found = recovered(killed)
    assert rows[:KILLED_ROWS] == found
    assert ((), (), "recovered") == (recovery.holes, recovery.lost, recovery.status)
    expected = make_run(killed.parent / "expected", found, status="interrupted")
    assert expected == recovery.fingerprint
    assert ABOUT["nodes"] == Run.open(recovery.path).manifest["nodes"]
    assert b"a model" == Run.open(recovery.path).objects.verified_path(
        Run.open(recovery.path).manifest["artefacts"]["a"]["node.py"]
    ).read_bytes()  # fmt: skip


def test_every_step_is_in_the_journal_before_the_next(tmp_path, rows):
    """With `durability: step` nobody needs to flush."""
    writer = RunWriter(tmp_path / "run", node_ids=NODES, about=ABOUT, storage=Storage(durability="step"))
    write(writer, rows)
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    writer.discard()
    assert rows == recovered(tmp_path / "killed")[1]


@pytest.mark.parametrize("bytes_lost", [1, 7, 8, 9, 100])
def test_a_torn_journal_loses_its_last_frame_only(killed, rows, bytes_lost):
    tail = killed / "events.tail"
    whole = recovered(killed)[1]
    tail.write_bytes(tail.read_bytes()[:-bytes_lost])
    recovery, found = recovered(killed)
    assert rows[: len(found)] == found
    assert len(found) < len(whole)
    assert () == recovery.holes


@pytest.mark.parametrize("left", [0, 0.5, None])
def test_a_log_that_lost_its_end_with_power_is_no_shorter_run(tmp_path, rows, left):
    """The index says what there was: blocks that are missing are a hole, and there is no fingerprint."""
    source = kill(tmp_path, rows[:85])
    log = source / "events.arrow"
    if left is None:
        log.unlink()
    else:
        log.write_bytes(log.read_bytes()[: int(log.stat().st_size * left)])
    recovery, found = recovered(source)
    assert rows[: len(found)] == found
    assert len(found) < 85
    (hole,) = recovery.holes
    assert (None, 85 - len(found)) == (recovery.fingerprint, hole.rows)


def test_columns_that_nobody_knows_survive(killed, rows):
    """Of the journal they have no values."""
    header, blocks = read_events_index(killed / "events.index")
    data = (killed / "events.arrow").read_bytes()
    log = EventLog(
        killed, vocabulary([*NODES, NETWORK]), disk=RealDisk(), schema=schema().append(pa.field("x", pa.int64()))
    )
    for block in blocks:
        body = data[block.offset : block.offset + block.length]
        batch, _ = decode_with_digest(killed / "events.arrow", 0, data[: header.head_length], body)
        values = pa.array(range(len(batch)), pa.int64())
        log.write(pa.RecordBatch.from_arrays([*batch.columns, values], schema=log.encoder.schema))
    log.close_files()
    recovery = recover(killed, killed.parent / "recovered")
    table = pa.Table.from_batches(Run.open(recovery.path).batches())
    assert KILLED_ROWS == len(table) == recovery.rows
    assert table["x"].null_count == KILLED_ROWS - sum(block.rows for block in blocks)


def test_a_torn_block_costs_nothing_that_the_journal_holds(killed, rows):
    """Killed while a block was written: its rows are in the journal still."""
    with (killed / "events.arrow").open("ab") as file:
        file.write((killed / "events.arrow").read_bytes()[-300:-100])
    recovery, found = recovered(killed)
    assert rows[:KILLED_ROWS] == found
    assert ((), 0) == (recovery.holes, recovery.torn_bytes)


def test_a_block_without_its_record_is_kept(run, rows):
    """Killed between the log and its index: the digest that stands in the block vouches for it."""
    index = run / "events.index"
    index.write_bytes(index.read_bytes()[:-BLOCK_BYTES])
    (run / "SEAL").unlink()
    recovery, found = recovered(run)
    assert rows == found
    assert () == recovery.holes


def test_a_block_is_not_kept_if_nothing_vouches_for_it(run, rows, monkeypatch):
    """Planted: without its record, a changed block must not come back; nor if the digest were not compared."""
    _, blocks = read_events_index(run / "events.index")
    last = blocks[-1]
    (run / "SEAL").unlink()
    index = run / "events.index"
    index.write_bytes(index.read_bytes()[:-BLOCK_BYTES])
    with_other_times(run / "events.arrow", last)
    recovery, found = recovered(run)
    assert rows[: last.first_seq] == found
    assert [last.rows] == [hole.rows for hole in recovery.holes]
    monkeypatch.setattr(remains._Walk, "digest_with", lambda self, batch: last.digest.hex())
    lied = recovered(run)[1]
    assert len(rows) == len(lied) and rows != lied, "a lie would have come through"


def with_other_times(log: Path, record: BlockRecord) -> None:
    """Replace the block by one with another time in it, which says the same digest."""
    run_head = log.read_bytes()[: read_header(log.with_name("events.index")).head_length]
    data = log.read_bytes()
    batch, digest = decode_with_digest(log, 0, run_head, data[record.offset : record.offset + record.length])
    times = batch.column("time_us").to_pylist()
    lying = batch.set_column(2, batch.schema.field("time_us"), pa.array([times[0] - 1, *times[1:]], pa.int64()))
    block = BlockEncoder(vocabulary([*NODES, NETWORK])).block(lying, bytes.fromhex(digest))
    log.write_bytes(data[: record.offset] + block + data[record.offset + record.length :])


@pytest.mark.parametrize("which", [0, 2, -1])
def test_a_damaged_block_is_a_hole(run, rows, which):
    """Its steps, rows and bytes are named, every other row is kept under its number, and there is no fingerprint."""
    _, blocks = read_events_index(run / "events.index")
    record = blocks[which]
    flip(run / "events.arrow", record.offset + record.length // 2)
    recovery, found = recovered(run)
    (hole,) = recovery.holes
    assert (record.first_step, record.last_step, record.rows, record.length) == hole[:4]
    assert "the checksum is wrong" in hole.reason
    assert [row for row in rows if not record.first_seq <= row.seq < record.first_seq + record.rows] == found
    assert (None, "recovered") == (recovery.fingerprint, recovery.status)
    assert [hole._asdict()] == Run.open(recovery.path).holes


def test_a_file_that_was_cut_is_a_hole_to_its_end(run, rows):
    _, blocks = read_events_index(run / "events.index")
    log = run / "events.arrow"
    log.write_bytes(log.read_bytes()[: blocks[3].offset + 10])
    recovery, found = recovered(run)
    assert rows[: blocks[3].first_seq] == found
    assert len(rows) - len(found) == recovery.holes[0].rows


def no_index(run: Path) -> None:
    (run / "events.index").unlink()


def no_nodes_index(run: Path) -> None:
    (run / "nodes.index").unlink()


def damaged_header(run: Path) -> None:
    flip(run / "events.index", 20)


def damaged_record(run: Path) -> None:
    flip(run / "events.index", HEADER_BYTES + BLOCK_BYTES + 5)


def damaged_schema(run: Path) -> None:
    flip(run / "events.arrow", 600)


def damaged_footer(run: Path) -> None:
    flip(run / "events.arrow", (run / "events.arrow").stat().st_size - 50)


def damaged_seal(run: Path) -> None:
    flip(run / "SEAL", 50)


def no_seal(run: Path) -> None:
    (run / "SEAL").unlink()


def no_manifest(run: Path) -> None:
    (run / "manifest.json").unlink()


def damaged_manifest(run: Path) -> None:
    flip(run / "manifest.json", 100)


def no_timing(run: Path) -> None:
    (run / "timing.arrow").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        no_index,
        no_nodes_index,
        damaged_header,
        damaged_record,
        damaged_schema,
        damaged_footer,
        damaged_seal,
        no_seal,
        no_manifest,
        damaged_manifest,
        no_timing,
    ],
)
def test_any_file_but_the_log_may_be_lost(run, rows, damage: Callable[[Path], None]):
    """No row is lost with any other file, nor with the ends of the log."""
    fingerprint = Run.open(run).fingerprint
    damage(run)
    recovery, found = recovered(run)
    assert rows == found
    assert (fingerprint, ()) == (recovery.fingerprint, recovery.holes)


def test_an_intact_run_is_copied(run):
    """There was nothing to recover: status and fingerprint stay."""
    recovery, _ = recovered(run)
    assert ("complete", (), ()) == (recovery.status, recovery.holes, recovery.lost)


def test_large_payloads_come_along(tmp_path):
    rows = busy_rows(STEPS)
    large = [
        each._replace(row=each.row._replace(payload=LARGE)) if each.row.kind == "output" else each for each in rows
    ]
    source = kill(tmp_path, large)
    recovery, found = recovered(source)
    run = Run.open(recovery.path)
    assert [LARGE] == sorted({run.payload(each.row) for each in found if each.row.kind == "output"})
    name = next(each.row.object for each in found if each.row.object)
    flip(source / "objects" / name, 5)
    shutil.rmtree(recovery.path)
    damaged, rows_left = recovered_lossy(source)
    assert found == rows_left
    assert [name] == [each.file.name for each in damaged.lost]


def recovered_lossy(source: Path) -> tuple[Recovery, list[StoredRow]]:
    recovery = recover(source, source.parent / "recovered")
    return recovery, list(Run.open(recovery.path).rows())


def test_what_is_no_run_is_refused(tmp_path, run):
    (tmp_path / "empty").mkdir()
    for source, reason in (
        (tmp_path / "empty", "holds nothing of a run"),
        (tmp_path / "none", "holds nothing of a run"),
    ):
        with pytest.raises(InputError, match=reason):
            recover(source, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    for out in (run, run / "out"):
        with pytest.raises(InputError, match="lies inside of"):
            recover(run, out)
    make_run(tmp_path / "other", [])
    with pytest.raises(InputError, match="holds a run already"):
        recover(run, tmp_path / "other")


def test_a_recording_under_way_is_left_alone(tmp_path, rows):
    writer = RunWriter(tmp_path / "run", node_ids=NODES, about=ABOUT)
    write(writer, rows)
    with pytest.raises(InputError, match="is being recorded"):
        recover(tmp_path / "run", tmp_path / "out")
    writer.close("complete")
    assert rows == recovered(tmp_path / "run")[1]
