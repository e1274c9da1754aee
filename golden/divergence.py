"""What a comparison finds, in the words of the system; A is the expected side, B the actual one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from xtrace.engine.json_values import encode_value
from xtrace.engine.recorder import Row
from xtrace.engine.values import Value, ValueFault, decode

KINDS = ("value", "missing", "extra", "order", "time", "kind")
"""value: a field differs. missing, extra: only A, only B has the event. order: two events changed places. time: the
same event at another time. kind: another type of event, or another kind of row, at the same time and place."""

VERDICTS = ("root", "propagated", "missing", "extra", "same")
"""same: its outputs are equal, as far as both runs go. root: they depart while its inputs are still equal. propagated:
they depart after its inputs did. missing, extra: only A, only B has this node. In the order in which they are shown."""

FULL, PARTIAL = "full", "partial"


@dataclass(frozen=True)
class Divergence:
    """The first place where two traces differ: the earlier of the two rows that should have been one.

    `field` is a column or a path into the payload (`$.a[3]`), with the values found there; it is None where the whole
    event is the difference, and then `expected` and `actual` are the events, None for one that is not there.
    """

    step: int
    time_us: int
    node: str
    kind: str
    type: str
    field: str | None
    expected: Value
    actual: Value
    row_kind: str
    src: str = ""
    dst: str = ""

    def to_json(self) -> dict[str, Value]:
        """Return the divergence as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Count:
    """How many rows of a node differ, by row kind, event type and kind of difference."""

    node: str
    row_kind: str
    type: str
    kind: str
    events: int


@dataclass(frozen=True)
class Comparison:
    """The answer to "are these runs the same?". `identical` is about the nodes that were asked for.

    `nodes` maps each node to its verdict. `notes` is what should be known before "different" is believed. `verified` is
    "full" if every block of both event logs was verified, "partial" if some, known to be equal by their digests, were
    not read. `decoded_blocks` counts the blocks of A and of B that were decoded.
    """

    identical: bool
    first_divergence: Divergence | None
    nodes: dict[str, str]
    counts: tuple[Count, ...]
    verified: str
    notes: tuple[str, ...] = ()
    decoded_blocks: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Value]:
        """Return the comparison as JSON values."""
        return asdict(self)


def shown(value: Value) -> Any:
    """Return `value` as JSON has it, in the spelling of the node protocol: bytes as `{"$bytes": "<base64>"}`."""
    return json.loads(encode_value(value))


def payload_value(payload: bytes) -> Value:
    """Return the decoded payload of a row, None for no payload; bytes that are no msgpack are returned as they are."""
    if not payload:
        return None
    try:
        return decode(payload)
    except ValueFault:
        return payload


def event(row: Row | None) -> dict[str, Value] | None:
    """Return a whole row as JSON values, its payload decoded."""
    if row is None:
        return None
    return dict(_columns(row))


def _columns(row: Row) -> Iterator[tuple[str, Value]]:
    for name, value in zip(Row._fields, row, strict=True):
        if name == "payload":
            yield name, shown(payload_value(row.payload))
        elif name != "object" or value:
            yield name, value
