"""The rows of a block while it grows: many small pieces, kept as they come in, put together when they are written."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

Cause = int | Sequence[int]
"""The row, or the rows, that caused one."""


class Piece(NamedTuple):
    """Rows of one step and kind, by column. Nobody changes the columns any more."""

    step: int
    kind: str
    time_us: Sequence[int]
    node: Sequence[str]
    src: Sequence[str]
    dst: Sequence[str]
    type: Sequence[str]
    late_us: Sequence[int]
    payload: Sequence[bytes]
    cause: Sequence[Cause]


class Columns(NamedTuple):
    """Rows by column, one list a field, as they go into Arrow and into the journal.

    `runs` has step, kind and number of the rows that have both in common. `object` names the objects that hold
    payloads, by row, nearly always none. `causes` says how many of `cause` each row has.
    """

    first_seq: int
    runs: list[tuple[int, str, int]]
    time_us: array[int]
    node: list[str]
    src: list[str]
    dst: list[str]
    type: list[str]
    late_us: array[int]
    payload: list[bytes]
    object: dict[int, str]
    causes: array[int]
    cause: array[int]

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return len(self.time_us)

    def steps(self) -> array[int]:
        """Return the column `step`."""
        return integers("q", chain.from_iterable(repeat(step, count) for step, _, count in self.runs))

    def kinds(self, index: Mapping[str, int]) -> array[int]:
        """Return the column `kind` as numbers of `index`."""
        return integers("i", chain.from_iterable(repeat(index[kind], count) for _, kind, count in self.runs))


class Pending:
    """The rows that are in no block yet; the first one is row `first_seq` of the run."""

    def __init__(self, first_seq: int) -> None:
        self.first_seq = first_seq
        self.rows = 0
        self.payload_bytes = 0
        self.object: dict[int, str] = {}
        """The objects that hold payloads, by row."""
        self.pieces: list[Piece] = []

    def add(self, piece: Piece) -> int:
        """Add rows and return the number of the first."""
        first = self.rows
        self.rows += len(piece[2])
        self.pieces.append(piece)
        return self.first_seq + first

    def steps(self) -> int:
        """Return how many steps have ended in these rows."""
        return sum(piece.kind == "step" for piece in self.pieces)

    def drop_last_step(self) -> int:
        """Forget the rows of the last step and return its number."""
        step = self.pieces[-1][0]
        while self.pieces and self.pieces[-1][0] == step:
            self.rows -= len(self.pieces.pop()[2])
        self.object = {row: name for row, name in self.object.items() if row < self.rows}
        return step

    def columns(self, *, first_piece: int = 0, first_row: int = 0) -> Columns:
        """Return the rows from piece `first_piece` on, which begins with row `first_row`."""
        steps, kinds, times, nodes, srcs, dsts, types, lates, payloads, causes = zip(
            *self.pieces[first_piece:], strict=True
        )
        counts, cause = _flat(chain.from_iterable(causes))
        return Columns(
            first_seq=self.first_seq + first_row,
            runs=list(zip(steps, kinds, map(len, times), strict=True)),
            time_us=integers("q", chain.from_iterable(times)),
            node=list(chain.from_iterable(nodes)),
            src=list(chain.from_iterable(srcs)),
            dst=list(chain.from_iterable(dsts)),
            type=list(chain.from_iterable(types)),
            late_us=integers("q", chain.from_iterable(lates)),
            payload=list(chain.from_iterable(payloads)),
            object={row - first_row: name for row, name in self.object.items() if row >= first_row},
            causes=counts,
            cause=cause,
        )


def integers(form: str, values: Iterable[int]) -> array[int]:
    """Return an array of the struct format `form`; through a list, which is twice as fast. Raises OverflowError."""
    numbers = array(form)
    numbers.fromlist(list(values))
    return numbers


def _flat(causes: Iterable[Cause]) -> tuple[array[int], array[int]]:
    """Return how many causes each row has, and all of them."""
    rows = [(each,) if type(each) is int else each for each in causes]
    return integers("i", map(len, rows)), integers("q", chain.from_iterable(rows))  # type: ignore[arg-type]
