"""Where an import writes: beside its destination, which is replaced when the run is whole, and not before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xtrace.engine.errors import InputError, StorageError

PARTIAL = ".importing"


@contextmanager
def arriving(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield a folder for a run that becomes `out` when the block ends well; when it fails, nothing is left of it.

    Raises InputError if there is something at `out`, unless it is a run and `force` is given.
    """
    check_free(out, force=force)
    arriving_at = out.with_name(f"{out.name}{PARTIAL}")
    if arriving_at.exists():
        raise InputError(str(arriving_at), "is the rest of an import that was killed, or of one under way; remove it")
    try:
        yield arriving_at
        if out.is_dir():
            shutil.rmtree(out)
        arriving_at.rename(out)
    except StorageError as error:
        shutil.rmtree(arriving_at, ignore_errors=True)
        raise StorageError(out, error.reason) from error
    except BaseException as error:
        shutil.rmtree(arriving_at, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(out)
        raise


def check_free(out: Path, *, force: bool) -> None:
    """Raise InputError unless a run may be written to `out`."""
    from xtrace.capture.manifest import holds_run

    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(str(out), "is there already and no folder; choose another folder with -o")
    if not out.name:
        raise InputError(str(out), "can't become a run; choose another folder with -o")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not holds_run(out):
        raise InputError(str(out), "is not empty and holds no run, so it is never removed; choose another folder")
    if not force:
        raise InputError(str(out), "holds a run already; choose another folder or give --force to replace it")
