"""The disk as a run needs it: the few calls that write, behind a parameter, so that tests can let each of them fail."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

PARTIAL = ".partial"
"""Ends the name of a file that is not whole yet."""
UNSUPPORTED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer to a call that they don't have: some have no locks, some no allocation."""
LOCK_TRIES = 100
LOCK_WAIT_S = 0.01
"""Others take the lock for a moment to see whether it is free."""
CLOSED = -1
"""Instead of a handle."""


class Disk(Protocol):
    """The calls to the operating system by which a run is written. Each may raise OSError."""

    def create(self, path: Path) -> int:
        """Create the file `path`, or empty it, and return a handle; whatever is written goes to its end."""

    def write(self, file: int, data: memoryview) -> int:
        """Write the beginning of `data` and return how many bytes that were."""

    def truncate(self, file: int, size: int) -> None:
        """Cut the file to `size` bytes."""

    def reserve(self, file: int, size: int) -> None:
        """Give the file room for `size` bytes that nobody else can take."""

    def sync(self, file: int) -> None:
        """Return when all that was written to the file survives a loss of power."""

    def close(self, file: int) -> None:
        """Give the handle back."""

    def lock(self, file: int) -> None:
        """Show to others that the file is being written, until it is closed or this process ends."""

    def is_at(self, file: int, path: Path) -> bool:
        """Return whether `path` still leads to the file."""

    def make_folder(self, path: Path) -> None:
        """Create the folder `path` and those above it, if need be."""

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, whole or not at all."""

    def remove(self, path: Path) -> None:
        """Remove the file `path`."""

    def sync_file(self, path: Path) -> None:
        """Return when the file `path`, which is closed, survives a loss of power."""

    def sync_folder(self, path: Path) -> None:
        """Return when the names in the folder `path` survive a loss of power."""


@contextmanager
def suppress_unsupported() -> Iterator[None]:
    """Let errors pass that say that a file system can't do something at all."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


class RealDisk:
    """The disk of the operating system."""

    def create(self, path: Path) -> int:
        """Create the file `path`, or empty it, and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def write(self, file: int, data: memoryview) -> int:
        """Write the beginning of `data` and return how many bytes that were."""
        return os.write(file, data)

    def truncate(self, file: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(file, size)

    def reserve(self, file: int, size: int) -> None:
        """Allocate `size` bytes, where the system and the file system can."""
        if hasattr(os, "posix_fallocate"):
            with suppress_unsupported():
                os.posix_fallocate(file, 0, size)

    def sync(self, file: int) -> None:
        """Wait until the file is on the disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Close the descriptor."""
        if file in _LOCKED:
            _LOCKED.remove(file)
        os.close(file)

    def lock(self, file: int) -> None:
        """Lock the file for as long as it is open in this process; a file system without locks does without."""
        for tries_left in reversed(range(LOCK_TRIES)):
            try:
                with suppress_unsupported():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not tries_left:
                    raise
                time.sleep(LOCK_WAIT_S)
        _not_in_children(file)

    def is_at(self, file: int, path: Path) -> bool:
        """Return whether `path` still leads to the file."""
        try:
            return os.path.samestat(os.fstat(file), path.stat())
        except FileNotFoundError:
            return False

    def make_folder(self, path: Path) -> None:
        """Create the folder `path` and those above it."""
        path.mkdir(parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove the file `path`."""
        path.unlink()

    def sync_file(self, path: Path) -> None:
        """Wait until the file is on the disk."""
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in the folder are on the disk; one that can't be synced does without."""
        try:
            self.sync_file(path)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
                raise


_LOCKED: list[int] = []


def _not_in_children(file: int) -> None:
    """Close the file in every process that this one forks: a child that lives on must not hold the lock."""
    _register()
    _LOCKED.append(file)


@cache
def _register() -> None:
    os.register_at_fork(after_in_child=_close_locked)


def _close_locked() -> None:
    for file in _LOCKED:
        with suppress(OSError):
            os.close(file)


def is_locked(path: Path) -> bool:
    """Return whether somebody is writing the file `path`, as `Disk.lock` shows it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(file)
    return False


class Mark(NamedTuple):
    """How far a file had been written: its size and the running SHA-256."""

    size: int
    running: hashlib._Hash


class LogFile:
    """A file that grows, and can be cut back to where it was; its size and SHA-256 are known at any time."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self.path = path
        self.size = 0
        self._disk = disk
        self._file = disk.create(path)
        self._running = hashlib.sha256()
        self._reserved = 0
        self._torn = False
        """Whether the file ends with a part of what the disk refused."""
        self._unsafe = False
        """Whether a sync has failed."""

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data`. Raises OSError; then the file may end with a part of it, until the next call."""
        if self._torn:
            self._disk.truncate(self._file, self.size)
        self._torn = True
        left = memoryview(data)
        while left:
            written = self._disk.write(self._file, left)
            if not written:
                raise OSError(errno.EIO, "the disk takes no more", str(self.path))
            left = left[written:]
        self._torn = False
        self._running.update(data)
        self.size += len(data)

    def reserve(self, size: int) -> None:
        """Give the file room for `size` bytes at least. Raises OSError."""
        if size > self._reserved and self.is_open:
            self._disk.reserve(self._file, size)
            self._reserved = size

    def mark(self) -> Mark:
        """Return how far the file is written."""
        return Mark(self.size, self._running.copy())

    def cut_back(self, mark: Mark) -> None:
        """Forget what was written since `mark`."""
        self._disk.truncate(self._file, mark.size)
        self.size, self._running, self._torn = mark.size, mark.running.copy(), False

    def sync(self) -> None:
        """Return when the file survives a loss of power. Raises OSError, and then every time.

        After an error the system may take for written what is not, and the next call would succeed.
        """
        if self._unsafe:
            raise OSError(errno.EIO, "an earlier sync of the file has failed", str(self.path))
        self._unsafe = True
        self._disk.sync(self._file)
        self._unsafe = False

    def lock(self) -> None:
        """Show that the file is being written."""
        self._disk.lock(self._file)

    def is_in_place(self) -> bool:
        """Return whether the file still has its name: nobody has removed or replaced it."""
        return self.is_open and self._disk.is_at(self._file, self.path)

    def close(self) -> None:
        """Close the file, if that was not done before; nothing can be written to it any more."""
        if self.is_open:
            file, self._file = self._file, CLOSED
            self._disk.close(file)

    @property
    def is_open(self) -> bool:
        """Whether the file can be written to."""
        return self._file != CLOSED

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hexadecimal."""
        return self._running.hexdigest()

    def facts(self) -> dict[str, object]:
        """Return what the manifest says of the file."""
        return {"bytes": self.size, "sha256": self.sha256}


@contextmanager
def removed_on_error(disk: Disk, path: Path) -> Iterator[None]:
    """Remove the file `path` if the disk refuses something meanwhile: it would take room and belong to nobody."""
    try:
        yield
    except OSError:
        with suppress(OSError):
            disk.remove(path)
        raise


def write_whole(disk: Disk, path: Path, data: bytes, *, sync: bool) -> None:
    """Write the file `path` so that it is there with all of `data` or, as before, without; `sync`: for good."""
    partial = path.with_name(path.name + PARTIAL)
    with removed_on_error(disk, partial):
        with closing(LogFile(disk, partial)) as file:
            file.append(data)
            if sync:
                file.sync()
        disk.rename(partial, path)
    if sync:
        disk.sync_folder(path.parent)
