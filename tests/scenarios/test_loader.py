"""A scenario file becomes a checked Scenario, or one error with all of its mistakes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from xtrace.engine.errors import InputError
from xtrace.scenarios.keys import SCENARIO
from xtrace.scenarios.loader import from_document, library, load

SEVEN = """\
scenario: seven
seed: 1.5
duration: 60
step: 5parsec
network:
  model: latancy
nodes:
  - id: a
    type: sensor
    implementation: fake
    modle: m:A
  - id: b
    type: sensor
    implementation: pyhton_model
    model: m:A
  - id: A
    type: sensor
    implementation: fake
    model: m:A
"""


def test_seven_mistakes_are_seven_lines_in_the_order_of_the_file(write):
    path = write(SEVEN)
    with pytest.raises(InputError) as caught:
        load(path)
    assert caught.value.problems == [
        "seed: expected an integer, not 1.5 (line 2)",
        "duration: a duration needs its unit: write 60us, 60ms or 60s instead of 60 (line 3)",
        "step: unknown unit 'parsec' in '5parsec'; known: us, ms, s, min, h, d (line 4)",
        "network.model: unknown network model 'latancy'; did you mean 'latency'? (line 6)",
        "nodes[0].modle: unknown key 'modle'; did you mean 'model'? (line 11)",
        "nodes[1].implementation: unknown implementation 'pyhton_model'; did you mean 'python_model'? (line 14)",
        "nodes[2].id: there is another node 'A': 'a' differs in capitals only, and both name log files (line 16)",
    ]
    assert len(str(caught.value).splitlines()) == 8
    assert str(caught.value).startswith(f"{path}: 7 mistakes\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty; a scenario needs at least `duration` and `nodes`"),
        ("# only a comment", "is empty; a scenario needs at least `duration` and `nodes`"),
        ("- a", f"expected a mapping with the keys {', '.join(SCENARIO)}, not a list"),
        ("hello", f"expected a mapping with the keys {', '.join(SCENARIO)}, not 'hello'"),
    ],
)
def test_what_is_no_scenario_says_so_once(write, text, expected):
    path = write(text)
    with pytest.raises(InputError) as caught:
        load(path)
    assert f"{path}: {expected}" == str(caught.value)


SMALL = "duration: 1s\nnodes:\n- {id: a, type: t, implementation: fake, model: x}\n"


def test_a_file_without_a_name_is_called_as_the_file(write):
    assert load(write(SMALL)).name == "case"
    assert load(write("scenario: other\n" + SMALL)).name == "other"
    with pytest.raises(InputError, match=r"\(taken from the name of the file\)"):
        load(write(SMALL, "My Case.yaml"))


def test_the_folder_of_a_scenario_is_where_its_file_lies(write, monkeypatch, tmp_path):
    write(SMALL)
    monkeypatch.chdir(tmp_path)
    assert tmp_path == load("case.yaml").folder == load(Path("case.yaml")).folder
    assert os.path.isabs(load("./case.yaml").folder)


def test_options_of_the_command_win_in_order(write):
    path = write(SMALL)
    scenario = load(
        path, overrides=["seed=3", "seed=4", "nodes.a.config.x=[1]", "network.model=latency", "network.base=5ms"]
    )
    assert (scenario.seed, scenario.nodes[0].config, scenario.step_us) == (4, {"x": [1]}, 5_000)
    scenario = load(path, overrides=["seed=3", "duration=3s"], seed=7, duration="2s")
    assert (scenario.seed, scenario.duration_us) == (7, 2_000_000)


def test_an_override_can_mend_what_the_file_has_wrong(write):
    assert load(write("seed: -1\n" + SMALL), overrides=["seed=5"]).seed == 5


def test_mistakes_in_overrides_come_with_those_of_the_file(write):
    with pytest.raises(InputError) as caught:
        load(write("sede: 1\n" + SMALL), overrides=["nodes.aa.model=x", "step=5", "nodes.a.gian=2"], duration="7")
    assert caught.value.problems == [
        "--set nodes.aa.model=x: nodes: unknown node 'aa'; did you mean 'a'?",
        "duration: '7' is not a duration such as 250us, 10ms or 60s: write 7us, 7ms or 7s (--duration)",
        "step: a duration needs its unit: write 5us, 5ms or 5s instead of 5 (--set)",
        "nodes[0].gian: unknown key 'gian'; did you mean 'gain'? (--set)",
        "sede: unknown key 'sede'; did you mean 'seed'? (line 1)",
    ]


def test_every_scenario_of_the_library_loads_by_its_name():
    names = [name for name, _ in library()]
    assert "smoke" in names
    assert sorted(names) == names
    for name, path in library():
        scenario = load(name)
        assert (name, path.parent) == (scenario.name, scenario.folder)
        assert scenario.description
        assert scenario.expected
        assert scenario.runtime_estimate_us
        assert scenario == from_document(scenario.document, folder=scenario.folder, where=name)


def test_the_library_comes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "smoke").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("smoke").name == "smoke"


def test_an_unknown_name_gets_a_suggestion_and_the_list():
    with pytest.raises(InputError) as caught:
        load("smoek")
    assert str(caught.value).startswith(
        "smoek: no such scenario in the library, and no such file; did you mean 'smoke'? the"
    )
    for reference in ("x" * 5000, "a\0b", ""):
        with pytest.raises(InputError):
            load(reference)
    with pytest.raises(InputError, match=r"/smoke.yaml: no such file; did you mean 'smoke'\?"):
        load("/nowhere/smoke.yaml")


def test_files_from_a_yaml_dumper_load(write, minimal):
    assert (
        from_document(minimal, folder=Path("/"), where="doc").document == load(write(yaml.safe_dump(minimal))).document
    )
