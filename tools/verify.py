"""`xtrace verify`: is every byte of a run what was written, and who vouches for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.engine.errors import CorruptionError
from xtrace.tools.output import Console, escape, plural
from xtrace.tools.runs import MANIFEST, open_run
from xtrace.tools.settings import Settings

if TYPE_CHECKING:
    from xtrace.capture.signature import PublicKey
    from xtrace.capture.verify import Problem

SUMMARY = "check that every byte of a run is what was written, and who signed it"
EXAMPLE = "xtrace verify runs/first --key ci.pub"

ACCEPTED = ("none", "unchecked", "valid")
"""What a signature may be found to be without a problem; `none` only where no key is given."""


class Signature(NamedTuple):
    """What was found of the signature, and the key that it names."""

    state: str
    key: str | None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--key", metavar="PUB", help="the run must be signed with the private key of this public one (Ed25519)"
    )
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Print every problem; return 0 if there is none in the files of the run and in its signature, else 2."""
    from xtrace.capture.signature import load_public_key
    from xtrace.capture.verify import verify

    folder = Path(arguments.run_folder)
    if not (folder / MANIFEST).is_file() and not (folder / "SEAL").is_file():
        open_run(arguments.run_folder)
    key = None if arguments.key is None else load_public_key(Path(arguments.key))
    found = verify(folder)
    signature = _signature(folder, key)
    problems = [each for each in found if not each.foreign]
    wrong = "" if signature.state in ACCEPTED and not (key and signature.state == "none") else signature.state
    if arguments.json:
        answer = {"run": str(folder), "intact": not problems, "problems": [_as_json(each) for each in found]}
        console.json({**answer, "signature": signature.state, "signed_by": signature.key})
        return 2 if problems or wrong else 0
    for each in found:
        console.data(_line(each), style="red" if each.fatal else "yellow")
    if problems:
        console.data(f"{folder}: {plural(len(problems), 'problem')}")
    else:
        console.data(f"{folder}: {_intact(strangers=len(found))}", style="green" if not wrong else "")
    for line in _signature_lines(signature, key):
        console.data(f"{folder}: {line}", style="red" if wrong else "green" if signature.state == "valid" else "")
    return 2 if problems or wrong else 0


def _signature(folder: Path, key: PublicKey | None) -> Signature:
    from xtrace.capture.signature import check_signature, signer

    try:
        named = signer(folder)
        if key is not None:
            return Signature(check_signature(folder, key), named)
        return Signature("none" if named is None else "unchecked", named)
    except CorruptionError:
        return Signature("unreadable", None)


def _signature_lines(signature: Signature, key: PublicKey | None) -> list[str]:
    """Return what is to be said of a signature: nothing if there is none and nobody asked."""
    if signature.state == "valid":
        return [f"signed by {signature.key}"]
    if signature.state == "unchecked":
        return [f"says to be signed by {signature.key}; --key PUB checks that"]
    if key is None:
        return []
    wanted = f"ed25519:{key.raw.hex()}"
    reasons = {
        "none": "not signed",
        "wrong_key": f"signed by {signature.key}, not by {wanted}",
        "invalid": f"the signature is not one of {wanted} over this manifest",
        "unreadable": "its signature can't be read",
    }
    return [reasons[signature.state]]


def _intact(*, strangers: int) -> str:
    if not strangers:
        return "intact, every byte is what was written"
    return f"intact; {plural(strangers, 'file')} {'is' if strangers == 1 else 'are'} not part of the run"


def _as_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": str(problem.file),
        "block": problem.block,
        "offset": problem.offset,
        "length": problem.length,
        "reason": problem.reason,
        "fatal": problem.fatal,
        "foreign": problem.foreign,
    }


def _line(problem: Problem) -> str:
    block = "" if problem.block is None else f" block {problem.block},"
    length = "" if problem.length is None else f" (+{problem.length} bytes)"
    kind = "" if problem.fatal else " (no result depends on it)"
    return f"{escape(problem.file)}:{block} offset {problem.offset}{length}: {escape(problem.reason)}{kind}"
