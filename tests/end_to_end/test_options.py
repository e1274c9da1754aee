"""What is in force: options before variables before `xtrace.toml` before the scenario; and what `record` may remove."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .front_door import here, record, rows, xtrace  # noqa: TID252  # tests have no name to be imported by


def recorded_with(*options: object, cwd: Path, **variables: str) -> dict[str, object]:
    answer = xtrace("record", "smoke", "--json", *options, cwd=cwd, **variables)
    assert answer.status == 0, answer.err
    summary: dict[str, object] = answer.json
    return summary


def test_options_win_then_variables_then_the_file(tmp_path):
    assert recorded_with(cwd=tmp_path)["seed"] == 1
    (tmp_path / "xtrace.toml").write_text('seed = 3\nruns = "from the file"\nduration = "20ms"\n')
    summary = recorded_with(cwd=tmp_path)
    assert summary["seed"] == 3
    assert summary["run"] == str(tmp_path / "from the file" / "smoke-3")
    summary = recorded_with(cwd=tmp_path, XTRACE_SEED="4", XTRACE_RUNS="from a variable")
    assert (summary["seed"], summary["run"]) == (4, "from a variable/smoke-4")
    summary = recorded_with("--seed", 5, "-o", "named", "--duration", "10ms", cwd=tmp_path, XTRACE_SEED="4")
    assert (summary["seed"], summary["run"]) == (5, "named")
    steps = {
        name: here("info", tmp_path / name, "--json").json["steps"] for name in ("named", "from a variable/smoke-4")
    }
    assert steps["named"] < steps["from a variable/smoke-4"]


def test_doctor_shows_what_is_in_force_and_where_it_comes_from(tmp_path):
    (tmp_path / "xtrace.toml").write_text("seed = 3\n")
    answer = xtrace("doctor", cwd=tmp_path, XTRACE_DURATION="5s")
    assert "xtrace.toml" in answer.out
    assert "XTRACE_DURATION" in answer.out


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"XTRACE_SEED": "seven"}, "XTRACE_SEED"),
        ({"XTRACE_DURATION": "5"}, "5ms"),
        ({"XTRACE_COLOR": "red"}, "XTRACE_COLOR"),
    ],
)
def test_a_wrong_variable_is_named(variables, complaint, tmp_path):
    answer = xtrace("record", "smoke", cwd=tmp_path, **variables)
    assert (answer.status, answer.out) == (2, "")
    assert complaint in answer.err
    assert sorted(tmp_path.iterdir()) == []


def test_set_reaches_nodes_network_and_head(tmp_path):
    changes = ["nodes.ping.config.period_us=10000", "network={model: latency, base: 3ms}", "duration=50ms", "seed=9"]
    options = [word for change in changes for word in ("--set", change)]
    summary = record("smoke", tmp_path / "run", *options)
    assert summary["seed"] == 9
    pings = rows(tmp_path / "run", "kind = 'output' AND type = 'ping'")
    assert [row["time_us"] for row in pings] == [0, 10_000, 20_000, 30_000, 40_000]
    assert rows(tmp_path / "run", "kind = 'input' AND type = 'ping'")[0]["time_us"] == 3_000
    assert here("replay", tmp_path / "run", "--all").status == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("nodes.pin.config.period_us=1", "did you mean 'ping'"),
        ("nodes.ping.modle=x.py:X", "did you mean 'model'"),
        ("duration=5", "5ms"),
        ("nodes.ping.config.period_us", "path=value"),
        ("nodes.ping.config={a: 1, a: 2}", "a: the key is there already"),
        ("nodes.ping.config=!!python/name:os.system", "expected a mapping"),
    ],
)
def test_a_wrong_change_is_explained(change, complaint, tmp_path):
    answer = here("record", "smoke", "-o", tmp_path / "run", "--set", change)
    assert answer.status == 2
    assert complaint in answer.err
    assert not (tmp_path / "run").exists()


def test_a_dry_run_starts_and_writes_nothing(tmp_path, private):
    answer = xtrace("record", "machine_monitoring", "--dry-run", "-o", "run", cwd=tmp_path, **private)
    assert answer.status == 0, answer.err
    assert "ready to record" in answer.out
    assert [path.name for path in tmp_path.iterdir()] == ["private"]


def test_force_replaces_a_run_and_nothing_else(library, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(library["smoke"], run)
    answer = here("record", "smoke", "-o", run, "--seed", 2)
    assert answer.status == 2
    assert "--force" in answer.err
    assert here("info", run, "--json").json["seed"] == 1
    assert record("smoke", run, "--seed", 2, "--force")["seed"] == 2
    assert here("verify", run).status == 0

    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("three years")
    assert here("record", "smoke", "-o", precious, "--force").status == 2
    assert (precious / "thesis.txt").read_text() == "three years"
    assert here("record", "smoke", "-o", precious / "thesis.txt", "--force").status == 2
    assert (precious / "thesis.txt").read_text() == "three years"


def test_force_with_a_mistake_keeps_the_old_run(library, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(library["smoke"], run)
    for change in ("nodes.ping.model=absent.py:Ping", "nodes.ping.modle=1", "duration=5"):
        assert here("record", "smoke", "-o", run, "--force", "--set", change).status == 2
        assert here("verify", run).status == 0


def test_an_error_before_the_first_step_leaves_no_folder(tmp_path):
    answer = here("record", "smoke", "-o", tmp_path / "run", "--set", "nodes.ping.model=absent.py:Ping")
    assert answer.status == 2
    assert "absent.py" in answer.err
    assert not (tmp_path / "run").exists()


def test_nothing_is_recorded_into_a_run(library, tmp_path):
    """It would be a stranger there: `verify` would call the run damaged."""
    run = tmp_path / "run"
    shutil.copytree(library["smoke"], run)
    for command in (["record", "smoke", "-o", run / "again"], ["replay", run, "--all", "-o", run]):
        answer = here(*command)
        assert answer.status == 2
        assert "inside of the run" in answer.err
    assert here("verify", run).status == 0
