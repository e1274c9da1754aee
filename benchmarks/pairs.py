"""Times two ways of doing the same thing in turn, so that a machine whose speed drifts slows both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

ROUNDS = 7


class Measured(NamedTuple):
    """Medians over the rounds: units per second of both sides, and of the ratios of each round."""

    ours: float
    theirs: float
    ratio: float


def measure(ours: Callable[[], object], theirs: Callable[[], object], *, units: int, rounds: int = ROUNDS) -> Measured:
    """Return how fast both go, each in units per wall-clock second, after one round that is not counted."""
    speeds = [(_speed(ours, units), _speed(theirs, units)) for _ in range(rounds + 1)][1:]
    return Measured(
        statistics.median(one for one, _ in speeds),
        statistics.median(other for _, other in speeds),
        statistics.median(one / other for one, other in speeds),
    )


def _speed(work: Callable[[], object], units: int) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return units / (time.perf_counter() - started)
