"""A disk on which everything can go wrong: by chance, but the same for the same seed.

What is written goes to real files, so that readers need not know of it. Beside them stands what is on the platter: a
file's content as of its last sync, a folder's names as of its last sync, and what was done since, of which a loss of
power leaves any part.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from xtrace.capture.disk import RealDisk

PIECES = (8, 64, 512)
"""In pieces of one of these sizes, in bytes, unsynced writes reach the platter."""


class Crash(BaseException):
    """The process was killed, or the machine lost its power: nothing happens after it."""


class Trouble(NamedTuple):
    """What goes wrong. `crash_at` and `broken_from` count calls from 1; 0 is never. Rates are per call.

    `crash_in`: the crash waits for the next sync of the file of this name, of which then nothing is done.
    """

    crash_at: int = 0
    crash_in: str = ""
    broken_from: int = 0
    room_bytes: int | None = None
    error_rate: float = 0.0
    short_rate: float = 0.0


class _Op(NamedTuple):
    """A change of a file: `data` written at `offset`, or, if it is None, the file cut to `offset` bytes."""

    offset: int
    data: bytes | None


@dataclass(eq=False)
class _File:
    name: str
    durable: bytearray = field(default_factory=bytearray)
    pending: list[_Op] = field(default_factory=list)
    size: int = 0
    reserved: int = 0
    handles: int = 0
    linked: bool = True

    @property
    def room_bytes(self) -> int:
        return max(self.size, self.reserved) if self.linked or self.handles else 0

    def sync(self) -> None:
        for op in self.pending:
            _apply(self.durable, op)
        self.pending.clear()

    def survivor(self, random: Random) -> bytearray:
        """Return what may be left of the file: all, nothing, the beginning or any part of what was not synced."""
        fate = random.choice(("all", "nothing", "beginning", "beginning", "scattered", "scattered", "scattered"))
        reached = {"all": len(self.pending), "nothing": 0}.get(fate, random.randint(0, len(self.pending)))
        if fate == "scattered" and random.random() < 0.5:
            reached = len(self.pending)
        data, piece, share = bytearray(self.durable), random.choice(PIECES), random.choice((0.3, 0.7, 0.97))
        for number, op in enumerate(self.pending):
            sized = number < reached
            if fate != "scattered" or op.data is None:
                if sized:
                    _apply(data, op)
                elif number == reached and fate == "beginning" and op.data is not None:
                    _apply(data, _Op(op.offset, op.data[: random.randint(0, len(op.data))]))
                continue
            if sized:
                data.extend(bytes(max(0, op.offset + len(op.data) - len(data))))
            _scatter(data, op, piece, chance=share if sized else share / 2, random=random)
        return data


@dataclass(eq=False)
class _Folder:
    names: dict[str, _File | _Folder] = field(default_factory=dict)
    durable: dict[str, _File | _Folder] = field(default_factory=dict)
    pending: list[tuple[str, str, _File | _Folder | None]] = field(default_factory=list)
    """Names that end, names that begin, and what these lead to; done one by one, each is whole or not there."""

    def change(self, old: str, new: str, target: _File | _Folder | None) -> None:
        self.pending.append((old, new, target))
        _rename(self.names, self.pending[-1])

    def sync(self) -> None:
        self.durable = dict(self.names)
        self.pending.clear()

    def survivor(self, random: Random) -> dict[str, _File | _Folder]:
        """Return what may be left of the names: as far as some change, or any of them."""
        scattered = random.random() < 0.5
        reached = random.randint(0, len(self.pending))
        left = dict(self.durable)
        for number, change in enumerate(self.pending):
            if random.random() < 0.5 if scattered else number < reached:
                _rename(left, change)
        return left


class SimulatedDisk:
    """A disk in the folder `root`; `random` decides about each call what `trouble` leaves open."""

    def __init__(self, root: Path, *, random: Random, trouble: Trouble) -> None:
        self.calls = 0
        self.dead = False
        self.refused = 0
        """How many calls have failed."""
        self.was_full = False
        self._root = root
        self._random = random
        self._trouble = trouble
        self._real = RealDisk()
        self._top = _Folder()
        self._folders = [self._top]
        self._files: list[_File] = []
        self._touched: _File | None = None
        """The file that was written to last."""
        self._handles: dict[int, _File] = {}

    @property
    def open_handles(self) -> int:
        return len(self._handles)

    def create(self, path: Path) -> int:
        last = self._begin()
        folder = self._folder(path.parent)
        found = folder.names.get(path.name)
        if isinstance(found, _File):
            _cut(found, 0)
        else:
            found = _File(path.name)
            self._files.append(found)
            folder.change("", path.name, found)
        handle = self._real.create(path)
        self._handles[handle] = found
        found.handles += 1
        self._end(last)
        return handle

    def write(self, file: int, data: memoryview) -> int:
        last = self._begin()
        target, size = self._open(file), len(data)
        self._touched = target
        if last or self._random.random() < self._trouble.short_rate:
            size = self._random.randint(0 if last else 1, size)
        room = self._room_bytes()
        if room is not None:
            size = min(size, max(room + target.room_bytes - target.size, 0))
            if not size and not last:
                self._refuse(errno.ENOSPC)
        if size:
            written = self._real.write(file, data[:size])
            assert written == size
            target.pending.append(_Op(target.size, bytes(data[:size])))
            target.size += size
        self._end(last)
        return size

    def truncate(self, file: int, size: int) -> None:
        last = self._begin()
        target = self._open(file)
        self._real.truncate(file, size)
        _cut(target, size)
        self._end(last)

    def reserve(self, file: int, size: int) -> None:
        last = self._begin()
        target, room = self._open(file), self._room_bytes()
        if room is not None and size - target.room_bytes > room:
            self._refuse(errno.ENOSPC)
        target.reserved = max(target.reserved, size)  # the real file need not be as large
        self._end(last)

    def sync(self, file: int) -> None:
        self._sync(self._open(file))

    def _sync(self, target: _File) -> None:
        """Sync; if that fails, what was not synced may be lost although the next sync succeeds, as on Linux."""
        try:
            last = self._begin(syncs=target.name)
        except OSError:
            if self._random.random() < 0.5:
                target.durable = target.survivor(self._random)
                target.pending.clear()
            raise
        target.sync()
        self._end(last)

    def close(self, file: int) -> None:
        """Close; the handle is gone even if that fails, as on Linux."""
        if self.dead:
            raise Crash
        target = self._open(file)
        del self._handles[file]
        target.handles -= 1
        self._real.close(file)
        self._end(self._begin())

    def lock(self, file: int) -> None:
        last = self._begin()
        self._real.lock(file)
        self._end(last)

    def is_at(self, file: int, path: Path) -> bool:
        self._end(self._begin())
        return self._real.is_at(file, path)

    def make_folder(self, path: Path) -> None:
        last = self._begin()
        self._real.make_folder(path)
        self._folder(path)
        self._end(last)

    def rename(self, source: Path, target: Path) -> None:
        last = self._begin()
        assert source.parent == target.parent
        folder = self._folder(source.parent)
        self._real.rename(source, target)
        replaced = folder.names.get(target.name)
        if isinstance(replaced, _File):
            replaced.linked = False
        folder.change(source.name, target.name, folder.names[source.name])
        self._end(last)

    def remove(self, path: Path) -> None:
        last = self._begin()
        self._real.remove(path)
        folder = self._folder(path.parent)
        target = folder.names[path.name]
        assert isinstance(target, _File)
        target.linked = False
        folder.change(path.name, "", None)
        self._end(last)

    def sync_file(self, path: Path) -> None:
        target = self._folder(path.parent).names[path.name]
        assert isinstance(target, _File)
        self._sync(target)

    def sync_folder(self, path: Path) -> None:
        last = self._begin()
        self._folder(path).sync()
        self._end(last)

    def kill(self) -> None:
        """End the process: nothing more is written, and its handles and locks are gone."""
        self.dead = True
        for handle in self._handles:
            self._real.close(handle)
        self._handles.clear()

    def lose_power(self) -> None:
        """Leave of the files what a loss of power may leave of them: one suffers, or some, or all."""
        self.kill()
        unsynced = [each for each in (*self._files, *self._folders) if each.pending]
        share = self._random.choice((0.0, 0.0, 0.3, 1.0))
        victim = self._random.randrange(len(unsynced)) if unsynced else 0
        if self._random.random() < 0.5 and self._touched in unsynced:
            victim = unsynced.index(self._touched)
        for number, each in enumerate(unsynced):
            if number != victim and self._random.random() >= share:
                each.sync()
        for entry in sorted(self._root.iterdir()):
            if entry.name in self._top.names:
                shutil.rmtree(entry)
        contents = {id(file): bytes(file.survivor(self._random)) for file in self._files}
        self._restore(self._root, self._top, contents)

    def _restore(self, path: Path, folder: _Folder, contents: dict[int, bytes]) -> None:
        for name, target in sorted(folder.survivor(self._random).items()):
            if isinstance(target, _File):
                (path / name).write_bytes(contents[id(target)])
            else:
                (path / name).mkdir()
                self._restore(path / name, target, contents)

    def _folder(self, path: Path) -> _Folder:
        """Return a folder; one that was made behind the back of this disk is as good as any unsynced one."""
        folder = self._top
        for name in path.relative_to(self._root).parts:
            if name not in folder.names:
                self._folders.append(_Folder())
                folder.change("", name, self._folders[-1])
            below = folder.names[name]
            assert isinstance(below, _Folder)
            folder = below
        return folder

    def _open(self, handle: int) -> _File:
        if handle not in self._handles:
            self._refuse(errno.EBADF)
        return self._handles[handle]

    def _room_bytes(self) -> int | None:
        room = self._trouble.room_bytes
        return None if room is None else room - sum(file.room_bytes for file in self._files)

    def _begin(self, *, syncs: str = "") -> bool:
        """Begin a call; return whether it is the last one, and raise Crash or OSError if it does nothing."""
        if self.dead:
            raise Crash
        self.calls += 1
        trouble = self._trouble
        if trouble.crash_at and trouble.crash_in:
            self._end(syncs == trouble.crash_in and self.calls >= trouble.crash_at)
        elif self.calls == trouble.crash_at:
            self._end(self._random.random() < 0.4)
            return True
        if (trouble.broken_from and self.calls >= trouble.broken_from) or self._random.random() < trouble.error_rate:
            self._refuse(errno.EIO)
        return False

    def _end(self, last: bool) -> None:
        if last:
            self.dead = True
            raise Crash

    def _refuse(self, number: int) -> None:
        self.refused += 1
        self.was_full |= number == errno.ENOSPC
        raise OSError(number, os.strerror(number))


def _cut(file: _File, size: int) -> None:
    file.pending.append(_Op(size, None))
    file.size, file.reserved = size, min(file.reserved, size)


def _apply(data: bytearray, op: _Op) -> None:
    if op.data is None:
        del data[op.offset :]
        data.extend(bytes(op.offset - len(data)))
    else:
        data.extend(bytes(max(0, op.offset - len(data))))
        data[op.offset : op.offset + len(op.data)] = op.data


def _scatter(data: bytearray, op: _Op, piece: int, *, chance: float, random: Random) -> None:
    """Put some pieces of a write where they belong, as far as the file goes."""
    assert op.data is not None
    end = min(op.offset + len(op.data), len(data))
    start = op.offset
    while start < end:
        stop = min((start // piece + 1) * piece, end)
        if random.random() < chance:
            data[start:stop] = op.data[start - op.offset : stop - op.offset]
        start = stop


def _rename(names: dict[str, _File | _Folder], change: tuple[str, str, _File | _Folder | None]) -> None:
    old, new, target = change
    names.pop(old, None)
    if target is not None:
        names[new] = target
