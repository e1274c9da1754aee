"""Takes the lines of a JSON Lines recording: one object a line, with a time in one of its fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from xtrace.bridges.jsonl import MAX_LINE_BYTES
from xtrace.engine.errors import InputError
from xtrace.engine.recorder import Row
from xtrace.engine.registry import unknown
from xtrace.tools.import_json import read_json
from xtrace.tools.import_recording import Recording

MAX_MISTAKES = 10
"""Mistakes that are listed; after so many the rest of the file is not read."""
UNITS_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
FORMATS = ("iso", *UNITS_NS)
TIME_FIELDS = {
    **dict.fromkeys(("time", "timestamp", "ts"), ""),
    **{f"{stem}_{unit}": unit for stem in ("time", "timestamp", "ts") for unit in UNITS_NS},
}
"""Fields that are taken for the time unless one is named, and the format that their names tell."""
TIME_NS = "time_ns"
EXPORTED = {"seq", *Row._fields, "cause"}
"""The keys of a line that `xtrace export` wrote."""
DEFAULT_TYPE = "reading"
_MAX_NS = 2**64 - 1
_ISO = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,9})0*)?(Z|[+-]\d\d:?\d\d)?")
_EXACT = Context(prec=60)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fields(NamedTuple):
    """Which fields of a line mean what; None for the default. `node_id` names the only node there is."""

    time: str | None
    time_format: str | None
    node: str | None
    node_id: str | None
    type: str | None


class _Mistake(ValueError):
    pass


def refuse_export(path: Path) -> None:
    """Raise InputError if the first line was written by `xtrace export`: its rows would become readings of a sensor."""
    with path.open("rb") as file:
        _, data = next(_numbered(file, path), (0, b""))
    try:
        line = read_json(data)
    except (ValueError, RecursionError):  # it is told with its line, among the other mistakes
        return
    if isinstance(line, dict) and line.keys() == EXPORTED:
        reason = "is an export of a run; only MCAP comes back as the run: export with --format mcap"
        raise InputError(str(path), reason)


def take_lines(path: Path, recording: Recording, fields: Fields) -> None:
    """Give all lines of `path` to `recording`. Raises InputError with the first mistakes, each with its line."""
    mistakes: list[str] = []
    with path.open("rb") as file:
        lines = _Lines(recording, fields, where=path)
        for number, data in _numbered(file, path):
            try:
                lines.take(number, data)
            except ValueError as error:
                mistakes.append(f"line {number}: {error}")
            except RecursionError:
                mistakes.append(f"line {number}: nested too deep")
            except InputError as error:  # it names the line
                mistakes += error.problems
            if len(mistakes) == MAX_MISTAKES:
                mistakes.append("… and perhaps more")
                break
    if mistakes:
        raise InputError(str(path), mistakes)


def _numbered(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    number = 0
    while data := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(data) == MAX_LINE_BYTES:
            raise InputError(str(path), f"line {number}: longer than {MAX_LINE_BYTES:,} bytes: is this JSON Lines?")
        if number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if not data.isspace():
            yield number, data


class _Lines:
    def __init__(self, recording: Recording, fields: Fields, *, where: Path) -> None:
        self._recording = recording
        self._fields = fields
        self._time, self._format = fields.time or "", fields.time_format or ""
        self._stem = where.stem

    def take(self, number: int, data: bytes) -> None:
        """Add the message in a line. Raises ValueError and InputError."""
        try:
            line = read_json(data)
        except json.JSONDecodeError as error:
            raise _Mistake(f"not JSON: {error.msg} at character {error.pos}") from None
        except UnicodeDecodeError as error:
            raise _Mistake(f"not UTF-8: {error.reason} at byte {error.start}") from None
        if not isinstance(line, dict):
            raise _Mistake("not a JSON object")
        time_ns = self._time_ns(line, data)
        if line.get(TIME_NS, time_ns) != time_ns:
            raise _Mistake(f"`{TIME_NS}` is {line[TIME_NS]!r}, but `{self._time}` says {time_ns}: try --time {TIME_NS}")
        name = self._fields.node_id or self._stem
        if self._fields.node is not None:
            name = _text(line, self._fields.node, "--node")
        type_ = DEFAULT_TYPE if self._fields.type is None else _text(line, self._fields.type, "--type")
        source = self._recording.source(name, {"source": name})
        self._recording.add(source, time_ns, type_, {**line, TIME_NS: time_ns}, place=f"line {number}")

    def _time_ns(self, line: dict[str, Any], data: bytes) -> int:
        """Return the time of a line in nanoseconds, exact. The first line decides on field and format."""
        if not self._time:
            self._time = _time_field(line, has_format=bool(self._format))
            if not self._time:
                raise _Mistake(
                    f"no field {', '.join(list(TIME_FIELDS)[:3])}: name the one with the time with --time FIELD"
                )
        if self._time not in line:
            raise _Mistake(unknown(self._time, line, "field") if line else f"no field {self._time!r}")
        value = line[self._time]
        if value is None or isinstance(value, bool | list | dict):
            raise _Mistake(f"`{self._time}` is {json.dumps(value)[:40]}, which is no time")
        if not self._format:
            self._format = TIME_FIELDS.get(self._time) or ("iso" if isinstance(value, str) else "")
        if not self._format:
            units = "|".join(UNITS_NS)
            raise _Mistake(f"`{self._time}` is {value!r}: say in which unit with --time-format {units}")
        if isinstance(value, float):  # as it is written, not as a float has it
            value = json.loads(data, parse_float=Decimal)[self._time]
        time_ns = _parsed(value, self._format, self._time)
        if not 0 <= time_ns <= _MAX_NS:
            raise _Mistake(f"`{self._time}` {value!r} is outside of the years 1970 to 2554")
        return time_ns


def _time_field(line: dict[str, Any], *, has_format: bool) -> str:
    """Return the first field that is called like a time; one with a unit goes before a number without."""
    found = [name for name in TIME_FIELDS if name in line]
    if not has_format:
        found.sort(key=lambda name: not TIME_FIELDS[name] and not isinstance(line[name], str))
    return found[0] if found else ""


def _parsed(value: Any, format: str, name: str) -> int:
    if format == "iso":
        return _iso_ns(value, name)
    try:
        if isinstance(value, bool) or not isinstance(value, int | Decimal | str) or len(str(value)) > 40:
            raise ValueError
        time_ns = _EXACT.multiply(Decimal(value), Decimal(UNITS_NS[format]))
        if not abs(time_ns) <= _MAX_NS:
            raise ValueError
    except (ValueError, ArithmeticError):
        raise _Mistake(f"`{name}` {str(value)[:40]!r} is not a time as a number") from None
    if time_ns != int(time_ns):
        raise _Mistake(f"`{name}` {str(value)[:40]!r} is not a whole number of nanoseconds")
    return int(time_ns)


def _iso_ns(value: Any, name: str) -> int:
    match = _ISO.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        moment = datetime.fromisoformat(match[1] + (match[3] or "Z"))
    except ValueError:
        hint = "" if isinstance(value, str) else ": for a number say --time-format s, ms, us or ns"
        raise _Mistake(f"`{name}` {str(value)[:60]!r} is not a time such as 2026-01-31T12:00:00.5Z{hint}") from None
    since = moment - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    return seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def _text(line: dict[str, Any], field: str, option: str) -> str:
    value = line.get(field)
    if not isinstance(value, str) or not value:
        raise _Mistake(f"`{field}`, which {option} names, is {json.dumps(value)[:60]} instead of a text")
    return value
