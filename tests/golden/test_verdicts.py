"""Who is to blame: a fault is planted in one part of a system, and the rest follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.golden import mutations, synthetic
from tests.golden.fake_run import FakeRun

from xtrace.engine.recorder import NETWORK
from xtrace.golden.compare import compare

CULPRITS = [(seed, node) for seed in range(8) for node in ("n0", "n3", NETWORK)]


def recorded(system, **options):
    rows = synthetic.trace(system)
    return FakeRun(rows, nodes=system.links, cuts=range(40, len(rows), 40), **options)


@pytest.mark.parametrize(("seed", "culprit"), CULPRITS)
def test_the_one_part_that_changed_is_the_root(seed, culprit):
    """Whatever else departs is propagated, through loops too, and what does not depart is the same."""
    system = synthetic.random_system(seed)
    a, b = recorded(system), recorded(replace(system, faults={culprit: 4}))
    found = compare(a, b)
    assert [culprit] == [node for node, verdict in found.nodes.items() if verdict == "root"]
    swapped = compare(b, a)
    assert found.nodes == swapped.nodes
    for node in system.links:
        if found.nodes[node] == "same":
            assert rows_of(a, node) == rows_of(b, node)


def rows_of(run, node):
    """The outputs of a node, as they were recorded."""
    rows = [row for block in run.blocks for row in run.read_block(block.block).to_pylist()]
    return [{**row, "seq": 0, "cause": []} for row in rows if (row["kind"], row["node"]) == ("output", node)]


def test_two_parts_that_change_at_once_are_both_roots():
    """n0 and n1 send to a third; both depart in the same step, neither heard of the other."""
    system = synthetic.System({"n0": ["n2"], "n1": ["n2"], "n2": []})
    found = compare(recorded(system), recorded(replace(system, faults={"n0": 4, "n1": 4})))
    assert {"n0": "root", "n1": "root", "n2": "propagated"}.items() <= found.nodes.items()


def test_a_node_that_absorbs_a_difference_is_the_same():
    """n1 gets other inputs but says nothing at all: its own outputs are equal."""
    system = synthetic.System({"n0": ["n1"], "n1": []})
    a, b = (
        [row for row in synthetic.trace(each) if (row.row.kind, row.row.node) != ("output", "n1")]
        for each in (system, replace(system, faults={"n0": 4}))
    )
    found = compare(*(FakeRun(mutations.renumbered(rows), nodes=system.links) for rows in (a, b)))
    assert found.nodes == {"n0": "root", "n1": "same", "network": "propagated"}


def test_a_node_that_says_the_same_in_another_order_is_the_root():
    """Two outputs at one time change places; nothing is missing and nothing is new."""
    system = synthetic.random_system(2)
    rows = synthetic.trace(system)
    found = [index for index, each in enumerate(rows[:-1]) if at_one_time(each.row, rows[index + 1].row)]
    one, other = rows[found[0]], rows[found[0] + 1]
    swapped = [*rows[: found[0]], other._replace(seq=one.seq), one._replace(seq=other.seq), *rows[found[0] + 2 :]]
    result = compare(*(FakeRun(each, nodes=system.links) for each in (rows, swapped)))
    assert {("order", one.row.node)} == {(count.kind, count.node) for count in result.counts}
    assert sum(count.events for count in result.counts) == 2
    assert result.nodes[one.row.node] == "root"
    assert result.first_divergence.kind == "order"


def at_one_time(one, other):
    same = (one.step, one.time_us, one.kind, one.node) == (other.step, other.time_us, other.kind, other.node)
    return same and one.kind == "output" and one != other


def test_a_node_that_only_one_run_has():
    system = synthetic.random_system(2)
    larger = replace(system, links={**system.links, "watcher": ["n0"]})
    found = compare(recorded(system), recorded(larger))
    assert found.nodes["watcher"] == "extra"
    assert "root" not in found.nodes.values()
    back = compare(recorded(larger), recorded(system))
    assert back.nodes["watcher"] == "missing"


def test_an_added_node_that_says_nothing_leaves_the_runs_identical():
    system = synthetic.random_system(2)
    rows = synthetic.trace(system)
    found = compare(FakeRun(rows, nodes=system.links), FakeRun(rows, nodes=[*system.links, "idle"]))
    assert found.identical
    assert {"extra"} == {found.nodes["idle"]}


@pytest.mark.parametrize("ended", range(1, 12))
def test_a_run_that_was_interrupted_lacks_the_rest_and_nobody_is_to_blame(ended):
    system = synthetic.random_system(5)
    a = recorded(system)
    b = recorded(replace(system, ends_early=ended), status="interrupted")
    found = compare(a, b)
    assert not found.identical
    assert found.first_divergence is not None
    assert (ended + 1, "missing", None) == (
        found.first_divergence.step,
        found.first_divergence.kind,
        found.first_divergence.actual,
    )
    assert {"same"} == set(found.nodes.values())
    assert any("status differs: complete up to step 13 / interrupted" in note for note in found.notes)
    assert compare(b, a).first_divergence.kind == "extra"


def test_a_shorter_run_is_a_prefix_of_a_longer_one():
    """Its undelivered messages were dropped by its end, which is no act of the network."""
    system = synthetic.random_system(5)
    a = recorded(system, manifest={"duration_us": 12_000, "scenario": {"duration": "12ms"}})
    b = recorded(replace(system, steps=8), manifest={"duration_us": 8_000, "scenario": {"duration": "8ms"}})
    found = compare(a, b)
    assert (found.first_divergence.step, found.first_divergence.kind) == (9, "missing")
    assert {"same"} == set(found.nodes.values())
    assert found.notes == ("duration differs: 12ms / 8ms",)
    assert {"missing"} == {count.kind for count in found.counts}


def test_the_end_of_a_shorter_run_is_not_the_first_divergence():
    """The longer run is idle in the step after that end: what it lacks comes later."""
    system = synthetic.random_system(5)
    longer = synthetic.trace(system)
    a = FakeRun(
        mutations.renumbered([each for each in longer if each.row.step != 9]),
        nodes=system.links,
        manifest={"duration_us": 12_000},
    )
    b = recorded(replace(system, steps=8), manifest={"duration_us": 8_000})
    for found, kind in ((compare(a, b), "missing"), (compare(b, a), "extra")):
        assert (10, kind) == (found.first_divergence.step, found.first_divergence.kind)


def test_a_fault_before_the_end_of_an_interrupted_run_is_still_found():
    system = synthetic.random_system(5)
    b = recorded(replace(system, ends_early=9, faults={"n1": 4}), status="interrupted")
    found = compare(recorded(system), b)
    assert [node for node, verdict in found.nodes.items() if verdict == "root"] == ["n1"]
    assert found.first_divergence.step == 4


def test_the_node_that_failed_is_the_root_and_the_others_are_the_same():
    """Their outputs of the failing step were discarded because of it."""
    system = synthetic.random_system(5)
    b = recorded(replace(system, fails=("n3", 7)), status="failed")
    found = compare(recorded(system), b)
    first = found.first_divergence
    assert (first.step, first.node, first.kind, first.row_kind, first.expected) == (7, "n3", "extra", "abort", None)
    assert first.actual["payload"] == {"error": "NodeCrashed", "reason": "it fell over"}
    assert {**dict.fromkeys(found.nodes, "same"), "n3": "root"} == found.nodes
    assert compare(b, recorded(system)).first_divergence.kind == "missing"


def test_a_node_that_fails_of_its_inputs_is_not_to_blame():
    system = synthetic.System({"n0": ["n1"], "n1": ["n0"]}, loss=0.0)
    b = recorded(replace(system, faults={"n0": 3}, fails=("n1", 9)), status="failed")
    found = compare(recorded(system), b)
    assert found.nodes == {"n0": "root", "n1": "propagated", "network": "propagated"}


def test_two_runs_that_fail_alike_are_identical():
    system = replace(synthetic.random_system(5), fails=("n3", 7))
    assert compare(recorded(system, status="failed"), recorded(system, status="failed")).identical


def test_two_runs_in_which_another_node_fails():
    system = synthetic.random_system(5)
    a, b = (recorded(replace(system, fails=(node, 7)), status="failed") for node in ("n3", "n1"))
    found = compare(a, b)
    first = found.first_divergence
    assert (first.kind, first.field, first.expected, first.actual) == ("value", "node", "n3", "n1")
    assert "root" == found.nodes["n3"] == found.nodes["n1"]


def test_the_network_that_fails_is_the_root():
    system = synthetic.random_system(5)
    rows = synthetic.trace(system)
    end = next(index for index, row in enumerate(rows) if row.row.step == 7 and row.row.kind in ("drop", "step"))
    abort = rows[end].row._replace(time_us=6_000, kind="abort", node=NETWORK, src="", dst="", type="", payload=b"\x80")
    failed = [*rows[:end], rows[end]._replace(row=abort, cause=())]
    found = compare(recorded(system), FakeRun(failed, nodes=system.links, status="failed"))
    assert (found.first_divergence.row_kind, found.first_divergence.node) == ("abort", NETWORK)
    assert {**dict.fromkeys(found.nodes, "same"), NETWORK: "root"} == found.nodes
