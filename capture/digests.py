"""The digests that name the content of an event log: independent of blocks, compression and library versions.

The canonical form of a row is, integers little-endian: `step`, `time_us`, `late_us` and the length of `payload` as 8
bytes each; `kind`, `node`, `src`, `dst`, `type` and `object` as their length in 4 bytes and their UTF-8; `payload`. The
fingerprint is SHA-256 over the canonical rows in order; a node's two digests are SHA-256 over its input rows and over
its output rows. Arrow makes the canonical rows of a whole block at once: row by row in Python that would cost more
than everything else that a recorder does.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xtrace.capture.index import NODE_DIGEST_BYTES
from xtrace.engine.recorder import NETWORK

if TYPE_CHECKING:
    import pyarrow as pa

FINGERPRINT_PREFIX = "xt1:sha256:"


def fingerprint_of(digest: bytes) -> str:
    """Return the fingerprint for a running digest: with a prefix that names its version and function."""
    return FINGERPRINT_PREFIX + digest.hex()


def canonical_rows(batch: pa.RecordBatch) -> pa.BinaryArray:
    """Return the canonical bytes of every row of a batch of `events.arrow`."""
    payload = batch.column("payload")
    return _joined(_numbers(batch), _words(batch), payload)


def canonical_bytes(batch: pa.RecordBatch) -> memoryview:
    """Return the canonical bytes of all rows of a batch, one after the other: what the fingerprint is made of."""
    return _content(canonical_rows(batch))


def _numbers(batch: pa.RecordBatch) -> pa.Array:
    """Return `step`, `time_us`, `late_us` and the length of `payload` of every row, in 32 bytes.

    pyarrow is little-endian wherever it is to be had.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(batch.column("payload")).cast(pa.int64())
    columns = [batch.column("step"), batch.column("time_us"), batch.column("late_us"), lengths]
    numbers = array("q", bytes(8 * len(columns) * len(batch)))
    for position, column in enumerate(columns):
        one = array("q")
        one.frombytes(_memory(column, 8))
        numbers[position :: len(columns)] = one
    return _fixed(pa.py_buffer(numbers), 8 * len(columns), len(batch))


def _words(batch: pa.RecordBatch) -> pa.Array:
    """Return the words of every row, each with its length. Rows have few different combinations of words."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [_indexed(batch.column(name)) for name in ("kind", "node", "src", "dst", "type", "object")]
    codes, combined = columns[0].indices.cast(pa.int64()), len(columns[0].dictionary)
    for column in [column for column in columns[1:] if len(column.dictionary) > 1]:
        if combined * len(column.dictionary) >= 2**63:  # more combinations than numbers: number those that occur
            found = codes.dictionary_encode()
            codes, combined = found.indices.cast(pa.int64()), len(found.dictionary)
        combined *= len(column.dictionary)
        codes = pc.add(pc.multiply(codes, pa.scalar(len(column.dictionary), pa.int64())), column.indices)
    combinations = codes.dictionary_encode()
    where = pc.index_in(combinations.dictionary, codes)
    parts = [_with_length(column.dictionary).take(column.indices.take(where)) for column in columns]
    return _joined(*parts).take(combinations.indices)


def _indexed(column: pa.Array) -> pa.DictionaryArray:
    import pyarrow as pa

    return column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()


class RunDigests:
    """The running digests of a run: of all rows, and of the inputs and outputs of every node.

    The network's inputs are the outputs of all nodes that go to somebody; its outputs are all inputs and drops.
    """

    def __init__(self) -> None:
        self._all = hashlib.sha256()
        self._inputs: defaultdict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
        self._outputs: defaultdict[str, hashlib._Hash] = defaultdict(hashlib.sha256)

    def update(self, batch: pa.RecordBatch) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
        """Add the rows of a block; return the digest of all rows so far, and (node, inputs, outputs) for every node
        that was active in the block, in order of nodes."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = canonical_rows(batch)
        self._all.update(_content(rows))
        kinds = batch.column("kind")
        number_of = {kind: number for number, kind in enumerate(kinds.dictionary.to_pylist())}
        is_kind = {
            kind: pc.equal(kinds.indices, pa.scalar(number_of[kind], pa.int32()))
            for kind in ("input", "output", "drop")
        }
        nobody = pa.scalar(batch.column("dst").dictionary.to_pylist().index(""), pa.int32())
        sent = pc.and_(is_kind["output"], pc.not_equal(batch.column("dst").indices, nobody))
        arrived = pc.or_(is_kind["input"], is_kind["drop"])
        active = set()
        for digests, mask in ((self._inputs, sent), (self._outputs, arrived)):
            selected = rows.filter(mask)
            if len(selected):
                digests[NETWORK].update(_content(selected))
                active.add(NETWORK)
        nodes = batch.column("node")
        names = nodes.dictionary.to_pylist()
        for digests, mask in ((self._inputs, is_kind["input"]), (self._outputs, is_kind["output"])):
            for index, content in _grouped(rows.filter(mask), nodes.indices.filter(mask)):
                digests[names[index]].update(content)
                active.add(names[index])
        records = [(node, _short(self._inputs[node]), _short(self._outputs[node])) for node in sorted(active)]
        return self._all.digest(), records


def _grouped(rows: pa.BinaryArray, groups: pa.Int32Array) -> Iterator[tuple[int, memoryview]]:
    """Yield every group and the content of its rows, in order."""
    import pyarrow.compute as pc

    order = pc.array_sort_indices(groups)  # stable
    rows = rows.take(order)
    runs = pc.run_end_encode(groups.take(order))
    content, positions = _content(rows), _memory(rows, 4).cast("i")
    start = 0
    for group, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        stop = positions[end] if end < len(rows) else len(content)
        yield group, content[positions[start] : stop]
        start = end


def _content(rows: pa.BinaryArray) -> memoryview:
    """Return the bytes of all values of an array, one after the other."""
    _, offsets, data = rows.buffers()
    if data is None or not len(rows):
        return memoryview(b"")
    positions = memoryview(offsets).cast("i")
    return memoryview(data)[positions[rows.offset] : positions[rows.offset + len(rows)]]


def _memory(values: pa.Array, width: int) -> memoryview:
    """Return the first buffer of `values`, which has `width` bytes a value, as it lies in memory."""
    start = values.offset * width
    return memoryview(values.buffers()[1])[start : start + len(values) * width]


def _fixed(buffer: pa.Buffer, width: int, length: int) -> pa.Array:
    import pyarrow as pa

    return pa.Array.from_buffers(pa.binary(width), length, [None, buffer]).cast(pa.binary())


def _with_length(values: pa.Array) -> pa.Array:
    """Return each text as the length of its UTF-8 in 4 bytes, and its UTF-8."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(values)
    return _joined(_fixed(lengths.buffers()[1], 4, len(values)), values.cast(pa.binary()))


def _joined(*parts: pa.Array) -> pa.BinaryArray:
    """Return the parts of each row, one after the other.

    Scalars are given their types here and elsewhere: to guess one, pyarrow looks for an optional package on the disk.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def _short(running: hashlib._Hash) -> bytes:
    return running.digest()[:NODE_DIGEST_BYTES]
