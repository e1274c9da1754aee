"""Runs made of rows: any rows, written in blocks as small as a test wants them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from xtrace.capture.blocks import StoredRow
from xtrace.capture.layout import Storage
from xtrace.capture.writer import RunWriter
from xtrace.engine.recorder import KINDS, NETWORK, Row
from xtrace.engine.values import encode

NODES = ("a", "ö", "z z")
ABOUT = {"seed": 1, "scenario": {}, "nodes": {node: {"type": "test"} for node in NODES}}
COLUMNS = ("time_us", "node", "src", "dst", "type", "late_us", "payload")


def small_blocks(patch: pytest.MonkeyPatch, rows: int) -> None:
    """Let every block end after the first step that brings it to `rows`."""
    patch.setattr("xtrace.capture.writer.BLOCK_MIN_ROWS", rows)
    patch.setattr("xtrace.capture.writer.BLOCK_MAX_ROWS", rows)


def write(writer: RunWriter, rows: Sequence[StoredRow]) -> list[int]:
    """Append `rows` as the engine does and return the seq that each got."""
    seqs: list[int] = []
    for (step, kind), group in groupby(rows, key=lambda each: (each.row.step, each.row.kind)):
        stored = list(group)
        if kind == "step":
            for each in stored:
                writer.end_step(step, each.row.time_us)
                seqs.append(seqs[-1] + 1 if seqs else 0)
            continue
        columns = {name: [getattr(each.row, name) for each in stored] for name in COLUMNS}
        first = writer.append(step, kind, **columns, cause=[each.cause for each in stored])
        seqs += range(first, first + len(stored))
    return seqs


def make_run(
    folder: Path, rows: Sequence[StoredRow], *, status: str = "complete", storage: Storage | None = None, **about: Any
) -> str:
    """Write a closed run and return its fingerprint."""
    writer = RunWriter(folder, node_ids=NODES, about={**ABOUT, **about}, storage=storage)
    assert [each.seq for each in rows] == write(writer, rows)
    return writer.close(status)


def busy_rows(steps: int) -> list[StoredRow]:
    """Return the rows of a little system: each step an input, two outputs, sometimes a drop, and its end."""
    rows: list[StoredRow] = []

    def add(step: int, kind: str, node: str, src: str, dst: str, payload: Any, cause: tuple[int, ...] = ()) -> None:
        data = b"" if kind == "step" else encode(payload)
        time_us = step * 10 - (kind != "step")
        type_ = "" if kind == "step" else f"type{step % 3}"
        late_us = step % 2 if kind == "input" else 0
        rows.append(StoredRow(len(rows), Row(step, time_us, kind, node, src, dst, type_, late_us, data, ""), cause))

    for step in range(1, steps + 1):
        if step > 1:
            add(step, "input", "ö", "a", "ö", {"n": step - 1, "noise": step * 2654435761 % 2**32}, (len(rows) - 2,))
        add(step, "output", "a", "a", "ö", {"n": step, "noise": step * 2654435761 % 2**32})
        add(step, "output", "ö", "ö", "", [step])
        if step % 3 == 0:
            add(step, "drop", NETWORK, "a", "ö", {"due_us": step, "reason": "loss"}, (len(rows) - 2,))
        add(step, "step", "", "", "", None)
    return rows


def _row(step: int, kind: str, draw: st.DrawFn, seq: int) -> StoredRow:
    name = st.sampled_from(("", *NODES, NETWORK))
    if kind == "step":
        return StoredRow(seq, Row(step, draw(st.integers(0, 2**62)), kind, "", "", "", "", 0, b"", ""), ())
    cause = tuple(draw(st.lists(st.integers(0, max(seq - 1, 0)), max_size=3))) if seq else ()
    time_us, late_us = draw(st.integers(0, 2**62)), draw(st.integers(0, 2**40))
    node, src, dst = NETWORK if kind == "drop" else draw(st.sampled_from(NODES)), draw(name), draw(name)
    type_, payload = draw(st.text(max_size=5)), encode(draw(st.binary(max_size=12)))
    row = Row(step, time_us, kind, node, src, dst, type_, late_us, payload, "")
    return StoredRow(seq, row, cause)


@st.composite
def any_rows(draw: st.DrawFn) -> list[StoredRow]:
    """Rows of any content whatever, in steps that rise; the last one may not have ended."""
    rows: list[StoredRow] = []
    step = 0
    for _ in range(draw(st.integers(0, 6))):
        step += draw(st.integers(1, 1_000))
        for kind in sorted(draw(st.lists(st.sampled_from([each for each in KINDS if each != "step"]), max_size=6))):
            rows.append(_row(step, kind, draw, len(rows)))
        rows.append(_row(step, "step", draw, len(rows)))
    if draw(st.booleans()):
        rows.append(_row(step + 1, "abort", draw, len(rows)))
    return rows
