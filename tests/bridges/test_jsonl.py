"""Recordings in JSON Lines are played back at the times in them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.bridges import jsonl
from xtrace.bridges.jsonl import JsonlNode, read_lines
from xtrace.engine.errors import InputError, NodeCrashed
from xtrace.engine.event import NEVER
from xtrace.engine.json_values import encode_value
from xtrace.engine.node import NodeSpec, Setup, Workspace

TEXT = """\
{"time_us": 0, "type": "pose", "payload": {"x": 1, "raw": {"$bytes": "AAE="}}}
{"time_us": 0, "type": "status"}

{"time_us": 2500, "type": "pose", "payload": {"x": {"$float": "nan"}, "$$y": 18446744073709551615}}
"""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def make(folder: Path, text: str | bytes, **options: Any) -> JsonlNode:
    (folder / "r.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    return JsonlNode(
        NodeSpec("robot", "recording", "jsonl", {"file": "r.jsonl", **options}), Workspace(folder, logs=folder)
    )


def play(folder: Path, text: str | bytes, **options: Any) -> list[tuple[Any, ...]]:
    """Return all outputs of a node, advanced from one of its times to the next."""
    node = make(folder, text, **options)
    try:
        node.init(Setup("robot", "recording", 1, {}))
        outputs, reached, until = [], 0, 1
        while reached < NEVER:
            done = node.advance(reached, until, [])
            assert all(reached <= output.time_us < until for output in done.outputs)
            outputs += [tuple(output) for output in done.outputs]
            reached = until if done.next_time_us == until else done.next_time_us
            until = reached + 1
        return outputs
    finally:
        node.shutdown()


def test_lines_become_events(tmp_path: Path) -> None:
    """Bytes, NaN and 64-bit integers arrive as they were written; no payload is null; blank lines are nothing."""
    outputs = play(tmp_path, TEXT, send_to="edge")
    assert outputs[:2] == [
        (0, "edge", "pose", {"x": 1, "raw": b"\x00\x01"}, ()),
        (0, "edge", "status", None, ()),
    ]
    time_us, _, _, payload, _ = outputs[2]
    assert time_us == 2_500
    assert math.isnan(payload["x"])
    assert payload["$y"] == 2**64 - 1


def test_without_a_receiver_events_are_observations(tmp_path: Path) -> None:
    assert {output[1] for output in play(tmp_path, TEXT)} == {""}
    assert {output[1] for output in play(tmp_path, TEXT, send_to=None)} == {""}


def test_speed_up(tmp_path: Path) -> None:
    assert [output[0] for output in play(tmp_path, TEXT, speed_up=2)] == [0, 0, 1_250]
    with pytest.raises(InputError, match="0 is not greater than 0"):
        make(tmp_path, TEXT, speed_up=0)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.jsonl.*no such file"):
        JsonlNode(NodeSpec("robot", "recording", "jsonl", {"file": "no.jsonl"}), Workspace(tmp_path, logs=tmp_path))
    assert play(tmp_path, "") == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("no json", "byte 0: this is not JSON"),
        ("[]", "not an object with"),
        ('{"time_us": 1}', "not an object with"),
        ('{"time_us": 1, "type": "a", "pay": 1}', "not an object with"),
        ('{"time_us": 1.0, "type": "a"}', "no whole number"),
        ('{"time_us": true, "type": "a"}', "no whole number"),
        ('{"time_us": -1, "type": "a"}', "no whole number"),
        (f'{{"time_us": {2**62 + 1}, "type": "a"}}', "no whole number"),
        ('{"time_us": 1, "type": 2}', "is no text"),
        ('{"time_us": 1, "type": "a", "payload": {"$bytes": "?"}}', "base64"),
        ('{"time_us": 1, "type": "a", "type": "a"}', "twice"),
    ],
)
def test_lines_that_cannot_be_played(tmp_path: Path, line: str, problem: str) -> None:
    """In the first line it is found before anything starts, later it ends the run; both name the line."""
    with pytest.raises(InputError) as refused:
        make(tmp_path, line)
    with pytest.raises(NodeCrashed) as crashed:
        play(tmp_path, f'{{"time_us": 0, "type": "a"}}\n{line}\n')
    for text, number in ((str(refused.value), 1), (crashed.value.reason, 2)):
        assert f"line {number}" in text
        assert problem in text


def test_a_time_before_that_of_the_line_above_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeCrashed, match="line 3: time_us is 1 us before"):
        play(tmp_path, "".join(f'{{"time_us": {time_us}, "type": "a"}}\n' for time_us in (5, 6, 5)))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1_000)
    with pytest.raises(InputError, match="line 1: longer than 1000 bytes"):
        make(tmp_path, "x" * 5_000)


@given(st.lists(st.tuples(st.integers(0, 2**62), st.text(max_size=5), VALUES), max_size=5))
def test_what_is_written_is_what_is_played(events: list[tuple[int, str, Any]]) -> None:
    """Any payload survives a line of a file."""
    events.sort(key=lambda each: each[0])
    lines = [encode_value({"time_us": each[0], "type": each[1], "payload": each[2]}) for each in events]
    read = list(read_lines(io.BytesIO("".join(f"{line}\n" for line in lines).encode())))
    assert [(line.time_us, line.type, repr(line.payload)) for line in read] == [
        (each[0], each[1], repr(_plain(each[2]))) for each in events
    ]


def _plain(value: Any) -> Any:
    """Return a value with its keys in order, as encoding puts them."""
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    return [_plain(each) for each in value] if isinstance(value, list) else value
