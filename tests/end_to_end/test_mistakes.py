"""A scenario with seven mistakes: all seven are reported at once, each with its path and what may have been meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from .front_door import xtrace  # noqa: TID252  # tests have no name to be imported by

SCENARIO = """\
description: Seven mistakes.
expected: All of them are named.
sede: 7
duration: 40
network:
  model: latancy
nodes:
  - id: sensor
    type: sensor
    implementation: pyhton_model
    model: machine.py:Sensor
  - id: edge
    type: detector
    implementation: onnx
    modell: anomaly.onnx
    inputs: {features: $.features}
    outputs: {score: score}
    send_to: sensor
    sends: score
    accepts: features
    service_time: 4
  - id: edge
    type: cloud
    implementation: python_model
    model: machine.py:Cloud
    config: [1, 2]
"""
MISTAKES = [
    ("sede", "'seed'"),
    ("duration", "40ms"),
    ("network.model", "'latency'"),
    ("nodes[0].implementation", "'python_model'"),
    ("nodes[1].modell", "'model'"),
    ("nodes[1].service_time", "4ms"),
    ("nodes[2].id", "'edge'"),
]


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text(SCENARIO.replace("    config: [1, 2]\n", ""))
    return path


@pytest.mark.parametrize("command", [["record", "-o", "run"], ["record", "--dry-run"], ["scenarios", "validate"]])
def test_all_seven_are_reported(command, wrong, tmp_path):
    answer = xtrace(*command, wrong, cwd=tmp_path)
    assert answer.status == 2
    text = answer.out + answer.err
    assert "7 mistakes" in text
    lines = [line.strip() for line in text.splitlines()]
    for place, suggestion in MISTAKES:
        (line,) = [line for line in lines if line.startswith(f"{place}: ")]
        assert suggestion in line, line
    assert not (tmp_path / "run").exists()


UNDELIVERABLE = """\
duration: 10ms
nodes:
  - {id: gateway, type: stub, implementation: python_model, model: absent.py:Gateway}
  - {id: meter, type: meter, implementation: csv, file: m.csv, time_column: t, value_columns: [v], send_to: gatway}
  - {id: edge, type: edge, implementation: onnx, model: e.onnx, inputs: {x: $.x}, outputs: {y: y}, send_to: zz}
"""


@pytest.mark.parametrize("command", [["record", "-o", "run"], ["record", "--dry-run"], ["scenarios", "validate"]])
def test_nodes_that_send_to_no_node_are_reported(command, tmp_path):
    (tmp_path / "wrong.yaml").write_text(UNDELIVERABLE)
    answer = xtrace(*command, "wrong.yaml", cwd=tmp_path)
    assert answer.status == 2
    text = answer.out + answer.err
    assert "nodes[1].send_to: unknown node 'gatway'; did you mean 'gateway'? (line 4)" in text
    assert "nodes[2].send_to: unknown node 'zz'; known: edge, gateway, meter (line 5)" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [["-o", "run"], ["--dry-run"]], ids=["record", "dry-run"])
def test_the_missing_files_of_all_nodes_are_reported(options, tmp_path):
    (tmp_path / "wrong.yaml").write_text(UNDELIVERABLE.replace("gatway", "gateway").replace("zz", "gateway"))
    answer = xtrace("record", "wrong.yaml", *options, cwd=tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert "wrong: 3 mistakes" in answer.err
    for node, file in {"gateway": "absent.py", "meter": "m.csv", "edge": "e.onnx"}.items():
        (line,) = [line for line in answer.err.splitlines() if f"node {node!r}" in line]
        assert file in line
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


def test_one_more_is_reported_too(wrong, tmp_path):
    wrong.write_text(SCENARIO)
    answer = xtrace("record", wrong, cwd=tmp_path)
    assert answer.status == 2
    assert "8 mistakes" in answer.err
    assert "nodes[2].config: " in answer.err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", ""),
        (b"\xff\xfe\x00", ""),
        (b"nodes: [1, 2", "x.yaml:1:13: "),
        (b"a: &a [*a, *a]", ""),
        (b"nodes: !!python/object/apply:os.system ['touch hacked']", "tag"),
        (b"[" * 5000, ""),
        (b"seed: 1\nseed: 2\n", "seed"),
        (b"a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n", ""),
    ],
    ids=["empty", "binary", "unfinished", "loop", "object", "deep", "twice", "aliases"],
)
def test_a_hostile_file_is_refused_in_words(content, complaint, tmp_path):
    (tmp_path / "x.yaml").write_bytes(content)
    answer = xtrace("record", "x.yaml", cwd=tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert "x.yaml" in answer.err
    assert complaint in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.yaml"]
