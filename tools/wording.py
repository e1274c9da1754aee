"""How virtual times, values, events and divergences are put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xtrace.engine.duration import seconds
from xtrace.engine.errors import NodeFailure
from xtrace.tools.output import escape, shorten, to_json

if TYPE_CHECKING:
    from xtrace.golden.divergence import Divergence

VALUE_CHARACTERS_MAX = 400
ALL_VALUES = {"value": "has another value", "time": "came at another time", "order": "came in another order"}
KINDS = {**ALL_VALUES, "missing": "is missing", "extra": "is extra", "kind": "is another kind of event"}


def value_text(value: Any) -> str:
    """Return a JSON value on one line, cut where it is very long."""
    text = "nothing" if value is None else to_json(value)
    return shorten(text, VALUE_CHARACTERS_MAX)


def divergence_lines(divergence: Divergence) -> list[str]:
    """Return a divergence in words: where, what, expected, actual."""
    what = KINDS.get(divergence.kind, divergence.kind)
    route = f" {divergence.src} -> {divergence.dst}" if divergence.src and divergence.dst else ""
    subject = " ".join(escape(each) for each in (divergence.row_kind, divergence.type) if each) or "run"
    return [
        f"step {divergence.step}, virtual time {seconds(divergence.time_us)}, node {escape(divergence.node) or '-'}",
        f"{subject}{escape(route)} {what}",
        *([f"field     {escape(divergence.field)}"] if divergence.field else []),
        f"expected  {value_text(divergence.expected)}",
        f"actual    {value_text(divergence.actual)}",
    ]


def failure_json(failure: NodeFailure | None) -> dict[str, Any] | None:
    """Return a failure as JSON values."""
    if failure is None:
        return None
    return {
        "error": type(failure).__name__,
        "node": failure.node,
        "step": failure.step,
        "time_us": failure.time_us,
        "reason": failure.reason,
    }
