"""Blocks of `events.arrow`: rows to Arrow IPC bytes and back, one block at a time."""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.capture.arrow_message import DICTIONARY, RECORD_BATCH, SCHEMA, MessageFault, expanded_bytes, messages
from xtrace.capture.columns import Columns, integers
from xtrace.capture.layout import BLOCK_MAX_BYTES
from xtrace.capture.layout import schema as log_schema
from xtrace.engine.errors import CorruptionError
from xtrace.engine.recorder import Row

if TYPE_CHECKING:
    import pyarrow as pa

FOOTER_RECORD_BATCHES = 3
"""The number of the field `recordBatches` in the footer of an Arrow file."""
ARROW_MAGIC_BYTES = 8
"""An Arrow file begins with `ARROW1` and padding; from here on it reads as an Arrow stream."""


BUFFER_BYTES = 1 << 20
"""Arrow writes a block in many small pieces, each of which would have to wait for Python."""

DIGEST_KEY = "xtrace.digest"
"""In the metadata of a block: the running digest after it, so that a log without its index can be verified."""


class StoredRow(NamedTuple):
    """A row as it stands in the log: its number, what the fingerprint covers, and the rows that caused it."""

    seq: int
    row: Row
    cause: tuple[int, ...]


class BlockEncoder:
    """Turns rows into the bytes of `events.arrow`, in pieces: its head, blocks and a footer.

    `schema` is that of this version, or one with further columns, for batches that come from a log that has them.
    """

    def __init__(
        self, vocabulary: Mapping[str, Sequence[str]], *, compression: str = "zstd", schema: pa.Schema | None = None
    ) -> None:
        import pyarrow as pa

        self.schema = log_schema() if schema is None else schema
        self._kinds = pa.array(vocabulary["kind"], pa.string())
        self._names = pa.array(vocabulary["name"], pa.string())
        self._kind_index = {name: index for index, name in enumerate(vocabulary["kind"])}
        self._name_index = {name: index for index, name in enumerate(vocabulary["name"])}
        self._options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
        self._output = ArrowFile(self.schema, self._options)
        self.head = self._head()
        """What stands before block 0: magic, schema and vocabulary."""
        self._written = 0
        self._end = b""

    def batch(self, columns: Columns) -> pa.RecordBatch:
        """Return the rows as an Arrow batch. Raises KeyError for a word that is not in the vocabulary."""
        import pyarrow as pa

        integer, text, rows = pa.int64(), pa.string(), columns.rows
        arrays = [
            pa.arange(columns.first_seq, columns.first_seq + rows),
            _from_memory(columns.steps(), integer),
            _from_memory(columns.time_us, integer),
            pa.DictionaryArray.from_arrays(_from_memory(columns.kinds(self._kind_index), pa.int32()), self._kinds),
            *(self._named(names) for names in (columns.node, columns.src, columns.dst)),
            pa.array(columns.type, text),
            _from_memory(columns.late_us, integer),
            pa.ListArray.from_arrays(_running_sum(columns.causes), _from_memory(columns.cause, integer)),
            pa.array(columns.payload, pa.binary()),
            _objects(columns),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=log_schema())

    def _named(self, names: Sequence[str]) -> pa.DictionaryArray:
        import pyarrow as pa

        indices = integers("i", map(self._name_index.__getitem__, names))
        return pa.DictionaryArray.from_arrays(_from_memory(indices, pa.int32()), self._names)

    def block(self, batch: pa.RecordBatch, digest: bytes) -> bytes:
        """Return what the next block adds to the file behind the head; `digest` is the running digest after it."""
        data = self._output.write(batch, {DIGEST_KEY: digest.hex()})
        if self._written == 0:
            assert data.startswith(self.head), "the head depends on the first block"
            data = data[len(self.head) :]
        self._written += 1
        return data

    def finish(self, blocks: int) -> bytes:
        """Return what follows the last block; of the blocks that were made, the file holds the first `blocks`."""
        if not self._end:
            self._end = self._output.finish()
        data = self._end
        if self._written == 0:
            data = _behind_schema(data)
        return _footer_of_first(data, blocks) if blocks < self._written else data

    def _head(self) -> bytes:
        empty = _no_rows(self.schema, self._kinds, self._names)
        return split_head(ArrowFile(self.schema, self._options).write(empty))[0]


class ArrowFile:
    """Makes the bytes of an Arrow IPC file as they come, without a file."""

    def __init__(self, schema: pa.Schema, options: pa.ipc.IpcWriteOptions | None = None) -> None:
        import pyarrow as pa

        self._sink = _Pieces()
        self._buffer = pa.BufferedOutputStream(pa.PythonFile(self._sink, mode="w"), BUFFER_BYTES)
        self._writer = pa.ipc.new_file(self._buffer, schema, options=options)

    def write(self, batch: pa.RecordBatch, metadata: Mapping[str, str] | None = None) -> bytes:
        """Return what the batch adds to the file."""
        self._writer.write_batch(batch, custom_metadata=metadata)
        self._buffer.flush()
        return self._sink.take()

    def finish(self) -> bytes:
        """Return the end of the file."""
        self._writer.close()
        self._buffer.flush()
        return self._sink.take()


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """Split the beginning of the file into its head (magic, schema, vocabulary) and block 0."""
    import pyarrow as pa

    source = pa.BufferReader(data)
    source.seek(ARROW_MAGIC_BYTES)
    while True:
        start = int(source.tell())
        if pa.ipc.read_message(source).type == "record batch":
            return data[:start], data[start:]


def vocabulary_of(head: bytes) -> dict[str, list[str]] | None:
    """Return the vocabulary that stands in the head of a log, None if it can't be read."""
    import pyarrow as pa

    # An empty block of any vocabulary makes a stream of the head, whose own dictionaries are then read.
    nothing = pa.array([], pa.string())
    empty = ArrowFile(log_schema()).write(_no_rows(log_schema(), nothing, nothing))
    try:
        with pa.ipc.open_stream(pa.py_buffer(head[ARROW_MAGIC_BYTES:] + split_head(empty)[1])) as reader:
            batch = reader.read_next_batch()
            batch.validate(full=True)
        kinds, names = batch.column("kind").dictionary, batch.column("node").dictionary
        return {"kind": kinds.to_pylist(), "name": names.to_pylist()}
    except (pa.ArrowException, StopIteration, OSError, KeyError, AttributeError):
        return None


def _no_rows(schema: pa.Schema, kinds: pa.Array, names: pa.Array) -> pa.RecordBatch:
    import pyarrow as pa

    words = {"kind": kinds, "node": names, "src": names, "dst": names}
    columns = [
        pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), words[field.name])
        if field.name in words
        else pa.array([], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _behind_schema(data: bytes) -> bytes:
    import pyarrow as pa

    source = pa.BufferReader(data)
    source.seek(ARROW_MAGIC_BYTES)
    pa.ipc.read_message(source)
    return data[int(source.tell()) :]


def decode_block(file: Path, block: int, head: bytes, data: bytes) -> pa.RecordBatch:
    """Return the batch in the bytes `data` of a block as `decode_with_digest` does."""
    return decode_with_digest(file, block, head, data)[0]


def decode_with_digest(file: Path, block: int, head: bytes, data: bytes) -> tuple[pa.RecordBatch, str]:
    """Return the batch in the bytes `data` of a block, whose checksum must already be verified, and its `DIGEST_KEY`.

    That is "" in a run of version 0. Raises CorruptionError unless `data` is one record batch and nothing else, of this
    schema or one with further columns, without nulls, and takes no more memory than BLOCK_MAX_BYTES.
    """
    import pyarrow as pa

    stream = head[ARROW_MAGIC_BYTES:] + data
    try:
        _check_messages(stream, len(data))
        with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            batch.validate(full=True)
    except (pa.ArrowException, StopIteration, OSError, ValueError) as error:
        raise CorruptionError(file, f"not an Arrow block: {error}", block=block, length=len(data)) from error
    fault = _misfit(batch)
    if fault:
        raise CorruptionError(file, fault, block=block, length=len(data))
    found = {} if metadata is None else dict(metadata)
    return batch, found.get(DIGEST_KEY.encode(), b"").decode("latin-1")


def _check_messages(stream: bytes, block_bytes: int) -> None:
    """Check what a head and the block behind it claim to hold. Raises MessageFault."""
    found = list(messages(stream))
    total = sum(expanded_bytes(message) for _, message in found)
    if total > BLOCK_MAX_BYTES:
        raise MessageFault(f"it claims {total:,} bytes in memory, which is more than the limit of {BLOCK_MAX_BYTES:,}")
    types = [message.type for _, message in found]
    if types[:1] != [SCHEMA] or types[-1] != RECORD_BATCH or not {*types[1:-1]} <= {DICTIONARY}:
        raise MessageFault("it is not one record batch behind schema and vocabulary")
    if len(stream) - found[-1][0] != block_bytes:
        raise MessageFault("the record batch is not the whole block")


def _misfit(batch: pa.RecordBatch) -> str:
    """Return what is wrong with the columns of a block, "" for nothing."""
    import pyarrow as pa

    for field, found in zip_longest(log_schema(), list(batch.schema)[: len(log_schema())]):
        if found is None or (field.name, field.type) != (found.name, found.type):
            return f"unexpected columns {batch.schema.names}"
        column = batch.column(field.name)
        parts = [column, *([column.values] if pa.types.is_list(field.type) else ())]
        parts += [column.dictionary] if pa.types.is_dictionary(field.type) else ()
        if any(part.null_count for part in parts):
            return f"the column {field.name!r} has nulls"
    return "" if len(batch) else "it has no rows"


def stored_rows(batch: pa.RecordBatch) -> Iterator[StoredRow]:
    """Yield the rows of a batch as Python values."""
    columns = {name: batch.column(name).to_pylist() for name in log_schema().names}
    fields = zip(*(columns[name] for name in Row._fields), strict=True)
    for seq, cause, row in zip(columns["seq"], columns["cause"], fields, strict=True):
        yield StoredRow(seq, Row(*row), tuple(cause))


def _footer_of_first(end: bytes, blocks: int) -> bytes:
    """Return the end of an Arrow file whose footer lists the first `blocks` record batches only.

    The footer is a flatbuffer (`format/File.fbs` of Arrow); the number of its batches stands before their list.
    """
    patched = bytearray(end)
    length_at = len(end) - len(b"ARROW1") - 4
    footer_at = length_at - struct.unpack_from("<i", end, length_at)[0]
    table_at = footer_at + struct.unpack_from("<I", end, footer_at)[0]
    fields_at = table_at - struct.unpack_from("<i", end, table_at)[0] + 4
    batches_at = table_at + struct.unpack_from("<H", end, fields_at + 2 * FOOTER_RECORD_BATCHES)[0]
    count_at = batches_at + struct.unpack_from("<I", end, batches_at)[0]
    struct.pack_into("<I", patched, count_at, blocks)
    return bytes(patched)


def _from_memory(numbers: array[int], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def _running_sum(counts: array[int]) -> pa.Array:
    """Return where each list begins whose length `counts` says, and where the last one ends."""
    import pyarrow as pa

    return _from_memory(integers("i", accumulate(counts, initial=0)), pa.int32())


def _objects(columns: Columns) -> pa.Array:
    import pyarrow as pa

    if not columns.object:
        return pa.repeat(pa.scalar("", pa.string()), columns.rows)
    return pa.array([columns.object.get(row, "") for row in range(columns.rows)], pa.string())


class _Pieces(io.RawIOBase):
    """A sink that hands over what was written to it since the last time."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
