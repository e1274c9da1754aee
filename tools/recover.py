"""`xtrace recover`: make a valid run of what is left of one that was killed or damaged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.engine.errors import InputError
from xtrace.tools.output import Console, plural
from xtrace.tools.runs import command, named_folder
from xtrace.tools.settings import Settings

if TYPE_CHECKING:
    from xtrace.capture.recover import Recovery
    from xtrace.capture.remains import Hole

SUMMARY = "make a valid run of what is left of one that was killed or damaged"
EXAMPLE = "xtrace recover runs/killed -o runs/recovered"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run that was not closed, or is damaged")
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="the folder of the new run")
    parser.add_argument("--json", action="store_true", help="print what was recovered and what is lost as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Recover and return 0, or 2 if something that was recorded is lost."""
    from xtrace.capture.recover import recover

    source, out = Path(arguments.run_folder), named_folder(arguments.out)
    _check_free(out, source)
    recovery = recover(source, out)
    if arguments.json:
        console.json(_as_json(recovery, source))
    else:
        _print(recovery, source, console, shown=arguments.out)
    return 2 if recovery.holes or recovery.lost else 0


def _check_free(out: Path, source: Path) -> None:
    """Raise InputError if something is there already; that `out` lies inside of `source` is told by recover()."""
    taken = any(out.iterdir()) if out.is_dir() else out.exists()
    if taken and not out.absolute().is_relative_to(source.absolute()):
        raise InputError(str(out), "exists already; choose another folder with -o")


def _print(recovery: Recovery, source: Path, console: Console, *, shown: str) -> None:
    facts = f"{plural(recovery.steps, 'step')}, {plural(recovery.rows, 'event')}"
    console.data(f"{source}: {recovery.status}, {facts}", style="yellow" if recovery.holes else "green")
    for hole in recovery.holes:
        console.data(f"hole         {_hole_line(hole)}", style="red")
    for error in recovery.lost:
        console.data(f"lost         {error}", style="red")
    for error in recovery.mended:
        console.data(f"mended       {error}", style="yellow")
    if recovery.torn_bytes:
        console.data(f"torn         {plural(recovery.torn_bytes, 'byte')} of a block that was being written")
    console.data(f"fingerprint  {recovery.fingerprint or 'none: rows are missing'}")
    console.data(f"run          {shown}")
    console.say(f"next: {command('show', shown)}", style="dim")


def _hole_line(hole: Hole) -> str:
    rows = "rows nobody has counted" if hole.rows is None else plural(hole.rows, "row")
    return f"steps {hole.first_step} to {hole.last_step}, {rows}, {plural(hole.bytes, 'byte')}: {hole.reason}"


def _as_json(recovery: Recovery, source: Path) -> dict[str, Any]:
    return {
        "run": str(recovery.path),
        "source": str(source),
        "status": recovery.status,
        "steps": recovery.steps,
        "events": recovery.rows,
        "fingerprint": recovery.fingerprint,
        "holes": [hole._asdict() for hole in recovery.holes],
        "lost": [{"file": str(each.file), "offset": each.offset, "reason": each.reason} for each in recovery.lost],
        "mended": [{"file": str(each.file), "offset": each.offset, "reason": each.reason} for each in recovery.mended],
        "torn_bytes": recovery.torn_bytes,
    }
