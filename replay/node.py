"""Runs one node alone: it is asked to advance exactly as when it was recorded, and gets the recorded inputs."""

from __future__ import annotations

from collections.abc import Iterator

from xtrace.capture.blocks import StoredRow
from xtrace.capture.reader import Run
from xtrace.engine.errors import Interrupted, NodeFailure
from xtrace.engine.event import NEVER
from xtrace.engine.member import Emitted, Member, crash, refusal
from xtrace.engine.node import Node, Setup
from xtrace.engine.recorder import Row
from xtrace.engine.values import encode
from xtrace.replay.payloads import Given
from xtrace.replay.recorded import RecordedStep, end_of, recorded_steps
from xtrace.replay.steps import ReplayedStep


class IsolatedNode:
    """A node outside of its system. `step`, `running` and `limit_us` are for a watchdog."""

    def __init__(self, run: Run, node_id: str, node: Node, given: Given) -> None:
        self.step = 0
        self.running = ""
        self.failure: NodeFailure | None = None
        """How the node failed now, if it did; the record may say the same."""
        self._run = run
        self._given = given
        self._member = Member(node_id, node)
        self._destinations = {"", *run.manifest["nodes"]}
        self._step_us: int = run.manifest["step_us"]
        self._duration_us: int = run.manifest["duration_us"]
        self._end = end_of(run)

    def limit_us(self, node_id: str) -> int:
        """Return how long the node may take for an advance."""
        return self._member.node.timeout_us

    def init(self, setup: Setup) -> None:
        """Initialise the node; a failure is kept for `steps` to compare."""
        self.running = self._member.id
        try:
            self._member.node.init(setup)
        except (Interrupted, KeyboardInterrupt):
            raise
        except BaseException as error:  # a model may raise anything
            self._fail(error)
        self.running = ""

    def steps(self) -> Iterator[ReplayedStep]:
        """Yield every step in which the node advances. After a failure nothing more comes."""
        if self.failure is not None and self._end.last_whole_step >= 0:  # where it got ready when it was recorded
            yield self._advance(RecordedStep(0, [], [], None))
            return
        wake = 1
        for recorded in recorded_steps(self._run, self._member.id):
            while wake < min(recorded.step, self._end.last_whole_step + 1) and self.failure is None:
                yield self._advance(RecordedStep(wake, [], [], None))
                wake = self._next_wake()
            if recorded.step > self._end.last_whole_step and recorded.step != self._own_failed_step():
                return
            yield self._advance(recorded)
            if self.failure is not None:
                return
            wake = self._next_wake()
        last = min(self._end.last_whole_step, -(-self._duration_us // self._step_us))
        while wake <= last and self.failure is None:
            yield self._advance(RecordedStep(wake, [], [], None))
            wake = self._next_wake()

    def _own_failed_step(self) -> int:
        return self._end.failed_step if self._end.failed_node == self._member.id else -1

    def _next_wake(self) -> int:
        next_time_us = self._member.next_time_us
        if next_time_us >= self._duration_us:
            return NEVER
        return max(next_time_us // self._step_us, self.step) + 1

    def _advance(self, recorded: RecordedStep) -> ReplayedStep:
        """Advance the node through one step and return what was expected of it and what it did."""
        member, self.step = self._member, recorded.step
        until_us = min(self.step * self._step_us, self._duration_us)
        for stored in recorded.inputs:
            row = stored.row
            member.receive(row.time_us, row.src, self._given.type(row), self._given.payload(row), stored.seq)
        actual: list[Row] = []
        if self.failure is None and self.step > 0:  # step 0 is INIT
            self.running = member.id
            try:
                member.done = member.node.advance(member.reached_us, until_us, member.inbox)
                self.running = ""
                actual = self._accepted(until_us)
            except (Interrupted, KeyboardInterrupt):
                raise
            except BaseException as error:  # a model may raise anything
                self._fail(error)
            self.running = ""
        if self.failure is not None:
            actual = [_abort(self.failure)]
        expected = [*_rows(recorded.outputs), *_rows([recorded.abort] if recorded.abort else [])]
        return ReplayedStep(self.step, until_us, _rows(recorded.inputs), expected, actual)

    def _accepted(self, until_us: int) -> list[Row]:
        emitted: list[Emitted] = []
        try:
            self._member.accept(emitted, until_us, self._destinations)
        except (NodeFailure, TypeError, ValueError) as error:
            raise refusal(self._member.id, error) from error
        return [_output(self.step, each) for each in sorted(emitted)]

    def _fail(self, error: BaseException) -> None:
        self.failure = crash(self._member.id, error)
        self.failure.step, self.failure.time_us = self.step, max(self.step - 1, 0) * self._step_us


def _rows(stored: list[StoredRow]) -> list[Row]:
    return [each.row for each in stored]


def _output(step: int, emitted: Emitted) -> Row:
    time_us, src, _, dst, type_, payload, _ = emitted
    return Row(step, time_us, "output", src, src, dst, type_, 0, payload, "")


def _abort(failure: NodeFailure) -> Row:
    assert failure.step is not None and failure.time_us is not None
    payload = encode({"error": type(failure).__name__, "reason": failure.reason})
    return Row(failure.step, failure.time_us, "abort", failure.node, "", "", "", 0, payload, "")
