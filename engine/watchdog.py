"""Ends the advance of a node of this process that takes too long, from a thread that looks now and then.

It costs the coordinator nothing: the thread reads which node is running. A node is interrupted by a signal, whose
handler raises in the main thread; so there is a watchdog only where the coordinator runs in the main thread, and a node
that is stuck inside a C library is stopped when it returns to Python.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Protocol

from xtrace.engine.duration import format_duration
from xtrace.engine.errors import Interrupted, NodeTimeout

LOOK_S = 0.05
"""How often the thread looks."""
STOP_S = 2.0
"""How long a node may go on after the run was asked to stop."""


class Watched(Protocol):
    """What a watchdog reads of a coordinator: the step, and the node that runs right now ("" for none)."""

    step: int
    running: str

    def limit_us(self, node_id: str) -> int:
        """Return how long the node may run."""


class Watchdog:
    """A context manager that watches `coordinator`; `should_stop` is its."""

    def __init__(self, coordinator: Watched, *, should_stop: Callable[[], bool]) -> None:
        self._coordinator = coordinator
        self._should_stop = should_stop
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._verdict: tuple[tuple[int, str], Exception] | None = None
        self._raised = (-1, "")

    def __enter__(self) -> Watchdog:
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "pthread_kill"):
            self._before = signal.signal(signal.SIGALRM, self._on_signal)
            self._thread = threading.Thread(target=self._watch, name="xtrace-watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            signal.signal(signal.SIGALRM, self._before)

    def _watch(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        seen, since_s, stop_s = (0, ""), 0.0, float("inf")
        while not self._done.wait(LOOK_S):
            now_s = time.monotonic()
            place = (self._coordinator.step, self._coordinator.running)
            if place != seen:
                seen, since_s = place, now_s
            if stop_s == float("inf") and self._should_stop():
                stop_s = now_s
            verdict = self._judge(place[1], now_s - since_s, now_s - stop_s) if place[1] else None
            if verdict is not None:
                self._verdict = (place, verdict)
                signal.pthread_kill(main, signal.SIGALRM)
                since_s = now_s  # once more if the node swallows the exception

    def _judge(self, node: str, running_s: float, stopping_s: float) -> Exception | None:
        limit_us = self._coordinator.limit_us(node)
        if running_s * 1_000_000 > limit_us:
            return NodeTimeout(node, f"no answer within {format_duration(limit_us)}")
        if min(running_s, stopping_s) > STOP_S:
            return Interrupted(f"stopped while node {node!r} was running")
        return None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        verdict, self._verdict = self._verdict, None
        if verdict is None or verdict[0] != (self._coordinator.step, self._coordinator.running):
            return
        again, self._raised = self._raised == verdict[0], verdict[0]
        if not again:
            raise verdict[1]
        # The node has swallowed the exception; few catch these.
        raise SystemExit(verdict[1]) if isinstance(verdict[1], NodeTimeout) else KeyboardInterrupt
