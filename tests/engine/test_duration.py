"""Durations as text, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.engine.duration import MAX_TIME_US, UNITS_US, format_duration, parse_duration

WHOLE = st.builds(lambda n, unit: n * UNITS_US[unit], st.integers(0, 999), st.sampled_from(sorted(UNITS_US)))


@given(st.integers(0, MAX_TIME_US) | WHOLE)
def test_text_reads_back_as_the_duration_it_was_made_of(duration_us):
    """format_duration and parse_duration are inverse, to the microsecond."""
    assert duration_us == parse_duration(format_duration(duration_us))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0us", 0),
        ("250us", 250),
        ("10ms", 10_000),
        (" 1.5 s ", 1_500_000),
        ("0.001ms", 1),
        ("2min", 120_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
        (f"{MAX_TIME_US}us", MAX_TIME_US),
        ("0.1s", 100_000),
        ("4611686018427.387904s", MAX_TIME_US),
    ],
)
def test_units_and_decimals_are_exact(text, expected):
    """Decimal arithmetic, no float in between."""
    assert expected == parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"), [(0, "0s"), (1, "1us"), (1_500_000, "1500ms"), (60_000_000, "1min"), (90_000_000, "90s")]
)
def test_the_largest_unit_that_keeps_it_whole_is_shown(text, expected):
    """No decimals are ever written."""
    assert expected == format_duration(text)


@pytest.mark.parametrize("bare", [5, 5.5, 0, "5", "5.5"])
def test_a_bare_number_is_a_mistake_with_a_hint(bare):
    """The error says how to write it."""
    with pytest.raises(ValueError, match=f"write {bare}us, {bare}ms or {bare}s"):
        parse_duration(bare)


@pytest.mark.parametrize("text", ["0.5us", "0.0001ms", "0.3333333s"])
def test_a_fraction_of_a_microsecond_is_refused(text):
    """Virtual time is whole; nothing is rounded."""
    with pytest.raises(ValueError, match="not a whole number of microseconds"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("10 sec", "unknown unit 'sec'"),
        ("10ns", "unknown unit 'ns'"),
        ("10MS", "not a duration"),
        ("-1s", "not a duration"),
        ("1e3s", "not a duration"),
        ("", "not a duration"),
        ("1s2s", "not a duration"),
        ("1.s", "not a duration"),
        (None, "a duration such as 10ms is expected"),
        (True, "a duration such as 10ms is expected"),
        (["1s"], "a duration such as 10ms is expected"),
        (f"{MAX_TIME_US + 1}us", "longer than the limit"),
        ("9" * 5000 + "d", "longer than the limit"),
    ],
)
def test_everything_else_is_refused(value, reason):
    """Each mistake has its own words."""
    with pytest.raises(ValueError, match=reason):
        parse_duration(value)
