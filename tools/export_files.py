"""What all formats of an export share: which rows, and a file that is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from xtrace.engine.errors import InputError
from xtrace.tools.show import Wanted, filtered

if TYPE_CHECKING:
    import pyarrow as pa

    from xtrace.capture.blocks import StoredRow
    from xtrace.capture.reader import Run

PARTIAL = ".partial"
HEAD_BYTES = 4_096


class Format(NamedTuple):
    """A way to write a run into a file.

    `place(run, out)` says which file; `write(run, wanted, file)` returns how many rows it wrote; `wrote(path)`
    whether a file looks like one that was written by it.
    """

    place: Callable[[Run, Path], Path]
    write: Callable[[Run, Wanted, BinaryIO], int]
    wrote: Callable[[Path], bool]


def as_named(_run: Run, out: Path) -> Path:
    """Return `out`: formats that have one file per run write just that."""
    return out


def wanted_batches(run: Run, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    """Yield the wanted rows block by block, each verified. Raises CorruptionError."""
    for record in run.blocks:
        if wanted.may_be_in(record):
            yield filtered(run.read_block(record.block), wanted)


def wanted_rows(run: Run, wanted: Wanted) -> Iterator[StoredRow]:
    """Yield the wanted rows, their payloads from `objects/` where they lie there. Raises CorruptionError."""
    from xtrace.capture.blocks import stored_rows

    for batch in wanted_batches(run, wanted):
        for stored in stored_rows(batch):
            if stored.row.object:
                yield stored._replace(row=stored.row._replace(payload=run.payload(stored.row)))
            else:
                yield stored


def head_of(path: Path) -> bytes:
    """Return how a file begins."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


@contextmanager
def replacing(path: Path, format: Format, *, force: bool) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` when the block ends well; when it fails, nothing is left of it.

    Raises InputError if there is something already, unless `force` is given and it is the result of an export.
    """
    _check_free(path, format, force=force)
    partial = path.with_name(path.name + PARTIAL)
    _check_parents(path)
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        for parent in made:
            with suppress(OSError):  # somebody else may have put something there
                parent.rmdir()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def _check_parents(path: Path) -> None:
    there = next(parent for parent in path.parents if os.path.lexists(parent))
    if not there.is_dir():
        raise InputError(str(there), "is there already and no folder; choose another place with -o")


def _check_free(path: Path, format: Format, *, force: bool) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_file() or path.is_symlink():
        raise InputError(str(path), "is there already and no file; choose another place with -o")
    if not force:
        raise InputError(str(path), "is there already; choose another place with -o, or give --force to replace it")
    if not format.wrote(path):
        raise InputError(str(path), "was not written by this export, so it is never replaced; choose another place")
