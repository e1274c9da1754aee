"""Reads a run while it is being recorded, or after its recording was killed: what is there so far, and then what comes.

Blocks are verified against the index as in a closed run, frames of the journal against their own checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from xtrace.capture.blocks import BlockEncoder, decode_block
from xtrace.capture.disk import is_locked
from xtrace.capture.files import open_regular
from xtrace.capture.index import BlockRecord, read_block_records, read_header
from xtrace.capture.layout import EVENTS, EVENTS_INDEX, SEAL, TAIL
from xtrace.capture.manifest import read_open_manifest
from xtrace.capture.tail import read_tail
from xtrace.engine.errors import CorruptionError
from xtrace.engine.recorder import NETWORK

if TYPE_CHECKING:
    import pyarrow as pa


class LiveRun:
    """The run in `folder`, which has no seal yet. Raises InputError if it is none, CorruptionError if it is damaged."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.manifest = read_open_manifest(folder)
        self.nodes: list[str] = sorted({*self.manifest["nodes"], NETWORK})
        self._next_seq = 0
        self._encoder = BlockEncoder(self.manifest["vocabulary"])
        header = read_header(folder / EVENTS_INDEX)
        with open_regular(folder / EVENTS) as file:
            self._head = file.read(header.head_length)
        if hashlib.sha256(self._head).digest() != header.head_checksum:
            reason = "the checksum of schema and vocabulary is wrong"
            raise CorruptionError(folder / EVENTS, reason, length=len(self._head))

    @property
    def is_closed(self) -> bool:
        """Whether the recording has come to its end."""
        return (self.path / SEAL).is_file()

    @property
    def is_recording(self) -> bool:
        """Whether somebody is recording the run right now."""
        return is_locked(self.path / TAIL)

    def new_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows that were written since the last call, in order. Raises CorruptionError."""
        frames = self._frames()  # before the blocks: a block that comes in between holds their rows too
        records, _ = read_block_records(self.path / EVENTS_INDEX)  # the last may be half written
        for record in records:
            if record.first_seq + record.rows > self._next_seq:
                yield self._unseen(self._block(record))
        for frame in frames:
            if self._next_seq >= _first_seq(frame) and _first_seq(frame) + len(frame) > self._next_seq:
                yield self._unseen(frame)

    def _unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        unseen = batch.slice(self._next_seq - _first_seq(batch))
        self._next_seq += len(unseen)
        return unseen

    def _frames(self) -> list[pa.RecordBatch]:
        path = self.path / TAIL
        try:
            frames, damages, _ = read_tail(path, self._encoder)
        except (CorruptionError, FileNotFoundError):
            if path.exists():
                raise
            return []  # the run was closed just now
        if damages and not self.is_recording:  # else it is being emptied, or written
            raise damages[0]
        return frames

    def _block(self, record: BlockRecord) -> pa.RecordBatch:
        path = self.path / EVENTS
        with open_regular(path) as file:
            file.seek(record.offset)
            data = file.read(record.length)
        if hashlib.sha256(data).digest() != record.checksum:
            steps = f"steps {record.first_step} to {record.last_step}, {record.rows} rows"
            reason = f"the checksum is wrong ({steps})"
            raise CorruptionError(path, reason, offset=record.offset, length=record.length, block=record.block)
        return decode_block(path, record.block, self._head, data)


def _first_seq(batch: pa.RecordBatch) -> int:
    return int(batch.column("seq")[0].as_py())
