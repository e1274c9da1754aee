"""The messages of the node protocol, as `PROTOCOL.md` lays them down: one JSON object a line.

`PROTOCOL_VERSION` is raised when a node that conforms would stop working. Reading refuses whatever is not exactly
right, with the byte of the node's output at which it stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from xtrace.engine.errors import NodeCrashed, ProtocolError
from xtrace.engine.event import NEVER, Done, Event, Output
from xtrace.engine.json_values import LOGS_HINT, LineFault, decode_value, encode_value, printable, shown
from xtrace.engine.node import Setup
from xtrace.engine.values import MAX_DEPTH, Value, ValueFault, encode

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 64 * 1024 * 1024
"""The longest line, its newline included, in either direction."""
MAX_ERROR_CHARACTERS = 2_000

SHUTDOWN = b'{"msg":"SHUTDOWN"}\n'

_PAYLOAD_DEPTH = 3
"""A payload stands in an event, in a list, in a message."""
_OUTPUT = frozenset({"time_us", "dst", "type", "payload"})
_KINDS = {
    bool: "a boolean",
    bytes: "bytes",
    dict: "an object",
    float: "a float",
    int: "an integer",
    list: "a list",
    str: "text",
    type(None): "null",
}


def encode_init(setup: Setup) -> bytes:
    """Return the INIT line. Raises ValueFault for a config that holds what is no value."""
    encode(dict(setup.config))
    fields = {"protocol": PROTOCOL_VERSION, "node": setup.node, "type": setup.type, "seed": str(setup.seed)}
    return _line("INIT", {**fields, "config": dict(setup.config)})


def encode_advance(from_us: int, time_us: int, events: Sequence[Event]) -> bytes:
    """Return the ADVANCE line; payloads must be values. Raises ValueFault for a line that is too long."""
    if not events:
        return b'{"msg":"ADVANCE","from_us":%d,"time_us":%d,"events":[]}\n' % (from_us, time_us)
    text = encode_value([event._asdict() for event in events])
    return _checked(f'{{"msg":"ADVANCE","from_us":{from_us},"time_us":{time_us},"events":{text}}}\n'.encode())


def decode_ready(line: bytes, *, node: str, offset: int) -> tuple[str, ...]:
    """Return the capabilities that READY announces. Raises ProtocolError, or NodeCrashed for ERROR."""
    try:
        message = _message(line, "READY", ("protocol", "capabilities"))
        version = _typed(message["protocol"], int, "READY protocol")
        if version != PROTOCOL_VERSION:
            raise LineFault(f"READY has protocol {version}, INIT had {PROTOCOL_VERSION}")
        capabilities = _typed(message["capabilities"], list, "READY capabilities")
        return tuple(_typed(each, str, f"READY capabilities[{index}]") for index, each in enumerate(capabilities))
    except LineFault as fault:
        _refuse(fault, line, node=node, offset=offset)
    except _Reported as error:
        raise NodeCrashed(node, f"it reported an error: {error}") from None


def decode_done(line: bytes, *, node: str, offset: int, time_us: int) -> Done:
    """Return the answer to an ADVANCE to `time_us`. Raises ProtocolError, or NodeCrashed for ERROR.

    Form and types are checked here; which times and destinations are possible is the coordinator's to say.
    """
    try:
        message = _message(line, "DONE", ("time_us", "events"), optional="next_time_us")
        reached_us = _typed(message["time_us"], int, "DONE time_us")
        if reached_us != time_us:
            raise LineFault(f"DONE has time_us {reached_us}, ADVANCE had {time_us}")
        events = _typed(message["events"], list, "DONE events")
        return Done([_output(each, index) for index, each in enumerate(events)], _next_time_us(message))
    except LineFault as fault:
        _refuse(fault, line, node=node, offset=offset)
    except _Reported as error:
        raise NodeCrashed(node, f"it reported an error: {error}") from None


class _Reported(Exception):
    """The node sent ERROR instead of an answer."""


def _refuse(fault: LineFault, line: bytes, *, node: str, offset: int) -> NoReturn:
    place = f"byte {offset + fault.position} of its output"
    reason = f"{place}: {fault.reason}: {shown(line, position=fault.position)}"
    raise ProtocolError(node, reason, hint=fault.hint) from None


def _line(name: str, fields: Mapping[str, Value]) -> bytes:
    return _checked(f'{{"msg":"{name}",{encode_value(fields)[1:]}\n'.encode())


def _checked(line: bytes) -> bytes:
    if len(line) > MAX_LINE_BYTES:
        raise ValueFault("$", f"a message of {len(line)} bytes is longer than the limit of {MAX_LINE_BYTES}")
    return line


def _message(line: bytes, expected: str, keys: Iterable[str], *, optional: str = "") -> Mapping[str, Value]:
    """Return the message `expected` with all of `keys` and no others; `optional` may be there."""
    message = decode_value(line, max_depth=MAX_DEPTH + _PAYLOAD_DEPTH)
    if type(message) is not dict:
        raise LineFault(f"a message is an object, not {_kind(message)}", hint=LOGS_HINT)
    name = message.get("msg")
    if name == "ERROR":
        _check_keys(message, ("msg", "message"), where="ERROR")
        text = _typed(message["message"], str, "ERROR message")
        cut = "…" if len(text) > MAX_ERROR_CHARACTERS else ""
        raise _Reported(printable(text[:MAX_ERROR_CHARACTERS]) + cut)
    if name != expected:
        raise LineFault(f"{expected} or ERROR was expected", hint="" if "msg" in message else LOGS_HINT)
    _check_keys(message, ("msg", *keys), where=expected, optional=optional)
    return message


def _output(event: Value, index: int) -> Output:
    if type(event) is not dict:
        raise LineFault(f"DONE events[{index}] must be an object, not {_kind(event)}")
    cause = None
    if event.keys() != _OUTPUT:
        _check_keys(event, _OUTPUT, where=f"DONE events[{index}]", optional="cause")
        cause = _cause(event["cause"], index)
    time_us, dst, kind = event["time_us"], event["dst"], event["type"]
    if type(time_us) is not int or type(dst) is not str or type(kind) is not str:
        _typed(time_us, int, f"DONE events[{index}].time_us")
        _typed(dst, str, f"DONE events[{index}].dst")
        _typed(kind, str, f"DONE events[{index}].type")
    return Output(time_us, dst, kind, event["payload"], cause)


def _cause(ids: Value, index: int) -> tuple[int, ...]:
    if type(ids) is not list or any(type(each) is not int for each in ids):
        raise LineFault(f"DONE events[{index}].cause must be a list of integers")
    return tuple(ids)


def _next_time_us(message: Mapping[str, Value]) -> int:
    next_time_us = message.get("next_time_us", 0)
    if next_time_us is None:
        return NEVER
    if type(next_time_us) is not int or next_time_us < 0:
        raise LineFault("DONE next_time_us must be null or an integer that is not negative")
    return next_time_us


def _check_keys(members: Mapping[str, Value], required: Iterable[str], *, where: str, optional: str = "") -> None:
    known = sorted(required) + ([optional] if optional else [])
    for key in members:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise LineFault(f"{where} has an unknown key {shown(key)}{hint}")
    for key in sorted(required):
        if key not in members:
            raise LineFault(f"{where} lacks the key {key!r}")


def _typed(value: Value, kind: type, where: str) -> Any:
    if type(value) is not kind:
        raise LineFault(f"{where} must be {_KINDS[kind]}, not {_kind(value)}")
    return value


def _kind(value: Value) -> str:
    return _KINDS[type(value)]
