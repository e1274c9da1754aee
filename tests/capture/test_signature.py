"""A signed run says who vouches for it; nobody can cut the signature off, or put their own in its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.capture.runs import busy_rows, make_run
from tests.capture.test_integrity import reseal

from xtrace.capture.reader import Run
from xtrace.capture.seal import Seal, Signature, read_seal, seal_text
from xtrace.capture.signature import (
    check_signature,
    load_private_key,
    load_public_key,
    signature_line,
    signer,
)
from xtrace.capture.verify import verify
from xtrace.engine.errors import CorruptionError, InputError, MissingDependency

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
OPENSSH = serialization.PrivateFormat.OpenSSH
PLAIN = serialization.NoEncryption()
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def write_keys(folder: Path, name: str, seed: int) -> None:
    """Write a key pair as openssl writes it (`name.pem`, `name.pub`) and as ssh-keygen does."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
    public = key.public_key()
    (folder / f"{name}.pem").write_bytes(key.private_bytes(PEM, PKCS8, PLAIN))
    (folder / f"{name}.pub").write_bytes(public.public_bytes(PEM, SPKI))
    (folder / f"{name}.openssh").write_bytes(key.private_bytes(PEM, OPENSSH, PLAIN))
    ssh = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (folder / f"{name}.openssh.pub").write_bytes(ssh + b" someone@example\n")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder, "ci", 1)
    write_keys(folder, "other", 2)
    return folder


def sign(folder: Path, key: Path) -> None:
    """Put a signature under a run that is closed."""
    line = signature_line((folder / "manifest.json").read_bytes(), load_private_key(key))
    first = (folder / "SEAL").read_text().splitlines(keepends=True)[0]
    (folder / "SEAL").write_text(first + line)


@pytest.fixture
def run(tmp_path: Path, keys: Path) -> Path:
    make_run(tmp_path / "run", busy_rows(4))
    reseal(tmp_path / "run", lambda data: data.update(signed_by=load_private_key(keys / "ci.pem").public.hex()))
    sign(tmp_path / "run", keys / "ci.pem")
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["ci.pub", "ci.openssh.pub"])
def test_a_signed_run_is_verified_with_the_public_key(run, keys, name):
    """In the form of openssl and in that of ssh-keygen."""
    key = load_public_key(keys / name)
    assert [] == verify(run)
    assert "valid" == check_signature(run, key)
    assert f"ed25519:{key.raw.hex()}" == signer(run)


def test_both_forms_of_a_private_key_make_the_same_signature(keys):
    """An Ed25519 signature depends on key and data alone."""
    lines = [signature_line(b"data", load_private_key(keys / name)) for name in ("ci.pem", "ci.openssh")]
    assert lines[0] == lines[1]
    assert lines[0] != signature_line(b"data", load_private_key(keys / "other.pem"))


def test_the_signature_is_over_the_bytes_of_the_manifest(run, keys):
    """Any program that knows Ed25519 can check it; here without a line of xtrace."""
    line = (run / "SEAL").read_text().splitlines()[1]
    words = dict(word.split(":") for word in line.split()[2:])
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(words["key"]))
    key.verify(bytes.fromhex(words["value"]), (run / "manifest.json").read_bytes())


def test_another_key_is_told_from_a_wrong_signature(run, keys):
    """And from none."""
    assert "wrong_key" == check_signature(run, load_public_key(keys / "other.pub"))
    seal = read_seal(run / "SEAL")
    forged = Signature(seal.signature.key, bytes(64))
    (run / "SEAL").write_text(seal_text(seal._replace(signature=forged)))
    assert "invalid" == check_signature(run, load_public_key(keys / "ci.pub"))
    (run / "SEAL").write_text(seal_text(seal._replace(signature=None)))
    assert "none" == check_signature(run, load_public_key(keys / "ci.pub"))


def test_a_changed_manifest_that_is_sealed_again_is_not_signed(run, keys):
    """Whoever has no private key can make every checksum right, but no signature."""
    line = (run / "SEAL").read_text().splitlines(keepends=True)[1]
    reseal(run, lambda data: data.update(seed=2))
    (run / "SEAL").write_text((run / "SEAL").read_text() + line)
    assert [] == verify(run)
    assert "invalid" == check_signature(run, load_public_key(keys / "ci.pub"))


def test_a_signature_can_not_be_cut_off_or_replaced(run, keys):
    """The manifest names the key; without it a seal of one line would be as good as one of two."""
    whole = (run / "SEAL").read_text()
    (run / "SEAL").write_text(whole.splitlines(keepends=True)[0])
    with pytest.raises(CorruptionError, match=r"the signature by ed25519:[0-9a-f]{64} is missing"):
        Run.open(run)
    sign(run, keys / "other.pem")
    with pytest.raises(CorruptionError, match=r"the signature is by ed25519:.* instead of ed25519:"):
        Run.open(run)


def test_a_run_can_be_signed_later_by_somebody_else(tmp_path, keys):
    """The manifest stays as it is."""
    make_run(tmp_path / "run", busy_rows(4))
    assert (None, "none") == (
        signer(tmp_path / "run"),
        check_signature(tmp_path / "run", load_public_key(keys / "ci.pub")),
    )
    sign(tmp_path / "run", keys / "other.openssh")
    assert [] == verify(tmp_path / "run")
    assert "valid" == check_signature(tmp_path / "run", load_public_key(keys / "other.pub"))


def test_every_byte_of_both_lines_is_covered(run):
    """Every single-bit flip and every length of a seal of two lines, without `cryptography`."""
    data = (run / "SEAL").read_bytes()
    changed = [data[:length] for length in range(len(data))] + [data + b"\n"]
    for place in range(len(data)):
        flipped = [bytes([data[place] ^ 1 << bit]) for bit in range(8)]
        changed += [data[:place] + byte + data[place + 1 :] for byte in flipped]
    for each in changed:
        (run / "SEAL").write_bytes(each)
        with pytest.raises(CorruptionError, match="SEAL"):
            Run.open(run)


def test_planted_without_the_checksum_of_the_second_line_flips_are_missed(run, monkeypatch):
    """The test above fails if the second line is believed as it stands."""
    real = seal_text

    def blind(seal: Seal) -> str:
        return (run / "SEAL").read_text() if seal.signature else real(seal)

    monkeypatch.setattr("xtrace.capture.seal.seal_text", blind)
    text = (run / "SEAL").read_text()
    place = text.index("value:") + 6
    (run / "SEAL").write_text(text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :])
    Run.open(run)


@pytest.mark.parametrize(
    ("name", "load", "reason"),
    [
        ("ci.pub", load_private_key, "is a public key"),
        ("ci.openssh.pub", load_private_key, "is a public key"),
        ("ci.pem", load_public_key, "is a private key"),
        ("ci.openssh", load_public_key, "is a private key"),
        ("encrypted.pem", load_private_key, "the key is encrypted"),
        ("ec.pem", load_private_key, r"of another kind"),
        ("ec.pub", load_public_key, r"of another kind"),
        ("junk", load_private_key, "is no key in PEM or OpenSSH form"),
        ("junk", load_public_key, "is no key in PEM or OpenSSH form"),
        ("large", load_public_key, "is no key: it has more than 65536 bytes"),
        ("absent", load_private_key, "can't be read: No such file"),
        (".", load_public_key, "can't be read: Is a directory"),
    ],
)
def test_what_is_no_key_is_said_to_be_none(keys, name, load, reason):
    """Wrong kinds, encrypted, missing, unreadable: what it is, and how to get the right one."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    secret = serialization.BestAvailableEncryption(b"password")
    (keys / "encrypted.pem").write_bytes(key.private_bytes(PEM, PKCS8, secret))
    other = ec.derive_private_key(7, ec.SECP256R1())
    (keys / "ec.pem").write_bytes(other.private_bytes(PEM, PKCS8, PLAIN))
    (keys / "ec.pub").write_bytes(other.public_key().public_bytes(PEM, SPKI))
    (keys / "junk").write_text("nonsense\n")
    (keys / "large").write_bytes(bytes(65_537))
    with pytest.raises(InputError, match=reason):
        load(keys / name)


def test_without_the_package_only_signing_asks_for_it(run, keys, monkeypatch):
    """A run is read, and its seal verified, without `cryptography`."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert [] == verify(run)
    assert signer(run) is not None
    for load, name in ((load_private_key, "ci.pem"), (load_public_key, "ci.pub")):
        with pytest.raises(MissingDependency, match=r"xtrace-toolkit\[sign\]"):
            load(keys / name)


def test_the_manifest_tells_the_truth_about_its_signer(run):
    """`signed_by` is a key, or it is not there."""
    reseal(run, lambda data: data.update(signed_by="me"))
    with pytest.raises(CorruptionError, match="signed_by is wrong"):
        Run.open(run)
