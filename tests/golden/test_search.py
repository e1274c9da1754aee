"""The search over running digests: the last place where both traces end a block and are equal."""

from __future__ import annotations

import random

from xtrace.capture.index import BlockRecord
from xtrace.golden.search import Boundary, last_common_boundary


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
