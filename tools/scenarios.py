"""`xtrace scenarios`: the library, a check of scenario files, and the JSON Schema for editors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xtrace.engine.duration import seconds
from xtrace.engine.errors import InputError, XtraceError
from xtrace.tools.output import Console, aligned, escape, plural
from xtrace.tools.settings import Settings

SUMMARY = "list the library, check scenario files, print their JSON Schema"
EXAMPLE = "xtrace scenarios validate my.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser("list", help="the scenarios that come with xtrace", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="print it as JSON")
    validate = actions.add_parser("validate", help="report all mistakes of scenario files", allow_abbrev=False)
    validate.add_argument("files", nargs="+", metavar="FILE", help="a scenario file, or a name from the library")
    validate.add_argument("--json", action="store_true", help="print the mistakes as JSON")
    actions.add_parser("schema", help="the JSON Schema of scenario files, for editors", allow_abbrev=False)


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Do it; return 0, or 2 if a file has a mistake."""
    if arguments.action == "schema":
        from xtrace.scenarios.schema import json_schema

        console.json(json_schema())
        return 0
    if arguments.action == "list":
        return _list(console, as_json=arguments.json)
    return _validate(arguments.files, console, as_json=arguments.json)


def _list(console: Console, *, as_json: bool) -> int:
    from xtrace.scenarios.loader import library

    found = [_entry(name, path) for name, path in library()]
    if as_json:
        console.json(found)
        return 0
    for entry in found:
        console.data(entry["name"], style="bold")
        about = [(f"  {key}", escape(str(value))) for key, value in entry.items() if key != "name" and value]
        for line in aligned(about):
            console.data(line)
    return 0


def _entry(name: str, path: Path) -> dict[str, Any]:
    """Return what the library's listing says of a scenario; one that can't be loaded here says why."""
    from xtrace.scenarios.loader import load

    try:
        scenario = load(path)
    except XtraceError as error:
        return {"name": name, "file": str(path), "problem": str(error)}
    estimate_us = scenario.runtime_estimate_us
    return {
        "name": name,
        "description": scenario.description,
        "expected": scenario.expected,
        "duration": seconds(scenario.duration_us),
        "takes": None if estimate_us is None else f"about {estimate_us / 1e6:g} s",
        "nodes": ", ".join(node.id for node in scenario.nodes),
        "requires": ", ".join(scenario.requires),
        "file": str(path),
    }


def _validate(files: list[str], console: Console, *, as_json: bool) -> int:
    problems = {file: _mistakes(file) for file in files}
    bad = {file: found for file, found in problems.items() if found}
    if as_json:
        console.json([{"file": file, "valid": not found, "problems": found} for file, found in problems.items()])
    for file, found in problems.items():
        if not as_json and not found:
            console.data(f"{file}: valid", style="green")
        elif not as_json:
            console.data(f"{file}: {plural(len(found), 'mistake')}", style="red")
            for each in found:
                console.data(f"  {each}")
    return 2 if bad else 0


def _mistakes(file: str) -> list[str]:
    from xtrace.scenarios.loader import load

    try:
        load(file)
    except InputError as error:
        return _placed(error, file)
    except XtraceError as error:
        return [str(error)]
    return []


def _placed(error: InputError, file: str) -> list[str]:
    """Return the problems of an error, behind their place where it is more than the name of the file."""
    if error.where in (file, str(Path(file))):
        return error.problems
    return [f"{error.where}: {problem}" for problem in error.problems]
