"""A log that passes a filter: nothing is lost, nothing is written that the filter keeps back."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xtrace.bridges.filtered_log import FilteredLog
from xtrace.bridges.process import ProcessNode
from xtrace.engine.errors import NodeCrashed, NodeTimeout
from xtrace.engine.node import Setup, Workspace

HELD = b"tail"


class Shouting:
    """Writes in capitals, and keeps `HELD` for the end."""

    def feed(self, data: bytes) -> bytes:
        return data.upper()

    def end(self) -> bytes:
        return HELD


def test_what_is_written_passes_the_filter_to_its_end(tmp_path: Path) -> None:
    log = FilteredLog(tmp_path / "log", Shouting())
    with log.input as stream:
        stream.write(b"hello ")
        stream.write(b"there ")
    log.close()
    log.close()
    assert (tmp_path / "log").read_bytes() == b"HELLO THERE tail"


def test_it_is_written_at_once(tmp_path: Path) -> None:
    log = FilteredLog(tmp_path / "log", Shouting())
    log.input.write(b"ready\n")
    deadline_s = time.monotonic() + 5
    while (tmp_path / "log").read_bytes() != b"READY\n":
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    log.close()


def test_more_than_a_pipe_holds_is_no_reason_to_stand_still(tmp_path: Path) -> None:
    log = FilteredLog(tmp_path / "log", Shouting())
    with log.input as stream:
        for _ in range(40):
            left = b"x" * 100_000
            while left:
                left = left[stream.write(left) or 0 :]
    log.close()
    assert (tmp_path / "log").read_bytes() == b"X" * 4_000_000 + HELD


def test_whoever_keeps_the_pipe_open_does_not_keep_the_log_from_ending(tmp_path: Path) -> None:
    log = FilteredLog(tmp_path / "log", Shouting())
    other = os.dup(log.input.fileno())
    log.input.write(b"before ")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"BEFORE tail"
    os.close(other)


def test_whoever_writes_for_ever_does_not_either(tmp_path: Path) -> None:
    log = FilteredLog(tmp_path / "log", Shouting())
    process = subprocess.Popen(["yes"], stdout=log.input)
    log.close()
    assert process.wait(10) != 0  # nobody reads any more
    assert (tmp_path / "log").read_bytes().endswith(HELD)


def test_a_full_disk_stops_the_log_and_nobody_who_writes_to_it() -> None:
    log = FilteredLog(Path("/dev/full"), Shouting())
    with log.input as stream:
        for _ in range(20):
            stream.write(b"x" * 60_000)
    log.close()


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    FilteredLog(tmp_path / "log", Shouting()).close()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_the_end_of_the_filtered_log_explains_a_failure(
    make: Callable[..., ProcessNode], tmp_path: Path, how: str
) -> None:
    logs = tmp_path / "logs"
    workspace = Workspace(tmp_path, logs=logs, log_filter=Shouting)
    script = "echo all is lost >&2; " + ("exit 3" if how == "crash" else "sleep 60")
    node = make("sh", "-c", script, workspace=workspace, start_timeout=1_000_000)
    with pytest.raises(NodeCrashed if how == "crash" else NodeTimeout) as caught:
        node.init(Setup("edge", "test", 1, {}))
    assert "ALL IS LOST" in caught.value.hint
    node.shutdown()
    assert (logs / "edge.log").read_bytes() == b"ALL IS LOST\n" + HELD


def test_a_command_that_can_not_be_started_leaves_no_thread(make: Callable[..., ProcessNode], tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("no program")
    (tmp_path / "broken").chmod(0o700)
    before = threading.active_count()
    node = make("./broken", workspace=Workspace(tmp_path, logs=tmp_path / "logs", log_filter=Shouting))
    with pytest.raises(NodeCrashed, match="can't be started"):
        node.init(Setup("edge", "test", 1, {}))
    node.shutdown()
    assert threading.active_count() == before
