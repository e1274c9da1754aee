"""Blocks of `events.arrow`: rows to Arrow IPC bytes and back, one block at a time."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.capture.layout import COMPRESSION, schema
from xtrace.engine.errors import CorruptionError
from xtrace.engine.recorder import Row

if TYPE_CHECKING:
    import pyarrow as pa

ARROW_MAGIC_BYTES = 8
"""An Arrow file begins with `ARROW1` and padding; from here on it reads as an Arrow stream."""


BUFFER_BYTES = 1 << 20
"""Arrow writes a block in many small pieces, each of which would have to wait for Python."""


class StoredRow(NamedTuple):
    """A row as it stands in the log: its number, what the fingerprint covers, and the rows that caused it."""

    seq: int
    row: Row
    cause: tuple[int, ...]


class Columns:
    """The rows of a block as they come in: one list a field, and runs of equal (step, kind)."""

    def __init__(self, first_seq: int) -> None:
        self.first_seq = first_seq
        self.rows = 0
        self.runs: list[tuple[int, str, int]] = []
        self.time_us = array("q")
        self.node: list[str] = []
        self.src: list[str] = []
        self.dst: list[str] = []
        self.type: list[str] = []
        self.late_us = array("q")
        self.payload: list[bytes] = []
        self.payload_bytes = 0
        self.cause = array("q")
        self.causes = array("i", [0])
        """How many of `cause` each row has, behind a zero."""

    def add_causes(self, cause: Sequence[int | Sequence[int]]) -> None:
        """Add the cause of each row: nearly always one row, given as its seq, or none."""
        if cause[0] == () and list(cause).count(()) == len(cause):
            self.causes += array("i", (0,)) * len(cause)
            return
        try:
            self.cause.fromlist(list(cause))  # type: ignore[arg-type]  # that is what is tried
            self.causes += array("i", (1,)) * len(cause)
        except TypeError:
            rows = [(each,) if isinstance(each, int) else each for each in cause]
            self.cause.extend(chain.from_iterable(rows))
            self.causes.fromlist(list(map(len, rows)))

    def steps_and_kinds(self, kinds: Mapping[str, int]) -> tuple[array[int], array[int]]:
        """Return the columns `step`, and `kind` as indices."""
        steps, indices = array("q"), array("i")
        for step, kind, count in self.runs:
            steps += array("q", (step,)) * count
            indices += array("i", (kinds[kind],)) * count
        return steps, indices


class BlockEncoder:
    """Turns rows into the bytes of `events.arrow`, in pieces: blocks and a footer."""

    def __init__(self, vocabulary: Mapping[str, Sequence[str]], *, compression: str | None = COMPRESSION) -> None:
        import pyarrow as pa

        self._schema = schema()
        self._kinds = pa.array(vocabulary["kind"], pa.string())
        self._names = pa.array(vocabulary["name"], pa.string())
        self._kind_index = {name: index for index, name in enumerate(vocabulary["kind"])}
        self._sink = _Pieces()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        self._buffer = pa.BufferedOutputStream(pa.PythonFile(self._sink, mode="w"), BUFFER_BYTES)
        self._writer = pa.ipc.new_file(self._buffer, self._schema, options=options)

    def batch(self, columns: Columns) -> pa.RecordBatch:
        """Return the rows as an Arrow batch."""
        import pyarrow as pa
        import pyarrow.compute as pc

        integer, text, rows = pa.int64(), pa.string(), columns.rows

        def names(values: list[str]) -> pa.DictionaryArray:
            return pa.DictionaryArray.from_arrays(pc.index_in(pa.array(values, text), self._names), self._names)

        steps, kinds = columns.steps_and_kinds(self._kind_index)
        arrays = [
            pa.arange(columns.first_seq, columns.first_seq + rows),
            _from_memory(steps, integer),
            _from_memory(columns.time_us, integer),
            pa.DictionaryArray.from_arrays(_from_memory(kinds, pa.int32()), self._kinds),
            names(columns.node),
            names(columns.src),
            names(columns.dst),
            pa.array(columns.type, text),
            _from_memory(columns.late_us, integer),
            pa.ListArray.from_arrays(_running_sum(columns.causes), _from_memory(columns.cause, integer)),
            pa.array(columns.payload, pa.binary()),
            pa.repeat(pa.scalar("", text), rows),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def block(self, batch: pa.RecordBatch) -> bytes:
        """Return what the next block adds to the file; before block 0 that is the head too (see `split_head`)."""
        self._writer.write_batch(batch)
        self._buffer.flush()
        return self._sink.take()

    def finish(self) -> bytes:
        """Return what follows the last block."""
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


def decode_block(file: Path, block: int, head: bytes, data: bytes) -> pa.RecordBatch:
    """Return the batch in the bytes `data` of a block, whose checksum must already be verified.

    Raises CorruptionError if it is no block of this schema.
    """
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(pa.py_buffer(head[ARROW_MAGIC_BYTES:] + data)) as reader:
            batch = reader.read_next_batch()
            batch.validate(full=True)
    except (pa.ArrowException, StopIteration, OSError) as error:
        raise CorruptionError(file, f"not an Arrow block: {error}", block=block, length=len(data)) from error
    if batch.schema.names[: len(schema())] != schema().names:
        raise CorruptionError(file, f"unexpected columns {batch.schema.names}", block=block, length=len(data))
    return batch


def stored_rows(batch: pa.RecordBatch) -> Iterator[StoredRow]:
    """Yield the rows of a batch as Python values."""
    columns = {name: batch.column(name).to_pylist() for name in schema().names}
    fields = zip(*(columns[name] for name in Row._fields), strict=True)
    for seq, cause, row in zip(columns["seq"], columns["cause"], fields, strict=True):
        yield StoredRow(seq, Row(*row), tuple(cause))


def _from_memory(numbers: array[int], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def _running_sum(counts: array[int]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cumulative_sum(_from_memory(counts, pa.int32()))


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
