"""Payload values and their one canonical encoding.

A value is None, a bool, an int within 64 bits, a float, a str, bytes, or a list or string-keyed dict of
values. Its encoding is msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md) with sorted keys, shortest
forms, 64-bit floats, and one NaN; equal values have equal bytes. An int is never equal to a float.
"""

from __future__ import annotations

from types import NoneType
from typing import Any

import msgpack

Value = Any
"""None | bool | int | float | str | bytes | list[Value] | dict[str, Value]."""

MAX_DEPTH = 64
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
MAX_CONTAINERS = 1 << 20
"""How many arrays and maps a payload may have."""
MIN_INT, MAX_INT = -(2**63), 2**64 - 1

UNCHANGING = frozenset({int, str, bytes, bool, NoneType, float})
"""The types of values that nobody can change after they were sent."""
_PLAIN = UNCHANGING - {float}
_NAN = float("nan")
_pack = msgpack.Packer(strict_types=True, use_bin_type=True).pack
decode_canonical = msgpack.unpackb
"""Like `decode`, for bytes that `encode` made: no check, no errors."""
_JOIN = "".join


class ValueFault(ValueError):
    """A payload breaks a rule of values: `path` names the place (`$.a[3]`), `reason` the rule."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


def encode(value: Value) -> bytes:
    """Return the canonical bytes of `value`. Raises ValueFault."""
    try:
        data: bytes = _pack(value if type(value) in _PLAIN else _ordered(value, 0))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        _explain(value, "$", 0)
        raise ValueFault("$", str(error)) from error
    if len(data) > MAX_PAYLOAD_BYTES:
        raise ValueFault("$", f"{len(data)} bytes are more than the limit of {MAX_PAYLOAD_BYTES}")
    if len(data) > MAX_CONTAINERS:
        _check_containers(data)
    return data


def decode(data: bytes) -> Value:
    """Return the value whose canonical encoding is `data`, which may be any bytes. Raises ValueFault."""
    if len(data) > MAX_PAYLOAD_BYTES:
        raise ValueFault("$", f"{len(data)} bytes are more than the limit of {MAX_PAYLOAD_BYTES}")
    try:
        value = _decode_large(data) if len(data) > MAX_CONTAINERS else decode_canonical(data)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueFault("$", f"not a msgpack value: {error}") from error
    if encode(value) != data:
        raise ValueFault("$", "the value is not encoded in its one canonical form")
    return value


def _decode_large(data: bytes) -> Value:
    """Decode with a limit to the arrays and maps: each takes a byte of `data`, and a hundred in memory."""
    count = 0

    def counted(container: Value) -> Value:
        nonlocal count
        count += 1
        if count > MAX_CONTAINERS:
            raise ValueError(f"it has more than {MAX_CONTAINERS} arrays and maps")
        return container

    return msgpack.unpackb(data, list_hook=counted, object_hook=counted)


def snapshot(value: Value) -> Value:
    """Return a copy of `value` that shares nothing which can change. Raises ValueFault."""
    try:
        return _ordered(value, 0)
    except (TypeError, ValueError) as error:
        _explain(value, "$", 0)
        raise ValueFault("$", str(error)) from error


def _check_containers(data: bytes) -> None:
    """Raise ValueFault for an encoding that `decode` would refuse for its many arrays and maps."""
    try:
        _decode_large(data)
    except ValueError as error:
        raise ValueFault("$", str(error)) from error


def _ordered(value: Value, depth: int) -> Value:
    """Return `value` with every dict in key order, so that packing it gives the canonical bytes."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if value == value else _NAN
    if depth == MAX_DEPTH:
        raise ValueError("too deep")
    depth += 1
    if kind is dict:
        _JOIN(value)  # raises TypeError unless every key is a str
        return {
            key: member if type(member) in _PLAIN else _ordered(member, depth) for key, member in sorted(value.items())
        }
    if kind is list or kind is tuple:
        return [member if type(member) in _PLAIN else _ordered(member, depth) for member in value]
    raise TypeError(kind)


def _explain(value: Value, path: str, depth: int) -> None:
    """Raise the ValueFault that names the first offending place in `value`, if there is one."""
    kind = type(value)
    if kind is int and not MIN_INT <= value <= MAX_INT:
        raise ValueFault(path, f"the integer {value} does not fit in 64 bits")
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueFault(path, "the text has a lone surrogate and is not valid Unicode") from None
    if kind in _PLAIN or kind is float:
        return
    if depth == MAX_DEPTH:
        raise ValueFault(path, f"nested deeper than {MAX_DEPTH}")
    if kind is dict:
        for key, member in value.items():
            if type(key) is not str:
                raise ValueFault(path, f"the key {key!r} is not a string")
            _explain(key, f"{path} key", depth)
            _explain(member, f"{path}.{key}", depth + 1)
    elif kind is list or kind is tuple:
        for index, member in enumerate(value):
            _explain(member, f"{path}[{index}]", depth + 1)
    else:
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise ValueFault(path, f"a {name} can't be a payload: use None, bool, int, float, str, bytes, list or dict")
