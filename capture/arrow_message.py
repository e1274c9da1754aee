"""What an Arrow message claims to hold, read from its metadata before Arrow makes room for it.

A compressed buffer begins with the length that it will have, and Arrow allocates that much at once: 40 bytes can ask
for all memory there is. The metadata is a flatbuffer (`format/Message.fbs` of Arrow); three of its tables matter here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA, DICTIONARY, RECORD_BATCH = "schema", "dictionary", "record batch"
_HEADER, _BODY_OF_DICTIONARY, _BUFFERS, _COMPRESSION = 2, 1, 2, 3
"""Numbers of fields: in Message, in DictionaryBatch, and two in RecordBatch."""
_HEADER_TYPE, _BODY_LENGTH = 1, 3
"""Two more in Message."""
_KINDS = {1: SCHEMA, 2: DICTIONARY, 3: RECORD_BATCH}
_NOT_COMPRESSED = -1
_PREFIX = struct.Struct("<Ii")
_CONTINUES = 0xFFFFFFFF
"""What every message begins with, before the length of its metadata."""


class MessageFault(ValueError):
    """Bytes are not the messages that they should be."""


def messages(data: bytes | memoryview) -> Iterator[tuple[int, pa.Message]]:
    """Yield where each message in `data` begins and the message; nothing else may be in it. Raises MessageFault."""
    import pyarrow as pa

    source = pa.BufferReader(pa.py_buffer(data))
    while (start := int(source.tell())) < len(data):
        try:
            message = pa.ipc.read_message(source)
        except (pa.ArrowException, EOFError, OSError) as error:
            raise MessageFault(str(error) or "the message is cut off") from error
        if message is None or message.body is None or message.type not in (SCHEMA, DICTIONARY, RECORD_BATCH):
            raise MessageFault("not a message of an event log")
        yield start, message


def expanded_bytes(message: pa.Message) -> int:
    """Return how many bytes the buffers of a message will take in memory. Raises MessageFault."""
    if message.type == SCHEMA:
        return 0
    metadata, body = memoryview(message.metadata), memoryview(message.body)
    try:
        table = _Table(metadata, struct.unpack_from("<I", metadata)[0]).table(_HEADER)
        if message.type == DICTIONARY:
            table = table.table(_BODY_OF_DICTIONARY)
        compressed = table.has(_COMPRESSION)
        return sum(_expanded(body, offset, length, compressed) for offset, length in table.pairs(_BUFFERS))
    except (struct.error, IndexError, ValueError) as error:
        raise MessageFault(f"its metadata makes no sense: {error}") from error


def _expanded(body: memoryview, offset: int, length: int, compressed: bool) -> int:
    if offset < 0 or length < 0 or offset + length > len(body):
        raise ValueError("a buffer lies outside of the message")
    if not compressed or length == 0:
        return length
    (claimed,) = struct.unpack_from("<q", body[offset : offset + length])
    if claimed == _NOT_COMPRESSED:
        return length
    if claimed < 0:
        raise ValueError("a buffer has a negative length")
    return int(claimed)


def message_at(file: BinaryIO, limit_bytes: int) -> tuple[int, str]:
    """Return how long the message is at which `file` stands, in bytes, and what it holds. Raises MessageFault.

    Of the message only its metadata is read; it may have `limit_bytes`.
    """
    prefix = file.read(_PREFIX.size)
    try:
        mark, metadata_bytes = _PREFIX.unpack(prefix)
        if mark != _CONTINUES or not 0 < metadata_bytes <= limit_bytes:
            raise ValueError("no message begins here")
        metadata = memoryview(file.read(metadata_bytes))
        table = _Table(metadata, struct.unpack_from("<I", metadata)[0])
        kind, body_bytes = table.byte(_HEADER_TYPE), table.long(_BODY_LENGTH)
        length = _PREFIX.size + metadata_bytes + body_bytes
        if body_bytes < 0 or length > limit_bytes:
            raise ValueError("the message is cut off")
        return length, _KINDS[kind]
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise MessageFault(str(error)) from error


class _Table:
    """A table of a flatbuffer: its fields by number."""

    def __init__(self, data: memoryview, position: int) -> None:
        self._data = data
        self._position = position
        self._fields = position - self._number("<i", position)
        if self._fields < 0:
            raise ValueError("a table without fields")
        self._size = self._number("<H", self._fields)

    def has(self, field: int) -> bool:
        """Return whether the table has a value for the field."""
        return self._place(field) != 0

    def table(self, field: int) -> _Table:
        """Return the table that a field refers to."""
        return _Table(self._data, self._target(field))

    def byte(self, field: int) -> int:
        """Return a field of 8 bits, 0 if it has no value."""
        place = self._place(field)
        return self._number("<B", place) if place else 0

    def long(self, field: int) -> int:
        """Return a field of 64 bits, 0 if it has no value."""
        place = self._place(field)
        return self._number("<q", place) if place else 0

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """Yield the members of a vector of pairs of 64-bit integers."""
        if not self.has(field):
            return
        start = self._target(field)
        count = self._number("<I", start)
        yield from struct.iter_unpack("<qq", self._data[start + 4 : start + 4 + 16 * count])

    def _target(self, field: int) -> int:
        place = self._place(field)
        if not place:
            raise ValueError(f"field {field} is missing")
        return place + self._number("<I", place)

    def _place(self, field: int) -> int:
        """Return where the value of a field stands, 0 if it has none."""
        entry = 4 + 2 * field
        offset = self._number("<H", self._fields + entry) if entry + 2 <= self._size else 0
        return self._position + offset if offset else 0

    def _number(self, form: str, position: int) -> int:
        return int(struct.unpack_from(form, self._data, position)[0])
