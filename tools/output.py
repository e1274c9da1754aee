"""Where words go: data on stdout, talk on stderr, nothing that a terminal would obey."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_COLORS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
MIN_WIDTH = 40


class OutputClosed(Exception):
    """Whoever read our output has gone away (`| head`)."""


def escape(text: str, *, keep: str = "") -> str:
    """Return `text` with everything that is not printable written as an escape, except the characters in `keep`.

    Control characters, bidirectional overrides and lone surrogates come from payloads and ids that others wrote.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON in ASCII: no other character reaches the reader raw. Raises ValueError for NaN."""
    return json.dumps(value, indent=indent, allow_nan=False)


def shorten(text: str, width: int) -> str:
    """Return `text`, cut to `width` characters with an ellipsis if it is longer."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def aligned(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Return a line per row with the columns two spaces apart; those numbered in `right` are right-aligned."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    to_the_right = frozenset(right)
    return [
        "  ".join(
            cell.rjust(width) if index in to_the_right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def plural(count: int, word: str) -> str:
    """Return `1 step`, `2 steps`, `12,000 steps`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


class Console:
    """The two streams of a command. `color` is auto, always or never; `auto` asks the terminal and NO_COLOR."""

    def __init__(
        self,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        color: str = "auto",
        no_color: bool = False,
        ci: bool = False,
    ) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        for stream in (self.out, self.err):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self.terminal = self.out.isatty()
        self.live = self.err.isatty() and not ci
        self._color_out = _wants_color(self.out, color, no_color=no_color)
        self.color_err = _wants_color(self.err, color, no_color=no_color)

    @property
    def width(self) -> int:
        """The columns of the terminal; what is longer is cut there, and only there."""
        return max(shutil.get_terminal_size((120, 24)).columns, MIN_WIDTH)

    def data(self, text: str, *, style: str = "") -> None:
        """Print lines of the answer, escaped. Raises OutputClosed."""
        self.raw(_styled(escape(text, keep="\n"), style if self._color_out else "") + "\n")

    def raw(self, text: str) -> None:
        """Write `text` to stdout as it is. Raises OutputClosed."""
        try:
            self.out.write(text)
        except BrokenPipeError as error:
            raise OutputClosed from error

    def binary(self, data: bytes) -> None:
        """Write `data` to stdout as it is. Raises OutputClosed."""
        self.flush()
        try:
            self.out.buffer.write(data)
        except BrokenPipeError as error:
            raise OutputClosed from error

    def json(self, value: Any) -> None:
        """Print the answer as one JSON document, indented."""
        self.raw(to_json(value, indent=2) + "\n")

    def say(self, text: str, *, style: str = "") -> None:
        """Print talk, escaped, on stderr; if nobody can hear it, that is no error."""
        try:
            self.err.write(_styled(escape(text, keep="\n"), style if self.color_err else "") + "\n")
            self.err.flush()
        except (OSError, ValueError):
            return

    def flush(self) -> None:
        """Hand everything to the reader. Raises OutputClosed, or OSError for a full disk."""
        try:
            self.out.flush()
        except BrokenPipeError as error:
            raise OutputClosed from error


def _wants_color(stream: TextIO, color: str, *, no_color: bool) -> bool:
    if color == "auto":
        return stream.isatty() and not no_color
    return color == "always"


def _styled(text: str, style: str) -> str:
    return f"\x1b[{_COLORS[style]}m{text}\x1b[0m" if style else text
