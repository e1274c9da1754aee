"""`events.tail`, the journal of a run being recorded: the rows that are in no block yet, in frames with checksums.

A block makes the frames of its rows superfluous and empties the journal. A frame is length, CRC-32 and a msgpack array
of columns; `capture/FORMAT.md` has the tables.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from xtrace.capture.blocks import BlockEncoder
from xtrace.capture.columns import Columns, Pending
from xtrace.capture.disk import Disk, LogFile
from xtrace.capture.files import read_limited
from xtrace.engine.errors import CorruptionError

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"XTTAIL\0\0"
TAIL_VERSION = 1
_HEADER = struct.Struct("<8sI")
_FRAME = struct.Struct("<II")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
MAX_TAIL_BYTES = 1 << 30
_FRAME_BEGINS = b"\x9c"
"""The content of every frame: a msgpack array of twelve."""
SEARCHED_TIMES = 8
"""How many times the length of a damaged journal is looked through at most for frames that are whole."""
_FAULTS = (ValueError, TypeError, KeyError, OverflowError, struct.error, msgpack.UnpackException)
"""What a frame raises that no recorder has written; the exceptions of Arrow are among them."""


class TailWriter:
    """The journal of a run; `rows` says how many rows of the block that is being filled stand in it."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self.file = LogFile(disk, path)
        header = _HEADER.pack(MAGIC, TAIL_VERSION)
        try:
            self.file.lock()
            self.file.append(header + _CRC.pack(zlib.crc32(header)))
        except OSError:
            self.file.close()
            raise
        self._empty = self.file.mark()
        self.rows = self._pieces = 0

    def write(self, pending: Pending) -> None:
        """Append a frame with the rows that are not in the journal yet. Raises OSError and leaves it as it was."""
        columns = pending.columns(first_piece=self._pieces, first_row=self.rows)
        body = msgpack.packb(_frame(columns), use_bin_type=True)
        length = len(body).to_bytes(4, "little")
        before = self.file.mark()
        try:
            self.file.append(_FRAME.pack(len(body), zlib.crc32(body, zlib.crc32(length))) + body)
        except OSError:
            self.file.cut_back(before)
            raise
        self.rows, self._pieces = pending.rows, len(pending.pieces)

    def clear(self) -> None:
        """Empty the journal: a block holds its rows."""
        if self.rows:
            self.file.cut_back(self._empty)
        self.rows = self._pieces = 0


class Tail(NamedTuple):
    """What a journal holds: its whole frames in order; what can't be read of it, and what was not finished.

    `torn` is the last frame if it is cut off: it was being written when its writer was killed.
    """

    frames: list[pa.RecordBatch]
    damages: list[CorruptionError]
    torn: CorruptionError | None


def read_tail(path: Path, encoder: BlockEncoder) -> Tail:
    """Return what stands in a journal; `encoder` knows the vocabulary.

    Frames behind a damaged one are found by their checksums. Raises CorruptionError if the file can't be read, or is a
    journal of a newer version.
    """
    data = read_limited(path, limit_bytes=MAX_TAIL_BYTES)
    tail = Tail([], [], None)
    header = data[: _HEADER.size]
    if data[_HEADER.size : HEADER_BYTES] != _CRC.pack(zlib.crc32(header)) or len(header) < _HEADER.size:
        length = min(HEADER_BYTES, len(data))
        tail.damages.append(CorruptionError(path, "the checksum of the header is wrong", length=length))
    elif _HEADER.unpack(header)[0] != MAGIC or _HEADER.unpack(header)[1] > TAIL_VERSION:
        raise CorruptionError(path, f"not a journal of version {TAIL_VERSION} or older", length=HEADER_BYTES)
    offset = HEADER_BYTES
    while offset < len(data):
        left = len(data) - offset
        body = _body(data, offset)
        if body is None:
            following = _next_frame(data, offset + 1)
            if following == len(data) and _is_cut_off(data, offset):
                return tail._replace(
                    torn=CorruptionError(path, "the last frame is cut off", offset=offset, length=left)
                )
            reason = "the checksum of a frame is wrong"
            tail.damages.append(CorruptionError(path, reason, offset=offset, length=following - offset))
            offset = following
            continue
        try:
            tail.frames.append(_batch(body, encoder))
        except _FAULTS as error:
            reason = f"a frame makes no sense: {error}"
            tail.damages.append(CorruptionError(path, reason, offset=offset, length=_FRAME.size + len(body)))
        offset += _FRAME.size + len(body)
    return tail


def _body(data: bytes, offset: int) -> memoryview | None:
    """Return the content of the frame at `offset`, None if none that is whole begins there."""
    if len(data) - offset < _FRAME.size:
        return None
    length, check = _FRAME.unpack_from(data, offset)
    body = memoryview(data)[offset + _FRAME.size : offset + _FRAME.size + length]
    whole = len(body) == length and zlib.crc32(body, zlib.crc32(data[offset : offset + 4])) == check
    return body if whole else None


def _is_cut_off(data: bytes, offset: int) -> bool:
    """Return whether the frame at `offset` ends behind the end of the journal."""
    left = len(data) - offset
    return left < _FRAME.size or _FRAME.unpack_from(data, offset)[0] > left - _FRAME.size


def _next_frame(data: bytes, start: int) -> int:
    """Return where the next whole frame begins at `start` or later, the end of the journal if there is none."""
    budget = SEARCHED_TIMES * len(data)
    while budget > 0 and (found := data.find(_FRAME_BEGINS, start + _FRAME.size)) >= 0:
        offset = found - _FRAME.size
        if not _is_cut_off(data, offset):
            budget -= _FRAME.unpack_from(data, offset)[0]
            if _body(data, offset) is not None:
                return offset
        start = offset + 1
    return len(data)


def _batch(body: memoryview, encoder: BlockEncoder) -> pa.RecordBatch:
    return encoder.batch(_columns(msgpack.unpackb(body, strict_map_key=True)))


def _frame(columns: Columns) -> list[Any]:
    return [
        columns.first_seq,
        columns.runs,
        columns.time_us.tolist(),
        columns.node,
        columns.src,
        columns.dst,
        columns.type,
        columns.late_us.tolist(),
        columns.payload,
        list(columns.object.items()),
        columns.causes.tolist(),
        columns.cause.tolist(),
    ]


def _columns(frame: Any) -> Columns:
    """Return the rows of a frame. Raises TypeError, ValueError or OverflowError for what no recorder writes."""
    first_seq, runs, times, node, src, dst, types, lates, payloads, objects, counts, cause = frame
    columns = Columns(
        first_seq=first_seq,
        runs=[(step, kind, count) for step, kind, count in runs],
        time_us=array("q", times),
        node=node,
        src=src,
        dst=dst,
        type=types,
        late_us=array("q", lates),
        payload=payloads,
        object=dict(objects),
        causes=array("i", counts),
        cause=array("q", cause),
    )
    if type(first_seq) is not int or first_seq < 0:
        raise ValueError(f"the first row has the number {first_seq!r}")
    words = (node, src, dst, types, columns.object.values())
    if not all(type(word) is str for column in words for word in column):
        raise TypeError("a word is no text")
    if not all(type(step) is int and type(count) is int and count > 0 and step >= 0 for step, _, count in columns.runs):
        raise ValueError("a run of rows has no length or step")
    if not all(type(payload) is bytes for payload in payloads):
        raise TypeError("a payload is not bytes")
    if not all(type(row) is int for row in columns.object):
        raise TypeError("an object belongs to no row")
    lengths = {len(each) for each in (times, lates, node, src, dst, types, payloads, counts)}
    if lengths != {sum(count for _, _, count in columns.runs)} or sum(counts) != len(cause) or min(counts) < 0:
        raise ValueError("the columns are not of one length")
    return columns
