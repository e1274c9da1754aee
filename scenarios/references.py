"""References in a scenario that stand for a secret: `${secret:NAME}`, alone in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xtrace.engine.registry import unknown

_START = "${secret:"
_REFERENCE = re.compile(r"\$\{secret:([^{}]*)\}")


def reference(name: str) -> str:
    """Return what stands for the secret `name`."""
    return f"${{secret:{name}}}"


def refers(text: str) -> bool:
    """Return whether `text` is, or looks as if it were meant as, a reference."""
    return _START in text


def reference_fault(text: str, names: Sequence[str]) -> str:
    """Return what is wrong with the reference in `text` if it is not one to one of `names`, else ""."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return f"a reference stands alone: write {reference('NAME')} and nothing else; the secret can be the whole text"
    if match[1] in names:
        return ""
    return unknown(match[1][:80], names, "secret") if names else f"there is no secret {match[1][:80]!r} in `secrets`"


def with_values(value: Any, values: Mapping[str, str]) -> Any:
    """Return plain data with the values in place of the references, each of which must be in `values`."""
    if isinstance(value, dict):
        return {key: with_values(member, values) for key, member in value.items()}
    if isinstance(value, list):
        return [with_values(member, values) for member in value]
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return value if match is None else values[match[1]]
