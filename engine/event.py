"""What nodes and the network exchange: events in, outputs out, messages under way."""

from __future__ import annotations

from typing import NamedTuple

from xtrace.engine.values import Value

NEVER = 2**63 - 1
"""As `next_time_us`: nothing is planned, wake the node only for an input."""

CAUSE_HISTORY = 1 << 15
"""How many of its last inputs a node can still name as the cause of an output."""


class Event(NamedTuple):
    """An input of a node. `id` counts the node's inputs from 1 and is what `Output.cause` names."""

    id: int
    time_us: int
    src: str
    type: str
    payload: Value


class Output(NamedTuple):
    """What a node emits. An empty `dst` makes it an observation: recorded, delivered to nobody.

    `cause` names the ids of the inputs that led to it; None stands for all inputs of the step.
    """

    time_us: int
    dst: str
    type: str
    payload: Value = None
    cause: tuple[int, ...] | None = None


class Done(NamedTuple):
    """The answer to an advance: what was emitted, and when the node next has something to do by itself.

    `next_time_us` 0 means "advance me in every step", NEVER means "only for an input".
    """

    outputs: list[Output]
    next_time_us: int = 0


class Message(NamedTuple):
    """An output on its way through the network. The first three fields are the total order of a step: unique, so
    that tuples sort by themselves.

    `number` counts the outputs of `src` from 0, `payload` is canonical msgpack, `seq` is the row of the output.
    """

    time_us: int
    src: str
    number: int
    dst: str
    type: str
    payload: bytes
    seq: int


class Fate(NamedTuple):
    """What the network decided for a message: it arrives at `due_us`, or is dropped then for `drop_reason`."""

    message: Message
    due_us: int
    drop_reason: str = ""
