"""`xtrace replay`: run one node of a recorded run again, alone, fed from the log."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.engine.errors import InputError, XtraceError
from xtrace.tools.output import Console, plural
from xtrace.tools.runs import check_nodes, check_reached, command, named_folder, open_run, time_range
from xtrace.tools.settings import Settings
from xtrace.tools.wording import divergence_lines, failure_json

if TYPE_CHECKING:
    from xtrace.capture.reader import Run
    from xtrace.replay.isolation import Replayed

SUMMARY = "run one node of a run again, alone, and compare what it does with what it did"
EXAMPLE = "xtrace replay runs/first --node edge --with config.window=3"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("run_folder", metavar="RUN", help="the folder of a run")
    nodes = parser.add_mutually_exclusive_group(required=True)
    nodes.add_argument("--node", action="append", metavar="ID", help="the node to replay; may be given several times")
    nodes.add_argument("--all", action="store_true", help="replay every node, one after the other")
    add("-o", "--out", metavar="DIR", help="write what the node did now into DIR, a run of this node alone")
    add(
        "--with",
        dest="changes",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the node: config.window=3, model=other.py:Class, implementation=…",
    )
    add("--from", dest="from_time", metavar="TIME", help="compare from this virtual time on: 1s, 250ms")
    add("--to", dest="to_time", metavar="TIME", help="stop at this virtual time")
    add("--trust", action="store_true", help="this run comes from elsewhere and may run its code here")
    add("--json", action="store_true", help="print the results as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Replay; return 0 if every node did the same, 1 if one did not, 2 if one could not be replayed."""
    recorded = open_run(arguments.run_folder)
    every = [recorded.manifest["replayed"]] if "replayed" in recorded.manifest else recorded.nodes
    nodes = every if arguments.all else list(dict.fromkeys(arguments.node))
    check_nodes(recorded, nodes)
    if len(nodes) > 1 and arguments.changes:
        raise InputError("--with", "changes one node; name exactly one with --node")
    times = dict(zip(("from_us", "to_us"), time_range(arguments), strict=True))
    check_reached(recorded, times["from_us"])
    _check_trust(recorded, nodes, arguments, console)
    results = {}
    for node in nodes:
        out = _folder_for(node, arguments.out, several=len(nodes) > 1)
        results[node] = _replay(recorded, node, arguments.changes, out=out, **times)
        _warn(results, console)
        if not arguments.json:
            _print(node, results[node], console, several=len(nodes) > 1)
    status = max(map(_status, results.values()))
    if arguments.json:
        console.json(
            {
                "run": str(recorded.path),
                "identical": status == 0,
                "nodes": {node: _as_json(result) for node, result in results.items()},
            }
        )
    elif len(nodes) > 1:
        same = sum(_status(result) == 0 for result in results.values())
        console.data(f"{same} of {plural(len(nodes), 'node')} the same", style="red" if status else "green")
    return status


def _check_trust(run: Run, nodes: list[str], arguments: argparse.Namespace, console: Console) -> None:
    from xtrace.capture.trust import is_trusted, trust

    if arguments.trust:
        try:
            trust(run)
        except OSError as error:
            console.say(f"warning: this run is trusted now, but not the next time: {error}", style="yellow")
    elif not is_trusted(run):
        again = command("replay", run.path, *(["--all"] if arguments.all else [f"--node={each}" for each in nodes]))
        raise InputError(
            str(run.path),
            "this run was not recorded here, and replaying executes code and commands that it contains. "
            f"Look at it with `{command('info', run.path)}`; if you trust where it comes from: {again} --trust",
        )


def _folder_for(node: str, out: str | None, *, several: bool) -> Path | None:
    if out is None:
        return None
    folder = named_folder(out)
    return folder / node if several else folder


def _replay(
    run: Run, node: str, changes: list[str], *, out: Path | None, **times: int | None
) -> Replayed | XtraceError:
    """Replay one node; what stands in its way must not keep the others from being replayed."""
    from xtrace.replay.isolation import replay_node

    try:
        with redirect_stdout(sys.stderr):  # what a Python model prints is talk
            return replay_node(run, node, changes=changes, changes_folder=Path.cwd(), out=out, **times)
    except XtraceError as error:
        return error


def _warn(results: Mapping[str, Replayed | XtraceError], console: Console) -> None:
    """Say the warnings of the last result, unless one before it has them too."""
    *before, last = [() if isinstance(result, XtraceError) else result.warnings for result in results.values()]
    for warning in last:
        if not any(warning in warnings for warnings in before):
            console.say(f"warning: {warning}", style="yellow")


def _status(result: Replayed | XtraceError) -> int:
    if isinstance(result, XtraceError):
        return result.exit_status
    return 0 if result.identical else 1


def _print(node: str, result: Replayed | XtraceError, console: Console, *, several: bool) -> None:
    if isinstance(result, XtraceError):
        text = str(result)
        named = not several or text.startswith(f"node {node!r}")
        console.say(f"xtrace: {text}" if named else f"xtrace: node {node!r}: {text}", style="red")
        return
    counts = ", ".join(
        plural(count, word)
        for count, word in ((result.steps, "step"), (result.inputs, "input"), (result.outputs, "output"))
    )
    if result.identical:
        verdict = "same: failed as recorded" if result.expected_failure else "same"
        console.data(f"{node}: {verdict} ({counts})", style="green")
        if result.expected_failure and result.failure is not None:
            console.data(f"  {result.failure}")
        return
    console.data(f"{node}: diverged ({counts})", style="red")
    lines = [] if result.divergence is None else divergence_lines(result.divergence)
    if result.failure is not None:
        lines.append(str(result.failure))
    for line in lines:
        console.data(f"  {line}")


def _as_json(result: Replayed | XtraceError) -> Mapping[str, Any]:
    if isinstance(result, XtraceError):
        return {"identical": False, "error": str(result)}
    return {
        "identical": result.identical,
        "steps": result.steps,
        "inputs": result.inputs,
        "outputs": result.outputs,
        "divergence": None if result.divergence is None else result.divergence.to_json(),
        "failure": failure_json(result.failure),
        "expected_failure": result.expected_failure,
    }
