"""What a replay yields step by step, and how its first departure from the record is found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from xtrace.capture.layout import OBJECT_MIN_BYTES
from xtrace.engine.recorder import Row
from xtrace.golden.classify import classify
from xtrace.golden.divergence import Divergence

LOOKAHEAD_ROWS = 256
"""How many rows after a departure are looked at to tell a missing event from a changed one."""
LOOKAHEAD_BYTES = 64 * 1024 * 1024
"""What their large payloads may take in memory, about."""


class ReplayedStep(NamedTuple):
    """A step of a replay: what the node was given, what was recorded of it, and what it did now."""

    step: int
    time_us: int
    given: list[Row]
    expected: list[Row]
    actual: list[Row]


def within(steps: Iterator[ReplayedStep], *, from_us: int | None, to_us: int | None) -> Iterator[ReplayedStep]:
    """Pass `steps` on up to the one that reaches `to_us`; those up to `from_us` are as expected, whatever they are."""
    for step in steps:
        if from_us is not None and step.time_us <= from_us:
            step = step._replace(expected=step.actual)
        yield step
        if to_us is not None and step.time_us >= to_us:
            return


class Stored:
    """Gives rows the form that they have in a run, in which large payloads are objects, and remembers these.

    `load` gets the payload of a row of the run.
    """

    def __init__(self, load: Callable[[Row], bytes]) -> None:
        self.large_bytes = 0
        self._load = load
        self._large: dict[str, bytes] = {}

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """Return `rows`, which may have their payloads in them however large these are."""
        return [self._row(row) for row in rows]

    def payload(self, row: Row) -> bytes:
        """Return the payload of a row in this form."""
        return self._large[row.object] if row.object in self._large else self._load(row)

    def _row(self, row: Row) -> Row:
        if len(row.payload) < OBJECT_MIN_BYTES:
            return row
        name = hashlib.sha256(row.payload).hexdigest()
        if name not in self._large:
            self._large[name] = row.payload
            self.large_bytes += len(row.payload)
        return row._replace(payload=b"", object=name)


class Tally:
    """Counts what a replay went through, and keeps its first divergence; `load` gets the payload of a recorded row."""

    def __init__(self, load: Callable[[Row], bytes]) -> None:
        self.steps = 0
        self.inputs = 0
        self.outputs = 0
        self.divergence: Divergence | None = None
        self._load = load

    def follow(self, steps: Iterator[ReplayedStep], *, to_the_end: bool) -> None:
        """Go through `steps`: up to the first departure and a little further, or `to_the_end`."""
        for step in self._counted(steps):
            if step.expected == step.actual:
                continue
            stored = Stored(self._load)
            expected, actual = stored.rows(step.expected), stored.rows(step.actual)
            if expected != actual:
                self.divergence = self._classified(expected, actual, steps, stored)
                break
        if to_the_end:
            for _ in self._counted(steps):
                pass

    def _classified(
        self, expected: list[Row], actual: list[Row], steps: Iterator[ReplayedStep], stored: Stored
    ) -> Divergence:
        same = next(
            (index for index, (one, other) in enumerate(zip(expected, actual, strict=False)) if one != other),
            min(len(expected), len(actual)),
        )
        expected, actual = expected[same:], actual[same:]
        for following in self._counted(steps):
            expected += stored.rows(following.expected)
            actual += stored.rows(following.actual)
            if min(len(expected), len(actual)) >= LOOKAHEAD_ROWS or stored.large_bytes >= LOOKAHEAD_BYTES:
                break
        return classify(expected, actual, payloads=(stored.payload, stored.payload))

    def _counted(self, steps: Iterator[ReplayedStep]) -> Iterator[ReplayedStep]:
        for step in steps:
            self.steps += 1
            self.inputs += len(step.given)
            self.outputs += len(step.actual)
            yield step
