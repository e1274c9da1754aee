"""What a comparison needs of a run, and the one place through which it reads blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from xtrace.capture.index import BlockRecord, NodeRecord
from xtrace.engine.recorder import NETWORK, Row

if TYPE_CHECKING:
    import pyarrow as pa


class Trace(Protocol):
    """A run as the comparison sees it; `xtrace.capture.reader.Run` is one."""

    @property
    def fingerprint(self) -> str | None:
        """The digest of all rows, or nothing for a run that lost some."""

    @property
    def status(self) -> str:
        """How the recording ended."""

    @property
    def nodes(self) -> Sequence[str]:
        """The ids of all nodes, the network among them, sorted."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The content of `manifest.json`."""

    @property
    def blocks(self) -> Sequence[BlockRecord]:
        """The records of `events.index`."""

    @property
    def node_records(self) -> Sequence[NodeRecord]:
        """The records of `nodes.index`."""

    def read_block(self, block: int) -> pa.RecordBatch:
        """Return a block, its checksum verified first."""

    def payload(self, row: Row) -> bytes:
        """Return the payload of a row, wherever it lies. Raises CorruptionError."""

    def verify_raw(self) -> None:
        """Verify every byte of the event log and decode nothing. Raises CorruptionError."""


class BlockReader:
    """Reads blocks of `trace`, keeps the last one, and knows which were decoded."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.decoded: set[int] = set()
        self._last: tuple[int, pa.RecordBatch] | None = None

    def batch(self, block: int) -> pa.RecordBatch:
        """Return the rows of a block. Raises CorruptionError."""
        if self._last is None or self._last[0] != block:
            self._last = block, self.trace.read_block(block)
            self.decoded.add(block)
        return self._last[1]

    def batches(self, first: int, *, nodes: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of block `first` and of those after it, block by block; of `nodes` only, if given."""
        for record in self.trace.blocks[first:]:
            yield of_nodes(self.batch(record.block), nodes)


def last_step(trace: Trace) -> int:
    """Return the number of the last step of which rows were recorded."""
    return trace.blocks[-1].last_step if trace.blocks else 0


def ends_alike(a: Trace, b: Trace) -> bool:
    """Return whether two runs end at the same place: what one of them lacks, it lacks for another reason."""
    if a.status == b.status == "complete":
        return _length(a) == _length(b)
    return a.status == b.status and last_step(a) == last_step(b)


def _length(trace: Trace) -> tuple[object, object]:
    return trace.manifest.get("duration_us"), trace.manifest.get("step_us")


def of_nodes(batch: pa.RecordBatch, nodes: Sequence[str] | None) -> pa.RecordBatch:
    """Return the rows of these nodes (None: of all). The rows of the network are all inputs and all drops."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if nodes is None:
        return batch
    wanted = pc.is_in(batch.column("node"), value_set=pa.array(nodes, pa.string()))
    if NETWORK in nodes:
        wanted = pc.or_(wanted, pc.equal(batch.column("kind"), "input"))
    return batch.filter(wanted)


def equal_beginning(a: pa.RecordBatch, b: pa.RecordBatch) -> int:
    """Return how many rows two batches have in common from their first rows on."""
    import pyarrow.compute as pc

    rows = min(a.num_rows, b.num_rows)
    for one, other in _unequal_columns(a.slice(0, rows), b.slice(0, rows)):
        first = pc.index(pc.equal(one, other), False).as_py()
        rows = rows if first < 0 else min(rows, first)
    return int(rows)


def without_equal_rows(a: pa.RecordBatch, b: pa.RecordBatch) -> list[pa.RecordBatch]:
    """Return two batches of equal length without the rows that are equal at the same place; others as they are."""
    import pyarrow.compute as pc

    if a.num_rows != b.num_rows:
        return [a, b]
    unequal = None
    for one, other in _unequal_columns(a, b):
        mask = pc.not_equal(one, other)
        unequal = mask if unequal is None else pc.or_(unequal, mask)
    if unequal is None:
        return [a.slice(0, 0), b.slice(0, 0)]
    return [a.filter(unequal), b.filter(unequal)]


def _unequal_columns(a: pa.RecordBatch, b: pa.RecordBatch) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yield the columns of `Row` that are not equal, as plain text where they are dictionaries."""
    import pyarrow as pa

    for name in Row._fields:
        one, other = a.column(name), b.column(name)
        if one.equals(other):
            continue
        if pa.types.is_dictionary(one.type):
            one, other = one.dictionary_decode(), other.dictionary_decode()
        yield one, other
