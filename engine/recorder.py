"""What the engine needs of whoever writes the event log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """A row of the event log without `seq` and `cause`: exactly what the fingerprint covers, in this order.

    `payload` is canonical msgpack, or empty for none. `object` is the hash of a payload kept in `objects/`.
    """

    step: int
    time_us: int
    kind: str
    node: str
    src: str
    dst: str
    type: str
    late_us: int
    payload: bytes
    object: str


NETWORK = "network"
"""The reserved id of the network node."""

KINDS = ("step", "input", "output", "drop", "abort")
"""step: end of a step. input: delivered to `node`. output: emitted by `node`. drop: lost by the network.
abort: `node` failed, the outputs of the step were discarded."""


class Recorder(Protocol):
    """Takes rows in order. `Row`s may be given as plain tuples of the same fields."""

    def append(self, rows: Sequence[tuple[object, ...]], causes: Sequence[Sequence[int]]) -> int:
        """Append `rows`; `causes[i]` lists the seq of the rows that caused `rows[i]`. Return the seq of the first."""
        ...

    def end_step(self) -> None:
        """All rows of a step are appended: a block may end here."""
        ...
