"""The digests that name the content of an event log: independent of blocks, compression and library versions.

The canonical form of a row is the fields of `Row` in order: integers as 8 bytes little-endian, text and bytes as their length
in 4 bytes little-endian and themselves. The fingerprint is SHA-256 over the canonical rows in order; a node's two
digests are SHA-256 over its input rows and over its output rows. Made by Arrow for a whole block at once, because row by
row in Python it would cost more than everything else that a recorder does.
"""

from __future__ import annotations

import hashlib
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
    import pyarrow.compute as pc

    def integer(name: str) -> pa.Array:
        return _bytes_of(batch.column(name), 8)

    def word(name: str) -> pa.Array:
        column = batch.column(name)
        return _with_length(column.dictionary).take(column.indices)

    def text(name: str) -> pa.Array:
        return _with_length(batch.column(name))

    return pc.binary_join_element_wise(
        *(integer("step"), integer("time_us")),
        *(word("kind"), word("node"), word("src"), word("dst"), text("type")),
        *(integer("late_us"), text("payload"), text("object")),
        b"",
    )


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
        import pyarrow.compute as pc

        rows = canonical_rows(batch)
        self._all.update(_content(rows))
        kinds = batch.column("kind")
        is_kind = {kind: pc.equal(kinds.indices, kinds.dictionary.index(kind)) for kind in ("input", "output", "drop")}
        sent = pc.and_(is_kind["output"], pc.not_equal(batch.column("dst").indices, 0))
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
    start = 0
    for group, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield group, _content(rows[start:end])
        start = end


def _content(rows: pa.BinaryArray) -> memoryview:
    """Return the bytes of all values of an array, one after the other."""
    _, offsets, data = rows.buffers()
    if data is None or not len(rows):
        return memoryview(b"")
    positions = memoryview(offsets).cast("i")
    return memoryview(data)[positions[rows.offset] : positions[rows.offset + len(rows)]]


def _bytes_of(integers: pa.Array, width: int) -> pa.Array:
    """Return each integer as its bytes in memory; Arrow stores them little-endian."""
    import pyarrow as pa

    buffers = [None, integers.buffers()[1]]
    return pa.Array.from_buffers(pa.binary(width), len(integers), buffers, offset=integers.offset).cast(pa.binary())


def _with_length(values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = values.cast(pa.binary())
    lengths = _bytes_of(pc.binary_length(values), 4)
    return pc.binary_join_element_wise(lengths, values, b"")


def _short(running: hashlib._Hash) -> bytes:
    return running.digest()[:NODE_DIGEST_BYTES]
