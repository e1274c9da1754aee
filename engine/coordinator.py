"""The lockstep: advances all nodes to the same virtual time, step by step, and carries their messages.

Step k takes every node from T(k-1) to T(k). Its rows, in order: the inputs that are handed over, the outputs, what the
network dropped, and one `step` row. Inputs and outputs are sorted by (time_us, src, number of the output at its
source).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NoReturn

from xtrace.engine.deliveries import Deliveries, Delivery, Drop, drop_payload, undelivered
from xtrace.engine.errors import Interrupted, NodeFailure
from xtrace.engine.event import NEVER, Message
from xtrace.engine.member import Emitted, Member, crash, refusal
from xtrace.engine.network import NetworkModel
from xtrace.engine.node import Node, Setup
from xtrace.engine.recorder import NETWORK, Recorder
from xtrace.engine.remote import collect
from xtrace.engine.values import encode

_new_message = partial(tuple.__new__, Message)


def never() -> bool:
    """Do not stop."""
    return False


class Coordinator:
    """Runs `nodes` and `network` from 0 to `duration_us` in steps of `step_us` and records what happens.

    `should_stop` is asked between steps and while external nodes are waited for; a stopped run ends after the last
    step that was whole. `clock_ns` measures what each node costs and influences nothing.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        network: NetworkModel,
        recorder: Recorder,
        *,
        step_us: int,
        duration_us: int,
        should_stop: Callable[[], bool] = never,
        on_step: Callable[[int], None] | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.members = {node_id: Member(node_id, nodes[node_id]) for node_id in sorted(nodes)}
        self.step = 0
        self.until_us = 0
        self.stopped = False
        self.running = ""
        """The node that runs in this process right now, for a watchdog in another thread."""
        self._any_remote = any(member.remote is not None for member in self.members.values())
        self._destinations = {"", *self.members}
        self._network = network
        self._recorder = recorder
        self._step_us = step_us
        self._duration_us = duration_us
        self._last_step = -(-duration_us // step_us)
        self._should_stop = should_stop
        self._on_step = on_step
        self._clock_ns = clock_ns
        self._deliveries = Deliveries(step_us=step_us, duration_us=duration_us)
        self._wakes: dict[int, dict[str, None]] = {}
        self._wake_steps: list[int] = []

    def spent_ns(self) -> dict[str, int]:
        """Return how long every node has taken so far, in wall-clock nanoseconds."""
        return {member.id: member.spent_ns for member in self.members.values()}

    def limit_us(self, node_id: str) -> int:
        """Return how long a node of this process may take for an advance, in wall-clock microseconds."""
        return self.members[node_id].node.timeout_us

    def init(self, setups: Mapping[str, Setup]) -> None:
        """Initialise every node, those in other processes together. Raises NodeFailure as `run` does, for step 0."""
        members = list(self.members.values())
        remote = [member for member in members if member.remote is not None]
        for member in remote:
            member.begin_init(setups[member.id])
        failures: dict[str, NodeFailure] = {}
        for member in members:
            if member.remote is not None:
                continue
            self.running = member.id
            try:
                member.node.init(setups[member.id])
            except (Interrupted, KeyboardInterrupt):
                raise
            except BaseException as error:  # a model may raise anything
                failures[member.id] = crash(member.id, error)
        self.running = ""
        if remote:
            failures |= self._collect(remote)
        for member in members:
            if member.id in failures:
                self._abort(failures[member.id])

    def run(self) -> None:
        """Run to the end, or until asked to stop. Raises NodeFailure after an `abort` row said which and why."""
        for node_id in self.members:
            self._wake(node_id, 1)
        while not self.stopped and (step := self._next_step()) <= self._last_step:
            if self._should_stop():
                self.stopped = True
                break
            self._run_step(step)
            if self._on_step is not None:
                self._on_step(self.until_us)
        if not self.stopped:
            self._drop_undelivered()

    def _next_step(self) -> int:
        return min(self._deliveries.next_step(), self._wake_steps[0] if self._wake_steps else NEVER)

    def _run_step(self, step: int) -> None:
        until_us = min(step * self._step_us, self._duration_us)
        deliveries = self._deliveries.take(step)
        awake = dict.fromkeys([delivery[3] for delivery in deliveries])
        if self._wake_steps and self._wake_steps[0] == step:
            heapq.heappop(self._wake_steps)
            # A node that was woken before its time has a later wake-up by now; the earlier one is void.
            for node_id in self._wakes.pop(step):
                if self.members[node_id].next_time_us < until_us:
                    awake[node_id] = None
        if not awake:
            return
        self.step, self.until_us = step, until_us
        active = [self.members[node_id] for node_id in sorted(awake)]
        if deliveries:
            self._hand_over(deliveries)
        self._advance(active)
        if self.stopped:
            return
        emitted = self._accept(active)
        self._route(emitted, self._record_outputs(emitted) if emitted else 0)
        self._recorder.end_step(step, until_us)

    def _hand_over(self, deliveries: list[Delivery]) -> None:
        """Record the inputs of the step, before anybody advances, and put them into the inboxes."""
        times, srcs, _, dsts, types, payloads, lates, seqs = zip(*deliveries, strict=True)
        first = self._recorder.append(
            self.step,
            "input",
            time_us=times,
            node=dsts,
            src=srcs,
            dst=dsts,
            type=types,
            late_us=lates,
            payload=payloads,
            cause=seqs,
        )
        members = self.members
        for seq, (time_us, src, _, dst, type_, payload, _, _) in enumerate(deliveries, first):
            members[dst].receive(time_us, src, type_, payload, seq)

    def _advance(self, active: list[Member]) -> None:
        """Advance the active nodes, those in other processes while those in this one run.

        The first failure in order of nodes aborts the step, a missing answer stops the run.
        """
        remote = [member for member in active if member.remote is not None] if self._any_remote else []
        for member in remote:
            member.begin(self.until_us)
        failures = self._advance_local(active)
        if remote:
            failures |= self._collect(remote)
        if failures:
            self._abort(self._first_failure(active, failures))

    def _first_failure(self, active: list[Member], failures: Mapping[str, NodeFailure]) -> NodeFailure:
        """Return the first failure in order of nodes; an answer that breaks a rule is one too."""
        for member in active:
            if member.id in failures:
                return failures[member.id]
            if not self.stopped:
                try:
                    member.accept([], self.until_us, self._destinations)
                except (NodeFailure, TypeError, ValueError) as error:
                    return refusal(member.id, error)
        raise AssertionError("none of them failed")

    def _advance_local(self, active: list[Member]) -> dict[str, NodeFailure]:
        until_us, clock_ns = self.until_us, self._clock_ns
        failures: dict[str, NodeFailure] = {}
        before_ns = clock_ns()
        for member in active:
            if member.remote is not None:
                continue
            self.running = member.id
            try:
                member.done = member.node.advance(member.reached_us, until_us, member.inbox)
            except (Interrupted, KeyboardInterrupt):
                raise
            except BaseException as error:  # a model may raise anything
                failures[member.id] = crash(member.id, error)
            now_ns = clock_ns()
            member.spent_ns += now_ns - before_ns
            before_ns = now_ns
        self.running = ""
        return failures

    def _collect(self, remote: list[Member]) -> dict[str, NodeFailure]:
        """Wait for nodes in other processes; one that has not answered when the run is to stop stops it."""
        failures: dict[str, NodeFailure] = {}
        started_ns = self._clock_ns()
        answers = collect([member.remote for member in remote if member.remote], should_stop=self._should_stop)
        for member, answer in zip(remote, answers, strict=True):
            member.spent_ns += self._clock_ns() - started_ns
            if isinstance(answer, NodeFailure):
                failures[member.id] = answer
            elif answer is None:
                self.stopped = True
            else:
                member.done = answer
        return failures

    def _accept(self, active: list[Member]) -> list[Emitted]:
        """Return the outputs of all nodes in total order. A broken rule aborts the step."""
        emitted: list[Emitted] = []
        until_us, destinations, duration_us = self.until_us, self._destinations, self._duration_us
        for member in active:
            try:
                member.accept(emitted, until_us, destinations)
            except (NodeFailure, TypeError, ValueError) as error:
                self._abort(refusal(member.id, error))
            if member.next_time_us < duration_us:
                self._wake(member.id, max(member.next_time_us // self._step_us, self.step) + 1)
        emitted.sort()
        return emitted

    def _record_outputs(self, emitted: list[Emitted]) -> int:
        """Record the outputs of the step and return the row of the first."""
        times, srcs, _, dsts, types, payloads, causes = zip(*emitted, strict=True)
        return self._recorder.append(
            self.step,
            "output",
            time_us=times,
            node=srcs,
            src=srcs,
            dst=dsts,
            type=types,
            late_us=[0] * len(times),
            payload=payloads,
            cause=causes,
        )

    def _route(self, emitted: list[Emitted], first_seq: int) -> None:
        """Let the network decide about the messages of the step; plan deliveries and record drops."""
        until_us, numbered = self.until_us, enumerate(emitted, first_seq)
        if self._network.instant:
            arriving = [
                (until_us, src, number, dst, type_, payload, until_us - time_us, seq)
                for seq, (time_us, src, number, dst, type_, payload, _) in numbered
                if dst
            ]
            if arriving:
                self._deliveries.deliver(arriving, until_us)
            return
        messages = [_new_message((*each[:6], seq)) for seq, each in numbered if each[3]]
        try:
            fates = self._network.advance(until_us, messages)
            drops = self._deliveries.route(fates, until_us=until_us)
        except Exception as error:
            self._abort(crash(NETWORK, error))
        if drops:
            self._record_drops(drops)

    def _wake(self, node_id: str, step: int) -> None:
        """Plan to advance a node in `step`."""
        if step not in self._wakes:
            self._wakes[step] = {}
            heapq.heappush(self._wake_steps, step)
        self._wakes[step][node_id] = None

    def _record_drops(self, drops: list[Drop]) -> None:
        messages = [fate.message for _, fate in drops]
        self._recorder.append(
            self.step,
            "drop",
            time_us=[time_us for time_us, _ in drops],
            node=[NETWORK] * len(drops),
            src=[message.src for message in messages],
            dst=[message.dst for message in messages],
            type=[message.type for message in messages],
            late_us=[0] * len(drops),
            payload=[drop_payload(fate) for _, fate in drops],
            cause=[message.seq for message in messages],
        )

    def _drop_undelivered(self) -> None:
        """Record every message that is still under way as a drop, in a closing step of its own."""
        waiting = self._deliveries.take(self._last_step + 1)
        if waiting:
            self.step = self._last_step + 1
            self._record_drops(undelivered(waiting, end_us=self._duration_us))
            self._recorder.end_step(self.step, self._duration_us)

    def _abort(self, failure: NodeFailure) -> NoReturn:
        """Discard the outputs of the step, record why, and raise `failure` with its place in virtual time."""
        failure.step, failure.time_us = self.step, max(self.step - 1, 0) * self._step_us
        self._recorder.append(
            self.step,
            "abort",
            time_us=[failure.time_us],
            node=[failure.node],
            src=[""],
            dst=[""],
            type=[""],
            late_us=[0],
            payload=[encode({"error": type(failure).__name__, "reason": failure.reason})],
            cause=[()],
        )
        raise failure
