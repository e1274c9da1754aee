"""`xtrace diff`: are two runs the same, and if not, where first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xtrace.tools.output import Console, aligned, escape, plural, shorten
from xtrace.tools.runs import check_reached, command, open_run, time_range
from xtrace.tools.settings import Settings
from xtrace.tools.wording import divergence_lines

if TYPE_CHECKING:
    from xtrace.golden.divergence import Comparison

SUMMARY = "say whether two runs are the same and, if not, where they part first"
EXAMPLE = "xtrace diff runs/first runs/second --node edge"

SHOWN_NOTES = 5
SHOWN_NODES = 8
SHOWN_COUNTS = 8
NOTE_CHARACTERS_MAX = 200
VERDICT_STYLES = {"root": "red", "same": "green"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("a", metavar="A", help="the expected run")
    add("b", metavar="B", help="the actual run")
    add("--node", action="append", metavar="ID", help="compare only this node; may be given several times")
    add("--from", dest="from_time", metavar="TIME", help="compare only from this virtual time on: 1s, 250ms")
    add("--to", dest="to_time", metavar="TIME", help="compare only up to this virtual time")
    add("--json", action="store_true", help="print the comparison as JSON, with all counts")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Compare; return 0 for the same, 1 for different."""
    from_us, to_us = time_range(arguments)
    a, b = open_run(arguments.a), open_run(arguments.b)
    for each in (a, b):
        check_reached(each, from_us)
    from xtrace.golden.compare import compare
    from xtrace.golden.trace import ends_alike

    comparison = compare(a, b, nodes=arguments.node, from_us=from_us, to_us=to_us)
    if arguments.json:
        console.json({"a": str(a.path), "b": str(b.path), **as_json(comparison)})
    elif comparison.identical:
        _print_notes(comparison, console)
        what = f"node {', '.join(arguments.node)}: same" if arguments.node else "identical"
        part = from_us is not None or to_us is not None
        counts = "" if part else f"{plural(a.steps, 'step')}, {plural(a.events, 'event')}; "
        where = " in this part of the runs" if part else ""
        console.data(f"{what}{where} ({counts}{_verified(comparison)})", style="green")
        if not (arguments.node or part):
            console.data(f"fingerprint  {a.fingerprint}")
    else:
        with_holes = list(dict.fromkeys(str(each.path) for each in (a, b) if each.holes))
        _print_difference(comparison, console, one_ended_early=not ends_alike(a, b), with_holes=with_holes)
        first = comparison.first_divergence
        if first is not None and first.node:
            console.say(
                f"next: {command('show', arguments.b, '--node', first.node, '--step', first.step)}", style="dim"
            )
    return 0 if comparison.identical else 1


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison with the keys that `diff --json` promises."""
    first = comparison.first_divergence
    return {
        "identical": comparison.identical,
        "first_divergence": None if first is None else first.to_json(),
        "nodes": comparison.nodes,
        "counts": comparison.to_json()["counts"],
        "notes": list(comparison.notes),
        "verified": comparison.verified,
    }


def _print_difference(
    comparison: Comparison, console: Console, *, one_ended_early: bool = False, with_holes: Sequence[str] = ()
) -> None:
    _print_notes(comparison, console)
    console.data("different", style="red")
    first = comparison.first_divergence
    if with_holes and first is not None and first.field == "fingerprint" and not first.node:
        where = " and ".join(escape(each) for each in with_holes)
        console.data(f"rows are missing in {where} (recovered run), so the runs can't be called identical")
    elif first is not None:
        console.data("first divergence")
        for line in divergence_lines(first):
            console.data(f"  {line}")
    _print_verdicts(comparison, console, one_ended_early=one_ended_early)
    _print_counts(comparison, console)
    console.data(_verified(comparison))


def _print_notes(comparison: Comparison, console: Console) -> None:
    for note in comparison.notes[:SHOWN_NOTES]:
        console.data(f"note: {shorten(escape(note), NOTE_CHARACTERS_MAX)}")
    _say_rest(len(comparison.notes) - SHOWN_NOTES, "note", console)


def _print_verdicts(comparison: Comparison, console: Console, *, one_ended_early: bool) -> None:
    from xtrace.golden.divergence import VERDICTS

    console.data("nodes, as far as both runs go" if one_ended_early else "nodes")
    for verdict in VERDICTS:
        nodes = [escape(node) for node, each in sorted(comparison.nodes.items()) if each == verdict]
        if not nodes:
            continue
        rest = len(nodes) - SHOWN_NODES
        more = f" and {rest} more" if rest > 0 else ""
        console.data(f"  {verdict:<10}  {', '.join(nodes[:SHOWN_NODES])}{more}", style=VERDICT_STYLES.get(verdict, ""))


def _print_counts(comparison: Comparison, console: Console) -> None:
    counts = sorted(comparison.counts, key=lambda each: (-each.events, each.node, each.row_kind, each.type, each.kind))
    if not counts:
        return
    console.data("differences")
    rows = [
        (f"  {each.events:,}", each.kind, *(escape(word) or "-" for word in (each.node, each.row_kind, each.type)))
        for each in counts[:SHOWN_COUNTS]
    ]
    for line in aligned([("  events", "kind", "node", "row", "type"), *rows], right=[0]):
        console.data(line)
    _say_rest(len(counts) - SHOWN_COUNTS, "count", console)


def _say_rest(rest: int, word: str, console: Console) -> None:
    if rest > 0:
        console.data(f"  … and {plural(rest, word)} more: --json has them all")


def _verified(comparison: Comparison) -> str:
    if comparison.verified == "full":
        return "verified: every byte of both event logs"
    return f"verified: {comparison.verified} (blocks that were not compared were not read)"
