"""A part of two runs, in virtual time: only what is in it counts, and only its blocks are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.capture.runs import busy_rows, make_run, small_blocks

from xtrace.capture.blocks import StoredRow
from xtrace.capture.reader import Run
from xtrace.engine.errors import InputError
from xtrace.engine.values import encode
from xtrace.golden.compare import compare
from xtrace.golden.divergence import PARTIAL

STEPS = 200
STEP_US = 10
CHANGED_STEP = 100


def changed(rows: list[StoredRow]) -> list[StoredRow]:
    """Return the rows with another payload in one output of CHANGED_STEP."""
    at = next(at for at, each in enumerate(rows) if each.row.step == CHANGED_STEP and each.row.kind == "output")
    other = rows[at]._replace(row=rows[at].row._replace(payload=encode("changed")))
    return [*rows[:at], other, *rows[at + 1 :]]


@pytest.fixture
def runs(tmp_path, monkeypatch) -> tuple[Path, Path]:
    small_blocks(monkeypatch, 40)
    rows = busy_rows(STEPS)
    for name, each in (("a", rows), ("b", changed(rows))):
        make_run(tmp_path / name, each, step_us=STEP_US, duration_us=STEPS * STEP_US)
    return tmp_path / "a", tmp_path / "b"


@pytest.mark.parametrize(
    ("from_step", "to_step", "identical"),
    [
        (None, None, False),
        (None, CHANGED_STEP - 1, True),
        (None, CHANGED_STEP, False),
        (CHANGED_STEP, None, False),
        (CHANGED_STEP + 1, None, True),
        (CHANGED_STEP, CHANGED_STEP, False),
        (CHANGED_STEP - 9, CHANGED_STEP + 9, False),
        (STEPS + 5, None, True),
    ],
)
def test_what_lies_outside_does_not_count(runs, from_step, to_step, identical):
    a, b = map(Run.open, runs)
    from_us = None if from_step is None else (from_step - 1) * STEP_US
    to_us = None if to_step is None else to_step * STEP_US
    found = compare(a, b, from_us=from_us, to_us=to_us)
    assert identical == found.identical
    if not identical:
        assert CHANGED_STEP == found.first_divergence.step
        assert "root" in found.nodes.values()


def test_only_its_blocks_are_read(runs):
    a, b = map(Run.open, runs)
    assert len(a.blocks) > 15
    found = compare(a, b, from_us=(CHANGED_STEP - 1) * STEP_US, to_us=CHANGED_STEP * STEP_US)
    assert (False, PARTIAL) == (found.identical, found.verified)
    assert a.blocks_read <= 2 and b.blocks_read <= 2
    a, b = map(Run.open, runs)
    found = compare(a, b, to_us=10 * STEP_US)
    assert (True, PARTIAL) == (found.identical, found.verified)
    assert a.blocks_read <= 3 and b.blocks_read <= 3


def test_a_run_without_steps_is_not_cut(tmp_path):
    make_run(tmp_path / "a", busy_rows(3))
    a = Run.open(tmp_path / "a")
    with pytest.raises(InputError, match="how long its steps are"):
        compare(a, a, from_us=10)
