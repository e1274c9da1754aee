"""The full picture of two traces, in SQL: their rows after the last common boundary, in DuckDB, in this process.

Every query stands in `queries/` and says what it answers. Results are ordered, so that they do not depend on threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.capture.index import BlockRecord
from xtrace.engine.deliveries import REASON_END
from xtrace.engine.values import encode
from xtrace.golden.divergence import Count
from xtrace.golden.search import Boundary
from xtrace.golden.trace import BlockReader, of_nodes, without_equal_rows

if TYPE_CHECKING:
    import pyarrow as pa

UNDELIVERED = encode("reason") + encode(REASON_END)
"""How the payload of a drop ends, its keys being sorted, that the end of the run decided and not the network."""

_PLACE = "step, time_us, kind, node, src, dst, type"
_PAIRS = (
    ("value", _PLACE),
    ("time", "kind, node, src, dst, type, payload, object"),
    ("kind", "step, time_us, node, src, dst"),
    ("time", "step, kind, node, src, dst, type"),
)
"""How rows that are not equal are paired, the surest way first."""

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}


class Departures(NamedTuple):
    """The first step in which a node's inputs, outputs or failure differ; None where they do not."""

    input: int | None = None
    output: int | None = None
    abort: int | None = None


class NetworkDeparture(NamedTuple):
    """The first steps in which the network was given other messages and in which a message met another fate.

    `is_root`: one of these fates is of a message before which, and in whose step, it was given the same.
    """

    given_step: int | None
    changed_step: int | None
    is_root: bool


class Alignment:
    """The rows of two traces side by side, as far as they may differ."""

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect(":memory:", config=_SETTINGS)
        for statement in _query("schema").split(";"):
            self._connection.execute(statement)

    def __enter__(self) -> Alignment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def load(self, a: BlockReader, b: BlockReader, start: Boundary, *, nodes: Sequence[str] | None = None) -> None:
        """Add the rows after `start`, those of `nodes` only if given, and find which of them have no equal.

        Blocks of the same steps are compared by columns first: rows that are equal at the same place are left out.
        """
        for block_a, block_b in _pairs(a.trace.blocks[start.block_a :], b.trace.blocks[start.block_b :]):
            sides = [("A", a, block_a), ("B", b, block_b)]
            batches = {side: reader.batch(block) for side, reader, block in sides if block is not None}
            for side, batch in batches.items():
                self._insert("steps", side, batch)
            rows = [of_nodes(batch, nodes) for batch in batches.values()]
            if len(rows) == 2:
                rows = without_equal_rows(*rows)
            for side, batch in zip(batches, rows, strict=True):
                if batch.num_rows:
                    self._insert("rows", side, batch)
        self._connection.execute(_query("rest"))
        self._connection.execute(_query("order"))

    def leave_closing_steps(self) -> None:
        """Forget the steps in which the end of a run drops what is under way."""
        for side, step in self._rows(_query("closing"), {"undelivered": UNDELIVERED.hex().upper()}):
            for table in ("events", "rest", "steps"):
                text = f"DELETE FROM {table} WHERE side = $side AND step = $step"
                self._connection.execute(text, {"side": side, "step": step})

    def last_whole_step(self, side: str) -> int | None:
        """Return the last step of which every output is there, None if there is none."""
        (step,) = self._rows(_query("whole"), {"side": side})[0]
        return None if step is None else int(step)

    def departures(self, *, inputs_end: int, outputs_end: int) -> dict[str, Departures]:
        """Return where each node departs, looking no further than these steps; a node that does not is absent."""
        found: dict[str, Departures] = {}
        for node, direction, step in self._rows(_query("departures"), _ends(inputs_end, outputs_end)):
            found[node] = found.get(node, Departures())._replace(**{direction: step})
        return found

    def network(self, *, inputs_end: int, outputs_end: int) -> NetworkDeparture:
        """Return where the network departs, looking no further than these steps."""
        return NetworkDeparture(*self._rows(_query("fates"), _ends(inputs_end, outputs_end))[0])

    def counts(self) -> tuple[Count, ...]:
        """Return how many rows differ, and how, sorted."""
        for kind, key in _PAIRS:
            self._connection.execute(_query("pair").format(kind=kind, key=key))
        return tuple(Count(*row) for row in self._rows(_query("counts"), {}))

    def _rows(self, text: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        return self._connection.execute(text, parameters).fetchall()

    def _insert(self, query: str, side: str, batch: pa.RecordBatch) -> None:
        import pyarrow as pa

        self._connection.register("incoming", pa.Table.from_batches([batch]))
        self._connection.execute(_query(query), {"side": side})
        self._connection.unregister("incoming")


@cache
def _query(name: str) -> str:
    return (files("xtrace.golden") / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def _ends(inputs_end: int, outputs_end: int) -> dict[str, object]:
    return {"inputs_end": inputs_end, "outputs_end": outputs_end}


def _pairs(a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> list[tuple[int | None, int | None]]:
    """Return the blocks of A, each with a block of B of the same steps if there is one, and the other blocks of B."""
    by_steps: dict[tuple[int, int], int] = {}
    for record in b:
        by_steps.setdefault((record.first_step, record.last_step), record.block)
    pairs: list[tuple[int | None, int | None]] = [
        (record.block, by_steps.pop((record.first_step, record.last_step), None)) for record in a
    ]
    taken = {block for _, block in pairs}
    return [*pairs, *((None, record.block) for record in b if record.block not in taken)]
