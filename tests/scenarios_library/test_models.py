import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from xtrace.bridges.onnx import open_session
from xtrace.engine import registry
from xtrace.engine.coordinator import Coordinator
from xtrace.engine.node import Node, Setup, Workspace
from xtrace.engine.seeds import Random, derive_seed
from xtrace.engine.values import decode
from xtrace.scenarios.loader import load

LIBRARY = Path(__file__).resolve().parents[2] / "scenarios"
MODELS = LIBRARY / "models"


class Seen(NamedTuple):
    """A row of a run, with its payload decoded."""

    time_us: int
    kind: str
    node: str
    type: str
    payload: Any


class Memory:
    """A recorder that keeps every row."""

    def __init__(self) -> None:
        self.rows: list[Seen] = []

    def append(
        self,
        step: int,
        kind: str,
        *,
        time_us: Sequence[int],
        node: Sequence[str],
        src: Sequence[str],
        dst: Sequence[str],
        type: Sequence[str],
        late_us: Sequence[int],
        payload: Sequence[bytes],
        cause: Sequence[Sequence[int]],
    ) -> int:
        first = len(self.rows)
        columns = zip(time_us, node, type, payload, strict=True)
        self.rows += [Seen(time, kind, who, what, decode(data)) for time, who, what, data in columns]
        return first

    def end_step(self, step: int, time_us: int) -> None:
        pass


@cache
def play(name: str, *overrides: str) -> list[Seen]:
    """Return every row of a scenario of the library, played in memory."""
    scenario = load(name, overrides=overrides)
    memory, nodes = Memory(), dict[str, Node]()
    try:
        for spec in scenario.nodes:
            workspace = Workspace(scenario.folder, logs=scenario.folder)
            nodes[spec.id] = registry.load(registry.NODES, spec.implementation)(spec, workspace)
        for spec in scenario.nodes:
            nodes[spec.id].init(Setup(spec.id, spec.type, derive_seed(scenario.seed, spec.id), spec.config))
        network = registry.load(registry.NETWORKS, scenario.network.model)(
            scenario.network.options, seed=derive_seed(scenario.seed, "network")
        )
        Coordinator(nodes, network, memory, step_us=scenario.step_us, duration_us=scenario.duration_us).run()
    finally:
        for node in nodes.values():
            node.shutdown()
    return memory.rows


def seen(rows: list[Seen], *, kind: str, node: str, type: str) -> list[Seen]:
    return [row for row in rows if (row.kind, row.node, row.type) == (kind, node, type)]


def labels(rows: list[Seen], *, since_s: float, until_s: float) -> list[int]:
    scores = seen(rows, kind="output", node="edge", type="score")
    return [row.payload["label"] for row in scores if since_s <= row.time_us / 1e6 < until_s]


@pytest.fixture
def code() -> dict[str, Any]:
    """The modules that sensors and training share, loaded as the training script does."""
    loaded: dict[str, Any] = {}
    for name in ("signals", "features"):
        spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        loaded[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded[name])
    return loaded


def windows(code: dict[str, Any], *, rpm: int, severity_milli: int, count: int = 5) -> Any:
    """Return the features of `count` windows of sensor_a."""
    config = next(node.config for node in load("machine_monitoring").nodes if node.id == "sensor_a")
    vibration = code["signals"].Vibration(config, Random(3))
    signal = (vibration.samples(1024, rpm=rpm, severity_milli=severity_milli) for _ in range(count))
    return np.array([code["features"].extract([samples]) for samples in signal], np.float32)


def scores(features: Any, model: Path = MODELS / "anomaly.onnx") -> Any:
    session = open_session(model.read_bytes(), where="test")
    return session.run(["score"], {"features": features})[0]


def test_smoke_answers_every_ping() -> None:
    """Twenty pings, each with its pong, one step later."""
    rows = play("smoke")
    sent, answered = (seen(rows, kind="output", node="ping", type=type) for type in ("ping", "answered"))
    assert [{"number": row.payload["number"]} for row in sent] == [row.payload for row in answered]
    assert len(sent) == 20


def test_label_follows_the_defect() -> None:
    """Before the onset nothing is anomalous, then the strong sensor is, at rest nothing is again."""
    rows = play("machine_monitoring")
    assert set(labels(rows, since_s=0, until_s=15)) == {0}
    assert sum(labels(rows, since_s=17, until_s=25)) >= 6
    assert set(labels(rows, since_s=28, until_s=40)) == {0}


def test_the_loop_closes_through_every_tier() -> None:
    """Alarm, command, drive, shaft: the sensors feel the machine slow down and stop, and their signal shows it."""
    rows = play("machine_monitoring")
    alarm = seen(rows, kind="output", node="cloud", type="alarm")[0]
    command = seen(rows, kind="input", node="actuator", type="command")[0]
    speeds = seen(rows, kind="input", node="sensor_a", type="speed")
    clear = seen(rows, kind="output", node="cloud", type="all_clear")[-1]
    assert alarm.time_us < command.time_us < speeds[0].time_us < speeds[-1].time_us < clear.time_us
    assert list(dict.fromkeys(r.payload["rpm"] for r in speeds if r.payload["rpm"] in (1200, 0))) == [1200, 0]
    features = seen(rows, kind="output", node="gateway", type="features")
    rms = {row.payload["window"]: row.payload["features"][0] for row in features}
    assert rms[max(rms)] < rms[0] / 4


def test_without_defect_nothing_happens() -> None:
    """A machine that stays healthy is left alone."""
    onset = [f"nodes.sensor_{sensor}.config.defect.onset_us=3600000000" for sensor in "ab"]
    rows = play("machine_monitoring", *onset)
    assert set(labels(rows, since_s=0, until_s=40)) == {0}
    assert seen(rows, kind="output", node="cloud", type="command") == []


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_detection_does_not_hang_on_one_seed(seed: int) -> None:
    """Other noise, other losses: the defect is found in the same seconds, and the machine stops."""
    rows = play("machine_monitoring", f"seed={seed}")
    first = seen(rows, kind="output", node="cloud", type="command")[0]
    assert 16 < first.time_us / 1e6 < 23
    assert seen(rows, kind="input", node="sensor_a", type="speed")[-1].payload == {"rpm": 0}


def test_windows_survive_lost_frames() -> None:
    """With a tenth of the frames lost most windows still arrive and say so; with half lost none is made up."""
    for loss, least, most in (("0.1", 30, 38), ("0.5", 0, 10)):
        links = [f"network.links[{link}].loss={loss}" for link in (0, 1)]
        rows = play("machine_monitoring", "duration=10s", *links)
        sent = seen(rows, kind="output", node="gateway", type="features")
        lost = seen(rows, kind="output", node="gateway", type="window_lost")
        assert least <= len(sent) <= most
        assert 36 <= len(sent) + len(lost) <= 38
        assert max(row.payload["frames_lost"] for row in sent) <= 4
        assert all(row.payload["frames_lost"] > 4 for row in lost)


def test_frames_that_come_late_are_left_out(code: dict[str, Any]) -> None:
    """A frame lost in the middle splits the window: no step is seen across the gap."""
    whole = code["features"].extract([[0, 100] * 8])
    split = code["features"].extract([[0, 100] * 4, [0, 100] * 4])
    assert whole[:7] == split[:7]
    assert code["features"].extract([[5] * 8]) == [0, 0, 0, 0, 0, 0, 0, 0]


def test_signal_needs_no_libm(code: dict[str, Any]) -> None:
    """The sine table is that of the real sine, and samples stay within the converter's range."""
    table, unit = code["signals"].SINE, code["signals"].SINE_UNIT
    exact = np.sin(np.arange(len(table)) * 2 * np.pi / len(table)) * unit
    assert np.abs(np.array(table) - exact).max() <= 0.5
    for name in ("signals", "features", "machine"):
        text = (MODELS / f"{name}.py").read_text(encoding="utf-8")
        assert set(re.findall(r"^(?:from|import) math.*", text, flags=re.MULTILINE)) <= {"from math import isqrt"}


def test_scores_grow_with_the_defect(code: dict[str, Any]) -> None:
    """Healthy windows score far below 1 at any speed; at full speed the score grows with the defect."""
    for rpm in (0, 600, 1200, 1500):
        assert scores(windows(code, rpm=rpm, severity_milli=0)).max() < 0.5
    grown = [float(scores(windows(code, rpm=1500, severity_milli=s)).mean()) for s in (0, 200, 500, 1000)]
    assert grown == sorted(grown)
    assert grown[-1] > 3


def test_every_bias_of_the_output_matters(code: dict[str, Any], tmp_path: Path) -> None:
    """With the sign of any one number of `output.bias` flipped, every score changes."""
    import onnx
    from onnx import numpy_helper

    features = np.concatenate([windows(code, rpm=rpm, severity_milli=0) for rpm in (0, 600, 1500)])
    for index in range(8):
        model = onnx.load(str(MODELS / "anomaly.onnx"))
        tensor = next(each for each in model.graph.initializer if each.name == "output.bias")
        bias = numpy_helper.to_array(tensor).copy()
        bias[index] = -bias[index]
        tensor.CopyFrom(numpy_helper.from_array(bias, "output.bias"))
        (tmp_path / "flipped.onnx").write_bytes(model.SerializeToString())
        assert (np.abs(scores(features, tmp_path / "flipped.onnx") - scores(features)) > 0.01).all()


def test_telemetry_sample_is_what_its_script_writes(tmp_path: Path) -> None:
    """The sample in the library is reproducible."""
    (tmp_path / "make_telemetry.py").write_bytes((MODELS / "make_telemetry.py").read_bytes())
    subprocess.run([sys.executable, str(tmp_path / "make_telemetry.py")], check=True)
    assert (MODELS / "telemetry_sample.csv").read_bytes() == (tmp_path / "telemetry_sample.csv").read_bytes()


def test_telemetry_sample_fails_in_its_last_window() -> None:
    """Only the window with the failure is anomalous."""
    rows = play("telemetry_replay")
    assert labels(rows, since_s=0, until_s=240) == [0, 0, 0, 0, 1]
    assert [row.type for row in rows if row.kind == "output" and row.node == "cloud"] == ["alarm"]


def test_recorded_telemetry(telemetry_csv: Path) -> None:
    """On 22,695 real readings few windows stand out, and the largest score is that of the catastrophic failure."""
    rows = play("telemetry_replay", f"nodes.telemetry.file={telemetry_csv}")
    found = [row.payload for row in seen(rows, kind="output", node="edge", type="score")]
    assert 150 < len(found) < 158
    anomalous = {each["window"] for each in found if each["label"]}
    assert anomalous >= {14, 27, 111, 137}  # 12 hours each, in the four periods that experts labelled
    assert len(anomalous) <= 12
    assert max(found, key=lambda each: each["score"])["window"] == 137
    assert len(seen(rows, kind="output", node="telemetry", type="disorder")) == 11


@pytest.mark.torch
def test_training_gives_the_committed_model(code: dict[str, Any], tmp_path: Path) -> None:
    """Trained anew the model scores healthy and defective windows as the committed one does."""
    script = [sys.executable, "-B", str(MODELS / "train_anomaly.py"), "-o", str(tmp_path / "new.onnx")]
    subprocess.run(script, check=True, timeout=110)
    for severity_milli in (0, 500, 1000):
        features = windows(code, rpm=1500, severity_milli=severity_milli)
        old, new = scores(features), scores(features, tmp_path / "new.onnx")
        np.testing.assert_allclose(new, old, rtol=0.2, atol=0.05)
