"""What kind of difference two sequences of a node's rows begin with."""

from __future__ import annotations

import pytest

from xtrace.engine.recorder import Row
from xtrace.engine.values import encode
from xtrace.golden.classify import classify, row_divergence


def row(time_us, value=0, *, dst="b", type="t", kind="output", src="a", node=None, step=None, late_us=0, object=""):
    step = time_us // 1_000 + 1 if step is None else step
    return Row(step, time_us, kind, node or src, src, dst, type, late_us, encode({"v": value}), object)


def kinds(expected, actual):
    found, back = classify(expected, actual), classify(actual, expected)
    opposite = {"missing": "extra", "extra": "missing"}
    assert (opposite.get(found.kind, found.kind), found.field) == (back.kind, back.field)
    return found.kind, found.field, found.time_us


PERIODIC = [row(time_us) for time_us in range(10, 80, 10)]
COUNTING = [row(time_us, time_us) for time_us in range(10, 80, 10)]


INVERTED = [row(time_us, 10 - time_us % 20) for time_us in range(10, 90, 10)]
UPRIGHT = [row(time_us, time_us % 20) for time_us in range(10, 90, 10)]
ONE_TWO_ONE = [row(10, 1), row(10, 2), row(10, 1)]
SILENT = [row(each.time_us, -1) for each in COUNTING]


@pytest.mark.parametrize(
    ("expected", "actual", "answer"),
    [
        pytest.param([row(10, 1)], [row(10, 2)], ("value", "$.v", 10), id="value"),
        pytest.param(COUNTING, SILENT, ("value", "$.v", 10), id="all values"),
        pytest.param(UPRIGHT, INVERTED, ("value", "$.v", 10), id="inverted"),
        pytest.param([row(10, dst="b")], [row(10, dst="c")], ("value", "dst", 10), id="destination"),
        pytest.param([row(10, late_us=0)], [row(10, late_us=5)], ("value", "late_us", 10), id="lateness"),
        pytest.param([row(10, object="")], [row(10, object="ff")], ("value", "object", 10), id="object"),
        pytest.param(PERIODIC, PERIODIC[1:], ("missing", None, 10), id="deleted among equals"),
        pytest.param(COUNTING, COUNTING[1:], ("missing", None, 10), id="deleted"),
        pytest.param(COUNTING, SILENT[1:], ("missing", None, 10), id="deleted, all else changed"),
        pytest.param(ONE_TWO_ONE, ONE_TWO_ONE[1:], ("missing", None, 10), id="deleted before its equal"),
        pytest.param(COUNTING, [row(5, 3), *COUNTING], ("extra", None, 5), id="inserted"),
        pytest.param(COUNTING, [row(10, 3), *COUNTING], ("extra", None, 10), id="inserted at the same time"),
        pytest.param([], [row(5)], ("extra", None, 5), id="only one"),
        pytest.param(COUNTING, [*COUNTING[1:4], row(45, 10), *COUNTING[4:]], ("time", "time_us", 10), id="later"),
        pytest.param(COUNTING[1:], [row(5, 60), *COUNTING[1:5], *COUNTING[6:]], ("time", "time_us", 5), id="earlier"),
        pytest.param(PERIODIC, [row(each.time_us + 1) for each in PERIODIC], ("time", "time_us", 10), id="all later"),
        pytest.param(PERIODIC, [row(12), *PERIODIC[1:]], ("time", "time_us", 10), id="moved among equals"),
        pytest.param([row(10, 1), row(20, 2)], [row(12, 5), row(22, 6)], ("time", "time_us", 10), id="time and value"),
        pytest.param([row(10)], [row(10, step=2)], ("time", "step", 10), id="another step"),
        pytest.param([row(10, 1), row(10, 2)], [row(10, 2), row(10, 1)], ("order", None, 10), id="swapped"),
        pytest.param([row(10, 1), row(20, 2)], [row(10, 2), row(20, 1)], ("order", None, 10), id="swapped contents"),
        pytest.param(
            [row(10, 1, dst="b"), row(10, 2, dst="c")],
            [row(10, 3, dst="c"), row(10, 4, dst="b")],
            ("order", None, 10),
            id="swapped and changed",
        ),
        pytest.param([row(10, type="t")], [row(10, type="u")], ("kind", "type", 10), id="type"),
        pytest.param([row(10)], [row(10, kind="metric")], ("kind", "kind", 10), id="row kind"),
        pytest.param(
            [row(10, 1), row(10, 2)], [row(10, 2), row(10, 3, type="u")], ("kind", "type", 10), id="type, out of line"
        ),
    ],
)
def test_kind_and_field(expected, actual, answer):
    assert answer == kinds(expected, actual)


def test_nothing_in_common_is_what_comes_first():
    """Neither is in the other trace: the earlier one is missing or extra, and the later one is not said."""
    early, late = row(10, 1, dst="b", type="t"), row(20, 2, dst="c", type="u")
    for found, kind in ((row_divergence(early, late), "missing"), (row_divergence(late, early), "extra")):
        assert (kind, 10, None) == (found.kind, found.time_us, found.field)
        assert [found.expected, found.actual].count(None) == 1


def test_a_whole_event_is_shown_with_its_payload_decoded():
    found = row_divergence(row(10, b"\xff", object="abc"), None)
    event = {"step": 1, "time_us": 10, "kind": "output", "node": "a", "src": "a", "dst": "b", "type": "t"}
    assert {**event, "late_us": 0, "payload": {"v": {"$bytes": "/w=="}}, "object": "abc"} == found.expected
    assert found.actual is None


def test_the_divergence_is_where_the_sides_first_part():
    """An event that comes earlier in B is a divergence at its time in B; the values say which side had which."""
    found = row_divergence(row(5_000, 1), row(2_000, 1))
    assert (found.step, found.time_us, found.expected, found.actual) == (3, 2_000, 5_000, 2_000)
