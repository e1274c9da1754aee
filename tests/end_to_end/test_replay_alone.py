"""A node runs again from the run alone: its scenario gone, its files gone, no other node about, in another place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    LIBRARY,
    here,
    record,
    rows,
    write_scenario,
    xtrace,
)

SCENARIOS = sorted(file.stem for file in LIBRARY.glob("*.yaml"))


def replay(*arguments: object) -> tuple[int, dict[str, object]]:
    answer = here("replay", *arguments, "--json")
    assert answer.status in (0, 1), answer.err
    (result,) = answer.json["nodes"].values()
    return answer.status, result


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_node_of_the_library_replays(name, library):
    nodes = here("info", library[name], "--json").json["nodes"]
    assert "network" in nodes
    for node in nodes:
        status, result = replay(library[name], "--node", node)
        assert status == 0, result
        assert result["identical"] is True
        outputs = "(kind = 'output' AND node = '{0}') OR (kind IN ('input', 'drop') AND '{0}' = 'network')"
        assert result["outputs"] == len(rows(library[name], outputs.format(node)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_whole_run_replays_in_another_folder(name, library, tmp_path, private):
    run = tmp_path / "somewhere else"
    shutil.copytree(library[name], run)
    answer = xtrace("replay", ".", "--all", cwd=run, **private)
    assert answer.status == 0, answer.err
    count = len(here("info", run, "--json").json["nodes"])
    assert answer.out.splitlines()[-1] == f"{count} of {count} nodes the same"
    assert here("verify", run).status == 0, "a replay leaves the run as it was"


def test_another_machine_asks_for_trust_and_remembers_it(library, tmp_path, private):
    variables = {**private, "XTRACE_STATE_DIR": str(tmp_path / "another machine")}
    answer = xtrace("replay", library["smoke"], "--node", "ping", **variables)
    assert (answer.status, answer.out) == (2, "")
    assert "was not recorded here" in answer.err
    assert "--trust" in answer.err
    assert xtrace("replay", library["smoke"], "--all", "--trust", **variables).status == 0
    assert xtrace("replay", library["smoke"], "--all", **variables).status == 0


def test_trust_in_one_run_is_no_trust_in_another(library, monitoring, tmp_path, monkeypatch):
    monkeypatch.setenv("XTRACE_STATE_DIR", str(tmp_path / "another machine"))
    assert here("replay", library["smoke"], "--all", "--trust").status == 0
    assert here("replay", monitoring, "--node", "edge").status == 2


def test_looking_at_a_run_from_elsewhere_needs_no_trust(library, tmp_path, monkeypatch):
    monkeypatch.setenv("XTRACE_STATE_DIR", str(tmp_path / "another machine"))
    run = library["smoke"]
    for arguments in (["info", run], ["show", run], ["verify", run], ["query", run, "FROM events"], ["diff", run, run]):
        assert here(*arguments).status == 0


@pytest.fixture
def flipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The model with the sign of the first bias of its output turned round: one bit."""
    model = onnx.load(LIBRARY / "models" / "anomaly.onnx")
    (bias,) = (each for each in model.graph.initializer if each.name == "output.bias")
    data = bytearray(bias.raw_data)
    data[3] ^= 0x80
    bias.raw_data = bytes(data)
    onnx.save(model, tmp_path / "flipped.onnx")
    monkeypatch.chdir(tmp_path)
    return "flipped.onnx"


def test_a_flipped_sign_in_the_model_shows_at_the_first_score(flipped, monitoring, tmp_path):
    first = rows(monitoring, "kind = 'output' AND node = 'edge'")[0]
    answer = here("replay", monitoring, "--node", "edge", "--with", f"model={flipped}", "--json")
    assert answer.status == 1, answer.err
    divergence = answer.json["nodes"]["edge"]["divergence"]
    assert (divergence["node"], divergence["type"], divergence["kind"]) == ("edge", "score", "value")
    assert (divergence["step"], divergence["time_us"]) == (first["step"], first["time_us"])
    assert divergence["field"].startswith("$.score")
    assert divergence["expected"] != divergence["actual"]
    text = here("replay", monitoring, "--node", "edge", "--with", f"model={flipped}")
    assert text.status == 1
    assert text.out.startswith("edge: diverged (")
    assert f"step {first['step']}, virtual time 0.{first['time_us']:06}s, node edge" in text.out


def test_a_run_with_that_model_names_the_edge_node_as_the_root(flipped, monitoring, tmp_path):
    record("machine_monitoring", tmp_path / "changed", "--set", f"nodes.edge.model={tmp_path / flipped}")
    answer = here("diff", monitoring, tmp_path / "changed", "--json")
    assert answer.status == 1
    assert answer.json["first_divergence"]["node"] == "edge"
    assert [node for node, verdict in answer.json["nodes"].items() if verdict == "root"] == ["edge"]


def test_a_changed_class_shows_at_the_event_that_it_changes(library, tmp_path):
    (tmp_path / "changed.py").write_text(
        "from xtrace.engine.model import Model\n\n\n"
        "class Pong(Model):\n"
        "    def on_event(self, event):\n"
        "        number = event.payload['number']\n"
        "        self.send(event.src, 'pong', {'number': number + (number == 7)})\n"
    )
    seventh = rows(library["smoke"], "kind = 'output' AND node = 'pong'")[6]
    answer = xtrace(
        "replay", library["smoke"], "--node", "pong", "--with", "model=changed.py:Pong", "--json", cwd=tmp_path
    )
    assert answer.status == 1, answer.err
    divergence = answer.json["nodes"]["pong"]["divergence"]
    assert (divergence["step"], divergence["time_us"]) == (seventh["step"], seventh["time_us"])
    assert (divergence["field"], divergence["expected"], divergence["actual"]) == ("$.number", 7, 8)


def test_a_copy_of_a_class_that_does_the_same_is_the_same(library, tmp_path, monkeypatch):
    shutil.copy(LIBRARY / "models" / "stubs.py", tmp_path / "copied.py")
    monkeypatch.chdir(tmp_path)
    assert replay(library["smoke"], "--node", "pong", "--with", "model=copied.py:Pong")[0] == 0


def test_a_changed_gateway_of_several_files(monitoring, tmp_path, monkeypatch):
    """Under the folder where its original lay the changed file finds what it imports among the recorded files."""
    source = (LIBRARY / "models" / "machine.py").read_text()
    (tmp_path / "models").mkdir()
    changed = source.replace('"frames_lost": lost', '"frames_lost": lost + (window == 3)')
    (tmp_path / "models" / "changed.py").write_text(changed)
    monkeypatch.chdir(tmp_path)
    status, result = replay(monitoring, "--node", "gateway", "--with", "model=models/changed.py:Gateway")
    assert status == 1, result
    third = rows(monitoring, "node = 'gateway' AND kind = 'output' AND payload->>'$.window' = '3'")[0]
    assert result["divergence"]["field"] == "$.frames_lost"
    assert (result["divergence"]["step"], result["divergence"]["time_us"]) == (third["step"], third["time_us"])


def test_a_changed_config_shows_what_it_changes(monitoring):
    status, result = replay(monitoring, "--node", "cloud", "--with", "config.alarm_after=2")
    assert status == 1
    assert result["divergence"]["node"] == "cloud"
    assert json.dumps(result["divergence"])


@pytest.mark.parametrize("name", ["silent", "ping"])
def test_a_node_that_can_not_even_start_is_not_the_same(name, tmp_path, monkeypatch):
    """Neither where it has something to say later, nor where its silence was recorded."""
    code = "from xtrace.engine.model import Model\n\n\nclass Silent(Model):\n    def on_init(self):\n        {}\n"
    for file, body in (("silent.py", "pass"), ("broken.py", "raise OSError('no licence')")):
        (tmp_path / file).write_text(code.format(body))
    shutil.copy(LIBRARY / "models" / "stubs.py", tmp_path)
    config = {"peer": "silent", "period_us": 5000}
    nodes = [
        {"id": "silent", "type": "t", "implementation": "python_model", "model": "silent.py:Silent"},
        {"id": "ping", "type": "t", "implementation": "python_model", "model": "stubs.py:Ping", "config": config},
    ]
    record(write_scenario(tmp_path, nodes), tmp_path / "run", "--set", "duration=20ms")
    monkeypatch.chdir(tmp_path)
    status, result = replay("run", "--node", name, "--with", "model=broken.py:Silent")
    assert status == 1
    assert result["expected_failure"] is False
    assert result["failure"]["step"] == 0
    assert "no licence" in result["failure"]["reason"]
    assert result["divergence"]["row_kind"] == "abort"
