"""Ctrl-C and SIGTERM: the first asks politely, the second insists."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_STATUS = 130
_NOTICE = b"\nxtrace: stopping at the end of this step; once more stops at once\n"


@contextmanager
def raising(*, restore: bool = True) -> Iterator[None]:
    """Within this block, and after it unless `restore`, Ctrl-C and SIGTERM raise KeyboardInterrupt."""
    with _handling(lambda _number, _frame: _raise(), restore=restore):
        yield


def leaving(status: int) -> None:
    """From now on Ctrl-C and SIGTERM end the process at once with `status`: the work is done, and the answer stands."""
    if threading.current_thread() is threading.main_thread():
        for each in SIGNALS:
            signal.signal(each, lambda _number, _frame: os._exit(status))


@contextmanager
def polite() -> Iterator[Callable[[], bool]]:
    """Within this block the first signal only makes the yielded function true; the next raises KeyboardInterrupt."""
    asked = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            _raise()
        asked = True
        # print() could be interrupted by this very handler and refuses to be entered twice
        with suppress(OSError):
            os.write(2, _NOTICE)

    with _handling(handle):
        yield lambda: asked


def _raise() -> None:
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None], *, restore: bool = True) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; its own stay in force
        return
    before = [signal.signal(each, handler) for each in SIGNALS]
    try:
        yield
    finally:
        for each, previous in zip(SIGNALS, before, strict=True) if restore else ():
            signal.signal(each, previous)
