"""Keeps secret values out of what is written: `<secret:NAME>` stands for each, and a replay puts it back.

A value is found in its UTF-8 bytes and as JSON and Python escape it: `<secret:NAME:2>` says that spelling 2 stood
there, and `<secret:NAME:cut>` that a piece of it stood where a message was cut with `…`. What a node makes of a value
(base64, a hash, half of it) is another value and is not known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from xtrace.engine.values import Value, ValueFault, decode, encode

SHORTEST_CHARACTERS = 6
"""A shorter value would be found in places that have nothing to do with it."""
SHORTEST_DIGITS = 12
"""So would a number: a run is full of numbers and digests."""
HELD_BYTES_MAX = 64 * 1024
"""A log is held back for the rest of a value no longer than this."""

_MARK = re.compile(rb"<secret:([A-Za-z0-9_-]+)(?::([0-9]{1,2}))?>")
_MARK_START = b"<secret:"
_CUT = "…".encode()
_CUT_SHORTEST_BYTES = 3
_CUT_INSIDE_SHORTEST_BYTES = 8


def placeholder(name: str, spelling: int = 0) -> str:
    """Return what is written for the secret `name`."""
    return f"<secret:{name}:{spelling}>" if spelling else f"<secret:{name}>"


def weakness(value: str) -> str:
    """Return why `value` can't be kept secret, "" if it can; the value itself is not in the answer."""
    if len(value.strip()) < SHORTEST_CHARACTERS:
        return f"the value is shorter than {SHORTEST_CHARACTERS} characters and would be found everywhere"
    if len(value) < SHORTEST_DIGITS and re.fullmatch("[0-9A-Fa-f.]+", value):
        return f"the value is a number of less than {SHORTEST_DIGITS} digits: a run is full of numbers and digests"
    if "\0" in value:
        return "the value has a NUL character, which no variable can hold"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "the value is not valid Unicode"
    return ""


class Secrets:
    """The secrets of a run, `values` by their names."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._spellings = {name: _spellings(values[name]) for name in sorted(values)}
        marks: dict[bytes, bytes] = {}
        for name, spellings in self._spellings.items():
            for number, value in enumerate(spellings):
                marks.setdefault(value, placeholder(name, number).encode())
        # The longest first: a value may be a part of another one.
        self._marks = [(value, marks[value]) for value in sorted(marks, key=lambda value: (-len(value), value))]

    def holds(self, data: bytes) -> bool:
        """Return whether a value, or a piece of one that was cut with `…`, occurs in these bytes."""
        if any(value in data for value, _ in self._marks):
            return True
        return _CUT in data and self._without_cut_values(data) != data

    def redact(self, payload: bytes) -> bytes:
        """Return a canonical payload without any value, in canonical form; the same object if there is none in it."""
        if not self.holds(payload):
            return payload
        try:
            value = _each_text(decode(payload), self.redact_text, self.redact_bytes)
            data = encode(value)
            return encode(self._blotted(value)) if self.holds(data) else data
        except ValueFault:  # no payload, or too large with the placeholders in it
            return encode(self._blot(payload))

    def redact_text(self, text: str) -> str:
        """Return `text` without any value."""
        return self.redact_bytes(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def redact_json(self, value: Any) -> Any:
        """Return a JSON value without any value of a secret in its texts and keys."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, Mapping):
            return {self.redact_text(str(key)): self.redact_json(each) for key, each in value.items()}
        return [self.redact_json(each) for each in value] if isinstance(value, (list, tuple)) else value

    def redact_bytes(self, data: bytes) -> bytes:
        """Return `data` without any value."""
        found = data
        for value, mark in self._marks:
            found = found.replace(value, mark)
        if _CUT in found:
            found = self._without_cut_values(found)
        # What stood before and behind a value may make another one with the placeholder.
        return self._blot(found).encode() if any(value in found for value, _ in self._marks) else found

    def reveal(self, payload: bytes) -> bytes:
        """Return a redacted payload with the values back in it, in canonical form."""
        if _MARK_START not in payload:
            return payload
        try:
            return encode(_each_text(decode(payload), self.reveal_text, self._reveal_bytes))
        except ValueFault:
            return payload

    def reveal_text(self, text: str) -> str:
        """Return a redacted text with the values back in it."""
        return self._reveal_bytes(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def log_filter(self) -> LogFilter:
        """Return a filter for one log."""
        return LogFilter(self.redact_bytes, [value for value, _ in self._marks])

    def _reveal_bytes(self, data: bytes) -> bytes:
        def value(match: re.Match[bytes]) -> bytes:
            spellings = self._spellings.get(match[1].decode(), [])
            number = int(match[2] or 0)
            return spellings[number] if number < len(spellings) else match[0]

        return _MARK.sub(value, data)

    def _without_cut_values(self, data: bytes) -> bytes:
        parts = data.split(_CUT)
        for value, mark in self._marks:
            cut = _MARK_START + mark[len(_MARK_START) : -1].partition(b":")[0] + b":cut>"
            for index, part in enumerate(parts):
                quote = part[-1:] if part[-1:] in (b"'", b'"') else b""
                part = part[: len(part) - len(quote)]
                length = _beginning_at_end(part, value)
                if index + 1 < len(parts) and length >= _CUT_SHORTEST_BYTES:
                    parts[index] = part[:-length] + cut + quote
            for index, part in enumerate(parts):
                quote = part[:1] if part[:1] in (b"'", b'"') else b""
                part = part[len(quote) :]
                length = max(_beginning_at_end(part[::-1], value[::-1]), _inside(part, value))
                if index and length >= _CUT_SHORTEST_BYTES:
                    parts[index] = quote + cut + part[length:]
        return _CUT.join(parts)

    def _blotted(self, value: Value) -> Value:
        """Return `value` with a placeholder for its smallest parts whose encoding holds a secret, such as its bytes
        as a list of numbers."""
        if type(value) is dict:
            value = {key: self._blotted(member) for key, member in value.items()}
        elif type(value) is list:
            value = [self._blotted(member) for member in value]
        data = encode(value)
        return self._blot(data) if self.holds(data) else value

    def _blot(self, data: bytes) -> str:
        """Return the placeholder of a secret that occurs in `data`."""
        return next((mark.decode() for value, mark in self._marks if value in data), placeholder("unknown"))


class LogFilter:
    """Takes a log in pieces and gives it without the secrets, also without one that stands across two pieces."""

    def __init__(self, redact: Callable[[bytes], bytes], values: Sequence[bytes]) -> None:
        self._redact = redact
        self._values = values
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what can be written by now."""
        data = self._held + data
        end = self._end_of_the_certain(data)
        if len(data) - end > HELD_BYTES_MAX:
            end = len(data)
        self._held = data[end:]
        return self._redact(data[:end])

    def end(self) -> bytes:
        """Return what was held back: nothing follows."""
        held, self._held = self._held, b""
        return self._redact(held)

    def _end_of_the_certain(self, data: bytes) -> int:
        """Return where `data` may be cut: no value stands across that place, nor may one once more data has come."""
        end = len(data) - max(_beginning_at_end(data, value) for value in self._values)
        while True:
            starts = [data.find(value, max(0, end - len(value) + 1)) for value in self._values]
            across = [start for start in starts if 0 <= start < end]
            if not across:
                return end
            end = min(across)


def _beginning_at_end(data: bytes, value: bytes) -> int:
    """Return the length of the longest end of `data` that is a beginning of `value`, but not all of it."""
    lengths = range(min(len(value) - 1, len(data)), 0, -1)
    return next((length for length in lengths if data.endswith(value[:length])), 0)


def _inside(data: bytes, value: bytes) -> int:
    """Return how much of the beginning of `data` is a piece from the middle of `value`, 0 if that may be chance."""
    length = _CUT_INSIDE_SHORTEST_BYTES
    if len(data) < length or data[:length] not in value:
        return 0
    while length < len(data) and data[: length + 1] in value:
        length += 1
    return length


def _spellings(value: str) -> list[bytes]:
    """Return `value` as it is, as JSON has it (in ASCII and not), and each of these in the `repr` of a text."""
    plain = [value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    in_repr = ["".join(each if each == "'" else repr(each)[1:-1] for each in text) for text in plain]
    quoted = [text.replace("'", "\\'") for text in in_repr]
    return [text.encode() for text in (*plain, *in_repr, *quoted)]


def _each_text(value: Value, text: Callable[[str], str], data: Callable[[bytes], bytes]) -> Value:
    """Return `value` with every string in it, keys too, through `text`, and all bytes through `data`."""
    if type(value) is str:
        return text(value)
    if type(value) is bytes:
        return data(value)
    if type(value) is list:
        return [_each_text(member, text, data) for member in value]
    if type(value) is dict:
        return dict(_members(value, text, data))
    return value


def _members(
    value: dict[str, Value], text: Callable[[str], str], data: Callable[[bytes], bytes]
) -> Iterator[tuple[str, Value]]:
    """Yield keys and values; keys that come to be equal are kept apart, in order of what they were."""
    taken = set(value)
    for key, member in value.items():
        name = text(key)
        while name != key and name in taken:
            name += "~"
        taken.add(name)
        yield name, _each_text(member, text, data)
