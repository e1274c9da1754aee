"""What recording costs a system that does something: ten nodes, with and without a log."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xtrace.capture.flusher import Flusher
from xtrace.capture.writer import RunWriter
from xtrace.engine.coordinator import Coordinator
from xtrace.scenarios.loader import from_document, load
from xtrace.scenarios.record import build_network, built_nodes, calm_collector, setup_of
from xtrace.scenarios.scenario import Scenario

DURATION = "200s"
COPIES = {"sensor_c": "sensor_a", "sensor_d": "sensor_b", "sensor_e": "sensor_a", "sensor_f": "sensor_b"}


class NoRecorder:
    """Takes rows and forgets them."""

    def __init__(self) -> None:
        self._rows = itertools.count()

    def append(self, step: int, kind: str, *, time_us: Any, **columns: Any) -> int:
        first = next(self._rows)
        self._rows = itertools.count(first + len(time_us))
        return first

    def end_step(self, step: int, time_us: int) -> None:
        next(self._rows)


def ten_nodes() -> Scenario:
    """Return `machine_monitoring` with four more sensors: ten nodes, of which one is an ONNX model."""
    scenario = load("machine_monitoring", duration=DURATION)
    document = dict(scenario.document)
    nodes: list[Mapping[str, Any]] = list(document["nodes"])
    found = {node["id"]: node for node in nodes}
    nodes += [{**found[original], "id": copy} for copy, original in COPIES.items()]
    return from_document({**document, "nodes": nodes}, folder=scenario.folder, where="ten nodes")


def recording_share(folder: Path) -> tuple[float, float]:
    """Run ten nodes with and without a log; return the wall-clock seconds of both."""
    scenario = ten_nodes()
    return _run(scenario, folder / "recorded", recorded=True), _run(scenario, folder / "forgotten", recorded=False)


def _run(scenario: Scenario, folder: Path, *, recorded: bool) -> float:
    writer = RunWriter(
        folder, node_ids=[node.id for node in scenario.nodes], about={"seed": scenario.seed, "nodes": {}}
    )
    with built_nodes(scenario, writer, None) as nodes:
        coordinator = Coordinator(
            nodes,
            build_network(scenario.network, seed=scenario.seed),
            writer if recorded else NoRecorder(),
            step_us=scenario.step_us,
            duration_us=scenario.duration_us,
        )
        coordinator.init({spec.id: setup_of(spec, seed=scenario.seed) for spec in scenario.nodes})
        started = time.perf_counter()
        if recorded:
            with calm_collector(), Flusher(writer.flush):
                coordinator.run()
            writer.close("complete")
        else:
            with calm_collector():
                coordinator.run()
        return time.perf_counter() - started
