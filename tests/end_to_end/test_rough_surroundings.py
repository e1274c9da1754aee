"""Models that print, move about or wait for a person; callers that close the streams or have no home to write to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    COMMAND,
    here,
    record,
    write_scenario,
    xtrace,
)


def scenario_of(code: str, folder: Path) -> Path:
    """Write a scenario of one Python model whose timer runs `code` each millisecond."""
    path = write_scenario(folder / "scenario", [NODE], duration="10ms")
    (path.parent / "model.py").write_text(
        "import os\nfrom xtrace.engine.model import Model\n\nprint('imported')\n\n\n"
        "class Rough(Model):\n"
        "    def on_init(self):\n"
        "        self.schedule_periodic(1000, self.tick)\n\n"
        "    def tick(self):\n"
        f"        {code}\n"
        "        self.observe('tick', None)\n"
    )
    return path


NODE = {"id": "rough", "type": "t", "implementation": "python_model", "model": "model.py:Rough"}


def test_what_a_model_prints_is_no_part_of_the_answer(tmp_path):
    scenario = scenario_of("print('tick')", tmp_path)
    answer = xtrace("record", scenario, "-o", "run", "--json", cwd=tmp_path)
    assert answer.status == 0
    assert answer.json["status"] == "complete"
    assert answer.err.count("tick") == 9
    answer = xtrace("replay", "run", "--all", "--json", cwd=tmp_path)
    assert answer.json["identical"] is True
    answer = xtrace("record", scenario, "--dry-run", "--json", cwd=tmp_path)
    assert answer.json["nodes"] == ["rough"]
    assert "imported" in answer.err


def test_a_model_that_changes_the_working_directory(tmp_path):
    scenario = scenario_of("os.chdir('/')", tmp_path)
    answer = xtrace("record", Path("scenario", scenario.name), "-o", "run", cwd=tmp_path)
    assert answer.status == 0, answer.err
    assert here("verify", tmp_path / "run").status == 0


def test_a_model_that_asks_a_person(tmp_path):
    scenario = scenario_of("input('Password: ')", tmp_path)
    done = subprocess.run(
        [*COMMAND, "record", str(scenario), "-o", str(tmp_path / "run")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "node 'rough' crashed" in done.stderr
    assert "EOFError" in done.stderr


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams(closed, tmp_path):
    """A file of the run must not get the number of a standard stream, or everything printed would end up in it."""
    scenario = scenario_of("print('tick')", tmp_path)
    line = f'exec "$@" {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", line, "sh", *COMMAND, "record", str(scenario), "-o", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert here("verify", tmp_path / "run").status == 0


def test_without_a_place_to_remember_trust(tmp_path):
    """Recording and replaying go on, with a warning; nothing is trusted by accident."""
    nowhere = str(tmp_path / "file" / "state")
    (tmp_path / "file").write_text("")
    answer = xtrace("record", "smoke", "-o", "run", cwd=tmp_path, XTRACE_STATE_DIR=nowhere)
    assert answer.status == 0
    assert "warning: " in answer.err
    assert xtrace("replay", "run", "--all", cwd=tmp_path, XTRACE_STATE_DIR=nowhere).status == 2
    answer = xtrace("replay", "run", "--all", "--trust", cwd=tmp_path, XTRACE_STATE_DIR=nowhere)
    assert answer.status == 0, answer.err
    assert "warning: " in answer.err


def test_an_empty_environment(tmp_path):
    done = subprocess.run(
        [*COMMAND, "record", "smoke", "-o", str(tmp_path / "run")],
        env={"XTRACE_STATE_DIR": os.environ["XTRACE_STATE_DIR"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away(tmp_path):
    record("smoke", tmp_path / "run")
    words = ["show", str(tmp_path / "run"), "--limit", "0"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
