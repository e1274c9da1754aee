"""Payload values as one line of JSON, exact in type and bits.

JSON has no bytes, no NaN and no infinities: they are objects with one key that begins with `$`, and a real key that
begins with `$` gets a second one (`PROTOCOL.md`, "Values"). Writing is canonical: sorted keys, no spaces, one spelling
of each value. Reading takes any JSON, but nothing that two readers might understand in two ways.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from typing import NoReturn

from xtrace.engine.values import MAX_DEPTH, MAX_INT, MIN_INT, Value

MAX_SHOWN_CHARACTERS = 80
LOGS_HINT = "every line here must be one message of the protocol; logs go to stderr"

# Digits become 0 and E becomes e, so that two substring searches find every number that might be out of range.
_NUMBERS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_INTEGER, _LONG_EXPONENT = b"0" * 19, b"e000"
_MAX_DIGITS = len(str(MIN_INT))
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class LineFault(ValueError):
    """A line breaks a rule `position` bytes into it."""

    def __init__(self, reason: str, *, position: int = 0, hint: str = "") -> None:
        self.reason = reason
        self.position = position
        self.hint = hint
        super().__init__(reason)


def encode_value(value: Value) -> str:
    """Return the one JSON text of `value`, which must be a value and is not checked to be one."""
    try:
        text = _dump(value)
    except (TypeError, ValueError):  # bytes; NaN and infinities
        return _dump(_escaped(value))
    return _dump(_escaped(value)) if '"$' in text else text


def decode_value(line: bytes, *, max_depth: int = MAX_DEPTH) -> Value:
    """Return the value that `line` stands for. Raises LineFault."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise LineFault("this is not UTF-8", position=error.start, hint=LOGS_HINT) from None
    numbers = line.translate(_NUMBERS, b"+")
    plain = not (b"$" in line or b"\\u" in line or _LONG_INTEGER in numbers or _LONG_EXPONENT in numbers)
    try:
        value = _decode_plain(text) if plain else _decode_careful(text)
    except json.JSONDecodeError as error:
        position = len(text[: error.pos].encode())
        raise LineFault("this is not JSON", position=position, hint=LOGS_HINT) from None
    except RecursionError:
        raise _too_deep() from None
    if line.count(b"[") + line.count(b"{") > max_depth and _deeper(value, max_depth):
        raise _too_deep()
    if b"\\u" in line:
        _refuse_surrogates(text)
    return value


def shown(text: bytes | str, *, position: int = 0) -> str:
    """Return `text` from near `position` in quotes, short and printable, with `…` where it was cut."""
    data = text.encode(errors="backslashreplace") if isinstance(text, str) else text
    start = max(0, position - MAX_SHOWN_CHARACTERS // 4)
    end = start + 4 * MAX_SHOWN_CHARACTERS
    part = data[start:end].decode(errors="backslashreplace").rstrip("\r\n")
    cut = len(part) > MAX_SHOWN_CHARACTERS or len(data) > end
    return ("…" if start else "") + repr(part[:MAX_SHOWN_CHARACTERS]) + ("…" if cut else "")


def printable(text: str) -> str:
    """Return `text` with everything escaped that could control a terminal, but not its line breaks."""
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


def _escaped(value: Value) -> Value:
    """Return `value` with `$` forms for what JSON lacks."""
    kind = type(value)
    if kind is dict:
        return {f"${key}" if key[:1] == "$" else key: _escaped(member) for key, member in value.items()}
    if kind is list or kind is tuple:
        return [_escaped(member) for member in value]
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if kind is float and not math.isfinite(value):
        return {"$float": "nan" if value != value else "inf" if value > 0 else "-inf"}
    return value


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    members = dict(pairs)
    if len(members) != len(pairs):
        count = Counter(key for key, _ in pairs)
        twice = next(key for key in count if count[key] > 1)
        raise LineFault(f"the key {shown(twice)} stands twice in an object")
    return members


def _unescaped(pairs: list[tuple[str, Value]]) -> Value:
    """Return the object of `pairs`, or the value if it is a `$` form."""
    members = _unique(pairs)
    if not any(key[:1] == "$" for key in members):
        return members
    if len(members) == 1:
        key, value = pairs[0]
        if key == "$bytes":
            return _bytes(value)
        if key == "$float":
            return _special_float(value)
    for key in members:
        if key[:1] == "$" and key[:2] != "$$":
            raise LineFault(f"the key {shown(key)} begins with one $: write two for a real key")
    return {key[1:] if key[:1] == "$" else key: member for key, member in members.items()}


def _bytes(text: Value) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
        if base64.b64encode(data).decode() == text:
            return data
    except (TypeError, ValueError):
        pass
    raise LineFault('"$bytes" must be base64 text with the standard alphabet and padding')


def _special_float(name: Value) -> float:
    if type(name) is not str or name not in _FLOATS:
        raise LineFault('"$float" must be "nan", "inf" or "-inf"')
    return _FLOATS[name]


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or not MIN_INT <= int(digits) <= MAX_INT:
        raise LineFault(f"the integer {shown(digits)} does not fit in 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise LineFault(f"the number {shown(digits)} does not fit in a 64-bit float")
    return value


def _constant(name: str) -> NoReturn:
    raise LineFault(f'{name} is not JSON: write {{"$float": "nan"}}, "inf" or "-inf"')


def _too_deep() -> LineFault:
    return LineFault(f"lists and objects are nested deeper than {MAX_DEPTH}")


def _deeper(value: Value, room: int) -> bool:
    kind = type(value)
    if kind is not dict and kind is not list:
        return False
    members = value.values() if kind is dict else value
    return room == 0 or any(_deeper(member, room - 1) for member in members)


def _refuse_surrogates(text: str) -> None:
    # Written back as Unicode, a lone surrogate is still there and can't be encoded.
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise LineFault("a text has a lone surrogate and is not valid Unicode") from None


_dump = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_decode_plain = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant).decode
_decode_careful = json.JSONDecoder(
    object_pairs_hook=_unescaped, parse_int=_integer, parse_float=_float, parse_constant=_constant
).decode
