"""Where two payloads differ: the path of the first difference and the two values there.

deepdiff sees exactly one pair of payloads, and only where it is quick; it tells an element that was added to a list
from one that was changed. A walk over both values finds what deepdiff holds to be equal (0.0 and -0.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from xtrace.engine.values import Value, encode
from xtrace.golden.divergence import payload_value, shown

DEEPDIFF_BYTES_MAX = 16 * 1024
"""What is longer is only walked: two lists of 8,000 numbers (72 KB) that all differ take deepdiff half a second."""

Step = str | int
"""A key of a dict or an index of a list."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Found(NamedTuple):
    path: tuple[Step, ...]
    expected: Value
    actual: Value


def payload_difference(expected: bytes, actual: bytes) -> tuple[str, Value, Value]:
    """Return path and values, as JSON has them, of the first difference of two payloads that are not the same bytes.

    First means in the order of the canonical encoding. What is absent on one side is None there.
    """
    a, b = payload_value(expected), payload_value(actual)
    found = _walk(a, b, ())
    if found is None:  # no payload at all against the payload None, or bytes in no canonical form
        return "payload", shown(expected), shown(actual)
    if len(expected) + len(actual) <= DEEPDIFF_BYTES_MAX:
        # `min` keeps the earlier one of two that are equal: deepdiff's words for the same place are the better ones.
        found = min([*_deepdiff(a, b), found], key=lambda each: _order(each.path))
    if found.expected is None and found.actual is None and found.path:
        # A key that is None here and absent there: only the parents show it.
        parent = found.path[:-1]
        found = _Found(parent, _lookup(a, parent), _lookup(b, parent))
    return path_text(found.path), shown(found.expected), shown(found.actual)


def path_text(path: Sequence[Step]) -> str:
    """Return a path as it is written everywhere and as DuckDB reads it: `$.a[3]`, `$."a key"`."""
    text = "$"
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if _PLAIN_KEY.fullmatch(step) else f'."{step}"'
    return text


def _walk(a: Value, b: Value, path: tuple[Step, ...]) -> _Found | None:
    """Return the first place where two values have different canonical bytes."""
    if type(a) is dict and type(b) is dict:
        for key in sorted({*a, *b}):
            if key not in a or key not in b:
                return _Found((*path, key), a.get(key), b.get(key))
            if found := _walk(a[key], b[key], (*path, key)):
                return found
        return None
    if type(a) is list and type(b) is list:
        for index, (one, other) in enumerate(zip(a, b, strict=False)):
            if found := _walk(one, other, (*path, index)):
                return found
        shorter, longer = min(len(a), len(b)), max(len(a), len(b))
        if shorter == longer:
            return None
        return _Found(
            (*path, shorter), a[shorter] if len(a) == longer else None, b[shorter] if len(b) == longer else None
        )
    return None if encode(a) == encode(b) else _Found(path, a, b)


def _deepdiff(a: Value, b: Value) -> Iterator[_Found]:
    from deepdiff import DeepDiff
    from deepdiff.helper import notpresent

    def leaf(value: Any) -> Value:
        return None if value is notpresent else value

    tree = DeepDiff(a, b, view="tree", ignore_nan_inequality=True, threshold_to_diff_deeper=0)
    for levels in tree.values():
        for level in levels:
            yield _Found(tuple(level.path(output_format="list")), leaf(level.t1), leaf(level.t2))


def _order(path: tuple[Step, ...]) -> list[tuple[bool, Step]]:
    return [(isinstance(step, str), step) for step in path]


def _lookup(value: Value, path: Sequence[Step]) -> Value:
    for step in path:
        value = value[step]
    return value
