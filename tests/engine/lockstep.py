"""A lockstep in memory: a recorder that keeps its rows, and nodes made of a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from xtrace.engine.coordinator import Coordinator
from xtrace.engine.errors import NodeFailure
from xtrace.engine.event import NEVER, Done, Event, Output
from xtrace.engine.model import Model
from xtrace.engine.network import Direct, NetworkModel
from xtrace.engine.node import Node, Setup
from xtrace.engine.recorder import Row
from xtrace.engine.seeds import derive_seed
from xtrace.engine.values import decode


class MemoryRecorder:
    """Keeps every row, its causes, and in `log` what happened in which order, advances included."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.causes: list[tuple[int, ...]] = []
        self.log: list[tuple[Any, ...]] = []

    def append(self, step: int, kind: str, **columns: Sequence[Any]) -> int:
        first = len(self.rows)
        causes = columns.pop("cause")
        names = list(columns)
        for values, cause in zip(zip(*columns.values(), strict=True), causes, strict=True):
            self.rows.append(Row(step=step, kind=kind, object="", **dict(zip(names, values, strict=True))))
            self.causes.append((cause,) if isinstance(cause, int) else tuple(cause))
        self.log.append((kind, step))
        return first

    def end_step(self, step: int, time_us: int) -> None:
        self.rows.append(Row(step, time_us, "step", "", "", "", "", 0, b"", ""))
        self.causes.append(())
        self.log.append(("step", step))


class ModelNode(Node):
    """Runs a model; `advances` lists the windows it was asked for."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.advances: list[tuple[int, int]] = []

    def init(self, setup: Setup) -> None:
        self.model.start(setup)

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        self.advances.append((from_us, until_us))
        return self.model.advance(from_us, until_us, events)


class Scripted(Node):
    """Answers with what `answer(from_us, until_us, events)` returns: a Done, or a list of outputs and never again."""

    def __init__(self, answer: Callable[..., Any] = lambda *_: []) -> None:
        self.answer = answer
        self.advances: list[tuple[int, int]] = []
        self.received: list[Event] = []

    def init(self, setup: Setup) -> None:
        pass

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        self.advances.append((from_us, until_us))
        self.received += events
        answer = self.answer(from_us, until_us, events)
        return Done(answer, NEVER) if type(answer) is list else answer


class Ticker(Model):
    """Sends its count to each of `to` every `period_us` and observes what comes in."""

    def __init__(self, *to: str, period_us: int = 1_000, first_us: int = 0) -> None:
        self.to, self.period_us, self.first_us = to, period_us, first_us

    def on_init(self) -> None:
        self.count = 0
        self.schedule_periodic(self.period_us, self.tick, first_us=self.first_us)

    def tick(self) -> None:
        self.count += 1
        for dst in self.to:
            self.send(dst, "tick", {"count": self.count, "dice": self.random.randrange(6)})

    def on_event(self, event: Event) -> None:
        self.observe("heard", [event.src, event.payload["count"]])


class Outcome(NamedTuple):
    recorder: MemoryRecorder
    coordinator: Coordinator
    failure: NodeFailure | None

    @property
    def rows(self) -> list[Row]:
        return self.recorder.rows

    def of(self, *kinds: str) -> list[Row]:
        return [row for row in self.recorder.rows if row.kind in kinds]


def run(
    nodes: Mapping[str, Node | Model],
    network: NetworkModel | None = None,
    *,
    step_us: int = 1_000,
    duration_us: int = 10_000,
    seed: int = 1,
    **options: Any,
) -> Outcome:
    """Run `nodes` to the end, or to the failure that ends them."""
    recorder, failure = MemoryRecorder(), None
    coordinator = Coordinator(
        {name: ModelNode(node) if isinstance(node, Model) else node for name, node in nodes.items()},
        network or Direct({}, seed=0),
        recorder,
        step_us=step_us,
        duration_us=duration_us,
        **options,
    )
    try:
        coordinator.init({name: Setup(name, "test", derive_seed(seed, name), {}) for name in nodes})
        coordinator.run()
    except NodeFailure as raised:
        failure = raised
    return Outcome(recorder, coordinator, failure)


def payloads(rows: Sequence[Row]) -> list[Any]:
    return [decode(row.payload) for row in rows]


def once(dst: str, time_us: int, *, type: str = "once", payload: Any = None, cause: Any = None) -> Scripted:
    """Return a node that emits one output at `time_us`."""

    def answer(from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        outputs = [Output(time_us, dst, type, payload, cause)] if from_us <= time_us < until_us else []
        return Done(outputs, time_us if until_us <= time_us else NEVER)

    return Scripted(answer)
