"""Reads the pages of the documentation, and runs what they tell the reader to run.

A page is followed like a reader would, from top to bottom, in an empty folder: a block behind `<!-- file: NAME -->` is
written to that file, a `console` block is typed into a shell, a block behind `<!-- run -->` is run by Python. What a
block shows as output is compared with what came: `…` stands for anything within a line, a line of `…` for any
lines. A command has to end with exit status 0 unless the next one is `echo $?`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 60
ELLIPSIS = "…"
COMMAND = "import sys; sys.argv[0] = 'xtrace'; from xtrace.tools.cli import main; sys.exit(main())"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_FINGERPRINT = re.compile(r"(?<=xt1:sha256:)[0-9a-f]+…?")
_PROGRESS = re.compile(r"\S+: virtual time .* after .*")
"""Only said on a busy machine."""


class Block(NamedTuple):
    """A fenced block: the comment before it, its language and text, and the line it begins in."""

    mark: str
    language: str
    text: str
    line: int


class Command(NamedTuple):
    """A command of a `console` block, and what the page shows of its output."""

    command: str
    output: list[str]


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for match in _BLOCK.finditer(page):
        line = page.count("\n", 0, match.start("text"))
        yield Block(match["mark"] or "", match["language"], match["text"], line)


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a `console` block: lines behind `$ `, continued by lines behind `> `."""
    command, output = "", []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield Command(command, output)
            command, output = line[2:], []
        elif line.startswith("> ") and command and not output:
            command += "\n" + line[2:]
        else:
            output.append(line)
    yield Command(command, output)


def without_blocks(page: str) -> str:
    """Return the prose of a page."""
    return _BLOCK.sub("", page)


def matches(shown: list[str], actual: list[str]) -> bool:
    """Return whether a page shows what came."""
    pattern = ""
    for line in shown:
        if line.strip() == ELLIPSIS:
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += re.escape(_masked(line)).replace(ELLIPSIS, r"[^\n]*") + r"\n"
    text = "".join(_masked(line) + "\n" for line in actual if not _PROGRESS.fullmatch(line))
    return re.fullmatch(pattern, text) is not None


class Reader:
    """Follows a page in `folder`. Raises AssertionError for what the page gets wrong."""

    def __init__(self, folder: Path, *, programs: Path) -> None:
        self._folder = folder
        self._status = 0
        programs.mkdir()
        for name, arguments in (("xtrace", f'-u -c "{COMMAND}"'), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            (programs / name).chmod(0o755)
        self._environment = dict(os.environ, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")

    def follow(self, page: str) -> int:
        """Do what the page says and return how many commands and programs that were."""
        done = 0
        for block in blocks(page):
            word, _, name = block.mark.partition(": ")
            if word == "file":
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            elif word == "run":
                self._compare(block.line, "the block above", self._run(sys.executable, "-c", block.text))
                done += 1
            elif word == "output":
                assert matches(block.text.splitlines(), self._output), self._explain(block.line, block.text)
            elif block.language == "console":
                done += self._type(block)
        return done

    def _type(self, block: Block) -> int:
        found = list(commands(block.text))
        for number, each in enumerate(found):
            # `echo $?` has to see the status of the command before.
            status = self._run("bash", "-c", f"(exit {self._status}); {each.command}")
            following = found[number + 1].command if number + 1 < len(found) else ""
            if following != "echo $?":
                self._compare(block.line, each.command, status)
            shown = "\n".join(each.output)
            assert matches(each.output, self._output), self._explain(block.line, f"$ {each.command}\n{shown}")
        return len(found)

    def _run(self, *arguments: str) -> int:
        done = subprocess.run(
            arguments,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        self._output = [line.rstrip() for line in done.stdout.splitlines()]
        self._status = done.returncode
        return done.returncode

    def _compare(self, line: int, command: str, status: int) -> None:
        if status != 0:
            raise AssertionError(self._explain(line, f"{command}\nended with exit status {status}"))

    def _explain(self, line: int, shown: str) -> str:
        return f"in the block of line {line}:\n{shown}\n\nwhat came instead:\n" + "\n".join(self._output)


def _masked(line: str) -> str:
    """Return a line with nothing left of fingerprints: they differ between classes of platforms."""
    return _FINGERPRINT.sub("#", line.rstrip())
