"""The base class of nodes written in Python: about 15 lines make a model."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from xtrace.engine.event import CAUSE_HISTORY, NEVER, Done, Event, Output
from xtrace.engine.node import Setup
from xtrace.engine.seeds import Random
from xtrace.engine.values import UNCHANGING, Value, snapshot

_new_output = partial(tuple.__new__, Output)
_new_done = partial(tuple.__new__, Done)
_Timer = tuple[int, int, Callable[..., object], tuple[Any, ...], tuple[int, ...]]


class Model:
    """A node's behaviour: override `on_init` and `on_event`, call `send`, `schedule` and `schedule_periodic`.

    Callbacks run in order of virtual time; at equal times inputs come before timers, and timers in the order in which
    they were set. What a callback sends names as its cause the input that led to it, through timers too.

        class Thermostat(Model):
            def on_event(self, event):
                if event.payload["celsius"] > self.config["limit"]:
                    self.send(event.src, "command", {"heater": False})
    """

    node_id: str
    type: str
    config: Mapping[str, Any]
    random: Random
    now_us: int

    def on_init(self) -> None:
        """Called once at virtual time 0, before any event."""

    def on_event(self, event: Event) -> None:
        """Called for every input, with `now_us == event.time_us`."""

    def send(self, dst: str, type: str, payload: Value = None, *, delay_us: int = 0) -> None:
        """Send `payload` to node `dst`, now or `delay_us` later; an empty `dst` only records it."""
        if payload.__class__ not in UNCHANGING:
            payload = snapshot(payload)  # what was sent stays as it was, whatever becomes of the original
        if delay_us:
            self.schedule(delay_us, self.__emit, dst, type, payload)
        else:
            self.__outputs.append(_new_output((self.now_us, dst, type, payload, self.__cause)))

    def observe(self, type: str, payload: Value) -> None:
        """Record `payload` without sending it to anybody."""
        self.send("", type, payload)

    def schedule(self, delay_us: int, callback: Callable[..., object], *arguments: Any) -> None:
        """Call `callback(*arguments)` `delay_us` from now. Raises ValueError for a negative or fractional delay."""
        if type(delay_us) is not int:
            raise ValueError(f"a delay is a whole number of microseconds, an int, not {delay_us!r}")
        if delay_us < 0:
            raise ValueError(f"a timer can't be set {-delay_us} us into the past")
        self.__order += 1
        heapq.heappush(self.__timers, (self.now_us + delay_us, self.__order, callback, arguments, self.__cause))

    def schedule_periodic(
        self, period_us: int, callback: Callable[..., object], *arguments: Any, first_us: int | None = None
    ) -> None:
        """Call `callback(*arguments)` every `period_us`, first after `first_us` (default: one period)."""
        if period_us <= 0:
            raise ValueError(f"a period must be at least 1 us, not {period_us}")

        def tick() -> None:
            self.schedule(period_us, tick)
            callback(*arguments)

        self.schedule(period_us if first_us is None else first_us, tick)

    def start(self, setup: Setup) -> None:
        """Called by the engine with what INIT says; sets the attributes and calls `on_init`."""
        self.node_id, self.type, self.config = setup.node, setup.type, setup.config
        self.random = Random(setup.seed)
        self.now_us = 0
        self.__order = 0
        self.__inputs = 0
        self.__cause: tuple[int, ...] = ()
        self.__timers: list[_Timer] = []
        self.__outputs: list[Output] = []
        self.on_init()

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        """Called by the engine: run every callback that is due before `until_us`."""
        timers = self.__timers
        for event in events:
            time_us = event.time_us
            while timers and timers[0][0] < time_us:
                self.__fire()
            self.now_us = time_us
            self.__inputs = event.id
            self.__cause = (event.id,)
            self.on_event(event)
        while timers and timers[0][0] < until_us:
            self.__fire()
        outputs, self.__outputs = self.__outputs, []
        return _new_done((outputs, timers[0][0] if timers else NEVER))

    def __emit(self, dst: str, type: str, payload: Value) -> None:
        self.__outputs.append(_new_output((self.now_us, dst, type, payload, self.__cause)))

    def __fire(self) -> None:
        self.now_us, _, callback, arguments, cause = heapq.heappop(self.__timers)
        # A timer armed that long ago has outlived the memory of what armed it.
        self.__cause = cause if not cause or cause[0] > self.__inputs - CAUSE_HISTORY else ()
        callback(*arguments)
