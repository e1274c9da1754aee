"""Nodes that are an ONNX model: `implementation: onnx`, run by onnxruntime on one CPU thread.

A tensor in a payload is `{"dtype": "float32", "shape": [1, 8], "data": <its bytes, little-endian, row by row>}`: exact
to the bit. Numbers and (nested) lists of numbers are accepted as inputs too and converted to the model's type.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from xtrace.engine.errors import InputError, MissingDependency, NodeCrashed
from xtrace.engine.event import Done, Event
from xtrace.engine.model import Model
from xtrace.engine.node import Node, NodeSpec, Option, Setup, Workspace
from xtrace.engine.values import Value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

INSTALL = "pip install 'xtrace-toolkit[onnx]'"
NO_FOLDER = "/nonexistent/xtrace-refuses-external-data"
DTYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
"""The tensor types that are supported: name in ONNX -> name in payloads and numpy."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class OnnxNode(Node):
    """Answers events with what the model computes from their payload."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "model": Option("string", "the .onnx file, relative to the scenario; without external data", required=True),
        "accepts": Option("string", "the type of event to react to; others are ignored (default: react to all)"),
        "inputs": Option("mapping", "model input -> field of the payload, `$.features`", required=True),
        "outputs": Option("mapping", "field of the answer -> model output (default: all outputs by their names)"),
        "pass": Option("strings", "fields of the payload that are copied into the answer"),
        "send_to": Option("node", "the node that gets the answers", required=True),
        "sends": Option("string", "the type of the answers", default="inference"),
        "service_time": Option("duration", "how long one answer takes; events wait for their turn", default=0),
        "scalars": Option("boolean", "send an output of one element as a number, not as a tensor", default=True),
    }

    def __init__(self, spec: NodeSpec, workspace: Workspace) -> None:
        model = str(spec.options["model"])
        where = f"node {spec.id!r}: model {model!r}"
        session = open_session(workspace.read(model), where=where)
        fields = {output.name: output.name for output in session.get_outputs()}
        self._inference = Inference(
            session,
            where=where,
            inputs=spec.options["inputs"],
            outputs=spec.options.get("outputs") or fields,
            options=spec.options,
        )

    @property
    def packages(self) -> Sequence[str]:
        """The packages that compute."""
        return ("numpy", "onnxruntime")

    def init(self, setup: Setup) -> None:
        """Start at virtual time 0."""
        self._inference.start(setup)
        self.advance = self._inference.advance  # type: ignore[method-assign]  # spares the hot loop a call

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        """Replaced in `init` by the `advance` of the inference."""
        raise AssertionError("advance before init")


class Inference(Model):
    """One server: takes events in order, each for `service_time`, and answers with the model's outputs."""

    def __init__(
        self,
        session: Any,
        *,
        where: str,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> None:
        self._session = session
        self._accepts = options.get("accepts") or None
        self._pass = tuple(options.get("pass") or ())
        self._send_to, self._sends = options["send_to"], options.get("sends", "inference")
        self._service_time_us = options.get("service_time", 0)
        self._scalars = options.get("scalars", True)
        self._free_us = 0
        problems = [*_check_inputs(session, inputs), *_check_outputs(session, outputs, self._pass)]
        if problems:
            raise InputError(where, problems)
        self._feed_plan = [
            (node.name, inputs[node.name], _field(inputs[node.name]), DTYPES[node.type], node.shape)
            for node in session.get_inputs()
        ]
        self._answer_plan = dict(sorted(outputs.items()))

    def on_event(self, event: Event) -> None:
        """Answer an event of the accepted type. Raises NodeCrashed for a payload that the model can't take."""
        if self._accepts not in (None, event.type):
            return
        answer = {name: self._copied(name, event) for name in self._pass}
        answer.update(self._computed(event))
        self._free_us = max(self._free_us, self.now_us) + self._service_time_us
        self.send(self._send_to, self._sends, answer, delay_us=self._free_us - self.now_us)

    def _copied(self, name: str, event: Event) -> Value:
        if not isinstance(event.payload, dict) or name not in event.payload:
            raise self._crash(event, f"$.{name}: no such field in the payload")
        return event.payload[name]

    def _computed(self, event: Event) -> dict[str, Value]:
        feeds = {}
        for name, path, field, dtype, shape in self._feed_plan:
            try:
                feeds[name] = to_array(field(event.payload), dtype=dtype, shape=shape)
            except (LookupError, TypeError, ValueError, OverflowError) as error:
                raise self._crash(event, f"{path}: {error.args[0] if error.args else error}") from error
        try:
            arrays = self._session.run(list(self._answer_plan.values()), feeds)
        except Exception as error:  # onnxruntime's own classes derive from nothing narrower
            raise self._crash(event, f"the model failed: {str(error).splitlines()[0]}") from error
        return {
            field: array.item() if self._scalars and array.size == 1 else to_tensor(array)
            for field, array in zip(self._answer_plan, arrays, strict=True)
        }

    def _crash(self, event: Event, reason: str) -> NodeCrashed:
        return NodeCrashed(self.node_id, f"event {event.type!r} from {event.src!r} at {event.time_us} us: {reason}")


def open_session(model: bytes, *, where: str) -> Any:
    """Return the onnxruntime session of `model`: one thread, one order of operations, nothing read from other files.

    Raises MissingDependency and InputError.
    """
    # Otherwise it reports to its maker and leaves files in the home and temporary folders; who wants that sets it to 0.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency("onnxruntime", needed_by="implementation 'onnx'", install=INSTALL) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # beyond "extended" the layout of the data, and with it the last bits, depends on the CPU
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    # without this, tensors kept in files of their own would be looked for in the working directory
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes derive from nothing narrower
        if NO_FOLDER in str(error) or "external" in str(error).lower():
            reason = "it keeps tensors in other files (external data); save it as one file"
        else:
            reason = f"onnxruntime can't load it: {str(error).splitlines()[0]}"
        raise InputError(where, reason) from error


def to_tensor(array: Array) -> dict[str, Value]:
    """Return `array` as a payload value, bit for bit."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": little.tobytes()}


def to_array(value: Value, *, dtype: str, shape: Sequence[int | str | None]) -> Array:
    """Return the payload value `value` as an array of the type and shape of a model input.

    In `shape` only integers are binding. Lists may leave out leading dimensions of size 1. Raises TypeError or
    ValueError that say what is wrong.
    """
    import numpy as np

    if isinstance(value, dict):
        array = _from_tensor(value, dtype=dtype)
    else:
        array = _from_numbers(value, dtype=dtype, shape=shape)
    fits = len(array.shape) == len(shape) and all(
        want == have for want, have in zip(shape, array.shape, strict=True) if isinstance(want, int)
    )
    if not fits:
        raise ValueError(f"the shape is {list(array.shape)}, the model takes {_shape_text(shape)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise ValueError(f"element {index} is {float(array[tuple(index)])}, not a finite number")
    return array


def _from_tensor(value: Mapping[str, Value], *, dtype: str) -> Array:
    import numpy as np

    if sorted(value) != ["data", "dtype", "shape"]:
        raise ValueError(f"a tensor has the keys data, dtype and shape, not {', '.join(sorted(value)) or 'none'}")
    if value["dtype"] != dtype:
        raise ValueError(f"the tensor is of type {value['dtype']}, the model takes {dtype}")
    shape, data = value["shape"], value["data"]
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{shape!r} is not the shape of a tensor")
    little = np.dtype(dtype).newbyteorder("<")
    if not isinstance(data, bytes) or len(data) != prod(shape) * little.itemsize:
        size = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise ValueError(f"data is {size}, a {dtype} tensor of shape {shape} has {prod(shape) * little.itemsize} bytes")
    return np.frombuffer(data, dtype=little).astype(np.dtype(dtype), copy=False).reshape(shape)


def _from_numbers(value: Value, *, dtype: str, shape: Sequence[int | str | None]) -> Array:
    import numpy as np

    for number in _leaves(value):
        kinds = {"f": (int, float), "b": (bool,)}.get(np.dtype(dtype).kind, (int,))
        if type(number) not in kinds:
            raise TypeError(f"{number!r} is not a number that fits into {dtype}")
    try:
        with np.errstate(over="ignore"):  # what overflows is refused as infinite
            array = np.array(value, dtype=np.dtype(dtype))
    except OverflowError as error:
        raise ValueError(f"a number is too large for {dtype}") from error
    except ValueError as error:
        raise ValueError("the lists in it differ in length") from error
    left_out = shape[: max(0, len(shape) - array.ndim)]
    if all(size == 1 or not isinstance(size, int) for size in left_out):
        array = array.reshape((*[1] * len(left_out), *array.shape))
    return array


def _leaves(value: Value) -> Iterable[Value]:
    if isinstance(value, list | tuple):
        for member in value:
            yield from _leaves(member)
    else:
        yield value


def _field(path: str) -> Callable[[Value], Value]:
    """Return the function that takes the field at `path` out of a payload, or raises LookupError."""
    steps = [key or int(index) for key, index in _STEP.findall(path)]

    def get(value: Value) -> Value:
        for step in steps:
            kind = dict if isinstance(step, str) else list
            if not isinstance(value, kind) or (step not in value if kind is dict else step >= len(value)):
                raise LookupError("no such field in the payload")
            value = value[step]
        return value

    return get


def _check_inputs(session: Any, inputs: Mapping[str, Any]) -> Iterable[str]:
    known = {node.name: node for node in session.get_inputs()}
    for name in sorted(set(inputs) - set(known)):
        yield f"inputs.{name}: the model has no such input{_suggest(name, known)}"
    for name, node in known.items():
        if node.type not in DTYPES:
            yield f"input {name!r} is a {node.type}, which can't be fed from a payload"
        if name not in inputs:
            yield f"inputs.{name}: missing; say which field of the payload feeds this input, such as `{name}: $.{name}`"
        elif not isinstance(inputs[name], str) or not re.fullmatch(rf"\$({_STEP.pattern})*", inputs[name]):
            yield f"inputs.{name}: {inputs[name]!r} is not a field path such as $.features"


def _check_outputs(session: Any, outputs: Mapping[str, Any], copied: Sequence[str]) -> Iterable[str]:
    known = {node.name: node.type for node in session.get_outputs()}
    for field, name in sorted(outputs.items()):
        if name not in known:
            yield f"outputs.{field}: the model has no output {name!r}{_suggest(str(name), known)}"
        elif known[name] not in DTYPES:
            yield f"outputs.{field}: output {name!r} is a {known[name]}, which can't be sent"
        if field in copied:
            yield f"outputs.{field}: `pass` fills the same field"


def _suggest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it has: {', '.join(sorted(known))}"


def _shape_text(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join(str(size) if isinstance(size, int) else "any" for size in shape) + "]"
