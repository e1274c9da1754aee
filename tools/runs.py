"""Finds runs: the one that was named, the ones that may have been meant, and a free folder for a new one."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xtrace.engine.errors import InputError

if TYPE_CHECKING:
    from xtrace.capture.live import LiveRun
    from xtrace.capture.reader import Run

MANIFEST = "manifest.json"
SHOWN_FOLDERS = 3


def open_run(path: str) -> Run:
    """Open the run in folder `path`. Raises InputError that names the runs nearby, and CorruptionError."""
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        raise InputError(path, _why_not(folder) + _nearby(folder))
    from xtrace.capture.reader import Run

    return Run.open(folder)


def is_open(path: str) -> bool:
    """Return whether the folder `path` holds a run without a seal: it is being recorded, or was killed."""
    return (Path(path) / MANIFEST).is_file() and not (Path(path) / "SEAL").exists()


def check_nodes(run: Run | LiveRun, nodes: Sequence[str]) -> None:
    """Raise InputError unless `run` has every one of `nodes`."""
    from xtrace.engine.registry import unknown

    problems = [unknown(node, run.nodes, "node") for node in nodes if node not in run.nodes]
    if problems:
        raise InputError(str(run.path), problems)


def time_option(option: str, text: str | None) -> int | None:
    """Return the virtual time `text` that was given to `option`, in microseconds. Raises InputError."""
    from xtrace.engine.duration import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise InputError(option, str(error)) from error


def time_range(arguments: argparse.Namespace) -> tuple[int | None, int | None]:
    """Return --from and --to in microseconds, None where not given. Raises InputError if nothing lies between them."""
    from_us, to_us = time_option("--from", arguments.from_time), time_option("--to", arguments.to_time)
    if to_us is not None and to_us <= (from_us or 0):
        begin = "the beginning of the run" if from_us is None else f"--from {arguments.from_time}"
        raise InputError("--to", f"{arguments.to_time} is not after {begin}; give a later time")
    return from_us, to_us


def check_reached(run: Run, from_us: int | None) -> None:
    """Raise InputError if `run` ends before `from_us`: a comparison of nothing must not find it the same."""
    from xtrace.engine.duration import seconds

    planned_us = run.manifest.get("duration_us")
    end_us = max((record.max_time_us for record in run.blocks), default=0)
    if run.status == "complete" and isinstance(planned_us, int):
        end_us = max(end_us, planned_us)
    if from_us and from_us >= end_us:
        raise InputError("--from", f"{run.path} ends at {seconds(end_us)}; give a time before that")


def named_folder(text: str) -> Path:
    """Return the path that was given to -o. Raises InputError for an empty one, which is a shell's unset variable."""
    if not text:
        raise InputError("-o", "is empty; give a path")
    return Path(text)


def free_folder(parent: Path, *, name: str, seed: int) -> Path:
    """Return the first of `parent/name-seed`, `parent/name-seed-2`, … that does not exist."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
    number = 1
    while True:
        folder = parent / (f"{stem}-{seed}" if number == 1 else f"{stem}-{seed}-{number}")
        if not folder.exists() and not folder.is_symlink():
            return folder
        number += 1


def command(*words: object) -> str:
    """Return a command line that can be pasted into a shell."""
    return shlex.join(["xtrace", *map(str, words)])


def _why_not(folder: Path) -> str:
    if not folder.exists():
        return "no such folder"
    if not folder.is_dir():
        return "is a file; a run is a folder"
    return f"is no run: it has no {MANIFEST}"


def _nearby(folder: Path) -> str:
    """Return "; did you mean …?" with the runs inside `folder`, or with those beside it that are called alike."""
    inside = _runs_in(folder)
    beside = {each.name: each for each in _runs_in(folder.parent)}
    alike = [beside[name] for name in difflib.get_close_matches(folder.name, list(beside), n=SHOWN_FOLDERS)]
    found = [str(each) for each in (inside or alike)[:SHOWN_FOLDERS]]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _runs_in(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if (each / MANIFEST).is_file())
    except OSError:
        return []
