"""No file, however broken, makes a command crash, hang, take memory without bound or write outside of its folder.

The mutations run in a process of their own, which forks: a process that has started threads, as that of the tests may
have, must not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance import hostile_commands
from tests.conformance.hostile_commands import Finding
from tests.conformance.mutations import Mutation, mutated
from tests.conformance.test_corpus import make

ROOT = Path(__file__).resolve().parents[2]
FAST, ALL, PARTS = 2_000, 100_000, 2
"""How many mutations are tried in the fast tests and in the slow ones, and in how many processes at once."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("mutations") / "run")


def campaign(run: Path, first: int, last: int, *, planted: str = "", timeout_s: float = 280) -> list[Finding]:
    """Let the mutations meet the commands in a process of their own; `planted` is code to run in it before."""
    code = f"{planted}\nfrom tests.conformance.hostile_commands import main; main()"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(run), str(first), str(last)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return [Finding(*json.loads(line)) for line in done.stdout.splitlines()]


def told(findings: list[Finding]) -> str:
    return "\n".join(f"{each.number} {each.command} ({each.what}): {each.happened}" for each in findings[:10])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_broken_runs_are_survived(run: Path, part: int) -> None:
    share = FAST // PARTS
    findings = campaign(run, part * share, (part + 1) * share)
    assert findings == [], told(findings)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", range(PARTS))
def test_many_broken_runs_are_survived(run: Path, part: int) -> None:
    share = ALL // PARTS
    findings = campaign(run, part * share, (part + 1) * share, timeout_s=3_500)
    assert findings == [], told(findings)


def test_a_mutation_is_the_same_every_time(run: Path) -> None:
    """What was found can be looked at again by its number."""
    for number in range(60):
        one, other = mutated(run, 1, number), mutated(run, 1, number)
        assert one == other
        assert isinstance(one, Mutation)


def test_mutations_get_deep(run: Path, tmp_path: Path) -> None:
    """Most are not stopped by the first checksum: half and more of them open, or fail at something that is not one."""
    from tests.conformance.mutations import lay_out

    from xtrace.capture.reader import Run
    from xtrace.engine.errors import XtraceError

    stopped = 0
    for number in range(150):
        lay_out(mutated(run, 1, number), tmp_path / "run")
        try:
            Run.open(tmp_path / "run")
        except XtraceError as error:
            stopped += any(word in str(error) for word in ("checksum", "SEAL says", "instead of"))
    assert stopped < 50


PLANTED = {
    "a crash": "os.kill(os.getpid(), 11)",
    "an endless loop": "exec('while True: pass')",
    "a traceback": "{}['key']",
    "memory": "bytearray(1 << 30)",
    "a file elsewhere": "open(os.path.join(os.path.dirname(sys.argv[0] or '.'), '..', 'stray'), 'w')",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(run: Path, fault: str) -> None:
    """A command that does what none may do is caught by this very campaign, and the others go on."""
    where = "pathlib.Path(folder).parent" if fault == "a file elsewhere" else ""
    act = f"(({where}) / 'stray').write_text('')" if where else PLANTED[fault]
    planted = (
        "import os, sys, pathlib\n"
        "from xtrace.capture import reader\n"
        "real = reader.Run.open.__func__\n"
        "calls = []\n"
        "def opened(cls, folder):\n"
        f"    if str(folder).endswith('broken') and len(calls.append(0) or calls) > 30: {act}\n"
        "    return real(cls, folder)\n"
        "reader.Run.open = classmethod(opened)\n"
        f"import tests.conformance.hostile_commands as h; h.CPU_SECONDS_MAX = 1\n"
    )
    found = campaign(run, 0, 30, planted=planted)
    assert found != []
    if fault in ("a crash", "an endless loop"):
        assert {"killed: SIGSEGV" if fault == "a crash" else "killed: SIGPROF"} == {each.happened for each in found}
    assert hostile_commands.BATCH > 30
