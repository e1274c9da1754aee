"""JSON from strangers: read in bounded memory, and in one way only.

Two keys of one name, NaN, UTF-16 and lone surrogates are read differently by different programs, or can't be printed:
a manifest that somebody signed must say the same to everybody.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

MAX_BYTES = 32 * 1024 * 1024
MAX_MEMBERS = 1 << 21
"""How many commas, colons and brackets a text may have: each can become an object of a hundred bytes in memory."""
MAX_DEPTH = 100


def parse(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8. Raises ValueError."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data):,} bytes are more than the limit of {MAX_BYTES:,}")
    members = sum(data.count(each) for each in (b",", b":", b"[", b"{"))
    if members > MAX_MEMBERS:
        raise ValueError(f"it has more than {MAX_MEMBERS:,} members")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if b"\\u" in data:
        json.dumps(value, ensure_ascii=False).encode()  # raises UnicodeEncodeError for a lone surrogate
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return members


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether containers are nested deeper than `depth`, without a call for each level."""
    level: list[Any] = [value]
    for _ in range(depth):
        level = [member for each in level for member in _members(each) if isinstance(member, dict | list)]
        if not level:
            return False
    return True


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
