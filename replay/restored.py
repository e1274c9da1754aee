"""Puts the files of a node back where it found them when it was recorded, in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from xtrace.capture.reader import Run
from xtrace.engine.errors import InputError


class Restored(NamedTuple):
    """The scenario's folder as far as the node knows it, and where files lie that were named outside of it."""

    folder: Path
    located: Mapping[str, Path]


@contextmanager
def restored(run: Run, node: str) -> Iterator[Restored]:
    """Give the files of `node`, each verified, and remove them in the end. Raises CorruptionError and InputError."""
    with tempfile.TemporaryDirectory(prefix="xtrace-replay-") as name:
        folder, outside = Path(name) / "scenario", Path(name) / "outside"
        folder.mkdir()
        located: dict[str, Path] = {}
        for file, digest in sorted(run.manifest["artefacts"].get(node, {}).items()):
            source = run.objects.verified_path(digest)
            if _is_inside(file):
                target = folder / file
            else:
                located[file] = target = outside / digest / PurePosixPath(file).name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                target.chmod(0o700)  # one of them may be the program of a command
            except (OSError, ValueError) as error:
                raise InputError(
                    str(run.path), f"the file {file!r} of node {node!r} can't be put back: {error}"
                ) from error
        yield Restored(folder, located)


def _is_inside(file: str) -> bool:
    """Return whether a name in a scenario stays within its folder. A manifest is hostile until checked."""
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in file and path.name != ""
