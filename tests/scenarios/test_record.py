"""What the nodes of a scenario refuse is reported together, and none that was built is left behind."""

from __future__ import annotations

import pytest

from xtrace.bridges import onnx
from xtrace.bridges.csv import CsvNode
from xtrace.engine.errors import InputError, MissingDependency
from xtrace.scenarios.loader import load
from xtrace.scenarios.record import dry_run, record

METER = "implementation: csv, time_column: t, time_format: s, value_columns: [v], send_to: b"
EDGE = "implementation: onnx, inputs: {x: $.x}, send_to: a"
SCENARIO = f"""\
duration: 10ms
nodes:
  - {{id: a, type: meter, file: here.csv, {METER}}}
  - {{id: b, type: meter, file: missing.csv, {METER}}}
  - {{id: c, type: edge, model: missing.onnx, {EDGE}}}
  - {{id: d, type: meter, file: here.csv, {METER}}}
"""


@pytest.fixture(params=["record", "force", "dry run"])
def attempt(request, tmp_path):
    """Try a scenario in each of the ways that build its nodes."""

    def carry_out(scenario):
        if request.param == "dry run":
            dry_run(scenario)
        else:
            record(scenario, tmp_path / "run", force=request.param == "force")

    return carry_out


@pytest.fixture
def files(tmp_path):
    (tmp_path / "here.csv").write_text("t,v\n0,1\n")
    return tmp_path


@pytest.fixture
def ended(monkeypatch):
    """The nodes that were shut down."""
    nodes = []
    monkeypatch.setattr(CsvNode, "shutdown", lambda self: nodes.append(self._node))
    return nodes


def test_the_problems_of_all_nodes_are_one_error(attempt, write, files, ended):
    with pytest.raises(InputError) as caught:
        attempt(load(write(SCENARIO)))
    assert caught.value.where == "case"
    first, second = caught.value.problems
    assert first.startswith("node 'b': file 'missing.csv': no such file")
    assert second.startswith("node 'c': missing.onnx: no such file")
    assert ended == ["a", "d"]
    assert not (files / "run").exists()


def test_the_problem_of_one_node_is_its_own_error(attempt, write, files, ended):
    with pytest.raises(InputError) as caught:
        attempt(load(write(SCENARIO.replace("missing.onnx", "here.csv").replace("missing.csv", "here.csv"))))
    assert caught.value.where == "node 'c': model 'here.csv'"
    assert ended == ["a", "b", "d"]


@pytest.mark.parametrize(("file", "error"), [("here.csv", MissingDependency), ("missing.csv", InputError)])
def test_a_missing_package_is_reported_with_the_rest(attempt, write, files, ended, monkeypatch, file, error):
    def absent(_model, *, where):
        raise MissingDependency("onnxruntime", needed_by=where, install="pip install onnxruntime")

    monkeypatch.setattr(onnx, "open_session", absent)
    with pytest.raises(error, match="pip install onnxruntime") as caught:
        attempt(load(write(SCENARIO.replace("missing.onnx", "here.csv").replace("missing.csv", file))))
    assert ("missing.csv" in str(caught.value)) == (file == "missing.csv")
    assert not (files / "run").exists()
