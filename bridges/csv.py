"""Nodes that play back recorded telemetry: `implementation: csv`, one event per row of a file, in bounded memory."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, BinaryIO, ClassVar, NamedTuple

from xtrace.engine.errors import InputError, NodeCrashed
from xtrace.engine.event import NEVER, Done, Event, Output
from xtrace.engine.node import Node, NodeSpec, Option, Setup, Workspace
from xtrace.engine.values import MAX_INT, MIN_INT, Value

MAX_LINE_BYTES = 1_000_000
"""A longer line is an error, so that a file without line ends does not fill the memory."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Reading(NamedTuple):
    """A row of the file: its line, its time since the first row, sped up, and its cells by column.

    `behind_us` is by how much the recorded time lies before the latest one of the rows above it; `time_us` is then the
    latest.
    """

    line: int
    time_us: int
    behind_us: int
    payload: dict[str, Value]


class RowFault(ValueError):
    """A row of the file is wrong; the text names line, column and reason."""


class CsvNode(Node):
    """Sends the rows of a CSV file at the times written in it; the first row is at virtual time 0."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "file": Option("string", "the file, relative to the scenario: UTF-8, with a header line", required=True),
        "delimiter": Option("string", "what separates the cells of a row", default=","),
        "time_column": Option("string", "the column with the time of the row", required=True),
        "time_format": Option(
            "string",
            "`iso` (without a zone: UTC), or a number of seconds, milliseconds or microseconds",
            default="iso",
            choices=("iso", "s", "ms", "us"),
        ),
        "value_columns": Option("strings", "columns of numbers to send; an empty cell is sent as null", required=True),
        "text_columns": Option("strings", "columns of text to send"),
        "disorder": Option(
            "string",
            "a row earlier than one above it: end the run (refuse), or record an event `disorder` and send the row at "
            "the time of the latest (hold) or not at all (skip)",
            default="refuse",
            choices=("refuse", "hold", "skip"),
        ),
        "send_to": Option("node", "the node that gets the readings", required=True),
        "sends": Option("string", "the type of the readings", default="reading"),
        "speed_up": Option("number", "how many times faster than recorded", default=1),
    }

    def __init__(self, spec: NodeSpec, workspace: Workspace) -> None:
        self._workspace = workspace
        self._node, self._options = spec.id, spec.options
        self._name = str(spec.options["file"])
        self._where = f"node {spec.id!r}: file {self._name!r}"
        self._speed_up = Fraction(str(spec.options.get("speed_up", 1)))
        if self._speed_up <= 0:
            raise InputError(f"node {spec.id!r}: speed_up", f"{spec.options['speed_up']} is not greater than 0")
        path = workspace.find(self._name)
        if not path.is_file():
            raise InputError(self._where, f"no such file (looked for {path})")
        with path.open("rb") as file:
            self._table(file)
        self._file: BinaryIO | None = None
        self._rows: Iterator[Reading] = iter(())
        self._next: Reading | None = None

    def init(self, setup: Setup) -> None:
        """Open the file and read ahead to the first row."""
        self._file = self._workspace.open(self._name)
        self._rows = self._table(self._file).readings(self._speed_up)
        self._next = self._read()

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        """Send the rows that are due; events are ignored."""
        outputs = []
        dst, sends = self._options["send_to"], self._options.get("sends", "reading")
        row = self._next
        while row is not None and row.time_us < until_us:
            if row.behind_us:
                about = {"line": row.line, "behind_us": row.behind_us}
                outputs.append(Output(row.time_us, "", "disorder", about, ()))
            if not row.behind_us or self._options["disorder"] == "hold":
                outputs.append(Output(row.time_us, dst, sends, row.payload, ()))
            row = self._next = self._read()
        return Done(outputs, NEVER if row is None else min(row.time_us, NEVER))

    def shutdown(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _table(self, file: BinaryIO) -> Table:
        try:
            return Table(
                file,
                delimiter=self._options.get("delimiter", ","),
                time_column=self._options["time_column"],
                time_us=TIME_FORMATS[self._options.get("time_format", "iso")],
                columns={
                    **dict.fromkeys(self._options["value_columns"], parse_number),
                    **dict.fromkeys(self._options.get("text_columns") or (), str),
                },
            )
        except RowFault as error:
            raise InputError(self._where, str(error)) from error

    def _read(self) -> Reading | None:
        try:
            row = next(self._rows, None)
        except RowFault as error:
            raise NodeCrashed(self._node, f"{self._name}, {error}") from error
        if row is not None and row.behind_us and self._options.get("disorder", "refuse") == "refuse":
            reason = f"{self._name}, line {row.line}: the time is {row.behind_us} us before that of an earlier row"
            raise NodeCrashed(self._node, reason, hint="set `disorder: hold` or `disorder: skip` to go on all the same")
        return row


class Table:
    """A CSV file being read: checks its header at once, then yields its rows."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        delimiter: str,
        time_column: str,
        time_us: Callable[[str], int],
        columns: Mapping[str, Callable[[str], Value]],
    ) -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise RowFault(f"the delimiter {delimiter!r} is not a single character")
        self._reader = csv.reader(_bounded_lines(file), delimiter=delimiter, strict=True)
        header = next(self._lines(), None)
        if header is None:
            raise RowFault("the file is empty")
        self._width = len(header)
        self._time_column, self._time_us = time_column, time_us
        self._time_index = _index(time_column, header)
        self._cells = [(name, _index(name, header), parse) for name, parse in columns.items()]

    def readings(self, speed_up: Fraction) -> Iterator[Reading]:
        """Yield the rows, their times relative to the first and divided by `speed_up`. Raises RowFault."""
        first_us = latest_us = None
        for row in self._lines():
            if len(row) != self._width:
                raise self._fault("", f"{len(row)} cells, the header has {self._width}")
            time_us = self._parsed(self._time_column, self._time_us, row[self._time_index])
            if first_us is None or latest_us is None:
                first_us = latest_us = time_us
            latest_us = max(latest_us, time_us)
            payload = {name: self._parsed(name, parse, row[index]) for name, index, parse in self._cells}
            since_us = (latest_us - first_us) * speed_up.denominator // speed_up.numerator
            yield Reading(self._reader.line_num, since_us, latest_us - time_us, payload)

    def _lines(self) -> Iterator[list[str]]:
        """Yield the rows that are not blank."""
        while True:
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                raise self._fault("", f"not CSV: {error}") from error
            if row is None:
                return
            if row:
                yield row

    def _parsed(self, column: str, parse: Callable[[str], Any], text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise self._fault(column, str(error)) from error

    def _fault(self, column: str, reason: str) -> RowFault:
        return RowFault(f"line {self._reader.line_num}{f', column {column!r}' if column else ''}: {reason}")


def _bounded_lines(file: BinaryIO) -> Iterator[str]:
    encoding, number = "utf-8-sig", 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES:
            raise RowFault(f"line {number}: longer than {MAX_LINE_BYTES} bytes")
        try:
            yield line.decode(encoding)
        except UnicodeDecodeError as error:
            raise RowFault(f"line {number}: not UTF-8: {error.reason} at byte {error.start}") from error
        encoding = "utf-8"


def parse_number(text: str) -> int | float | None:
    """Return the number written as `text`: an int stays one, an empty cell is None. Raises ValueError."""
    text = text.strip()
    if not text:
        return None
    if _INTEGER.fullmatch(text):
        if len(text) > 21 or not MIN_INT <= int(text) <= MAX_INT:
            raise ValueError(f"{text[:30]!r} does not fit in 64 bits")
        return int(text)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:30]!r} is not a number")
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:30]!r} is too large for a 64-bit float")
    return number


def _iso_us(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        hint = "; for a number of seconds set `time_format: s`" if _NUMBER.fullmatch(text.strip()) else ""
        raise ValueError(f"{text[:40]!r} is not an ISO 8601 time{hint}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _epoch_us(unit_us: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = Decimal(text.strip())
            if not number.is_finite() or abs(number) * unit_us >= MAX_INT:
                raise ValueError
            return int((number * unit_us).to_integral_value(rounding="ROUND_FLOOR"))
        except (ValueError, InvalidOperation):
            raise ValueError(f"{text[:40]!r} is not a time as a number") from None

    return parse


TIME_FORMATS: Mapping[str, Callable[[str], int]] = {
    "iso": _iso_us,
    **{unit: _epoch_us(unit_us) for unit, unit_us in _UNITS_US.items()},
}
"""Text of a time cell -> microseconds since 1970, UTC. Raise ValueError."""


def _index(name: str, header: Sequence[str]) -> int:
    names = [column.strip() for column in header]
    if names.count(name) > 1:
        raise RowFault(f"the column {name!r} occurs {names.count(name)} times")
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has: {', '.join(names)[:200]}"
        raise RowFault(f"no column {name!r}{hint}")
    return names.index(name)
