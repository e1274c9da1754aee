"""`xtrace verify`."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.capture.test_signature import sign, write_keys

from xtrace.capture.seal import Signature, read_seal, seal_text
from xtrace.capture.signature import load_public_key


@pytest.fixture
def copy(recorded, tmp_path):
    target = tmp_path / "copy"
    shutil.copytree(recorded, target)
    return target


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_an_intact_run(xtrace, recorded):
    answer = xtrace("verify", recorded)
    assert answer.status == 0
    assert answer.out == f"{recorded}: intact, every byte is what was written\n"
    assert json.loads(xtrace("verify", recorded, "--json").out) == {
        "run": str(recorded),
        "intact": True,
        "problems": [],
        "signature": "none",
        "signed_by": None,
    }


@pytest.mark.parametrize(
    "name", ["events.arrow", "events.index", "nodes.index", "manifest.json", "SEAL", "timing.arrow"]
)
def test_a_flipped_bit_is_reported_with_file_offset_and_length(name, xtrace, copy):
    path = copy / name
    flip(path, path.stat().st_size // 2)
    answer = xtrace("verify", copy)
    assert answer.status == 2
    assert answer.out.splitlines()[0].startswith(f"{name}: ")
    assert "offset" in answer.out
    problem = json.loads(xtrace("verify", copy, "--json").out)["problems"][0]
    assert problem["file"] == name
    assert problem["offset"] <= path.stat().st_size // 2 < problem["offset"] + problem["length"]
    assert problem["reason"]


def test_every_problem_is_listed(xtrace, copy):
    flip(copy / "events.arrow", (copy / "events.arrow").stat().st_size // 2)
    flip(copy / "timing.arrow", 0)
    (copy / "objects" / next(iter(json.loads((copy / "manifest.json").read_text())["objects"]))).unlink()
    answer = xtrace("verify", copy)
    assert answer.status == 2
    assert [line.partition(":")[0].partition("/")[0] for line in answer.out.splitlines()[:3]] == [
        *("events.arrow", "objects", "timing.arrow")
    ]
    assert "block 0, offset" in answer.out
    assert answer.out.splitlines()[-1] == f"{copy}: 3 problems"


def test_files_of_others_leave_a_run_intact(xtrace, copy):
    (copy / "notes.txt").write_text("mine")
    answer = xtrace("verify", copy)
    assert answer.status == 0
    assert answer.out.splitlines()[-1] == f"{copy}: intact; 1 file is not part of the run"
    (copy / "more.txt").write_text("mine")
    assert xtrace("verify", copy).out.endswith(": intact; 2 files are not part of the run\n")


def test_a_missing_manifest_beside_a_seal_is_damage(xtrace, copy):
    (copy / "manifest.json").unlink()
    assert xtrace("verify", copy).status == 2


def test_a_folder_that_is_no_run(xtrace, tmp_path):
    answer = xtrace("verify", tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert "is no run: it has no manifest.json" in answer.err


@pytest.fixture
def keys(tmp_path):
    write_keys(tmp_path, "ci", 1)
    write_keys(tmp_path, "other", 2)
    return tmp_path


def test_a_signed_run_says_who_signed_it(xtrace, copy, keys):
    sign(copy, keys / "ci.pem")
    name = f"ed25519:{load_public_key(keys / 'ci.pub').raw.hex()}"
    answer = xtrace("verify", copy, "--key", keys / "ci.pub")
    assert (answer.status, answer.out.splitlines()[-1]) == (0, f"{copy}: signed by {name}")
    unchecked = xtrace("verify", copy)
    assert unchecked.status == 0
    assert unchecked.out.splitlines()[-1] == f"{copy}: says to be signed by {name}; --key PUB checks that"
    told = json.loads(xtrace("verify", copy, "--key", keys / "ci.pub", "--json").out)
    assert (told["intact"], told["signature"], told["signed_by"]) == (True, "valid", name)


@pytest.mark.parametrize("how", ["none", "wrong_key", "invalid", "unreadable"])
def test_a_run_that_the_key_did_not_sign_is_refused(how, xtrace, copy, keys):
    if how == "wrong_key":
        sign(copy, keys / "other.pem")
    elif how == "invalid":
        signature = Signature(load_public_key(keys / "ci.pub").raw, bytes(64))
        seal = read_seal(copy / "SEAL")
        (copy / "SEAL").write_text(seal_text(seal._replace(signature=signature)))
    elif how == "unreadable":
        flip(copy / "SEAL", 30)
    answer = xtrace("verify", copy, "--key", keys / "ci.pub")
    assert answer.status == 2
    reasons = {"none": "not signed", "wrong_key": ", not by ed25519:", "invalid": "is not one of ed25519:"}
    assert reasons.get(how, "can't be read") in answer.out.splitlines()[-1]
    told = json.loads(xtrace("verify", copy, "--key", keys / "ci.pub", "--json").out)
    assert (told["signature"], told["intact"]) == (how, how != "unreadable")
    if how != "unreadable":
        assert xtrace("verify", copy).status == 0


def test_a_key_that_is_none_is_a_mistake(xtrace, copy, keys):
    answer = xtrace("verify", copy, "--key", keys / "ci.pem")
    assert (answer.status, answer.out) == (2, "")
    assert "is a private key" in answer.err
