"""`xtrace query`: SQL over the events of a run."""

from __future__ import annotations

import argparse

from xtrace.engine.errors import InputError
from xtrace.tools.output import Console
from xtrace.tools.runs import open_run
from xtrace.tools.settings import SETTINGS, Settings

SUMMARY = "ask a run in SQL: one view, `events`, whose payload is JSON"
EXAMPLE = """\
xtrace query runs/first "SELECT time_us, payload->>'$.value' FROM events WHERE node = 'edge'"

Columns: seq, step, time_us, kind, node, src, dst, type, late_us, cause, payload, object; `DESCRIBE events` lists them.
Bytes in a payload are {"$bytes": "<base64>"}, NaN is {"$float": "nan"}. The run is read-only, and nothing else can be
reached from a query."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("sql", metavar="SQL", help="one statement that reads, in DuckDB's dialect")
    parser.add_argument(
        "--format",
        choices=SETTINGS["format"].kind.split("|"),
        help="how rows are printed; arrow: an Arrow IPC stream (default: table)",
    )


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Print what the query answers and return 0."""
    chosen = settings.choose(arguments.format, "format")
    if chosen == "arrow" and console.terminal:
        raise InputError("--format arrow", "is not for a terminal; write it to a file with > events.arrows")
    opened = open_run(arguments.run_folder)
    from xtrace.tools.results import WRITERS
    from xtrace.tools.sandbox import Sandbox

    with Sandbox(opened) as sandbox:
        WRITERS[chosen](sandbox.query(arguments.sql), console)
    return 0
