"""The full picture of two traces, in SQL: their rows after the last common boundary, in DuckDB, in this process.

Every query stands in `queries/` and says what it answers. Results are ordered, so that they do not depend on threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.capture.layout import schema
from xtrace.engine.deliveries import REASON_END
from xtrace.engine.values import encode
from xtrace.golden.divergence import Count
from xtrace.golden.trace import BlockReader

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
    """The rows of two traces side by side."""

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

    def load(self, side: str, reader: BlockReader, first_block: int) -> None:
        """Add the rows of a trace from `first_block` on as side A or B."""
        import pyarrow as pa

        batches = _plain(reader.batches(first_block))
        incoming = pa.RecordBatchReader.from_batches(_plain_schema(), batches)
        self._connection.register("incoming", incoming)
        self._connection.execute(_query("rows"), {"side": side})
        self._connection.unregister("incoming")

    def leave_closing_steps(self) -> None:
        """Forget the steps in which the end of a run drops what is under way."""
        self._connection.execute(_query("closing"), {"undelivered": UNDELIVERED.hex().upper()})

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
        self._connection.execute(_query("rest"))
        self._connection.execute(_query("order"))
        for kind, key in _PAIRS:
            self._connection.execute(_query("pair").format(kind=kind, key=key))
        return tuple(Count(*row) for row in self._rows(_query("counts"), {}))

    def _rows(self, text: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        return self._connection.execute(text, parameters).fetchall()


def _query(name: str) -> str:
    return (files("xtrace.golden") / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def _ends(inputs_end: int, outputs_end: int) -> dict[str, object]:
    return {"inputs_end": inputs_end, "outputs_end": outputs_end}


def _plain_schema() -> pa.Schema:
    """The columns that are loaded, dictionaries as text: two traces need not share a vocabulary."""
    import pyarrow as pa

    stored = schema()
    types = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in stored]
    return pa.schema([*zip(stored.names, types, strict=True)])


def _plain(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    wanted = _plain_schema()
    for batch in batches:
        yield batch.select(wanted.names).cast(wanted)
