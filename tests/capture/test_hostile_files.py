"""Files that are none, or too large, or lie: refused with their place, before memory or time is spent on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from tests.capture.runs import busy_rows, make_run, small_blocks
from tests.capture.test_integrity import reseal
from tests.conformance.reader import canonical

from xtrace.capture import arrow_message, blocks, files, index, strict_json
from xtrace.capture.blocks import BlockEncoder
from xtrace.capture.digests import canonical_rows
from xtrace.capture.files import open_regular, read_limited
from xtrace.capture.index import pack_header, pack_node, read_nodes_index
from xtrace.capture.layout import schema
from xtrace.capture.reader import Run
from xtrace.capture.verify import MAX_PROBLEMS, verify
from xtrace.engine.errors import CorruptionError, XtraceError
from xtrace.engine.values import encode

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, 28)
        patch.setattr("xtrace.capture.writer.OBJECT_MIN_BYTES", 200)
        rows = busy_rows(40)
        rows[5] = rows[5]._replace(row=rows[5].row._replace(payload=encode(b"large" * 50)))
        make_run(tmp_path / "run", rows)
    return tmp_path / "run"


def put(path: Path, how: str) -> None:
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "loop":
        path.symlink_to(path.name)
    else:
        path.touch()
        os.truncate(path, 1 << 42)


def said(folder: Path) -> str:
    try:
        return verify(folder)[0].file
    except XtraceError as error:
        return str(error)


@pytest.mark.parametrize("how", ["pipe", "folder", "device", "loop", "sparse"])
@pytest.mark.parametrize(
    "name", ["SEAL", "manifest.json", "events.arrow", "events.index", "nodes.index", "timing.arrow"]
)
def test_what_is_no_file_is_refused(run: Path, name: str, how: str) -> None:
    """At once: nobody waits for a writer of a pipe, and nobody reads four terabytes of nothing."""
    put(run / name, how)
    if how == "sparse" and name not in ("SEAL", "manifest.json"):
        seal = (run / "SEAL").read_bytes()
        reseal(run, lambda data: data["files"][name].update(bytes=1 << 42))
        assert seal != (run / "SEAL").read_bytes()
    assert name in said(run)


def test_links_to_files_are_followed(run: Path, tmp_path: Path) -> None:
    """Some tools keep large files elsewhere and put links in their place; what is read is verified all the same."""
    (run / "events.arrow").rename(tmp_path / "elsewhere")
    (run / "events.arrow").symlink_to(tmp_path / "elsewhere")
    assert [] == verify(run)


def test_a_dense_file_is_not_taken_for_a_sparse_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is large and nearly empty is refused."""
    monkeypatch.setattr(files, "SPARSE_MIN_BYTES", 1 << 20)
    (tmp_path / "dense").write_bytes(os.urandom(1 << 21))
    open_regular(tmp_path / "dense").close()
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 21)
    with pytest.raises(CorruptionError, match=r"a sparse file: of its 2097152 bytes only \d+ are on the disk"):
        open_regular(tmp_path / "sparse")


def test_reading_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(11))
    assert 11 == len(read_limited(tmp_path / "file", limit_bytes=11))
    with pytest.raises(CorruptionError, match="11 bytes are more than the limit of 10"):
        read_limited(tmp_path / "file", limit_bytes=10)


def test_a_block_says_how_much_memory_it_takes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is claimed is what Arrow then makes room for; one byte above the limit is refused before that."""
    opened = Run.open(run)
    record = opened.blocks[1]
    data = (run / "events.arrow").read_bytes()[record.offset : record.offset + record.length]
    ((_, message),) = arrow_message.messages(data)
    claimed = arrow_message.expanded_bytes(message)
    taken = sum(buffer.size for column in opened.read_block(1).columns for buffer in column.buffers() if buffer)
    assert 0 <= taken - claimed < 4_096, "the words of the vocabulary stand in the head"
    monkeypatch.setattr(blocks, "BLOCK_MAX_BYTES", claimed)
    with pytest.raises(CorruptionError, match=r"block 1, .* bytes in memory, which is more than the limit .*steps"):
        opened.read_block(1)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_the_claim_is_right_for_every_compression(compression: str) -> None:
    """Read from the metadata by our own code: compared with what Arrow really makes of it."""
    names = ["", *(f"node {number}" for number in range(50))]
    encoder = BlockEncoder({"kind": ["step"], "name": names}, compression=compression)
    text = pa.array(["x" * 999] * 100)
    columns = {"seq": pa.array(range(100)), "type": text, "payload": pa.array([b"\0" * 5_000] * 100, pa.binary())}
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array(names))
    kinds = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array(["step"]))
    others = {"kind": kinds, "node": words, "src": words, "dst": words, "object": pa.array([""] * 100)}
    others["cause"] = pa.array([[1, 2]] * 100, pa.list_(pa.int64()))
    arrays = [{**columns, **others}.get(name, columns["seq"]) for name in schema().names]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema())
    ((_, message),) = arrow_message.messages(encoder.block(batch, bytes(32)))
    parts = [column for column in batch.columns if not pa.types.is_dictionary(column.type)]
    indices = [column.indices for column in batch.columns if pa.types.is_dictionary(column.type)]
    taken = sum(buffer.size for each in [*parts, *indices] for buffer in each.buffers() if buffer)
    assert abs(arrow_message.expanded_bytes(message) - taken) < 100 * len(arrays)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b"[NaN]", "NaN is no number"),
        (b"[1e999]", "1e999 is too large"),
        (b'["\\ud800"]', "surrogates not allowed"),
        ("{}".encode("utf-16"), "can't decode byte"),
        (b"[" * 101 + b"]" * 101, "nested deeper than 100"),
        (b"[" * 100_000, "nested deeper than 100|Expecting value"),
        (b"[" + b"1," * (1 << 21) + b"1]", "more than 2,097,152 members"),
        (b"1" * 5_000, "integer string conversion"),
        (b" " * (strict_json.MAX_BYTES + 1), "more than the limit of 33,554,432"),
    ],
)
def test_json_that_two_programs_could_read_differently_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        strict_json.parse(text)


def test_plain_json_is_read() -> None:
    value = {"a": [1, 2.5, None, "ö\n", {"b": [[]]}]}
    assert value == strict_json.parse(json.dumps(value).encode())
    assert [[]] * 5_000 == strict_json.parse(json.dumps([[]] * 5_000).encode())


def test_records_are_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made when asked for, in pieces, and read from both ends."""
    monkeypatch.setattr(index, "_PIECE_RECORDS", 3)
    data = pack_header(index.NODES_MAGIC) + b"".join(pack_node(n, n % 3, bytes([n] * 16), bytes(16)) for n in range(8))
    (tmp_path / "nodes.index").write_bytes(data)
    records = read_nodes_index(tmp_path / "nodes.index", ["a", "b", "c"])
    assert [0, 1, 2, 3, 4, 5, 6, 7] == [each.block for each in records]
    assert [7, 6, 5, 4, 3, 2, 1, 0] == [each.block for each in reversed(records)]
    assert (8, 7, "b") == (len(records), records[-1].block, records[-1].node)
    assert [2, 3] == [each.block for each in records[2:4]]
    assert [0, 3, 6] == [each.block for each in records[::3]]
    assert records == list(records)
    assert records != list(records)[1:]
    with pytest.raises(IndexError):
        records[8]
    flipped = bytearray(data)
    flipped[60 + 44 * 5 + 9] ^= 1
    (tmp_path / "nodes.index").write_bytes(flipped)
    assert 5 == len(records[:5])
    with pytest.raises(CorruptionError, match=r"offset 280 .*the checksum of record 5 is wrong"):
        records[5]


def test_the_payload_of_a_row_is_found_wherever_it_lies(run: Path) -> None:
    opened = Run.open(run)
    (large,) = [stored.row for stored in opened.rows() if stored.row.object]
    assert (b"", encode(b"large" * 50)) == (large.payload, opened.payload(large))
    small = next(stored.row for stored in opened.rows() if stored.row.payload)
    assert small.payload == opened.payload(small)
    with pytest.raises(CorruptionError, match="the manifest has no such object"):
        opened.payload(large._replace(object="f" * 64))
    with pytest.raises(CorruptionError, match="is not the name of an object"):
        opened.payload(large._replace(object="../SEAL"))
    path = opened.objects.path(large.object)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptionError, match="not what its name says"):
        opened.payload(large)


def test_a_run_with_endless_problems_is_reported_up_to_a_limit(run: Path) -> None:
    for number in range(MAX_PROBLEMS + 5):
        (run / f"stranger-{number}").touch()
    found = verify(run)
    assert len(found) == MAX_PROBLEMS + 1
    assert "the rest was not looked at" in found[-1].reason


def test_folders_without_end_are_not_followed(run: Path) -> None:
    """A thousand folders in one another, and a link back to the first."""
    folder = run / "deep"
    folder.mkdir()
    (folder / "back").symlink_to(run)
    for _ in range(200):
        folder = folder / "d"
        folder.mkdir()
    assert {True} == {problem.foreign for problem in verify(run)}


def test_rows_of_very_many_nodes_are_digested() -> None:
    """More combinations of words than there are 64-bit numbers: each row has its own canonical form all the same."""
    count = 400_000
    names = pa.array(["", *(f"n{number}" for number in range(count))])

    def words(*indices: int) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), names)

    numbers = pa.array([1, 1, 1])
    kind = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array(["input", "output"]))
    columns = [numbers, numbers, numbers, kind, words(1, count, 7), words(count, 1, 7), words(0, count, 7)]
    columns += [pa.array(["t", "u", "t"]), numbers, pa.array([[], [], []], pa.list_(pa.int64()))]
    columns += [pa.array([b"", b"\x01", b""], pa.binary()), pa.array(["", "", "o"])]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema())
    assert [canonical(row) for row in batch.to_pylist()] == canonical_rows(batch).to_pylist()


GROWS = """
import sys
from pathlib import Path
from xtrace.capture.verify import verify
assert verify(Path(sys.argv[1])) == []
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_verify_takes_the_memory_of_a_block_however_long_the_run(tmp_path: Path) -> None:
    """Ten times the rows: the peak stays where it is."""
    peaks = []
    for steps in (8_000, 80_000):
        make_run(tmp_path / str(steps), busy_rows(steps))
        done = subprocess.run(
            [sys.executable, "-c", GROWS, str(tmp_path / str(steps))],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] - peaks[0] < 30 * 1024 * 1024
