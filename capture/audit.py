"""Are the rows of a run what its indexes and its manifest say of them? Decodes block after block, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from xtrace.capture.digests import RunDigests
from xtrace.capture.index import HEADER_BYTES, NODE_BYTES, BlockRecord, NodeRecord
from xtrace.capture.layout import EVENTS, MANIFEST, NODES_INDEX, OBJECTS
from xtrace.capture.reader import Run
from xtrace.engine.errors import CorruptionError
from xtrace.engine.values import ValueFault, decode

if TYPE_CHECKING:
    import pyarrow as pa

SLICE_BYTES = 16 * 1024 * 1024
"""How much of a block is digested at once: its canonical rows are made several times over."""
CHECKED_PAYLOAD_BYTES = 1024 * 1024
"""Up to which size a payload is checked to be a value: a larger one could take a hundred times as much memory."""


class Audit:
    """Follows the rows of `run`: `block` for each block in order, then `end`. Each raises the first CorruptionError.

    After a block that can't be read the running digests are lost; the later blocks are checked without them.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._digests: RunDigests | None = RunDigests()
        self._nodes = _ByBlock(run)
        self._steps = 0

    def block(self, record: BlockRecord) -> None:
        """Check that a block is what its record says, and that its rows make sense."""
        try:
            batch = self._run.read_block(record.block)
            self._check_rows(batch, record)
        except CorruptionError:
            self._digests = None
            raise
        self._steps += _count_of(batch, "step")
        if self._digests is not None:
            self._check_digests(batch, record)

    def end(self) -> None:
        """Check what only the whole run shows."""
        if self._digests is None:
            return
        steps = self._run.manifest["totals"]["steps"]
        if steps != self._steps:
            raise CorruptionError(self._run.path / MANIFEST, f"totals.steps is {steps}, but there are {self._steps}")
        self._nodes.check_end()

    def _check_digests(self, batch: pa.RecordBatch, record: BlockRecord) -> None:
        assert self._digests is not None
        active: dict[str, tuple[bytes, bytes]] = {}
        digest = b""
        for part in _slices(batch):
            digest, found = self._digests.update(part)
            active.update({node: (inputs, outputs) for node, inputs, outputs in found})
        if digest != record.digest:
            self._digests = None
            raise self._broken(record, "the rows are not those that the running digest and the fingerprint cover")
        try:
            self._nodes.check(record.block, active)
        except CorruptionError:
            self._digests = None
            raise

    def _check_rows(self, batch: pa.RecordBatch, record: BlockRecord) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        steps = batch.column("step")
        if not _all(pc.greater_equal(steps.slice(1), steps.slice(0, len(batch) - 1))):
            raise self._broken(record, "the steps of its rows go backwards")
        cause = batch.column("cause")
        effects = batch.column("seq").take(pc.list_parent_indices(cause))
        causes = pc.list_flatten(cause)
        earlier = pc.and_(pc.less(causes, effects), pc.greater_equal(causes, pa.scalar(0, pa.int64())))
        if not _all(earlier):
            raise self._broken(record, "a row has a cause that is no earlier row")
        self._check_payloads(batch, record)

    def _check_payloads(self, batch: pa.RecordBatch, record: BlockRecord) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        objects, payloads = batch.column("object"), batch.column("payload")
        nothing, largest = pa.scalar(0, pa.int32()), pa.scalar(CHECKED_PAYLOAD_BYTES, pa.int32())
        manifest = self._run.manifest
        lost = {each["file"] for each in manifest.get("lost", [])}
        for name in pc.unique(objects).to_pylist():
            if name and name not in manifest["objects"] and f"{OBJECTS}/{name}" not in lost:
                raise self._broken(record, f"a row refers to the object {name!r}, which the run does not have")
        sizes = pc.binary_length(payloads)
        has_payload = pc.greater(sizes, nothing)
        if _any(pc.and_(has_payload, pc.not_equal(objects, pa.scalar("", pa.string())))):
            raise self._broken(record, "a row has a payload and an object")
        checked = payloads.filter(pc.and_(has_payload, pc.less_equal(sizes, largest)))
        for payload in pc.unique(checked).to_pylist():
            try:
                decode(payload)
            except ValueFault as fault:
                raise self._broken(record, f"a payload is no canonical value: {fault}") from fault

    def _broken(self, record: BlockRecord, reason: str) -> CorruptionError:
        steps = f"steps {record.first_step} to {record.last_step}, {record.rows} rows"
        place = self._run.path / EVENTS
        return CorruptionError(
            place, f"{reason} ({steps})", offset=record.offset, length=record.length, block=record.block
        )


class _ByBlock:
    """The records of `nodes.index`, handed out block by block."""

    def __init__(self, run: Run) -> None:
        self._path = run.path / NODES_INDEX
        self._records: Iterator[NodeRecord] = iter(run.node_records)
        self._number = 0

    def check(self, block: int, active: dict[str, tuple[bytes, bytes]]) -> None:
        """Check that the next records are those of the nodes that were active in `block`."""
        for node, digests in sorted(active.items()):
            found = next(self._records, None)
            if found is None:
                raise self._broken(f"there is no record of node {node!r}", block)
            if found != (block, node, *digests):
                reason = f"record {self._number} is not that of node {node!r}, whose rows have other digests"
                raise self._broken(reason, block)
            self._number += 1

    def check_end(self) -> None:
        """Check that no record is left."""
        if next(self._records, None) is not None:
            raise self._broken(f"record {self._number} belongs to no block that its node is in", None)

    def _broken(self, reason: str, block: int | None) -> CorruptionError:
        offset = HEADER_BYTES + self._number * NODE_BYTES
        return CorruptionError(self._path, reason, offset=offset, length=NODE_BYTES, block=block)


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a block in parts whose canonical rows fit into memory several times."""
    rows = max(1, len(batch) * SLICE_BYTES // max(batch.nbytes, 1))
    for start in range(0, len(batch), rows):
        yield batch.slice(start, rows)


def _count_of(batch: pa.RecordBatch, kind: str) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = batch.column("kind")
    number = kinds.dictionary.to_pylist().index(kind)
    return int(pc.sum(pc.equal(kinds.indices, pa.scalar(number, pa.int32()))).as_py() or 0)


def _all(values: pa.BooleanArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(values, min_count=0).as_py())


def _any(values: pa.BooleanArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(values, min_count=0).as_py())
