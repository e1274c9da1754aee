"""Imports point down the house, bridges stand apart, and what is heavy is imported where it is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

import pytest

from xtrace.engine.registry import BUILT_IN

MAY_IMPORT = {
    "engine": set(),
    "capture": {"engine"},
    "scenarios": {"engine", "capture"},
    "bridges": {"engine"},
    "golden": {"engine", "capture", "scenarios"},
    "replay": {"engine", "capture", "scenarios", "golden"},
    "tools": {"engine", "capture", "scenarios", "bridges", "golden", "replay"},
}
BRIDGES = {
    name for name in (value.partition(":")[0] for value in BUILT_IN["xtrace.nodes"].values()) if "bridges" in name
}
HEAVY = {
    "cryptography",
    "deepdiff",
    "docker",
    "duckdb",
    "numpy",
    "onnx",
    "onnxruntime",
    "polars",
    "pyarrow",
    "rich",
    "torch",
}
ENGINE_NEEDS = {"msgpack"}
DISTRIBUTIONS = {"yaml": "pyyaml"}
"""Distributions that are not named as the module that they install."""


class Import(NamedTuple):
    """One imported module; `top` where importing this module imports that one too."""

    module: str
    line: int
    top: bool


def imports_of(source: str) -> Iterator[Import]:
    """Yield what `source` imports, with `import_module("…")`; relative imports begin with a dot."""
    tree = ast.parse(source)
    top = {id(node) for node in _runs_at_import(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [f"{base}.{alias.name}" for alias in node.names] if base in ("xtrace", "xtrace.bridges") else [base]
            yield from (Import(name, node.lineno, id(node) in top) for name in names)
        elif _imports_by_name(node):
            yield Import(ast.literal_eval(node.args[0]), node.lineno, False)


def _imports_by_name(node: ast.AST) -> TypeGuard[ast.Call]:
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return called in ("importlib.import_module", "import_module") and isinstance(node.args[0], ast.Constant)


def _runs_at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield child
        yield from _runs_at_import(child)


def problems(path: Path, source: str, *, declared: set[str]) -> list[str]:
    """Return what is wrong with the imports of the module at `path`, each with the way to mend it."""
    folder = path.parts[0]
    found = []
    for module, line, top in imports_of(source):
        reason = _direction(path, module) or _outside(path, module, declared=declared)
        if not reason and top and module.partition(".")[0] in HEAVY and path.parts[:2] != ("scenarios", "models"):
            reason = "is slow to import: import it inside the function that needs it"
        if reason:
            found.append(f"{path}:{line}: {module} {reason}")
    assert folder in MAY_IMPORT
    return found


def _direction(path: Path, module: str) -> str:
    folder = path.parts[0]
    root, _, rest = module.partition(".")
    target = rest.partition(".")[0]
    if module.startswith("."):
        return "is relative: write from xtrace.<folder>.<module> import …"
    if root in MAY_IMPORT:
        return f"works only by accident, in the root of the checkout: write xtrace.{module}"
    if root == "xtrace" and target not in {folder, *MAY_IMPORT[folder]}:
        allowed = ", ".join(sorted(MAY_IMPORT[folder])) or "nothing above"
        return f"is above {folder}/ or beside it ({folder}/ may import {allowed}): pass in what you need as a parameter"
    own = "xtrace." + ".".join(path.with_suffix("").parts)
    if folder == "bridges" and own in BRIDGES and any(f"{module}.".startswith(f"{each}.") for each in BRIDGES - {own}):
        return "is another bridge: move what both need into engine/"
    return ""


def _outside(path: Path, module: str, *, declared: set[str]) -> str:
    root = module.partition(".")[0]
    if root == "xtrace" or root in sys.stdlib_module_names:
        return ""
    if path.parts[0] == "engine" and root not in ENGINE_NEEDS:
        return "is not for engine/, which needs the standard library and msgpack only: move this up the house"
    if DISTRIBUTIONS.get(root, root).replace("_", "-").lower() not in declared:
        return "is not declared: add it to the dependencies or an extra in pyproject.toml"
    return ""


def name_of(requirement: str) -> str:
    """Return the normalised name of the distribution in `requirement`."""
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].replace("_", "-").lower()


@pytest.fixture
def project(root: Path) -> dict[str, object]:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture
def declared(project) -> set[str]:
    """What users install: the requirements without those of development."""
    extras = project["optional-dependencies"]
    users = [each for name, extra in extras.items() if name not in ("test", "dev", "bench") for each in extra]
    return {name_of(each) for each in [*project["dependencies"], *users]}


def test_imports_point_down_the_house(root, house_files, declared):
    found = []
    # A model imports the files beside it by their bare names, as a user's own does.
    models = {path.stem for path in house_files if path.match("scenarios/models/*.py")}
    for path in house_files:
        if path.suffix == ".py":
            own = models if path.match("scenarios/models/*.py") else set()
            found += problems(path, (root / path).read_text(), declared=declared | own)
    assert found == [], "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("engine/x.py", "from xtrace.capture.reader import Run", "above engine/"),
        ("engine/x.py", "def f():\n    import xtrace.tools.cli", "above engine/"),
        ("engine/x.py", "import importlib\nimportlib.import_module('xtrace.golden.compare')", "above engine/"),
        ("engine/x.py", "if TYPE_CHECKING:\n    from xtrace.replay import node", "above engine/"),
        ("capture/x.py", "from xtrace import scenarios", "above capture/"),
        ("golden/x.py", "from xtrace.replay.node import replay_node", "above golden/"),
        ("scenarios/x.py", "from xtrace.bridges.onnx import OnnxNode", "beside it"),
        ("replay/x.py", "import xtrace.bridges.process", "beside it"),
        ("bridges/onnx.py", "from xtrace.bridges.csv import CsvNode", "another bridge"),
        ("bridges/onnx.py", "from xtrace.bridges import csv", "another bridge"),
        ("tools/x.py", "import engine.event", "only by accident"),
        ("tools/x.py", "from tools import output", "only by accident"),
        ("capture/x.py", "from .reader import Run", "is relative"),
        ("engine/x.py", "def f():\n    import pyarrow", "not for engine/"),
        ("capture/x.py", "import pyarrow as pa", "slow to import"),
        ("capture/x.py", "class A:\n    from rich.table import Table", "slow to import"),
        ("capture/x.py", "try:\n    import duckdb\nexcept ImportError:\n    pass", "slow to import"),
        ("tools/x.py", "import pandas", "not declared"),
        ("tools/x.py", "import pytest", "not declared"),
    ],
)
def test_a_planted_import_is_caught(path, source, complaint, declared):
    found = problems(Path(path), source, declared=declared)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/x.py", "import msgpack\nfrom xtrace.engine.event import Event"),
        ("capture/x.py", "def f():\n    import pyarrow as pa"),
        ("capture/x.py", "if TYPE_CHECKING:\n    import pyarrow as pa"),
        ("bridges/process.py", "from xtrace.bridges.guard import start"),
        ("bridges/onnx.py", "from xtrace.bridges.onnx import OnnxNode"),
        ("tools/x.py", "from xtrace.replay.node import replay_node\nimport yaml"),
        ("scenarios/models/train.py", "import torch"),
    ],
)
def test_what_may_be_imported_passes(path, source, declared):
    assert problems(Path(path), source, declared=declared) == []


def test_every_folder_has_its_floor(folders):
    assert set(MAY_IMPORT) == set(folders)


def test_every_requirement_is_pinned(root, project):
    """CI and make install exactly what constraints.txt says, whatever is released tomorrow."""
    pins = {name_of(line) for line in (root / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    assert sorted({name_of(each) for each in wanted} - pins - {project["name"]}) == []
