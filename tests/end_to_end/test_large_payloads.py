"""Payloads that are stored as objects are replayed and compared as if they stood in the log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from xtrace.capture.layout import OBJECT_MIN_BYTES
from xtrace.capture.reader import Run

from .front_door import NODES, here, record, write_scenario  # noqa: TID252  # tests have no name to be imported by

BYTES = 200_000


def scenario(folder: Path, *, secrets: dict[str, object] | None = None, **edge: object) -> Path:
    """Write camera → edge → cloud with frames of 200 KB, over a network with losses and a bandwidth."""
    nodes = [
        {"id": id, "type": id, "implementation": "python_model", "model": f"large.py:{id.title()}", "config": config}
        for id, config in (("camera", {"bytes": BYTES}), ("edge", edge), ("cloud", {}))
    ]
    network = {"model": "latency", "base": "2ms", "loss": 0.2, "bandwidth": "1Gbps"}
    path = write_scenario(folder, nodes, network=network, secrets=secrets or {})
    shutil.copy(NODES / "large.py", folder)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    record(scenario(folder / "system"), folder / "run")
    return folder / "run"


def test_large_payloads_are_objects(run: Path) -> None:
    opened = Run.open(run)
    frames = [stored.row for stored in opened.rows() if stored.row.type == "frame" and stored.row.kind != "drop"]
    assert len(frames) > 40
    assert all(row.payload == b"" and row.object for row in frames)
    assert all(len(opened.payload(row)) > BYTES >= OBJECT_MIN_BYTES for row in frames)


def test_every_node_replays_the_same_and_into_the_same_objects(run: Path, tmp_path: Path) -> None:
    answer = here("replay", run, "--all", "-o", tmp_path / "replays")
    assert answer.status == 0, answer.out + answer.err
    assert "4 of 4 nodes the same" in answer.out
    recorded = Run.open(run)
    for node in ("camera", "edge", "cloud"):
        replayed = Run.open(tmp_path / "replays" / node)
        rows = [stored.row for stored in recorded.rows() if stored.row.node == node]
        assert [stored.row for stored in replayed.rows() if stored.row.kind != "step"] == rows
        assert here("replay", replayed.path, "--all").status == 0
    assert here("verify", tmp_path / "replays" / "edge").status == 0


def test_a_replay_that_departs_names_the_field(run: Path) -> None:
    answer = here("replay", run, "--node", "edge", "--with", "config.change_from=3", "--json")
    assert answer.status == 1, answer.err
    divergence = answer.json["nodes"]["edge"]["divergence"]
    found = {key: divergence[key] for key in ("kind", "type", "field", "expected", "actual")}
    assert found == {"kind": "value", "type": "frame", "field": "$.labels.quality[2]", "expected": 3, "actual": 99}


def test_a_payload_that_becomes_small_is_compared_with_the_object(run: Path) -> None:
    answer = here("replay", run, "--node", "camera", "--with", "config.bytes=10", "--json")
    assert answer.status == 1, answer.err
    divergence = answer.json["nodes"]["camera"]["divergence"]
    assert (divergence["kind"], divergence["field"]) == ("value", "$.pixels")


def test_the_first_difference_of_two_runs_is_named_within_the_objects(run: Path, tmp_path: Path) -> None:
    record(scenario(tmp_path / "system", change_from=3), tmp_path / "other")
    answer = here("diff", run, tmp_path / "other", "--json")
    assert answer.status == 1, answer.err
    first = answer.json["first_divergence"]
    assert (first["node"], first["type"], first["field"]) == ("edge", "frame", "$.labels.quality[2]")
    assert (first["expected"], first["actual"]) == (3, 99)
    assert answer.json["nodes"] == {"camera": "same", "cloud": "same", "edge": "root", "network": "propagated"}
    assert here("diff", run, tmp_path / "other", "--node", "camera").status == 0


def test_an_object_that_was_changed_is_never_given_to_a_node(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    row = next(
        stored.row for stored in Run.open(copy).rows() if stored.row.type == "frame" and stored.row.node == "edge"
    )
    path = copy / "objects" / row.object
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    for command in (["replay", copy, "--node", "edge"], ["replay", copy, "--node", "network"]):
        answer = here(*command)
        assert answer.status == 2, answer.out
        assert row.object in answer.err


def test_secrets_are_replaced_before_a_payload_becomes_an_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2-hunter2")
    path = scenario(tmp_path / "system", secrets={"password": {"env": "PASSWORD"}})
    options = ["--set", "nodes.camera.config.password=${secret:password}"]
    model = path.parent / "large.py"
    key = '"key": self.config["password"], "number": self.number, "pixels"'
    model.write_text(model.read_text().replace('"number": self.number, "pixels"', key))
    record(path, tmp_path / "run", *options)
    for file in sorted((tmp_path / "run").rglob("*")):
        assert not file.is_file() or b"hunter2-hunter2" not in file.read_bytes(), file
    answer = here("replay", tmp_path / "run", "--all")
    assert answer.status == 0, answer.out + answer.err
    opened = Run.open(tmp_path / "run")
    assert any(b"<secret:password>" in opened.payload(stored.row) for stored in opened.rows() if stored.row.object)
