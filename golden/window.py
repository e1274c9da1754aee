"""A part of a run in virtual time, as a trace of its own: only the blocks that it reaches into are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xtrace.capture.index import BlockRecord, NodeRecord
from xtrace.engine.errors import InputError
from xtrace.engine.recorder import Row
from xtrace.golden.trace import Trace

if TYPE_CHECKING:
    import pyarrow as pa


class Window:
    """The steps of `trace` that begin at `from_us` or later and before `to_us`; None is no limit.

    It has no fingerprint and no digests of nodes: they cover what comes before. Raises InputError if the run
    does not say how long its steps are.
    """

    fingerprint = None

    def __init__(self, trace: Trace, *, from_us: int | None, to_us: int | None) -> None:
        self._trace = trace
        step_us = trace.manifest.get("step_us")
        if not isinstance(step_us, int) or step_us < 1:
            raise InputError("--from, --to", "a run does not say how long its steps are, so it can't be cut in time")
        self._first_step = 0 if from_us is None else from_us // step_us + 1
        self._last_step = 2**63 - 1 if to_us is None else -(-to_us // step_us)
        inside = [
            record
            for record in trace.blocks
            if record.last_step >= self._first_step and record.first_step <= self._last_step
        ]
        self._numbers = [record.block for record in inside]
        self.blocks: Sequence[BlockRecord] = [record._replace(block=number) for number, record in enumerate(inside)]
        self.node_records: Sequence[NodeRecord] = ()

    @property
    def status(self) -> str:
        """How the recording ended."""
        return self._trace.status

    @property
    def nodes(self) -> Sequence[str]:
        """The ids of all nodes."""
        return self._trace.nodes

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The content of `manifest.json`."""
        return self._trace.manifest

    def read_block(self, block: int) -> pa.RecordBatch:
        """Return the rows of a block that are in the window."""
        import pyarrow as pa
        import pyarrow.compute as pc

        batch = self._trace.read_block(self._numbers[block])
        record = self.blocks[block]
        if record.first_step >= self._first_step and record.last_step <= self._last_step:
            return batch
        steps = batch.column("step")
        first, last = (pa.scalar(step, pa.int64()) for step in (self._first_step, self._last_step))
        return batch.filter(pc.and_(pc.greater_equal(steps, first), pc.less_equal(steps, last)))

    def payload(self, row: Row) -> bytes:
        """Return the payload of a row."""
        return self._trace.payload(row)

    def verify_raw(self) -> None:
        """Verify the blocks of the window. Raises CorruptionError."""
        for number in self._numbers:
            self._trace.read_block(number)
