"""Nodes that are a Python class: `implementation: python_model`, `model: models/machine.py:Sensor`.

Code that lies with the scenario is loaded by a `CodeScope` of its own: always compiled from source, read through the
workspace so that every file really used becomes part of the run, and seen by one node only. Nodes can't
share variables behind the recorder's back, and a second run in the same process starts afresh.
"""

from __future__ import annotations

import builtins
import difflib
import posixpath
import re
import sys
import traceback
import weakref
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source, module_from_spec, spec_from_loader
from types import CodeType, ModuleType
from typing import Any, ClassVar

from xtrace.engine.errors import InputError
from xtrace.engine.event import Done, Event
from xtrace.engine.node import Node, NodeSpec, Option, Setup, Workspace


class PythonModelNode(Node):
    """Runs a Python class, usually a subclass of `xtrace.engine.model.Model`, inside this process."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "model": Option(
            "string",
            "the class: `path/to/file.py:Class`, relative to the scenario, or `package.module:Class`",
            required=True,
        ),
        "timeout": Option("duration", "how long it may take to start, and for one step", default="60s", minimum=1),
    }

    def __init__(self, spec: NodeSpec, workspace: Workspace) -> None:
        self.timeout_us = int(spec.options["timeout"])
        self._where = f"node {spec.id!r}: model {spec.options['model']!r}"
        path, _, name = str(spec.options["model"]).rpartition(":")
        if not path or not name:
            raise InputError(self._where, "write `path/to/file.py:Class` or `package.module:Class`")
        is_file = path.endswith(".py") or "/" in path
        folders = (posixpath.dirname(path), "") if is_file else ("",)
        self._scope = CodeScope(spec.id, workspace, folders=folders)
        self._close = weakref.finalize(self, self._scope.close)
        try:
            self._class = self._load(path, name, is_file=is_file)
        except BaseException:
            self._close()
            raise

    @property
    def packages(self) -> list[str]:
        """The installed top-level packages that the code has imported so far, without the standard library."""
        return sorted(self._scope.packages)

    def init(self, setup: Setup) -> None:
        """Create the object and start it. Whatever the class raises passes through."""
        model = self._class()
        model.start(setup)
        self.advance = model.advance  # type: ignore[method-assign]  # spares the hot loop a call

    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        """Replaced in `init` by the model's own `advance`."""
        raise AssertionError("advance before init")

    def shutdown(self) -> None:
        """Forget the code that was loaded for this node."""
        self._close()

    def _load(self, path: str, name: str, *, is_file: bool) -> Any:
        try:
            module = self._scope.load_file(path) if is_file else self._scope.load_module(path)
        except InputError as error:
            raise InputError(self._where, f"{error.where}: {'; '.join(error.problems)}") from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # code of a scenario may raise anything
            raise InputError(self._where, describe(error).replace(self._scope.root + ".", "")) from error
        found = getattr(module, name, None)
        if found is None:
            raise InputError(self._where, f"{path} has no class {name!r}{_suggest(name, module)}")
        missing = [part for part in ("start", "advance") if not callable(getattr(found, part, None))]
        if not isinstance(found, type) or missing:
            raise InputError(self._where, f"{name!r} is not a model: derive it from xtrace.engine.model.Model")
        return found


class CodeScope(MetaPathFinder):
    """The Python files of one node: a private package in `sys.modules` until `close`.

    Its code finds `import helper` in `folders` (scenario names, "" is the scenario's folder) before the installed
    packages. `__file__` is the name in the scenario, the same on every machine; data files are read, and become part of
    the run, by `pkgutil.get_data(__name__, "table.json")`.
    """

    def __init__(self, node: str, workspace: Workspace, *, folders: Sequence[str]) -> None:
        self.workspace = workspace
        self.packages: dict[str, None] = {}
        self.root = "xtrace_node_" + re.sub(r"\W", lambda match: f"_{ord(match[0]):x}_", node)
        while self.root in sys.modules:
            self.root += "_"
        self.builtins: Mapping[str, Any] = {**vars(builtins), "__import__": self._import}
        package = ModuleType(self.root)
        package.__path__ = list(dict.fromkeys(folders))
        sys.modules[self.root] = package
        sys.meta_path.insert(0, self)

    def close(self) -> None:
        """Remove every trace of the code from the interpreter."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in sorted(sys.modules):
            if name == self.root or name.startswith(self.root + "."):
                del sys.modules[name]

    def load_file(self, name: str) -> ModuleType:
        """Return the module in the file called `name` in the scenario. Raises InputError if there is none."""
        stem = posixpath.basename(name).removesuffix(".py")
        spec = self._spec(f"{self.root}.{re.sub(r'[^0-9A-Za-z_]', '_', stem)}", name)
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        assert spec.loader is not None
        spec.loader.exec_module(module)
        return module

    def load_module(self, name: str) -> ModuleType:
        """Return the module called `name`, of the scenario's folder or installed. Raises ImportError."""
        module: ModuleType = self._import(name, fromlist=("*",))
        return module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module below this scope; `path` holds names of folders in the scenario."""
        if not fullname.startswith(self.root + "."):
            self._refuse_bypass(fullname)
            return None
        tail = fullname.rpartition(".")[2]
        for folder in path or ():
            package = posixpath.join(folder, tail)
            for name, is_package in ((f"{package}/__init__.py", True), (f"{package}.py", False)):
                if self.workspace.find(name).is_file():
                    return self._spec(fullname, name, folder=package if is_package else None)
        for folder in path or ():
            if self.workspace.find(posixpath.join(folder, tail)).is_dir():
                spec = ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = [posixpath.join(folder, tail)]
                return spec
        return None

    def _spec(self, fullname: str, name: str, *, folder: str | None = None) -> ModuleSpec:
        spec = spec_from_loader(fullname, _ScenarioCode(self, name), origin=name, is_package=folder is not None)
        assert spec is not None
        spec.has_location = True
        if folder is not None:
            spec.submodule_search_locations = [folder]
        return spec

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        """What `import` means in the code of this scope: the scenario's own files first."""
        top = name.partition(".")[0]
        if level or not self._is_own(top):
            if not level and top != "xtrace" and top not in sys.stdlib_module_names:
                self.packages[top] = None
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = builtins.__import__(f"{self.root}.{name}", globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[f"{self.root}.{top}"]

    def _refuse_bypass(self, fullname: str) -> None:
        """Raise ImportError where our code asks `importlib` for a file of its own: nobody would record it."""
        frame = sys._getframe(2)
        while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if frame.f_globals.get("__builtins__") is self.builtins and self._is_own(fullname.partition(".")[0]):
            raise ImportError(f"{fullname!r} belongs to the scenario: load it with the import statement", name=fullname)

    def _is_own(self, top: str) -> bool:
        if top == "xtrace":
            return False
        if f"{self.root}.{top}" in sys.modules:
            return True
        spec = self.find_spec(f"{self.root}.{top}", sys.modules[self.root].__path__)
        if spec is not None and spec.loader is None:  # a bare folder gives way to an installed package, as in Python
            installed = PathFinder.find_spec(top)
            return top not in sys.stdlib_module_names and (installed is None or installed.loader is None)
        return spec is not None


class _ScenarioCode(SourceLoader):
    """Loads one file through the workspace; never reads or writes bytecode."""

    def __init__(self, scope: CodeScope, name: str) -> None:
        self._scope = scope
        self._name = name

    def get_filename(self, fullname: str) -> str:
        return self._name

    def get_data(self, path: str) -> bytes:
        return self._scope.workspace.read(path)

    def get_source(self, fullname: str) -> str:
        return decode_source(self.get_data(self._name))

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self._name), self._name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._scope.builtins
        super().exec_module(module)


def describe(error: BaseException) -> str:
    """Return `models/x.py:12: ZeroDivisionError: …`, naming the last line of scenario code that was running."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    own = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if isinstance(frame.f_globals.get("__loader__"), _ScenarioCode)
    ]
    return f"{own[-1].f_code.co_filename}:{own[-1].f_lineno}: {text}" if own else text


def _suggest(name: str, module: ModuleType) -> str:
    classes = sorted(key for key, value in vars(module).items() if isinstance(value, type) and not key.startswith("_"))
    near = difflib.get_close_matches(name, classes, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; it has: {', '.join(classes)}" if classes else ""
