"""`xtrace scenarios`."""

from __future__ import annotations

import json

import pytest


def test_the_library_is_listed(xtrace):
    answer = xtrace("scenarios", "list")
    assert answer.status == 0
    assert "smoke\n  description  Two stub nodes" in answer.out
    found = {entry["name"]: entry for entry in json.loads(xtrace("scenarios", "list", "--json").out)}
    assert {"smoke", "machine_monitoring", "telemetry_replay"} <= set(found)
    assert found["smoke"]["nodes"] == "ping, pong"


def test_valid_files(xtrace, scenario_file):
    answer = xtrace("scenarios", "validate", scenario_file, "smoke")
    assert answer == (0, f"{scenario_file}: valid\nsmoke: valid\n", "")


def test_all_mistakes_of_all_files_are_reported(xtrace, scenario_file, tmp_path):
    (tmp_path / "a.yaml").write_text(
        scenario_file.read_text().replace("python_model", "pyhton_model").replace("seed", "sede")
    )
    (tmp_path / "b.yaml").write_text("a: &a [*a]\n")
    answer = xtrace("scenarios", "validate", "a.yaml", "missing.yaml", scenario_file, "b.yaml")
    assert answer.status == 2
    assert "did you mean 'python_model'?" in answer.out
    assert "did you mean 'seed'?" in answer.out
    assert "missing.yaml: 1 mistake\n" in answer.out
    assert f"{scenario_file}: valid\n" in answer.out
    found = json.loads(xtrace("scenarios", "validate", "a.yaml", scenario_file, "--json").out)
    assert [each["valid"] for each in found] == [False, True]
    assert len(found[0]["problems"]) == 3


def test_a_syntax_error_keeps_its_place(xtrace, tmp_path):
    (tmp_path / "tab.yaml").write_text("duration: 1s\nnodes:\n\t- id: a\n")
    answer = xtrace("scenarios", "validate", "./tab.yaml")
    assert answer.status == 2
    assert "  tab.yaml:3:1: not valid YAML" in answer.out
    (found,) = json.loads(xtrace("scenarios", "validate", "tab.yaml", "--json").out)
    assert found["problems"][0].startswith("tab.yaml:3:1: not valid YAML")
    assert "  no such file" in xtrace("scenarios", "validate", "./missing.yaml").out


def test_the_schema_is_json(xtrace):
    answer = xtrace("scenarios", "schema")
    assert answer.status == 0
    assert json.loads(answer.out)["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize("arguments", [[], ["lst"], ["validate"]])
def test_an_action_is_needed(arguments, xtrace):
    assert xtrace("scenarios", *arguments).status == 2
