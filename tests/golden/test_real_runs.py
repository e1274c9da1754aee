"""The comparison on runs as they are on disk."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest
from tests.golden import synthetic
from tests.golden.fake_run import FakeRun

from xtrace.capture.reader import Run
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import CorruptionError
from xtrace.golden.compare import compare

SYSTEM = synthetic.random_system(6, nodes=8, steps=150)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a function that stores the trace of a system, in small blocks, and opens it."""

    def record(system, *, status="complete"):
        folder = tmp_path_factory.mktemp("runs") / "run"
        about = {"seed": system.seed, "nodes": {node: {} for node in system.links}, "scenario": {}}
        writer = RunWriter(folder, node_ids=sorted(system.links), about=about)
        for (step, kind), rows in groupby(synthetic.trace(system), key=lambda each: (each.row.step, each.row.kind)):
            stored = list(rows)
            if kind == "step":
                writer.end_step(step, stored[0].row.time_us)
                continue
            names = ("time_us", "node", "src", "dst", "type", "late_us", "payload")
            columns = {name: [getattr(each.row, name) for each in stored] for name in names}
            writer.append(step, kind, **columns, cause=[each.cause for each in stored])
        writer.close(status)
        return Run.open(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xtrace.capture.writer.BLOCK_MIN_ROWS", 300)
        patch.setattr("xtrace.capture.writer.BLOCK_MAX_ROWS", 300)
        yield record


def in_memory(run, system):
    return FakeRun(list(run.rows()), nodes=system.links, status=run.status)


def test_stored_runs_compare_as_runs_in_memory(recorded):
    """Blocks, digests and dictionaries of the format change nothing about the answer."""
    for options in ({"faults": {"n3": 120}}, {"faults": {"network": 135}}, {"ends_early": 90}, {"fails": ("n2", 100)}):
        status = {"ends_early": "interrupted", "fails": "failed"}.get(*options, "complete")
        changed = replace(SYSTEM, **options)
        a, b = recorded(SYSTEM), recorded(changed, status=status)
        assert len(a.blocks) > 4
        found, expected = compare(a, b), compare(in_memory(a, SYSTEM), in_memory(b, changed))
        assert not found.identical
        assert expected.first_divergence == found.first_divergence
        assert expected.nodes == found.nodes
        assert expected.counts == found.counts
        assert found.decoded_blocks[0] < len(a.blocks)
        for node in ("n2", "n5"):
            assert compare(a, b, nodes=[node]).identical == all(each.node != node for each in found.counts)


def test_equal_runs_are_identical_and_not_decoded(recorded):
    found = compare(recorded(SYSTEM), recorded(SYSTEM))
    assert found.identical
    assert (found.verified, found.decoded_blocks) == ("full", (0, 0))


def test_one_flipped_bit_in_either_of_two_equal_runs_is_corruption(recorded):
    """Anywhere in the event log: head, blocks, footer."""
    a, b = recorded(SYSTEM), recorded(SYSTEM)
    path = b.path / "events.arrow"
    good = path.read_bytes()
    for offset in [*range(0, len(good), len(good) // 60), len(good) - 1]:
        bad = bytearray(good)
        bad[offset] ^= 1 << offset % 8
        path.write_bytes(bad)
        for pair in ((a, Run.open(b.path)), (Run.open(b.path), a)):
            with pytest.raises(CorruptionError):
                compare(*pair)
    path.write_bytes(good)
    assert compare(a, Run.open(b.path)).identical
