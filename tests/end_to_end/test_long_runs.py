"""Memory does not grow with the length of a run, and a look into the middle of a long one reads a few blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from xtrace.capture.reader import Run

from .front_door import ROOT, here  # noqa: TID252  # tests have no name to be imported by

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1_500)]

NODES = 100
ROWS_PER_STEP = 2 * NODES + 1
MAX_MB = 300
MAX_GROWTH_MB = 64
"""Between a run and one ten times as long. The history of causes fills up to 30 MB with this many nodes."""

RECORD = """
from pathlib import Path
from benchmarks.ring import recorded_ring
recorded_ring(Path(sys.argv[1]), nodes={nodes}, steps={steps})
"""
VERIFY = """
from pathlib import Path
from xtrace.capture.verify import verify
assert verify(Path(sys.argv[1])) == []
"""
READ = """
from xtrace.capture.reader import Run
assert sum(map(len, Run.open(sys.argv[1]).batches())) >= {rows}
"""
RECOVER = """
from pathlib import Path
from xtrace.capture.recover import recover
assert recover(Path(sys.argv[1]), Path(sys.argv[1] + "-recovered")).rows >= {rows}
"""
PEAK = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"


class Peaks(NamedTuple):
    """How much memory each of these took at most, in MB."""

    record: int
    verify: int
    read: int
    recover: int


def peak_mb(program: str, folder: Path, *, steps: int) -> int:
    """Run a program in a process of its own and return its peak of memory."""
    text = "import sys\n" + program.format(nodes=NODES, steps=steps, rows=steps * ROWS_PER_STEP) + PEAK
    done = subprocess.run(
        [sys.executable, "-c", text, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=1_200, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def peaks(folder: Path, *, rows: int) -> Peaks:
    steps = rows // ROWS_PER_STEP + 1
    return Peaks(*(peak_mb(each, folder, steps=steps) for each in (RECORD, VERIFY, READ, RECOVER)))


def test_memory_is_flat(tmp_path):
    short = peaks(tmp_path / "short", rows=2_000_000)
    long = peaks(tmp_path / "long", rows=20_000_000)
    print(f"2 million events: {short}, 20 million: {long}, in MB")
    assert max(*short, *long) < MAX_MB
    assert all(late - early < MAX_GROWTH_MB for early, late in zip(short, long, strict=True))


def test_a_look_into_the_middle(tmp_path, monkeypatch):
    """Two million events; counted, not timed."""
    steps = 2_000_000 // ROWS_PER_STEP + 1
    peak_mb(RECORD, tmp_path / "run", steps=steps)
    read: list[int] = []
    original = Run.read_block
    monkeypatch.setattr(Run, "read_block", lambda self, block: (read.append(block), original(self, block))[1])
    for step in (1, steps // 2, steps):
        read.clear()
        assert f"  {step}  " in here("show", tmp_path / "run", "--at", f"{step - 1}ms").out
        assert 0 < len(read) <= 3
