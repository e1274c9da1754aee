"""Exchanges over a channel, with the far end played by the test: no process, no waiting for one."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from xtrace.engine import remote
from xtrace.engine.channel import CHUNK_BYTES, Channel, LineTooLong
from xtrace.engine.errors import NodeCrashed, NodeFailure, NodeTimeout, ProtocolError
from xtrace.engine.event import NEVER, Done, Event
from xtrace.engine.node import Setup
from xtrace.engine.protocol import encode_advance
from xtrace.engine.remote import RemoteNode, collect

READY = b'{"msg":"READY","protocol":1,"capabilities":["x"]}\n'
SETUP = Setup("n", "t", 1, {})


def done_line(time_us: int, padding: str = "") -> bytes:
    return b'{"msg":"DONE","time_us":%d,"events":[],"next_time_us":null}%s\n' % (time_us, padding.encode())


class Played(RemoteNode):
    """A node whose far end is `far`, a socket of the test; `how` is how it ended."""

    def __init__(self, name: str = "n", *, timeout_us: int = 5_000_000) -> None:
        super().__init__(name, timeout_us=timeout_us, start_timeout_us=timeout_us)
        near, self.far = socket.socketpair()
        self.fd = near.detach()
        self.how = ""
        self.released = 0

    def start(self, setup: Setup) -> None:
        self.connect(self.fd, self.fd)
        self.far.sendall(READY)

    def ended(self) -> str:
        return self.how

    def hints(self) -> list[str]:
        return ["last words"]

    def release(self, *, deadline_s: float) -> None:
        self.released += 1


@pytest.fixture
def play() -> Iterator[Callable[..., Played]]:
    """Make nodes that have answered INIT."""
    made: list[Played] = []

    def make(name: str = "n", **options: int) -> Played:
        node = Played(name, **options)
        made.append(node)
        node.init(SETUP)
        assert node.far.recv(1000).startswith(b'{"msg":"INIT"')
        return node

    yield make
    for node in made:
        node.far.close()
        node.shutdown()
        assert node.released >= 1


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SHUTDOWN_S", 0.1)
    monkeypatch.setattr(remote, "ENDING_S", 0.05)


def failure(answer: object, kind: type[NodeFailure]) -> str:
    assert type(answer) is kind
    return answer.reason


def test_ready_tells_the_capabilities(play):
    assert play().capabilities == ("x",)


def test_answers_come_in_the_order_of_the_nodes(play):
    nodes = [play(name) for name in "abc"]
    for node in nodes:
        node.begin(0, 1000, [])
    for node in reversed(nodes):
        node.far.sendall(b'{"msg":"DONE","time_us":1000,"events":[],"next_time_us":%d}\n' % ord(node.node))
    assert collect(nodes) == [Done([], ord(each)) for each in "abc"]
    assert collect([]) == []


def test_an_answer_in_pieces_is_whole(play):
    node = play()
    node.begin(0, 1000, [])
    line = done_line(1000)
    node.far.sendall(line[:10])
    asked = iter(range(100))

    def send_the_rest() -> bool:
        if next(asked) == 0:
            node.far.sendall(line[10:])
        return False

    assert collect([node], should_stop=send_the_rest) == [Done([], NEVER)]


def test_an_answer_counts_when_the_question_was_read(play):
    """The node answers before it reads 3 MB; until it has, the exchange goes on."""
    node = play()
    events = [Event(1, 0, "a", "t", "x" * 3_000_000)]
    node.begin(0, 1000, events)
    node.far.sendall(done_line(1000))
    assert collect([node], should_stop=lambda: True) == [None]
    size = len(encode_advance(0, 1000, events))
    reader = threading.Thread(target=node.far.recv, args=(size, socket.MSG_WAITALL))
    reader.start()
    assert collect([node]) == [Done([], NEVER)]
    reader.join()


def test_a_question_that_is_never_read_is_a_timeout(play):
    node = play(timeout_us=50_000)
    node.begin(0, 1000, [Event(1, 0, "a", "t", "x" * 3_000_000)])
    node.far.sendall(done_line(1000))
    reason = "it answered but did not read all of ADVANCE to 1000 us within 50ms"
    assert failure(collect([node])[0], NodeTimeout) == reason


def test_silence_is_a_timeout_with_hints(play):
    node = play(timeout_us=50_000)
    with pytest.raises(NodeTimeout, match="no answer to ADVANCE to 1000 us within 50ms") as caught:
        node.advance(0, 1000, [])
    assert "flush" in caught.value.hint
    assert "last words" in caught.value.hint


def test_a_failed_node_fails_in_the_same_way_ever_after(play):
    node = play()
    node.far.sendall(b"oops\n")
    for until_us in (1000, 2000):
        with pytest.raises(ProtocolError, match="byte 50 of its output: this is not JSON: 'oops'"):
            node.advance(until_us - 1000, until_us, [])


@pytest.mark.parametrize("late", [False, True])
def test_a_line_too_many_fails_alike_whether_it_came_early_or_late(play, late):
    node = play()
    node.begin(0, 1000, [])
    node.far.sendall(done_line(1000) + (b"" if late else b"debug\n"))
    assert collect([node]) == [Done([], NEVER)]
    node.begin(1000, 2000, [])
    node.far.sendall(b"debug\n" if late else b"")
    assert failure(collect([node])[0], ProtocolError) == "byte 112 of its output: this is not JSON: 'debug'"


@pytest.mark.parametrize("rest", [b"", b"half"])
def test_an_answer_before_the_question_is_refused(play, rest):
    node = play()
    node.begin(0, 1000, [])
    node.far.sendall(done_line(1000) + done_line(2000) + rest)
    assert collect([node]) == [Done([], NEVER)]
    node.begin(1000, 2000, [])
    reason = failure(collect([node])[0], ProtocolError)
    assert reason.startswith("byte 112 of its output: it answered ADVANCE to 2000 us before it was asked: '{")


def test_an_end_is_told_by_how_it_ended(play):
    node = play()
    node.begin(0, 1000, [])
    node.far.close()
    node.how = "it ended with exit status 9"
    reason = failure(collect([node])[0], NodeCrashed)
    assert reason == "it ended with exit status 9 before it answered ADVANCE to 1000 us"


def test_a_closed_output_without_an_end_breaks_the_protocol(play):
    node = play()
    node.begin(0, 1000, [])
    node.far.shutdown(socket.SHUT_WR)
    assert failure(collect([node])[0], ProtocolError).startswith("it closed its output and goes on running")


def test_what_was_answered_before_the_end_counts(play):
    """The node is gone and another process holds its output open: there is no end of file."""
    node = play()
    node.begin(0, 1000, [])
    node.how = "it ended with exit status 0"
    node.far.sendall(done_line(1000))
    assert node._tick(remote.clock()) == Done([], NEVER)
    node.begin(1000, 2000, [])
    assert failure(collect([node])[0], NodeCrashed).startswith("it ended with exit status 0 before")


def test_inputs_that_are_too_many_fail_the_node_and_are_not_sent(play, monkeypatch):
    node = play()
    monkeypatch.setattr("xtrace.engine.protocol.MAX_LINE_BYTES", 1000)
    node.begin(0, 1000, [Event(1, 0, "a", "t", "x" * 1000)])
    assert "ADVANCE can't be sent" in failure(collect([node])[0], NodeFailure)


def test_a_config_that_is_no_value_fails_the_node():
    node = Played()
    with node.far, pytest.raises(NodeFailure, match=r"INIT can't be sent: .*a set can't be a payload"):
        node.init(Setup("n", "t", 1, {"a": {1}}))
    os.close(node.fd)
    node.shutdown()


def test_shutdown_sends_the_message_and_the_end_and_reads_on(play):
    node = play()
    node.far.sendall(b"x" * 1000)
    node.far.shutdown(socket.SHUT_WR)
    node.shutdown()
    assert node.far.recv(1000) == b'{"msg":"SHUTDOWN"}\n'
    assert node.far.recv(1000) == b""


def test_a_line_is_limited_while_it_is_read(monkeypatch):
    monkeypatch.setattr("xtrace.engine.channel.MAX_LINE_BYTES", 200_000)
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        channel = Channel(near.fileno(), near.fileno())
        with pytest.raises(LineTooLong, match="longer than 200000 bytes"):
            receive_without_end(channel, far)
        assert len(channel.unread) < 200_000 + CHUNK_BYTES


def receive_without_end(channel: Channel, far: socket.socket) -> None:
    for _ in range(100):
        far.send(b"x" * 10_000)
        channel.receive()


def test_a_channel_cuts_lines_and_counts_bytes():
    near, far = socket.socketpair()
    with far:
        fd = near.detach()
        channel = Channel(fd, fd)
        far.sendall(b"one\ntwo\nth")
        assert [channel.receive() for _ in range(3)] == [b"one\n", b"two\n", None]
        assert (channel.offset, channel.unread) == (8, b"th")
        far.sendall(b"ree\n")
        assert channel.receive() == b"three\n"
        assert channel.receive() is None
        assert not channel.ended
        far.close()
        channel.send(b"nobody reads this")
        assert not channel.unsent
        assert channel.receive() is None
        assert channel.ended
        channel.close()
        channel.close()
