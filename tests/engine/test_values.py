"""Payload values: one encoding each, nothing lost, everything else refused by name."""

from __future__ import annotations

import enum
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.engine import values
from xtrace.engine.values import MAX_DEPTH, MAX_INT, MIN_INT, ValueFault, decode, encode

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(MIN_INT, MAX_INT), st.floats(), st.text(), st.binary(max_size=40)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


def exact(value):
    """Return `value` with kinds and the bits of floats made comparable: 1, 1.0 and True differ, NaN equals NaN."""
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, list):
        return [exact(each) for each in value]
    if isinstance(value, dict):
        return {key: exact(each) for key, each in value.items()}
    return type(value).__name__, value


def reordered(value):
    """Return an equal value whose dicts were filled the other way round."""
    if isinstance(value, list):
        return [reordered(each) for each in value]
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return value


@given(VALUES)
def test_what_is_decoded_is_what_was_encoded_to_the_bit(value):
    """Nothing is lost: ints stay ints, floats keep their bits, -0.0 its sign."""
    assert exact(value) == exact(decode(encode(value)))


@given(VALUES)
def test_the_order_of_keys_never_matters(value):
    """Equal values have equal bytes, however their dicts were filled."""
    assert encode(value) == encode(reordered(value))


def test_the_order_test_sees_an_encoder_that_keeps_the_order(monkeypatch):
    """Planted: without `_ordered`, two ways to fill a dict give different bytes."""
    monkeypatch.setattr(values, "_ordered", lambda value, depth: value)
    assert encode({"a": 1, "b": 2.0}) != encode({"b": 2.0, "a": 1})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "c0"),
        (True, "c3"),
        (7, "07"),
        (-1, "ff"),
        (200, "ccc8"),
        (MAX_INT, "cfffffffffffffffff"),
        (MIN_INT, "d38000000000000000"),
        (1.0, "cb3ff0000000000000"),
        (-0.0, "cb8000000000000000"),
        (math.nan, "cb7ff8000000000000"),
        (-math.inf, "cbfff0000000000000"),
        ("é", "a2c3a9"),
        (b"\x00", "c40100"),
        ((1, [2]), "92019102"),
        ({"b": 1, "a": {"d": 0, "c": 0}}, "82a16182a16300a16400a16201"),
    ],
)
def test_known_encodings(value, expected):
    """The bytes are those of the msgpack specification, shortest forms, keys sorted: they must never change."""
    assert expected == encode(value).hex()


def test_every_nan_is_the_same():
    """The sign and payload bits of a NaN are not information."""
    odd = struct.unpack(">d", bytes.fromhex("fff800000000dead"))[0]
    assert math.isnan(odd)
    assert encode([math.nan]) == encode([odd])


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "path", "word"),
    [
        ({1}, "$", "a set"),
        ({"a": [0, {1}]}, "$.a[1]", "a set"),
        ([bytearray(b"x")], "$[0]", "a bytearray"),
        ({"a": {"b": 1j}}, "$.a.b", "a complex"),
        ([Colour.RED], "$[0]", "Colour"),
        (Text("x"), "$", "Text"),
        ({"n": MAX_INT + 1}, "$.n", "64 bits"),
        ([MIN_INT - 1], "$[0]", "64 bits"),
        (2**64, "$", "64 bits"),
        ({1: "a"}, "$", "the key 1 is not a string"),
        ({"a": {None: 0}}, "$.a", "the key None is not a string"),
        ({Text("k"): 1}, "$", "is not a string"),
        ("\ud800", "$", "surrogate"),
        ({"a": ["\udfff"]}, "$.a[0]", "surrogate"),
        ({"\ud800": 1}, "$ key", "surrogate"),
        ({"a": object()}, "$.a", "can't be a payload"),
    ],
)
def test_what_is_no_value_is_refused_with_its_path(value, path, word):
    """The error names the place inside the payload and what is wrong there."""
    with pytest.raises(ValueFault) as caught:
        encode(value)
    assert path == caught.value.path
    assert word in caught.value.reason


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


def test_depth_has_a_limit():
    """MAX_DEPTH containers inside one another are a value, one more is not; nor is an endless one."""
    assert nested(MAX_DEPTH) == decode(encode(nested(MAX_DEPTH)))
    with pytest.raises(ValueFault, match="nested deeper than 64"):
        encode(nested(MAX_DEPTH + 1))
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueFault, match="nested deeper than 64"):
        encode(endless)


def test_size_has_a_limit(monkeypatch):
    """A payload beyond MAX_PAYLOAD_BYTES raises and says both sizes."""
    monkeypatch.setattr(values, "MAX_PAYLOAD_BYTES", 10)
    assert b"\xa9123456789" == encode("123456789")
    with pytest.raises(ValueFault, match="11 bytes are more than the limit of 10"):
        encode("1234567890")


@given(st.binary(max_size=30))
def test_bytes_that_are_no_value_raise_nothing_but_a_fault(data):
    """Hostile bytes either decode or raise ValueFault."""
    try:
        decode(data)
    except ValueFault:
        pass


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\x01\x01", b"\xa1\xff", b"\x81\x01\x01"])
def test_broken_bytes_are_refused(data):
    """Nothing, reserved bytes, too few, too many, bad UTF-8 and a key that is no text are faults."""
    with pytest.raises(ValueFault, match="not a msgpack value"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        *(b"\xcd\x00\x01", b"\xca\x00\x00\x00\x00", b"\x82\xa1b\x01\xa1a\x01", b"\x82\xa1a\x01\xa1a\x01", b"\xd9\x01a"),
        *(b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x00\x05", b"\x81\x01\x02", b"\x81\xc4\x01a\x01", b"\x91" * 65 + b"\xc0"),
        *(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", b"\x91" * 3_000 + b"\xc0", b"\xdd\xff\xff\xff\xff", b"\x01\x02"),
    ],
)
def test_what_is_stored_in_another_form_is_refused(data):
    """A value has one encoding; timestamps, extensions, keys that are no text and endless nesting have none."""
    with pytest.raises(ValueFault):
        decode(data)


def test_containers_have_a_limit(monkeypatch):
    """An array of nothing takes a byte of a payload and seventy in memory: both ways they are counted."""
    monkeypatch.setattr(values, "MAX_CONTAINERS", 5)
    data = encode([[]] * 4)
    assert [[]] * 4 == decode(data)
    assert encode([1] * 20) == b"\xdc\x00\x14" + b"\x01" * 20
    with pytest.raises(ValueFault, match="more than 5 arrays and maps"):
        encode([[]] * 5 + [1])
    with pytest.raises(ValueFault, match="more than 5 arrays and maps"):
        decode(b"\x96" + b"\x90" * 6)
