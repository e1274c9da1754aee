"""What a manifest must look like before anything in it is used.

A seal proves that a manifest was not changed since, not that it makes sense: whoever made the run could write anything.
"""

from __future__ import annotations

from typing import Any


def natural(value: Any) -> bool:
    """Return whether `value` is a whole number that a file could be long."""
    return type(value) is int and 0 <= value < 2**63


def integer(value: Any) -> bool:
    """Return whether `value` is a whole number."""
    return type(value) is int


def positive(value: Any) -> bool:
    """Return whether `value` is a natural number above 0."""
    return natural(value) and value > 0


def text(value: Any) -> bool:
    """Return whether `value` is text."""
    return isinstance(value, str)


STATUSES = ("complete", "interrupted", "failed", "recovered")
"""How a closed run can have ended; one that is not closed is `recording`."""


def status(value: Any) -> bool:
    """Return whether `value` is the status of a closed run."""
    return value in STATUSES


EVERY = "*"
"""As the only key of a shape: all values of the mapping have that shape."""

REQUIRED = {
    "fingerprint": text,
    "status": status,
    "seed": integer,
    "totals": {"rows": natural, "steps": natural},
    "nodes": {EVERY: {}},
    "files": {EVERY: {"bytes": natural, "sha256": text}},
    "footer": {"offset": natural, "length": natural, "sha256": text},
    "vocabulary": {"kind": [text], "name": [text]},
    "artefacts": {EVERY: {EVERY: text}},
    "objects": {EVERY: natural},
}
REPLAYABLE = {
    "step_us": positive,
    "duration_us": positive,
    "scenario": {"nodes": [{"id": text, "type": text}], "network": {}},
}
"""What a run needs besides to be replayed."""


def misfit(value: Any, shape: Any, place: str = "") -> str:
    """Return the first place in `value` that is missing or wrong, "" if it has `shape`.

    A mapping stands for a mapping that has these keys and perhaps others, a list for a list of whatever is in it.
    """
    if callable(shape):
        return "" if shape(value) else place
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place
        members = [(f"{place}[{index}]", member, shape[0]) for index, member in enumerate(value)]
    else:
        if not isinstance(value, dict):
            return place
        keys = value if EVERY in shape else shape
        missing = [key for key in keys if key not in value]
        if missing:
            return f"{place}.{missing[0]}"
        members = [(f"{place}.{key}", value[key], shape.get(EVERY, shape.get(key))) for key in keys]
    return next((found for where, member, inner in members if (found := misfit(member, inner, where))), "")
