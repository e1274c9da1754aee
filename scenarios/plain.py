"""Reduces what was read to the values that a scenario may hold: what JSON can say, within the limits of payloads."""

from __future__ import annotations

import math
from typing import Any

from xtrace.engine.values import MAX_DEPTH, ValueFault, encode
from xtrace.scenarios.problems import Place, Problems, describe


def plain(value: Any, *, problems: Problems, place: Place = ()) -> Any:
    """Return a copy of `value` with every mapping in order of its keys, and None for what is no plain data.

    What that is goes to `problems`.
    """
    if isinstance(value, dict | list | tuple) and len(place) == MAX_DEPTH:
        return problems.add(place, f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        keys = sorted(key for key in value if _is_key(key, place, problems))
        return {key: plain(value[key], problems=problems, place=(*place, key)) for key in keys}
    if isinstance(value, list | tuple):
        return [plain(member, problems=problems, place=(*place, index)) for index, member in enumerate(value)]
    fault = _fault(value)
    return problems.add(place, fault) if fault else value


def _fault(value: Any) -> str:
    if isinstance(value, bytes):
        return "bytes can't stand in a scenario: write text"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} can't stand in a scenario: write a finite number, or text"
    try:
        encode(value)
    except ValueFault as fault:
        return fault.reason
    return ""


def _is_key(key: Any, place: Place, problems: Problems) -> bool:
    fault = _fault(key) if type(key) is str else "it is no text"
    if fault:
        problems.add_key(place, f"the key {describe(key)} can't stand in a scenario: {fault}")
    return not fault
