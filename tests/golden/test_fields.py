"""The path and the two values of the first difference of two payloads."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.engine.values import encode
from xtrace.golden.fields import DEEPDIFF_BYTES_MAX, path_text, payload_difference

leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf])
leaves |= st.text("ab$ ", max_size=2) | st.binary(max_size=2)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.$", max_size=2), inner, max_size=3),
    max_leaves=12,
)


def difference(a, b):
    return payload_difference(encode(a), encode(b))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"value": 1}, {"value": 2}, ("$.value", 1, 2)),
        ({"a": [0, 1, 2, 3]}, {"a": [0, 1, 2, 4]}, ("$.a[3]", 3, 4)),
        ({"a": 1}, {"a": 1.0}, ("$.a", 1, 1.0)),
        ({"a": True}, {"a": 1}, ("$.a", True, 1)),
        ({"a": 0.0}, {"a": -0.0}, ("$.a", 0.0, -0.0)),
        ({"a": 0.0, "b": 1}, {"a": -0.0, "b": 2}, ("$.a", 0.0, -0.0)),
        ({"a": math.nan, "b": 1}, {"a": math.nan, "b": 2}, ("$.b", 1, 2)),
        ({"a": math.nan}, {"a": math.inf}, ("$.a", {"$float": "nan"}, {"$float": "inf"})),
        ({"b": b"\x00\xff"}, {"b": b"\x00\xfe"}, ("$.b", {"$bytes": "AP8="}, {"$bytes": "AP4="})),
        ({"z": 1, "a": 1}, {"z": 2, "a": 2}, ("$.a", 1, 2)),
        ({"a": 1}, {"b": 1}, ("$.a", 1, None)),
        ({"a": None}, {}, ("$", {"a": None}, {})),
        ([1, 2, 3], [2, 3], ("$[0]", 1, None)),
        ([1, 2, 3], [1, 9, 2, 3], ("$[1]", None, 9)),
        ([1, 2], [1, 2, 3], ("$[2]", None, 3)),
        ({"a": [1]}, {"a": {"b": 1}}, ("$.a", [1], {"b": 1})),
        ({"a key": {"x": [{"": 1}]}}, {"a key": {"x": [{"": 2}]}}, ('$."a key".x[0].""', 1, 2)),
        ({"$bytes": "x"}, {"$bytes": "y"}, ('$."$bytes"', "x", "y")),
        (1, "1", ("$", 1, "1")),
        (2**63, 2**63 + 1, ("$", 2**63, 2**63 + 1)),
    ],
)
def test_the_first_difference(a, b, expected):
    path, one, other = difference(a, b)
    assert expected == (path, one, other)
    assert [type(expected[1]), type(expected[2])] == [type(one), type(other)]
    assert [str(expected[1]), str(expected[2])] == [str(one), str(other)]


def test_no_payload_is_not_the_payload_none():
    assert payload_difference(b"", encode(None)) == ("payload", {"$bytes": ""}, {"$bytes": "wA=="})


def test_no_payload_against_one():
    assert payload_difference(b"", encode({"a": 1})) == ("$", None, {"a": 1})


def test_bytes_that_are_no_msgpack_are_shown_as_they_are():
    assert payload_difference(encode(1), b"\xc1") == ("$", 1, {"$bytes": "wQ=="})


def test_a_long_payload_is_walked():
    """deepdiff would take long; the path is the first place that differs all the same."""
    a = list(range(DEEPDIFF_BYTES_MAX))
    b = [*a[:9_000], -1, *a[9_001:]]
    assert difference(a, b) == ("$[9000]", 9_000, -1)


@given(values, values)
def test_every_difference_has_a_place(a, b):
    """Two values have a difference if and only if their bytes differ, it is the same from either side, and
    the values shown there differ."""
    if encode(a) == encode(b):
        return
    path, one, other = difference(a, b)
    assert path.startswith("$")
    assert (one, other) != (None, None)
    assert encode(one) != encode(other)
    assert (path, other, one) == difference(b, a)


def test_paths_read_as_duckdb_reads_them():
    duckdb = pytest.importorskip("duckdb")
    path = path_text(["a key", "x", 1, "y_2"])
    assert path == '$."a key".x[1].y_2'
    text = '{"a key": {"x": [0, {"y_2": 7}]}}'
    assert duckdb.connect().execute("SELECT CAST($t AS JSON) ->> $p", {"t": text, "p": path}).fetchone() == ("7",)
