"""How far a recording is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from xtrace.tools.output import Console

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

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
        self._bar: Bar | None = None

    def __call__(self, time_us: int, duration_us: int) -> None:
        """Report, unless it was just done."""
        now = self._clock()
        if now < self._next:
            return
        if self._console.live:
            self._next = now + RENEW_S
            self._show(time_us, duration_us)
            return
        self._next = now + PLAIN_S
        share = time_us / duration_us if duration_us else 1.0
        reached = f"virtual time {time_us / 1e6:.3f} s of {duration_us / 1e6:g} s ({share:.0%})"
        self._console.say(f"{self._label}: {reached} after {now - self._started:.0f} s")

    def close(self) -> None:
        """Remove the bar, so that what follows starts at the left."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, time_us: int, duration_us: int) -> None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        if self._bar is None:
            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:.0f}% of {task.fields[seconds]:g} virtual seconds,"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=Terminal(file=self._console.err, no_color=not self._console.color_err),
                auto_refresh=False,  # no thread that could write between two lines of ours
                transient=True,
                get_time=self._clock,
            )
            self._bar.start()
            self._bar.add_task(self._label, total=duration_us, seconds=duration_us / 1e6)
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=time_us, refresh=True)
