"""The codec of the node protocol: exact in type and bits, and nothing but clear errors for what breaks a rule."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xtrace.engine import values
from xtrace.engine.errors import NodeCrashed, ProtocolError
from xtrace.engine.event import CAUSE_HISTORY, NEVER, Done, Event, Output
from xtrace.engine.json_values import MAX_SHOWN_CHARACTERS, LineFault, decode_value, encode_value, shown
from xtrace.engine.node import Setup
from xtrace.engine.protocol import (
    MAX_ERROR_CHARACTERS,
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    SHUTDOWN,
    decode_done,
    decode_ready,
    encode_advance,
    encode_init,
)
from xtrace.engine.remote import SHUTDOWN_S

VECTORS = json.loads(Path(__file__).with_name("protocol_vectors.json").read_text())
LAW = Path(__file__).parents[2] / "engine" / "PROTOCOL.md"

scalars = (
    st.none()
    | st.booleans()
    | st.integers(values.MIN_INT, values.MAX_INT)
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(["$", "$bytes", "\\u0024", '"$', "1e400", "9" * 25, values.MAX_INT, values.MIN_INT, -0.0])
)
keys = st.text() | st.sampled_from(["$", "$$", "$bytes", "$float", "$$x", "a$"])
payloads = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def exact(value: object) -> object:
    """Return `value` with its types and bits in plain sight; the one NaN is equal to itself."""
    if isinstance(value, dict):
        return {key: exact(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [exact(member) for member in value]
    return (type(value), value.hex() if isinstance(value, float) else value)


@given(payloads)
@example({"$bytes": "AA=="})
@example([1, 1.0, -0.0, 0, True, 1e22, 5e-324, math.inf, -math.inf, math.nan])
@example(nested(values.MAX_DEPTH))
def test_a_value_comes_back_exact_in_type_and_bits(value):
    line = encode_value(value).encode()
    assert b"\n" not in line
    assert exact(decode_value(line)) == exact(value)
    assert values.encode(decode_value(line)) == values.encode(value)


@given(payloads)
def test_equal_values_are_equal_bytes(value):
    """A payload read back from the event log gives the node the bytes that it got in the recording."""
    stored = values.decode(values.encode(value))
    assert encode_value(stored) == encode_value(value)


@given(payloads)
def test_spaces_and_escapes_do_not_matter(value):
    line = json.dumps(json.loads(encode_value(value)), indent=2, ensure_ascii=True).encode()
    assert exact(decode_value(line)) == exact(value)


def mutated(draw: st.DrawFn) -> bytes:
    line = bytearray(encode_value({"msg": "DONE", "time_us": 1, "events": [draw(payloads)]}).encode())
    for _ in range(draw(st.integers(0, 3))):
        line[draw(st.integers(0, len(line) - 1))] = draw(st.sampled_from(b'"{}[],:$\\u0e9.-\n\xff'))
    return bytes(line)


@given(st.binary() | st.composite(mutated)())
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"9" * 5_000)
@example(b'{"msg":"DONE","time_us":' + b"9" * 5_000 + b"}")
@example(b'{"$bytes":"\xc3\xa9"}')
@example(b"-" * 30)
def test_arbitrary_bytes_give_nothing_but_a_protocol_error(line):
    for decode in (done, ready):
        error = failure_of(decode, line)
        if error is not None:
            assert error.node == "n"
            assert str(error).replace("\n", "").isprintable()
            assert len(error.reason) < 500


def failure_of(decode: Callable[[bytes], object], line: bytes) -> ProtocolError | NodeCrashed | None:
    try:
        decode(line)
    except (ProtocolError, NodeCrashed) as error:
        return error
    return None


def ready(line: bytes, *, offset: int = 0) -> tuple[str, ...]:
    return decode_ready(line, node="n", offset=offset)


def done(line: bytes, *, offset: int = 0) -> Done:
    return decode_done(line, node="n", offset=offset, time_us=2000)


@pytest.mark.parametrize(("text", "canonical"), VECTORS["values"]["right"])
def test_a_right_value_has_one_canonical_text(text, canonical):
    assert encode_value(decode_value(text.encode())) == canonical
    assert encode_value(decode_value(canonical.encode())) == canonical


@pytest.mark.parametrize(("text", "rule"), VECTORS["values"]["wrong"])
def test_a_wrong_value_is_refused_with_the_rule(text, rule):
    with pytest.raises(LineFault) as caught:
        decode_value(text.encode())
    assert rule in caught.value.reason


@pytest.mark.parametrize(("line", "rule"), VECTORS["values"]["wrong_hex"])
def test_what_is_not_utf_8_is_refused(line, rule):
    with pytest.raises(LineFault, match=rule):
        decode_value(bytes.fromhex(line))


@pytest.mark.parametrize("line", VECTORS["done"]["right"])
def test_a_right_done_is_read(line):
    assert isinstance(done(line.encode()), Done)


@pytest.mark.parametrize(("line", "rule"), VECTORS["done"]["wrong"])
def test_a_wrong_done_is_refused_with_the_rule(line, rule):
    with pytest.raises(ProtocolError) as caught:
        done(line.encode())
    assert rule in caught.value.reason


def test_done_is_read_field_by_field():
    line = (
        b'{"msg":"DONE","time_us":2000,"next_time_us":null,"events":['
        b'{"time_us":1000,"dst":"a","type":"t","payload":1.0,"cause":[3,4]},'
        b'{"time_us":1001,"dst":"","type":"u","payload":null}]}\n'
    )
    outputs = [Output(1000, "a", "t", 1.0, (3, 4)), Output(1001, "", "u", None, None)]
    assert done(line) == Done(outputs, NEVER)
    assert done(b'{"msg":"DONE","time_us":2000,"events":[]}').next_time_us == 0


def test_ready_announces_capabilities():
    assert ready(b'{"msg":"READY","protocol":1,"capabilities":["SNAPSHOT","new"]}') == ("SNAPSHOT", "new")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"msg":"READY","protocol":2,"capabilities":[]}', "READY has protocol 2, INIT had 1"),
        (b'{"msg":"READY","protocol":"1","capabilities":[]}', "READY protocol must be an integer, not text"),
        (b'{"msg":"READY","protocol":1}', "READY lacks the key 'capabilities'"),
        (b'{"msg":"READY","protocol":1,"capabilities":{}}', "READY capabilities must be a list, not an object"),
        (
            b'{"msg":"READY","protocol":1,"capabilities":["a",1]}',
            r"READY capabilities\[1\] must be text, not an integer",
        ),
        (b'{"msg":"DONE","time_us":0,"events":[]}', "READY or ERROR was expected"),
    ],
)
def test_a_wrong_ready_is_refused(line, rule):
    with pytest.raises(ProtocolError, match=rule):
        ready(line)


def test_error_is_the_text_of_a_crash_without_control_characters():
    with pytest.raises(NodeCrashed) as caught:
        done(b'{"msg":"ERROR","message":"no\\nvalve \\u001b[2J"}')
    assert caught.value.reason == "it reported an error: no\nvalve \\x1b[2J"
    with pytest.raises(NodeCrashed) as caught:
        ready(json.dumps({"msg": "ERROR", "message": "x" * 5000}).encode())
    assert len(caught.value.reason) < MAX_ERROR_CHARACTERS + 50


def test_the_place_of_a_mistake_is_counted_in_bytes_of_the_output():
    with pytest.raises(ProtocolError, match="byte 108 of its output: this is not JSON") as caught:
        done('{"é":1 x}'.encode(), offset=100)
    assert "logs go to stderr" in caught.value.hint


def test_a_payload_may_be_64_deep_wherever_it_stands():
    def line(depth: int) -> bytes:
        event = {"time_us": 0, "dst": "", "type": "t", "payload": nested(depth)}
        return json.dumps({"msg": "DONE", "time_us": 2000, "events": [event]}).encode()

    assert done(line(values.MAX_DEPTH)).outputs[0].payload == nested(values.MAX_DEPTH)
    with pytest.raises(ProtocolError, match="nested deeper than 64"):
        done(line(values.MAX_DEPTH + 1))
    with pytest.raises(LineFault, match="nested deeper than 64"):
        decode_value(encode_value(nested(values.MAX_DEPTH + 1)).encode())


def test_init_and_advance_are_written_as_the_document_says():
    setup = Setup("edge", "gateway", 2**64 - 1, {"window": 3, "gain": 1.0, "$key": b"\x00"})
    assert encode_init(setup) == (
        b'{"msg":"INIT","config":{"$$key":{"$bytes":"AA=="},"gain":1.0,"window":3},"node":"edge","protocol":1,'
        b'"seed":"18446744073709551615","type":"gateway"}\n'
    )
    assert encode_advance(0, 1000, []) == b'{"msg":"ADVANCE","from_us":0,"time_us":1000,"events":[]}\n'
    assert (
        encode_advance(0, 1000, [Event(1, 5, "a", "é", {"b": math.nan, "a": 1})])
        == (
            '{"msg":"ADVANCE","from_us":0,"time_us":1000,"events":['
            '{"id":1,"payload":{"a":1,"b":{"$float":"nan"}},"src":"a","time_us":5,"type":"é"}]}\n'
        ).encode()
    )


def test_what_can_not_be_sent_is_said_before_it_is_sent(monkeypatch):
    with pytest.raises(values.ValueFault, match=r"\$.a: a set can't be a payload"):
        encode_init(Setup("n", "t", 1, {"a": {1}}))
    monkeypatch.setattr("xtrace.engine.protocol.MAX_LINE_BYTES", 100)
    with pytest.raises(values.ValueFault, match="longer than the limit of 100"):
        encode_advance(0, 1, [Event(1, 0, "a", "t", "x" * 100)])


def test_what_is_shown_is_short_and_printable():
    assert shown(b"ok\r\n") == "'ok'"
    assert shown(b"\x1b[31m\xff") == repr("\x1b[31m\\xff")
    assert len(shown(b"x" * 10**6, position=500_000)) == MAX_SHOWN_CHARACTERS + 4
    assert shown(b"a" * 100 + b"HERE" + b"b" * 100, position=100).startswith("…'" + "a" * 20 + "HERE")


def test_the_document_has_the_numbers_of_the_code():
    text = LAW.read_text()
    assert f"# The node protocol, version {PROTOCOL_VERSION}\n" in text
    assert f"at most {MAX_LINE_BYTES:,} bytes" in text
    assert f"at most {values.MAX_DEPTH} deep" in text
    assert f"{MAX_ERROR_CHARACTERS:,} characters" in text
    assert f"has {SHUTDOWN_S:.0f} s to end" in text
    assert f"The last {CAUSE_HISTORY:,} inputs" in text
    assert json.loads(SHUTDOWN) == {"msg": "SHUTDOWN"}
