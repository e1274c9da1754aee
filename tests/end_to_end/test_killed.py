"""SIGKILL while recording: what was announced is recovered, nothing else is made up, and nobody is left behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from xtrace.capture.reader import Run

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    NODES,
    assert_nothing_left,
    here,
    processes_with,
    record,
    start,
    write_scenario,
)

KILLS = 200
SAMPLE = 8
GROUP = 8
"""How many kills a test does."""
MEMORY = Path("/dev/shm")
PROMISED_NS = 1_000_000_000
"""With the durability `second`, steps that were announced before this time survive."""
LAST_MADE = "timing.arrow"
"""The file that is made last when a recording begins."""
END_US = 800_000
START_S = 1.5


class Announced(NamedTuple):
    """A step that was announced: its virtual time, and when, by the monotonic clock."""

    time_us: int
    at_ns: int


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: to SIGKILL all disks are the same."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


def slow_scenario(folder: Path, *, sleep_s: float = 0.001, **hangs: object) -> Path:
    nodes = [
        {"id": "outside", "type": "t", "implementation": "process", "command": ["{python}", "worker.py"],
         "config": {"every_us": 3000, "to": ["sleeper"]}},
        {"id": "sleeper", "type": "t", "implementation": "python_model", "model": "slow.py:Sleeper",
         "config": {"sleep_s": sleep_s, "to": ["worker", "outside"], **hangs}},
        {"id": "worker", "type": "t", "implementation": "python_model", "model": "slow.py:Worker"},
    ]  # fmt: skip
    path = write_scenario(folder, nodes, duration=f"{END_US}us")
    for name in ("worker.py", "slow.py"):
        shutil.copy(NODES / name, folder)
    return path


class Recording:
    """A recording in a process of its own: through the front door, or one that announces its steps."""

    def __init__(self, scenario: Path, out: Path, *, durability: str, announces: bool, private: dict[str, str]) -> None:
        self.out = out
        self.durability = durability
        self.announced: list[Announced] = []
        if announces:
            command = [sys.executable, "-P", str(NODES / "announcing.py"), str(scenario), str(out), durability]
            self.process = subprocess.Popen(
                command, env={**os.environ, **private}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        else:
            self.process = start("record", scenario, "-o", out, "--durability", durability, **private)
        self._reader = threading.Thread(target=self._read, args=(announces,))
        self._reader.start()

    def _read(self, announces: bool) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if announces and line.endswith("\n"):
                time_us, at_ns = line.split()
                self.announced.append(Announced(int(time_us), int(at_ns)))

    def wait_for_run(self) -> None:
        deadline_s = time.monotonic() + 60
        while not (self.out / LAST_MADE).exists() and self.process.poll() is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.001)

    def wait_for_step(self, time_us: int) -> None:
        deadline_s = time.monotonic() + 60
        while not self.announced or self.announced[-1].time_us < time_us:
            assert time.monotonic() < deadline_s, self.announced[-1:]
            time.sleep(0.001)

    def kill(self) -> int:
        """Kill the process, and return until when what was announced must have survived, by the monotonic clock."""
        killed_ns = time.monotonic_ns()
        self.process.kill()
        self.process.wait(timeout=20)
        self._reader.join(timeout=20)
        assert self.process.stderr is not None
        text = self.process.stderr.read()
        assert "Traceback" not in text, text
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return killed_ns - (PROMISED_NS if self.durability == "second" else 0)

    def promised_us(self, until_ns: int) -> int:
        """Return the virtual time of the last step that was announced by then."""
        return max((each.time_us for each in self.announced if each.at_ns < until_ns), default=0)


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def recovered(killed: Path, out: Path) -> Run | None:
    """Recover a run and return it, or None if it had not begun yet; its input stays as it is."""
    before = contents(killed)
    answer = here("recover", killed, "-o", out)
    assert before == contents(killed)
    if (killed / LAST_MADE).exists():
        assert answer.status == 0, answer.out + answer.err
    elif not out.exists():
        assert answer.status == 2, answer.out + answer.err
        return None
    assert here("verify", out).status == 0
    return Run.open(out)


def check_prefix(part: Run, full: Path, *, promised_us: int) -> None:
    whole = Run.open(full).table()
    found = part.table() if part.events else whole.slice(0, 0)
    assert found.equals(whole.slice(0, len(found)))
    steps = [row["time_us"] for row in found.select(["time_us", "kind"]).to_pylist() if row["kind"] == "step"]
    assert promised_us <= max(steps, default=0)


def kill_once(number: int, scenario: Path, full: Path, folder: Path, private: dict[str, str], took_s: float) -> None:
    """Kill a recording at a moment that `number` decides: while it starts, runs, or closes."""
    random = Random(number)
    recording = Recording(
        scenario,
        folder / "run",
        durability="step" if number % 2 else "second",
        announces=number % 4 < 2,
        private=private,
    )
    phase = random.random()
    if phase < 0.1:
        time.sleep(random.uniform(0, START_S))
    elif phase < 0.2 and number % 4 < 2:
        recording.wait_for_step(END_US - 2_000)
        time.sleep(random.uniform(0, 0.08))
    else:
        recording.wait_for_run()
        time.sleep(random.uniform(0, took_s))
    until_ns = recording.kill()
    assert_nothing_left(Path(private["TMPDIR"]))
    if not recording.out.exists():
        assert not recording.announced
        return
    part = recovered(recording.out, folder / "recovered")
    if part is None:
        assert recording.promised_us(until_ns) == 0
        return
    check_prefix(part, full, promised_us=recording.promised_us(until_ns))


def kill_many(numbers: range, place: Path, private: dict[str, str]) -> None:
    scenario = slow_scenario(place / "scenario")
    record(scenario, place / "full")
    warm = Recording(scenario, place / "warm", durability="step", announces=False, private=private)
    warm.wait_for_run()
    began_s = time.monotonic()
    assert warm.process.wait(timeout=60) == 0
    took_s = time.monotonic() - began_s
    warm.kill()
    for number in numbers:
        folder = place / str(number)
        folder.mkdir()
        kill_once(number, scenario, place / "full", folder, private, took_s)
        shutil.rmtree(folder)


def test_kills(place, private):
    """At any moment between the start and the end, with and without announcements, in both durabilities."""
    kill_many(range(SAMPLE), place, private)


@pytest.mark.campaign
@pytest.mark.parametrize("first", range(SAMPLE, KILLS, GROUP))
def test_many_kills(first, place, private):
    kill_many(range(first, first + GROUP), place, private)


@pytest.mark.parametrize("durability", ["second", "step"])
def test_a_hanging_model(durability, place, private):
    """What a model was given stands in the journal before it answers: the timer writes it."""
    scenario = slow_scenario(place / "scenario", hang_at=5, hang_s=30)
    recording = Recording(scenario, place / "run", durability=durability, announces=True, private=private)
    check_hanging(recording, node="sleeper", place=place, private=private)


def test_a_hanging_process(place, private):
    """The same of a node in another process."""
    scenario = slow_scenario(place / "scenario")
    recording = Recording(scenario, place / "run", durability="second", announces=True, private=private)
    recording.wait_for_step(END_US // 4)
    delay(scenario.parent, '{"outside": 30000}')
    check_hanging(recording, node="outside", place=place, private=private)


def delay(folder: Path, text: str) -> None:
    """Tell the nodes, which read the file all the time, to wait: all of it at once."""
    (folder / "delays.partial").write_text(text)
    (folder / "delays.partial").replace(folder / "delays.json")


def check_hanging(recording: Recording, *, node: str, place: Path, private: dict[str, str]) -> None:
    deadline_s = time.monotonic() + 60
    while not recording.announced or time.monotonic_ns() - recording.announced[-1].at_ns < 1.2 * PROMISED_NS:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert processes_with(private["TMPDIR"])
    recording.kill()
    assert_nothing_left(Path(private["TMPDIR"]))
    run = recovered(recording.out, place / "recovered")
    assert run is not None
    *_, last = run.rows()
    assert last.row.kind == "input"
    inputs = [each.row for each in run.rows() if each.row.step == last.row.step]
    assert node in [row.node for row in inputs]
    assert {"input"} == {row.kind for row in inputs}
    assert recording.announced[-1].time_us < last.row.step * 1000
