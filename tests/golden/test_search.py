"""The search over running digests: the last place where both traces end a block and are equal."""

from __future__ import annotations

import random

from tests.golden.fake_run import FakeRun

from xtrace.capture.blocks import StoredRow
from xtrace.capture.index import BlockRecord
from xtrace.engine.recorder import Row
from xtrace.golden.search import Boundary, first_divergence, last_common_boundary
from xtrace.golden.trace import BlockReader


class CountedDigest(bytes):
    """A digest that counts how often one was compared."""

    compared = 0

    def __eq__(self, other):
        CountedDigest.compared += 1
        return bytes.__eq__(self, other)

    __hash__ = bytes.__hash__


def blocks(ends, *, different_from):
    """Return the records of a trace whose blocks end after `ends` rows; rows differ from `different_from` on."""
    records, start = [], 0
    for number, end in enumerate(ends):
        side = b"same" if end <= different_from else b"other"
        digest = CountedDigest(b"%b %d" % (side, end))
        records.append(BlockRecord(number, 0, 0, end - start, start, 1, 1, 0, 0, b"", digest))
        start = end
    return records


def test_the_last_common_boundary_is_found_whatever_the_cuts():
    for seed in range(300):
        rng = random.Random(seed)
        first_different = rng.randrange(1_000)
        cuts = [[*sorted(rng.sample(range(1, 1000), rng.randrange(1, 40))), 1000] for _ in "ab"]
        a = blocks(cuts[0], different_from=2_000)
        b = blocks(cuts[1], different_from=first_different)
        common = [end for end in cuts[0] if end in cuts[1] and end <= first_different]
        end = common[-1] if common else 0
        expected = Boundary(*(cut.index(end) + 1 if end else 0 for cut in cuts), end)
        assert expected == last_common_boundary(a, b)


def test_few_digests_are_compared():
    ends = range(8_000, 8_000 * 12_001, 8_000)
    a, b = blocks(ends, different_from=10**9), blocks(ends, different_from=8_000 * 7_777)
    CountedDigest.compared = 0
    assert Boundary(7_777, 7_777, 8_000 * 7_777) == last_common_boundary(a, b)
    assert CountedDigest.compared <= 15


def test_traces_without_blocks():
    assert Boundary(0, 0, 0) == last_common_boundary([], blocks([5], different_from=9))
    assert Boundary(1, 1, 5) == last_common_boundary(blocks([5], different_from=9), blocks([5, 9], different_from=9))


def first(expected, actual):
    """Return the first divergence of two traces given as (step, time_us, kind, node, payload)."""
    runs = []
    for rows in (expected, actual):
        full = [
            Row(step, time_us, kind, node, node, "", "t", 0, payload, "") for step, time_us, kind, node, payload in rows
        ]
        runs.append(FakeRun([StoredRow(seq, row, ()) for seq, row in enumerate(full)], nodes=["x", "y"]))
    return first_divergence(*map(BlockReader, runs), Boundary(0, 0, 0))


def test_inputs_come_first_then_outputs_then_drops_whatever_their_times():
    rows = [(1, 900, "input", "x", b"\x01"), (1, 500, "output", "y", b"\x01"), (1, 100, "drop", "network", b"\x01")]
    for place, row in enumerate(rows):
        changed = [*rows[:place], *((*each[:4], b"\x02") for each in rows[place:])]
        assert first(rows, changed).row_kind == row[2]


def test_the_earlier_of_two_nodes_comes_first_then_the_smaller_id():
    rows = [(1, 100, "output", "y", b"\x01"), (1, 200, "output", "x", b"\x01")]
    assert first(rows, [(*row[:4], b"\x02") for row in rows]).node == "y"
    rows = [(1, 100, "output", "x", b"\x01"), (1, 100, "output", "y", b"\x01")]
    assert first(rows, [(*row[:4], b"\x02") for row in rows]).node == "x"


def test_rows_of_different_nodes_in_another_order_are_no_difference():
    rows = [(1, 100, "input", "x", b"\x01"), (1, 100, "input", "y", b"\x01"), (1, 200, "input", "x", b"\x02")]
    assert first(rows, [rows[1], rows[0], rows[2]]) is None
    assert first(rows, [rows[1], rows[0], (*rows[2][:4], b"\x03")]).time_us == 200


def test_what_was_not_read_is_not_missing(monkeypatch):
    """The rows looked at end with the same step in both traces, though one holds more rows a step."""
    monkeypatch.setattr("xtrace.golden.search.LOOKAHEAD_ROWS", 8)
    monkeypatch.setattr("xtrace.golden.search.PIECE_ROWS", 4)
    periodic = [(step, step * 1_000, "output", "x", b"\x01") for step in range(1, 40)]
    noise = [[(step, step * 1_000 + each, "output", "y", b"\x01") for each in range(1, 5)] for step in range(1, 40)]
    dense = [row for one, others in zip(periodic, noise, strict=True) for row in (one, *others)]
    assert (first(dense, periodic[1:]).node, first(dense, periodic[1:]).kind) == ("x", "missing")
    assert (first(periodic[1:], dense).node, first(periodic[1:], dense).kind) == ("x", "extra")
