"""The mistakes of one document, gathered so that all of them are reported at once, each with its place."""

from __future__ import annotations

from typing import Any, NamedTuple

from xtrace.engine.errors import InputError

MAX_PROBLEMS = 200
"""A document with more mistakes than this is not looked at any further."""
MAX_PROBLEM_LENGTH = 400
"""A message is cut here: what it quotes may be as long as the file."""

Place = tuple[str | int, ...]
"""The keys and indexes that lead to a value: ("nodes", 2, "type")."""


class Origin(NamedTuple):
    """Where a value was written: in a line of the file, or (line 0) what `text` says."""

    line: int
    text: str


_AT_THE_END = Origin(2**62, "")


class Problems:
    """The mistakes of the document `where`. A value has one at most: the first one found explains the others."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.origins: dict[Place, Origin] = {}
        self._found: list[tuple[Place, str, Origin | None]] = []
        self._faulty: set[Place] = set()

    def add(self, place: Place, text: str) -> None:
        """Add what is wrong with the value at `place`, unless something is already."""
        if place not in self._faulty:
            self._faulty.add(place)
            self._append(place, text, None)

    def add_key(self, place: Place, text: str, *, line: int = 0) -> None:
        """Add what is wrong with the key in `line` that ends `place`; its value may have its own mistake."""
        self._append(place, text, written_in(line))

    def override(self, place: Place, text: str) -> None:
        """Note that the value at `place` comes from where `text` says, and no longer from the file."""
        for each in [each for each in self.origins if each[: len(place)] == place]:
            del self.origins[each]
        self.origins[place] = Origin(0, text)

    def __bool__(self) -> bool:
        return bool(self._found)

    def error(self) -> InputError:
        """Return the error that lists every mistake, in the order of the file."""
        found = [(place, text, origin or self._origin(place)) for place, text, origin in self._found]
        return InputError(self.where, [_sentence(*each) for each in sorted(found, key=lambda each: each[2].line)])

    def _append(self, place: Place, text: str, origin: Origin | None) -> None:
        if len(self._found) == MAX_PROBLEMS:
            self._found.append(((), f"there are more than {MAX_PROBLEMS} mistakes", _AT_THE_END))
            raise self.error()
        self._found.append((place, text, origin))

    def _origin(self, place: Place) -> Origin:
        while place and place not in self.origins:
            place = place[:-1]
        return self.origins[place] if place else Origin(0, "")


def written_in(line: int) -> Origin:
    """Return the origin of what stands in `line` of the file; 0 is nowhere."""
    return Origin(line, f"line {line}" if line else "")


def format_place(place: Place) -> str:
    """Return `place` as people write it: ("nodes", 2, "type") -> 'nodes[2].type'."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return _cut(text)


def describe(value: Any) -> str:
    """Return `value` in a few words, for a message: '3', 'a list', 'nothing'."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:60]!r} ..."
    return _cut(repr(value))


def _sentence(place: Place, text: str, origin: Origin) -> str:
    path = format_place(place)
    sentence = (f"{path}: " if path else "") + _cut(text) + (f" ({origin.text})" if origin.text else "")
    # One line each, and nothing that a terminal would take for a command.
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in sentence)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_PROBLEM_LENGTH else text[:MAX_PROBLEM_LENGTH] + " ..."
