"""Content-addressed files of a run: `objects/<sha256>`, each stored once."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from xtrace.capture.disk import PARTIAL, Disk, LogFile, RealDisk, removed_on_error
from xtrace.capture.files import open_regular, sha256_of, size_of
from xtrace.engine.errors import CorruptionError

CHUNK_BYTES = 1 << 20
OBJECT_NAME = re.compile(r"[0-9a-f]{64}")


class ObjectStore:
    """The objects below `folder`; `sizes` says how many bytes each one put here has.

    With `sync`, what was put here survives a loss of power.
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None, sync: bool = False) -> None:
        self.folder = folder
        self.sizes: dict[str, int] = {}
        self._disk: Disk = RealDisk() if disk is None else disk
        self._sync = sync
        self._unsynced: list[str] = []
        self._unsafe = False

    def put(self, path: Path) -> str:
        """Copy the file `path` in and return its name, the SHA-256 of its content in hexadecimal. Raises OSError."""
        with path.open("rb") as source:
            return self._put(iter(lambda: source.read(CHUNK_BYTES), b""))

    def put_bytes(self, data: bytes) -> str:
        """Store `data`, unless it is there already, and return its name. Raises OSError."""
        name = hashlib.sha256(data).hexdigest()
        return name if name in self.sizes else self._put(iter((data,)))

    def _put(self, chunks: Iterator[bytes]) -> str:
        self._disk.make_folder(self.folder)
        partial = self.folder / f"object{PARTIAL}"
        with removed_on_error(self._disk, partial):
            with closing(LogFile(self._disk, partial)) as copy:
                for chunk in chunks:
                    copy.append(chunk)
            name = copy.sha256
            self._disk.rename(partial, self.folder / name)
        self.sizes[name] = copy.size
        self._unsynced.append(name)
        if self._sync:
            self.sync()
        return name

    def sync(self) -> None:
        """Return when all that was put here survives a loss of power. Raises OSError."""
        if self._unsafe:  # as with any file whose sync has failed, the next one may lie
            raise OSError(errno.EIO, "an earlier sync of the objects has failed", str(self.folder))
        self._unsafe = True
        for name in self._unsynced:
            self._disk.sync_file(self.folder / name)
        if self._unsynced:
            self._disk.sync_folder(self.folder)
            self._disk.sync_folder(self.folder.parent)
        self._unsynced.clear()
        self._unsafe = False

    def path(self, name: str) -> Path:
        """Return where object `name` lies, unchecked."""
        if OBJECT_NAME.fullmatch(name) is None:
            raise CorruptionError(self.folder / "?", f"{name!r} is not the name of an object")
        return self.folder / name

    def verified_path(self, name: str) -> Path:
        """Return where object `name` lies after its bytes were checked against it. Raises CorruptionError."""
        path = self.path(name)
        with open_regular(path) as file:
            if sha256_of(file) != name:
                raise CorruptionError(path, "the content is not what its name says", length=size_of(file))
        return path
