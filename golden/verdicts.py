"""Who is to blame: a verdict for every node, from the steps in which its inputs and its outputs depart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xtrace.engine.recorder import NETWORK
from xtrace.golden.alignment import Alignment, Departures, NetworkDeparture
from xtrace.golden.trace import Trace, ends_alike, last_step

FOREVER = 2**63 - 1


class Horizon(NamedTuple):
    """The last steps of which both traces have all inputs and all outputs: nothing later can be held against a node."""

    inputs_end: int
    outputs_end: int


def horizon(a: Trace, b: Trace, alignment: Alignment, *, whole_before: int) -> Horizon:
    """Return how far verdicts reach; `whole_before` is the last step before the rows that were aligned.

    Two complete runs of equal length are compared to their ends, whatever is or is not there.
    """
    if a.status == b.status == "complete" and ends_alike(a, b):
        return Horizon(FOREVER, FOREVER)
    inputs_ends, outputs_ends = [], []
    for side, trace in (("A", a), ("B", b)):
        whole = alignment.last_whole_step(side)
        whole = whole_before if whole is None else whole
        outputs_ends.append(whole)
        inputs_ends.append(last_step(trace) if trace.status in ("failed", "interrupted") else whole)
    return Horizon(min(inputs_ends), min(outputs_ends))


def verdicts(
    a: Sequence[str], b: Sequence[str], departures: Mapping[str, Departures], network: NetworkDeparture
) -> dict[str, str]:
    """Return id -> verdict for the nodes `a` of A and `b` of B, sorted by id."""
    found = {}
    for node in sorted({*a, *b}):
        if node not in b:
            found[node] = "missing"
        elif node not in a:
            found[node] = "extra"
        elif node == NETWORK:
            found[node] = _of_network(network, departures.get(node, Departures()))
        else:
            found[node] = _of_node(departures.get(node, Departures()))
    return found


def _of_node(departures: Departures) -> str:
    steps = [step for step in (departures.output, departures.abort) if step is not None]
    if not steps:
        return "same"
    return "root" if departures.input is None or departures.input > min(steps) else "propagated"


def _of_network(network: NetworkDeparture, departures: Departures) -> str:
    if network.changed_step is None and departures.abort is None:
        return "same"
    failed_by_itself = departures.abort is not None and (
        network.given_step is None or network.given_step > departures.abort
    )
    return "root" if network.is_root or failed_by_itself else "propagated"
