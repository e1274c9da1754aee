"""Every single-bit flip and every truncation of each file of a run: an error that names the place, or the same read.

A flip is examined by the part of `verify` that reads the file it is in. That is sound because no other part reads that
file, and because what a part says of an unharmed file does not depend on the others; a sample goes through all of
`verify`, and another through the command, to show it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.capture.runs import NODES, busy_rows, small_blocks, write
from tests.capture.test_signature import write_keys

from xtrace.capture import index, manifest, objects, reader, seal
from xtrace.capture import verify as verify_module
from xtrace.capture.layout import EVENTS, Storage
from xtrace.capture.manifest import read_manifest
from xtrace.capture.reader import Run
from xtrace.capture.verify import Problem, verify
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import CorruptionError
from xtrace.engine.values import encode
from xtrace.tools.cli import main

SHARE = 0.02
"""Of all flips and lengths, in the tests that are not slow."""
GROUPS = ["SEAL", "manifest.json", EVENTS, "events.index", "nodes.index", "objects/", "timing.arrow", "logs/"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed run of at least 30 KB: several blocks, an artefact and a payload among the objects, a log."""
    folder = tmp_path_factory.mktemp("every-bit")
    write_keys(folder, "ci", 1)
    (folder / "model.py").write_text("class Model: ...\n" * 20)
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, 60)
        patch.setattr("xtrace.capture.writer.OBJECT_MIN_BYTES", 400)
        about = {"seed": 1, "scenario": {"scenario": "busy"}, "nodes": {node: {"type": "test"} for node in NODES}}
        storage = Storage(signing_key=folder / "ci.pem")
        writer = RunWriter(folder / "run", node_ids=NODES, about=about, storage=storage)
        writer.keep("a")("model.py", folder / "model.py")
        (writer.logs / "a.log").write_text("a line in the log\n" * 20)
        rows = busy_rows(150)
        rows[5] = rows[5]._replace(row=rows[5].row._replace(payload=encode(random.Random(1).randbytes(500))))
        write(writer, rows)
        writer.close("complete")
    return folder / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "run")


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class Flip(NamedTuple):
    name: str
    offset: int
    bit: int


def flips(folder: Path, group: str, share: float) -> list[Flip]:
    """Return that share of all flips in the files of a group, the same ones every time."""
    chosen = random.Random(f"flips {group}")
    return [
        Flip(name, offset, bit)
        for name in files_of(folder)
        if name.startswith(group)
        for offset in range((folder / name).stat().st_size)
        for bit in range(8)
        if share == 1 or chosen.random() < share
    ]


class Examiner:
    """Flips bits of the run in `folder` in place, and asks the part of `verify` that reads the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened = Run.open(folder)
        self.before = read_manifest(folder)

    def flipped(self, flip: Flip) -> list[Problem] | None:
        """Return the problems with one bit flipped, None if everything is read as before."""
        file = os.open(self.folder / flip.name, os.O_RDWR)
        try:
            byte = os.pread(file, 1, flip.offset)
            os.pwrite(file, bytes([byte[0] ^ 1 << flip.bit]), flip.offset)
            try:
                return self.problems(flip.name, flip.offset)
            finally:
                os.pwrite(file, byte, flip.offset)
        finally:
            os.close(file)

    def problems(self, name: str, offset: int) -> list[Problem] | None:
        try:
            if name in ("SEAL", "manifest.json"):
                return None if read_manifest(self.folder) == self.before else []
            if name in ("events.index", "nodes.index"):
                Run.open(self.folder)
            elif name == EVENTS:
                self._read_piece(offset)
            elif name.startswith("objects/"):
                self.opened.objects.verified_path(name.partition("/")[2])
            else:
                return list(verify_module._other_files(self.opened)) or None
        except CorruptionError as error:
            return [verify_module._problem(error, self.folder)]
        return None

    def _read_piece(self, offset: int) -> None:
        """Read the head, the block or the footer that holds the byte at `offset`."""
        for record in self.opened.blocks:
            if record.offset <= offset < record.offset + record.length:
                return self.opened.verify_block(record)
        if offset >= self.opened.manifest["footer"]["offset"]:
            return self.opened.verify_footer()
        self.opened.__dict__.pop("_head", None)
        return self.opened.verify_head()


def names_the_place(problems: list[Problem] | None, name: str, offset: int) -> bool:
    if not problems or len(problems) != 1:
        return False
    (problem,) = problems
    reaches = problem.length is None or offset < problem.offset + problem.length
    return problem.file == name and problem.offset <= offset and reaches and bool(problem.reason)


def silent_flips(folder: Path, chosen: list[Flip]) -> list[Flip]:
    """Return the flips of which no error names the place. (No file has a bit that changes nothing of what is read.)"""
    examiner = Examiner(folder)
    return [flip for flip in chosen if not names_the_place(examiner.flipped(flip), flip.name, flip.offset)]


def lengths(folder: Path, name: str, share: float) -> list[int]:
    """Return that share of all lengths below that of a file, longest first."""
    chosen = random.Random(f"lengths {name}")
    size = (folder / name).stat().st_size
    return [length for length in range(size - 1, -1, -1) if share == 1 or chosen.random() < share]


def silent_lengths(folder: Path, name: str, chosen: list[int]) -> list[tuple[str, int]]:
    """Cut a file to each of the lengths, longest first; return those that stay unnoticed."""
    missed = []
    data, opened = (folder / name).read_bytes(), Run.open(folder)
    for length in chosen:
        os.truncate(folder / name, length)
        found = list(_problems_of_length(folder, name, opened))
        if [each.file for each in found] != [name] or not 0 <= found[0].offset <= length:
            missed.append((name, length))
    (folder / name).write_bytes(data)
    return missed


def _problems_of_length(folder: Path, name: str, opened: Run) -> Iterator[Problem]:
    """Yield what is found: all files but these are read by `Run.open`."""
    if name.startswith(("logs/", "timing.arrow")):
        yield from verify_module._other_files(opened)
    elif name.startswith("objects/"):
        yield from verify_module._objects(opened)
    else:
        try:
            Run.open(folder)
        except CorruptionError as error:
            yield verify_module._problem(error, folder)


def test_the_run_is_worth_it(original: Path) -> None:
    """At least 30 KB, every kind of file, several blocks, a seal of two lines."""
    names = files_of(original)
    assert sorted(GROUPS) == sorted({next(group for group in GROUPS if name.startswith(group)) for name in names})
    assert sum((original / name).stat().st_size for name in names) >= 30_000
    assert len(Run.open(original).blocks) >= 5
    assert len([name for name in names if name.startswith("objects/")]) == 2
    assert len((original / "SEAL").read_text().splitlines()) == 2
    assert [] == verify(original)


@pytest.mark.parametrize("group", GROUPS)
def test_no_flip_and_no_length_is_silent(run: Path, group: str) -> None:
    """A seeded share of them."""
    assert [] == silent_flips(run, flips(run, group, SHARE))
    for name in [name for name in files_of(run) if name.startswith(group)]:
        assert [] == silent_lengths(run, name, lengths(run, name, SHARE))


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", GROUPS)
def test_none_at_all_is_silent(run: Path, group: str) -> None:
    """Every bit of every byte, and every length."""
    assert [] == silent_flips(run, flips(run, group, 1))
    for name in [name for name in files_of(run) if name.startswith(group)]:
        assert [] == silent_lengths(run, name, lengths(run, name, 1))


def test_a_part_finds_what_all_of_verify_finds(run: Path) -> None:
    """What makes it sound to ask one part: on a sample, all of `verify` says the same and nothing else."""
    examiner = Examiner(run)
    for group in GROUPS:
        every = flips(run, group, 1)
        for flip in random.Random(f"sample {group}").sample(every, 12):
            found = examiner.flipped(flip)
            data = (run / flip.name).read_bytes()
            changed = bytes([data[flip.offset] ^ 1 << flip.bit])
            (run / flip.name).write_bytes(data[: flip.offset] + changed + data[flip.offset + 1 :])
            first = verify(run)[0]
            assert [(first.file, first.offset, first.length)] == [
                (each.file, each.offset, each.length) for each in found
            ]
            (run / flip.name).write_bytes(data)
    assert [] == verify(run)


def test_the_command_finds_a_sample(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and the place in its answer."""
    for group in GROUPS:
        for flip in random.Random(f"command {group}").sample(flips(run, group, 1), 4):
            data = (run / flip.name).read_bytes()
            changed = bytes([data[flip.offset] ^ 1 << flip.bit])
            (run / flip.name).write_bytes(data[: flip.offset] + changed + data[flip.offset + 1 :])
            assert 2 == main(["verify", str(run), "--json"])
            problem = json.loads(capsys.readouterr().out)["problems"][0]
            assert flip.name == problem["file"]
            assert problem["offset"] <= flip.offset < problem["offset"] + problem["length"]
            (run / flip.name).write_bytes(data)


class Anything(bytes):
    """Bytes that are equal to all others."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


class Anytext(str):
    """Text that is equal to all others."""

    __slots__ = ()
    __eq__ = Anything.__eq__  # type: ignore[assignment]
    __ne__ = Anything.__ne__  # type: ignore[assignment]
    __hash__ = str.__hash__

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return Anything()


class Blind:
    """Stands for `hashlib` and its hashes, and for a packed CRC: equal to whatever is expected."""

    size = 4

    @classmethod
    def sha256(cls, data: bytes = b"") -> type[Blind]:
        return cls

    @staticmethod
    def digest() -> bytes:
        return Anything()

    @staticmethod
    def hexdigest() -> str:
        return Anytext()

    @staticmethod
    def pack(*values: int) -> bytes:
        return Anything()


def blind_text(file: object) -> str:
    return Anytext()


PLANTED = {
    "SEAL": [(seal, "seal_text", lambda found: Anytext())],
    "manifest.json": [(manifest, "hashlib", Blind)],
    EVENTS: [(reader, "hashlib", Blind)],
    "events.index": [(reader, "sha256_of", blind_text), (index, "_CRC", Blind)],
    "nodes.index": [(reader, "sha256_of", blind_text), (index, "_CRC", Blind)],
    "objects/": [(objects, "sha256_of", blind_text)],
    "timing.arrow": [(verify_module, "sha256_of", blind_text)],
    "logs/": [(verify_module, "sha256_of", blind_text)],
}


@pytest.mark.parametrize("group", GROUPS)
def test_planted_without_its_checksum_flips_are_silent(run: Path, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison taken away in turn: the campaign then finds changes that nobody noticed."""
    chosen = flips(run, group, 1)
    chosen = random.Random(f"planted {group}").sample(chosen, min(len(chosen), 300))
    assert [] == silent_flips(run, chosen)
    for module, name, blind in PLANTED[group]:
        monkeypatch.setattr(module, name, blind)
    assert [] != silent_flips(run, chosen)


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "manifest.json"])
def test_planted_without_any_size_lengths_are_silent(run: Path, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes and checksums away, a cut file is taken for a whole one. (JSON is not: it lacks a brace.)"""
    name = next(name for name in files_of(run) if name.startswith(group))
    for module, attribute, blind in PLANTED[group]:
        monkeypatch.setattr(module, attribute, blind)
    monkeypatch.setattr(reader, "_check_size", lambda path, facts: None)
    monkeypatch.setattr(verify_module, "size_of", lambda file: Anynumber())
    monkeypatch.setattr(index, "_count", lambda path, size, record: max(size - index.HEADER_BYTES, 0) // record)
    assert [] != silent_lengths(run, name, lengths(run, name, 1)[:150])


class Anynumber(int):
    """A number that is equal to all others."""

    __eq__ = Anything.__eq__  # type: ignore[assignment]
    __ne__ = Anything.__ne__  # type: ignore[assignment]
    __hash__ = int.__hash__
