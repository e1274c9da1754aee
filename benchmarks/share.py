"""What recording costs a system that does something: ten nodes, of which one is an ONNX model."""

from __future__ import annotations

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


class TimedRecorder:
    """Hands rows to `writer`, and knows how long that took, in wall-clock seconds."""

    def __init__(self, writer: RunWriter) -> None:
        self.spent_s = 0.0
        self._writer = writer

    def append(self, step: int, kind: str, **columns: Any) -> int:
        started = time.perf_counter()
        first = self._writer.append(step, kind, **columns)
        self.spent_s += time.perf_counter() - started
        return first

    def end_step(self, step: int, time_us: int) -> None:
        started = time.perf_counter()
        self._writer.end_step(step, time_us)
        self.spent_s += time.perf_counter() - started


def ten_nodes() -> Scenario:
    """Return `machine_monitoring` with four more sensors: ten nodes, of which one is an ONNX model."""
    scenario = load("machine_monitoring", duration=DURATION)
    document = dict(scenario.document)
    nodes: list[Mapping[str, Any]] = list(document["nodes"])
    found = {node["id"]: node for node in nodes}
    nodes += [{**found[original], "id": copy} for copy, original in COPIES.items()]
    return from_document({**document, "nodes": nodes}, folder=scenario.folder, where="ten nodes")


def recording_share(folder: Path) -> tuple[float, float]:
    """Record ten nodes; return how long that took, and what of it the log took, in wall-clock seconds."""
    scenario = ten_nodes()
    writer = RunWriter(
        folder, node_ids=[node.id for node in scenario.nodes], about={"seed": scenario.seed, "nodes": {}}
    )
    recorder = TimedRecorder(writer)
    with built_nodes(scenario, writer, None) as nodes:
        coordinator = Coordinator(
            nodes,
            build_network(scenario.network, seed=scenario.seed),
            recorder,
            step_us=scenario.step_us,
            duration_us=scenario.duration_us,
        )
        coordinator.init({spec.id: setup_of(spec, seed=scenario.seed) for spec in scenario.nodes})
        started = time.perf_counter()
        with calm_collector(), Flusher(writer.flush):
            coordinator.run()
        before_close = time.perf_counter()
        writer.close("complete")
        ended = time.perf_counter()
    return ended - started, recorder.spent_s + ended - before_close
