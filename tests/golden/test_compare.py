"""What `compare` promises: identical only after every byte was verified, and little read where runs differ."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.golden import mutations, synthetic
from tests.golden.fake_run import FakeRun

from xtrace.engine.errors import CorruptionError, InputError
from xtrace.engine.recorder import NETWORK
from xtrace.golden.compare import compare

SYSTEM = synthetic.random_system(4)
ROWS = synthetic.trace(SYSTEM)


def run(rows=ROWS, *, system=SYSTEM, every=20, **options):
    return FakeRun(rows, nodes=system.links, cuts=range(every, len(rows), every), **options)


def with_fault(node, step):
    return synthetic.trace(replace(SYSTEM, faults={node: step}))


def test_equal_runs_are_verified_and_not_decoded():
    a, b = run(), run()
    found = compare(a, b)
    assert found.identical
    assert (a.read, b.read, a.verified, b.verified) == ([], [], 1, 1)
    assert (found.verified, found.decoded_blocks, found.counts) == ("full", (0, 0), ())
    assert {"same"} == set(found.nodes.values())
    assert sorted([*SYSTEM.links, NETWORK]) == list(found.nodes)


@pytest.mark.parametrize("damaged", range(len(run().blocks)))
def test_damage_in_one_of_two_equal_runs_is_corruption_not_an_answer(damaged):
    for a, b in ((run(damaged=damaged), run()), (run(), run(damaged=damaged))):
        with pytest.raises(CorruptionError) as caught:
            compare(a, b)
        assert damaged == caught.value.block


def test_only_blocks_after_the_last_common_one_are_decoded():
    a, b = run(), run(with_fault("n1", 11))
    found = compare(a, b)
    first = next(
        record.block for record, other in zip(a.blocks, b.blocks, strict=False) if record.digest != other.digest
    )
    assert first > 3
    assert (first, first) == (min(a.read), min(b.read))
    assert (len(a.blocks) - first, len(b.blocks) - first) == found.decoded_blocks
    assert found.verified == "partial"


def test_a_difference_in_the_first_block_is_fully_verified():
    assert compare(run(), run(with_fault("n1", 1))).verified == "full"


def test_damage_where_runs_differ_is_corruption():
    with pytest.raises(CorruptionError):
        compare(run(), run(with_fault("n1", 11), damaged=len(run().blocks) - 2))


def test_equal_rows_with_another_outcome_are_not_identical():
    found = compare(run(), run(status="interrupted"))
    first = found.first_divergence
    assert not found.identical
    assert (first.kind, first.field, first.expected, first.actual) == ("value", "status", "complete", "interrupted")


def test_a_run_that_lost_rows_is_identical_to_nothing_not_even_to_itself():
    a = run(status="recovered")
    a.fingerprint = None
    found = compare(a, a)
    assert not found.identical
    assert (found.first_divergence.field, found.first_divergence.actual) == ("fingerprint", None)


def test_empty_runs():
    empty = FakeRun([], nodes=SYSTEM.links, status="interrupted")
    assert compare(empty, empty).identical
    found = compare(run(), empty)
    assert (
        found.first_divergence.step,
        found.first_divergence.kind,
        found.first_divergence.actual,
    ) == (1, "missing", None)


def test_one_node_may_be_compared_alone():
    a, b = run(), run(with_fault("n1", 6))
    whole = compare(a, b)
    assert [node for node, verdict in whole.nodes.items() if verdict == "propagated" and node != NETWORK] != []
    for node, verdict in whole.nodes.items():
        alone = compare(a, b, nodes=[node])
        assert {node: verdict} == alone.nodes or verdict == "same"
        assert {count for count in whole.counts if count.node == node} <= {*alone.counts}
        if not alone.identical and node != NETWORK:
            assert node == alone.first_divergence.node
            assert {node} == {count.node for count in alone.counts}
        assert alone.identical == (
            not any(count.node == node or (node == NETWORK and count.row_kind == "input") for count in whole.counts)
        )


def test_a_node_whose_digests_are_equal_is_not_read():
    """n2 hears and says nothing different; its digests in `nodes.index` say so."""
    system = synthetic.System({"n0": ["n1"], "n1": [], "n2": ["n1"]})
    a, b = (run(synthetic.trace(replace(system, faults=faults)), system=system) for faults in ({}, {"n0": 3}))
    found = compare(a, b, nodes=["n2"])
    assert found.identical
    assert (found.nodes, a.read, b.read, a.verified, b.verified) == ({"n2": "same"}, [], [], 1, 1)


def test_a_node_that_is_equal_up_to_where_one_run_was_stopped():
    b = run(synthetic.trace(replace(SYSTEM, ends_early=6)), status="interrupted")
    found = compare(run(), b, nodes=["n1"])
    assert (found.first_divergence.node, found.first_divergence.kind) == ("n1", "missing")
    assert found.nodes == {"n1": "same"}


def test_a_node_of_neither_run_is_a_mistake():
    with pytest.raises(InputError) as caught:
        compare(run(), run(), nodes=["n1", "nobody", "nothing"])
    assert ["nobody" in problem or "nothing" in problem for problem in caught.value.problems] == [True, True]


def test_insertions_are_found_with_blocks_that_no_longer_line_up():
    """An event that comes in shifts every later block; what is compared are rows."""
    for index in range(30, len(ROWS) - 1, 17):
        row = ROWS[index]
        if row.row.kind == "step":
            continue
        rows = [*ROWS[: index + 1], row._replace(row=row.row._replace(payload=b"\xa3new")), *ROWS[index + 1 :]]
        found = compare(run(), run([each._replace(seq=seq) for seq, each in enumerate(rows)], every=13))
        assert ("extra", row.row.node, row.row.step) == (
            found.first_divergence.kind,
            found.first_divergence.node,
            found.first_divergence.step,
        )
        assert [count.kind for count in found.counts] == ["extra"]


def test_large_payloads_are_compared_as_bytes():
    """The full picture keeps their digests, the first divergence decodes the one pair."""
    from xtrace.engine.values import encode

    index = next(index for index, row in enumerate(ROWS) if row.row.kind == "output")
    pair = []
    for last in (1, 2):
        rows = list(ROWS)
        payload = encode({"samples": [*range(500), last]})
        rows[index] = rows[index]._replace(row=rows[index].row._replace(payload=payload))
        pair.append(run(rows))
    found = compare(*pair)
    assert (
        found.first_divergence.field,
        found.first_divergence.expected,
        found.first_divergence.actual,
    ) == ("$.samples[500]", 1, 2)
    assert [(count.kind, count.events) for count in found.counts] == [("value", 1)]
    assert compare(pair[0], pair[0]).identical


def test_notes_say_how_the_recordings_were_not_the_same_to_begin_with():
    def manifest(seed, window, digest, cpu, **more):
        nodes = [
            {"id": "n1", "type": "edge", "config": {"window": window, "gain": 2}},
            {"id": "n2"},
            *more.get("nodes", ()),
        ]
        scenario = {"duration": "12ms", "step": "1ms", "seed": seed, "nodes": nodes, "description": str(seed)}
        artefacts = {"n1": {"model.onnx": digest}, "n2": {"a.py": "1"}}
        return {"seed": seed, "scenario": scenario, "artefacts": artefacts, "platform": {"cpu": cpu, "libc": "2.36"}}

    a = run(manifest=manifest(42, 3, "aa", "avx2"))
    b = run(with_fault("n1", 6), manifest=manifest(7, 4, "bb", "avx512", nodes=[{"id": "n9"}]))
    assert compare(a, b).notes == (
        "platform class differs (cpu): exact results are promised within one class only",
        "seed differs: 42 / 7",
        "node n1: config.window differs: 3 / 4",
        "node n9: only in B",
        "node n1: artefact model.onnx differs",
    )
    assert compare(a, a).notes == ()


def test_the_answer_is_json():
    found = compare(run(), run(with_fault("n1", 6))).to_json()
    again = json.loads(json.dumps(found))
    assert {"step", "time_us", "node", "kind", "type", "field", "expected", "actual"} <= again[
        "first_divergence"
    ].keys()
    assert {"identical", "first_divergence", "nodes", "counts", "verified", "notes"} <= again.keys()


def test_a_node_that_never_did_anything_is_the_same():
    nodes = [*SYSTEM.links, "idle"]
    a, b = (FakeRun(rows, nodes=nodes) for rows in (ROWS, with_fault("n1", 6)))
    found = compare(a, b, nodes=["idle"])
    assert (found.identical, found.nodes, a.read) == (True, {"idle": "same"}, [])


def test_a_node_is_read_where_digests_do_not_cover_the_end():
    """One run was stopped, so equal digests don't say that nobody failed: the rows of the node are looked at."""
    system = synthetic.System({"n0": ["n1"], "n1": [], "n2": []})
    rows = [each for each in synthetic.trace(system) if each.row.node != "n2"]
    kept = mutations.renumbered(rows)
    found = compare(run(kept, system=system), run(kept[:-40], system=system, status="interrupted"), nodes=["n2"])
    assert (found.identical, found.nodes) == (True, {"n2": "same"})
    assert found.decoded_blocks[0] > 0
