"""Nodes behind a byte channel, which advance in parallel: `begin` on each, then one `collect` over all.

The only clock of the engine is here. It decides when a wait has been too long, and never what is recorded.
"""

from __future__ import annotations

import select
import socket
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence

from xtrace.engine.channel import Channel, LineTooLong
from xtrace.engine.duration import format_duration
from xtrace.engine.errors import NodeCrashed, NodeFailure, NodeTimeout, ProtocolError
from xtrace.engine.event import Done, Event
from xtrace.engine.json_values import shown
from xtrace.engine.node import Node, Setup
from xtrace.engine.protocol import SHUTDOWN, decode_done, decode_ready, encode_advance, encode_init
from xtrace.engine.values import ValueFault

TICK_S = 0.1
"""How often a wait asks whether to stop and whether a node without output still lives."""
ENDING_TICK_S = 0.005
ENDING_S = 5.0
"""How long a node whose output ended may take to end itself."""
SHUTDOWN_S = 5.0
"""How long a node may take to end after SHUTDOWN."""

clock = time.monotonic


def never() -> bool:
    """Return False: the `should_stop` of a wait that nobody interrupts."""
    return False


class RemoteNode(Node):
    """A node behind a byte channel. A bridge overrides `start`, `ended`, `hints` and `release`.

    `start` calls `connect` with the descriptors, or `expect` with a socket that the node connects to. After a failure
    every further exchange fails in the same way.
    """

    def __init__(self, node: str, *, timeout_us: int, start_timeout_us: int) -> None:
        self.node = node
        self.capabilities: tuple[str, ...] = ()
        self._timeout_us = timeout_us
        self._start_timeout_us = start_timeout_us
        self._channel: Channel | None = None
        self._listener: socket.socket | None = None
        self._line = b""
        self._time_us: int | None = None
        self._events: Sequence[Event] = ()
        self._given_us = 0
        self._deadline_s = 0.0
        self._early = False
        self._answered: bytes | None = None
        self._failure: NodeFailure | None = None
        self._closing_s: float | None = None

    @abstractmethod
    def start(self, setup: Setup) -> None:
        """Start the node and call `connect` or `expect`. Raises NodeFailure."""

    @abstractmethod
    def ended(self) -> str:
        """Return how the node ended ("it ended with exit status 3"), or "" if it has not. Never waits."""

    def hints(self) -> list[str]:
        """Return lines that may explain why the node failed, such as the end of its log."""
        return []

    def release(self, *, deadline_s: float) -> None:
        """End the node, by `clock() == deadline_s` at the latest if it ends by itself, and free all it held."""
        return None

    def connect(self, read_fd: int, write_fd: int) -> None:
        """Talk to the node over these descriptors, which may be one socket; they are owned from now on."""
        self._channel = Channel(read_fd, write_fd)

    def expect(self, listener: socket.socket) -> None:
        """Talk to the node over the one connection that it makes to `listener`, which is owned from now on."""
        listener.setblocking(False)
        self._listener = listener

    def init(self, setup: Setup) -> None:
        """Start the node and exchange INIT and READY."""
        self.begin_init(setup)
        _raised(collect([self])[0])

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        """Exchange ADVANCE and DONE."""
        self.begin(from_us, until_us, events)
        return _raised(collect([self])[0])

    def begin_init(self, setup: Setup) -> None:
        """Start the node and send INIT; `collect` gives `Done([])` for READY, or the failure."""
        try:
            line = encode_init(setup)
            self._ask(line, time_us=None, given_us=self._start_timeout_us)
            self.start(setup)
            if self._channel is not None:
                self._channel.send(line)
        except NodeFailure as failure:
            self._failure = failure
        except ValueFault as fault:
            self._failure = NodeFailure(self.node, f"INIT can't be sent: {fault}")

    def begin(self, from_us: int, until_us: int, events: Sequence[Event]) -> None:
        """Send ADVANCE; the time limit counts from here, and `collect` gives the answer or the failure."""
        if self._failure is not None:
            return
        channel = self._channel
        assert channel is not None, "begin() before init()"
        try:
            line = encode_advance(from_us, until_us, events)
        except ValueFault as fault:
            self._failure = NodeFailure(self.node, f"ADVANCE can't be sent: {fault}")
            return
        self._ask(line, time_us=until_us, given_us=self._timeout_us)
        self._events = events
        self._early = channel.unread_bytes > 0
        channel.send(line)

    def begin_shutdown(self) -> None:
        """Send SHUTDOWN and the end of the input. Called for all nodes before `shutdown`, it lets them end together."""
        if self._closing_s is not None:
            return
        self._closing_s = clock()
        if self._failure is not None or self._channel is None:
            return
        self._closing_s += SHUTDOWN_S
        if not self._channel.unsent:
            self._channel.send(SHUTDOWN)
        self._channel.end_input()

    def shutdown(self) -> None:
        """Send SHUTDOWN, give the node 5 s to end unless it has failed, then end it."""
        self.begin_shutdown()
        assert self._closing_s is not None
        try:
            self._await_end()
        finally:
            self._close()
            self.release(deadline_s=self._closing_s)

    def _await_end(self) -> None:
        """Read on, for a node that is writing can't read SHUTDOWN, until its output ends or the time is over."""
        channel, closing_s = self._channel, self._closing_s
        if channel is None or closing_s is None:
            return
        poll = select.poll()
        poll.register(channel.read_fd, select.POLLIN)
        while not channel.ended and clock() < closing_s and not self.ended():
            if poll.poll(ENDING_TICK_S * 1000):
                channel.discard()

    def _ask(self, line: bytes, *, time_us: int | None, given_us: int) -> None:
        self._line = line
        self._time_us = time_us
        self._given_us = given_us
        self._deadline_s = clock() + given_us / 1e6
        self._early = False
        self._answered = None

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._channel is not None:
            self._channel.close()
        self._listener = self._channel = None

    # What follows is for `collect`.

    def _wanted(self) -> list[tuple[int, int]]:
        if self._channel is not None:
            return self._channel.wanted(reading=not (self._channel.ended or self._answered))
        return [] if self._listener is None else [(self._listener.fileno(), select.POLLIN)]

    def _ending(self) -> bool:
        return self._channel is not None and self._channel.ended

    def _progress(self) -> Done | NodeFailure | None:
        """Do what can be done without waiting; return the answer or the failure once there is one."""
        if self._failure is not None:
            return self._failure
        channel = self._channel
        if channel is None:
            self._accept()
            return None
        try:
            if channel.unsent:
                channel.flush()
            line = self._answered or channel.receive()
            if line and channel.unsent:
                self._answered = line  # it counts when the node has taken the whole question
            elif line:
                return self._answer(line)
            elif channel.ended:
                self._deadline_s = min(self._deadline_s, clock() + ENDING_S)
        except LineTooLong as error:
            return self._failed(ProtocolError(self.node, f"byte {channel.offset} of its output: {error}"))
        except NodeFailure as failure:
            return self._failed(failure)
        return None

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        self._listener.close()
        self._listener = None
        if connection.family == socket.AF_INET:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = connection.detach()
        self.connect(fd, fd)
        assert self._channel is not None
        self._channel.send(self._line)

    def _answer(self, line: bytes) -> Done:
        assert self._channel is not None
        offset = self._channel.offset - len(line)
        if self._time_us is None:
            self.capabilities = decode_ready(line, node=self.node, offset=offset)
            done = Done([])
        else:
            done = decode_done(line, node=self.node, offset=offset, time_us=self._time_us)
        if self._early:
            reason = f"byte {offset} of its output: it answered {self._asked()} before it was asked: {shown(line)}"
            raise ProtocolError(self.node, reason)
        return done

    def _tick(self, now_s: float) -> Done | NodeFailure | None:
        """Notice what makes no descriptor ready: an end without end of file, and the time limit."""
        how = self.ended()
        if how:
            outcome = self._last_words()
            return outcome or self._failed(NodeCrashed(self.node, f"{how} before it answered {self._asked()}"))
        if now_s < self._deadline_s:
            return None
        if self._channel is not None and self._channel.ended:
            reason = f"it closed its output and goes on running, before it answered {self._asked()}"
            return self._failed(ProtocolError(self.node, reason))
        if self._channel is None:
            return self._failed(NodeTimeout(self.node, f"no connection within {format_duration(self._given_us)}"))
        what = "it answered but did not read all of" if self._answered else "no answer to"
        reason = f"{what} {self._asked()} within {format_duration(self._given_us)}"
        return self._failed(NodeTimeout(self.node, reason))

    def _last_words(self) -> Done | NodeFailure | None:
        """Return what the node answered before it ended, if that has not been read yet."""
        channel = self._channel
        while channel is not None and not channel.ended:
            before = channel.offset + channel.unread_bytes
            outcome = self._progress()
            if outcome is not None or before == channel.offset + channel.unread_bytes:
                return outcome
        return None

    def _asked(self) -> str:
        return "INIT" if self._time_us is None else f"ADVANCE to {self._time_us} us"

    def _failed(self, failure: NodeFailure) -> NodeFailure:
        """Keep `failure`, with a hint made of what is known beside it; that may vary from run to run."""
        hints = [failure.hint]
        unread = b"" if self._channel is None else self._channel.unread
        if unread and not isinstance(failure, ProtocolError):
            hints.append(f"it had written a line without its end, {len(unread)} bytes: {shown(unread)}")
        elif isinstance(failure, NodeTimeout) and self._channel is not None:
            hints.append("had it written its answer? a buffered output needs a flush after each line")
        if self._events and isinstance(failure, NodeTimeout):
            last = self._events[-1]
            hints.append(f"inputs of this step: {len(self._events)}, the last {shown(last.type)} from {last.src!r}")
        failure.hint = "\n  ".join(each for each in [*hints, *self.hints()] if each)
        self._failure = failure
        return failure


def collect(nodes: Sequence[RemoteNode], *, should_stop: Callable[[], bool] = never) -> list[Done | NodeFailure | None]:
    """Return the answer or failure of each of `nodes`, in their order, after waiting for all of them.

    None stands for a node that had not answered when `should_stop()`, asked at least every 0.1 s, became true.
    """
    wait = _Wait(nodes)
    while wait.open:
        if wait.step() and should_stop():
            break
    return wait.answers


class _Wait:
    """One `poll` over all nodes that have not answered; `open` holds their indexes, in order."""

    def __init__(self, nodes: Sequence[RemoteNode]) -> None:
        self.answers: list[Done | NodeFailure | None] = [None] * len(nodes)
        self.open = dict.fromkeys(range(len(nodes)))
        self._nodes = nodes
        self._poll = select.poll()
        self._owners: dict[int, int] = {}
        self._watched: list[list[tuple[int, int]]] = [[] for _ in nodes]
        self._tick_s = clock() + TICK_S
        for index, node in enumerate(nodes):
            self._settle(index, node._progress() if node._failure is not None or node._early else None)

    def step(self) -> bool:
        """Wait for a sign of any node, or for the next tick, and deal with it; return whether it was a tick."""
        for fd, _ in self._poll.poll(max(0.0, self._tick_s - clock()) * 1000):
            index = self._owners.get(fd)
            if index is not None:
                self._settle(index, self._nodes[index]._progress())
        now_s = clock()
        if now_s < self._tick_s:
            return False
        self._tick_s = now_s + TICK_S
        for index in list(self.open):
            self._settle(index, self._nodes[index]._tick(now_s))
        return True

    def _settle(self, index: int, outcome: Done | NodeFailure | None) -> None:
        if outcome is not None:
            self.answers[index] = outcome
            del self.open[index]
            self._watch(index, [])
            return
        node = self._nodes[index]
        self._watch(index, node._wanted())
        self._tick_s = min(self._tick_s, clock() + ENDING_TICK_S if node._ending() else node._deadline_s)

    def _watch(self, index: int, wanted: list[tuple[int, int]]) -> None:
        if wanted == self._watched[index]:
            return
        for fd, _ in self._watched[index]:
            del self._owners[fd]
            self._poll.unregister(fd)
        for fd, mask in wanted:
            self._owners[fd] = index
            self._poll.register(fd, mask)
        self._watched[index] = wanted


def _raised(answer: Done | NodeFailure | None) -> Done:
    if isinstance(answer, NodeFailure):
        raise answer
    assert answer is not None
    return answer
