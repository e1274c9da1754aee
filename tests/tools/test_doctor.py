"""`xtrace doctor`."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

from xtrace.tools import doctor

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_installed_and_in_force(xtrace, state_folder, monkeypatch, tmp_path):
    (tmp_path / "xtrace.toml").write_text("seed = 3\nlimit = 9")
    monkeypatch.setenv("XTRACE_SEED", "7")
    monkeypatch.setenv("XTRACE_SEEED", "7")
    answer = xtrace("doctor", "--json")
    facts = json.loads(answer.out)
    assert answer.status == 0
    assert facts["ok"] is True
    assert facts["state_folder"] == str(state_folder)
    assert (facts["settings"]["seed"]["value"], facts["settings"]["seed"]["from"]) == (7, "XTRACE_SEED")
    assert facts["settings"]["limit"]["from"] == str(tmp_path / "xtrace.toml")
    assert facts["settings"]["color"]["from"] == "default"
    assert facts["unknown_variables"] == ["XTRACE_SEEED"]
    assert facts["implementations"]["python_model"] == "ok"


def test_the_text_says_the_same(xtrace, monkeypatch):
    monkeypatch.setenv("XTRACE_SEED", "7")
    answer = xtrace("doctor")
    assert answer.status == 0
    assert re.search(r"^  seed +7 +XTRACE_SEED ", answer.out, re.MULTILINE)
    assert re.search(r"^  pyarrow +[0-9.]+ ", answer.out, re.MULTILINE)


def test_what_is_missing_comes_with_the_command_that_gets_it(xtrace, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = xtrace("doctor")
    assert answer.status == 2
    assert f"required: {sys.executable} -m pip install duckdb\n" in answer.out
    assert f"optional: {sys.executable} -m pip install onnxruntime\n" in answer.out


def test_what_is_optional_may_be_missing(xtrace, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert xtrace("doctor").status == 0


def test_what_is_broken_is_told_apart_from_what_is_absent(xtrace, monkeypatch, tmp_path):
    (tmp_path / "broken_part.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "PARTS", (doctor.Part("broken", "broken_part", "nothing"),))
    (part,) = json.loads(xtrace("doctor", "--json").out)["parts"]
    assert part["problem"] == "ZeroDivisionError: division by zero"


def test_the_list_of_parts_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements):
        return {re.match(r"[A-Za-z0-9_-]+", each).group() for each in requirements}

    assert {part.distribution for part in doctor.PARTS if not part.extra} == names(project["dependencies"])
    for part in doctor.PARTS:
        if part.extra:
            assert part.distribution in names(project["optional-dependencies"][part.extra])
