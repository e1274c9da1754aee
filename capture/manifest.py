"""`manifest.json`, which says what a run is and vouches for its other files, and `SEAL`, which vouches for it."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from xtrace.capture.layout import FORMAT_VERSION, MANIFEST, SEAL
from xtrace.capture.shape import REQUIRED, misfit
from xtrace.engine.errors import CorruptionError, InputError

MAX_MANIFEST_BYTES = 256 * 1024 * 1024
SEAL_TEMPLATE = "xtrace seal 1 manifest sha256:{digest} crc32:{check:08x}\n"


def write_manifest(folder: Path, manifest: dict[str, Any]) -> str:
    """Write `manifest.json` by replacing it whole and return the SHA-256 of its bytes."""
    data = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    partial = folder / f"{MANIFEST}.partial"
    partial.write_bytes(data)
    partial.replace(folder / MANIFEST)
    return hashlib.sha256(data).hexdigest()


def write_seal(folder: Path, manifest_digest: str) -> None:
    """Close the run: written last, over the final manifest."""
    (folder / SEAL).write_text(_seal(manifest_digest), encoding="ascii")


def holds_run(folder: Path) -> bool:
    """Return whether `folder` holds the manifest of a run, closed or not; other programs have a manifest.json too."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
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
        raise InputError(
            str(folder), f"the run is not closed: it has no {SEAL}; its recording is under way or was killed"
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise CorruptionError(path, f"larger than the limit of {MAX_MANIFEST_BYTES} bytes")
    sealed, data = _sealed_digest(seal), path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sealed:
        raise CorruptionError(path, "the content is not what SEAL says", length=len(data))
    return _parsed(path, data), digest


def _seal(digest: str) -> str:
    return SEAL_TEMPLATE.format(digest=digest, check=zlib.crc32(digest.encode("ascii")))


def _sealed_digest(path: Path) -> str:
    data = path.read_bytes()[:1024]
    words = data.decode("latin-1").split()
    digest = words[4].removeprefix("sha256:") if len(words) == 6 else ""
    if not digest.isascii() or data != _seal(digest).encode("ascii"):
        raise CorruptionError(path, "not a seal, or its checksum is wrong", length=path.stat().st_size)
    return digest


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptionError(path, f"not JSON: {error}", length=len(data)) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise CorruptionError(path, "not the manifest of a run", length=len(data))
    if manifest["format"] > FORMAT_VERSION:
        version = manifest["format"]
        raise InputError(str(path), f"format version {version} is newer than {FORMAT_VERSION}: update xtrace-toolkit")
    place = misfit(manifest, REQUIRED)
    if place:
        raise CorruptionError(path, f"a required field is missing or wrong: {place[1:]}", length=len(data))
    return manifest
