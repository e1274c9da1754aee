"""What the log says of one node: its rows step by step, and where the record of it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from xtrace.capture.blocks import StoredRow, stored_rows
from xtrace.capture.reader import Run
from xtrace.engine.errors import CorruptionError
from xtrace.engine.recorder import NETWORK


class RecordedStep(NamedTuple):
    """The rows of one step that concern a node; `abort` is its failure, if it failed here."""

    step: int
    inputs: list[StoredRow]
    outputs: list[StoredRow]
    abort: StoredRow | None


class End(NamedTuple):
    """Where the record ends: the last step that is whole, and the node whose failure ended it ("" for none)."""

    last_whole_step: int
    failed_node: str
    failed_step: int


def end_of(run: Run) -> End:
    """Return where the record of `run` ends: what comes after a hole can't be replayed."""
    if run.holes:
        return End(max(run.holes[0]["first_step"] - 1, 0), "", 0)
    if not run.blocks:
        return End(0, "", 0)
    last = list(stored_rows(run.read_block(len(run.blocks) - 1)))[-1].row
    if last.kind == "step":
        # In a complete run silence goes on to its end: steps in which nothing happened are not in the log.
        final_step = -(-run.manifest["duration_us"] // run.manifest["step_us"]) if run.status == "complete" else 0
        return End(max(last.step, final_step), "", 0)
    if last.kind == "abort":
        return End(last.step - 1, last.node, last.step)
    return End(last.step - 1, "", 0)


def recorded_steps(run: Run, node: str) -> Iterator[RecordedStep]:
    """Yield the steps in which `node` was given, emitted or failed something; only blocks with such rows are read."""
    rows = (stored for block in _blocks_of(run, node) for stored in _rows_of(run, block, node))
    for step, stored in groupby(rows, key=lambda each: each.row.step):
        found = list(stored)
        yield RecordedStep(
            step,
            [each for each in found if each.row.kind == "input"],
            [each for each in found if each.row.kind == "output"],
            next((each for each in found if each.row.kind == "abort"), None),
        )


def network_steps(run: Run) -> Iterator[tuple[int, list[StoredRow]]]:
    """Yield every step with all of its rows: what the network was given and what it did."""
    for step, stored in groupby(run.rows(), key=lambda each: each.row.step):
        yield step, list(stored)


def _blocks_of(run: Run, node: str) -> Sequence[int]:
    """Return the blocks that hold rows of `node`; its failure is in the last one."""
    if node == NETWORK:
        return range(len(run.blocks))
    active = {record.block for record in run.node_records if record.node == node}
    last = {len(run.blocks) - 1} if run.blocks else set()
    if max(active | last, default=0) >= len(run.blocks) > 0:
        raise CorruptionError(run.path / "nodes.index", "it names a block that does not exist")
    return sorted(active | last)


def _rows_of(run: Run, block: int, node: str) -> Iterator[StoredRow]:
    import pyarrow.compute as pc

    batch = run.read_block(block)
    return stored_rows(batch.filter(pc.equal(batch.column("node").dictionary_decode(), node)))
