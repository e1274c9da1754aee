"""`xtrace record`."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest


def test_the_summary_says_what_was_recorded_and_what_to_type_next(xtrace, scenario_file, recorded):
    answer = xtrace("record", scenario_file, "-o", "out")
    assert answer.status == 0
    assert answer.out.splitlines()[0] == "talk: complete, 101 steps, 397 events, seed 1"
    assert answer.out.splitlines()[2] == "run          out"
    assert answer.err == "next: xtrace replay out --all\n"


def test_the_summary_as_json(xtrace, scenario_file):
    answer = xtrace("record", scenario_file, "-o", "out", "--json", "--seed", 7, "--duration", "10ms")
    summary = json.loads(answer.out)
    assert (answer.status, answer.err) == (0, "")
    assert summary["fingerprint"].startswith("xt1:sha256:")
    del summary["fingerprint"], summary["events"]
    assert summary == {
        "run": "out", "scenario": "talk", "seed": 7, "status": "complete", "steps": 11, "failure": None
    }  # fmt: skip


def test_runs_without_a_folder_never_overwrite_one_another(xtrace, scenario_file, monkeypatch):
    runs = [json.loads(xtrace("record", scenario_file, "--json").out)["run"] for _ in range(3)]
    assert runs == ["runs/talk-1", "runs/talk-1-2", "runs/talk-1-3"]
    monkeypatch.setenv("XTRACE_RUNS", "other")
    monkeypatch.setenv("XTRACE_SEED", "5")
    assert json.loads(xtrace("record", scenario_file, "--json").out)["run"] == "other/talk-5"


def test_options_win_over_the_settings(xtrace, scenario_file, tmp_path):
    (tmp_path / "xtrace.toml").write_text('seed = 3\nduration = "5ms"')
    summary = json.loads(xtrace("record", scenario_file, "--json").out)
    assert (summary["seed"], summary["steps"]) == (3, 6)
    summary = json.loads(xtrace("record", scenario_file, "--json", "--seed", 4, "--duration", "6ms").out)
    assert (summary["seed"], summary["steps"]) == (4, 7)


def test_a_dry_run_leaves_nothing(xtrace, scenario_file, tmp_path):
    answer = xtrace("record", scenario_file, "--dry-run")
    assert answer.status == 0
    assert answer.out == "talk: ready to record: 2 nodes, 0.100000s in steps of 0.001000s, seed 1\n"
    facts = json.loads(xtrace("record", scenario_file, "--dry-run", "--json").out)
    assert facts["nodes"] == ["listener", "talker"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_finds_a_class_that_is_not_there(xtrace, scenario_file):
    answer = xtrace("record", scenario_file, "--dry-run", "--set", "nodes.talker.model=model.py:Walker")
    assert answer.status == 2
    assert "Walker" in answer.err


def test_a_run_is_replaced_by_force_only(xtrace, scenario_file):
    assert xtrace("record", scenario_file, "-o", "out").status == 0
    again = xtrace("record", scenario_file, "-o", "out")
    assert again.status == 2
    assert "--force" in again.err
    assert xtrace("record", scenario_file, "-o", "out", "--force").status == 0


def test_an_empty_folder_name_is_no_default(xtrace, scenario_file, tmp_path):
    answer = xtrace("record", scenario_file, "-o", "")
    assert (answer.status, answer.err) == (2, "xtrace: -o: is empty; give a path\n")
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_of_the_options_are_reported(xtrace, scenario_file):
    answer = xtrace("record", scenario_file, "--set", "sede=1", "--set", "step=2", "--duration", "5")
    assert answer.status == 2
    for word in ("sede", "step", "duration"):
        assert word in answer.err


def test_a_failure_names_node_step_time_reason_and_the_command_that_replays_it(xtrace, scenario_file):
    answer = xtrace("record", scenario_file, "-o", "my out", "--set", "nodes.talker.config.fail_at=10")
    assert answer.status == 1
    assert answer.out.startswith("talk: failed, ")
    assert "node 'talker' crashed in step 11, virtual time 0.010000s: " in answer.err
    assert answer.err.count("virtual time") == 1
    assert "out of \\x1b[31mwords" in answer.err
    assert "\x1b" not in answer.err
    assert "xtrace replay 'my out' --node talker" in answer.err
    assert xtrace("verify", "my out").status == 0


def test_a_failure_as_json(xtrace, scenario_file):
    answer = xtrace("record", scenario_file, "-o", "out", "--json", "--set", "nodes.talker.config.fail_at=10")
    summary = json.loads(answer.out)
    assert answer.status == 1
    assert summary["status"] == "failed"
    failure = summary["failure"]
    assert (failure["error"], failure["node"], failure["step"]) == ("NodeCrashed", "talker", 11)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_closed_and_valid(number, xtrace, xtrace_command, scenario_file, tmp_path):
    out = tmp_path / "out"
    command = xtrace_command("record", str(scenario_file), "-o", str(out), "--duration", "10d")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waited = 0.0
    while not (out / "events.arrow").exists() and waited < 30:
        time.sleep(0.1)
        waited += 0.1
    time.sleep(0.5)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "talk: interrupted, " in stdout
    assert xtrace("verify", out).status == 0
    assert json.loads(xtrace("info", out, "--json").out)["status"] == "interrupted"
