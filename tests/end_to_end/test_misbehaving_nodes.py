"""Nodes that fail: an error that names them, a closed run up to there whose failing step replays alone, nobody left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    BAD_NODES,
    LIBRARY,
    NODES,
    Answer,
    assert_nothing_left,
    here,
    processes_with,
    rows,
    write_scenario,
    xtrace,
)

WHEN = 5
"""The step in which a node fails."""

HABITS = {
    "crash": ("NodeCrashed", "ended with exit status 1"),
    "status_3": ("NodeCrashed", "ended with exit status 3"),
    "segfault": ("NodeCrashed", "SIGSEGV"),
    "grandchild_crash": ("NodeCrashed", "ended with exit status 1"),
    "error": ("NodeCrashed", "burnt"),
    "hang": ("NodeTimeout", "700ms"),
    "half_line": ("NodeTimeout", "700ms"),
    "garbage": ("ProtocolError", "temperature is now 21.5"),
    "binary": ("ProtocolError", ""),
    "wrong_time": ("ProtocolError", "time_us"),
    "speak_twice": ("ProtocolError", ""),  # noticed only when it is asked again
    "close_stdout": ("", ""),
}
AT_THE_START = {
    "exit_at_once": ("NodeCrashed", ""),
    "crash_in_init": ("NodeCrashed", "no licence"),
    "banner": ("ProtocolError", "Simulator 1.0 ready"),
    "version": ("ProtocolError", "2"),
}


def bystanders() -> list[dict[str, Any]]:
    config = {"peer": "pong", "period_us": 1000}
    return [
        {"id": "ping", "type": "t", "implementation": "python_model", "model": "stubs.py:Ping", "config": config},
        {"id": "pong", "type": "t", "implementation": "python_model", "model": "stubs.py:Pong"},
    ]


def scenario_with(
    bad: dict[str, Any], folder: Path, *, others: list[dict[str, Any]] | None = None, **head: object
) -> Path:
    """Write a scenario with node `bad`, whose processes carry the name of `folder` so that they are found."""
    if bad["implementation"] == "process":
        bad["env"] = {"PID_FILE": str(folder / "private" / "pid"), "MARK": str(folder / "private")}
    nodes = [{"id": "bad", "type": "t", **bad}, *(others or bystanders())]
    path = write_scenario(folder / "scenario", nodes, **head)
    for file in (*BAD_NODES.glob("*.py"), *NODES.glob("*.py"), LIBRARY / "models" / "stubs.py"):
        shutil.copy(file, path.parent)
    return path


def assert_failed_cleanly(answer: Answer, run: Path, *, error: str, reason: str) -> dict[str, Any]:
    """Check what holds of every failure of node `bad`; return the failure as the manifest has it."""
    assert answer.status == 1, answer.err
    assert "node 'bad' " in answer.err
    assert "--node bad" in answer.err
    assert here("verify", run).status == 0
    facts = here("info", run, "--json").json
    assert facts["status"] == "failed"
    (abort,) = rows(run, "kind = 'abort'")
    assert abort["node"] == "bad"
    assert error in ("", facts["failure"]["error"])
    assert reason in answer.err
    assert facts["failure"]["step"] == abort["step"]
    found: dict[str, Any] = facts["failure"]
    return found


def assert_replays(run: Path, private: dict[str, str], *, nodes: tuple[str, ...] = ()) -> None:
    answer = xtrace("replay", run, "--node", "bad", **private)
    assert answer.status == 0, answer.out + answer.err
    assert answer.out.startswith("bad: same: failed as recorded"), answer.out
    for node in nodes:
        answer = here("replay", run, "--node", node)
        assert answer.status == 0, answer.out + answer.err


@pytest.fixture
def tidy(private: dict[str, str]):
    """What the misbehaving nodes of the bridges note down about themselves is theirs to keep."""
    yield private
    (Path(private["TMPDIR"]) / "pid").unlink(missing_ok=True)


@pytest.mark.parametrize("habit", HABITS)
def test_a_process_that_fails_in_a_step(habit, tmp_path, tidy):
    error, reason = HABITS[habit]
    command = ["{python}", "misbehaves.py", habit, str(WHEN)]
    bad = {"implementation": "process", "command": command, "timeout": "700ms", "start_timeout": "20s"}
    scenario = scenario_with(bad, tmp_path, others=feeding())
    answer = xtrace("record", scenario, "-o", tmp_path / "run", **tidy)
    failure = assert_failed_cleanly(answer, tmp_path / "run", error=error, reason=reason)
    assert failure["step"] == (WHEN + 1 if habit == "speak_twice" else WHEN)
    shutil.rmtree(scenario.parent)
    assert_replays(tmp_path / "run", tidy, nodes=("network", "feeder"))


def feeding() -> list[dict[str, Any]]:
    """A node that gives `bad` an input in every step."""
    config = {"peer": "bad", "period_us": 1000}
    return [{"id": "feeder", "type": "t", "implementation": "python_model", "model": "stubs.py:Ping", "config": config}]


@pytest.mark.parametrize("habit", AT_THE_START)
def test_a_process_that_fails_before_the_first_step(habit, tmp_path, tidy):
    error, reason = AT_THE_START[habit]
    bad = {"implementation": "process", "command": ["{python}", "misbehaves.py", habit], "start_timeout": "20s"}
    scenario = scenario_with(bad, tmp_path)
    answer = xtrace("record", scenario, "-o", tmp_path / "run", **tidy)
    assert_failed_cleanly(answer, tmp_path / "run", error=error, reason=reason)
    shutil.rmtree(scenario.parent)
    assert_replays(tmp_path / "run", tidy, nodes=("ping",))


def test_a_process_that_answers_with_300_kb_before_it_reads_on(tmp_path, private):
    """Both sides have more to say than a pipe holds; whoever waits for the other waits for ever."""
    feeder = {"id": "feeder", "type": "t", "implementation": "python_model", "model": "big.py:Big"}
    bad = {"implementation": "process", "command": ["{python}", "flood.py"], "timeout": "10s"}
    scenario = scenario_with(bad, tmp_path, others=[feeder], duration="12ms")
    (scenario.parent / "big.py").write_text(
        "from xtrace.engine.model import Model\n\n\n"
        "class Big(Model):\n"
        "    def on_init(self):\n"
        "        self.schedule_periodic(5_000, self.send, 'bad', 'big', 'x' * 300_000)\n"
    )
    answer = xtrace("record", scenario, "-o", tmp_path / "run", **private)
    assert answer.status == 0, answer.err
    assert rows(tmp_path / "run", "node = 'bad' AND kind = 'output'")
    assert xtrace("replay", tmp_path / "run", "--all", **private).status == 0


@pytest.mark.parametrize("where", ["log", "answer"])
def test_a_process_that_writes_300_kb_before_it_reads(where, tmp_path, private):
    bad = {"implementation": "process", "command": ["{python}", "babbler.py", where]}
    scenario = scenario_with(bad, tmp_path)
    answer = xtrace("record", scenario, "-o", tmp_path / "run", **private)
    if where == "log":
        assert answer.status == 0, answer.err
        assert (tmp_path / "run" / "logs" / "bad.log").stat().st_size == 12_000 * 27
    else:
        assert_failed_cleanly(answer, tmp_path / "run", error="ProtocolError", reason="loading a very large model")
        assert len(answer.err) < 3_000
        assert_replays(tmp_path / "run", private)


MODELS = {
    "raises": ("raise ValueError('too \\x1b[31mhot')", "ValueError: too \\x1b[31mhot"),
    "exits": ("raise SystemExit(0)", "SystemExit: 0"),
    "to_nobody": ("self.send('nobody', 'x', 1)", "nobody"),
    "from_the_past": ("self.now_us = 0; self.send('', 'x', 1)", "has time 0 us, which is outside of [5000, 6000)"),
    "not_a_value": ("self.send('', 'x', object())", "object"),
    "recursion": ("self.tick()", "RecursionError"),
    "number_too_large": ("self.send('', 'x', 1 << 70)", ""),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_python_model_that_fails(name, tmp_path, private):
    code, reason = MODELS[name]
    scenario = scenario_with({"implementation": "python_model", "model": "bad.py:Bad"}, tmp_path)
    (scenario.parent / "bad.py").write_text(
        "from xtrace.engine.model import Model\n\n\n"
        "class Bad(Model):\n"
        "    def on_init(self):\n"
        "        self.schedule_periodic(1000, self.tick)\n\n"
        "    def tick(self):\n"
        "        self.observe('tick', self.random.randrange(6))\n"
        "        if self.now_us >= 5000:\n"
        f"            {code}\n"
    )
    answer = xtrace("record", scenario, "-o", tmp_path / "run", **private)
    failure = assert_failed_cleanly(answer, tmp_path / "run", error="", reason=reason)
    assert failure["step"] == 6
    assert "\x1b" not in answer.err
    shutil.rmtree(scenario.parent)
    assert_replays(tmp_path / "run", private, nodes=("ping", "network"))


def test_a_failing_run_is_the_same_every_time(tmp_path, private):
    command = ["{python}", "misbehaves.py", "garbage", str(WHEN)]
    scenario = scenario_with({"implementation": "process", "command": command}, tmp_path, others=feeding())
    for name in ("a", "b"):
        assert xtrace("record", scenario, "-o", tmp_path / name, **private).status == 1
    assert here("diff", tmp_path / "a", tmp_path / "b").status == 0
    assert (tmp_path / "a" / "events.arrow").read_bytes() == (tmp_path / "b" / "events.arrow").read_bytes()


def test_what_is_left_behind_is_seen(tmp_path):
    """The search that these tests rely on finds a process by its variables, and a file."""
    private = tmp_path / "private"
    private.mkdir()
    assert_nothing_left(private)
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], env={"MARK": str(private)}, stdin=-1) as process:
        assert any(found.startswith(f"{process.pid}: ") for found in processes_with(str(private)))
        process.kill()
    (private / "left").touch()
    with pytest.raises(AssertionError, match="left"):
        assert_nothing_left(private)
