"""Opens the files of a run for reading: regular files only, and no more of them than is wanted."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from xtrace.engine.errors import CorruptionError

CHUNK_BYTES = 1 << 20
SPARSE_MIN_BYTES = 1 << 30
SPARSE_RATIO = 64
"""A file of at least SPARSE_MIN_BYTES of which less than one part in SPARSE_RATIO is on the disk is refused: no
recording has such gaps, and to read them would take as long as to read data."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe or device is not even opened. Raises CorruptionError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CorruptionError(path, "not a regular file")
        # The file may be another by now; one that waits for a writer must not hold up whoever opens it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise CorruptionError(path, "the file is missing") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorruptionError(path, f"the file can't be opened: {reason}") from error
    file = os.fdopen(descriptor, "rb")
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        file.close()
        raise CorruptionError(path, "not a regular file")
    stored = facts.st_blocks * 512
    if facts.st_size >= SPARSE_MIN_BYTES and stored < facts.st_size // SPARSE_RATIO:
        file.close()
        reason = f"a sparse file: of its {facts.st_size} bytes only {stored} are on the disk"
        raise CorruptionError(path, reason, length=facts.st_size)
    return file


def size_of(file: BinaryIO) -> int:
    """Return how many bytes an open file has."""
    return os.fstat(file.fileno()).st_size


def read_limited(path: Path, *, limit_bytes: int) -> bytes:
    """Return the content of a regular file. Raises CorruptionError if that has more than `limit_bytes`."""
    with open_regular(path) as file:
        size = size_of(file)
        data = b"" if size > limit_bytes else file.read(limit_bytes + 1)
        if size > limit_bytes or len(data) > limit_bytes:
            reason = f"{max(size, len(data)):,} bytes are more than the limit of {limit_bytes:,}"
            raise CorruptionError(path, reason, offset=limit_bytes, length=max(size, len(data)) - limit_bytes)
        return data


def chunks(file: BinaryIO, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the rest of an open file in pieces."""
    while chunk := file.read(chunk_bytes):
        yield chunk


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of the rest of an open file in hexadecimal."""
    running = hashlib.sha256()
    for chunk in chunks(file):
        running.update(chunk)
    return running.hexdigest()
