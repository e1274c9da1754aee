"""Makes a valid run of what is left of one that was not closed or was damaged. What it is made of stays as it is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.capture.digests import fingerprint_of
from xtrace.capture.disk import RealDisk
from xtrace.capture.files import open_regular, sha256_of
from xtrace.capture.folder import make_room, seal
from xtrace.capture.layout import (
    EVENTS,
    EVENTS_INDEX,
    FORMAT_VERSION,
    LOGS,
    NODES_INDEX,
    OBJECTS,
    SEAL,
    TAIL,
    TIMING,
)
from xtrace.capture.log import EventLog
from xtrace.capture.objects import ObjectStore
from xtrace.capture.remains import Hole, Remains
from xtrace.engine.errors import CorruptionError, InputError, StorageError
from xtrace.engine.recorder import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

RECOVERED = "recovered"
MADE_ANEW = (SEAL, EVENTS, EVENTS_INDEX, NODES_INDEX)
"""Files that are made of the rows; that rows are missing is said by the holes."""
NOT_KEPT = ("checksum", "files", "fingerprint", "footer", "holes", "lost", "objects", "signed_by", "totals")
"""What the manifest of a recovered run says anew, or can't say."""


@dataclass(frozen=True)
class Recovery:
    """The run at `path`, made of what was left, and what was not: `holes` in the log, and `lost` files.

    `mended` files were damaged and are made anew, without loss. `torn_bytes` at the end of log or journal were being
    written. `fingerprint` is None if there are holes.
    """

    path: Path
    status: str
    fingerprint: str | None
    rows: int
    steps: int
    holes: tuple[Hole, ...]
    lost: tuple[CorruptionError, ...]
    mended: tuple[CorruptionError, ...]
    torn_bytes: int


def recover(source: Path, out: Path) -> Recovery:
    """Write a closed run of all that is left of the run in `source` into the folder `out`.

    Raises InputError if there is nothing to recover, or `out` is in the way; StorageError if `out` has no room.
    """
    remains = Remains(source)
    if out.absolute().is_relative_to(source.absolute()):
        raise InputError(str(out), f"lies inside of {source}, which stays as it is; choose another folder with -o")
    make_room(out, force=False)
    try:
        return _Rebuilt(remains, out.absolute()).recovery()
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise StorageError(out, error.strerror or str(error)) from error
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


class _Rebuilt:
    """A run being made of `remains` in the folder `out`."""

    def __init__(self, remains: Remains, out: Path) -> None:
        self._remains = remains
        self._out = out
        self._disk = RealDisk()
        self._holes: list[Hole] = []
        self._objects = ObjectStore(out / OBJECTS, disk=self._disk)
        self._lost_objects: set[str] = set()
        self._source_objects = ObjectStore(remains.folder / OBJECTS)

    def recovery(self) -> Recovery:
        """Write all of it."""
        remains, old = self._remains, self._remains.manifest or {}
        log = self._write_log()
        try:
            footer = log.close(sync=True)
        finally:
            log.close_files()
        artefacts = {
            node: {name: each for name, each in files.items() if self._keep(each)}
            for node, files in old.get("artefacts", {}).items()
        }
        self._copy_logs()
        fingerprint = None if self._holes else fingerprint_of(log.digest)
        whole = fingerprint is not None and fingerprint == old.get("fingerprint")
        status = old["status"] if whole else RECOVERED
        files = {file.path.name: file.facts() for file in log.files} | self._copied_timing()
        lost = [each for each in remains.lost if not self._is_mended(each)]
        manifest = {
            **{key: value for key, value in old.items() if key not in NOT_KEPT},
            "seed": old.get("seed", 0),
            "nodes": old.get("nodes", {name: {} for name in self._words["name"] if name}),
            "vocabulary": self._words,
            "format": FORMAT_VERSION,
            "status": status,
            "fingerprint": fingerprint,
            "totals": log.totals,
            "footer": footer,
            "artefacts": artefacts,
            "objects": self._objects.sizes,
            "files": files,
            **({"holes": [hole._asdict() for hole in self._holes]} if self._holes else {}),
            **({"lost": [self._describe(each) for each in lost]} if lost else {}),
        }
        self._objects.sync()
        self._disk.sync_folder(self._out.parent)
        seal(self._out, manifest, disk=self._disk)
        return Recovery(
            path=self._out,
            status=status,
            fingerprint=fingerprint,
            rows=log.rows,
            steps=log.steps,
            holes=tuple(self._holes),
            lost=tuple(lost),
            mended=tuple(each for each in remains.lost if self._is_mended(each)),
            torn_bytes=remains.torn_bytes,
        )

    def _write_log(self) -> EventLog:
        log: EventLog | None = None
        for piece in self._remains.batches():
            if isinstance(piece, Hole):
                self._holes.append(piece)
                continue
            if log is None:
                log = self._new_log(piece.schema)
            self._keep_payloads(piece)
            log.write(_with_columns_of(piece, log.encoder.schema))
        return self._new_log(None) if log is None else log

    def _new_log(self, schema: pa.Schema | None) -> EventLog:
        if schema is not None:
            schema = schema.with_metadata({"xtrace.format": str(FORMAT_VERSION)})
        return EventLog(self._out, self._words, disk=self._disk, schema=schema)

    def _is_mended(self, error: CorruptionError) -> bool:
        """Return whether what is damaged was made anew from the rows: nothing is lost with it."""
        return error.file.name in MADE_ANEW or (error.file.name == TAIL and error.offset == 0)

    @property
    def _words(self) -> dict[str, list[str]]:
        words = self._remains.words
        return {"kind": list(KINDS), "name": [""]} if words is None else words

    def _keep_payloads(self, batch: pa.RecordBatch) -> None:
        for name in batch.column("object").unique().to_pylist():
            if name and name not in self._objects.sizes:
                self._keep(name)

    def _keep(self, name: str) -> bool:
        """Copy an object that is what its name says, and return whether it is."""
        if name in self._lost_objects:
            return False
        if name not in self._objects.sizes:
            try:
                self._objects.put(self._source_objects.verified_path(name))
            except CorruptionError as error:
                self._remains.lost.append(error)
                self._lost_objects.add(name)
                return False
        return True

    def _copy_logs(self) -> None:
        """Copy what nodes wrote to stderr; of a closed run, what is as it was written."""
        (self._out / LOGS).mkdir()
        facts = (self._remains.manifest or {}).get("files", {}) if self._remains.closed else None
        source = self._remains.folder / LOGS
        for path in sorted(path for path in source.rglob("*") if path.is_file() and not path.is_symlink()):
            name = path.relative_to(self._remains.folder).as_posix()
            if facts is None or self._is_intact(path, facts.get(name)):
                target = self._out / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    def _copied_timing(self) -> dict[str, Any]:
        """Copy the timing of a closed run, if it is as it was written, and return its facts."""
        facts = (self._remains.manifest or {}).get("files", {}).get(TIMING) if self._remains.closed else None
        path = self._remains.folder / TIMING
        if facts is None or not self._is_intact(path, facts):
            return {}
        shutil.copyfile(path, self._out / TIMING)
        self._disk.sync_file(self._out / TIMING)
        return {TIMING: facts}

    def _is_intact(self, path: Path, facts: Any) -> bool:
        try:
            with open_regular(path) as file:
                intact = facts is not None and sha256_of(file) == facts["sha256"]
            if not intact:
                raise CorruptionError(path, "the content is not what was recorded", length=path.stat().st_size)
        except CorruptionError as error:
            self._remains.lost.append(error)
            return False
        return True

    def _describe(self, error: CorruptionError) -> dict[str, Any]:
        file, folder = error.file, self._remains.folder
        name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
        return {"file": name, "offset": error.offset, "reason": error.reason}


def _with_columns_of(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows with the further columns that `schema` has: the journal knows none."""
    import pyarrow as pa

    missing = list(schema)[len(batch.schema) :]
    if not missing:
        return batch
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *(pa.nulls(len(batch), each.type) for each in missing)], schema=schema
    )
