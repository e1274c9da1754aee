"""Checks every byte of a run and reports all that is wrong, where a reader stops at the first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xtrace.capture.layout import EVENTS, LOGS, OBJECTS, TIMING
from xtrace.capture.objects import CHUNK_BYTES
from xtrace.capture.reader import Run
from xtrace.engine.errors import CorruptionError


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


def verify(path: Path) -> list[Problem]:
    """Return every problem of the closed run at `path`. Raises InputError if it is none."""
    try:
        run = Run.open(path)
        _ = run.node_records
    except CorruptionError as error:
        return [_problem(error, path)]
    return [*_events(run), *_objects(run), *_other_files(run), *_strangers(run)]


def _events(run: Run) -> Iterator[Problem]:
    for check in (run.verify_head, *(lambda block=record: run.verify_block(block) for record in run.blocks)):
        try:
            check()
        except CorruptionError as error:
            yield _problem(error, run.path)
    try:
        run.verify_footer()
    except CorruptionError as error:
        yield _problem(error, run.path)


def _objects(run: Run) -> Iterator[Problem]:
    for name in sorted(run.manifest["objects"]):
        try:
            run.objects.verified_path(name)
        except CorruptionError as error:
            yield _problem(error, run.path)


def _other_files(run: Run) -> Iterator[Problem]:
    for name, facts in sorted(run.manifest["files"].items()):
        if name == TIMING or name.startswith(f"{LOGS}/"):
            reason = _difference(run.path / name, facts)
            if reason:
                yield Problem(name, None, 0, facts["bytes"], reason, fatal=False)


def _strangers(run: Run) -> Iterator[Problem]:
    """Report files that the run does not know: they were put there later."""
    known = {*run.manifest["files"], *(f"{OBJECTS}/{name}" for name in run.manifest["objects"])}
    known |= {EVENTS, "manifest.json", "SEAL"}
    for path in sorted(run.path.rglob("*")):
        name = path.relative_to(run.path).as_posix()
        if path.is_file() and name not in known:
            yield Problem(name, None, 0, path.stat().st_size, "not a file of this run", fatal=False, foreign=True)


def _difference(path: Path, facts: dict[str, Any]) -> str:
    if not path.is_file():
        return "the file is missing"
    running = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            running.update(chunk)
    return "" if running.hexdigest() == facts["sha256"] else "the content is not what was recorded"


def _problem(error: CorruptionError, folder: Path) -> Problem:
    name = error.file.relative_to(folder).as_posix() if error.file.is_relative_to(folder) else str(error.file)
    return Problem(name, error.block, error.offset, error.length, error.reason, fatal=True)
