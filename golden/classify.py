"""What kind of difference two sequences of a node's rows begin with.

Both sequences are windows that start with the first row that differs and end with the same step, so that a row which is
in one and not in the other is really not there. An event that was deleted must read `missing`, not as a cascade of
changed values, and likewise for one that was added, moved, or that changed places with another.

A row whose payload is an object has its name: equal names are equal payloads. Only the payloads of two rows that are
held to be the same event are loaded, each by the function for its side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence

from xtrace.engine.recorder import Row
from xtrace.engine.values import Value
from xtrace.golden.divergence import Divergence, event
from xtrace.golden.fields import payload_difference

_Pair = tuple[Row | None, Row | None]

Payloads = tuple[Callable[[Row], bytes], Callable[[Row], bytes]]
"""How to get the payload of a row of the expected side, and of the actual one."""


def classify(expected: Sequence[Row], actual: Sequence[Row], *, payloads: Payloads | None = None) -> Divergence:
    """Return the divergence at the head of two windows, whose first rows differ or of which one is empty."""
    a, b = next(iter(expected), None), next(iter(actual), None)
    if a is None or b is None:
        return row_divergence(a, b)
    lost, new = _unmatched(expected, actual, _whole)
    if lost and new:
        pair = _both_unmatched(expected, actual)
    else:
        pair = _one_unmatched(expected, actual, lost=lost, new=new)
    return pair if isinstance(pair, Divergence) else row_divergence(*pair, payloads=payloads)


def row_divergence(expected: Row | None, actual: Row | None, *, payloads: Payloads | None = None) -> Divergence:
    """Return the difference of two rows that are held to be the same event. They must not be equal."""
    if expected is None or actual is None:
        row = expected or actual
        assert row is not None
        return _divergence(row, "missing" if actual is None else "extra", None, event(expected), event(actual))
    a, b = expected, actual
    assert a != b
    if _slot(a) == _slot(b) and (a.kind, a.type) != (b.kind, b.type):
        return _by_column(a, b, "kind", "kind" if a.kind != b.kind else "type")
    if _route(a) == _route(b) and _moment(a) != _moment(b):
        return _by_column(a, b, "time", "time_us" if a.time_us != b.time_us else "step")
    if (a.kind, a.type, _moment(a)) == (b.kind, b.type, _moment(b)):
        return _value(a, b, payloads or (_inline, _inline))
    return row_divergence(a, None) if _place(a) <= _place(b) else row_divergence(None, b)


def _one_unmatched(expected: Sequence[Row], actual: Sequence[Row], *, lost: bool, new: bool) -> Divergence | _Pair:
    """Classify heads of which at most one is not found on the other side, or say which rows are the same event."""
    a, b = expected[0], actual[0]
    if lost:
        return a, _partner(a, _unmatched_rows(actual, expected))
    if new:
        return _partner(b, _unmatched_rows(expected, actual)), b
    return _divergence(a, "order", None, event(a), event(b))


def _both_unmatched(expected: Sequence[Row], actual: Sequence[Row]) -> Divergence | _Pair:
    """Classify heads that both have no equal on the other side, or say which rows are the same event."""
    a, b = expected[0], actual[0]
    if _transposed(expected, actual):
        return _divergence(a, "order", None, event(a), event(b))
    if _content(a) == _content(b) or _slot(a) == _slot(b):
        return a, b
    # Everything may have changed from here on: what stands at which time tells what came in or fell out.
    lost, new = _unmatched(expected, actual, _identity)
    if lost and new:
        return a, b
    return _one_unmatched(expected, actual, lost=lost, new=new)


def _unmatched(expected: Sequence[Row], actual: Sequence[Row], key: Callable[[Row], Hashable]) -> tuple[bool, bool]:
    """Return whether the head of each side occurs there more often than on the other side."""
    in_expected, in_actual = Counter(map(key, expected)), Counter(map(key, actual))
    a, b = key(expected[0]), key(actual[0])
    return in_expected[a] > in_actual[a], in_actual[b] > in_expected[b]


def _unmatched_rows(rows: Sequence[Row], others: Sequence[Row]) -> Iterator[Row]:
    """Yield those of `rows` that `others` lacks."""
    left = Counter(others)
    for row in rows:
        if left[row]:
            left[row] -= 1
        else:
            yield row


def _partner(row: Row, candidates: Iterator[Row]) -> Row | None:
    """Return the candidate that is `row` at another time (the nearest), or else of another type or kind."""
    found = list(candidates)
    moved = [each for each in found if _content(each) == _content(row)]
    if moved:
        return min(moved, key=lambda each: (abs(each.time_us - row.time_us), each.step))
    return next((each for each in found if _slot(each) == _slot(row)), None)


def _transposed(expected: Sequence[Row], actual: Sequence[Row]) -> bool:
    """Return whether two events changed places and nothing else changed: times stay, contents are exchanged."""
    if len(expected) != len(actual):
        return False
    places = [index for index, (a, b) in enumerate(zip(expected, actual, strict=True)) if a != b]
    if len(places) != 2:
        return False
    (a, c), (b, d) = ([rows[index] for index in places] for rows in (expected, actual))
    return (_content(a), _content(c)) == (_content(d), _content(b)) and (_moment(a), _moment(c)) == (
        _moment(b),
        _moment(d),
    )


def _value(a: Row, b: Row, payloads: Payloads) -> Divergence:
    for column in ("src", "dst", "node"):
        if getattr(a, column) != getattr(b, column):
            return _by_column(a, b, "value", column)
    if (a.payload, a.object) != (b.payload, b.object):
        expected, actual = payloads[0](a), payloads[1](b)
        if expected != actual:
            return _divergence(a, "value", *payload_difference(expected, actual))
    return _by_column(a, b, "value", "late_us" if a.late_us != b.late_us else "object")


def _inline(row: Row) -> bytes:
    return row.payload


def _by_column(a: Row, b: Row, kind: str, column: str) -> Divergence:
    return _divergence(min(a, b, key=_place), kind, column, getattr(a, column), getattr(b, column))


def _divergence(row: Row, kind: str, field: str | None, expected: Value, actual: Value) -> Divergence:
    return Divergence(
        step=row.step,
        time_us=row.time_us,
        node=row.node,
        kind=kind,
        type=row.type,
        field=field,
        expected=expected,
        actual=actual,
        row_kind=row.kind,
        src=row.src,
        dst=row.dst,
    )


def _whole(row: Row) -> Row:
    return row


def _moment(row: Row) -> tuple[int, int]:
    return row.step, row.time_us


def _place(row: Row) -> tuple[int, int, str, str]:
    return row.step, row.time_us, row.src, row.dst


def _slot(row: Row) -> tuple[int, int, str, str, str]:
    return row.step, row.time_us, row.node, row.src, row.dst


def _route(row: Row) -> tuple[str, str, str, str, str]:
    return row.kind, row.node, row.src, row.dst, row.type


def _content(row: Row) -> tuple[str, str, str, str, str, bytes, str]:
    return *_route(row), row.payload, row.object


def _identity(row: Row) -> tuple[int, int, str, str, str, str, str]:
    return *_moment(row), *_route(row)
