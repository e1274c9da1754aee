"""Train the anomaly model of the scenarios `machine_monitoring` and `telemetry_replay`.

    pip install 'xtrace-toolkit[torch]'
    python scenarios/models/train_anomaly.py

A small autoencoder learns to reproduce the features of a healthy machine, at any speed and at rest, from three numbers.
What it can't reproduce is unlike anything it has seen: the score is the mean square error, in units of MARGIN times
the largest of the healthy windows, and the label 1 where the score is above 1. The same
seed gives the same model on the same platform.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from features import FEATURES, extract
from signals import NOMINAL_RPM, Vibration
from xtrace.engine.seeds import Random

SEED = 2
WINDOWS = 3000
EPOCHS = 3000
MARGIN = 1.5
"""The limit, as a multiple of the largest error of a healthy window."""
CLIP = 20.0
"""Normalised features beyond are cut, so that a wild window has a large but finite score."""
BATCH, WIDTH, CODE = "windows", 12, 3


def healthy_windows(count: int, *, seed: int) -> list[list[int]]:
    """Return the features of `count` windows without defect: sensors, speeds, ramps and window sizes vary."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        config = {
            "sample_rate_hz": 2000,
            "noise_counts": chance.randint(34, 46),
            "impact_counts": 0,
            "bpfo_milli": 3585,
            "harmonics_counts": [amplitude * chance.randint(80, 120) // 100 for amplitude in (300, 120, 60)],
        }
        vibration = Vibration(config, Random(seed * 1_000_003 + number))
        frames = chance.choice((2, 3, 8, 12, 15, 16, 16))
        first = chance.choice((0, NOMINAL_RPM, chance.randint(0, NOMINAL_RPM)))
        last = chance.choice((first, first, chance.randint(0, NOMINAL_RPM)))
        speeds = [first + (last - first) * frame // frames for frame in range(frames)]
        rows.append(extract([[s for rpm in speeds for s in vibration.samples(64, rpm=rpm, severity_milli=0)]]))
    return rows


def network() -> torch.nn.Sequential:
    """Return the untrained autoencoder of normalised features."""
    size = len(FEATURES)
    return torch.nn.Sequential(
        torch.nn.Linear(size, WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, CODE),
        torch.nn.Linear(CODE, WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, size),
    )


def train(rows: list[list[int]]) -> onnx.ModelProto:
    """Return the trained model: float32 `features` [windows, 8] in, float32 `score` and int64 `label` [windows] out."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    raw = torch.tensor(rows, dtype=torch.float32)
    mean, std = raw.mean(0), raw.std(0)
    data = ((raw - mean) / std).clamp(-CLIP, CLIP)
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        loss = ((net(data) - data) ** 2).mean()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        errors = ((net(data) - data) ** 2).mean(1)
    limit = MARGIN * float(errors.max())
    print(f"healthy windows: mean error {float(errors.mean()):.4f}, limit {limit:.4f}")
    names = ("encoder1", None, "encoder2", "decoder1", None, "output")
    weights = {"mean": mean, "std": std, "limit": torch.tensor(limit)}
    for name, layer in zip(names, net, strict=True):
        if name is not None and isinstance(layer, torch.nn.Linear):
            weights |= {f"{name}.weight": layer.weight.detach(), f"{name}.bias": layer.bias.detach()}
    return to_onnx({name: tensor.numpy().astype(np.float32) for name, tensor in weights.items()})


def to_onnx(weights: dict[str, Any]) -> onnx.ModelProto:
    """Write the graph by hand: normalise, encode, decode, score, label. No operator needs libm."""

    def layer(name: str, source: str) -> onnx.NodeProto:
        return helper.make_node("Gemm", [source, f"{name}.weight", f"{name}.bias"], [name], name=name, transB=1)

    constants = {"low": np.float32(-CLIP), "high": np.float32(CLIP), "one": np.float32(1)}
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["normal"]),
        layer("encoder1", "normal"),
        helper.make_node("Relu", ["encoder1"], ["hidden1"]),
        layer("encoder2", "hidden1"),
        layer("decoder1", "encoder2"),
        helper.make_node("Relu", ["decoder1"], ["hidden2"]),
        layer("output", "hidden2"),
        helper.make_node("Sub", ["output", "normal"], ["error"]),
        helper.make_node("Mul", ["error", "error"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["mean_square"], axes=[1], keepdims=0),
        helper.make_node("Div", ["mean_square", "limit"], ["score"]),
        helper.make_node("Greater", ["score", "one"], ["anomalous"]),
        helper.make_node("Cast", ["anomalous"], ["label"], to=TensorProto.INT64),
    ]
    graph = helper.make_graph(
        nodes,
        "anomaly",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [BATCH, len(FEATURES)])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [BATCH]),
            helper.make_tensor_value_info("label", TensorProto.INT64, [BATCH]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in {**weights, **constants}.items()],
        doc_string="Features: " + ", ".join(FEATURES),
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="train_anomaly.py"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Train and write the model."""
    parser = argparse.ArgumentParser(description="Train the anomaly model of the scenario library.")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("anomaly.onnx"))
    output: Path = parser.parse_args().output
    data = train(healthy_windows(WINDOWS, seed=SEED)).SerializeToString(deterministic=True)
    output.write_bytes(data)
    print(f"{output}: {len(data)} bytes")


if __name__ == "__main__":
    main()
