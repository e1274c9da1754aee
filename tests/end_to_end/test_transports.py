"""One system of everything: processes over all three transports, Python models and a neural network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    LIBRARY,
    NODES,
    here,
    record,
    rows,
    write_scenario,
    xtrace,
)

WORKERS = {"piped": "stdio", "local": "unix", "remote": "tcp"}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    names = list(WORKERS)
    nodes = [
        {"id": name, "type": "worker", "implementation": "process", "command": ["{python}", "worker.py"],
         "transport": WORKERS[name], "env": {"STARTED": str(tmp_path / "started")},
         "config": {"every_us": 3000 + number, "to": names[:number] + names[number + 1:]}}
        for number, name in enumerate(names)
    ]  # fmt: skip
    nodes += [
        {"id": "ping", "type": "stub", "implementation": "python_model", "model": "stubs.py:Ping",
         "config": {"peer": "pong", "period_us": 5000}},
        {"id": "pong", "type": "stub", "implementation": "python_model", "model": "stubs.py:Pong"},
        {"id": "source", "type": "sensor", "implementation": "python_model", "model": "source.py:Source"},
        {"id": "edge", "type": "detector", "implementation": "onnx", "model": "anomaly.onnx", "accepts": "features",
         "inputs": {"features": "$.features"}, "outputs": {"score": "score", "label": "label"},
         "sends": "score", "send_to": "source", "service_time": "2ms"},
    ]  # fmt: skip
    path = write_scenario(
        tmp_path / "scenario", nodes, network={"model": "latency", "base": "2ms", "jitter": "1ms", "loss": 0.05}
    )
    (path.parent / "source.py").write_text(
        "from xtrace.engine.model import Model\n\n\n"
        "class Source(Model):\n"
        "    def on_init(self):\n"
        "        self.schedule_periodic(10_000, self.measure)\n\n"
        "    def measure(self):\n"
        "        self.send('edge', 'features', {'features': [self.random.randrange(200) for _ in range(8)]})\n\n"
        "    def on_event(self, event):\n"
        "        self.observe('verdict', event.payload['label'])\n"
    )
    shutil.copy(NODES / "worker.py", path.parent)
    for name in ("stubs.py", "anomaly.onnx"):
        shutil.copy(LIBRARY / "models" / name, path.parent)
    return path


def test_it_records_twice_the_same_and_every_node_replays_alone(scenario, tmp_path, private):
    for name in ("a", "b"):
        answer = xtrace("record", scenario, "-o", tmp_path / name, **private)
        assert answer.status == 0, answer.err
    assert here("diff", tmp_path / "a", tmp_path / "b").status == 0
    assert (tmp_path / "a" / "events.arrow").read_bytes() == (tmp_path / "b" / "events.arrow").read_bytes()
    assert {row["node"] for row in rows(tmp_path / "a", "kind = 'input'")} == {
        *WORKERS,
        "edge",
        "ping",
        "pong",
        "source",
    }
    assert here("info", tmp_path / "a", "--json").json["status"] == "complete"

    shutil.rmtree(scenario.parent)
    answer = xtrace("replay", tmp_path / "a", "--all", **private)
    assert answer.status == 0, answer.out + answer.err
    assert answer.out.splitlines()[-1] == "8 of 8 nodes the same"


def test_no_other_node_runs_in_a_replay(scenario, tmp_path, private):
    record(scenario, tmp_path / "run")
    started = tmp_path / "started"
    assert sorted(started.read_text().split()) == sorted(WORKERS)
    for node in (*WORKERS, "pong", "network"):
        started.write_text("")
        assert here("replay", tmp_path / "run", "--node", node).status == 0
        assert started.read_text().split() == [node] * (node in WORKERS)


def test_a_changed_program_shows_at_its_first_other_answer(scenario, tmp_path, monkeypatch):
    record(scenario, tmp_path / "run")
    changed = (NODES / "worker.py").read_text().replace("randrange(6)", "randrange(7)")
    (tmp_path / "changed.py").write_text(changed)
    monkeypatch.chdir(tmp_path)
    answer = here("replay", "run", "--node", "remote", "--json", "--with", "command=['{python}', changed.py]")
    assert answer.status == 1, answer.out + answer.err
    divergence = answer.json["nodes"]["remote"]["divergence"]
    assert divergence["node"] == "remote", answer.json
    assert divergence["field"] == "$.dice", answer.json
