"""What is left of a run that was not closed or was damaged: every piece that something vouches for, and the holes.

A block is vouched for by its record in `events.index`; one without a record by the running digest that stands in it, as
long as no row is missing before it; a frame of the journal by its own checksum.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.capture.arrow_message import RECORD_BATCH, MessageFault, message_at
from xtrace.capture.blocks import ARROW_MAGIC_BYTES, BlockEncoder, decode_with_digest, vocabulary_of
from xtrace.capture.digests import canonical_bytes
from xtrace.capture.disk import is_locked
from xtrace.capture.files import open_regular, size_of
from xtrace.capture.index import MAX_HEAD_BYTES, BlockRecord, read_block_records, read_header
from xtrace.capture.layout import BLOCK_MAX_BYTES, EVENTS, EVENTS_INDEX, MANIFEST, SEAL, TAIL
from xtrace.capture.manifest import read_manifest, read_open_manifest
from xtrace.capture.shape import REQUIRED, misfit
from xtrace.capture.tail import read_tail
from xtrace.engine.errors import CorruptionError, InputError

if TYPE_CHECKING:
    import pyarrow as pa


class Hole(NamedTuple):
    """Rows that are lost: `rows` in the steps `first_step` to `last_step`, None where nobody knows how many."""

    first_step: int
    last_step: int
    rows: int | None
    bytes: int
    reason: str


class Remains:
    """What is left of the run in `folder`. Raises InputError if it is none, or is being recorded.

    `manifest` is None if nothing vouches for it; `closed` says that it is the one of the whole run, and `lost` which
    files are damaged or missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lost: list[CorruptionError] = []
        if is_locked(folder / TAIL):
            raise InputError(str(folder), "is being recorded; `xtrace show --follow` shows what is there")
        unreadable = [name for name in (MANIFEST, EVENTS, EVENTS_INDEX, TAIL) if not _is_readable(folder / name)]
        if unreadable:
            raise InputError(str(folder), f"permission denied: {', '.join(unreadable)}")
        if not (folder / MANIFEST).is_file() and not (folder / EVENTS).is_file():
            raise InputError(str(folder), f"holds nothing of a run: neither {MANIFEST} nor {EVENTS}")
        self.manifest = self._read_manifest()
        self.closed = self.manifest is not None and not misfit(self.manifest, REQUIRED)
        self._records = self._read_records()
        self._head = self._read_head()
        if not (self.closed or self._records) and self._log_bytes() <= len(self._head):  # nothing had begun
            self.lost = [each for each in self.lost if each.file.name not in (EVENTS, EVENTS_INDEX)]
        self.words = vocabulary_of(self._head) if self.manifest is None else self.manifest["vocabulary"]
        self.torn_bytes = 0
        """How many bytes at the end of the log are no whole block: the one that was being written."""

    def batches(self) -> Iterator[pa.RecordBatch | Hole]:
        """Yield all rows that are left, in order, and a hole where some are missing."""
        walk = _Walk()
        for piece in self._pieces(walk):
            if isinstance(piece, _Damage):
                walk.damages.append(piece)
                continue
            if walk.is_known(piece):
                continue
            yield from walk.holes_before(piece)
            batch = walk.unknown_part(piece)
            walk.add(batch)
            yield batch
        totals = self.manifest["totals"] if self.closed and self.manifest is not None else {}
        yield from walk.holes_at_end(rows=totals.get("rows", 0), last_step=totals.get("last_step", 0))
        self.torn_bytes = sum(each.bytes for each in walk.damages)

    def _pieces(self, walk: _Walk) -> Iterator[pa.RecordBatch | _Damage]:
        """Yield the blocks of the log, then the frames of the journal, and what can't be read in their places."""
        beyond: list[BlockRecord] = []
        try:
            with open_regular(self.folder / EVENTS) as file:
                position, end = len(self._head), self._end_of_blocks(size_of(file))
                for record in self._records:
                    if record.offset + record.length > end:
                        beyond.append(record)
                    if record.offset < position or record.offset + record.length > end:
                        continue
                    yield from self._scanned(file, position, record.offset, walk)
                    yield self._recorded(file, record)
                    position = record.offset + record.length
                yield from self._scanned(file, position, end, walk)
        except CorruptionError as error:
            if self.closed:
                self.lost.append(error)
            beyond = self._records
        for record in beyond:
            yield _Damage(0, f"block {record.block}: {EVENTS} ends before it does", record)
        yield from self._journal(walk)

    def _recorded(self, file: Any, record: BlockRecord) -> pa.RecordBatch | _Damage:
        file.seek(record.offset)
        data = file.read(record.length)
        damage = _Damage(record.length, f"block {record.block}: the checksum is wrong", record)
        if hashlib.sha256(data).digest() != record.checksum:
            return damage
        try:
            batch, _ = self._decoded(data, record.block)
        except CorruptionError as error:
            return damage._replace(reason=f"block {record.block}: {error.reason}")
        return batch if _first_seq(batch) == record.first_seq else damage._replace(reason="it is another block")

    def _scanned(self, file: Any, start: int, end: int, walk: _Walk) -> Iterator[pa.RecordBatch | _Damage]:
        """Read blocks that no record vouches for; what stands in them does, if no row before them is missing."""
        while start < end:
            file.seek(start)
            try:
                length, kind = message_at(file, end - start)
                if kind != RECORD_BATCH or length > BLOCK_MAX_BYTES:
                    break
                file.seek(start)
                batch, digest = self._decoded(file.read(length), 0)
            except (MessageFault, CorruptionError):
                break
            if walk.damages or walk.digest_with(batch) != digest:
                break
            yield batch
            start += length
        if start < end:
            yield _Damage(end - start, f"{end - start} bytes at offset {start} are no block that anything vouches for")

    def _journal(self, walk: _Walk) -> Iterator[pa.RecordBatch | _Damage]:
        """Yield the frames of the journal; those that follow one another together, as the block they were to be."""
        path = self.folder / TAIL
        if self.words is None or not path.is_file():
            return
        try:
            frames, damages, torn = read_tail(path, BlockEncoder(self.words))
        except CorruptionError as error:
            self.lost.append(error)
            return
        self.lost += damages
        for batch in _together(frames):
            if _first_seq(batch) > walk.next_seq:
                yield from (_Damage(each.length or 0, f"{TAIL}: {each.reason}") for each in damages)
            yield batch
        if torn is not None:
            yield _Damage(torn.length or 0, f"{TAIL}: {torn.reason}")

    def _decoded(self, data: bytes, block: int) -> tuple[pa.RecordBatch, str]:
        return decode_with_digest(self.folder / EVENTS, block, self._head, data)

    def _read_manifest(self) -> dict[str, Any] | None:
        try:
            manifest, _ = read_manifest(self.folder)
            return manifest
        except CorruptionError as error:
            self.lost.append(error)
        except InputError:
            if (self.folder / MANIFEST).is_file() and (self.folder / SEAL).is_file():
                raise
        try:
            return read_open_manifest(self.folder)
        except InputError:
            self.lost.append(CorruptionError(self.folder / MANIFEST, "the file is missing"))
        except CorruptionError as error:
            if error.file not in [each.file for each in self.lost]:
                self.lost.append(error)
        return None

    def _read_records(self) -> list[BlockRecord]:
        """Return the records of the index that are whole."""
        try:
            records, damaged = read_block_records(self.folder / EVENTS_INDEX)
        except CorruptionError as error:
            self.lost.append(error)
            return []
        self.lost += damaged
        return records

    def _read_head(self) -> bytes:
        """Return what precedes block 0: from the log where its checksum is right, else made anew."""
        try:
            header = read_header(self.folder / EVENTS_INDEX)
            with open_regular(self.folder / EVENTS) as file:
                head = file.read(min(header.head_length, MAX_HEAD_BYTES))
            if hashlib.sha256(head).digest() == header.head_checksum:
                return head
            self.lost.append(
                CorruptionError(self.folder / EVENTS, "the checksum of the head is wrong", length=len(head))
            )
        except CorruptionError:
            head = self._found_head()
        if self.manifest is not None:
            return BlockEncoder(self.manifest["vocabulary"]).head
        return head

    def _log_bytes(self) -> int:
        path = self.folder / EVENTS
        return path.stat().st_size if path.is_file() else 0

    def _found_head(self) -> bytes:
        """Return what stands before the first record batch of the log, as far as its messages can be told apart."""
        try:
            with open_regular(self.folder / EVENTS) as file:
                size, start = size_of(file), ARROW_MAGIC_BYTES
                while start < size:
                    file.seek(start)
                    length, kind = message_at(file, size - start)
                    if kind == RECORD_BATCH or start + length > MAX_HEAD_BYTES:
                        break
                    start += length
                file.seek(0)
                return file.read(start)
        except (CorruptionError, MessageFault):
            return b""

    def _end_of_blocks(self, size: int) -> int:
        """Return where the blocks of the log end: at its footer, if the manifest says where that is."""
        if self.closed and self.manifest is not None:
            return min(int(self.manifest["footer"]["offset"]), size)
        return size


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK) or not path.exists()


class _Damage(NamedTuple):
    """Bytes of the log that can't be used; `record` says what they held, if it is known."""

    bytes: int
    reason: str
    record: BlockRecord | None = None


class _Walk:
    """How far the rows are read: what comes next, the running digest up to there, and the damages since."""

    def __init__(self) -> None:
        self.next_seq = 0
        self.last_step = 0
        self.damages: list[_Damage] = []
        self._running: Any = hashlib.sha256()

    def is_known(self, batch: pa.RecordBatch) -> bool:
        """Return whether all rows of `batch` were read before."""
        return _first_seq(batch) + len(batch) <= self.next_seq

    def unknown_part(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of `batch` that were not read before."""
        return batch.slice(max(self.next_seq - _first_seq(batch), 0))

    def digest_with(self, batch: pa.RecordBatch) -> str:
        """Return what the running digest is after `batch`, if no row before it is missing."""
        running = self._running.copy()
        running.update(canonical_bytes(batch))
        return str(running.hexdigest())

    def add(self, batch: pa.RecordBatch) -> None:
        """Take `batch` as the next rows."""
        self._running.update(canonical_bytes(batch))
        self.next_seq = _first_seq(batch) + len(batch)
        self.last_step = batch.column("step")[-1].as_py()

    def holes_before(self, batch: pa.RecordBatch) -> Iterator[Hole]:
        """Yield the hole between what was read and `batch`, if rows are missing there."""
        missing = _first_seq(batch) - self.next_seq
        if missing > 0:
            yield self._hole(missing, last_step=batch.column("step")[0].as_py())
        self.damages = []

    def holes_at_end(self, *, rows: int, last_step: int) -> Iterator[Hole]:
        """Yield the hole behind all that was read, if there are known to have been `rows` or, by records, more."""
        known = [each.record for each in self.damages if each.record is not None]
        end = max([rows, *(record.first_seq + record.rows for record in known)])
        if end > self.next_seq:
            last_step = max([self.last_step, last_step, *(record.last_step for record in known)])
            yield self._hole(end - self.next_seq, last_step=last_step)
            self.damages = []

    def _hole(self, rows: int, *, last_step: int) -> Hole:
        known = [each.record for each in self.damages if each.record is not None]
        exact = sum(record.rows for record in known) == rows
        first = min(record.first_step for record in known) if exact else self.last_step
        last = max(record.last_step for record in known) if exact else last_step
        reason = "; ".join(each.reason for each in self.damages) or "the rows are nowhere"
        return Hole(first, last, rows, sum(each.bytes for each in self.damages), reason)


def _first_seq(batch: pa.RecordBatch) -> int:
    return int(batch.column("seq")[0].as_py())


def _together(frames: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the frames, those that follow one another without a gap as one."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    for frame in frames:
        if waiting and _first_seq(waiting[-1]) + len(waiting[-1]) != _first_seq(frame):
            yield pa.concat_batches(waiting)
            waiting = []
        waiting.append(frame)
    if waiting:
        yield pa.concat_batches(waiting)
