"""One change to a recorded trace, and what a comparison has to say about it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.golden.synthetic import STEP_US

from xtrace.capture.blocks import StoredRow
from xtrace.engine.recorder import Row
from xtrace.engine.values import decode, encode


class Mutated(NamedTuple):
    """The rows after the change, and the divergence that it makes."""

    rows: list[StoredRow]
    node: str
    step: int
    kind: str
    field: str | None


def renumbered(rows: Sequence[StoredRow]) -> list[StoredRow]:
    """Return `rows` numbered from 0, with causes that still name the same rows; a row that is new has the seq -1."""
    place = {row.seq: index for index, row in enumerate(rows)}
    return [
        StoredRow(index, row.row, tuple(place[cause] for cause in row.cause if cause in place))
        for index, row in enumerate(rows)
    ]


def change_value(rows: Sequence[StoredRow], rng: random.Random) -> Mutated:
    index = _pick(rows, rng, "input", "output", "drop")
    row = rows[index].row
    payload = decode(row.payload)
    if row.kind == "drop":
        field, payload["due_us"] = "$.due_us", payload["due_us"] + 1
    else:
        field = rng.choice(("$.a[0]", "$.a[1]", "$.n", "$.x"))
        if field.startswith("$.a"):
            payload["a"][int(field[4])] += 1.5
        else:
            payload[field[2]] = rng.choice(("text", b"\0", -1, 2.5, True))
    return _replaced(rows, index, row._replace(payload=encode(payload)), "value", field)


def change_type(rows: Sequence[StoredRow], rng: random.Random) -> Mutated:
    index = _pick(rows, rng, "input", "output", "drop")
    return _replaced(rows, index, rows[index].row._replace(type="strange"), "kind", "type")


def drop(rows: Sequence[StoredRow], rng: random.Random) -> Mutated:
    index = _pick(rows, rng, "input", "output", "drop")
    row = rows[index].row
    return Mutated(renumbered([*rows[:index], *rows[index + 1 :]]), row.node, row.step, "missing", None)


def insert(rows: Sequence[StoredRow], rng: random.Random) -> Mutated:
    index = _pick(rows, rng, "input", "output", "drop")
    row = rows[index].row
    payload = row.payload if rng.random() < 0.3 else encode({"new": rng.random()})
    added = StoredRow(-1, row._replace(payload=payload), rows[index].cause)
    return Mutated(renumbered([*rows[: index + 1], added, *rows[index + 1 :]]), row.node, row.step, "extra", None)


def retime(rows: Sequence[StoredRow], rng: random.Random) -> Mutated:
    """Move an output or a drop within its step, to where it belongs in the order of rows."""
    index = _pick(rows, rng, "output", "drop", closing=False)
    row = rows[index].row
    start_us = (row.step - 1) * STEP_US
    time_us = rng.choice([time for time in range(start_us, start_us + STEP_US, 50) if time != row.time_us])
    moved = rows[index]._replace(row=row._replace(time_us=time_us))
    changed = [*rows[:index], *rows[index + 1 :]]
    place = next((at for at, each in enumerate(changed) if _rank(each.row) > _rank(moved.row)), len(changed))
    return Mutated(renumbered([*changed[:place], moved, *changed[place:]]), row.node, row.step, "time", "time_us")


def delay(rows: Sequence[StoredRow], rng: random.Random) -> Mutated:
    """Deliver a message one to three steps later."""
    index = _pick(rows, rng, "input", closing=False)
    row = rows[index].row
    later = rng.randrange(1, 4)
    step, time_us = row.step + later, row.time_us + later * STEP_US
    moved = rows[index]._replace(row=row._replace(step=step, time_us=time_us))
    changed = [*rows[:index], *rows[index + 1 :]]
    place = next((at for at, each in enumerate(changed) if _rank(each.row) > _rank(moved.row)), len(changed))
    return Mutated(renumbered([*changed[:place], moved, *changed[place:]]), row.node, row.step, "time", "time_us")


def swap(rows: Sequence[StoredRow], rng: random.Random) -> Mutated:
    """Exchange what two following outputs of a node in one step say, each at the other's time."""
    pairs = [
        (index, later)
        for index, one in enumerate(rows)
        if (later := _next_of_stream(rows, index)) is not None
        if one.row.kind == "output" and _said(one.row) != _said(rows[later].row)
    ]
    index, later = rng.choice(pairs)
    one, other = rows[index].row, rows[later].row
    changed = list(rows)
    changed[index] = rows[later]._replace(row=other._replace(time_us=one.time_us))
    changed[later] = rows[index]._replace(row=one._replace(time_us=other.time_us))
    return Mutated(renumbered(changed), one.node, one.step, "order", None)


MUTATIONS: tuple[Callable[[Sequence[StoredRow], random.Random], Mutated], ...] = (
    change_value,
    change_type,
    drop,
    insert,
    retime,
    delay,
    swap,
)


def _pick(rows: Sequence[StoredRow], rng: random.Random, *kinds: str, closing: bool = True) -> int:
    last = max(row.row.step for row in rows)
    return rng.choice(
        [index for index, each in enumerate(rows) if each.row.kind in kinds and (closing or each.row.step < last)]
    )


def _replaced(rows: Sequence[StoredRow], index: int, row: Row, kind: str, field: str) -> Mutated:
    changed = list(rows)
    changed[index] = rows[index]._replace(row=row)
    return Mutated(changed, row.node, row.step, kind, field)


def _rank(row: Row) -> tuple[int, int, int, str]:
    return row.step, ("input", "output", "drop", "step").index(row.kind), row.time_us, row.src


def _next_of_stream(rows: Sequence[StoredRow], index: int) -> int | None:
    row = rows[index].row
    key = row.step, row.kind, row.node
    for later in range(index + 1, len(rows)):
        each = rows[later].row
        if (each.step, each.kind, each.node) == key:
            return later
        if each.step > row.step:
            return None
    return None


def _said(row: Row) -> tuple[str, str, bytes]:
    return row.dst, row.type, row.payload
