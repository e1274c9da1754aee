"""Durations as people write them: an integer or decimal number and its unit, `250us`, `10ms`, `1.5s`."""

from __future__ import annotations

import re
from decimal import Decimal

UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
MAX_TIME_US = 2**62
"""Virtual times and durations end here (146,000 years), so that sums of two stay within 64 bits."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def parse_duration(text: object) -> int:
    """Return the duration `text` in microseconds.

    Raises ValueError, with the remedy in its text, for a bare number, an unknown unit, or a fraction of
    a microsecond.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f"a duration needs its unit: write {text}us, {text}ms or {text}s instead of {text}")
    if not isinstance(text, str):
        raise ValueError(f"a duration such as 10ms is expected, not {text!r}")
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        hint = f": write {text}us, {text}ms or {text}s" if re.fullmatch(r"\d+(\.\d+)?", text) else ""
        raise ValueError(f"{text!r} is not a duration such as 250us, 10ms or 60s{hint}")
    number, unit = match.groups()
    if unit not in UNITS_US:
        raise ValueError(f"unknown unit {unit!r} in {text!r}; known: {', '.join(UNITS_US)}")
    duration_us = Decimal(number) * UNITS_US[unit]
    if duration_us != int(duration_us):
        raise ValueError(f"{text!r} is not a whole number of microseconds")
    if duration_us > MAX_TIME_US:
        raise ValueError(f"{text!r} is longer than the limit of {MAX_TIME_US} us")
    return int(duration_us)


def seconds(time_us: int) -> str:
    """Return a virtual time in seconds, exact, in the spelling that options take: `1.250000s`."""
    return f"{time_us // 1_000_000}.{time_us % 1_000_000:06}s"


def format_duration(duration_us: int) -> str:
    """Return `duration_us` with the largest unit that keeps it a whole number: 1500000 -> '1500ms'."""
    if duration_us == 0:
        return "0s"
    for unit in ("d", "h", "min", "s", "ms"):
        if duration_us % UNITS_US[unit] == 0:
            return f"{duration_us // UNITS_US[unit]}{unit}"
    return f"{duration_us}us"
