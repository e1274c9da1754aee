"""What the network has decided and the lockstep has not handed over yet, by the step in which it will."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from xtrace.engine.errors import ProtocolError
from xtrace.engine.event import NEVER, Fate, Message
from xtrace.engine.recorder import NETWORK
from xtrace.engine.values import encode

REASON_END = "end_of_run"
"""Why a message is dropped that is still under way when the run ends."""

Delivery = tuple[int, str, int, str, str, bytes, int, int]
"""A message that waits for its step: time_us, src, number, dst, type, payload, late_us, seq of the output.

The first three are the total order, so that deliveries sort by themselves.
"""

Drop = tuple[int, Fate]
"""A lost message: the time of its row, and its fate with the time at which it would have been due."""


class Deliveries:
    """Messages under way to a step of a run of `duration_us` in steps of `step_us`."""

    def __init__(self, *, step_us: int, duration_us: int) -> None:
        self._step_us = step_us
        self._duration_us = duration_us
        self._after_last = -(-duration_us // step_us) + 1
        self._waiting: dict[int, list[Delivery]] = {}
        self._steps: list[int] = []

    def next_step(self) -> int:
        """Return the first step that has deliveries, NEVER if there is none."""
        return self._steps[0] if self._steps else NEVER

    def take(self, step: int) -> list[Delivery]:
        """Remove and return the deliveries of `step`, in total order; no earlier step may have any."""
        if self.next_step() != step:
            return []
        heapq.heappop(self._steps)
        deliveries = self._waiting.pop(step)
        deliveries.sort()
        return deliveries

    def deliver(self, deliveries: list[Delivery], time_us: int) -> None:
        """Plan deliveries that all arrive at `time_us`."""
        step = self._step_at(time_us)
        if step in self._waiting:
            self._waiting[step] += deliveries
        else:
            self._waiting[step] = deliveries
            heapq.heappush(self._steps, step)

    def _step_at(self, time_us: int) -> int:
        return time_us // self._step_us + 1 if time_us < self._duration_us else self._after_last

    def route(self, fates: Sequence[Fate], *, until_us: int) -> list[Drop]:
        """Plan what arrives and return what is lost, in the order of its rows; the step ends at `until_us`.

        A message that is due before the end of the step arrives then. Raises ProtocolError for one that would
        arrive before it was sent.
        """
        drops: list[Drop] = []
        waiting = self._waiting
        for fate in fates:
            (sent_us, src, number, dst, type_, payload, seq), due_us, drop_reason = fate
            if due_us < sent_us:
                reason = f"a message sent at {sent_us} us would be due before that, at {due_us} us"
                raise ProtocolError(NETWORK, reason)
            if drop_reason:
                drops.append((due_us, fate))
                continue
            time_us = due_us if due_us > until_us else until_us
            step = self._step_at(time_us)
            if step not in waiting:
                waiting[step] = []
                heapq.heappush(self._steps, step)
            waiting[step].append((time_us, src, number, dst, type_, payload, time_us - due_us, seq))
        if drops:
            drops.sort(key=lambda drop: (drop[0], drop[1].message.src, drop[1].message.number))
        return drops


def undelivered(deliveries: Sequence[Delivery], *, end_us: int) -> list[Drop]:
    """Return what was still under way at the end of the run as drops, in the order of its rows."""
    return [
        (end_us, Fate(Message(time_us, src, number, dst, type_, payload, seq), time_us - late_us, REASON_END))
        for time_us, src, number, dst, type_, payload, late_us, seq in sorted(deliveries, key=_sender)
    ]


def _sender(delivery: Delivery) -> tuple[str, int]:
    return delivery[1], delivery[2]


def drop_payload(fate: Fate) -> bytes:
    """Return the payload of a `drop` row."""
    return encode({"due_us": fate.due_us, "reason": fate.drop_reason})
