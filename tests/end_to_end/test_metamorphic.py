"""What must not matter does not: the order of the YAML, who answers first, a node that nobody talks to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    LIBRARY,
    NODES,
    here,
    record,
    rows,
    write_scenario,
)


def worker(name: str, *to: str, every_us: int, **options: object) -> dict[str, Any]:
    config = {"every_us": every_us, "to": list(to)}
    command = {"implementation": "process", "command": ["{python}", "worker.py"]}
    return {"id": name, "type": "worker", **command, "config": config, **options}


NETWORK = {"model": "latency", "base": "2ms", "jitter": "1500us", "loss": 0.1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "scenario"
    path.mkdir()
    shutil.copy(NODES / "worker.py", path)
    return path


def workers() -> list[dict[str, Any]]:
    return [
        worker("a", "b", "c", every_us=3000),
        worker("b", "c", "a", every_us=2000, transport="unix"),
        worker("c", "a", every_us=5000, transport="tcp"),
    ]


def same(a: Path, b: Path, *nodes: str) -> bool:
    answer = here("diff", a, b, "--json", *(f"--node={node}" for node in nodes))
    assert answer.status in (0, 1), answer.err
    identical: bool = answer.json["identical"]
    return identical


def test_the_order_in_which_external_nodes_answer(folder, tmp_path):
    scenario = write_scenario(folder, workers(), network=NETWORK)
    for name, delays in (("abc", {"b": 4, "c": 8}), ("cba", {"a": 8, "b": 4}), ("together", {})):
        (folder / "delays.json").write_text(json.dumps(delays))
        record(scenario, tmp_path / name)
    for name in ("cba", "together"):
        assert same(tmp_path / "abc", tmp_path / name)
        assert (tmp_path / "abc" / "events.arrow").read_bytes() == (tmp_path / name / "events.arrow").read_bytes()
    heard = rows(tmp_path / "abc", "type = 'heard'")
    assert {row["node"] for row in heard} == set("abc")
    assert rows(tmp_path / "abc", "kind = 'drop'")


def test_the_order_of_the_nodes_in_the_file(folder, tmp_path):
    for number, nodes in enumerate([workers(), workers()[::-1], [workers()[i] for i in (1, 0, 2)]]):
        record(write_scenario(folder, nodes, network=NETWORK), tmp_path / str(number))
    for number in (1, 2):
        assert same(tmp_path / "0", tmp_path / str(number))
        assert (tmp_path / "0" / "events.arrow").read_bytes() == (tmp_path / str(number) / "events.arrow").read_bytes()


def test_the_order_of_every_mapping_and_list_of_a_library_scenario(monitoring, tmp_path):
    library = tmp_path / "library"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    document = yaml.safe_load((library / "machine_monitoring.yaml").read_text())
    document["nodes"].reverse()
    document["network"]["links"].reverse()
    turned = {key: document[key] for key in reversed(document)}
    turned["nodes"] = [{key: node[key] for key in reversed(node)} for node in turned["nodes"]]
    (library / "turned.yaml").write_text(yaml.safe_dump(turned, sort_keys=False))
    record(library / "turned.yaml", tmp_path / "run")
    assert same(monitoring, tmp_path / "run")
    assert (monitoring / "events.arrow").read_bytes() == (tmp_path / "run" / "events.arrow").read_bytes()


@pytest.mark.parametrize("name", ["a0", "zz"], ids=["sorted first", "sorted last"])
def test_an_added_node_that_nobody_talks_to(name, folder, tmp_path):
    record(write_scenario(folder, workers(), network=NETWORK), tmp_path / "without")
    hermit = worker(name, every_us=1000)
    record(write_scenario(folder, [hermit, *workers()], network=NETWORK), tmp_path / "with")
    assert same(tmp_path / "without", tmp_path / "with", "a", "b", "c")
    assert same(tmp_path / "without", tmp_path / "with", "network")


def test_an_added_node_that_somebody_talks_to_leaves_the_other_links_as_they_were(folder, tmp_path):
    record(write_scenario(folder, workers(), network=NETWORK), tmp_path / "without")
    talker = worker("talker", "listener", every_us=1000)
    record(
        write_scenario(folder, [*workers(), talker, worker("listener", every_us=9000)], network=NETWORK),
        tmp_path / "with",
    )
    assert rows(tmp_path / "with", "node = 'listener' AND type = 'heard'")
    assert same(tmp_path / "without", tmp_path / "with", "a", "b", "c")
    assert not same(tmp_path / "without", tmp_path / "with", "network")


def test_the_step_does_not_matter_where_every_latency_is_longer(folder, tmp_path):
    network = {**NETWORK, "base": "4ms"}
    for step in ("4ms", "2ms", "1ms"):
        record(write_scenario(folder, workers(), network=network, step=step), tmp_path / step)
    columns = (
        "SELECT time_us, kind, node, src, dst, type, late_us, payload FROM events WHERE kind IN ('output', 'input')"
    )
    texts = {
        here("query", tmp_path / step, f"{columns} ORDER BY ALL", "--format", "csv").out
        for step in ("4ms", "2ms", "1ms")
    }
    assert len(texts) == 1


def test_what_does_matter_is_seen(folder, tmp_path):
    """The relations above are no tautology: another seed of the run, another loss, another period all show."""
    record(write_scenario(folder, workers(), network=NETWORK), tmp_path / "one")
    record(folder / "scenario.yaml", tmp_path / "seed", "--seed", 2)
    record(folder / "scenario.yaml", tmp_path / "loss", "--set", "network.loss=0.3")
    record(folder / "scenario.yaml", tmp_path / "period", "--set", "nodes.c.config.every_us=6000")
    for name in ("seed", "loss", "period"):
        assert not same(tmp_path / "one", tmp_path / name)
