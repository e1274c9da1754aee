"""A run in memory: rows, cut into blocks wherever a test wants them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from xtrace.capture.blocks import StoredRow
from xtrace.capture.index import BlockRecord, NodeRecord
from xtrace.capture.layout import schema, vocabulary
from xtrace.engine.errors import CorruptionError
from xtrace.engine.recorder import NETWORK, Row
from xtrace.engine.values import encode


class FakeRun:
    """What `xtrace.capture.reader.Run` offers to a comparison. `cuts` are the numbers of rows after which a block ends.

    `damaged` names a block whose bytes are not what was written. `read` lists every block that was decoded, in order.
    """

    def __init__(
        self,
        rows: Sequence[StoredRow],
        *,
        nodes: Sequence[str],
        cuts: Sequence[int] = (),
        status: str = "complete",
        manifest: Mapping[str, Any] | None = None,
        damaged: int | None = None,
    ) -> None:
        assert [row.seq for row in rows] == list(range(len(rows)))
        self.nodes = sorted({*nodes, NETWORK})
        self.status = status
        self.manifest = dict(manifest or {})
        self.blocks: list[BlockRecord] = []
        self.node_records: list[NodeRecord] = []
        self.read: list[int] = []
        self.verified = 0
        self._damaged = damaged
        self._batches: list[pa.RecordBatch] = []
        everything = batch_of(rows, vocabulary(self.nodes))
        running, node_digests = hashlib.sha256(), _NodeDigests()
        edges = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
        for block, (start, end) in enumerate(itertools.pairwise(edges)):
            stored = rows[start:end]
            for each in stored:
                running.update(encode(list(each.row)))
            self._batches.append(everything.slice(start, end - start))
            times = [each.row.time_us for each in stored]
            steps = stored[0].row.step, stored[-1].row.step
            place = (block, 0, 0, len(stored), start, *steps, min(times), max(times))
            self.blocks.append(BlockRecord(*place, b"", running.digest()))
            self.node_records += node_digests.update(block, [each.row for each in stored])
        self.fingerprint: str | None = running.hexdigest()

    def read_block(self, block: int) -> pa.RecordBatch:
        self._check(block)
        self.read.append(block)
        return self._batches[block]

    def payload(self, row: Row) -> bytes:
        return row.payload

    def verify_raw(self) -> None:
        self.verified += 1
        for record in self.blocks:
            self._check(record.block)

    def _check(self, block: int) -> None:
        if block == self._damaged:
            raise CorruptionError("events.arrow", "the checksum is wrong", block=block)


class _NodeDigests:
    """The running digests of what each node receives and emits; the network receives messages and emits their fates."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str], Any] = {}

    def update(self, block: int, rows: Sequence[Row]) -> list[NodeRecord]:
        active = set()
        for row in rows:
            sides = {"input": [(row.node, "in"), (NETWORK, "out")], "drop": [(NETWORK, "out")]}
            sides["output"] = [(row.node, "out"), *([(NETWORK, "in")] if row.dst else [])]
            for side in sides.get(row.kind, []):
                self._of(side).update(encode(list(row)))
                active.add(side[0])
        return [
            NodeRecord(block, node, self._of((node, "in")).digest(), self._of((node, "out")).digest())
            for node in sorted(active)
        ]

    def _of(self, side: tuple[str, str]) -> Any:
        return self._digests.setdefault(side, hashlib.sha256())


def batch_of(rows: Sequence[StoredRow], words: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    """Return `rows` with the columns and dictionaries that a stored block has."""
    columns = []
    for field in schema():
        if field.name == "seq":
            values: list[Any] = [each.seq for each in rows]
        elif field.name == "cause":
            values = [list(each.cause) for each in rows]
        else:
            values = [getattr(each.row, field.name) for each in rows]
        if pa.types.is_dictionary(field.type):
            names = words["kind" if field.name == "kind" else "name"]
            indices = pa.array([names.index(value) for value in values], pa.int32())
            columns.append(pa.DictionaryArray.from_arrays(indices, pa.array(names)))
        else:
            columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema())
