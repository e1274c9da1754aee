"""Finds the first divergence: by the running digests to a block, by columns to a row, from there row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from xtrace.capture.index import BlockRecord
from xtrace.engine.recorder import NETWORK, Row
from xtrace.golden.classify import classify
from xtrace.golden.divergence import Divergence
from xtrace.golden.trace import BlockReader, equal_beginning, of_nodes

if TYPE_CHECKING:
    import pyarrow as pa

LOOKAHEAD_EVENTS = 256
"""How many rows of the diverging node are looked at on either side to tell what kind of difference it is."""
LOOKAHEAD_ROWS = 65_536
"""How many rows of all nodes are read at most on either side to find them."""
PIECE_ROWS = 1_024
"""So many rows at a time become Python objects: rarely are more than the first few looked at."""

Stream = tuple[int, str]
"""The rows that one node receives, or emits: their phase within a step, and the node."""

_INPUTS, _FAILURE, _OUTPUTS, _NETWORK_FAILURE, _DROPS, _END = range(6)
_PHASES = {"input": _INPUTS, "drop": _DROPS, "step": _END}


class Boundary(NamedTuple):
    """Where two traces are known to be equal up to: the first block of A and of B after it, and the seq there."""

    block_a: int
    block_b: int
    seq: int


class StepRows(NamedTuple):
    """The rows of one step in both traces."""

    step: int
    expected: list[Row]
    actual: list[Row]


def _nothing(rows: list[Row]) -> bool:
    return False


def last_common_boundary(a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> Boundary:
    """Return the last place where a block ends in both traces with equal running digests.

    Running digests that are equal after the same number of rows cover equal rows, so the places where both traces end a
    block are equal up to one of them and different from there on, whatever the cuts between them.
    """
    ends_b = {record.first_seq + record.rows: record for record in b}
    shared = [(record, ends_b[end]) for record in a if (end := record.first_seq + record.rows) in ends_b]
    low, high = 0, len(shared)
    while low < high:
        middle = (low + high) // 2
        one, other = shared[middle]
        if one.digest == other.digest:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return Boundary(0, 0, 0)
    one, other = shared[low - 1]
    return Boundary(one.block + 1, other.block + 1, one.first_seq + one.rows)


def first_divergence(
    a: BlockReader,
    b: BlockReader,
    start: Boundary,
    *,
    nodes: Sequence[str] | None = None,
    ignored: Callable[[list[Row]], bool] = _nothing,
) -> Divergence | None:
    """Return the first difference of the rows after `start`, those of `nodes` only if given, or None.

    First is what comes first in the order of rows: step, phase, time, source. The order of rows of different nodes
    is no difference: it follows from the rows. `ignored` tells steps by their rows that are none of the system's doing.
    """
    expected = _Cursor(a.batches(start.block_a, nodes=nodes))
    actual = _Cursor(b.batches(start.block_b, nodes=nodes))
    _skip_equal(expected, actual)
    steps = _step_by_step(expected.rows(), actual.rows(), ignored)
    for rows in steps:
        if rows.expected != rows.actual and (departure := _first_departure(rows)) is not None:
            return classify(*_windows(departure, expected, actual, steps), payloads=(a.trace.payload, b.trace.payload))
    return None


class _Cursor:
    """A place in a sequence of batches, moved on by columns without making Python objects of the rows."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._node: str | None = None
        self._rows_left: int | None = None
        self.batch: pa.RecordBatch | None = None
        self.cut_step: int | None = None
        """The first step of which rows may be missing, because more were not to be read."""

    def available(self) -> int:
        """Return how many rows `batch` holds, reading the next one if it is used up; 0 at the end."""
        while self.batch is None or self.batch.num_rows == 0:
            self.batch = next(self._batches, None)
            if self.batch is None:
                return 0
        return int(self.batch.num_rows)

    def skip(self, rows: int) -> None:
        assert self.batch is not None
        self.batch = self.batch.slice(rows)

    def narrow(self, node: str | None) -> None:
        """From here on, let `rows` yield those of `node` only (None: all), and look at LOOKAHEAD_ROWS at most."""
        self._node, self._rows_left = node, LOOKAHEAD_ROWS

    def rows(self) -> Iterator[Row]:
        """Yield what is left."""
        while self.available():
            assert self.batch is not None
            if self._rows_left is not None:
                if self._rows_left <= 0:
                    self.cut_step = self.batch.column("step")[0].as_py()
                    return
                self._rows_left -= PIECE_ROWS
            piece = self.batch.slice(0, PIECE_ROWS)
            self.skip(PIECE_ROWS)
            wanted = of_nodes(piece, None if self._node is None else [self._node])
            columns = [wanted.column(name).to_pylist() for name in Row._fields]
            yield from map(Row._make, zip(*columns, strict=True))


def _skip_equal(a: _Cursor, b: _Cursor) -> None:
    """Move both cursors to the first rows that are not equal."""
    while (rows := min(a.available(), b.available())) > 0:
        equal = equal_beginning(a.batch, b.batch)
        a.skip(equal)
        b.skip(equal)
        if equal < rows:
            return


def _step_by_step(
    expected: Iterator[Row], actual: Iterator[Row], ignored: Callable[[list[Row]], bool]
) -> Iterator[StepRows]:
    """Yield the rows of both traces by step; a step that one of them lacks is empty there."""
    steps_a, steps_b = (groupby(rows, key=lambda row: row.step) for rows in (expected, actual))
    a, b = next(steps_a, None), next(steps_b, None)
    while a is not None or b is not None:
        step = min(each[0] for each in (a, b) if each is not None)
        rows_a: list[Row] = []
        rows_b: list[Row] = []
        if a is not None and a[0] == step:
            rows_a = list(a[1])
            a = next(steps_a, None)
        if b is not None and b[0] == step:
            rows_b = list(b[1])
            b = next(steps_b, None)
        yield StepRows(step, [] if ignored(rows_a) else rows_a, [] if ignored(rows_b) else rows_b)


class _Departure(NamedTuple):
    """The first stream that differs in a step, and its rows there from the first difference on."""

    stream: Stream
    expected: list[Row]
    actual: list[Row]


def _first_departure(rows: StepRows) -> _Departure | None:
    streams_a, streams_b = _by_stream(rows.expected), _by_stream(rows.actual)
    found: list[tuple[tuple[int, int, str, int], _Departure]] = []
    for stream in sorted({*streams_a, *streams_b}):
        a, b = streams_a.get(stream, []), streams_b.get(stream, [])
        if [row for _, row in a] == [row for _, row in b]:
            continue
        same = sum(1 for _ in _equal_beginning(a, b))
        heads = [*a[same : same + 1], *b[same : same + 1]]
        first = min((stream[0], row.time_us, row.src, position) for position, row in heads)
        found.append((first, _Departure(stream, [row for _, row in a[same:]], [row for _, row in b[same:]])))
    return min(found, key=lambda each: each[0])[1] if found else None


def _equal_beginning(a: list[tuple[int, Row]], b: list[tuple[int, Row]]) -> Iterator[Row]:
    for (_, one), (_, other) in zip(a, b, strict=False):
        if one != other:
            return
        yield one


def _by_stream(rows: list[Row]) -> dict[Stream, list[tuple[int, Row]]]:
    streams: dict[Stream, list[tuple[int, Row]]] = {}
    for position, row in enumerate(rows):
        streams.setdefault(_stream(row), []).append((position, row))
    return streams


def _stream(row: Row) -> Stream:
    """A failed node discards the outputs of all, so its failure stands before them; the network fails after them."""
    if row.kind == "abort":
        return (_NETWORK_FAILURE if row.node == NETWORK else _FAILURE), ""
    return _PHASES.get(row.kind, _OUTPUTS), row.node


def _windows(departure: _Departure, a: _Cursor, b: _Cursor, steps: Iterator[StepRows]) -> tuple[list[Row], list[Row]]:
    """Return the rows of the departing stream in both traces, up to the end of the same step."""
    stream, expected, actual = departure
    for cursor in (a, b):
        cursor.narrow(None if stream[0] in (_FAILURE, _NETWORK_FAILURE) else stream[1])
    this_step = (expected or actual)[0].step
    while max(len(expected), len(actual)) < LOOKAHEAD_EVENTS and (following := next(steps, None)) is not None:
        expected += [row for row in following.expected if _stream(row) == stream]
        actual += [row for row in following.actual if _stream(row) == stream]
    end = min((cursor.cut_step for cursor in (a, b) if cursor.cut_step is not None), default=None)
    if end is not None:
        expected, actual = (
            [row for row in rows if row.step < end or row.step == this_step] for rows in (expected, actual)
        )
    return expected, actual
