"""Secrets are replaced wherever they stand in a payload, a text or a log, and put back into what was replaced."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xtrace.capture.layout import OBJECT_MIN_BYTES
from xtrace.capture.reader import Run
from xtrace.capture.secrets import HELD_BYTES_MAX, Secrets, placeholder, weakness
from xtrace.capture.writer import RunWriter
from xtrace.engine.json_values import shown
from xtrace.engine.values import MAX_DEPTH, MAX_PAYLOAD_BYTES, Value, decode, encode

characters = st.characters(exclude_categories=("Cs",), exclude_characters="\0<…")
texts = st.text(characters, max_size=12)
secret_values = st.text(characters, min_size=6, max_size=20).filter(lambda text: not weakness(text))


def structures(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Draw values whose strings, keys and bytes come from `leaves` and `keys`."""
    return st.recursive(
        leaves | st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


@st.composite
def embedded(draw: st.DrawFn) -> tuple[dict[str, str], Value]:
    """Draw secrets, and a value that has them in strings, keys and bytes at any depth."""
    values = draw(st.lists(secret_values, min_size=1, max_size=3, unique=True))
    around = st.lists(texts | st.sampled_from(values), min_size=1, max_size=4).map("".join)
    leaves = around | around.map(str.encode) | around.map(json.dumps) | around.map(repr)
    value = draw(structures(leaves, around))
    return {f"s{number}": each for number, each in enumerate(values)}, [value, draw(around)]


def every_text(value: Value) -> list[bytes]:
    if isinstance(value, dict):
        return [found for item in value.items() for each in item for found in every_text(each)]
    if isinstance(value, list):
        return [found for member in value for found in every_text(member)]
    return [value if isinstance(value, bytes) else str(value).encode()]


@given(embedded())
def test_no_value_survives_and_the_result_is_canonical(drawn: tuple[dict[str, str], Value]) -> None:
    values, value = drawn
    secrets = Secrets(values)
    redacted = secrets.redact(encode(value))
    assert encode(decode(redacted)) == redacted
    for secret in values.values():
        assert secret.encode() not in redacted
        assert not any(secret.encode() in text for text in every_text(decode(redacted)))
    assert not secrets.holds(redacted)
    assert secrets.redact(redacted) is redacted


@given(embedded())
def test_what_was_redacted_is_revealed_as_it_was(drawn: tuple[dict[str, str], Value]) -> None:
    values, value = drawn
    payload = encode(value)
    # Where values touch, one may be made of the end of another: that can't be told apart afterwards.
    assume(all(a == b or not _overlap(a, b) for a in values.values() for b in values.values()))
    assert Secrets(values).reveal(Secrets(values).redact(payload)) == payload


def _overlap(a: str, b: str) -> bool:
    return any(set(each) & set(b) for each in (a, json.dumps(a), repr(a)))


@given(structures(texts, texts))
def test_a_payload_without_a_secret_is_the_same_object(value: Value) -> None:
    payload = encode(value)
    secrets = Secrets({"a": "no such text anywhere"})
    assert secrets.redact(payload) is payload
    assert secrets.reveal(payload) is payload


@given(st.lists(st.binary(max_size=30) | st.just(b"hunter2-x"), max_size=20), st.integers(1, 7))
def test_a_log_in_pieces_is_filtered_like_a_log_in_one(parts: list[bytes], size: int) -> None:
    secrets, data = Secrets({"a": "hunter2-x", "b": "ter2-xyz"}), b"".join(parts)
    log = secrets.log_filter()
    pieces = [log.feed(data[start : start + size]) for start in range(0, len(data), size)]
    written = b"".join([*pieces, log.end()])
    assert not secrets.holds(written)
    assert written == secrets.redact_bytes(data)


def test_a_log_is_not_held_back_where_it_can_be_no_secret() -> None:
    log = Secrets({"a": "hunter2-x"}).log_filter()
    assert log.feed(b"ready\n") == b"ready\n"
    assert log.feed(b"ready hunt") == b"ready "
    assert log.feed(b"ing\n") == b"hunting\n"
    assert log.end() == b""
    assert log.feed(b"hunt") == b""
    assert log.end() == b"hunt"


def test_a_log_is_held_back_no_further_than_the_limit() -> None:
    log = Secrets({"a": "abababab"}).log_filter()
    written = sum(len(log.feed(b"ab" * 1000)) for _ in range(100))
    assert written > 0
    assert len(log._held) <= HELD_BYTES_MAX


def test_overlapping_secrets_are_replaced_the_longest_first() -> None:
    secrets = Secrets({"long": "hunter2-and-more", "short": "hunter2"})
    assert secrets.redact_text("hunter2-and-more, hunter2") == "<secret:long>, <secret:short>"


def test_keys_that_become_equal_are_kept_apart() -> None:
    secrets = Secrets({"a": "hunter2-x"})
    value = {"hunter2-x": 1, "<secret:a>": 2, "<secret:a>~": 3}
    assert decode(secrets.redact(encode(value))) == {"<secret:a>": 2, "<secret:a>~": 3, "<secret:a>~~": 1}


def test_a_value_that_is_put_together_by_a_placeholder_is_replaced_too() -> None:
    secrets = Secrets({"a": "hunter2-x", "b": "x<secret:a>y"})
    assert "x<secret:a>y" not in secrets.redact_text("xhunter2-xy")


@pytest.mark.parametrize(
    "value",
    [
        list(b"hunter2-x"),
        {"a": [1, {"b": list(b"hunter2-x"), "c": 1}]},
        {"a": int.from_bytes(b"hunter2-"), "b": 1},
        [*b"hunt", [*b"er2-x"]],
    ],
)
def test_a_value_in_other_types_is_no_byte_of_the_payload_either(value: Value) -> None:
    secrets = Secrets({"a": "hunter2-x", "b": "hunter2-"})
    payload = encode(value)
    redacted = secrets.redact(payload)
    assert not secrets.holds(redacted)
    assert (redacted == payload) is not secrets.holds(payload)


def test_only_the_smallest_part_with_such_a_value_is_replaced() -> None:
    value = {"codes": list(b"hunter2-x"), "kept": [1, 2], "text": "it is hunter2-x"}
    found = decode(Secrets({"a": "hunter2-x"}).redact(encode(value)))
    assert found == {"codes": "<secret:a>", "kept": [1, 2], "text": "it is <secret:a>"}


def test_what_is_no_payload_or_becomes_too_large_is_replaced_as_a_whole() -> None:
    secrets = Secrets({"a": "hunter2-x"})
    assert decode(secrets.redact(b"\xc1hunter2-x")) == "<secret:a>"
    large = encode("hunter2-x" * ((MAX_PAYLOAD_BYTES - 10) // 9))
    assert decode(secrets.redact(large)) == "<secret:a>"


def test_the_deepest_payload_is_redacted() -> None:
    value: Value = "hunter2-x"
    for _ in range(MAX_DEPTH):
        value = [value]
    assert b"hunter2-x" not in Secrets({"a": "hunter2-x"}).redact(encode(value))


@pytest.mark.parametrize("cut_at", range(80 - 15, 80))
def test_a_message_that_is_cut_within_a_value_keeps_no_end_of_it(cut_at: int) -> None:
    secrets = Secrets({"a": "correct-horse-battery"})
    text = shown("x" * cut_at + "correct-horse-battery" + "y" * 400)
    assert "…" in text
    redacted = secrets.redact_text(text)
    assert "corr" not in redacted
    assert ("<secret:a:cut>" in redacted) is (cut_at <= 77)
    behind = shown(b"correct-horse-battery" + b"y" * 60, position=80 - cut_at + 22)
    assert re.search("batter", secrets.redact_text(behind)) is None
    payload = encode({"reason": text})
    assert decode(secrets.redact(payload)) == {"reason": redacted}


@pytest.mark.parametrize("position", range(0, 400, 10))
def test_a_message_that_shows_the_middle_of_a_long_value_keeps_none_of_it(position: int) -> None:
    value = "".join(f"{number}-{number * number}/" for number in range(100, 140))
    line = f'{{"token": "{value}", "x": 1}}'
    redacted = Secrets({"a": value}).redact_text(shown(line, position=position))
    pieces = [value[start : start + 8] for start in range(len(value) - 8)]
    assert [piece for piece in pieces if piece in redacted] == []
    assert "<secret:a:cut>" in redacted


@pytest.mark.parametrize("spelled", [json.dumps, repr, lambda text: repr(json.dumps(text)), lambda text: repr([text])])
def test_a_value_as_json_and_python_spell_it_is_found(spelled: Any) -> None:
    value = "pa\"ss'wörd\\42\n"
    secrets = Secrets({"a": value})
    text = f"before {spelled(value)} behind"
    redacted = secrets.redact_text(text)
    assert "rd" not in redacted
    assert secrets.reveal_text(redacted) == text


def test_a_spelling_that_a_new_value_does_not_need_is_revealed_as_that_value() -> None:
    redacted = Secrets({"a": 'with "quotes"'}).redact_text(json.dumps('with "quotes"'))
    assert redacted == '"<secret:a:1>"'
    assert Secrets({"a": "without quotes"}).reveal_text(redacted) == '"without quotes"'


def test_placeholders_of_secrets_that_are_unknown_stay() -> None:
    secrets = Secrets({"a": "hunter2-x"})
    text = "<secret:b> <secret:a:99> <secret:a:cut> <secret:a>"
    assert secrets.reveal_text(text) == "<secret:b> <secret:a:99> <secret:a:cut> hunter2-x"
    assert secrets.reveal(b"<secret:a>\xc1") == b"<secret:a>\xc1"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "shorter than 6"),
        ("12345", "shorter than 6"),
        ("     x", "shorter than 6"),
        ("123456", "number"),
        ("deadbeef", "number"),
        ("10000.25", "number"),
        ("hunter\0two", "NUL"),
        ("hunter\ud800two", "Unicode"),
    ],
)
def test_a_value_that_can_not_be_kept_secret_is_refused_without_saying_it(value: str, why: str) -> None:
    reason = weakness(value)
    assert why in reason
    assert not value.strip() or value not in reason


@pytest.mark.parametrize("value", ["secret!", "123456789012", "deadbeefdeadbeef", "pässword"])
def test_a_value_that_is_long_enough_is_taken(value: str) -> None:
    assert weakness(value) == ""


def test_the_placeholder_is_what_the_documentation_says() -> None:
    assert placeholder("broker") == "<secret:broker>"
    assert placeholder("broker", 2) == "<secret:broker:2>"


def test_whatever_a_writer_is_told_reaches_no_file(tmp_path: Path) -> None:
    value = "hunter2-x"
    about = {"scenario": {"description": f"it is {value}"}, "seed": 1, "nodes": {"a": {}}, value: [value]}
    run = tmp_path / "run"
    writer = RunWriter(run, node_ids=["a"], about=about, secrets=Secrets({"a": value}))
    assert value.encode() not in b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
    large = encode("x" * (OBJECT_MIN_BYTES - 13) + value)
    for type_, payload in ((value, encode({"p": value})), ("frame", large), (f"{value}/x", encode(1))):
        names = {"node": ["a"], "src": ["a"], "dst": [""], "type": [type_]}
        writer.append(1, "output", time_us=[0], late_us=[0], payload=[payload], cause=[()], **names)
    writer.end_step(1, 1_000)
    writer.close("failed", failure={"reason": f"no {value}"}, programs={"a": [value]}, versions={value: "1"})
    assert value.encode() not in b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
    opened = Run.open(run)
    assert opened.manifest["programs"] == {"a": ["<secret:a>"]}
    first, second, third, _ = [stored.row for stored in opened.rows()]
    assert (first.type, decode(first.payload), third.type) == ("<secret:a>", {"p": "<secret:a>"}, "<secret:a>/x")
    # With the placeholder, which is longer, the payload is large enough for an object.
    assert (second.payload, len(second.object)) == (b"", 64)
    assert opened.payload(second).endswith(b"<secret:a>")
