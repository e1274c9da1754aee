"""Are two runs the same, and if not: where first, whose fault, and how much."""

from __future__ import annotations

from collections.abc import Sequence

from xtrace.engine.errors import InputError
from xtrace.engine.recorder import NETWORK, Row
from xtrace.golden.alignment import UNDELIVERED, Alignment
from xtrace.golden.divergence import FULL, PARTIAL, Comparison, Count, Divergence
from xtrace.golden.notes import notes
from xtrace.golden.search import Boundary, first_divergence, last_common_boundary
from xtrace.golden.trace import BlockReader, Trace, ends_alike, last_step
from xtrace.golden.verdicts import horizon, verdicts
from xtrace.golden.window import Window


def compare(
    a: Trace,
    b: Trace,
    *,
    nodes: Sequence[str] | None = None,
    from_us: int | None = None,
    to_us: int | None = None,
) -> Comparison:
    """Compare run `b` with run `a`, the expected one; with `nodes`, only what these nodes received and emitted.

    With `from_us` or `to_us`, only the steps that begin within these virtual times: verdicts look no further back.

    Runs with equal fingerprints are identical once every byte of both event logs is verified; nothing is decoded.
    Of others, the blocks from the last common boundary on are. Raises CorruptionError for a block that is not what was
    written, InputError for a node that neither run has.
    """
    selected = _selected(a, b, nodes)
    part = nodes is not None or from_us is not None or to_us is not None
    if from_us is not None or to_us is not None:
        a, b = (Window(each, from_us=from_us, to_us=to_us) for each in (a, b))
    elif _same_content(a, b) or (nodes is not None and all(_node_is_equal(a, b, node) for node in selected)):
        return _identical(a, b, selected)
    start = last_common_boundary(a.blocks, b.blocks)
    readers = BlockReader(a), BlockReader(b)
    # What is under way at the end of a run is dropped there; where the other run goes on, that is no act of the system.
    alike = ends_alike(a, b)
    divergence = None if alike else first_divergence(*readers, start, nodes=nodes, ignored=_is_closing)
    if divergence is None:
        divergence = first_divergence(*readers, start, nodes=nodes)
    if divergence is None and part:
        return _identical(a, b, selected, readers)
    found, counts = _full_picture(*readers, start, nodes=nodes, alike=alike)
    return Comparison(
        identical=False,
        first_divergence=divergence or _outcome_divergence(a, b),
        nodes={node: found[node] for node in selected},
        counts=counts,
        verified=FULL if (start.block_a, start.block_b) == (0, 0) and not isinstance(a, Window) else PARTIAL,
        notes=notes(a, b),
        decoded_blocks=_decoded(readers),
    )


def _full_picture(
    a: BlockReader, b: BlockReader, start: Boundary, *, nodes: Sequence[str] | None, alike: bool
) -> tuple[dict[str, str], tuple[Count, ...]]:
    """Return the verdicts and the counts of differences; those of other nodes than `nodes` mean nothing."""
    whole_before = a.trace.blocks[start.block_a - 1].last_step if start.block_a else 0
    # The network can't be judged without what it was given, the outputs of all nodes.
    loaded = None if nodes is not None and NETWORK in nodes else nodes
    with Alignment() as alignment:
        alignment.load(a, b, start, nodes=loaded)
        if not alike:
            alignment.leave_closing_steps()
        reach = horizon(a.trace, b.trace, alignment, whole_before=whole_before)
        departures = alignment.departures(inputs_end=reach.inputs_end, outputs_end=reach.outputs_end)
        network = alignment.network(inputs_end=reach.inputs_end, outputs_end=reach.outputs_end)
        counts = alignment.counts()
    if loaded != nodes:
        counts = tuple(each for each in counts if each.node in (nodes or ()) or each.row_kind == "input")
    return verdicts(a.trace.nodes, b.trace.nodes, departures, network), counts


def _identical(
    a: Trace, b: Trace, selected: Sequence[str], readers: tuple[BlockReader, BlockReader] | None = None
) -> Comparison:
    """Return "no difference", after every byte of both event logs was verified."""
    a.verify_raw()
    b.verify_raw()
    return Comparison(
        identical=True,
        first_divergence=None,
        nodes={
            node: "missing" if node not in b.nodes else "extra" if node not in a.nodes else "same" for node in selected
        },
        counts=(),
        verified=PARTIAL if isinstance(a, Window) else FULL,
        notes=notes(a, b),
        decoded_blocks=_decoded(readers) if readers else (0, 0),
    )


def _same_content(a: Trace, b: Trace) -> bool:
    """Return whether two runs hold the same rows and ended the same way. A run that lost rows has no fingerprint."""
    return bool(a.fingerprint) and a.fingerprint == b.fingerprint and a.status == b.status


def _node_is_equal(a: Trace, b: Trace, node: str) -> bool:
    """Return whether the digests of all that a node received and emitted are equal; they don't cover its failure."""
    if not a.status == b.status == "complete":
        return False
    ends = [next((each for each in reversed(run.node_records) if each.node == node), None) for run in (a, b)]
    if ends[0] is None or ends[1] is None:
        return ends[0] is ends[1]
    return ends[0].outputs == ends[1].outputs and (node == NETWORK or ends[0].inputs == ends[1].inputs)


def _outcome_divergence(a: Trace, b: Trace) -> Divergence:
    """Return the divergence of two runs whose rows are equal and which are not the same for all that."""
    field = "status" if a.status != b.status else "fingerprint"
    return Divergence(
        step=last_step(a),
        time_us=a.blocks[-1].max_time_us if a.blocks else 0,
        node="",
        kind="value",
        type="",
        field=field,
        expected=getattr(a, field),
        actual=getattr(b, field),
        row_kind="",
    )


def _selected(a: Trace, b: Trace, nodes: Sequence[str] | None) -> list[str]:
    known = sorted({*a.nodes, *b.nodes})
    unknown = [node for node in nodes or () if node not in known]
    if unknown:
        raise InputError("nodes", [f"neither run has a node {node!r}; known: {', '.join(known)}" for node in unknown])
    return known if nodes is None else sorted({*nodes})


def _is_closing(rows: list[Row]) -> bool:
    """Return whether these are the rows of the step in which the end of a run drops what is under way."""
    return any(row.kind == "drop" and row.payload.endswith(UNDELIVERED) for row in rows)


def _decoded(readers: tuple[BlockReader, BlockReader]) -> tuple[int, int]:
    return len(readers[0].decoded), len(readers[1].decoded)
