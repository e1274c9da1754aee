"""The folder of a run: how room is made for it, and how it is closed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xtrace.capture.disk import Disk, is_locked
from xtrace.capture.files import open_regular, sha256_of, size_of
from xtrace.capture.layout import EVENTS, LOGS, MANIFEST, TAIL
from xtrace.capture.manifest import holds_run, write_manifest, write_seal
from xtrace.capture.signature import SIGNED_BY, SigningKey, signature_line
from xtrace.engine.errors import InputError


def make_room(folder: Path, *, force: bool) -> None:
    """Create `folder`; what is in the way is removed only if it is a run and `force` is given."""
    for parent in folder.absolute().parents:
        if (parent / MANIFEST).is_file() and (parent / EVENTS).is_file():
            raise InputError(str(folder), f"lies inside of the run {parent}; choose another folder with -o")
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is a file; choose another folder with -o")
    if folder.is_dir() and any(folder.iterdir()):
        if not holds_run(folder):
            raise InputError(
                str(folder), "is not empty and holds no run, so it is never removed; choose another folder"
            )
        if not force:
            raise InputError(str(folder), "holds a run already; choose another folder or give --force to replace it")
        if is_locked(folder / TAIL):
            raise InputError(str(folder), "is being recorded right now; choose another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def seal(folder: Path, manifest: Mapping[str, Any], *, disk: Disk, key: SigningKey | None = None) -> str:
    """Close the run in `folder`: write its manifest, with the logs among its files, and the seal, all for good.

    Return the SHA-256 of the manifest. Raises OSError.
    """
    logs = _logs(folder)
    for name in logs:
        disk.sync_file(folder / name)
    if logs:
        disk.sync_folder(folder / LOGS)
    manifest = {**manifest, "files": {**manifest["files"], **logs}}
    if key is not None:
        manifest[SIGNED_BY] = key.public.hex()
    data = write_manifest(folder, manifest, disk=disk, sync=True)
    signature = "" if key is None else signature_line(data, key)
    return write_seal(folder, data, signature=signature, disk=disk, sync=True)


def file_facts(path: Path) -> dict[str, Any]:
    """Return what the manifest says of the file `path`."""
    with open_regular(path) as file:
        return {"bytes": size_of(file), "sha256": sha256_of(file)}


def _logs(folder: Path) -> dict[str, Any]:
    paths = sorted(path for path in (folder / LOGS).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_facts(path) for path in paths}
