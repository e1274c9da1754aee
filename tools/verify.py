"""`xtrace verify`: is every byte of a run what was written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.tools.output import Console, plural
from xtrace.tools.runs import MANIFEST, open_run
from xtrace.tools.settings import Settings

if TYPE_CHECKING:
    from xtrace.capture.verify import Problem

SUMMARY = "check that every byte of a run is what was written"
EXAMPLE = "xtrace verify runs/first"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Print every problem; return 0 if there is none in the files of the run, else 2."""
    from xtrace.capture.verify import verify

    folder = Path(arguments.run_folder)
    if not (folder / MANIFEST).is_file() and not (folder / "SEAL").is_file():
        open_run(arguments.run_folder)
    found = verify(folder)
    problems = [each for each in found if not each.foreign]
    if arguments.json:
        console.json({"run": str(folder), "intact": not problems, "problems": [_as_json(each) for each in found]})
        return 2 if problems else 0
    for each in found:
        console.data(_line(each), style="red" if each.fatal else "yellow")
    if problems:
        console.data(f"{folder}: {plural(len(problems), 'problem')}")
    else:
        console.data(f"{folder}: {_intact(strangers=len(found))}", style="green")
    return 2 if problems else 0


def _intact(*, strangers: int) -> str:
    if not strangers:
        return "intact, every byte is what was written"
    return f"intact; {plural(strangers, 'file')} {'is' if strangers == 1 else 'are'} not part of the run"


def _as_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": str(problem.file),
        "block": problem.block,
        "offset": problem.offset,
        "length": problem.length,
        "reason": problem.reason,
        "fatal": problem.fatal,
        "foreign": problem.foreign,
    }


def _line(problem: Problem) -> str:
    block = "" if problem.block is None else f" block {problem.block},"
    length = "" if problem.length is None else f" (+{problem.length} bytes)"
    kind = "" if problem.fatal else " (no result depends on it)"
    return f"{problem.file}:{block} offset {problem.offset}{length}: {problem.reason}{kind}"
