"""JSON from other programs: every value that a payload can hold, in bounded memory, and nothing twofold."""

from __future__ import annotations

import json
import math
from typing import Any

from xtrace.bridges.jsonl import MAX_LINE_BYTES

MAX_MEMBERS = 1 << 21
"""How many commas, colons and brackets a text may have: each can become an object of a hundred bytes in memory."""
_MAX_DIGITS = 20


def read_json(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8, in which no key stands twice and no number is too large.

    NaN and infinities, which some programs write, are taken. Raises ValueError and RecursionError.
    """
    check_size(data)
    return _decode(data.decode())


def check_size(data: bytes) -> None:
    """Raise ValueError for a text that would become too large in memory."""
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"{len(data):,} bytes are more than the limit of {MAX_LINE_BYTES:,}")
    if sum(data.count(each) for each in (b",", b":", b"[", b"{")) > MAX_MEMBERS:
        raise ValueError(f"it has more than {MAX_MEMBERS:,} members")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} does not fit in a 64-bit float")
    return number


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"the integer {text[:40]}… does not fit in 64 bits")
    return int(text)


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer).decode
