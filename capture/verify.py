"""Checks every byte of a run and reports all that is wrong, where a reader stops at the first.

A checksum tells that bytes were not changed, not that whoever wrote them told the truth. So the rows are decoded too,
and what the indexes and the manifest say of them is computed anew: a reader that skips a block because of what its
record says can rely on that. Memory is that of a block, however long the run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from xtrace.capture.audit import Audit
from xtrace.capture.files import open_regular, sha256_of, size_of
from xtrace.capture.index import BlockRecord
from xtrace.capture.layout import EVENTS, EVENTS_INDEX, MANIFEST, NODES_INDEX, OBJECTS, RESERVE, SEAL, TAIL
from xtrace.capture.reader import Run
from xtrace.engine.errors import CorruptionError

CHAIN = (EVENTS, EVENTS_INDEX, NODES_INDEX)
"""The files that every reader verifies; what is in the others is no part of what is replayed and compared."""
MAX_PROBLEMS = 1_000
"""How many problems are reported; a run with more is not looked at further."""
MAX_FOLDER_DEPTH = 64


class Problem(NamedTuple):
    """Bytes that are not what was recorded. Not `fatal`: they are no part of what is replayed and compared.

    `foreign`: the whole file is none of the run; somebody put it there.
    """

    file: str
    block: int | None
    offset: int
    length: int | None
    reason: str
    fatal: bool
    foreign: bool = False


def verify(path: Path, *, rows: bool = True) -> list[Problem]:
    """Return every problem of the closed run at `path`. Raises InputError if it is none.

    Without `rows` nothing is decoded: only checksums are looked at.
    """
    try:
        run = Run.open(path)
    except CorruptionError as error:
        return [_problem(error, path)]
    found = list(islice(_problems(run, rows=rows), MAX_PROBLEMS + 1))
    if len(found) > MAX_PROBLEMS:
        reason = f"more than {MAX_PROBLEMS} problems; the rest was not looked at"
        found[MAX_PROBLEMS:] = [Problem(MANIFEST, None, 0, None, reason, fatal=True)]
    return found


def _problems(run: Run, *, rows: bool) -> Iterator[Problem]:
    yield from _events(run, rows=rows)
    for check in (_objects, _other_files, _strangers):
        yield from check(run)


def _events(run: Run, *, rows: bool) -> Iterator[Problem]:
    audit = Audit(run)
    without_head = list(_caught(run, run.verify_head))
    yield from without_head
    rows = rows and not without_head
    for record in run.blocks:
        yield from _caught(run, audit.block if rows else run.verify_block, record)
    if rows:
        yield from _caught(run, audit.end)
    yield from _caught(run, run.verify_footer)


def _caught(run: Run, check: Callable[..., None], *arguments: BlockRecord) -> Iterator[Problem]:
    try:
        check(*arguments)
    except CorruptionError as error:
        yield _problem(error, run.path)


def _objects(run: Run) -> Iterator[Problem]:
    for name, said in sorted(run.manifest["objects"].items()):
        try:
            path = run.objects.verified_path(name)
            with open_regular(path) as file:
                size = size_of(file)
            if size != said:
                raise CorruptionError(path, f"it has {size} bytes, the manifest says {said}", length=size)
        except CorruptionError as error:
            yield _problem(error, run.path)


def _other_files(run: Run) -> Iterator[Problem]:
    for name, facts in sorted(run.manifest["files"].items()):
        if name in CHAIN:
            continue
        try:
            with open_regular(run.path / name) as file:
                if size_of(file) != facts["bytes"] or sha256_of(file) != facts["sha256"]:
                    reason = "the content is not what was recorded"
                    yield Problem(name, None, 0, facts["bytes"], reason, fatal=False)
        except CorruptionError as error:
            yield Problem(name, None, 0, facts["bytes"], error.reason, fatal=False)


def _strangers(run: Run) -> Iterator[Problem]:
    """Report files that the run does not know: they were put there later."""
    known = {
        TAIL,
        RESERVE,
        *run.manifest["files"],
        *(f"{OBJECTS}/{name}" for name in run.manifest["objects"]),
        MANIFEST,
        SEAL,
    }
    for name, size in _files_below(run.path):
        if name not in known:
            yield Problem(name, None, 0, size, "not a file of this run", fatal=False, foreign=True)


def _files_below(folder: Path) -> Iterator[tuple[str, int | None]]:
    """Yield name and size of everything in `folder` that is no folder, sorted within each, links not followed."""
    pending = [""]
    while pending:
        name = pending.pop(0)
        try:
            entries = sorted(os.scandir(folder / name), key=lambda entry: entry.name)
        except OSError:
            yield name, None
            continue
        for entry in entries:
            inner = f"{name}/{entry.name}" if name else entry.name
            facts = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(facts.st_mode):
                yield inner, facts.st_size
            elif inner.count("/") < MAX_FOLDER_DEPTH:
                pending.append(inner)
            else:
                yield inner, None


def _problem(error: CorruptionError, folder: Path) -> Problem:
    name = error.file.relative_to(folder).as_posix() if error.file.is_relative_to(folder) else str(error.file)
    return Problem(name, error.block, error.offset, error.length, error.reason, fatal=True)
