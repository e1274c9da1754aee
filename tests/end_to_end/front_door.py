"""The command as a user meets it: in a process of its own, or, where only speed matters, in this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from xtrace.tools.cli import main

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "scenarios"
NODES = Path(__file__).parent / "nodes"
BAD_NODES = ROOT / "tests" / "bridges" / "nodes"
# -P: as with the installed script, the working directory holds no modules.
COMMAND = [sys.executable, "-P", "-c", "import sys; from xtrace.tools.cli import main; sys.exit(main())"]


class Answer(NamedTuple):
    """What a command ended with and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def start(*arguments: object, cwd: Path | None = None, **variables: str) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=dict(os.environ, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], *, timeout_s: float = 60) -> Answer:
    """Wait for a command; none may ever show a traceback."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert "Traceback" not in err, err
    assert "internal error" not in err, err
    return Answer(process.returncode, out, err)


def xtrace(*arguments: object, cwd: Path | None = None, **variables: str) -> Answer:
    """Run the command to its end in a process of its own."""
    return finish(start(*arguments, cwd=cwd, **variables))


def here(*arguments: object) -> Answer:
    """Run the command in this process, which spares half a second of imports."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(each) for each in arguments])
    assert "internal error" not in err.getvalue(), err.getvalue()
    return Answer(status, out.getvalue(), err.getvalue())


def record(scenario: object, out: Path, *options: object, status: int = 0) -> dict[str, Any]:
    """Record in this process and return the summary."""
    answer = here("record", scenario, "-o", out, "--json", *options)
    assert answer.status == status, answer.err
    summary: dict[str, Any] = answer.json
    return summary


def write_scenario(folder: Path, nodes: Sequence[Mapping[str, Any]], **head: object) -> Path:
    """Write `scenario.yaml` with `nodes` in the order in which they are given; 100 ms in steps of 1 ms."""
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {
        "description": "Made by a test.",
        "expected": "What the test says.",
        "seed": 1,
        "duration": "100ms",
        "step": "1ms",
        "network": {"model": "direct"},
    }
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump({**defaults, **head, "nodes": list(nodes)}, sort_keys=False))
    return path


def rows(run: Path, where: str) -> list[dict[str, Any]]:
    """Return the events of a run that a condition in SQL selects, in order."""
    answer = here("query", run, f"SELECT * FROM events WHERE {where} ORDER BY seq", "--format", "json")
    assert answer.status == 0, answer.err
    found: list[dict[str, Any]] = answer.json
    return found


def processes_with(mark: str) -> list[str]:
    """Return the other processes whose arguments or variables hold `mark`; those that have ended have neither."""
    found = []
    for folder in sorted(Path("/proc").glob("[0-9]*")):
        try:
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in text and folder.name != str(os.getpid()):
            found.append(f"{folder.name}: {(folder / 'cmdline').read_bytes()!r}")
    return found


def assert_nothing_left(private: Path) -> None:
    """Fail if a process lives whose variables name the folder `private`, or if a file is left in it."""
    deadline_s = time.monotonic() + 5
    while left := processes_with(str(private)):
        assert time.monotonic() < deadline_s, left
        time.sleep(0.02)
    files = sorted(private.rglob("*"))
    assert not files, files
