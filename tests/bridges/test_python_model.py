import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from xtrace.bridges.python_model import PythonModelNode, describe
from xtrace.engine.errors import InputError
from xtrace.engine.event import Event
from xtrace.engine.node import NodeSpec, Setup, Workspace

MODEL = """
    from xtrace.engine.model import Model

    import helper

    class Counter(Model):
        def on_event(self, event):
            import late
            helper.total += event.payload
            self.send("", "total", [helper.total, late.NAME])
"""


class Folder:
    """A scenario's folder, the nodes made from it, and the names of the files that they used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: list[str] = []
        self.nodes: list[PythonModelNode] = []

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")

    def node(self, model: str, *, id: str = "n") -> PythonModelNode:
        workspace = Workspace(self.path, logs=self.path, keep=self._keep)
        node = PythonModelNode(NodeSpec(id, "t", "python_model", {"model": model, "timeout": 60_000_000}), workspace)
        self.nodes.append(node)
        node.init(Setup(id, "t", 1, {}))
        return node

    def _keep(self, name: str, path: Path) -> Path:
        self.used.append(name)
        return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    made.write("models/counter.py", MODEL)
    made.write("models/helper.py", "total = 0\n")
    made.write("models/late.py", "NAME = 'late'\n")
    yield made
    for node in made.nodes:
        node.shutdown()


def totals(node: PythonModelNode, *values: int) -> list[object]:
    events = [Event(id, 0, "s", "t", value) for id, value in enumerate(values, 1)]
    return [output.payload for output in node.advance(0, 1, events).outputs]


def test_every_file_that_is_used_is_kept(folder: Folder) -> None:
    """Files become part of the run when they are imported, late ones too."""
    node = folder.node("models/counter.py:Counter")
    assert sorted(folder.used) == ["models/counter.py", "models/helper.py"]
    assert totals(node, 2, 3) == [[2, "late"], [5, "late"]]
    assert sorted(folder.used) == ["models/counter.py", "models/helper.py", "models/late.py"]


def test_nodes_do_not_share_variables(folder: Folder) -> None:
    """Two nodes of one file have a copy of its modules each, or one alone could not be replayed."""
    first, second = folder.node("models/counter.py:Counter", id="a"), folder.node("models/counter.py:Counter", id="b")
    assert (totals(first, 1), totals(second, 10), totals(first, 1)) == ([[1, "late"]], [[10, "late"]], [[2, "late"]])


def test_shutdown_leaves_nothing_behind(folder: Folder) -> None:
    """A run does not change the interpreter, and writes no bytecode."""
    warm_up = folder.node("models/counter.py:Counter")  # imports what it needs of the standard library
    totals(warm_up, 1)
    warm_up.shutdown()
    before = (dict(sys.modules), list(sys.meta_path), list(sys.path))
    node = folder.node("models/counter.py:Counter")
    totals(node, 1)
    node.shutdown()
    node.shutdown()
    assert (dict(sys.modules), list(sys.meta_path), list(sys.path)) == before
    assert list(folder.path.rglob("*.pyc")) == []


def test_changed_code_is_seen_by_the_next_run(folder: Folder) -> None:
    """Code is compiled from source each time, also within one tick of the file's clock."""
    assert totals(folder.node("models/counter.py:Counter"), 1) == [[1, "late"]]
    folder.write("models/helper.py", "total = 7\n")
    assert totals(folder.node("models/counter.py:Counter"), 1) == [[8, "late"]]


def test_files_outside_of_the_folder(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file elsewhere, and what it imports from beside it, is used under the name that leads there."""
    other = Folder(tmp_path_factory.mktemp("other"))
    other.write("counter.py", MODEL)
    other.write("helper.py", "total = 40\n")
    other.write("late.py", "NAME = 'other'\n")
    assert totals(folder.node(f"{other.path}/counter.py:Counter"), 2) == [[42, "other"]]
    assert sorted(folder.used) == [f"{other.path}/{name}.py" for name in ("counter", "helper", "late")]


@pytest.mark.parametrize("model", ["fleet.trucks:Truck", "fleet/trucks.py:Truck", "bare.trucks:Truck"])
def test_packages_of_the_scenario(folder: Folder, model: str) -> None:
    """Packages, with and without `__init__`, and relative imports work as everywhere in Python."""
    code = (
        "from xtrace.engine.model import Model\nfrom .parts import WHEELS\nclass Truck(Model):\n    wheels = WHEELS\n"
    )
    for package in ("fleet", "bare"):
        folder.write(f"{package}/trucks.py", code)
        folder.write(f"{package}/parts.py", "WHEELS = 6\n")
    folder.write("fleet/__init__.py", "")
    folder.node(model)
    assert f"{model.split('.')[0].split('/')[0]}/parts.py" in folder.used


def test_installed_packages_are_named(folder: Folder) -> None:
    """What code imports from outside is known by name, the standard library and xtrace aside."""
    folder.write("m.py", "import json\nimport msgpack\nfrom xtrace.engine.model import Model\nclass M(Model): pass\n")
    assert folder.node("m.py:M").packages == ["msgpack"]
    assert folder.node("xtrace.engine.model:Model").packages == []


def test_dataclasses_and_data_files(folder: Folder) -> None:
    """Code that looks itself up works, and `pkgutil.get_data` reads through the recorder."""
    folder.write("limits.txt", "5")
    folder.write(
        "m.py",
        """
        from __future__ import annotations
        import pkgutil
        from dataclasses import dataclass
        from typing import ClassVar
        from xtrace.engine.model import Model

        @dataclass
        class Limit:
            unit: ClassVar[str] = "K"
            value: int = int(pkgutil.get_data(__name__, "limits.txt"))

        class M(Model):
            def on_init(self):
                self.observe("limit", [Limit().value, __file__])
        """,
    )
    assert totals(folder.node("m.py:M")) == [[5, "m.py"]]
    assert folder.used == ["m.py", "limits.txt"]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("models/none.py:A", "models/none.py: no such file"),
        ("models/counter.py:Conter", "has no class 'Conter'; did you mean 'Counter'?"),
        ("models/counter.py:helper", "'helper' is not a model: derive it from"),
        ("models/counter.py", "write `path/to/file.py:Class`"),
        ("no.such:A", "No module named 'no'"),
        ("syntax.py:A", "syntax.py:2: SyntaxError: "),
        ("raises.py:A", "raises.py:1: ZeroDivisionError: "),
        ("lost.py:A", "lost.py:1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ],
)
def test_mistakes(folder: Folder, model: str, text: str) -> None:
    """Each mistake is an InputError that names node, file and line; nothing is left in the interpreter."""
    folder.write("syntax.py", "x = 1\ndef f(:\n")
    folder.write("raises.py", "1 / 0\n")
    folder.write("lost.py", "import nowhere_to_be_found\n")
    before = (dict(sys.modules), list(sys.meta_path))
    with pytest.raises(InputError) as caught:
        folder.node(model)
    assert str(caught.value).startswith(f"node 'n': model {model!r}: ")
    assert text in str(caught.value)
    assert (dict(sys.modules), list(sys.meta_path)) == before


def test_imports_around_the_recorder_are_refused(folder: Folder) -> None:
    """`importlib.import_module` would load a file of the scenario unrecorded, from the working directory."""
    folder.write("m.py", "import importlib\nhelper = importlib.import_module('other')\n")
    folder.write("other.py", "")
    with pytest.raises(InputError, match="load it with the import statement"):
        folder.node("m.py:M")


def test_errors_name_the_line_of_the_scenario(folder: Folder) -> None:
    """Of a chain of calls the last line in the scenario's own code is named, with the file as the scenario calls it."""
    folder.write(
        "m.py",
        """
        import json
        from xtrace.engine.model import Model

        class M(Model):
            def on_event(self, event):
                json.loads(event.payload)
        """,
    )
    with pytest.raises(ValueError) as caught:
        totals(folder.node("m.py:M"), "{")  # type: ignore[arg-type]
    assert describe(caught.value).startswith("m.py:6: JSONDecodeError: ")
