"""Synthetic systems and their traces: what a lockstep would record, small, seeded, with causes and a lossy network.

A node emits by a rule that knows only its seed, the step, and the inputs it has received so far; `faults` change the
rule of one node from one step on, so that everything that follows from it changes too, as in a live system.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xtrace.capture.blocks import StoredRow
from xtrace.engine.deliveries import REASON_END
from xtrace.engine.recorder import NETWORK, Row
from xtrace.engine.values import encode

STEP_US = 1_000


@dataclass(frozen=True)
class System:
    """`links` says to whom a node sends. `latency_steps` by link: the network's rule, `loss` its share of drops."""

    links: Mapping[str, Sequence[str]]
    steps: int = 12
    seed: int = 1
    loss: float = 0.1
    faults: Mapping[str, int] = field(default_factory=dict)
    """Node, or the network -> the step from which on it behaves differently."""
    ends_early: int | None = None
    """The last step before somebody pressed Ctrl-C."""
    fails: tuple[str, int] | None = None
    """The node that fails and the step in which it does."""


def random_system(seed: int, *, nodes: int = 5, steps: int = 12) -> System:
    """Return a system of `nodes` nodes, each of which sends to one or two others; loops are likely."""
    rng = random.Random(seed)
    names = [f"n{index}" for index in range(nodes)]
    links = {name: sorted(rng.sample([each for each in names if each != name], rng.choice((1, 2)))) for name in names}
    return System(links, steps=steps, seed=seed)


def trace(system: System) -> list[StoredRow]:
    """Return the rows that a recording of `system` would hold."""
    return _Lockstep(system).run()


def number(*parts: object) -> int:
    """Return a number that depends on `parts` and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


class _Lockstep:
    def __init__(self, system: System) -> None:
        self.system = system
        self.rows: list[StoredRow] = []
        self.state = dict.fromkeys(system.links, 0)
        self.sent = dict.fromkeys(system.links, 0)
        self.waiting: dict[int, list[tuple[int, str, int, str, str, bytes, int]]] = {}

    def run(self) -> list[StoredRow]:
        system = self.system
        for step in range(1, system.steps + 1):
            self._inputs(step)
            if system.fails is not None and system.fails[1] == step:
                payload = encode({"error": "NodeCrashed", "reason": "it fell over"})
                self._add((), step, (step - 1) * STEP_US, "abort", system.fails[0], "", "", "", payload)
                return self.rows
            self._outputs(step)
            self._add((), step, step * STEP_US, "step", "", "", "", "", b"")
            if step == system.ends_early:
                return self.rows
        self._close()
        return self.rows

    def _close(self) -> None:
        """Drop what is under way, in a step of its own."""
        step, end_us = self.system.steps + 1, self.system.steps * STEP_US
        waiting = sorted(each for step in sorted(self.waiting) for each in self.waiting[step])
        for time_us, src, _, dst, type_, _, seq in waiting:
            payload = encode({"reason": REASON_END, "due_us": time_us})
            self._add((seq,), step, end_us, "drop", NETWORK, src, dst, type_, payload)
        if waiting:
            self._add((), step, end_us, "step", "", "", "", "", b"")

    def _inputs(self, step: int) -> None:
        for time_us, src, _, dst, type_, payload, seq in sorted(self.waiting.pop(step, [])):
            self._add((seq,), step, time_us, "input", dst, src, dst, type_, payload)
            self.state[dst] = number(self.state[dst], time_us, src, type_, payload)

    def _outputs(self, step: int) -> None:
        emitted = sorted(each for node in sorted(self.state) for each in self._emit(node, step))
        drops = []
        for time_us, src, count, dst, type_, payload in emitted:
            seq = self._add((), step, time_us, "output", src, src, dst, type_, payload)
            if not dst:
                continue
            fate = self._fate(step, src, dst, count)
            if fate == 0:
                drops.append((time_us, src, dst, type_, seq))
            else:
                due_us = (step + fate - 1) * STEP_US + number(src, count) % 500
                self.waiting.setdefault(step + fate, []).append((due_us, src, count, dst, type_, payload, seq))
        for time_us, src, dst, type_, seq in drops:
            payload = encode({"reason": "loss", "due_us": time_us})
            self._add((seq,), step, time_us, "drop", NETWORK, src, dst, type_, payload)

    def _emit(self, node: str, step: int) -> list[tuple[int, str, int, str, str, bytes]]:
        faulty = step >= self.system.faults.get(node, step + 1)
        found = []
        for dst in [*self.system.links[node], ""]:
            drawn = number(self.system.seed, node, dst, step, self.state[node], faulty)
            if drawn % 4 == 0:
                continue
            time_us = (step - 1) * STEP_US + drawn % 7 * 100
            payload = encode({"a": [drawn % 5, drawn / 7], "n": drawn % 3, "x": None})
            found.append((time_us, node, self.sent[node], dst, ("reading", "state")[drawn % 2], payload))
            self.sent[node] += 1
        return found

    def _fate(self, step: int, src: str, dst: str, count: int) -> int:
        """Return after how many steps a message arrives; 0: it is lost."""
        faulty = step >= self.system.faults.get(NETWORK, step + 1)
        drawn = number(self.system.seed, src, dst, count, faulty)
        return 0 if drawn % 1000 < self.system.loss * 1000 else 1 + drawn % 3

    def _add(self, cause: tuple[int, ...], *fields: object) -> int:
        step, time_us, kind, node, src, dst, type_, payload = fields
        row = Row(step, time_us, kind, node, src, dst, type_, 0, payload, "")  # type: ignore[arg-type]
        self.rows.append(StoredRow(len(self.rows), row, cause))
        return len(self.rows) - 1
