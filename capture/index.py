"""The two indexes of a run: fixed-size records, each under its own checksum, written and read here.

`events.index` holds a header (what precedes block 0 in `events.arrow`) and a record per block. `nodes.index` holds a
record per block and node that was active in it. All integers are little-endian; `capture/FORMAT.md` has the tables.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar, overload

from xtrace.capture.files import open_regular, read_limited, size_of
from xtrace.engine.errors import CorruptionError

EVENTS_MAGIC = b"XTEVIDX\0"
NODES_MAGIC = b"XTNDIDX\0"
INDEX_VERSION = 0
NODE_DIGEST_BYTES = 16
MAX_BLOCKS = 1 << 20
"""How many blocks a run may have: two thousand million rows in blocks of the smallest size."""
MAX_HEAD_BYTES = 64 * 1024 * 1024
"""How long schema and vocabulary may be."""

_HEADER = struct.Struct("<8sIIQ32s")
_BLOCK = struct.Struct("<QQQQQQqq32s32s")
_NODE = struct.Struct(f"<II{NODE_DIGEST_BYTES}s{NODE_DIGEST_BYTES}s")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
BLOCK_BYTES = _BLOCK.size + _CRC.size
NODE_BYTES = _NODE.size + _CRC.size
_PIECE_RECORDS = 4_096
"""How many records of `nodes.index` are read at once."""
_LIMIT = 2**63
T = TypeVar("T")


class Header(NamedTuple):
    """What stands in `events.arrow` before block 0: its length in bytes and SHA-256."""

    head_length: int
    head_checksum: bytes


class BlockRecord(NamedTuple):
    """Where a block stands in `events.arrow` and what it holds.

    `checksum` is the SHA-256 of the block's bytes, `digest` the running digest of all rows up to its end.
    """

    block: int
    offset: int
    length: int
    rows: int
    first_seq: int
    first_step: int
    last_step: int
    min_time_us: int
    max_time_us: int
    checksum: bytes
    digest: bytes


class NodeRecord(NamedTuple):
    """The running digests of a node's inputs and of its outputs at the end of a block it was active in."""

    block: int
    node: str
    inputs: bytes
    outputs: bytes


def pack_header(magic: bytes, *, head_length: int = 0, head_checksum: bytes = bytes(32)) -> bytes:
    """Return the header of an index, `events.index` or `nodes.index` by its magic."""
    record_bytes = BLOCK_BYTES if magic == EVENTS_MAGIC else NODE_BYTES
    return _sealed(_HEADER.pack(magic, INDEX_VERSION, record_bytes, head_length, head_checksum))


def pack_block(record: BlockRecord) -> bytes:
    """Return the record of a block in `events.index`."""
    return _sealed(_BLOCK.pack(*record[1:]))


def pack_node(block: int, name_index: int, inputs: bytes, outputs: bytes) -> bytes:
    """Return the record of a node in `nodes.index`; `name_index` points into the vocabulary."""
    return _sealed(_NODE.pack(block, name_index, inputs, outputs))


def read_events_index(path: Path, *, holes: bool = False) -> tuple[Header, Blocks]:
    """Return header and block records of an `events.index`; with `holes` rows may be missing between blocks.

    Raises CorruptionError.
    """
    data = read_limited(path, limit_bytes=HEADER_BYTES + MAX_BLOCKS * BLOCK_BYTES)
    header = _header(path, data[:HEADER_BYTES], EVENTS_MAGIC)
    for number in range(_count(path, len(data), BLOCK_BYTES)):
        _record(path, data, HEADER_BYTES + number * BLOCK_BYTES, number, BLOCK_BYTES)
    blocks = Blocks(data)
    _check_sequence(path, header, blocks, holes=holes)
    return header, blocks


def read_header(path: Path) -> Header:
    """Return the header of an `events.index` alone. Raises CorruptionError."""
    with open_regular(path) as file:
        return _header(path, file.read(HEADER_BYTES), EVENTS_MAGIC)


def read_block_records(path: Path) -> tuple[list[BlockRecord], list[CorruptionError]]:
    """Return the block records of a damaged `events.index` that are whole, and what is wrong with the others.

    Raises CorruptionError if it can't be read at all.
    """
    data = read_limited(path, limit_bytes=HEADER_BYTES + MAX_BLOCKS * BLOCK_BYTES)
    records, damaged = [], []
    for number, offset in enumerate(range(HEADER_BYTES, len(data), BLOCK_BYTES)):
        try:
            _record(path, data, offset, number, BLOCK_BYTES)
            records.append(BlockRecord(number, *_BLOCK.unpack_from(data, offset)))
        except CorruptionError as error:
            damaged.append(error)
    return records, damaged


def read_nodes_index(path: Path, names: Sequence[str]) -> NodeRecords:
    """Return the records of a `nodes.index`; `names` is the vocabulary they refer to. Raises CorruptionError."""
    return NodeRecords(path, names)


class _Records(Sequence[T]):
    """Records that are made when they are asked for; equal to any sequence of equal records."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))


class Blocks(_Records[BlockRecord]):
    """The records of an `events.index`, each made of its bytes when it is asked for: a long run has many."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._count = (len(data) - HEADER_BYTES) // BLOCK_BYTES

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> BlockRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[BlockRecord]: ...
    def __getitem__(self, index: int | slice) -> BlockRecord | Sequence[BlockRecord]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        number = range(self._count)[index]
        return BlockRecord(number, *_BLOCK.unpack_from(self._data, HEADER_BYTES + number * BLOCK_BYTES))


class NodeRecords(_Records[NodeRecord]):
    """The records of a `nodes.index`, read from the file and verified as they are asked for.

    A long run of many nodes has more of them than belong into memory. Whatever is not as it must be raises
    CorruptionError when it is reached.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self._names = names
        with open_regular(path) as file:
            _header(path, file.read(HEADER_BYTES), NODES_MAGIC)
            self._count = _count(path, size_of(file), NODE_BYTES)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> NodeRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NodeRecord]: ...
    def __getitem__(self, index: int | slice) -> NodeRecord | Sequence[NodeRecord]:
        if isinstance(index, slice):
            numbers = range(*index.indices(self._count))
            return list(self._between(numbers.start, numbers.stop)) if numbers.step == 1 else [self[n] for n in numbers]
        number = range(self._count)[index]
        return next(self._between(number, number + 1))

    def __iter__(self) -> Iterator[NodeRecord]:
        for start in range(0, self._count, _PIECE_RECORDS):
            yield from self._between(start, min(start + _PIECE_RECORDS, self._count))

    def __reversed__(self) -> Iterator[NodeRecord]:
        for stop in range(self._count, 0, -_PIECE_RECORDS):
            yield from reversed(list(self._between(max(stop - _PIECE_RECORDS, 0), stop)))

    def _between(self, start: int, stop: int) -> Iterator[NodeRecord]:
        first = HEADER_BYTES + start * NODE_BYTES
        with open_regular(self._path) as file:
            file.seek(first)
            data = file.read(max(stop - start, 0) * NODE_BYTES)
        for number in range(start, stop):
            offset = HEADER_BYTES + number * NODE_BYTES
            record = _record(self._path, data, offset, number, NODE_BYTES, start=first)
            block, name, inputs, outputs = _NODE.unpack(record)
            if name >= len(self._names):
                reason = f"record {number} names an unknown node"
                raise CorruptionError(self._path, reason, offset=offset, length=NODE_BYTES)
            yield NodeRecord(block, self._names[name], inputs, outputs)


def _sealed(record: bytes) -> bytes:
    return record + _CRC.pack(zlib.crc32(record))


def _header(path: Path, data: bytes, magic: bytes) -> Header:
    record = data[: _HEADER.size]
    if data[_HEADER.size : HEADER_BYTES] != _CRC.pack(zlib.crc32(record)) or len(record) < _HEADER.size:
        raise CorruptionError(path, "the checksum of the header is wrong", length=HEADER_BYTES)
    found, version, record_bytes, head_length, head_checksum = _HEADER.unpack(record)
    expected = BLOCK_BYTES if magic == EVENTS_MAGIC else NODE_BYTES
    if found != magic or version > INDEX_VERSION or record_bytes != expected:
        raise CorruptionError(path, f"not an index of version {INDEX_VERSION} or older", length=HEADER_BYTES)
    if head_length > MAX_HEAD_BYTES:
        reason = f"a head of {head_length:,} bytes is longer than the limit of {MAX_HEAD_BYTES:,}"
        raise CorruptionError(path, reason, length=HEADER_BYTES)
    return Header(head_length, head_checksum)


def _count(path: Path, file_bytes: int, record_bytes: int) -> int:
    """Return how many records an index of `file_bytes` has."""
    count, rest = divmod(file_bytes - HEADER_BYTES, record_bytes)
    if rest:
        raise CorruptionError(path, f"record {count} is cut off", offset=file_bytes - rest, length=rest)
    return count


def _record(path: Path, data: bytes, offset: int, number: int, size: int, *, start: int = 0) -> bytes:
    """Return the content of the record at `offset` of the file, whose bytes from `start` on are `data`."""
    place = offset - start
    record = data[place : place + size - _CRC.size]
    if data[place + size - _CRC.size : place + size] != _CRC.pack(zlib.crc32(record)):
        reason = f"the checksum of record {number} is wrong"
        raise CorruptionError(path, reason, offset=offset, length=size)
    return record


def _check_sequence(path: Path, header: Header, blocks: Sequence[BlockRecord], *, holes: bool) -> None:
    """Check that each block follows the one before it: in the file, in rows and in steps."""
    offset, seq, step = header.head_length, 0, 0
    for record in blocks:
        reason = ""
        if record.offset != offset or record.first_seq < seq or (record.first_seq > seq and not holes):
            reason = "a block does not follow the one before it"
        elif not step <= record.first_step <= record.last_step < _LIMIT:
            reason = "the steps of a block are before those of the one before it, or in the wrong order"
        elif not (0 < record.rows < _LIMIT and 0 < record.length and record.min_time_us <= record.max_time_us):
            reason = "a block without rows, or whose times are in the wrong order"
        elif record.first_seq + record.rows > _LIMIT or record.offset + record.length > _LIMIT:
            reason = "a block lies beyond what can be counted"
        if reason:
            place = HEADER_BYTES + record.block * BLOCK_BYTES
            raise CorruptionError(path, reason, offset=place, length=BLOCK_BYTES, block=record.block)
        offset, seq, step = offset + record.length, record.first_seq + record.rows, record.last_step
