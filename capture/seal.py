"""`SEAL`, which vouches for the manifest: a line with its hash and, if the run is signed, a line with the signature.

Every byte of it is covered: the seal that is made anew from what was read must be the same. Whether a signature is
right is another question, which `xtrace.capture.signature` answers to whoever has the key.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from xtrace.capture.files import read_limited
from xtrace.engine.errors import CorruptionError

MAX_SEAL_BYTES = 1024
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class Signature(NamedTuple):
    """Who signed, by the raw Ed25519 public key, and the signature over the bytes of `manifest.json`."""

    key: bytes
    value: bytes


class Seal(NamedTuple):
    """The SHA-256 of the manifest in hexadecimal, and the signature if there is one."""

    manifest_digest: str
    signature: Signature | None


def seal_text(seal: Seal) -> str:
    """Return the content of `SEAL`."""
    digest = seal.manifest_digest
    first = f"xtrace seal 1 manifest sha256:{digest} crc32:{zlib.crc32(digest.encode('ascii')):08x}\n"
    return first if seal.signature is None else first + signature_text(seal.signature)


def signature_text(signature: Signature) -> str:
    """Return the second line of a seal."""
    text = f"signature ed25519 key:{signature.key.hex()} value:{signature.value.hex()}"
    return f"{text} crc32:{zlib.crc32(text.encode('ascii')):08x}\n"


def read_seal(path: Path) -> Seal:
    """Return what a seal says. Raises CorruptionError if a single byte of it is not what was written."""
    data = read_limited(path, limit_bytes=MAX_SEAL_BYTES)
    try:
        seal = _parsed(data.decode("ascii").splitlines())
    except (ValueError, IndexError) as error:
        raise CorruptionError(path, "not a seal", length=len(data)) from error
    expected = seal_text(seal).encode("ascii")
    if data != expected:
        first = seal_text(seal._replace(signature=None)).encode("ascii")
        offset = len(first) if data.startswith(first) else 0
        what = "of the signature" if offset else "of the seal"
        raise CorruptionError(path, f"the checksum {what} is wrong", offset=offset, length=len(data) - offset)
    return seal


def check_signer(path: Path, seal: Seal, signed_by: str | None) -> None:
    """Check that a run that its recorder signed still is: the manifest names the key. Raises CorruptionError."""
    if signed_by is None:
        return
    if seal.signature is None:
        raise CorruptionError(path, f"the signature by ed25519:{signed_by} is missing")
    if seal.signature.key.hex() != signed_by:
        reason = f"the signature is by ed25519:{seal.signature.key.hex()} instead of ed25519:{signed_by}"
        raise CorruptionError(path, reason)


def _parsed(lines: list[str]) -> Seal:
    """Return what the lines say, unchecked. Raises ValueError or IndexError."""
    digest = lines[0].split()[4].removeprefix("sha256:")
    if len(bytes.fromhex(digest)) != 32:
        raise ValueError("not a SHA-256")
    if len(lines) == 1:
        return Seal(digest, None)
    _, _, key, value, _ = lines[1].split()
    return Seal(digest, Signature(_hex(key, "key:", PUBLIC_KEY_BYTES), _hex(value, "value:", SIGNATURE_BYTES)))


def _hex(word: str, prefix: str, length: int) -> bytes:
    data = bytes.fromhex(word.removeprefix(prefix))
    if len(data) != length:
        raise ValueError(f"{prefix} must have {length} bytes")
    return data
