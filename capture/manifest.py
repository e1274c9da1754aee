"""`manifest.json`, which says what a run is and vouches for its other files, and `SEAL`, which vouches for it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xtrace.capture.disk import Disk, RealDisk, is_locked, write_whole
from xtrace.capture.files import read_limited
from xtrace.capture.layout import FORMAT_VERSION, MANIFEST, SEAL, TAIL
from xtrace.capture.seal import Seal, check_signer, read_seal, seal_text
from xtrace.capture.shape import OPEN, REQUIRED, contradiction, misfit, natural
from xtrace.capture.strict_json import MAX_BYTES, parse
from xtrace.engine.errors import CorruptionError, InputError

CHECKSUM = "checksum"
NO_CHECKSUM = "0" * 64
"""What the checksum of an open manifest covers instead of itself."""
_REAL_DISK = RealDisk()


def write_manifest(folder: Path, manifest: Mapping[str, Any], *, disk: Disk = _REAL_DISK, sync: bool = False) -> bytes:
    """Write `manifest.json`, with its checksum, by replacing it whole; return its bytes. Raises OSError."""
    blank = json.dumps({**manifest, CHECKSUM: NO_CHECKSUM}, indent=1, sort_keys=True, ensure_ascii=False).encode()
    checksum = hashlib.sha256(blank).hexdigest()
    data = blank.replace(_entry(NO_CHECKSUM), _entry(checksum))
    write_whole(disk, folder / MANIFEST, data, sync=sync)
    return data


def read_open_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run that has no valid seal, after its own checksum was verified.

    Raises InputError if there is none, CorruptionError if it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(str(folder), f"not a run: it has no {MANIFEST}")
    data = read_limited(path, limit_bytes=MAX_BYTES)
    manifest = _parsed(path, data, OPEN)
    blank = data.replace(_entry(manifest[CHECKSUM]), _entry(NO_CHECKSUM))
    if hashlib.sha256(blank).hexdigest() != manifest[CHECKSUM]:
        raise CorruptionError(path, "the content is not what its checksum says", length=len(data))
    return manifest


def write_seal(
    folder: Path, manifest: bytes, *, signature: str = "", disk: Disk = _REAL_DISK, sync: bool = False
) -> str:
    """Close the run over the bytes of its final manifest, and return their SHA-256. Written last. Raises OSError.

    `signature` is the second line of the seal, if there is one.
    """
    digest = hashlib.sha256(manifest).hexdigest()
    write_whole(disk, folder / SEAL, (seal_text(Seal(digest, None)) + signature).encode("ascii"), sync=sync)
    return digest


def holds_run(folder: Path) -> bool:
    """Return whether `folder` holds the manifest of a run, closed or not; other programs have a manifest.json too."""
    try:
        manifest = parse(read_limited(folder / MANIFEST, limit_bytes=MAX_BYTES))
    except (CorruptionError, ValueError):
        return False
    return isinstance(manifest, dict) and isinstance(manifest.get("format"), int) and "vocabulary" in manifest


def read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the manifest of a closed run, verified against its seal, and its SHA-256.

    Raises InputError if `folder` is no closed run, CorruptionError if seal or manifest were changed.
    """
    path, seal = folder / MANIFEST, folder / SEAL
    if not path.is_file():
        raise InputError(str(folder), f"not a run: it has no {MANIFEST}")
    if not seal.is_file():
        raise InputError(str(folder), f"the run is not closed: it has no {SEAL}; {_why_open(folder)}")
    sealed, data = read_seal(seal), read_limited(path, limit_bytes=MAX_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sealed.manifest_digest:
        raise CorruptionError(path, "the content is not what SEAL says", length=len(data))
    manifest = _parsed(path, data, REQUIRED)
    check_signer(seal, sealed, manifest.get("signed_by"))
    return manifest, digest


def _why_open(folder: Path) -> str:
    if is_locked(folder / TAIL):
        return f"it is being recorded; see it with: {shlex.join(['xtrace', 'show', str(folder), '--follow'])}"
    recover = shlex.join(["xtrace", "recover", str(folder), "-o", f"{folder}-recovered"])
    return f"its recording was killed, or could not be finished; make a run of what is there with: {recover}"


def _entry(checksum: str) -> bytes:
    """Return the line of the manifest that holds its checksum; a text in it that looks the same changes with it."""
    return f'"{CHECKSUM}": {json.dumps(checksum, ensure_ascii=False)}'.encode(errors="replace")


def _parsed(path: Path, data: bytes, shape: Mapping[str, Any]) -> dict[str, Any]:
    try:
        manifest = parse(data)
    except ValueError as error:
        raise CorruptionError(path, f"not JSON that can be read: {error}", length=len(data)) from error
    if not isinstance(manifest, dict) or not natural(manifest.get("format")):
        raise CorruptionError(path, "not the manifest of a run", length=len(data))
    if manifest["format"] > FORMAT_VERSION:
        version = manifest["format"]
        raise InputError(str(path), f"format version {version} is newer than {FORMAT_VERSION}: update xtrace-toolkit")
    place = misfit(manifest, shape)
    if place:
        raise CorruptionError(path, f"a required field is missing or wrong: {place[1:]}", length=len(data))
    fault = contradiction(manifest) if shape is REQUIRED else ""
    if fault:
        raise CorruptionError(path, fault, length=len(data))
    return manifest
