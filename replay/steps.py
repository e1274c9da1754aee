"""What a replay yields step by step, and how its first departure from the record is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from xtrace.engine.recorder import Row
from xtrace.golden.classify import classify
from xtrace.golden.divergence import Divergence

LOOKAHEAD_ROWS = 256
"""How many rows after a departure are looked at to tell a missing event from a changed one."""


class ReplayedStep(NamedTuple):
    """A step of a replay: what the node was given, what was recorded of it, and what it did now."""

    step: int
    time_us: int
    given: list[Row]
    expected: list[Row]
    actual: list[Row]


class Tally:
    """Counts what a replay went through, and keeps its first divergence."""

    def __init__(self) -> None:
        self.steps = 0
        self.inputs = 0
        self.outputs = 0
        self.divergence: Divergence | None = None

    def follow(self, steps: Iterator[ReplayedStep], *, to_the_end: bool) -> None:
        """Go through `steps`: up to the first departure and a little further, or `to_the_end`."""
        for step in self._counted(steps):
            if step.expected != step.actual:
                self.divergence = self._classified(step, steps)
                break
        if to_the_end:
            for _ in self._counted(steps):
                pass

    def _classified(self, step: ReplayedStep, steps: Iterator[ReplayedStep]) -> Divergence:
        same = next(
            (index for index, (one, other) in enumerate(zip(step.expected, step.actual, strict=False)) if one != other),
            min(len(step.expected), len(step.actual)),
        )
        expected, actual = step.expected[same:], step.actual[same:]
        for following in self._counted(steps):
            expected += following.expected
            actual += following.actual
            if min(len(expected), len(actual)) >= LOOKAHEAD_ROWS:
                break
        return classify(expected, actual)

    def _counted(self, steps: Iterator[ReplayedStep]) -> Iterator[ReplayedStep]:
        for step in steps:
            self.steps += 1
            self.inputs += len(step.given)
            self.outputs += len(step.actual)
            yield step
