"""The `process` implementation: good nodes on every transport, bad ones in every way, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xtrace.bridges.process import ProcessNode
from xtrace.engine import remote
from xtrace.engine.errors import NodeCrashed, NodeFailure, NodeTimeout, ProtocolError
from xtrace.engine.event import NEVER, Done, Event, Output
from xtrace.engine.node import Setup
from xtrace.engine.remote import collect

NODES = Path(__file__).parent / "nodes"
SETUP = Setup("edge", "test", 2**64 - 1, {"a": 1.0})
EVENT = Event(7, 500, "cloud", "ask", {"value": 1, "x": 1.0, "raw": b"\x00", "none": float("inf")})


def wait_up_to(limit_s: float) -> Iterator[None]:
    """Yield every 10 ms for `limit_s`."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        yield
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def started(node: ProcessNode) -> ProcessNode:
    node.init(SETUP)
    return node


@pytest.mark.parametrize(
    ("command", "transport"),
    [("echo.py", "stdio"), ("echo_socket.py", "unix"), ("echo_socket.py", "tcp")],
)
def test_an_event_comes_back_exact_on_every_transport(make, command, transport):
    node = started(make("{python}", command, transport=transport))
    answer = node.advance(0, 1000, [EVENT])
    cause = (7,) if transport == "stdio" else None
    assert answer == Done([Output(500, "cloud", "echo", EVENT.payload, cause)], NEVER)
    assert [type(answer.outputs[0].payload[key]) for key in ("value", "x", "raw")] == [int, float, bytes]
    assert node.advance(1000, 2000, []) == Done([], NEVER)


def test_a_node_in_shell_is_as_good(make):
    node = started(make("./counter.sh"))
    assert [node.advance(at, at + 1000, [EVENT]).outputs[0].payload for at in (0, 1000, 2000)] == [1, 2, 3]


def test_external_nodes_advance_in_parallel_and_answer_in_order(make):
    nodes = [started(make("{python}", "misbehaves.py", "slow")) for _ in range(4)]
    before_s = time.monotonic()
    for node in nodes:
        node.begin(0, 1000, [])
    assert collect(nodes) == [Done([], NEVER)] * 4
    assert time.monotonic() - before_s < 0.75


BAD = [
    # habit, class of error, reason, hint
    (
        "crash",
        NodeCrashed,
        "it ended with exit status 1 before it answered ADVANCE to 2000 us",
        "RuntimeError: on purpose",
    ),
    ("status_3", NodeCrashed, "it ended with exit status 3 before it answered ADVANCE to 2000 us", ""),
    ("segfault", NodeCrashed, "it was killed by SIGSEGV before it answered ADVANCE to 2000 us", ""),
    ("hang", NodeTimeout, "no answer to ADVANCE to 2000 us within 300ms", "a buffered output needs a flush"),
    ("half_line", NodeTimeout, "no answer to ADVANCE to 2000 us within 300ms", "a line without its end, 20 bytes: "),
    (
        "garbage",
        ProtocolError,
        "byte 121 of its output: this is not JSON: 'temperature is now 21.5'",
        "logs go to stderr",
    ),
    ("binary", ProtocolError, r"byte 122 of its output: this is not UTF-8: '\x00\\xff'", "logs go to stderr"),
    ("wrong_time", ProtocolError, 'byte 121 of its output: DONE has time_us 2001, ADVANCE had 2000: \'{"msg": ', ""),
    (
        "close_stdout",
        ProtocolError,
        "it closed its output and goes on running, before it answered ADVANCE to 2000 us",
        "",
    ),
    ("error", NodeCrashed, r"it reported an error: sensor \x1b[31mburnt", ""),
    (
        "grandchild_crash",
        NodeCrashed,
        "it ended with exit status 1 before it answered ADVANCE to 2000 us",
        "on purpose",
    ),
]


@pytest.mark.parametrize(("habit", "error", "reason", "hint"), BAD, ids=[each[0] for each in BAD])
def test_a_bad_node_fails_with_its_name_and_a_reason(make, tmp_path, monkeypatch, habit, error, reason, hint):
    monkeypatch.setattr(remote, "ENDING_S", 0.2)
    env = {"PID_FILE": str(tmp_path / "grandchild")}
    node = started(
        make("{python}", "misbehaves.py", habit, "2", timeout=300_000 if error is NodeTimeout else 5_000_000, env=env)
    )
    assert node.advance(0, 1000, []) == Done([], NEVER)
    with pytest.raises(NodeFailure) as caught:
        node.advance(1000, 2000, [])
    assert (type(caught.value), caught.value.node) == (error, "edge")
    assert caught.value.reason.startswith(reason)
    assert hint in caught.value.hint
    with pytest.raises(error, match="edge"):
        node.advance(2000, 3000, [])


@pytest.mark.parametrize(
    ("habit", "error", "reason", "hint"),
    [
        ("exit_at_once", NodeCrashed, "it ended with exit status 0 before it answered INIT", "until it reads SHUTDOWN"),
        (
            "crash_in_init",
            NodeCrashed,
            "it ended with exit status 1 before it answered INIT",
            "RuntimeError: no licence",
        ),
        ("banner", ProtocolError, "byte 0 of its output: this is not JSON: 'Simulator 1.0 ready'", "logs go to stderr"),
        ("version", ProtocolError, "byte 0 of its output: READY has protocol 2, INIT had 1", ""),
    ],
)
def test_a_node_that_does_not_get_ready_says_why(make, habit, error, reason, hint):
    with pytest.raises(error) as caught:
        started(make("{python}", "misbehaves.py", habit))
    assert caught.value.reason.startswith(reason)
    assert hint in caught.value.hint


def test_a_node_that_ends_after_ready_fails_its_first_step(make):
    node = started(make("{python}", "misbehaves.py", "exit_after_ready"))
    with pytest.raises(NodeCrashed, match="it ended with exit status 0 before it answered ADVANCE to 1000 us"):
        node.advance(0, 1000, [EVENT])


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_node_that_ends_on_a_socket_says_so(make, transport):
    with pytest.raises(NodeCrashed, match="it ended with exit status 4 before it answered INIT") as caught:
        started(make("{python}", "echo_socket.py", "--never-ready", transport=transport))
    assert "connected" in caught.value.hint


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_node_that_never_connects_is_named(make, transport):
    with pytest.raises(NodeTimeout, match="no connection within 200ms"):
        started(make("sleep", "1000", transport=transport, start_timeout=200_000))
    with pytest.raises(NodeCrashed, match="it ended with exit status 0 before it answered INIT"):
        started(make("true", transport=transport))


def test_a_timeout_names_the_last_input(make):
    node = started(make("{python}", "misbehaves.py", "hang", timeout=200_000))
    with pytest.raises(NodeTimeout) as caught:
        node.advance(0, 1000, [EVENT, EVENT])
    assert "inputs of this step: 2, the last 'ask' from 'cloud'" in caught.value.hint


def test_300_kilobytes_both_ways_at_once_do_not_deadlock(make):
    """The node answers with 300 KB before it reads the rest of the 300 KB that it is sent."""
    node = started(make("{python}", "flood.py"))
    big = Event(1, 0, "cloud", "blob", "z" * 300_000)
    assert node.advance(0, 1000, [big]).outputs[0].payload == "y" * 300_000
    assert node.advance(1000, 2000, [big]).outputs[0].payload == "y" * 300_000


def test_a_line_that_arrives_byte_by_byte_is_whole(make):
    assert started(make("{python}", "misbehaves.py", "dribble")).advance(0, 1000, []) == Done([], NEVER)


def test_a_line_without_end_stops_at_the_limit(make, monkeypatch):
    monkeypatch.setattr("xtrace.engine.channel.MAX_LINE_BYTES", 3_000_000)
    node = started(make("{python}", "misbehaves.py", "huge_line"))
    with pytest.raises(ProtocolError, match="byte 52 of its output: a line longer than 3000000 bytes"):
        node.advance(0, 1000, [])


def test_a_node_that_speaks_unasked_fails_at_the_next_exchange(make):
    """The second DONE would even fit the next step: it came before the ADVANCE."""
    node = started(make("{python}", "misbehaves.py", "speak_twice"))
    assert node.advance(0, 1000, []) == Done([], NEVER)
    with pytest.raises(ProtocolError, match="it answered ADVANCE to 2000 us before it was asked"):
        node.advance(1000, 2000, [])


def test_failures_are_gathered_and_the_others_are_waited_for(make):
    habits = ("crash", "slow", "wrong_time", "hang")
    nodes = [started(make("{python}", "misbehaves.py", habit, timeout=600_000)) for habit in habits]
    for node in nodes:
        node.begin(0, 1000, [])
    assert [type(each) for each in collect(nodes)] == [NodeCrashed, Done, ProtocolError, NodeTimeout]


def test_a_stop_leaves_the_silent_nodes_without_answer(make, monkeypatch):
    monkeypatch.setattr(remote, "SHUTDOWN_S", 0.2)
    nodes = [started(make("{python}", "misbehaves.py", habit)) for habit in ("hang", "good")]
    for node in nodes:
        node.begin(0, 1000, [])
    before_s = time.monotonic()
    assert collect(nodes, should_stop=lambda: time.monotonic() - before_s > 0.3) == [None, Done([], NEVER)]
    assert time.monotonic() - before_s < 1.5


def test_whatever_a_node_started_ends_with_it(make, tmp_path):
    pid_file = tmp_path / "grandchild"
    node = started(make("{python}", "misbehaves.py", "grandchild", env={"PID_FILE": str(pid_file)}))
    assert node.advance(0, 1000, []) == Done([], NEVER)
    grandchild = int(pid_file.read_text())
    assert is_running(grandchild)
    node.shutdown()
    assert any(not is_running(grandchild) for _ in wait_up_to(5))


def test_a_node_that_ignores_sigterm_is_killed(make, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "SHUTDOWN_S", 0.2)
    monkeypatch.setattr("xtrace.bridges.process.TERMINATE_S", 0.2)
    node = started(make("{python}", "misbehaves.py", "ignores_sigterm", env={"PID_FILE": str(tmp_path / "pid")}))
    node.shutdown()
    assert node.ended() == "it was killed by SIGKILL"


def test_nodes_that_are_asked_first_end_together(make, monkeypatch):
    monkeypatch.setattr(remote, "SHUTDOWN_S", 0.5)
    nodes = [started(make("{python}", "misbehaves.py", "ignores_shutdown")) for _ in range(3)]
    before_s = time.monotonic()
    for node in nodes:
        node.begin_shutdown()
    for node in nodes:
        node.shutdown()
    assert time.monotonic() - before_s < 1.4
    assert {node.ended() for node in nodes} == {"it was killed by SIGTERM"}


def test_a_good_node_ends_by_itself(make):
    node = started(make("{python}", "echo.py"))
    node.shutdown()
    assert node.ended() == "it ended with exit status 0"


def test_nothing_starts_before_init(make, tmp_path):
    make("{python}", "echo.py").shutdown()
    assert not (tmp_path / "logs").exists()


PARENT = """
import sys
from pathlib import Path
from xtrace.bridges.process import ProcessNode
from xtrace.engine.node import NodeSpec, Setup, Workspace
options = {"timeout": 10**7, "start_timeout": 10**7, "env": {"PID_FILE": sys.argv[2]}, "files": []}
for transport, command in (("stdio", ["misbehaves.py", "ignores_sigterm"]), ("unix", ["echo_socket.py"])):
    more = {"transport": transport, "command": ["{python}", *command]}
    workspace = Workspace(Path(sys.argv[1]), logs=Path(sys.argv[3]))
    node = ProcessNode(NodeSpec(transport, "t", "process", options | more), workspace)
    node.init(Setup("n", "t", 1, {}))
    print(node._process.pid, node._socket_folder, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None], ids=["killed", "terminated", "exit"])
def test_nothing_outlives_xtrace(tmp_path, how):
    """However xtrace ends, its nodes, what they started, the guard, and the socket folder are gone within 5 s."""
    pid_file = tmp_path / "grandchild"
    command = [sys.executable, "-c", PARENT, str(NODES), str(pid_file), str(tmp_path / "logs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        first, second = parent.stdout.readline().split(), parent.stdout.readline().split()
        pids = [int(first[0]), int(second[0]), int(pid_file.read_text()), *children_of(parent.pid)]
        assert len(set(pids)) == 4
        assert all(is_running(pid) for pid in pids)
        assert Path(second[1], "s").is_socket()
        if how is None:
            parent.stdin.close()
        else:
            parent.send_signal(how)
        parent.wait()
    for _ in wait_up_to(5):
        left = [pid for pid in pids if is_running(pid)]
        if not left and not Path(second[1]).exists():
            break
    assert left == []
    assert not Path(second[1]).exists()


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_guard_that_was_killed_is_replaced(make):
    from xtrace.bridges.guard import guard

    started(make("{python}", "echo.py"))
    first = guard._pid
    os.kill(first, signal.SIGKILL)
    for _ in wait_up_to(5):
        if not is_running(first):
            break
    started(make("{python}", "echo.py"))
    assert guard._pid != first
    assert is_running(guard._pid)
