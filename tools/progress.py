"""How far a recording is: a line that renews itself on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from xtrace.tools.output import Console, shorten

QUIET_S = 1.0
"""Whatever takes less is not reported at all."""
RENEW_S = 0.2
PLAIN_S = 10.0


class Progress:
    """Call it with the virtual time reached and the duration, as often as you like. `clock` is in seconds."""

    def __init__(self, console: Console, label: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._label = label
        self._clock = clock
        self._started = clock()
        self._next = self._started + (QUIET_S if console.live else PLAIN_S)
        self._shown = False

    def __call__(self, time_us: int, duration_us: int) -> None:
        """Report, unless it was just done."""
        now = self._clock()
        if now < self._next:
            return
        elapsed_s = now - self._started
        share = time_us / duration_us if duration_us else 1.0
        left = f", about {_seconds(elapsed_s * (1 - share) / share)} left" if share else ""
        line = (
            f"{self._label}: virtual time {time_us / 1e6:.3f} s of {duration_us / 1e6:g} s "
            f"({share:.0%}) after {_seconds(elapsed_s)}{left}"
        )
        if self._console.live:
            self._next = now + RENEW_S
            self._shown = True
            self._write("\r\x1b[K" + shorten(line, self._console.width - 1))
        else:
            self._next = now + PLAIN_S
            self._console.say(line)

    def close(self) -> None:
        """Clear the line, so that what follows starts at the left."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            self._console.err.write(text)
            self._console.err.flush()
        except (OSError, ValueError):
            return


def _seconds(seconds: float) -> str:
    whole = int(seconds)
    return f"{seconds:.1f} s" if whole < 10 else f"{whole} s" if whole < 120 else f"{whole // 60} min"
