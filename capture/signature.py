"""Ed25519 signatures over the manifest of a run: they say who vouches for it; a checksum, only that nothing is damaged.

The signature is over the bytes of `manifest.json`, so that other programs can make and check it too
(`openssl pkeyutl -verify -rawin`). A key is a file as `openssl genpkey -algorithm ed25519` or `ssh-keygen -t ed25519`
writes it. The package `cryptography` is needed only here: a seal is read, and its checksums verified, without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.capture.files import read_limited
from xtrace.capture.layout import MANIFEST, SEAL
from xtrace.capture.seal import Signature, read_seal, signature_text
from xtrace.capture.strict_json import MAX_BYTES
from xtrace.engine.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_KEY_BYTES = 64 * 1024
OPENSSH_PRIVATE = b"-----BEGIN OPENSSH PRIVATE KEY-----"
OPENSSH_PUBLIC = b"ssh-"
MAKE_ONE = "make one with: openssl genpkey -algorithm ed25519 -out key.pem"
SIGNED_BY = "signed_by"
"""The manifest of a run that its recorder signed names the public key here: a signature can't be cut off unnoticed."""


@dataclass(frozen=True)
class SigningKey:
    """A private key; `public` is the raw public key that belongs to it, 32 bytes."""

    private: Ed25519PrivateKey
    public: bytes

    def sign(self, data: bytes) -> Signature:
        """Return the signature over `data`."""
        return Signature(self.public, self.private.sign(data))


@dataclass(frozen=True)
class PublicKey:
    """A public key; `raw` is its 32 bytes."""

    key: Ed25519PublicKey
    raw: bytes

    def verifies(self, data: bytes, signature: Signature) -> bool:
        """Return whether this key made `signature` over `data`."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature.value, data)
        except InvalidSignature:
            return False
        return True


def signature_line(manifest: bytes, key: SigningKey) -> str:
    """Return the second line of the seal of a run whose `manifest.json` has these bytes."""
    return signature_text(key.sign(manifest))


def load_private_key(path: Path) -> SigningKey:
    """Return the private key in the file `path`. Raises InputError, and MissingDependency without `cryptography`."""
    serialization, ed25519 = _cryptography()
    data = _key_file(path)
    if data.startswith(OPENSSH_PUBLIC) or b"PUBLIC KEY" in data:
        raise InputError(str(path), "is a public key; to sign takes the private one")
    load = serialization.load_ssh_private_key
    if not data.lstrip().startswith(OPENSSH_PRIVATE):
        load = serialization.load_pem_private_key
    key = _loaded(path, load, data, None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(str(path), f"is {_kind(key)}; signing takes an Ed25519 key: {MAKE_ONE}")
    return SigningKey(key, key.public_key().public_bytes_raw())


def load_public_key(path: Path) -> PublicKey:
    """Return the public key in the file `path`. Raises InputError, and MissingDependency without `cryptography`."""
    serialization, ed25519 = _cryptography()
    data = _key_file(path)
    if b"PRIVATE KEY" in data:
        how = f"get the public one with: openssl pkey -in {path} -pubout"
        raise InputError(str(path), f"is a private key, which nobody needs in order to verify; {how}")
    is_openssh = data.startswith(OPENSSH_PUBLIC)
    load = serialization.load_ssh_public_key if is_openssh else serialization.load_pem_public_key
    key = _loaded(path, load, data.strip() if is_openssh else data)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InputError(str(path), f"is {_kind(key)}; runs are signed with Ed25519 keys")
    return PublicKey(key, key.public_bytes_raw())


def signer(folder: Path) -> str | None:
    """Return `ed25519:` and the public key that the run in `folder` says to be signed with, None if it is not signed.

    Raises CorruptionError if the seal is damaged.
    """
    signature = read_seal(folder / SEAL).signature
    return None if signature is None else f"ed25519:{signature.key.hex()}"


def check_signature(folder: Path, key: PublicKey) -> str:
    """Return whether `key` signed the run in `folder`: `valid`, `none`, `wrong_key` or `invalid`.

    Raises CorruptionError if the seal is damaged or the manifest is missing.
    """
    signature = read_seal(folder / SEAL).signature
    if signature is None:
        return "none"
    if signature.key != key.raw:
        return "wrong_key"
    manifest = read_limited(folder / MANIFEST, limit_bytes=MAX_BYTES)
    return "valid" if key.verifies(manifest, signature) else "invalid"


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        install = "pip install 'xtrace-toolkit[sign]'"
        raise MissingDependency("cryptography", needed_by="a signature", install=install) from error
    return serialization, ed25519


def _key_file(path: Path) -> bytes:
    """Return the content of a key file, which may be a pipe of the shell: `--key <(…)`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise InputError(str(path), f"the key can't be read: {error.strerror}") from error
    if len(data) > MAX_KEY_BYTES:
        raise InputError(str(path), f"is no key: it has more than {MAX_KEY_BYTES} bytes")
    return data


def _loaded(path: Path, load: Any, *arguments: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load(*arguments)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if "ENCRYPTED" in arguments[0].decode("latin-1") or "password" in str(error).lower():
            how = f"decrypt it with: openssl pkey -in {path}, or ssh-keygen -p -f {path}"
            raise InputError(str(path), f"the key is encrypted, and there is nobody to ask; {how}") from error
        raise InputError(str(path), f"is no key in PEM or OpenSSH form; {MAKE_ONE}") from error


def _kind(key: Any) -> str:
    """Return `an RSA key` and the like."""
    name = type(key).__name__.lstrip("_").removesuffix("PrivateKey").removesuffix("PublicKey")
    return f"a key of another kind ({name})"
