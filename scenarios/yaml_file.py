"""YAML as scenarios use it: plain data, read safely, every value with its line.

It is a subset of YAML 1.2. Duplicate keys, tags, merge keys, and keys that are not text are mistakes; so are words that
YAML versions read differently (`yes`, `off`, `010`). Dates and times of day are text. An alias counts as what it stands
for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from xtrace.engine.errors import InputError
from xtrace.engine.values import MAX_DEPTH
from xtrace.scenarios.problems import Place, Problems, describe, format_place, written_in

MAX_FILE_BYTES = 1024 * 1024
MAX_VALUES = 100_000
"""A document has at most this many values, each alias counted as what it stands for."""
MAX_INTEGER_LENGTH = 40

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_NUMBER = re.compile(r"([-+]?)\.(inf|nan)", re.IGNORECASE)
_DIFFERENT = re.compile(r"yes|no|on|off|[-+]?0[0-9_]+|[-+]?[0-9][0-9]*_[0-9_]*", re.IGNORECASE)

_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class _Unclear(ValueError):
    """A plain word that YAML versions read differently, or that no value stands for."""


def read_yaml(path: Path, *, problems: Problems) -> Any:
    """Return the content of the YAML file `path`; mistakes that leave the rest readable go to `problems`.

    Raises InputError if the file can't be read or is not YAML.
    """
    return parse_yaml(_read_text(path), problems=problems)


def parse_yaml(text: str, *, problems: Problems) -> Any:
    """Return the content of the YAML document `text`, None if it is empty; mistakes that leave the rest readable go to
    `problems`. Raises InputError with the line if it is not YAML.
    """
    where = problems.where
    try:
        return _Reader(text, problems).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputError(where + line, f"not valid YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        raise InputError(f"{where}:{line_number}", f"not valid YAML: {error.reason}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(where, f"not valid YAML: {error}") from error


def parse_value(text: str, *, where: str) -> Any:
    """Return the value that `text` stands for in an option of the command: a list `[1, 2]`, a mapping `{a: 1}`, or a
    quoted text is YAML, and anything else a word as in a file: a number, true, false, null or text. Raises InputError.
    """
    text = text.strip()
    if text[:1] in {"[", "{", '"', "'"}:
        problems = Problems(where)
        value = parse_yaml(text, problems=problems)
        if problems:
            raise problems.error()
        return value
    try:
        return _resolve(text) if text else ""
    except _Unclear as error:
        raise InputError(where, str(error)) from error


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise InputError(str(path), "is a folder; name a scenario file in it")
        if path.exists() and not path.is_file():
            raise InputError(str(path), "is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(str(path), "no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"can't be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(str(path), f"is longer than the limit of {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fault = f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        raise InputError(f"{path}:{line}", fault) from error


def _resolve(word: str) -> Any:
    """Return what a plain (unquoted) scalar stands for. Raises _Unclear."""
    if word in _NULL:
        return None
    if word in _BOOLEAN:
        return _BOOLEAN[word]
    if _INTEGER.fullmatch(word):
        if len(word) > MAX_INTEGER_LENGTH:
            raise _Unclear(f"the integer {describe(word)} does not fit in 64 bits")
        return int(word, {"x": 16, "o": 8}.get(word[1:2], 10))
    if _DIFFERENT.fullmatch(word):
        meant = "a number without leading zeros or underscores" if any(map(str.isdigit, word)) else "true or false"
        raise _Unclear(f"YAML versions read a bare {describe(word)} differently: write {meant}, or put it in quotes")
    if special := _SPECIAL_NUMBER.fullmatch(word):
        return float(special[1] + special[2])
    return float(word) if _NUMBER.fullmatch(word) else word


class _Reader:
    """Turns the parser's events into values; neither depth nor size is bounded by the parser itself."""

    def __init__(self, text: str, problems: Problems) -> None:
        # The C parser accepts slightly different input and nests on the C stack: the same rules everywhere come first.
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._problems = problems
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def document(self) -> Any:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), ())
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._error(event, "a second document begins: a file holds one scenario")
        return value

    def _error(self, event: Any, text: str) -> InputError:
        return InputError(f"{self._problems.where}:{_line(event)}", text)

    def _value(self, event: Any, place: Place) -> Any:
        self._count(event, 1)
        self._problems.origins.setdefault(place, written_in(_line(event)))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            self._problems.add(place, f"the tag {event.tag!r} is not supported: write plain values")
        before = self._values
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, place)
        elif len(place) >= MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(place)
        else:
            value = self._sequence(place)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _count(self, event: Any, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES} values, with every alias counted as what it stands for")

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(event, f"*{event.anchor} refers to nothing that is complete before it")
        value, size = self._anchors[event.anchor]
        self._count(event, size)
        return _copy(value)

    def _scalar(self, event: Any, place: Place) -> Any:
        if not event.implicit[0]:
            return _joined(event.value)
        try:
            return _resolve(event.value)
        except _Unclear as error:
            self._problems.add(place, str(error))
            return None

    def _sequence(self, place: Place) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*place, len(found))))
        return found

    def _mapping(self, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, is_sound = self._key(event, place)
            value = self._value(next(self._events), (*place, key))
            if key in found:
                first = self._problems.origins[*place, key].text
                self._problems.add_key((*place, key), f"the key is there already, in {first}", line=_line(event))
            elif is_sound:
                found[key] = value
        return found

    def _key(self, event: Any, place: Place) -> tuple[str, bool]:
        """Return the key that `event` holds, and whether it may be one."""
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error(event, f"{format_place(place) or 'the document'}: a key must be text")
        key = _joined(event.value)
        fault = ""
        if event.implicit[0] and key == "<<":
            fault = "merge keys are not supported"
        elif event.implicit[0] and not _is_text(key):
            fault = f'a key must be text: write "{key}" in quotes'
        if fault:
            self._problems.add_key((*place, key), fault, line=_line(event))
        return key, not fault


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _is_text(word: str) -> bool:
    try:
        return isinstance(_resolve(word), str)
    except _Unclear:
        return False


def _joined(text: str) -> str:
    """Return `text` with the characters that JSON escapes as two halves (surrogates) in one piece."""
    return _SURROGATES.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _copy(value: Any) -> Any:
    """Return a copy that shares nothing, so that an override of one place leaves the others as they are."""
    if isinstance(value, dict):
        return {key: _copy(member) for key, member in value.items()}
    return [_copy(member) for member in value] if isinstance(value, list) else value
