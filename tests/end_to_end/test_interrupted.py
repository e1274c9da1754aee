"""Ctrl-C and SIGTERM in the middle of a recording: a closed run, true up to where it goes, and nobody left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    BAD_NODES,
    LIBRARY,
    NODES,
    finish,
    here,
    processes_with,
    record,
    start,
    write_scenario,
    xtrace,
)

STEPS = 3000


def mixed_nodes() -> list[dict[str, object]]:
    ping = {"peer": "pong", "period_us": 1000}
    return [
        {"id": "slow", "type": "t", "implementation": "process", "command": ["{python}", "worker.py"],
         "config": {"every_us": 1000, "to": ["other"]}},
        {"id": "other", "type": "t", "implementation": "process", "command": ["{python}", "worker.py"],
         "transport": "unix", "config": {"every_us": 7000, "to": ["slow"]}},
        {"id": "ping", "type": "t", "implementation": "python_model", "model": "stubs.py:Ping", "config": ping},
        {"id": "pong", "type": "t", "implementation": "python_model", "model": "stubs.py:Pong"},
    ]  # fmt: skip


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = write_scenario(tmp_path / "scenario", mixed_nodes(), duration=f"{STEPS}ms")
    shutil.copy(NODES / "worker.py", path.parent)
    shutil.copy(LIBRARY / "models" / "stubs.py", path.parent)
    return path


def wait_for(condition, *, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
def test_an_interrupted_recording_is_a_prefix(number, scenario, tmp_path, private):
    (scenario.parent / "delays.json").write_text(json.dumps({"slow": 20}))
    process = start("record", scenario, "-o", tmp_path / "part", **private)
    wait_for(lambda: len(processes_with(private["TMPDIR"])) >= 2)
    time.sleep(1)
    os.killpg(process.pid, number)
    answer = finish(process, timeout_s=20)
    assert answer.status == 130, answer.err
    assert "scenario: interrupted, " in answer.out
    part = tmp_path / "part"
    facts = here("info", part, "--json").json
    assert facts["status"] == "interrupted"
    assert 0 < facts["steps"] < STEPS
    assert here("verify", part).status == 0

    (scenario.parent / "delays.json").unlink()
    record(scenario, tmp_path / "full", "--duration", f"{facts['steps'] + 50}ms")
    answer = here("diff", tmp_path / "full", part, "--json")
    assert answer.status == 1
    divergence = answer.json["first_divergence"]
    assert (divergence["kind"], divergence["actual"]) == ("missing", None)
    assert divergence["step"] >= facts["steps"]

    shutil.rmtree(scenario.parent)
    replayed = xtrace("replay", part, "--all", **private)
    assert replayed.status == 0, replayed.out + replayed.err


@pytest.mark.parametrize("habit", ["hang", "huge_line", pytest.param("ignores_sigterm", marks=pytest.mark.slow)])
def test_a_node_that_does_not_care_is_ended_too(habit, tmp_path, private):
    node = {"id": "stubborn", "type": "t", "implementation": "process", "timeout": "60s", "start_timeout": "60s",
            "command": ["{python}", "misbehaves.py", habit, "3"]}  # fmt: skip
    node["env"] = {"PID_FILE": str(tmp_path / "pid"), "TMPDIR": private["TMPDIR"]}
    feeder = {"id": "feeder", "type": "t", "implementation": "python_model", "model": "stubs.py:Ping"}
    feeder["config"] = {"peer": "stubborn", "period_us": 1000}
    scenario = write_scenario(tmp_path / "scenario", [node, feeder], duration="1h")
    shutil.copy(BAD_NODES / "misbehaves.py", scenario.parent)
    shutil.copy(LIBRARY / "models" / "stubs.py", scenario.parent)
    process = start("record", scenario, "-o", tmp_path / "run", **private)
    wait_for(lambda: len(processes_with(private["TMPDIR"])) >= 2)
    time.sleep(0.7)
    os.killpg(process.pid, signal.SIGINT)
    answer = finish(process, timeout_s=20)
    if habit == "huge_line":
        assert answer.status in (1, 130)  # it may have been refused before
    else:
        assert answer.status == 130, answer.err
    assert here("verify", tmp_path / "run").status == 0


def test_impatience_ends_at_once(tmp_path, private):
    node = {"id": "asleep", "type": "t", "implementation": "python_model", "model": "asleep.py:Asleep"}
    scenario = write_scenario(tmp_path / "scenario", [node], duration="1h")
    (scenario.parent / "asleep.py").write_text(
        "import time\nfrom xtrace.engine.model import Model\n\n\n"
        "class Asleep(Model):\n"
        "    def on_init(self):\n"
        "        self.schedule_periodic(1000, self.sleep)\n\n"
        "    def sleep(self):\n"
        "        self.observe('asleep', None)\n"
        "        if self.now_us == 5000:\n"
        "            time.sleep(50)\n"
    )
    process = start("record", scenario, "-o", tmp_path / "run", **private)
    wait_for(lambda: (tmp_path / "run" / "events.arrow").exists())
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    answer = finish(process, timeout_s=10)
    assert answer.status == 130, answer.err
    assert here("verify", tmp_path / "run").status == 0
    assert here("info", tmp_path / "run", "--json").json["status"] == "interrupted"


def test_a_killed_recorder_takes_its_nodes_along_and_leaves_no_run_that_passes(scenario, tmp_path, private):
    (scenario.parent / "delays.json").write_text(json.dumps({"slow": 20}))
    process = start("record", scenario, "-o", tmp_path / "part", **private)
    wait_for(lambda: len(processes_with(private["TMPDIR"])) >= 3)
    process.kill()
    process.communicate()
    assert here("verify", tmp_path / "part").status == 2


def test_an_interrupted_replay_leaves_nothing(scenario, tmp_path, private):
    record(scenario, tmp_path / "run", "--duration", "300ms")
    run = tmp_path / "run"
    hanging = "command=['{python}', '-c', 'import time; time.sleep(60)']"
    process = start("replay", run, "--node", "slow", "--with", hanging, **private)
    wait_for(lambda: len(processes_with(private["TMPDIR"])) >= 3)
    os.killpg(process.pid, signal.SIGINT)
    assert finish(process, timeout_s=20).status == 130
    assert here("verify", run).status == 0
