"""No room: a readable error, exit status 2, nobody left, and never a run that passes for whole."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from .front_door import COMMAND, NODES, here, write_scenario  # noqa: TID252  # tests have no name to be imported by


def limited(
    arguments: Sequence[object], *, file_bytes: int, cwd: Path, private: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the command where no file can grow beyond `file_bytes`; writing on fails as on a full disk, with EFBIG."""
    import os

    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **private},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "file_bytes", [0, 3_000, 60_000, 250_000], ids=["nothing fits", "no manifest", "one block", "some blocks"]
)
def test_recording(file_bytes, tmp_path, private):
    done = limited(["record", "machine_monitoring", "-o", "run"], file_bytes=file_bytes, cwd=tmp_path, private=private)
    assert (done.returncode, done.stdout) == (2, "")
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "internal error" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3, done.stderr
    assert here("verify", tmp_path / "run").status == 2


def test_recording_with_processes(tmp_path, private):
    nodes = [
        {"id": name, "type": "t", "implementation": "process", "command": ["{python}", "worker.py"],
         "transport": transport, "config": {"every_us": 1000, "to": ["a", "b", "c"]}}
        for name, transport in (("a", "stdio"), ("b", "unix"), ("c", "tcp"))
    ]  # fmt: skip
    scenario = write_scenario(tmp_path / "scenario", nodes, duration="3s")
    shutil.copy(NODES / "worker.py", scenario.parent)
    done = limited(["record", scenario, "-o", "run"], file_bytes=20_000, cwd=tmp_path, private=private)
    assert (done.returncode, done.stdout) == (2, "")
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_replay(monitoring, tmp_path, private):
    done = limited(
        ["replay", monitoring, "--node", "edge", "-o", "again"], file_bytes=1_000, cwd=tmp_path, private=private
    )
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
