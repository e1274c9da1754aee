"""The rows of a block while it grows: many small pieces, kept as they come in, put together when they are written."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat, starmap
from typing import Any, NamedTuple

Cause = int | Sequence[int]
"""The row, or the rows, that caused one."""


Piece = tuple[
    int,  # step
    str,  # kind
    Sequence[int],  # time_us
    Sequence[str],  # node
    Sequence[str],  # src
    Sequence[str],  # dst
    Sequence[str],  # type
    Sequence[int],  # late_us
    Sequence[bytes],  # payload
    Sequence[Cause],  # cause
]
"""Rows of one step and kind, by column. A plain tuple: there is one for every call of the recorder."""


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
        return integers("q", chain.from_iterable(starmap(repeat, [(step, count) for step, _, count in self.runs])))

    def kinds(self, index: Mapping[str, int]) -> array[int]:
        """Return the column `kind` as numbers of `index`."""
        pairs = [(index[kind], count) for _, kind, count in self.runs]
        return integers("i", chain.from_iterable(starmap(repeat, pairs)))


class Pending:
    """The rows that are in no block yet; the first one is row `first_seq` of the run."""

    def __init__(self, first_seq: int) -> None:
        self.first_seq = first_seq
        self.rows = 0
        self.payload_bytes = 0
        self.object: dict[int, str] = {}
        """The objects that hold payloads, by row."""
        self.pieces: list[Piece] = []

    def add(self, piece: Piece, count: int) -> int:
        """Add `count` rows and return the seq of the first."""
        first = self.first_seq + self.rows
        self.rows += count
        self.pieces.append(piece)
        return first

    def steps(self) -> int:
        """Return how many steps have ended in these rows."""
        return sum(piece[1] == "step" for piece in self.pieces)

    def drop_last_step(self) -> int:
        """Forget the rows of the last step and return its number."""
        step = self.pieces[-1][0]
        while self.pieces and self.pieces[-1][0] == step:
            self.rows -= len(self.pieces.pop()[2])
        self.object = {row: name for row, name in self.object.items() if row < self.rows}
        return step

    def drop_unfinished_step(self) -> None:
        """Forget the rows of the last step unless it has ended."""
        if self.pieces and self.pieces[-1][1] != "step":
            self.drop_last_step()

    def columns(self, *, first_piece: int = 0, first_row: int = 0) -> Columns:
        """Return the rows from piece `first_piece` on, which begins with row `first_row`."""
        pieces: list[Any] = self.pieces[first_piece:]

        def column(field: int) -> Iterable[Any]:
            return chain.from_iterable([piece[field] for piece in pieces])

        counts, cause = _flat(column(9))
        return Columns(
            first_seq=self.first_seq + first_row,
            runs=[(piece[0], piece[1], len(piece[2])) for piece in pieces],
            time_us=integers("q", column(2)),
            node=list(column(3)),
            src=list(column(4)),
            dst=list(column(5)),
            type=list(column(6)),
            late_us=integers("q", column(7)),
            payload=list(column(8)),
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
