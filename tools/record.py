"""`xtrace record`: run a scenario and write down every step."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from xtrace.capture.layout import COMPRESSIONS, DURABILITIES, Storage
from xtrace.engine.duration import seconds
from xtrace.tools import interrupts
from xtrace.tools.output import Console, plural
from xtrace.tools.progress import Progress
from xtrace.tools.runs import command, free_folder, named_folder
from xtrace.tools.settings import Settings
from xtrace.tools.wording import failure_json

if TYPE_CHECKING:
    from xtrace.scenarios.record import Recorded
    from xtrace.scenarios.scenario import Scenario

SUMMARY = "run a scenario and write down every step"
EXAMPLE = "xtrace record machine_monitoring -o runs/first --seed 7 --set nodes.edge.config.window=3"

STATUS_STYLES = {"complete": "green", "failed": "red", "interrupted": "yellow"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("scenario", metavar="SCENARIO", help="a scenario file, or the name of one from `xtrace scenarios list`")
    add(
        "-o",
        "--out",
        metavar="DIR",
        help="the folder of the run (default: runs/<scenario>-<seed>, never an existing one)",
    )
    add("--seed", type=int, metavar="N", help="the seed, instead of the scenario's")
    add("--duration", metavar="TIME", help="how long in virtual time, with its unit (250us, 10ms, 60s)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the scenario: nodes.edge.config.window=3",
    )
    add(
        "--durability",
        choices=DURABILITIES,
        metavar="LEVEL",
        default="second",
        help="what survives: `second` (default) all but the last second if xtrace is killed, "
        "`step` every step, also a loss of power",
    )
    add("--compress", choices=COMPRESSIONS, metavar="CODEC", default="zstd", help="zstd (default), lz4 or none")
    add("--sign", metavar="KEY", help="sign the run with this Ed25519 private key, a file")
    add("--dry-run", action="store_true", help="check the scenario and prepare its nodes, start nothing, write nothing")
    add("--force", action="store_true", help="replace the run in DIR")
    add("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Record and return 0, 1 for a failed node, 130 for an interruption."""
    from xtrace.scenarios.loader import load
    from xtrace.scenarios.record import dry_run, record

    scenario = load(
        arguments.scenario,
        overrides=arguments.set,
        seed=settings.choose(arguments.seed, "seed"),
        duration=settings.choose(arguments.duration, "duration"),
    )
    if scenario.step_warning:
        console.say(f"warning: {scenario.step_warning}", style="yellow")
    if arguments.dry_run:
        with redirect_stdout(sys.stderr):
            dry_run(scenario)
        _print_dry_run(scenario, console, as_json=arguments.json)
        return 0
    out = (
        named_folder(arguments.out)
        if arguments.out is not None
        else free_folder(Path(settings.values["runs"]), name=scenario.name, seed=scenario.seed)
    )
    with (
        interrupts.polite() as should_stop,
        closing(Progress(console, scenario.name)) as progress,
        redirect_stdout(sys.stderr),  # what a Python model prints is talk
    ):
        recorded = record(
            scenario,
            out,
            force=arguments.force,
            storage=Storage(
                durability=arguments.durability,
                compression=arguments.compress,
                signing_key=Path(arguments.sign) if arguments.sign else None,
            ),
            should_stop=should_stop,
            on_progress=progress,
        )
    for warning in recorded.warnings:
        if warning != scenario.step_warning:
            console.say(f"warning: {warning}", style="yellow")
    if arguments.json:
        console.json(_as_json(recorded, scenario))
    else:
        _print_summary(recorded, scenario, console)
    if recorded.failure is not None:
        _say_failure(recorded, console)
        return recorded.failure.exit_status
    return interrupts.EXIT_STATUS if recorded.status == "interrupted" else 0


def _as_json(recorded: Recorded, scenario: Scenario) -> dict[str, object]:
    return {
        "run": str(recorded.path),
        "scenario": scenario.name,
        "seed": scenario.seed,
        "status": recorded.status,
        "steps": recorded.steps,
        "events": recorded.events,
        "fingerprint": recorded.fingerprint,
        "failure": failure_json(recorded.failure),
    }


def _print_summary(recorded: Recorded, scenario: Scenario, console: Console) -> None:
    facts = f"{plural(recorded.steps, 'step')}, {plural(recorded.events, 'event')}, seed {scenario.seed}"
    console.data(f"{scenario.name}: {recorded.status}, {facts}", style=STATUS_STYLES.get(recorded.status, ""))
    console.data(f"fingerprint  {recorded.fingerprint}")
    console.data(f"run          {recorded.path}")
    if recorded.failure is None:
        console.say(f"next: {command('replay', recorded.path, '--all')}", style="dim")


def _say_failure(recorded: Recorded, console: Console) -> None:
    failure = recorded.failure
    assert failure is not None
    console.say(f"xtrace: {failure}", style="red")
    log = recorded.path / "logs" / f"{failure.node}.log"
    if log.is_file() and log.stat().st_size:
        console.say(f"  its log: {log}")
    console.say(f"  to replay the failing step alone: {command('replay', recorded.path, '--node', failure.node)}")


def _print_dry_run(scenario: Scenario, console: Console, *, as_json: bool) -> None:
    nodes = [node.id for node in scenario.nodes]
    if as_json:
        facts = {"scenario": scenario.name, "seed": scenario.seed, "duration_us": scenario.duration_us}
        console.json({**facts, "step_us": scenario.step_us, "nodes": nodes})
        return
    times = f"{seconds(scenario.duration_us)} in steps of {seconds(scenario.step_us)}"
    console.data(f"{scenario.name}: ready to record: {plural(len(nodes), 'node')}, {times}, seed {scenario.seed}")
