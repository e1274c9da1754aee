"""Implementations and network models by name, imported when used, open to other packages by entry points."""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from typing import Any

from xtrace.engine.errors import InputError, MissingDependency

BUILT_IN = {
    "xtrace.nodes": {
        "csv": "xtrace.bridges.csv:CsvNode",
        "jsonl": "xtrace.bridges.jsonl:JsonlNode",
        "onnx": "xtrace.bridges.onnx:OnnxNode",
        "process": "xtrace.bridges.process:ProcessNode",
        "python_model": "xtrace.bridges.python_model:PythonModelNode",
    },
    "xtrace.networks": {
        "direct": "xtrace.engine.network:Direct",
        "latency": "xtrace.engine.network:Latency",
    },
}
NODES, NETWORKS = BUILT_IN


@cache
def names(group: str) -> dict[str, str]:
    """Return name -> "module:Class" for a group, the built-in ones first, sorted by name."""
    from importlib.metadata import entry_points  # 50 ms

    found = {point.name: point.value for point in sorted(entry_points(group=group), key=lambda point: point.name)}
    return dict(sorted({**found, **BUILT_IN[group]}.items()))


def load(group: str, name: str) -> Any:
    """Return the class called `name`.

    Raises InputError for an unknown name or one whose module is broken, MissingDependency for a package it needs.
    """
    known = names(group)
    if name not in known:
        raise InputError(name, unknown(name, known, "implementation" if group == NODES else "network model"))
    module, _, attribute = known[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        package = error.name or module
        raise MissingDependency(
            package, needed_by=f"implementation {name!r}", install=f"pip install {package}"
        ) from error
    except Exception as error:
        raise InputError(name, f"{known[name]} can't be loaded: {type(error).__name__}: {error}") from error


def unknown(name: object, known: Any, what: str) -> str:
    """Return the sentence for a name that is not among `known`, with the nearest one as suggestion."""
    near = difflib.get_close_matches(str(name), [str(each) for each in known], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(map(str, known)))}"
    return f"unknown {what} {name!r}{hint}"
