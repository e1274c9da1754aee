"""Writes a run: rows come in step by step, blocks and indexes go out, and closing seals the folder."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.capture.columns import Pending
from xtrace.capture.digests import fingerprint_of
from xtrace.capture.disk import Disk, LogFile, RealDisk
from xtrace.capture.folder import make_room, seal
from xtrace.capture.index import MAX_BLOCKS
from xtrace.capture.layout import (
    BLOCK_MAX_BYTES,
    BLOCK_MAX_PAYLOAD_BYTES,
    BLOCK_MAX_ROWS,
    BLOCK_MIN_ROWS,
    FORMAT_VERSION,
    LOGS,
    MAX_OBJECTS,
    OBJECT_MIN_BYTES,
    OBJECTS,
    RESERVE,
    STEP_MAX_PAYLOAD_BYTES,
    TAIL,
    TIMING,
    Storage,
    ends_block,
    vocabulary,
)
from xtrace.capture.log import EventLog
from xtrace.capture.manifest import write_manifest
from xtrace.capture.objects import ObjectStore
from xtrace.capture.signature import load_private_key
from xtrace.capture.tail import TailWriter
from xtrace.capture.timing import TimingLog
from xtrace.engine.errors import InputError, LimitExceeded, StorageError
from xtrace.engine.recorder import NETWORK

if TYPE_CHECKING:
    from xtrace.capture.secrets import Secrets

RESERVE_BYTES = 256 * 1024
"""Kept free for the last block and the end of the files, when the disk is full; at least twice the largest block."""
_STEP_ROW = (("",), ("",), ("",), ("",), (0,), (b"",), ((),))
"""What a row that ends a step has from `node` on."""


class RunWriter:
    """A run being recorded into `folder`: the engine's `Recorder`, and the keeper of artefacts.

    `about` is what the manifest says of the run before it starts (scenario, seed, versions, …). Raises InputError if
    `folder` exists and is not empty; `force` removes it first if it holds a run. What can't be written raises
    StorageError; `salvage` then closes the run as far as it is whole.
    """

    def __init__(
        self,
        folder: Path,
        *,
        node_ids: Sequence[str],
        about: Mapping[str, Any],
        force: bool = False,
        storage: Storage | None = None,
        secrets: Secrets | None = None,
        disk: Disk | None = None,
    ) -> None:
        storage = Storage() if storage is None else storage
        self._key = None if storage.signing_key is None else load_private_key(storage.signing_key)
        make_room(folder, force=force)
        self.folder = folder = folder.absolute()  # a model may change the working directory
        self.manifest_digest = ""
        self._disk: Disk = RealDisk() if disk is None else disk
        self._sync = storage.durability == "step"
        self._secrets = secrets
        self._words = vocabulary([*node_ids, NETWORK])
        self._about = {**about, "format": FORMAT_VERSION, "vocabulary": self._words, "status": "recording"}
        self._artefacts: dict[str, dict[str, str]] = {}
        self._announced = -1
        self._pending = Pending(first_seq=0)
        self._lock = threading.Lock()
        self._fault: OSError | None = None
        self._writes = self._writes_before = 0
        try:
            self._open_files(storage)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StorageError(folder, _reason(error)) from error

    def _open_files(self, storage: Storage) -> None:
        folder = self.folder
        self.logs = folder / LOGS
        self._disk.make_folder(self.logs)
        self.objects = ObjectStore(folder / OBJECTS, disk=self._disk, sync=self._sync)
        with ExitStack() as opened:
            self._reserve = opened.enter_context(closing(LogFile(self._disk, folder / RESERVE)))
            self._reserve.reserve(RESERVE_BYTES)
            self._tail = TailWriter(self._disk, folder / TAIL)
            opened.enter_context(closing(self._tail.file))
            self._announce()
            self._log = EventLog(folder, self._words, disk=self._disk, compression=storage.compression)
            opened.callback(self._log.close_files)
            self.timing = TimingLog(self._disk, folder / TIMING)
            opened.enter_context(closing(self.timing.file))
            if self._sync:
                self._log.sync()
                self._tail.file.sync()
                self._disk.sync_folder(folder)
                self._disk.sync_folder(folder.parent)
            opened.pop_all()

    @property
    def rows_written(self) -> int:
        """How many rows stand in blocks."""
        return self._log.rows

    @property
    def steps(self) -> int:
        """How many steps have ended."""
        return self._log.steps + self._pending.steps()

    def keep(self, node: str) -> Callable[[str, Path], Path]:
        """Return the `keep` of the workspace of `node`: it copies a file into `objects/`.

        Raises InputError for a file that holds a secret.
        """
        kept = self._artefacts.setdefault(node, {})

        def keep(name: str, path: Path) -> Path:
            if name not in kept:
                if self._secrets is not None and self._secrets.holds(path.read_bytes()):
                    raise InputError(
                        f"node {node!r}: file {name!r}",
                        "holds the value of a secret, and would be copied into the run; let the node get it as "
                        "${secret:NAME} in its config",
                    )
                stored = self.objects.put(path)
                with self._lock:  # the journal's thread may be writing down what is kept
                    kept[name] = stored
            return self.objects.path(kept[name])

        return keep

    def append(
        self,
        step: int,
        kind: str,
        *,
        time_us: Sequence[int],
        node: Sequence[str],
        src: Sequence[str],
        dst: Sequence[str],
        type: Sequence[str],
        late_us: Sequence[int],
        payload: Sequence[bytes],
        cause: Sequence[int | Sequence[int]],
    ) -> int:
        """Append rows of one kind, by column, and return the seq of the first. Nobody may change the columns later."""
        if self._secrets is not None:
            type, payload = self._redacted(type, payload)
        size = sum(map(len, payload))
        with self._lock:
            pending = self._pending
            if self._fault is not None:
                raise self._stopped(self._fault)
            if size >= OBJECT_MIN_BYTES:
                payload = self._without_large(payload, pending.rows)
                size = sum(map(len, payload))
            pending.payload_bytes += size
            if pending.payload_bytes > BLOCK_MAX_PAYLOAD_BYTES + STEP_MAX_PAYLOAD_BYTES:
                limit = BLOCK_MAX_PAYLOAD_BYTES + STEP_MAX_PAYLOAD_BYTES
                what = f"bytes of payloads in step {step} and those before it in its block"
                raise LimitExceeded(what, found=pending.payload_bytes, limit=limit)
            piece = (step, kind, time_us, node, src, dst, type, late_us, payload, cause)
            return pending.add(piece, len(time_us))

    def end_step(self, step: int, time_us: int) -> None:
        """Append the `step` row, and end the block where it is due."""
        with self._lock:
            if self._fault is not None:
                raise self._stopped(self._fault)
            pending = self._pending
            pending.add((step, "step", (time_us,), *_STEP_ROW), 1)
            try:
                if pending.payload_bytes >= BLOCK_MAX_PAYLOAD_BYTES or (
                    pending.rows >= BLOCK_MIN_ROWS and (pending.rows >= BLOCK_MAX_ROWS or ends_block(step))
                ):
                    self._cut_block()
                elif self._sync:
                    self._write_journal()
            except OSError as error:
                self._fault = error
                raise self._stopped(error) from error

    def flush(self) -> None:
        """Write to the journal what has waited since the last call, and is in no block; called four times a second.

        Another thread than the one that records may call it. An error is raised by the next `append`.
        """
        with self._lock:
            if self._fault is not None:
                return
            try:
                if self._writes == self._writes_before:
                    self._write_journal()
            except OSError as error:
                self._fault = error
            except Exception as error:  # of a mistake in xtrace: the recording must not go on without a journal
                self._fault = OSError(errno.EIO, f"the journal can't be written: {error!r}", str(self.folder))
            self._writes_before = self._writes

    def close(self, status: str, *, failure: Mapping[str, Any] | None = None, **facts: Any) -> str:
        """Write what is left, the manifest and the seal; return the fingerprint.

        `facts` go into the manifest. Rows of a step that did not end are kept: they are what led to `failure`.
        """
        with self._lock:
            try:
                if self._fault is not None:
                    raise self._fault
                if self._pending.rows:
                    self._cut_block()
                return self._seal(status, failure=failure, **facts)
            except OSError as error:
                self._fault = error
                stopped = self._stopped(error)
        self.salvage(stopped, **facts)
        raise stopped from self._fault

    def salvage(self, stopped: StorageError, **facts: Any) -> None:
        """Close the run as failed after the disk refused something, with all that is whole; say in `stopped` how far.

        What only the journal holds is left there if it can't become a block, and can be recovered onto another disk.
        If every step was promised to be kept, the run then stays open.
        """
        failure = {"node": "", "error": type(stopped).__name__, "reason": stopped.reason}
        with self._lock, suppress(OSError):
            self._check_place()
            self._remove(self._reserve)
            with suppress(OSError):
                if self._log.retry():
                    self._after_block()
                self._pending.drop_unfinished_step()
                if self._pending.rows:
                    self._cut_block()
            if not (self._sync and self._tail.rows):
                stopped.in_journal = bool(self._tail.rows)
                self._seal("failed", failure=failure, shorten=not self._sync, **facts)
                stopped.kept_step = self._log.last_step
        self._close_files()

    def discard(self) -> None:
        """Remove the folder: nothing was recorded, because the scenario can't run."""
        is_ours = not self._is_gone()
        self._close_files()
        if is_ours:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _redacted(self, types: Sequence[str], payloads: Sequence[bytes]) -> tuple[Sequence[str], Sequence[bytes]]:
        assert self._secrets is not None
        if self._secrets.holds(b"".join(payloads)):
            payloads = [self._secrets.redact(payload) for payload in payloads]
        if self._secrets.holds("\n".join(types).encode(errors="surrogatepass")):
            types = [self._secrets.redact_text(each) for each in types]
        return types, payloads

    def _without_large(self, payloads: Sequence[bytes], first_row: int) -> Sequence[bytes]:
        """Move large payloads into objects, and return the payloads without them."""
        try:
            for row, payload in enumerate(payloads, first_row):
                if len(payload) >= OBJECT_MIN_BYTES:
                    self._pending.object[row] = self.objects.put_bytes(payload)
            if len(self.objects.sizes) > MAX_OBJECTS:
                raise LimitExceeded("objects of the run", found=len(self.objects.sizes), limit=MAX_OBJECTS)
        except OSError as error:
            self._pending.object = {row: each for row, each in self._pending.object.items() if row < first_row}
            self._fault = error
            raise self._stopped(error) from error
        return [b"" if len(payload) >= OBJECT_MIN_BYTES else payload for payload in payloads]

    def _cut_block(self) -> None:
        """Make a block of the rows so far. Raises OSError; they are then still there, for `EventLog.retry`."""
        pending = self._pending
        self._announce()
        self._check_place()
        batch = self._log.encoder.batch(pending.columns())
        if batch.nbytes > BLOCK_MAX_BYTES or self._log.blocks >= MAX_BLOCKS:
            if batch.nbytes > BLOCK_MAX_BYTES:
                what = f"bytes of step {pending.drop_last_step()} and those before it in its block"
                raise LimitExceeded(what, found=batch.nbytes, limit=BLOCK_MAX_BYTES)
            self._pending = Pending(pending.first_seq)  # so that the run can be closed
            raise LimitExceeded("blocks of the run", found=self._log.blocks + 1, limit=MAX_BLOCKS)
        self._pending = Pending(pending.first_seq + pending.rows)
        self._log.write(batch)
        self._after_block()

    def _after_block(self) -> None:
        if self._sync:
            self._log.sync()
        self._tail.clear()
        self.timing.end_block(self._log.blocks - 1)
        self._reserve.reserve(2 * self._log.largest_block)
        self._writes += 1

    def _write_journal(self) -> None:
        self._announce()
        self._check_place()
        if self._pending.rows > self._tail.rows:
            self._tail.write(self._pending)
            if self._sync:
                self._tail.file.sync()
            self._writes += 1

    def _announce(self) -> None:
        """Write the manifest of the run so far, if there are artefacts that it does not name yet."""
        artefacts = sum(map(len, self._artefacts.values()))
        if artefacts != self._announced:
            manifest = self._redacted_manifest({**self._about, "artefacts": self._artefacts})
            write_manifest(self.folder, manifest, disk=self._disk, sync=self._sync)
            self._announced = artefacts

    def _redacted_manifest(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        return manifest if self._secrets is None else self._secrets.redact_json(manifest)

    def _check_place(self) -> None:
        for file in (self._tail.file, *self._log.files):
            if file.is_open and not file.is_in_place():
                what = "the folder" if file is self._tail.file else file.path.name
                raise OSError(errno.ENOENT, f"{what} was removed or replaced during the recording", str(self.folder))

    def _is_gone(self) -> bool:
        with suppress(OSError):
            return self._tail.file.is_open and not self._tail.file.is_in_place()
        return False

    def _seal(
        self, status: str, *, failure: Mapping[str, Any] | None = None, shorten: bool = False, **facts: Any
    ) -> str:
        self._check_place()
        footer = self._log.close(sync=True, shorten=shorten)
        self.objects.sync()
        self._disk.sync_folder(self.folder.parent)
        files = [*self._log.files]
        try:
            self.timing.close()
            files.append(self.timing.file)
        except OSError:  # nothing depends on it
            self._remove(self.timing.file)
        self._remove(self._reserve)
        manifest = {
            **self._about,
            **facts,
            "status": status,
            "failure": failure,
            "fingerprint": fingerprint_of(self._log.digest),
            "totals": self._log.totals,
            "footer": footer,
            "artefacts": self._artefacts,
            "objects": self.objects.sizes,
            "files": {file.path.name: file.facts() for file in files},
        }
        self.manifest_digest = seal(self.folder, self._redacted_manifest(manifest), disk=self._disk, key=self._key)
        with suppress(OSError):  # the lock on it says until here that the run is being recorded
            if self._tail.rows:
                self._tail.file.close()
            else:
                self._remove(self._tail.file)
        return fingerprint_of(self._log.digest)

    def _remove(self, file: LogFile) -> None:
        file.close()
        if file.path.exists():
            self._disk.remove(file.path)

    def _close_files(self) -> None:
        self._log.close_files()
        for file in (self.timing.file, self._tail.file, self._reserve):
            with suppress(OSError):
                file.close()

    def _stopped(self, error: OSError) -> StorageError:
        return StorageError(self.folder, _reason(error), gone=self._is_gone())


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
