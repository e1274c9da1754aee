"""Runs to try the commands on, recorded through the front door, and a way to call the command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from xtrace.tools.cli import main

SCENARIO = """\
description: A talker whose payloads hold everything that a payload can hold.
expected: The listener hears all of it.
seed: 1
duration: 100ms
step: 1ms
network:
  model: direct
nodes:
  - id: talker
    type: source
    implementation: python_model
    model: model.py:Talker
    config:
      wrong_at: 0
      fail_at: 0
  - id: listener
    type: sink
    implementation: python_model
    model: model.py:Listener
"""
MODEL = """\
from xtrace.engine.model import Model


class Talker(Model):
    def on_init(self):
        self.value = 0
        self.schedule_periodic(1000, self.talk)

    def talk(self):
        self.value += 1
        if self.value == self.config["fail_at"]:
            raise RuntimeError("out of \\x1b[31mwords")
        said = -1 if self.value == self.config["wrong_at"] else self.value
        odd = {"nan": float("nan"), "bytes": b"\\x00\\x01", "text": "\\x1b[31mred\\u202e", "$key": 1}
        self.send("listener", "word", {"value": said, "dice": self.random.randrange(6), **odd})


class Listener(Model):
    def on_event(self, event):
        self.observe("heard", {"value": event.payload["value"]})
"""


class Answer(NamedTuple):
    """What a command ended with and what it wrote."""

    status: int
    out: str
    err: str


def write_scenario(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MODEL)
    path = folder / "talk.yaml"
    path.write_text(SCENARIO)
    return path


def record_aside(scenario: Path, out: Path, *options: str) -> Path:
    done = start("record", str(scenario), "-o", str(out), *options)
    assert (out / "manifest.json").is_file(), done.stderr
    return out


def start(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        command_line(*arguments),
        cwd=cwd,
        env=dict(os.environ, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from xtrace.tools.cli import main; sys.exit(main())", *arguments]


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is trusted here is not what the user trusts."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XTRACE_STATE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def scenario_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenario(tmp_path_factory.mktemp("scenario"))


@pytest.fixture(scope="session")
def recorded(scenario_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run, to be read only: 99 words in 100 steps, and one more step for the word that is under way then."""
    return record_aside(scenario_file, tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="session")
def same(scenario_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_aside(scenario_file, tmp_path_factory.mktemp("runs") / "same")


@pytest.fixture(scope="session")
def wrong(scenario_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose talker says -1 instead of 50."""
    return record_aside(
        scenario_file, tmp_path_factory.mktemp("runs") / "wrong", "--set", "nodes.talker.config.wrong_at=50"
    )


@pytest.fixture(scope="session")
def failed(scenario_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose talker crashes at its tenth word."""
    return record_aside(
        scenario_file, tmp_path_factory.mktemp("runs") / "failed", "--set", "nodes.talker.config.fail_at=10"
    )


@pytest.fixture
def xtrace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """Call the command in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name in sorted(os.environ):
        if name.startswith("XTRACE_") and name != "XTRACE_STATE_DIR":
            monkeypatch.delenv(name)

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        status = main([str(each) for each in arguments])
        return Answer(status, *capsys.readouterr())

    return call


@pytest.fixture
def start_xtrace() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end in a process of its own."""
    return start


@pytest.fixture
def xtrace_command() -> Callable[..., list[str]]:
    """Return the words that start the command, for tests that talk to it while it runs."""
    return command_line
