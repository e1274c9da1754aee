import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from xtrace.bridges.onnx import DTYPES, OnnxNode, to_array, to_tensor
from xtrace.engine.errors import InputError, MissingDependency, NodeCrashed
from xtrace.engine.event import NEVER, Event
from xtrace.engine.node import NodeSpec, Setup, Workspace
from xtrace.engine.values import decode, encode

OPTIONS = {
    "model": "sum.onnx",
    "accepts": "features",
    "inputs": {"x": "$.features"},
    "outputs": {"total": "y"},
    "pass": ["machine"],
    "sends": "sum",
    "send_to": "sink",
}
GOOD = {"features": [1, 2.5, 3], "machine": "m"}


def write_model(path: Path) -> onnx.ModelProto:
    """Write a model that sends [n, 3] to its sums over rows, [n], and to its double."""
    weights = numpy_helper.from_array(np.array(2, np.float32), "two")
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0), helper.make_node("Mul", ["x", "two"], ["z"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3]),
        ],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return model


def make(folder: Path, **options: Any) -> OnnxNode:
    if not (folder / "sum.onnx").exists():
        write_model(folder / "sum.onnx")
    spec = NodeSpec("edge", "detector", "onnx", {**OPTIONS, **options})
    node = OnnxNode(spec, Workspace(folder, logs=folder))
    node.init(Setup("edge", "detector", 1, {}))
    return node


def event(payload: Any, *, time_us: int = 5, id: int = 1, type: str = "features") -> Event:
    return Event(id, time_us, "gateway", type, payload)


def test_answers_with_what_the_model_computes(tmp_path: Path) -> None:
    """One element becomes a number, fields are passed on, the cause is the event, other types are ignored."""
    done = make(tmp_path).advance(0, 10, [event(GOOD), event(None, id=2, type="other")])
    assert [tuple(output) for output in done.outputs] == [(5, "sink", "sum", {"machine": "m", "total": 6.5}, (1,))]
    assert done.next_time_us == NEVER


def test_tensors_in_and_out(tmp_path: Path) -> None:
    """A tensor is taken as it is and answered as one, also of one element if so asked."""
    node = make(tmp_path, outputs={"double": "z", "total": "y"}, scalars=False)
    tensor = to_tensor(np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    answer = node.advance(0, 10, [event({"features": tensor, "machine": 1})]).outputs[0].payload
    assert to_tensor(np.array([[2, 4, 6], [8, 10, 12]], np.float32)) == answer["double"]
    assert {"dtype": "float32", "shape": [], "data": np.float32(21).tobytes()} == answer["total"]


def test_events_wait_for_their_turn(tmp_path: Path) -> None:
    """With a service time answers come one after the other, also beyond the step."""
    node = make(tmp_path, service_time=4)
    done = node.advance(0, 10, [event(GOOD, time_us=5), event(GOOD, time_us=6, id=2)])
    assert ([output.time_us for output in done.outputs], done.next_time_us) == ([9], 13)
    assert [(output.time_us, output.cause) for output in node.advance(10, 20, []).outputs] == [(13, (2,))]


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"machine": "m"}, "$.features: no such field"),
        ({"features": [1, 2, 3]}, "$.machine: no such field"),
        (None, "$.machine: no such field"),
        ({**GOOD, "features": [1, 2]}, "$.features: the shape is [1, 2], the model takes [any, 3]"),
        ({**GOOD, "features": [[1, 2, 3], [1]]}, "$.features: the lists in it differ in length"),
        ({**GOOD, "features": [1, 2, "3"]}, "$.features: '3' is not a number that fits into float32"),
        ({**GOOD, "features": [1, 2, True]}, "$.features: True is not a number"),
        ({**GOOD, "features": [1, 2, float("nan")]}, "$.features: element [0, 2] is nan"),
        ({**GOOD, "features": [1, 2, 1e39]}, "$.features: element [0, 2] is inf"),
        ({**GOOD, "features": {"dtype": "float32"}}, "$.features: a tensor has the keys"),
        ({**GOOD, "features": {"dtype": "float64", "shape": [1, 3], "data": bytes(24)}}, "of type float64"),
        ({**GOOD, "features": {"dtype": "float32", "shape": [1, 3], "data": bytes(11)}}, "data is 11 bytes"),
        ({**GOOD, "features": {"dtype": "float32", "shape": [-1, 3], "data": b""}}, "is not the shape"),
        ({**GOOD, "features": {"dtype": "float32", "shape": [3, 1], "data": bytes(12)}}, "the shape is [3, 1]"),
    ],
)
def test_payloads_that_the_model_cannot_take(tmp_path: Path, payload: Any, text: str) -> None:
    """The failure names node, event and field."""
    with pytest.raises(NodeCrashed) as caught:
        make(tmp_path).advance(0, 10, [event(payload)])
    assert caught.value.reason.startswith("event 'features' from 'gateway' at 5 us: ")
    assert text in caught.value.reason


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"inputs": {}}, "inputs.x: missing"),
        ({"inputs": {"x": "$.a", "xx": "$.b"}}, "inputs.xx: the model has no such input; did you mean 'x'?"),
        ({"inputs": {"x": "features"}}, "'features' is not a field path"),
        ({"outputs": {"total": "why"}}, "outputs.total: the model has no output 'why'"),
        ({"pass": ["total"]}, "outputs.total: `pass` fills the same field"),
        ({"model": "none.onnx"}, "no such file"),
    ],
)
def test_mistakes_in_options(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    """What doesn't fit the model is found before anything starts."""
    with pytest.raises(InputError) as caught:
        make(tmp_path, **options)
    assert text in str(caught.value)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Every wrong option is reported, not only the first."""
    with pytest.raises(InputError) as caught:
        make(tmp_path, inputs={"a": "$.a"}, outputs={"b": "b"}, **{"pass": ["b"]})
    assert len(caught.value.problems) == 4


def test_external_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that keeps tensors in another file is refused, even where that file can be found."""
    model = write_model(tmp_path / "sum.onnx")
    onnx.save_model(model, tmp_path / "sum.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="external data"):
        make(tmp_path)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """Garbage is an InputError that names the file."""
    (tmp_path / "sum.onnx").write_bytes(b"\0garbage")
    with pytest.raises(InputError, match=r"'sum.onnx': onnxruntime can't load it"):
        make(tmp_path)


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing onnxruntime is an error with the command that gets it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency) as caught:
        make(tmp_path)
    assert "pip install 'xtrace-toolkit[onnx]'" in str(caught.value)


def test_importing_the_bridge_imports_nothing_heavy() -> None:
    """onnxruntime and numpy are loaded by the scenario that needs them, and by no other."""
    code = "import sys, xtrace.bridges.onnx; sys.exit(bool({'onnxruntime', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(
    hnp.arrays(
        st.sampled_from(sorted(DTYPES.values())),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
)
def test_tensors_survive_to_the_bit(array: Any) -> None:
    """Array -> payload -> bytes -> payload -> array gives back every bit; only NaN and infinity are refused."""
    tensor = decode(encode(to_tensor(array)))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        with pytest.raises(ValueError, match="not a finite number"):
            to_array(tensor, dtype=array.dtype.name, shape=array.shape)
        assert tensor["data"] == array.tobytes()
        return
    back = to_array(tensor, dtype=array.dtype.name, shape=array.shape)
    assert (array.dtype, array.shape, array.tobytes()) == (back.dtype, back.shape, back.tobytes())


@given(hnp.arrays(np.float32, (2, 3), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_float32_as_numbers_is_exact(array: Any) -> None:
    """A float32 written as a number, or in lists, comes back the same float32."""
    back = to_array(decode(encode(array.tolist())), dtype="float32", shape=["n", 3])
    assert array.tobytes() == back.tobytes()
