"""The event log on the disk: `events.arrow` and its two indexes, which grow together, a block at a time."""

from __future__ import annotations

import errno
import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xtrace.capture.blocks import BlockEncoder
from xtrace.capture.digests import RunDigests
from xtrace.capture.disk import Disk, LogFile, Mark
from xtrace.capture.index import EVENTS_MAGIC, NODES_MAGIC, BlockRecord, pack_block, pack_header, pack_node
from xtrace.capture.layout import EVENTS, EVENTS_INDEX, NODES_INDEX

if TYPE_CHECKING:
    import pyarrow as pa

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MARKS = 8
"""How many blocks can be given up for the end of the file, when the disk has no room for it."""


class State(NamedTuple):
    """How far a log had come: its totals, its running digest, and its files."""

    blocks: int
    rows: int
    steps: int
    last_step: int
    digest: bytes
    files: tuple[Mark, ...]


class _Block(NamedTuple):
    """A block on its way: its record, what goes into each file, and how many steps end in it."""

    record: BlockRecord
    pieces: tuple[bytes, bytes, bytes]
    steps: int


class EventLog:
    """The log of the run in `folder`; `words` is its vocabulary. After an OSError only `retry` and `close` make sense.

    `rows`, `steps`, `blocks`, `last_step` and `digest`, the running digest, are those of the blocks that are whole.
    """

    def __init__(
        self,
        folder: Path,
        words: Mapping[str, Sequence[str]],
        *,
        disk: Disk,
        compression: str = "zstd",
        schema: pa.Schema | None = None,
    ) -> None:
        self.rows = self.steps = self.blocks = self.last_step = 0
        self.digest = hashlib.sha256().digest()
        self._name_index = {name: index for index, name in enumerate(words["name"])}
        self._step_index = words["kind"].index("step")
        self.encoder = BlockEncoder(words, compression=compression, schema=schema)
        self._digests = RunDigests()
        head = self.encoder.head
        with ExitStack() as opened:
            self.events = opened.enter_context(closing(LogFile(disk, folder / EVENTS)))
            self._index = opened.enter_context(closing(LogFile(disk, folder / EVENTS_INDEX)))
            self._nodes = opened.enter_context(closing(LogFile(disk, folder / NODES_INDEX)))
            self.events.append(head)
            checksum = hashlib.sha256(head).digest()
            self._index.append(pack_header(EVENTS_MAGIC, head_length=len(head), head_checksum=checksum))
            self._nodes.append(pack_header(NODES_MAGIC))
            opened.pop_all()
        self._footer: dict[str, object] | None = None
        self._states: deque[State] = deque(maxlen=MARKS)
        self.largest_block = 0
        self._refused: _Block | None = None
        self._torn = False
        """Whether the files end with a block, or a part of one, that is still to be cut off."""

    @property
    def files(self) -> tuple[LogFile, LogFile, LogFile]:
        """The files of the log, in the order in which a block goes into them: once it is in the index, it is whole."""
        return self.events, self._nodes, self._index

    @property
    def totals(self) -> dict[str, int]:
        """What the manifest says of the log as a whole."""
        return {"rows": self.rows, "steps": self.steps, "blocks": self.blocks, "last_step": self.last_step}

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of `batch` as a block: into the log, then into its indexes. Raises OSError."""
        import pyarrow as pa
        import pyarrow.compute as pc

        digest, node_records = self._digests.update(batch)
        data = self.encoder.block(batch, digest)
        steps, times = batch.column("step"), pc.min_max(batch.column("time_us"))
        record = BlockRecord(
            block=self.blocks,
            offset=self.events.size,
            length=len(data),
            rows=len(batch),
            first_seq=batch.column("seq")[0].as_py(),
            first_step=steps[0].as_py(),
            last_step=steps[-1].as_py(),
            min_time_us=times["min"].as_py(),
            max_time_us=times["max"].as_py(),
            checksum=hashlib.sha256(data).digest(),
            digest=digest,
        )
        nodes = b"".join(pack_node(self.blocks, self._name_index[node], *pair) for node, *pair in node_records)
        is_step = pc.equal(batch.column("kind").indices, pa.scalar(self._step_index, pa.int32()))
        self._refused = _Block(record, (data, nodes, pack_block(record)), pc.sum(is_step).as_py() or 0)
        self.retry()

    def retry(self) -> bool:
        """Append the block that the disk has refused, and return whether there was one. Raises OSError."""
        if self._refused is None:
            return False
        record, pieces, steps = self._refused
        if self._torn:
            self.give_up_block()
        self._states.append(self._state())
        self._torn = True
        try:
            for file, piece in zip(self.files, pieces, strict=True):
                file.append(piece)
        except OSError:
            self.give_up_block()
            raise
        self._torn = False
        self._refused = None
        self.blocks += 1
        self.rows += record.rows
        self.steps += steps
        self.last_step, self.digest = record.last_step, record.digest
        self.largest_block = max(self.largest_block, record.length)
        return True

    def sync(self) -> None:
        """Return when all blocks survive a loss of power."""
        for file in self.files:
            file.sync()

    def close(self, *, sync: bool, shorten: bool = False) -> dict[str, object]:
        """Write the end of `events.arrow`, close the files and return the `footer` of the manifest.

        `shorten`: if there is no room for it, the log ends a block or more before. Raises OSError; then the files stay
        open, and the log can be closed again.
        """
        if self._footer is None:
            self._footer = self._finish(sync=sync, shorten=shorten)
            self.close_files()
        return self._footer

    def close_files(self) -> None:
        """Close the files as they are."""
        for file in self.files:
            with suppress(OSError):
                file.close()

    def give_up_block(self) -> None:
        """Cut the log back to before its last block, whole or torn. Raises OSError; then it is to be called again."""
        self._torn = True
        state = self._states[-1]
        for file, mark in zip(self.files, state.files, strict=True):
            file.cut_back(mark)
        self._states.pop()
        self.blocks, self.rows, self.steps, self.last_step, self.digest, _ = state
        self._torn = False

    def _finish(self, *, sync: bool, shorten: bool) -> dict[str, object]:
        while True:
            if self._torn:
                self.give_up_block()
            before = self.events.mark()
            footer = self.encoder.finish(self.blocks)
            try:
                self.events.append(footer)
                if sync:
                    self.sync()
            except OSError as error:
                self.events.cut_back(before)
                if not (shorten and self._states and error.errno in NO_ROOM):
                    raise
                self.give_up_block()
                continue
            sha256 = hashlib.sha256(footer).hexdigest()
            return {"offset": before.size, "length": len(footer), "sha256": sha256}

    def _state(self) -> State:
        marks = tuple(file.mark() for file in self.files)
        return State(self.blocks, self.rows, self.steps, self.last_step, self.digest, marks)
