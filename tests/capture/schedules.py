"""Runs written on a simulated disk until something goes wrong, and what must be true of what is left then."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from random import Random
from shutil import rmtree

import pytest
from tests.capture.runs import ABOUT, NODES, write
from tests.capture.simulated_disk import Crash, SimulatedDisk, Trouble

from xtrace.capture.blocks import StoredRow
from xtrace.capture.layout import EVENTS, OBJECTS, TAIL, Storage
from xtrace.capture.reader import Run
from xtrace.capture.recover import recover
from xtrace.capture.verify import verify
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import InputError, StorageError
from xtrace.engine.recorder import NETWORK, Row
from xtrace.engine.values import encode

PROGRAMS = 24
BLOCK_ROWS = 9
OBJECT_BYTES = 500
RESERVE_BYTES = 6_000
CALLS_PER_ROW = 3
"""About how many calls of the disk a row costs; only how the crashes are spread depends on it."""
SEEN: set[tuple[int, tuple[tuple[str, str], ...]]] = set()
"""The logs, by program and content, that were compared row by row."""
SURPRISES = (AssertionError, OSError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


class Broken(AssertionError):
    """A promise was not kept."""


def small_files(patch: pytest.MonkeyPatch) -> None:
    """Let a run of forty rows have what otherwise takes a hundred thousand: blocks, objects, a reserve that matters."""
    patch.setattr("xtrace.capture.writer.BLOCK_MIN_ROWS", BLOCK_ROWS)
    patch.setattr("xtrace.capture.writer.BLOCK_MAX_ROWS", BLOCK_ROWS)
    patch.setattr("xtrace.capture.writer.BLOCK_MAX_PAYLOAD_BYTES", 1_500)
    patch.setattr("xtrace.capture.writer.OBJECT_MIN_BYTES", OBJECT_BYTES)
    patch.setattr("xtrace.capture.writer.RESERVE_BYTES", RESERVE_BYTES)


@cache
def program(number: int) -> tuple[StoredRow, ...]:
    """Return the rows of a run, which depend on `number` alone; large payloads come again."""
    random = Random(number)
    rows: list[StoredRow] = []
    large = [encode({"n": random.getrandbits(32), "data": random.randbytes(OBJECT_BYTES)}) for _ in range(3)]
    step = 0
    for _ in range(random.randint(1, 8)):
        step += random.choice((1, 1, 1, 5))
        for kind in ("input", "output", "drop"):
            for _ in range(random.choice((0, 0, 1, 1, 3))):
                small = encode([random.randbytes(random.choice((0, 3, 30, 300)))])
                payload = random.choice(large) if random.random() < 0.1 else small
                node = NETWORK if kind == "drop" else random.choice(NODES)
                row = Row(step, step * 10, kind, node, random.choice(NODES), "a", "tü", step % 2, payload, "")
                rows.append(StoredRow(len(rows), row, _cause(random, len(rows))))
        rows.append(StoredRow(len(rows), Row(step, step * 10, "step", "", "", "", "", 0, b"", ""), ()))
    return tuple(rows)


def _cause(random: Random, seq: int) -> tuple[int, ...]:
    return tuple(random.randrange(seq) for _ in range(random.choice((0, 1, 1, 2)))) if seq else ()


@cache
def expected(number: int, rows: int, folder: Path) -> tuple[list[StoredRow], str]:
    """Return what a run of the first `rows` of a program holds that nothing befell, and its fingerprint."""
    rmtree(folder, ignore_errors=True)
    writer = RunWriter(folder, node_ids=NODES, about=ABOUT)
    write(writer, program(number)[:rows])
    fingerprint = writer.close("complete")
    return list(Run.open(folder).rows()), fingerprint


@dataclass
class Schedule:
    """A run of a program below `folder` that is decided by `seed`, and what became of it.

    `acknowledged` is how many rows were promised to survive, and `end` how the writing ended: `closed`, `refused`,
    `salvaged`, `discarded`, `killed` or `power lost`.
    """

    seed: int
    folder: Path
    rows: Sequence[StoredRow] = ()
    end: str = ""
    acknowledged: int = 0
    fingerprint: str = ""
    kept_step: int | None = None
    keeps: bool = False
    holes: int = 0
    waited: int = 0
    written: int = 0
    """How many rows the writer has been given, and had been given when it last was asked to flush (`waited`)."""
    artefact: Path = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.number = self.random.randrange(PROGRAMS)
        self.rows = program(self.number)
        self.every_step = self.random.random() < 0.6
        self.loses_power = self.random.random() < 0.6
        self.root = self.folder / "disk"
        self.run = self.root / "run"
        self.artefact = self.folder / "artefact"
        self.disk = SimulatedDisk(self.root, random=self.random, trouble=self._trouble())

    def _trouble(self) -> Trouble:
        random, calls = self.random, 60 + CALLS_PER_ROW * len(self.rows)
        kind = random.choice(("crash", "crash", "crash", "full", "full", "errors", "broken", "mixed"))
        crash = kind in ("crash", "mixed") or (kind in ("full", "errors") and random.random() < 0.2)
        room = random.randint(10_000, 30_000) if random.random() < 0.9 else random.randint(0, 12_000)
        return Trouble(
            crash_at=random.randint(1, calls) if crash else 0,
            crash_in=random.choice(("", TAIL, TAIL, EVENTS)) if self.every_step and self.loses_power else "",
            broken_from=random.randint(1, calls) if kind == "broken" else 0,
            room_bytes=room if kind in ("full", "mixed") else None,
            error_rate=random.choice((0.003, 0.02, 0.1)) if kind in ("errors", "mixed") else 0.0,
            short_rate=random.choice((0.0, 0.2)),
        )

    def play(self) -> None:
        """Write until the end, or until something goes wrong. Raises Broken if anything unforeseen does."""
        rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        try:
            self.end = self._write()
        except Crash:
            self.end = "power lost" if self.loses_power else "killed"
        except SURPRISES as error:
            raise Broken(f"{type(error).__name__} came out: {error}") from error
        if self.end not in ("killed", "power lost") and self.disk.open_handles:
            raise Broken(f"{self.end}, and {self.disk.open_handles} files are still open")
        if self.end == "power lost" or (self.end in ("closed", "salvaged", "refused") and self.loses_power):
            self.disk.lose_power()
        else:
            self.disk.kill()

    def _write(self) -> str:
        storage = Storage("step" if self.every_step else "second", self.random.choice(("zstd", "zstd", "lz4", "none")))
        try:
            writer = RunWriter(self.run, node_ids=NODES, about=ABOUT, storage=storage, disk=self.disk)
        except StorageError:
            return "nothing begun"
        try:
            if self.random.random() < 0.3:
                self.artefact.write_bytes(self.random.randbytes(self.random.choice((0, 50, 500))))
                writer.keep("a")("model", self.artefact)
                self.keeps = True
        except OSError:
            writer.discard()
            return "nothing begun"
        try:
            self._write_rows(writer)
        except StorageError as stopped:
            writer.salvage(stopped)
            return self._stopped(writer, stopped)
        try:
            self.fingerprint = writer.close("complete")
        except StorageError as stopped:
            return self._stopped(writer, stopped)
        return "closed"

    def _stopped(self, writer: RunWriter, stopped: StorageError) -> str:
        self.kept_step = stopped.kept_step
        if not self.every_step and self.disk.was_full:  # then blocks may be given up for the end of the log
            self.acknowledged = min(self.acknowledged, writer.rows_written)
        return "refused" if stopped.kept_step is None else "salvaged"

    def _write_rows(self, writer: RunWriter) -> None:
        for (_, kind), group in groupby(self.rows, key=lambda each: (each.row.step, each.row.kind)):
            rows = list(group)
            before = writer.rows_written
            if self.written + len(rows) == len(self.rows) and self.random.random() < 0.1:
                return  # the last step does not end
            write(writer, rows)
            self.written += len(rows)
            if kind == "step" and self.every_step:
                self.acknowledged = self.written
            if writer.rows_written > before:
                self._acknowledge_blocks(writer)
            if self.random.random() < 0.4:
                writer.flush()
                if not self.every_step:
                    self._acknowledge_flush()

    def _acknowledge_blocks(self, writer: RunWriter) -> None:
        if self.every_step or not self.loses_power:
            self.acknowledged = max(self.acknowledged, writer.rows_written)

    def _acknowledge_flush(self) -> None:
        """What waited when the timer looked is written when it looks again, unless the disk refused it meanwhile."""
        if not self.loses_power and not self.disk.refused:
            self.acknowledged = max(self.acknowledged, self.waited)
        self.waited = self.written

    def check(self) -> None:
        """Check what is left. Raises Broken."""
        if self.end == "nothing begun":
            if self.run.exists():
                raise Broken("the run could not begin, and its folder is still there")
            return
        if self.end == "closed" or (self.end == "salvaged" and not self.loses_power):
            self._check_closed()
        if self.end == "salvaged" and self.loses_power and (self.run / "SEAL").exists():
            self._check_closed()
        if self.end != "closed" or self.random.random() < 0.2:
            self._check_recovery()

    def _check_closed(self) -> None:
        try:
            problems = [each for each in verify(self.run) if each.fatal or not self.loses_power]
        except InputError as error:
            raise Broken(f"{self.end}, but {error}") from error
        if problems:
            raise Broken(f"{self.end}, but {problems[0]}")
        run = Run.open(self.run)
        self._check_rows(run)
        if self.end == "closed" and (run.events != self.written or run.fingerprint != self.fingerprint):
            raise Broken(f"closed with {run.events} of {self.written} rows")
        last = run.blocks[-1].last_step if run.blocks else 0
        if self.end == "salvaged" and (run.status, last) != ("failed", self.kept_step):
            raise Broken(f"{run.status} after step {last}, though {self.kept_step} is said to be kept")
        if run.events < self.acknowledged:
            raise Broken(f"{run.events} of {self.acknowledged} acknowledged rows are in the closed run")

    def _check_recovery(self) -> None:
        before, out = _contents(self.root, "**/*"), self.folder / "out"
        rmtree(out, ignore_errors=True)
        try:
            recovery = recover(self.run, out)
        except InputError as error:
            if self.acknowledged:
                raise Broken(f"{self.acknowledged} acknowledged rows, and none recovered: {error}") from error
            return
        except SURPRISES as error:
            raise Broken(f"recover failed with {type(error).__name__}: {error}") from error
        finally:
            if before != _contents(self.root, "**/*"):
                raise Broken("recover has changed its input")
        problems = verify(out)
        if problems:
            raise Broken(f"what was recovered does not verify: {problems[0]}")
        run = Run.open(out)
        self.holes = len(recovery.holes)
        if (recovery.rows, recovery.fingerprint, len(run.holes)) != (run.events, run.fingerprint, self.holes):
            raise Broken(f"{recovery} is not what lies in {out}")
        if self.holes:
            self._check_holes(run)
        else:
            self._check_rows(run)
        if self.keeps and self.acknowledged and "model" not in run.manifest["artefacts"].get("a", {}):
            raise Broken("an artefact that the acknowledged rows depend on was not recovered")
        if run.events < self.acknowledged:
            raise Broken(f"{run.events} of {self.acknowledged} acknowledged rows were recovered")

    def _check_rows(self, run: Run) -> None:
        """Check that a run holds the beginning of the program, in every respect; what was seen before is known to."""
        seen = (self.number, _contents(run.path, EVENTS, "*/*"))
        if seen in SEEN:
            return
        rows, fingerprint = expected(self.number, run.events, self.folder / "expected")
        if rows != list(run.rows()):
            raise Broken("other rows than were written")
        if fingerprint != run.fingerprint:
            raise Broken(f"the fingerprint is {run.fingerprint}, should be {fingerprint}")
        for written, found in zip(self.rows, rows, strict=False):
            lost = f"{OBJECTS}/{found.row.object}" in [each["file"] for each in run.manifest.get("lost", ())]
            if lost and (self.every_step or not self.loses_power):
                raise Broken(f"row {found.seq} has lost its payload")
            payload = written.row.payload if lost else run.payload(found.row)
            if (written.seq, written.cause, written.row.payload) != (found.seq, found.cause, payload):
                raise Broken(f"row {found.seq} is not what was written")
        SEEN.add(seen)

    def _check_holes(self, run: Run) -> None:
        """Check that every row is either as it was written or in a hole."""
        rows, _ = expected(self.number, self.written, self.folder / "expected")
        found = list(run.rows())
        if [rows[each.seq] for each in found] != found:
            raise Broken("other rows than were written, between the holes")
        missing = max((each.seq for each in found), default=-1) + 1 - len(found)
        if sum(hole["rows"] or 0 for hole in run.holes) < missing:
            raise Broken(f"{missing} rows are missing, the holes are {run.holes}")


def _contents(folder: Path, *patterns: str) -> tuple[tuple[str, str], ...]:
    """Return names and checksums of the files below `folder`."""
    paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    facts = ((str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(paths))
    return tuple(facts)


def broken_schedules(seeds: Sequence[int], folder: Path, *, at_most: int) -> tuple[list[str], dict[str, int]]:
    """Play the schedules of `seeds`; return what was broken, and how often each of them ended how."""
    found: list[str] = []
    ends: dict[str, int] = {}
    for seed in seeds:
        schedule = Schedule(seed, folder)
        try:
            schedule.play()
            schedule.check()
        except Broken as error:
            found.append(f"schedule {seed} ({schedule.end or 'writing'}): {error}")
            if len(found) >= at_most:
                break
        finally:
            schedule.disk.kill()
        ends[schedule.end] = ends.get(schedule.end, 0) + 1
    return found, ends
