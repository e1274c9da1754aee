"""A ring of nodes in which everybody passes a token on in every step: xtrace, recorded, against SimPy, unrecorded."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from xtrace.capture.writer import RunWriter
from xtrace.engine.coordinator import Coordinator
from xtrace.engine.event import Event
from xtrace.engine.model import Model
from xtrace.engine.network import Direct
from xtrace.engine.node import Node, Setup
from xtrace.scenarios.record import calm_collector

STEP_US = 1_000


class Passer(Model):
    """Sends a token to the next node in the ring, and passes on what it gets, counted up."""

    def on_init(self) -> None:
        self.next = self.config["next"]
        self.schedule(0, self.send, self.next, "token", 0)

    def on_event(self, event: Event) -> None:
        self.send(self.next, "token", event.payload + 1)


class PasserNode(Node):
    """A Passer as a node, as `python_model` makes one, without loading a file for each."""

    def init(self, setup: Setup) -> None:
        model = Passer()
        model.start(setup)
        self.advance = model.advance  # type: ignore[method-assign]

    def advance(self, from_us: int, until_us: int, events: Any) -> Any:
        raise AssertionError


def recorded_ring(folder: Path, *, nodes: int, steps: int) -> int:
    """Run and record a ring in `folder`; return the number of messages."""
    ids = [f"n{number:04d}" for number in range(nodes)]
    members = {node_id: PasserNode() for node_id in ids}
    about = {"seed": 0, "nodes": {}, "step_us": STEP_US, "duration_us": steps * STEP_US}
    writer = RunWriter(folder, node_ids=ids, about=about)
    coordinator = Coordinator(members, Direct({}, seed=0), writer, step_us=STEP_US, duration_us=steps * STEP_US)
    following = dict(zip(ids, [*ids[1:], ids[0]], strict=True))
    coordinator.init({node: Setup(node, "passer", 0, {"next": following[node]}) for node in ids})
    with calm_collector():
        coordinator.run()
    writer.close("complete")
    return nodes * steps


def simpy_ring(*, nodes: int, steps: int) -> int:
    """Run the same ring in SimPy; return the number of messages."""
    import simpy

    environment = simpy.Environment()
    stores = [simpy.Store(environment) for _ in range(nodes)]

    def passer(number: int) -> Generator[Any, Any, None]:
        own, following = stores[number], stores[(number + 1) % nodes]
        yield following.put(0)
        while True:
            token = yield own.get()
            yield environment.timeout(1)
            yield following.put(token + 1)

    for number in range(nodes):
        environment.process(passer(number))
    environment.run(until=steps)
    return nodes * steps
