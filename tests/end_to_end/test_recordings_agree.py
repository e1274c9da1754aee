"""Equal seed, equal run: whatever the surroundings, two recordings have the same fingerprint and the same bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .front_door import LIBRARY, here, record, rows, xtrace  # noqa: TID252  # tests have no name to be imported by

DETERMINISTIC = ("events.arrow", "events.index", "nodes.index")
SURROUNDINGS = {
    "hash_seed": {"PYTHONHASHSEED": "4242"},
    "far_east": {"TZ": "Pacific/Kiritimati", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    "half_hour": {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
    "optimised": {"PYTHONOPTIMIZE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    "threads": {"OMP_NUM_THREADS": "7", "ARROW_IO_THREADS": "1", "MALLOC_PERTURB_": "85"},
}


@pytest.fixture
def load() -> Iterator[None]:
    """Three processes that want two cores."""
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(3)]
    yield
    for process in busy:
        process.kill()
        process.wait()


def assert_same_run(expected: Path, actual: Path) -> None:
    for name in DETERMINISTIC:
        assert (expected / name).read_bytes() == (actual / name).read_bytes(), name
    answer = here("diff", expected, actual, "--json")
    assert answer.status == 0, answer.err
    assert answer.json["identical"] is True
    assert answer.json["first_divergence"] is None
    assert set(answer.json["nodes"].values()) == {"same"}
    assert fingerprint(expected) == fingerprint(actual)


def fingerprint(run: Path) -> str:
    text: str = here("info", run, "--json").json["fingerprint"]
    return text


@pytest.mark.parametrize("variables", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def test_surroundings_change_nothing(variables, monitoring, tmp_path):
    answer = xtrace("record", "machine_monitoring", "-o", "again", cwd=tmp_path, **variables)
    assert answer.status == 0, answer.err
    assert_same_run(monitoring, tmp_path / "again")


def test_load_changes_nothing(load, monitoring, tmp_path):
    assert xtrace("record", "machine_monitoring", "-o", tmp_path / "again").status == 0
    assert_same_run(monitoring, tmp_path / "again")


def test_neither_the_working_directory_nor_the_place_of_the_scenario_changes_anything(monitoring, tmp_path):
    folder = tmp_path / "with space, ünïcode"
    shutil.copytree(LIBRARY, folder / "scenarios", ignore=shutil.ignore_patterns("__pycache__"))
    answer = xtrace("record", "machine_monitoring.yaml", "-o", "../../again", cwd=folder / "scenarios")
    assert answer.status == 0, answer.err
    assert_same_run(monitoring, tmp_path / "again")


def test_another_seed_is_another_run_and_diff_says_where_first(monitoring, tmp_path):
    other = tmp_path / "other"
    assert record("machine_monitoring", other, "--seed", 7)["fingerprint"] != fingerprint(monitoring)
    first = next(
        (a, b)
        for a, b in zip(rows(monitoring, "step < 9"), rows(other, "step < 9"), strict=False)
        if {**a, "cause": 0} != {**b, "cause": 0}
    )[0]

    answer = here("diff", monitoring, other, "--json")
    assert (answer.status, answer.err) == (1, "")
    divergence = answer.json["first_divergence"]
    assert answer.json["identical"] is False
    assert divergence["step"] == first["step"]
    assert divergence["time_us"] == first["time_us"]
    assert divergence["node"] == first["node"] == "sensor_a"
    assert (divergence["kind"], divergence["type"], divergence["field"]) == ("value", "frame", "$.samples[0]")
    assert divergence["expected"] != divergence["actual"]
    verdicts = answer.json["nodes"]
    assert sorted(node for node, verdict in verdicts.items() if verdict == "root") == ["sensor_a", "sensor_b"]

    answer = xtrace("diff", monitoring, other)
    assert answer.status == 1
    assert "note: seed differs: 42 / 7\n" in answer.out
    assert "step 4, virtual time 0.032000s, node sensor_a\n" in answer.out
    assert "field     $.samples[0]\n" in answer.out


def test_a_planted_source_of_nondeterminism_is_seen(tmp_path):
    """These tests mean something: a model that asks the clock gives two runs."""
    folder = tmp_path / "scenarios"
    shutil.copytree(LIBRARY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    stubs = folder / "models" / "stubs.py"
    text = stubs.read_text().replace("self.random.randrange(6) + 1", "__import__('time').time_ns()")
    stubs.write_text(text)
    record(folder / "smoke.yaml", tmp_path / "a")
    record(folder / "smoke.yaml", tmp_path / "b")
    answer = here("diff", tmp_path / "a", tmp_path / "b", "--json")
    assert answer.status == 1
    assert answer.json["first_divergence"]["node"] == "ping"
    assert answer.json["first_divergence"]["field"] == "$.dice"
