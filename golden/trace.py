"""What a comparison needs of a run, and the one place through which it reads blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from xtrace.capture.index import BlockRecord, NodeRecord
from xtrace.engine.recorder import NETWORK

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

    def verify_raw(self) -> None:
        """Verify every byte of the event log and decode nothing. Raises CorruptionError."""


class BlockReader:
    """Reads blocks of `trace`, keeps the last one, and knows which were decoded.

    `nodes` limits the rows to those of these nodes (None: all). The rows of the network are all inputs and all drops.
    """

    def __init__(self, trace: Trace, *, nodes: Sequence[str] | None = None) -> None:
        self.trace = trace
        self.nodes = nodes
        self.decoded: set[int] = set()
        self._last: tuple[int, pa.RecordBatch] | None = None

    def batches(self, first: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of block `first` and of those after it, block by block."""
        for record in self.trace.blocks[first:]:
            yield self._rows(record.block)

    def _rows(self, block: int) -> pa.RecordBatch:
        if self._last is None or self._last[0] != block:
            batch = self.trace.read_block(block)
            self.decoded.add(block)
            self._last = block, batch if self.nodes is None else _of_nodes(batch, self.nodes)
        return self._last[1]


def last_step(trace: Trace) -> int:
    """Return the number of the last step of which rows were recorded."""
    return trace.blocks[-1].last_step if trace.blocks else 0


def ends_alike(a: Trace, b: Trace) -> bool:
    """Return whether two runs end at the same place: what one of them lacks, it lacks for another reason."""
    if a.status == b.status == "complete":
        return _length(a) == _length(b)
    return a.status == b.status and last_step(a) == last_step(b)


def _length(trace: Trace) -> tuple[object, object]:
    scenario = trace.manifest.get("scenario", {})
    return scenario.get("duration"), scenario.get("step")


def _of_nodes(batch: pa.RecordBatch, nodes: Sequence[str]) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pc.is_in(batch.column("node"), value_set=pa.array(nodes, pa.string()))
    if NETWORK in nodes:
        wanted = pc.or_(wanted, pc.equal(batch.column("kind"), "input"))
    return batch.filter(wanted)
