"""`xtrace info`: what a run is, from its manifest and indexes alone."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from xtrace.engine.duration import seconds
from xtrace.engine.recorder import NETWORK
from xtrace.tools.output import Console, aligned, escape, plural, shorten
from xtrace.tools.runs import open_run
from xtrace.tools.settings import Settings

if TYPE_CHECKING:
    from xtrace.capture.reader import Run

SUMMARY = "say what a run is, reading its manifest and indexes only"
EXAMPLE = "xtrace info runs/first --json"

VALUE_CHARACTERS_MAX = 200


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Print it and return 0."""
    opened = open_run(arguments.run_folder)
    facts = describe(opened)
    if arguments.json:
        console.json(facts)
    else:
        _print(facts, console)
    return 0


def describe(run: Run) -> dict[str, Any]:
    """Return the facts about a run as JSON values."""
    manifest = run.manifest
    scenario = _mapping(manifest.get("scenario"))
    kinds = {str(node.get("id")): node for node in scenario.get("nodes") or () if isinstance(node, dict)}
    kinds[NETWORK] = {"type": NETWORK, "implementation": _mapping(scenario.get("network")).get("model")}
    return {
        "run": str(run.path),
        "scenario": scenario.get("scenario"),
        "description": scenario.get("description"),
        "status": run.status,
        "failure": manifest.get("failure"),
        "seed": run.seed,
        "duration": scenario.get("duration"),
        "last_event_us": run.blocks[-1].max_time_us if run.blocks else 0,
        "steps": run.steps,
        "events": run.events,
        "blocks": len(run.blocks),
        "bytes": sum(record.length for record in run.blocks),
        "fingerprint": run.fingerprint,
        "holes": run.holes,
        "format": manifest.get("format"),
        "self_contained": manifest.get("self_contained"),
        "programs": manifest.get("programs") or {},
        "platform": manifest.get("platform"),
        "versions": manifest.get("versions"),
        "nodes": run.nodes,
        "node_details": {
            node: {
                "type": kinds.get(node, {}).get("type"),
                "implementation": kinds.get(node, {}).get("implementation"),
                "artefacts": sorted(_mapping(_mapping(manifest.get("artefacts")).get(node))),
            }
            for node in run.nodes
        },
    }


def _print(facts: dict[str, Any], console: Console) -> None:
    rows = [
        ("run", facts["run"]),
        ("scenario", facts["scenario"]),
        ("description", facts["description"]),
        ("status", facts["status"]),
        ("failure", _failure_line(facts["failure"])),
        ("seed", facts["seed"]),
        ("duration", facts["duration"]),
        ("last event", seconds(facts["last_event_us"])),
        ("steps", f"{facts['steps']:,}"),
        ("events", f"{facts['events']:,} in {plural(facts['blocks'], 'block')}, {facts['bytes']:,} bytes"),
        ("fingerprint", facts["fingerprint"] or "none: rows are missing"),
        ("holes", _holes_line(facts["holes"])),
        ("self-contained", {True: "yes", False: "no"}.get(facts["self_contained"])),
        ("programs", _line(facts["programs"] or None)),
        ("platform", _line(facts["platform"])),
        ("versions", _line(facts["versions"])),
    ]
    shown = [
        (name, shorten(escape(str(value)), VALUE_CHARACTERS_MAX)) for name, value in rows if value not in (None, "")
    ]
    for line in aligned(shown):
        console.data(line)
    console.data("nodes")
    details = facts["node_details"]
    table = [
        (f"  {escape(node)}", *(escape(str(details[node][key] or "-")) for key in ("type", "implementation")))
        for node in facts["nodes"]
    ]
    for line in aligned(table):
        console.data(line)


def _holes_line(holes: list[dict[str, Any]]) -> str | None:
    return "; ".join(f"steps {each['first_step']} to {each['last_step']}" for each in holes) or None


def _failure_line(failure: Any) -> str | None:
    """Return `NodeCrashed: node 'edge', step 11, virtual time 0.010000s: why`, with as much of it as is known."""
    if not isinstance(failure, dict):
        return None if failure is None else str(failure)
    node, step, time_us = (failure.get(key) for key in ("node", "step", "time_us"))
    place = [
        *([f"node {node!r}"] if node else []),
        *([f"step {step}"] if isinstance(step, int) else []),
        *([f"virtual time {seconds(time_us)}"] if isinstance(time_us, int) else []),
    ]
    return ": ".join(str(each) for each in (failure.get("error"), ", ".join(place), failure.get("reason")) if each)


def _line(value: Any) -> str | None:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_line(member)}" for key, member in sorted(value.items()))
    if isinstance(value, list):
        return " ".join(map(str, value))
    return None if value is None else str(value)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
