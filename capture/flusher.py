"""Keeps the journal up to date while a run is recorded, also while a node takes long to answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

PERIOD_S = 0.25
"""What waits when the timer looks is written at its next look at the latest: within half a second."""


class Flusher:
    """Calls `flush` four times a second, from a thread of its own, while it is entered."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xtrace journal", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(PERIOD_S):
            self._flush()
