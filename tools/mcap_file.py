"""Reads an MCAP file that nobody vouches for: https://mcap.dev/spec, version 0, in bounded memory.

The `mcap` package writes such files well, but its reader takes a record that was cut for a whole one, trusts lengths,
decompresses without bound and leaves out most checksums. Here a record is read only after its length was compared with
what the file has, and every checksum that the file has is compared.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, TypeVar

from xtrace.engine.errors import CorruptionError
from xtrace.tools.decompress import decompressed

MAGIC = b"\x89MCAP0\r\n"
MAX_RECORD_BYTES = 64 * 1024 * 1024
"""What is read at once, and what a chunk may hold after decompression; attachments may be longer."""
MAX_EXPANSION = 1_000
ALWAYS_BYTES = 256 * 1024 * 1024
"""All chunks together may hold MAX_EXPANSION times what the file has, and this in any case: a black image does."""
ALWAYS_RECORDS = 100_000
"""They may have a record per byte of the file, and this many in any case: no small file makes endless work."""
MAX_NAME_BYTES = 4_096
MAX_ATTACHMENTS = 100_000
PIECE_BYTES = 1 << 20

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 1, 2, 3, 4, 5, 6
ATTACHMENT, METADATA, DATA_END = 9, 12, 15

_FRAME = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_NUMBERS = {width: struct.Struct(code) for width, code in ((2, "<H"), (4, "<I"), (8, "<Q"))}


class Schema(NamedTuple):
    """What the messages of a channel look like: `encoding` says in which language `data` does."""

    name: str
    encoding: str
    data: bytes


class Channel(NamedTuple):
    """Messages of one topic, in one encoding and, perhaps, with a schema."""

    id: int
    topic: str
    message_encoding: str
    schema: Schema | None
    metadata: dict[str, str]


class Message(NamedTuple):
    """A message: `offset` says where in the file it, or its chunk, begins."""

    channel: Channel
    sequence: int
    log_time_ns: int
    publish_time_ns: int
    data: bytes
    offset: int


_Defined = TypeVar("_Defined", Schema, Channel)


class Attachment(NamedTuple):
    """A file inside the file: where its bytes begin and how many they are."""

    name: str
    offset: int
    length: int


class _Fault(Protocol):
    def __call__(self, reason: str) -> CorruptionError: ...


class McapFile:
    """An MCAP file. The constructor goes through all of it, verifies its structure and every checksum outside of
    chunks, and keeps `metadata` and the places of `attachments`. Raises CorruptionError, OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.library = ""
        self.metadata: dict[str, dict[str, str]] = {}
        self.attachments: dict[str, Attachment] = {}
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._file = path.open("rb")
        try:
            self.size = self._file.seek(0, 2)
            self._data_end = self._scan()
            self._room = ALWAYS_BYTES + MAX_EXPANSION * self.size
            self._records_left = ALWAYS_RECORDS + self.size
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> McapFile:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def pieces(self, attachment: Attachment) -> Iterator[bytes]:
        """Yield the bytes of an attachment."""
        return self._pieces(attachment.offset, attachment.length)

    def messages(self) -> Iterator[Message]:
        """Yield the messages in the order of the file. Raises CorruptionError."""
        for opcode, start, length in self._records(len(MAGIC), self._data_end):
            if opcode == CHUNK:
                yield from self._messages_of(self._chunk(start, length), start)
            elif opcode in (SCHEMA, CHANNEL, MESSAGE):
                body = self._body(start, length)
                message = self._take(opcode, memoryview(body), start)
                if message is not None:
                    yield message

    def _scan(self) -> int:
        """Verify frames and checksums and return where the data section ends."""
        if self.size < 2 * len(MAGIC) or self._read(0, len(MAGIC)) != MAGIC:
            raise self._fault(0, "not an MCAP file: it does not begin with the magic bytes of MCAP, version 0")
        running, data_end, position = zlib.crc32(MAGIC), 0, len(MAGIC)
        for opcode, start, length in self._records(position, self.size - len(MAGIC)):
            frame = self._read(start - _FRAME.size, _FRAME.size)
            if position == len(MAGIC) and opcode != HEADER:
                raise self._fault(position, "the first record is no header")
            if opcode == DATA_END and not data_end:
                self._check_data_end(start, length, running)
                data_end, running = start - _FRAME.size, 0
            elif opcode == FOOTER:
                self._check_footer(start, length, zlib.crc32(frame, running), found_data_end=bool(data_end))
                return data_end
            else:
                running = zlib.crc32(frame, running)
                for piece in self._pieces(start, length):
                    running = zlib.crc32(piece, running)
                if not data_end:
                    self._note(opcode, start, length)
            position = start + length
        raise self._fault(position, "the file was cut: it has no footer")

    def _note(self, opcode: int, start: int, length: int) -> None:
        """Remember what is wanted before the messages."""
        if opcode == HEADER:
            body = _Body(self._body(start, length), partial(self._fault, start))
            body.text()
            self.library = body.text()
        elif opcode == METADATA:
            body = _Body(self._body(start, length), partial(self._fault, start))
            name = body.text()
            self.metadata[name] = body.mapping()
        elif opcode == ATTACHMENT:
            self._note_attachment(start, length)

    def _note_attachment(self, start: int, length: int) -> None:
        fault = partial(self._fault, start)
        head = _Body(self._read(start, min(length, 2 * MAX_NAME_BYTES)), fault)
        head.skip(16)
        name, _media_type = head.text(), head.text()
        data_length = head.number(8)
        if head.position + data_length + 4 != length:
            raise fault(f"the attachment {name!r} does not fill its record")
        running = 0
        for piece in self._pieces(start, length - 4):
            running = zlib.crc32(piece, running)
        checksum = int.from_bytes(self._read(start + length - 4, 4), "little")
        if checksum not in (0, running):
            raise fault(f"the checksum of the attachment {name!r} is wrong")
        if name in self.attachments or len(self.attachments) == MAX_ATTACHMENTS:
            raise fault(f"the attachment {name!r} is there twice, or there are more than {MAX_ATTACHMENTS}")
        self.attachments[name] = Attachment(name, start + head.position, data_length)

    def _check_data_end(self, start: int, length: int, running: int) -> None:
        body = _Body(self._body(start, length), partial(self._fault, start))
        if body.number(4) not in (0, running):
            raise self._fault(0, "the checksum of the data section is wrong", length=start - _FRAME.size)

    def _check_footer(self, start: int, length: int, running: int, *, found_data_end: bool) -> None:
        data = self._body(start, length)
        body = _Body(data, partial(self._fault, start))
        body.skip(16)
        if body.number(4) not in (0, zlib.crc32(data[:16], running)):
            raise self._fault(start, "the checksum of the summary section is wrong")
        if not found_data_end:
            raise self._fault(start, "there is no end of the data section before the footer")
        if start + length != self.size - len(MAGIC) or self._read(start + length, len(MAGIC)) != MAGIC:
            raise self._fault(start + length, "the footer is not followed by the magic bytes and the end of the file")

    def _chunk(self, start: int, length: int) -> bytes:
        fault = partial(self._fault, start)
        body = _Body(self._body(start, length), fault)
        body.skip(16)
        size, checksum, compression = body.number(8), body.number(4), body.text()
        data = body.take(body.number(8))
        if size > MAX_RECORD_BYTES:
            raise fault(f"a chunk of {size:,} bytes is larger than the limit of {MAX_RECORD_BYTES:,}")
        self._room -= size
        if self._room < 0:
            raise fault(f"the chunks up to here are said to hold more than {MAX_EXPANSION} times what the file has")
        content = decompressed(data, compression, size=size, fault=fault)
        if checksum and zlib.crc32(content) != checksum:
            raise fault("the checksum of a chunk is wrong")
        return content

    def _messages_of(self, content: bytes, offset: int) -> Iterator[Message]:
        view, position = memoryview(content), 0
        while position < len(content):
            if position + _FRAME.size > len(content):
                raise self._fault(offset, "a record inside a chunk is cut")
            opcode, length = _FRAME.unpack_from(content, position)
            position += _FRAME.size
            self._records_left -= 1
            if self._records_left < 0:
                raise self._fault(offset, "the chunks up to here hold more records than the file has bytes")
            if length > len(content) - position:
                raise self._fault(offset, "a record inside a chunk is longer than the chunk")
            message = self._take(opcode, view[position : position + length], offset)
            position += length
            if message is not None:
                yield message

    def _take(self, opcode: int, body: memoryview, offset: int) -> Message | None:
        """Return the message in a record; remember a schema or a channel."""
        if opcode == MESSAGE:
            if len(body) < _MESSAGE.size:
                raise self._fault(offset, "a message is cut")
            channel_id, sequence, log_time_ns, publish_time_ns = _MESSAGE.unpack_from(body)
            channel = self._channels.get(channel_id)
            if channel is None:
                raise self._fault(offset, f"a message is of channel {channel_id}, which there is not")
            return Message(channel, sequence, log_time_ns, publish_time_ns, bytes(body[_MESSAGE.size :]), offset)
        fields = _Body(bytes(body), partial(self._fault, offset)) if opcode in (SCHEMA, CHANNEL) else None
        if fields is None:
            return None
        if opcode == SCHEMA:
            id_, name, encoding = fields.number(2), fields.text(), fields.text()
            self._define(self._schemas, id_, Schema(name, encoding, fields.take(fields.number(4))), offset)
            return None
        id_, schema_id, topic, encoding = fields.number(2), fields.number(2), fields.text(), fields.text()
        if schema_id and schema_id not in self._schemas:
            raise self._fault(offset, f"channel {id_} has schema {schema_id}, which there is not")
        channel = Channel(id_, topic, encoding, self._schemas.get(schema_id), fields.mapping())
        self._define(self._channels, id_, channel, offset)
        return None

    def _define(self, known: dict[int, _Defined], id_: int, found: _Defined, offset: int) -> None:
        if known.setdefault(id_, found) != found:
            raise self._fault(offset, f"two different definitions have the number {id_}")

    def _records(self, position: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield opcode, start and length of the body of every record."""
        while position < end:
            frame = self._read(position, _FRAME.size) if position + _FRAME.size <= end else b""
            if not frame:
                raise self._fault(position, "a record is cut")
            opcode, length = _FRAME.unpack(frame)
            start = position + _FRAME.size
            if length > end - start:
                raise self._fault(position, f"a record of {length:,} bytes is longer than the rest of the file")
            yield opcode, start, length
            position = start + length

    def _body(self, start: int, length: int) -> bytes:
        if length > MAX_RECORD_BYTES:
            raise self._fault(start, f"a record of {length:,} bytes is larger than the limit of {MAX_RECORD_BYTES:,}")
        return self._read(start, length)

    def _pieces(self, start: int, length: int) -> Iterator[bytes]:
        end = start + length
        while start < end:
            piece = self._read(start, min(PIECE_BYTES, end - start))
            yield piece
            start += len(piece)

    def _read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        data = self._file.read(length)
        if len(data) != length:
            raise self._fault(start, "the file became shorter while it was read")
        return data

    def _fault(self, offset: int, reason: str, *, length: int | None = None) -> CorruptionError:
        return CorruptionError(self.path, reason, offset=offset, length=length)


class _Body:
    """Takes the fields of a record one after the other; `fault` makes the error for one that is cut."""

    def __init__(self, data: bytes, fault: _Fault) -> None:
        self.position = 0
        self._data = data
        self._fault = fault

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        end = self.position + length
        if end > len(self._data):
            raise self._fault("a field is longer than its record")
        data, self.position = self._data[self.position : end], end
        return data

    def skip(self, length: int) -> None:
        """Leave `length` bytes out."""
        self.take(length)

    def number(self, width: int) -> int:
        """Return an unsigned number of `width` bytes."""
        number: int = _NUMBERS[width].unpack(self.take(width))[0]
        return number

    def text(self) -> str:
        """Return a text behind its length."""
        try:
            return self.take(self.number(4)).decode()
        except UnicodeDecodeError:
            raise self._fault("a text is not UTF-8") from None

    def mapping(self) -> dict[str, str]:
        """Return texts by their names, behind their length in bytes."""
        end = self.number(4) + self.position
        found: dict[str, str] = {}
        while self.position < end:
            name = self.text()
            found[name] = self.text()
        if self.position != end:
            raise self._fault("a mapping does not end where it says")
        return found
