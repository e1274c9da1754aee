"""Checks a value against its `Option` and brings it into its one normal form."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from xtrace.engine.duration import format_duration, parse_duration
from xtrace.engine.errors import InputError
from xtrace.engine.node import Option
from xtrace.engine.registry import unknown
from xtrace.engine.values import MAX_INT
from xtrace.scenarios.problems import describe

UNITS_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
MAX_QUANTITY_LENGTH = 64
"""A duration or size longer than this is no number that anybody wrote."""

AUTO = "auto"
"""Stands for a value that is worked out, where it is the default; given as None."""

_BYTES = re.compile(r"([0-9]+)\s*([A-Za-z]+)")


class Normal(NamedTuple):
    """A checked value: as the normalised document has it, and as the node gets it (durations and sizes as integers)."""

    written: Any
    given: Any


def normalise(option: Option, value: Any) -> Normal:
    """Return the normal forms of `value`, plain data already. Raises ValueError with what is wrong and what to do."""
    if value is None and option.default is None and not option.required:
        return Normal(None, None)
    if option.kind == "duration" and value == option.default == AUTO:
        return Normal(AUTO, None)
    normal = _KINDS[option.kind](value)
    if option.choices and normal.given not in option.choices:
        raise ValueError(unknown(normal.given, option.choices, "value"))
    _check_range(option, normal)
    if option.check is not None and normal.given is not None:
        try:
            option.check(normal.given)
        except (InputError, ArithmeticError) as error:
            raise ValueError("; ".join(getattr(error, "problems", ["is too large"]))) from error
    return normal


def default(option: Option) -> Normal:
    """Return the normal forms of the default of `option`: written as a user would, or as the node gets it."""
    value = option.default
    if type(value) is int and option.kind in _FORMATS:
        value = _FORMATS[option.kind](value)
    return normalise(option, list(value) if isinstance(value, tuple) else value)


def parse_bytes(text: object) -> int:
    """Return the size `text`, such as 64KiB, in bytes. Raises ValueError with the remedy in its text."""
    if isinstance(text, int) and not isinstance(text, bool):
        raise ValueError(f"a size needs its unit: write {text}B, {text}KiB or {text}MiB instead of {text}")
    match = _BYTES.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= MAX_QUANTITY_LENGTH else None
    if match is None:
        raise ValueError(f"expected a size such as 64KiB, not {describe(text)}")
    number, unit = match.groups()
    if unit not in UNITS_BYTES:
        raise ValueError(unknown(unit, UNITS_BYTES, "unit of size"))
    size_bytes = int(number) * UNITS_BYTES[unit]
    if size_bytes > MAX_INT:
        raise ValueError(f"{text!r} is longer than the limit of {MAX_INT} bytes")
    return size_bytes


def format_bytes(size_bytes: int) -> str:
    """Return `size_bytes` with the largest binary unit that keeps it a whole number: 65536 -> '64KiB'."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % UNITS_BYTES[unit] == 0:
            return f"{size_bytes // UNITS_BYTES[unit]}{unit}"
    return f"{size_bytes}B"


def _check_range(option: Option, normal: Normal) -> None:
    if option.minimum is not None and normal.given < option.minimum:
        at_least = format_duration(option.minimum) if option.kind == "duration" else option.minimum
        raise ValueError(f"{normal.written} is too small: at least {at_least} is expected")
    if option.maximum is not None and normal.given > option.maximum:
        raise ValueError(f"{normal.written} is too large: at most {option.maximum} is expected")


def _plain(kind: type, words: str) -> Callable[[Any], Normal]:
    def check(value: Any) -> Normal:
        if type(value) is not kind:
            hint = ": put it in quotes" if kind is str and isinstance(value, bool | int | float) else ""
            raise ValueError(f"expected {words}, not {describe(value)}{hint}")
        return Normal(value, value)

    return check


def _number(value: Any) -> Normal:
    if type(value) not in (int, float):
        raise ValueError(f"expected a number, not {describe(value)}")
    return Normal(float(value), float(value))


def _duration(value: Any) -> Normal:
    if isinstance(value, str) and len(value) > MAX_QUANTITY_LENGTH:
        raise ValueError(f"{describe(value)} is not a duration such as 250us, 10ms or 60s")
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"expected a duration such as 10ms, not {describe(value)}")
    duration_us = parse_duration(value)
    return Normal(format_duration(duration_us), duration_us)


def _bytes(value: Any) -> Normal:
    size_bytes = parse_bytes(value)
    return Normal(format_bytes(size_bytes), size_bytes)


def _strings(value: Any) -> Normal:
    if not isinstance(value, list):
        raise ValueError(f"expected a list such as [a, b], not {describe(value)}")
    wrong = [each for each in value if not isinstance(each, str)]
    if wrong:
        raise ValueError(f"expected a list of text only, and there is {describe(wrong[0])} in it: put it in quotes")
    return Normal(list(value), list(value))


_FORMATS = {"duration": format_duration, "bytes": format_bytes}

_KINDS: dict[str, Callable[[Any], Normal]] = {
    "string": _plain(str, "text"),
    "node": _plain(str, "text"),  # whether there is one is for the validator, which knows them
    "integer": _plain(int, "an integer"),
    "number": _number,
    "boolean": _plain(bool, "true or false"),
    "duration": _duration,
    "bytes": _bytes,
    "strings": _strings,
    "mapping": _plain(dict, "a mapping"),
    "any": lambda value: Normal(value, value),
}
