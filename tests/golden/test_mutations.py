"""A trace is changed in one place: the comparison names that place and the kind of change, wherever blocks are cut."""

from __future__ import annotations

import random

import pytest
from tests.golden import mutations, synthetic
from tests.golden.fake_run import FakeRun

from xtrace.golden.compare import compare
from xtrace.golden.divergence import Divergence
from xtrace.golden.search import first_divergence, last_common_boundary
from xtrace.golden.trace import BlockReader

SYSTEMS = 25
PER_SYSTEM_AND_MUTATION = 4


def runs_of(system, *all_rows, rng):
    """Return a run for each of `all_rows`, cut into blocks at random."""
    return [FakeRun(rows, nodes=system.links, cuts=rng.sample(range(1, len(rows)), k=8)) for rows in all_rows]


def first(a, b) -> Divergence | None:
    return first_divergence(BlockReader(a), BlockReader(b), last_common_boundary(a.blocks, b.blocks))


@pytest.mark.parametrize("mutate", mutations.MUTATIONS, ids=lambda each: each.__name__)
def test_one_change_is_found_where_it_was_made(mutate):
    """700 seeded changes: node, step, kind and field are right for every one, and the sides can be exchanged."""
    opposite = {"missing": "extra", "extra": "missing"}
    for seed in range(SYSTEMS):
        system = synthetic.random_system(seed)
        rows = synthetic.trace(system)
        for attempt in range(PER_SYSTEM_AND_MUTATION):
            rng = random.Random(f"{mutate.__name__} {seed} {attempt}")
            changed = mutate(rows, rng)
            a, b = runs_of(system, rows, changed.rows, rng=rng)
            found, back = first(a, b), first(b, a)
            place = f"seed {seed}, attempt {attempt}"
            assert found is not None, place
            assert back is not None, place
            expected = (changed.node, changed.step, changed.kind, changed.field)
            assert expected == (found.node, found.step, found.kind, found.field), place
            mirrored = (*expected[:2], opposite.get(changed.kind, changed.kind), changed.field)
            assert mirrored == (back.node, back.step, back.kind, back.field), place
            assert (found.expected, found.actual) == (back.actual, back.expected), place


@pytest.mark.parametrize("mutate", mutations.MUTATIONS, ids=lambda each: each.__name__)
def test_the_full_picture_agrees_with_the_first_divergence(mutate):
    """The counts hold the one change and nothing else; who emitted it is to blame, the network for inputs and drops."""
    for seed in range(4):
        system = synthetic.random_system(seed)
        rows = synthetic.trace(system)
        rng = random.Random(f"{mutate.__name__} {seed}")
        changed = mutate(rows, rng)
        found = compare(*runs_of(system, rows, changed.rows, rng=rng))
        assert not found.identical
        assert found.first_divergence is not None
        kind = found.first_divergence.row_kind
        counted = sum(count.events for count in found.counts if count.node == changed.node)
        assert counted == sum(count.events for count in found.counts)
        if mutate is mutations.swap:
            assert counted == 2
        else:
            assert [(changed.kind, 1)] == [(count.kind, count.events) for count in found.counts]
        culprit = changed.node if kind == "output" else "network"
        assert found.nodes[culprit] == "root", (seed, found.nodes)
        blamed_too = [node for node, verdict in found.nodes.items() if verdict != "same" and node != culprit]
        assert blamed_too == ([] if kind != "output" or "network" not in blamed_too else ["network"])


def test_a_trace_is_identical_to_itself_however_it_is_cut():
    for seed in range(SYSTEMS):
        rng = random.Random(seed)
        system = synthetic.random_system(seed)
        a, b = runs_of(system, *[synthetic.trace(system)] * 2, rng=rng)
        assert first(a, b) is None
        found = compare(a, b)
        assert found.identical
        assert set(found.nodes.values()) == {"same"}
        assert found.decoded_blocks == (0, 0)
