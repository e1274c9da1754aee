"""Content-addressed files of a run: `objects/<sha256>`, each stored once."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from xtrace.engine.errors import CorruptionError

CHUNK_BYTES = 1 << 20
OBJECT_NAME = re.compile(r"[0-9a-f]{64}")


class ObjectStore:
    """The objects below `folder`; `sizes` says how many bytes each one put here has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes: dict[str, int] = {}

    def put(self, path: Path) -> str:
        """Copy the file `path` in and return its name, the SHA-256 of its content in hexadecimal."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "partial"
        running, size = hashlib.sha256(), 0
        with path.open("rb") as source, partial.open("wb") as copy:
            while chunk := source.read(CHUNK_BYTES):
                running.update(chunk)
                size += copy.write(chunk)
        name = running.hexdigest()
        os.replace(partial, self.folder / name)
        self.sizes[name] = size
        return name

    def path(self, name: str) -> Path:
        """Return where object `name` lies, unchecked."""
        if OBJECT_NAME.fullmatch(name) is None:
            raise CorruptionError(self.folder / "?", f"{name!r} is not the name of an object")
        return self.folder / name

    def verified_path(self, name: str) -> Path:
        """Return where object `name` lies after its bytes were checked against it. Raises CorruptionError."""
        path = self.path(name)
        if not path.is_file():
            raise CorruptionError(path, "the object is missing")
        running = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                running.update(chunk)
        if running.hexdigest() != name:
            raise CorruptionError(path, "the content is not what its name says", length=path.stat().st_size)
        return path
