"""What the engine needs of whoever writes the event log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

NETWORK = "network"
"""The reserved id of the network node."""

KINDS = ("step", "input", "output", "drop", "abort")
"""step: end of a step. input: delivered to `node`. output: emitted by `node`. drop: lost by the network.
abort: `node` failed, the outputs of the step were discarded."""


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


class Recorder(Protocol):
    """Takes the rows of a run in order, many at a time and by column: one list a field, all of equal length."""

    def append(
        self,
        step: int,
        kind: str,
        *,
        time_us: Sequence[int],
        node: Sequence[str],
        src: Sequence[str],
        dst: Sequence[str],
        type: Sequence[str],
        late_us: Sequence[int],
        payload: Sequence[bytes],
        cause: Sequence[int | Sequence[int]],
    ) -> int:
        """Append rows of one kind and return the seq of the first. Nobody may change the columns later.

        `cause[i]` is the row, or lists the rows, that caused row i.
        """
        ...

    def end_step(self, step: int, time_us: int) -> None:
        """Append the `step` row that ends a step. All rows of the step come before it."""
        ...
