"""Nodes that play back a recording: `implementation: jsonl`, one event per line of a file, in bounded memory.

A line is one JSON object, `{"time_us": 1500, "type": "reading", "payload": {"celsius": 21.5}}`: the virtual time, never
earlier than on the line above, the type, and the payload in the JSON of `engine/PROTOCOL.md`, "Values", which loses
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import BinaryIO, ClassVar, NamedTuple

from xtrace.engine.duration import MAX_TIME_US
from xtrace.engine.errors import InputError, NodeCrashed
from xtrace.engine.event import NEVER, Done, Event, Output
from xtrace.engine.json_values import LineFault, decode_value, shown
from xtrace.engine.node import Node, NodeSpec, Option, Setup, Workspace
from xtrace.engine.values import MAX_DEPTH, Value

MAX_LINE_BYTES = 32 * 1024 * 1024
"""A longer line is an error, so that a file without line ends does not fill the memory."""

_KEYS = {"time_us", "type", "payload"}


class Line(NamedTuple):
    """A line of the file: its number, from 1, and the event in it."""

    number: int
    time_us: int
    type: str
    payload: Value


class RecordingFault(ValueError):
    """A line of the file is wrong; the text names line and reason."""


class JsonlNode(Node):
    """Plays back the events in a JSON Lines file at the times written in it."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "file": Option("string", "the file, relative to the scenario: an event per line", required=True),
        "send_to": Option("node", "the node that gets the events; without one they are recorded as observations"),
        "speed_up": Option("number", "how many times faster than written", default=1),
    }

    def __init__(self, spec: NodeSpec, workspace: Workspace) -> None:
        self._workspace = workspace
        self._node = spec.id
        self._name = str(spec.options["file"])
        self._send_to = str(spec.options.get("send_to") or "")
        self._speed_up = Fraction(str(spec.options.get("speed_up", 1)))
        where = f"node {spec.id!r}: file {self._name!r}"
        if self._speed_up <= 0:
            raise InputError(f"node {spec.id!r}: speed_up", f"{spec.options['speed_up']} is not greater than 0")
        path = workspace.find(self._name)
        if not path.is_file():
            raise InputError(where, f"no such file (looked for {path})")
        with path.open("rb") as file:
            try:
                next(read_lines(file), None)
            except RecordingFault as error:
                raise InputError(where, str(error)) from error
        self._file: BinaryIO | None = None
        self._lines: Iterator[Line] = iter(())
        self._next: Line | None = None

    def init(self, setup: Setup) -> None:
        """Open the file and read ahead to the first event."""
        self._file = self._workspace.open(self._name)
        self._lines = read_lines(self._file)
        self._next = self._read()

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        """Send the events that are due; inputs are ignored."""
        outputs = []
        line = self._next
        while line is not None and line.time_us < until_us:
            outputs.append(Output(line.time_us, self._send_to, line.type, line.payload, ()))
            line = self._next = self._read()
        return Done(outputs, NEVER if line is None else line.time_us)

    def shutdown(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _read(self) -> Line | None:
        try:
            line = next(self._lines, None)
        except RecordingFault as error:
            raise NodeCrashed(self._node, f"{self._name}, {error}") from error
        if line is None or self._speed_up == 1:
            return line
        return line._replace(time_us=line.time_us * self._speed_up.denominator // self._speed_up.numerator)


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """Yield the events in a file, blank lines left out. Raises RecordingFault."""
    latest_us, number = 0, 0
    while data := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(data) == MAX_LINE_BYTES:
            raise RecordingFault(f"line {number}: longer than {MAX_LINE_BYTES} bytes")
        if data.isspace():
            continue
        line = _line(number, data)
        if line.time_us < latest_us:
            behind_us = latest_us - line.time_us
            raise RecordingFault(
                f"line {number}: time_us is {behind_us} us before that of an earlier line: sort the file"
            )
        latest_us = line.time_us
        yield line


def _line(number: int, data: bytes) -> Line:
    try:
        event = decode_value(data, max_depth=MAX_DEPTH + 1)
    except LineFault as fault:
        raise RecordingFault(f"line {number}, byte {fault.position}: {fault.reason}: {shown(data)}") from fault
    if type(event) is not dict or not event.keys() <= _KEYS or not event.keys() >= {"time_us", "type"}:
        raise RecordingFault(f"line {number}: not an object with `time_us`, `type` and `payload`: {shown(data)}")
    time_us, type_ = event["time_us"], event["type"]
    if type(time_us) is not int or not 0 <= time_us <= MAX_TIME_US:
        raise RecordingFault(
            f"line {number}: time_us {shown(str(time_us))} is no whole number of microseconds from 0 on"
        )
    if type(type_) is not str:
        raise RecordingFault(f"line {number}: type {shown(str(type_))} is no text")
    return Line(number, time_us, type_, event.get("payload"))
