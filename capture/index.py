"""The two indexes of a run: fixed-size records, each under its own checksum, written and read here.

`events.index` holds a header (what precedes block 0 in `events.arrow`) and a record per block. `nodes.index` holds a
record per block and node that was active in it. All integers are little-endian; `capture/FORMAT.md` has the tables.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xtrace.engine.errors import CorruptionError

EVENTS_MAGIC = b"XTEVIDX\0"
NODES_MAGIC = b"XTNDIDX\0"
INDEX_VERSION = 0
NODE_DIGEST_BYTES = 16

_HEADER = struct.Struct("<8sIIQ32s")
_BLOCK = struct.Struct("<QQQQQQqq32s32s")
_NODE = struct.Struct(f"<II{NODE_DIGEST_BYTES}s{NODE_DIGEST_BYTES}s")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
BLOCK_BYTES = _BLOCK.size + _CRC.size
NODE_BYTES = _NODE.size + _CRC.size


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


def read_events_index(path: Path) -> tuple[Header, list[BlockRecord]]:
    """Return header and block records of an `events.index`. Raises CorruptionError."""
    data = path.read_bytes()
    header = _header(path, data, EVENTS_MAGIC)
    blocks = [BlockRecord(number, *_BLOCK.unpack(record)) for number, record in _records(path, data, BLOCK_BYTES)]
    _check_contiguous(path, header, blocks)
    return header, blocks


def read_nodes_index(path: Path, names: list[str]) -> list[NodeRecord]:
    """Return the records of a `nodes.index`; `names` is the vocabulary they refer to. Raises CorruptionError."""
    data = path.read_bytes()
    _header(path, data, NODES_MAGIC)
    records = []
    for number, record in _records(path, data, NODE_BYTES):
        block, name, inputs, outputs = _NODE.unpack(record)
        if name >= len(names):
            offset = HEADER_BYTES + number * NODE_BYTES
            raise CorruptionError(path, f"record {number} names an unknown node", offset=offset, length=NODE_BYTES)
        records.append(NodeRecord(block, names[name], inputs, outputs))
    return records


def _sealed(record: bytes) -> bytes:
    return record + _CRC.pack(zlib.crc32(record))


def _header(path: Path, data: bytes, magic: bytes) -> Header:
    record = data[: _HEADER.size]
    if data[_HEADER.size : HEADER_BYTES] != _CRC.pack(zlib.crc32(record)) or len(record) < _HEADER.size:
        raise CorruptionError(path, "the checksum of the header is wrong", length=HEADER_BYTES)
    found, version, _, head_length, head_checksum = _HEADER.unpack(record)
    if found != magic or version > INDEX_VERSION:
        raise CorruptionError(path, f"not an index of version {INDEX_VERSION} or older", length=HEADER_BYTES)
    return Header(head_length, head_checksum)


def _records(path: Path, data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each record, its checksum verified."""
    for number, offset in enumerate(range(HEADER_BYTES, len(data), size)):
        record = data[offset : offset + size - _CRC.size]
        if data[offset + size - _CRC.size : offset + size] != _CRC.pack(zlib.crc32(record)):
            reason = f"the checksum of record {number} is wrong"
            raise CorruptionError(path, reason, offset=offset, length=min(size, len(data) - offset))
        yield number, record


def _check_contiguous(path: Path, header: Header, blocks: list[BlockRecord]) -> None:
    offset, seq = header.head_length, 0
    for record in blocks:
        if record.offset != offset or record.first_seq != seq:
            place = HEADER_BYTES + record.block * BLOCK_BYTES
            raise CorruptionError(path, "a block does not follow the one before it", offset=place, block=record.block)
        offset += record.length
        seq += record.rows
