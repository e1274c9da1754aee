"""`xtrace export`: the rows of a run in a file that other programs read."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xtrace.engine.errors import InputError
from xtrace.tools import export_mcap, export_parquet, export_text
from xtrace.tools.export_files import Format, replacing
from xtrace.tools.output import Console, plural
from xtrace.tools.runs import check_nodes, named_folder, open_run, time_range
from xtrace.tools.settings import Settings
from xtrace.tools.show import Wanted

if TYPE_CHECKING:
    from xtrace.capture.reader import Run

SUMMARY = "write the events of a run as Parquet, JSON Lines, CSV or MCAP"
EXAMPLE = "xtrace export runs/first --format mcap -o first.mcap"

FORMATS: Mapping[str, Format] = {
    "parquet": export_parquet.FORMAT,
    "jsonl": export_text.JSONL,
    "csv": export_text.CSV,
    "mcap": export_mcap.FORMAT,
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("run_folder", metavar="RUN", help="the folder of a run")
    add(
        "--format",
        choices=tuple(FORMATS),
        help="parquet: a partition of the data set in folder OUT; else a file (default: by the ending of OUT)",
    )
    add("-o", "--out", required=True, metavar="OUT", help="the file, or for parquet the folder of many runs")
    add("--node", action="append", metavar="ID", help="only rows of this node; may be given several times")
    add("--from", dest="from_time", metavar="TIME", help="from this virtual time on, with its unit: 1s, 250ms")
    add("--to", dest="to_time", metavar="TIME", help="up to this virtual time and without it")
    add("--force", action="store_true", help="replace what an earlier export wrote there")
    add("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Export and return 0."""
    out = named_folder(arguments.out)
    name = arguments.format or _by_ending(arguments.out)
    from_us, to_us = time_range(arguments)
    opened = open_run(arguments.run_folder)
    check_nodes(opened, arguments.node or ())
    wanted = Wanted(
        nodes=tuple(arguments.node) if arguments.node else None,
        kinds=None,
        types=None,
        from_us=from_us,
        to_us=to_us,
        first_step=None,
        last_step=None,
    )
    path = FORMATS[name].place(opened, out)
    _check_place(opened, path)
    with replacing(path, FORMATS[name], force=arguments.force) as file:
        rows = FORMATS[name].write(opened, wanted, file)
        size = file.tell()
    if arguments.json:
        facts = {"run": str(opened.path), "format": name, "file": str(path), "events": rows, "bytes": size}
        console.json(facts)
    else:
        console.data(f"{path}: {plural(rows, 'event')}, {plural(size, 'byte')}")
    return 0


def _by_ending(out: str) -> str:
    ending = Path(out).suffix.removeprefix(".")
    if ending not in FORMATS:
        raise InputError("--format", f"is needed: {out!r} does not end in {', '.join(f'.{each}' for each in FORMATS)}")
    return ending


def _check_place(run: Run, path: Path) -> None:
    """A file inside of a run would be a stranger there, and a `--force` could replace a part of it."""
    if path.absolute().is_relative_to(run.path.absolute()):
        raise InputError(str(path), f"lies inside of the run {run.path}; choose another place with -o")
