"""No room, or no folder any more: a readable error, exit status 2, nobody left, a valid run up to the last block."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from xtrace.capture.reader import Run

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    COMMAND,
    NODES,
    Answer,
    finish,
    here,
    record,
    start,
    write_scenario,
)

NAMESPACES = (["unshare", "-m"], ["unshare", "-r", "-m"], ["sudo", "-n", "unshare", "-m"])
"""Ways to be allowed a mount that nobody else sees, for root, for users where the system permits it, and in CI."""
SMALL_DISK = """
mount -t tmpfs -o size="$1" none "$2" && cd "$2" || exit 99
kept=$3; shift 3
"$@" record machine_monitoring -o run >&2; echo "record $?"
"$@" verify run >&2; echo "verify $?"
"$@" show run --limit 1 >&2; echo "show $?"
cp -R run "$kept"; chmod -R a+rwX "$kept"
exit 0
"""
KEPT = re.compile(r"the run up to step (\d+) is kept there, closed and valid")


def limited(
    arguments: Sequence[object], *, file_bytes: int, cwd: Path, private: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the command where no file can grow beyond `file_bytes`; writing on fails as on a full disk, with EFBIG."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **private},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@cache
def namespace(place: Path) -> list[str] | None:
    """Return the words before a command that may mount something over `place`, or None where nobody may."""
    for words in NAMESPACES:
        if shutil.which(words[0]) is None:
            continue
        command = [*words, "mount", "-t", "tmpfs", "none", str(place)]
        if subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0:
            return words
    return None


class Stopped(NamedTuple):
    """What a recording without enough room said, and what verify and show said of what was kept."""

    record: int
    verify: int
    show: int
    err: str


def on_small_disk(tmp_path: Path, room_bytes: int, private: dict[str, str]) -> Stopped:
    """Record where the disk has `room_bytes`, or, if no disk can be had, where no file may be as large.

    What was kept is in `tmp_path / "kept"` afterwards.
    """
    place, kept = tmp_path / "place", tmp_path / "kept"
    place.mkdir()
    words = namespace(place)
    if words is None:
        done = limited(["record", "machine_monitoring", "-o", kept], file_bytes=room_bytes, cwd=place, private=private)
        return Stopped(done.returncode, here("verify", kept).status, here("show", kept).status, done.stderr)
    named = ("XTRACE_STATE_DIR", *private)
    variables = [f"{name}={value}" for name, value in {**os.environ, **private}.items() if name in named]
    script = ["env", *variables, "sh", "-c", SMALL_DISK, "sh", str(room_bytes), str(place), str(kept), *COMMAND]
    shell = subprocess.run([*words, *script], capture_output=True, text=True, timeout=100, check=False)
    assert shell.returncode == 0, shell.stderr
    found = {name: int(status) for name, status in (line.split() for line in shell.stdout.splitlines())}
    return Stopped(found["record"], found["verify"], found["show"], shell.stderr)


def check_talk(err: str) -> None:
    for word in ("Traceback", "Exception ignored", "internal error"):
        assert word not in err, err


@pytest.mark.parametrize("room_bytes", [350_000, 400_000, 500_000])
def test_a_disk_that_is_too_small(room_bytes, tmp_path, private, monitoring):
    """The blocks that fit are a closed run: it verifies, can be shown, and is the beginning of the whole one."""
    stopped = on_small_disk(tmp_path, room_bytes, private)
    assert (2, 0, 0) == (stopped.record, stopped.verify, stopped.show), stopped.err
    check_talk(stopped.err)
    kept = KEPT.search(stopped.err)
    assert kept is not None, stopped.err
    run = Run.open(tmp_path / "kept")
    assert "failed" == run.status
    assert int(kept[1]) == run.blocks[-1].last_step > 100
    columns = ["seq", "step", "time_us", "kind", "node", "payload"]
    whole = Run.open(monitoring).table().select(columns)
    assert run.table().select(columns).equals(whole.slice(0, run.events))
    assert run.events < len(whole)


@pytest.mark.parametrize("file_bytes", [0, 3_000, 60_000, 250_000])
def test_a_disk_without_room_to_begin(file_bytes, tmp_path, private):
    """What is kept free for the end of the files does not fit: nothing begins, and nothing is left."""
    done = limited(["record", "machine_monitoring", "-o", "run"], file_bytes=file_bytes, cwd=tmp_path, private=private)
    assert (2, "") == (done.returncode, done.stdout)
    assert "File too large; nothing is kept" in done.stderr
    check_talk(done.stderr)
    assert len(done.stderr.splitlines()) <= 3, done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("file_bytes", [270_000, 300_000, 380_000])
def test_a_file_that_may_not_grow(file_bytes, tmp_path, private):
    done = limited(["record", "machine_monitoring", "-o", "run"], file_bytes=file_bytes, cwd=tmp_path, private=private)
    assert (2, "") == (done.returncode, done.stdout)
    assert "File too large" in done.stderr
    assert KEPT.search(done.stderr)
    check_talk(done.stderr)
    assert 0 == here("verify", tmp_path / "run").status


def test_recording_with_processes(tmp_path, private):
    """The processes are gone, and what they had sent until then is kept."""
    nodes = [
        {"id": name, "type": "t", "implementation": "process", "command": ["{python}", "worker.py"],
         "transport": transport, "config": {"every_us": 1000, "to": ["a", "b", "c"]}}
        for name, transport in (("a", "stdio"), ("b", "unix"), ("c", "tcp"))
    ]  # fmt: skip
    scenario = write_scenario(tmp_path / "scenario", nodes, duration="3s")
    shutil.copy(NODES / "worker.py", scenario.parent)
    record(scenario, tmp_path / "full")
    size = (tmp_path / "full" / "events.arrow").stat().st_size
    assert size > 300_000
    done = limited(["record", scenario, "-o", "run"], file_bytes=size - 20_000, cwd=tmp_path, private=private)
    assert (2, "") == (done.returncode, done.stdout)
    assert "File too large" in done.stderr
    check_talk(done.stderr)
    kept = tmp_path / "run"
    if "closed and valid" not in done.stderr:
        # The last rows stand in the journal already, and no block of them fits: they are not given up.
        assert "make a run of what is there with: xtrace recover" in done.stderr
        kept = tmp_path / "recovered"
        assert 0 == here("recover", tmp_path / "run", "-o", kept).status
    assert 0 == here("verify", kept).status
    assert Run.open(kept).steps > Run.open(tmp_path / "full").steps // 2


def test_replay(monitoring, tmp_path, private):
    done = limited(
        ["replay", monitoring, "--node", "edge", "-o", "again"], file_bytes=1_000, cwd=tmp_path, private=private
    )
    assert done.returncode == 2
    assert "File too large" in done.stderr
    check_talk(done.stderr)


def test_a_folder_that_nobody_may_write_in(tmp_path, private):
    """Root may write nearly everywhere, but makes no folder in /proc either."""
    folder = Path("/proc")
    if os.geteuid():
        folder = tmp_path / "read_only"
        folder.mkdir(mode=0o555)
    answer = finish(start("record", "smoke", "-o", folder / "run", **private))
    assert (2, "") == (answer.status, answer.out)
    assert str(folder / "run") in answer.err
    check_talk(answer.err)


def slow_recording(tmp_path: Path, private: dict[str, str]) -> subprocess.Popen[str]:
    """Start a recording that would take a minute, and wait until steps of it are in the journal."""
    nodes = [
        {"id": "sleeper", "type": "t", "implementation": "python_model", "model": "slow.py:Sleeper",
         "config": {"sleep_s": 0.01, "to": ["outside"]}},
        {"id": "outside", "type": "t", "implementation": "process", "command": ["{python}", "worker.py"],
         "config": {"every_us": 3000, "to": ["sleeper"]}},
    ]  # fmt: skip
    scenario = write_scenario(tmp_path / "scenario", nodes, duration="6s")
    for name in ("worker.py", "slow.py"):
        shutil.copy(NODES / name, scenario.parent)
    process = start("record", scenario, "-o", tmp_path / "run", **private)
    deadline_s = time.monotonic() + 30
    journal = tmp_path / "run" / "events.tail"
    while not journal.exists() or journal.stat().st_size < 2_000:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return process


def stopped_soon(process: subprocess.Popen[str]) -> Answer:
    began_s = time.monotonic()
    answer = finish(process)
    assert time.monotonic() - began_s < 10, "it went on recording into nowhere"
    assert (2, "") == (answer.status, answer.out)
    assert "the folder was removed or replaced during the recording" in answer.err
    check_talk(answer.err)
    return answer


def test_a_folder_that_is_removed(tmp_path, private):
    """The timer notices within a second; nothing is made anew where the folder was."""
    process = slow_recording(tmp_path, private)
    shutil.rmtree(tmp_path / "run")
    assert "nothing is kept" in stopped_soon(process).err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_replaced(tmp_path, private):
    """The folder of somebody else is left alone; what was moved away can be recovered."""
    process = slow_recording(tmp_path, private)
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").mkdir()
    for name in ("mine.txt", "reserve", "events.tail"):
        (tmp_path / "run" / name).write_text("mine")
    stopped_soon(process)
    assert ["events.tail", "mine.txt", "reserve"] == sorted(path.name for path in (tmp_path / "run").iterdir())
    assert {"mine"} == {path.read_text() for path in (tmp_path / "run").iterdir()}
    assert 0 == here("recover", tmp_path / "moved", "-o", tmp_path / "recovered").status
    assert Run.open(tmp_path / "recovered").steps > 0
