"""A node's place in the lockstep: what the coordinator remembers of it, and the rules for what it may emit."""

from __future__ import annotations

import os
import traceback
from array import array
from collections.abc import Container, Sequence
from functools import partial

from xtrace.engine.errors import NodeCrashed, NodeFailure, ProtocolError
from xtrace.engine.event import CAUSE_HISTORY, Done, Event, Output
from xtrace.engine.node import Node, Setup
from xtrace.engine.remote import RemoteNode
from xtrace.engine.values import ValueFault, decode_canonical, encode

Emitted = tuple[int, str, int, str, str, bytes, int | Sequence[int]]
"""An accepted output: time_us, source, number at the source, dst, type, payload, and the row or rows that caused it."""

_new_event = partial(tuple.__new__, Event)


class Member:
    """A node in the lockstep, and what is known of it between two steps."""

    def __init__(self, node_id: str, node: Node) -> None:
        self.id = node_id
        self.node = node
        self.remote = node if isinstance(node, RemoteNode) else None
        self.reached_us = 0
        self.next_time_us = 0
        self.inbox: list[Event] = []
        self.done = Done([])
        """The node's answer to the last advance."""
        self.spent_ns = 0
        self._sent = 0
        self._received = 0
        self._input_seqs = array("q")

    def receive(self, time_us: int, src: str, type_: str, payload: bytes, seq: int) -> None:
        """Put a delivery into the inbox as the node's next input; `seq` is its row."""
        self._received += 1
        self._input_seqs.append(seq)
        self.inbox.append(_new_event((self._received, time_us, src, type_, decode_canonical(payload))))

    def begin_init(self, setup: Setup) -> None:
        """Start a node in another process."""
        if self.remote is not None:
            self.remote.begin_init(setup)

    def begin(self, until_us: int) -> None:
        """Ask a node in another process to advance."""
        if self.remote is not None:
            self.remote.begin(self.reached_us, until_us, self.inbox)

    def accept(self, emitted: list[Emitted], until_us: int, destinations: Container[str]) -> None:
        """Add the outputs of `done` to `emitted` and empty the inbox.

        Raises ProtocolError for a broken rule, and TypeError or ValueError for what is no Done with a list of Outputs.
        """
        outputs, self.next_time_us = self.done
        if type(self.next_time_us) is not int:
            reason = f"its next_time_us is {self.next_time_us!r}, which is no whole number of microseconds"
            raise ProtocolError(self.id, reason)
        from_us, node_id, number, received = self.reached_us, self.id, self._sent, self._received
        for output in outputs:
            time_us, dst, type_, payload, cause = output
            if not (
                type(time_us) is int
                and from_us <= time_us < until_us
                and type(type_) is str
                and type(dst) is str
                and dst in destinations
            ):
                raise self._refuse(output, until_us)
            try:
                data = encode(payload)
            except ValueFault as fault:
                reason = f"an output of type {type_!r} has a payload that can't be recorded: {fault}"
                raise ProtocolError(node_id, reason) from fault
            if received and cause == (received,):  # as nearly always
                causes: int | Sequence[int] = self._input_seqs[-1]
            else:
                causes = self._cause_seqs(cause)
            emitted.append((time_us, node_id, number, dst, type_, data, causes))
            number += 1
        self._sent = number
        self.reached_us = until_us
        if self.inbox:
            self.inbox = []
            surplus = len(self._input_seqs) - CAUSE_HISTORY
            if surplus > CAUSE_HISTORY // 4:
                del self._input_seqs[:surplus]

    def _cause_seqs(self, ids: Sequence[int] | None) -> Sequence[int]:
        """Return the rows of the inputs `ids`, of all inputs of the step for None."""
        if ids is None:
            return self._input_seqs[-len(self.inbox) :].tolist() if self.inbox else ()
        forgotten = self._received - len(self._input_seqs)
        seqs = []
        for id_ in ids:
            if type(id_) is not int or not forgotten < id_ <= self._received:
                span = f"its inputs so far are 1 to {self._received}, and it can name the last {CAUSE_HISTORY}"
                raise ProtocolError(self.id, f"an output names input {id_!r} as its cause: {span}")
            seqs.append(self._input_seqs[id_ - forgotten - 1])
        return seqs

    def _refuse(self, output: Output, until_us: int) -> ProtocolError:
        time_us, dst, type_, _, _ = output
        if type(time_us) is not int or type(type_) is not str or type(dst) is not str:
            reason = f"an output needs an integer as time and text as dst and type: {output[:3]!r}"
        elif not self.reached_us <= time_us < until_us:
            span = f"[{self.reached_us}, {until_us})"
            reason = f"an output of type {type_!r} has time {time_us} us, which is outside of {span}"
        else:
            reason = f"an output of type {type_!r} goes to {dst!r}, which is no node of the scenario"
        return ProtocolError(self.id, reason)


def refusal(node_id: str, error: Exception) -> NodeFailure:
    """Return what `Member.accept` raised as the failure of the node: in this process it may answer with anything."""
    if isinstance(error, NodeFailure):
        return error
    return ProtocolError(node_id, f"its answer is no Done with a list of Outputs: {error}")


def crash(node_id: str, error: BaseException) -> NodeFailure:
    """Return `error`, raised inside a node, as the failure of that node, with the innermost place in its code."""
    found: object = error.code if isinstance(error, SystemExit) else error  # the watchdog's may come as a SystemExit
    if isinstance(found, NodeFailure):
        return found
    frames = traceback.extract_tb(error.__traceback__)
    # Code of a scenario is compiled under its name in the scenario; what lies below it is somebody's library.
    own = [frame for frame in frames if not os.path.isabs(frame.filename)]
    frame = (own or frames)[-1]
    place = frame.filename if own else os.path.basename(frame.filename)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return NodeCrashed(node_id, f"{text} ({place}:{frame.lineno}, in {frame.name})")
