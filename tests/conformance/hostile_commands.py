"""Lets commands meet broken runs in forked workers that can neither take much memory nor much time.

A worker imports nothing: it is a fork of a process that has imported everything, runs every command once on a sound
run, and then may grow by MEMORY_BYTES at most. What kills it is a finding, and the next worker goes on behind it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.conformance.broken_runs import image_of
from tests.conformance.mutations import Mutation, lay_out, mutated

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS_MAX = 5
WAIT_SECONDS_MAX = 60
"""For a command that waits for something and takes no CPU; a busy machine may stop everything for a while."""
BATCH = 250
"""How many commands a worker runs before a fresh one takes over."""
OUT_OF_MEMORY = ("MemoryError", "malloc of size", "realloc of size", "bad_alloc", "Out of memory", "out of memory")


class Finding(NamedTuple):
    """What a command must not do, and how to make it do so again."""

    number: int
    command: str
    what: str
    happened: str


class Scene(NamedTuple):
    """Where a worker works: the broken run, a sound one, and a place for output. Nothing else may appear in `base`.

    `number` is that of the mutation.
    """

    base: Path
    broken: Path
    sound: Path
    out: Path
    number: int = 0


def commands() -> dict[str, Callable[[Scene], Sequence[str] | Callable[[], object]]]:
    """Return the commands by name: the arguments, or what to call of the functions that a command would use."""
    made: dict[str, Callable[[Scene], Sequence[str] | Callable[[], object]]] = {
        "verify": lambda scene: ["verify", str(scene.broken)],
        "verify --json": lambda scene: ["verify", str(scene.broken), "--json"],
        "info": lambda scene: ["info", str(scene.broken)],
        "info --json": lambda scene: ["info", str(scene.broken), "--json"],
        "show": lambda scene: ["show", str(scene.broken)],
        "show --json": lambda scene: ["show", str(scene.broken), "--json", "--node", "a"],
        "show --step": lambda scene: ["show", str(scene.broken), "--step", "30:40", "--type", "type1"],
        "diff a": lambda scene: ["diff", str(scene.broken), str(scene.sound)],
        "diff b": lambda scene: ["diff", str(scene.sound), str(scene.broken), "--json"],
        "diff --node": lambda scene: ["diff", str(scene.broken), str(scene.sound), "--node", "a"],
        "query": lambda scene: ["query", str(scene.broken), "SELECT * FROM events", "--format", "json"],
        "query sum": lambda scene: ["query", str(scene.broken), "SELECT node, max(time_us) FROM events GROUP BY ALL"],
        "replay": lambda scene: lambda: _replayed(scene.broken),
        "restore": lambda scene: lambda: _restored(scene.broken),
        "recover": lambda scene: ["recover", str(scene.broken), "-o", str(scene.out)],
        "recover killed": lambda scene: _killed(scene),
        "recover tail": lambda scene: _killed_with_tail(scene),
        "export": lambda scene: ["export", str(scene.broken), "--format", "jsonl", "-o", str(scene.out)],
        "export parquet": lambda scene: ["export", str(scene.broken), "--format", "parquet", "-o", str(scene.out)],
        "export mcap": lambda scene: ["export", str(scene.broken), "--format", "mcap", "-o", str(scene.out)],
        "import": lambda scene: ["import", str(_mcap(scene)), "-o", str(scene.out)],
        "import jsonl": lambda scene: ["import", str(_mcap(scene, "run.jsonl")), "-o", str(scene.out)],
    }
    return made


def _replayed(folder: Path) -> None:
    """Read what a replay reads. The replay itself would run code of the run, and needs --trust for that."""
    from xtrace.capture.reader import Run
    from xtrace.capture.shape import REPLAYABLE, misfit
    from xtrace.engine.errors import CorruptionError
    from xtrace.replay.recorded import end_of, network_steps, recorded_steps

    run = Run.open(folder)
    place = misfit(run.manifest, REPLAYABLE)
    if place:
        raise CorruptionError(run.path / "manifest.json", place)
    end_of(run)
    for node in run.nodes[:4]:
        for _ in recorded_steps(run, node):
            pass
    for _ in network_steps(run):
        pass


def _restored(folder: Path) -> None:
    from xtrace.capture.reader import Run
    from xtrace.replay.restored import restored

    run = Run.open(folder)
    for node in run.nodes:
        with restored(run, node):
            pass


def _killed(scene: Scene) -> list[str]:
    """The seal is missing: a reader of what is left has no chain to follow."""
    with contextlib.suppress(OSError):
        (scene.broken / "SEAL").unlink()
    return ["recover", str(scene.broken), "-o", str(scene.out)]


def _killed_with_tail(scene: Scene) -> list[str]:
    """A run as a killed recorder left it, its journal or another file changed."""
    from tests.conformance.mutations import _damaged, with_hostile_frame

    chosen = random.Random(scene.number)
    lay_out(Mutation(image_of(scene.base / "killed"), {}, ""), scene.broken)
    path = chosen.choice(_files(scene.broken))
    if chosen.randrange(2):
        path.write_bytes(_damaged(path.read_bytes(), chosen))
    else:
        path = scene.broken / "events.tail"
        path.write_bytes(with_hostile_frame(path.read_bytes(), chosen))
    return ["recover", str(scene.broken), "-o", str(scene.out)]


def _mcap(scene: Scene, name: str = "run.mcap") -> Path:
    """Return a recording that is damaged as the event log of the broken run is."""
    from tests.conformance.mutations import _damaged

    data = (scene.sound.parent / "exported" / name).read_bytes()
    path = scene.broken / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_damaged(data, random.Random(scene.number)))
    return path


class _Last(io.TextIOBase):
    """A stream that remembers the end of what was written to it."""

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text = (self.text + text)[-20_000:]
        return len(text)


def _ask(command: Sequence[str] | Callable[[], object]) -> str:
    """Run a command; return what it must not have done, "" for nothing."""
    from xtrace.engine.errors import XtraceError
    from xtrace.tools.cli import main

    out, err = _Last(), _Last()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if callable(command):
                try:
                    command()
                    status = 0
                except XtraceError as error:
                    err.write(f"{error}")
                    status = error.exit_status
            else:
                status = main(command)
    except BaseException:
        return traceback.format_exc()[-3_000:]
    for text in (err.text, out.text):
        if "internal error" in text or "Traceback" in text or any(each in text for each in OUT_OF_MEMORY):
            return text[-3_000:]
    return "" if status in (0, 1, 2) else f"exit status {status}"


def _strays(scene: Scene) -> str:
    """Return what lies where no command should have written anything."""
    expected = {scene.broken.name, scene.sound.name, scene.out.name, "exported", "killed"}
    stray = sorted(path.name for path in scene.base.iterdir() if path.name not in expected)
    return f"wrote {stray} outside of its folder" if stray else ""


def _unsound_output(scene: Scene, name: str) -> str:
    """Return what is wrong with the run that `recover` or `import` made, "" if it is sound or there is none."""
    from xtrace.capture.verify import verify

    if not name.startswith(("recover", "import")) or not (scene.out / "SEAL").is_file():
        return ""
    problems = verify(scene.out)
    return f"made a run that does not verify: {problems[0]}" if problems else ""


def _work(run: Path, seed: int, jobs: Sequence[tuple[int, str]], report: int, base: Path) -> None:
    """Do the jobs, one after the other, and report each before and after it. Ends the process."""
    scene = _scene(base, run)
    table = commands()
    for name in table:
        lay_out(
            Mutation({path.relative_to(run).as_posix(): path.read_bytes() for path in _files(run)}, {}, ""),
            scene.broken,
        )
        shutil.rmtree(scene.out, ignore_errors=True)
        _ask(table[name](scene))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, name in jobs:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        made = mutated(run, seed, number)
        lay_out(made, scene.broken)
        what, specials = made.what, bool(made.specials)
        del made
        shutil.rmtree(scene.out, ignore_errors=True)
        command = table[name](scene._replace(number=number))
        _tell(report, ("begins", number, name, what))
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_MAX)
        signal.setitimer(signal.ITIMER_REAL, WAIT_SECONDS_MAX)
        happened = _ask(command)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        happened = happened or _strays(scene) or ("" if specials else _unsound_output(scene, name))
        _tell(report, ("ended", number, name, happened))
    os._exit(0)


def _scene(base: Path, run: Path) -> Scene:
    scene = Scene(base, base / "broken", base / "sound", base / "out")
    if not scene.sound.is_dir():
        from xtrace.tools.cli import main

        shutil.copytree(run, scene.sound)
        _record_killed(base / "killed")
        (base / "exported").mkdir()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for form in ("mcap", "jsonl"):
                assert main(["export", str(run), "--format", form, "-o", str(base / "exported" / f"run.{form}")]) == 0
    return scene


def _record_killed(folder: Path) -> None:
    """Leave a run as a recorder does that is killed: blocks, a journal, no end."""
    from tests.capture.runs import NODES, busy_rows, small_blocks, write

    from xtrace.capture.layout import Storage
    from xtrace.capture.writer import RunWriter

    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            small_blocks(patch, 60)
            about = {"seed": 1, "scenario": {}, "nodes": {node: {"type": "test"} for node in NODES}}
            write(RunWriter(folder, node_ids=NODES, about=about, storage=Storage(durability="step")), busy_rows(50))
            os._exit(0)
    os.waitpid(child, 0)
    assert (folder / "events.tail").stat().st_size > 100


def _files(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file())


def _tell(report: int, message: tuple[object, ...]) -> None:
    data = pickle.dumps(message)
    os.write(report, len(data).to_bytes(4, "little") + data)


def campaign(run: Path, *, seed: int, numbers: Sequence[int], only: str = "") -> Iterator[Finding]:
    """Let each mutation of `numbers` meet a command, in turn, and yield what happened that must not.

    Call it in a process that has imported the commands and started no thread.
    """
    names = [name for name in commands() if name.startswith(only)]
    jobs = [(number, names[number % len(names)]) for number in numbers]
    base = Path(tempfile.mkdtemp(dir=_fast_folder(), prefix="xtrace-mutations-"))
    try:
        while jobs:
            findings: list[Finding] = []
            done = _batch(run, seed, jobs[:BATCH], base, findings)
            yield from findings
            jobs = jobs[done:]
            print(f"{len(jobs)} left", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _fast_folder() -> str | None:
    """Return a folder in memory, if there is one with some room."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        return None
    facts = os.statvfs(shared)
    return str(shared) if facts.f_bavail * facts.f_frsize > 256 * 1024 * 1024 else None


def _batch(run: Path, seed: int, jobs: Sequence[tuple[int, str]], base: Path, findings: list[Finding]) -> int:
    """Run jobs in a fork; return how many of them are done, the one that killed it among them."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            _work(run, seed, jobs, writing, base)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(3)
    os.close(writing)
    done, under_way = 0, None
    with os.fdopen(reading, "rb") as pipe:
        while size := pipe.read(4):
            kind, number, name, text = pickle.loads(pipe.read(int.from_bytes(size, "little")))
            if kind == "begins":
                under_way = Finding(number, name, text, "")
            else:
                assert under_way is not None
                done += 1
                if text:
                    findings.append(under_way._replace(happened=text))
                under_way = None
    _, status = os.waitpid(child, 0)
    if under_way is not None:
        killer = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"status {status}"
        findings.append(under_way._replace(happened=f"killed: {killer}"))
        return done + 1
    assert status == 0, f"a worker ended with {status} before it began with a job"
    return done


def main() -> None:
    """Run mutations from the command line, RUN FIRST LAST [COMMAND], and print each finding as JSON."""
    import duckdb  # noqa: F401  # as the commands do, but before the fork
    import pyarrow.compute  # noqa: F401

    import xtrace.tools.cli  # noqa: F401

    run, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for finding in campaign(run, seed=1, numbers=range(first, last), only="".join(sys.argv[4:5])):
        print(json.dumps(finding), flush=True)


if __name__ == "__main__":
    main()
