"""Digests are those of the rows: the same with the oldest pyarrow and the newest, for every compression and block size.

`make test-slow` installs the old pyarrow into `build/`; without it the test is skipped, and in CI that is a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest

ROOT = Path(__file__).resolve().parents[2]
OLD, OLD_VERSION = ROOT / "build" / "pyarrow-21", "21.0.0"
COMPRESSIONS = ("zstd", "lz4", "none")
BLOCK_ROWS = (20, 70, 100_000)

RECORDS = """
import json, pathlib, sys
import pyarrow, pytest
from tests.capture.runs import busy_rows, make_run, small_blocks
from xtrace.capture.layout import Storage
from xtrace.capture.reader import Run
from xtrace.capture.verify import verify
assert pyarrow.__version__ == sys.argv[1], pyarrow.__version__
out, others, answer = pathlib.Path(sys.argv[2]), sys.argv[3:], {}
for compression in COMPRESSIONS:
    for rows in BLOCK_ROWS:
        with pytest.MonkeyPatch.context() as patch:
            small_blocks(patch, rows)
            make_run(out / f"{compression}-{rows}", busy_rows(120), storage=Storage(compression=compression))
for folder in sorted(out.iterdir()) + [path for other in others for path in sorted(pathlib.Path(other).iterdir())]:
    run = Run.open(folder)
    last = {each.node: [each.inputs.hex(), each.outputs.hex()] for each in run.node_records}
    problems = [str(each) for each in verify(folder)]
    answer[str(folder)] = [problems, run.fingerprint, last, len(run.blocks), len(list(run.rows()))]
print(json.dumps(answer))
"""


def recorded(out: Path, version: str, *others: Path) -> dict[str, Any]:
    """Record runs into `out` with this version of pyarrow, read them and `others`, and return what was found."""
    out.mkdir()
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if version == OLD_VERSION:
        paths.insert(0, str(OLD))
    code = RECORDS.replace("in COMPRESSIONS", f"in {COMPRESSIONS}").replace("in BLOCK_ROWS", f"in {BLOCK_ROWS}")
    done = subprocess.run(
        [sys.executable, "-c", code, version, str(out), *map(str, others)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.slow
def test_two_versions_of_pyarrow_agree(tmp_path: Path) -> None:
    """Each reads what the other recorded; there is one fingerprint and one digest for each node."""
    if not (OLD / ".stamp").is_file():
        pytest.skip(f"pyarrow {OLD_VERSION} is not in {OLD.name}; `make test-slow` installs it")
    assert pyarrow.__version__ != OLD_VERSION
    old = recorded(tmp_path / "old", OLD_VERSION)
    new = recorded(tmp_path / "new", pyarrow.__version__, tmp_path / "old")
    again = recorded(tmp_path / "again", OLD_VERSION, tmp_path / "new")
    found = [*old.values(), *new.values(), *again.values()]
    assert len(found) == 5 * len(COMPRESSIONS) * len(BLOCK_ROWS)
    assert {tuple(problems) for problems, *_ in found} == {()}
    assert len({fingerprint for _, fingerprint, *_ in found}) == 1
    assert len({json.dumps(last, sort_keys=True) for _, _, last, *_ in found}) == 1
    assert len({rows for *_, rows in found}) == 1
    assert {blocks for *_, blocks, _ in found} > {1}
