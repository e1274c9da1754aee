"""Clock, randomness, ids, environment and order enter by parameters: what brings them in by itself is banned.

`OWNERS` names the few modules that are the source of one of them, each with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

import pytest

CLOCK = "pass in the clock or the time; what is simulated asks for virtual time (`now_us`)"
RANDOMNESS = "draw from xtrace.engine.seeds.Random(derive_seed(run_seed, node, purpose)); in a model from self.random"
IDENTITY = "derive ids from content or from a sequence number"
ENVIRONMENT = "pass in the setting; only the command reads the environment"
HASH = "use hashlib, as xtrace.engine.seeds does: hash() differs from process to process"
MEMORY = "compare with `is`, or number the objects: id() is an address"
ORDER = "put sorted(…) around it: the order differs from process to process or from disk to disk"

BANNED = {
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "time.monotonic": CLOCK,
    "time.monotonic_ns": CLOCK,
    "time.perf_counter": CLOCK,
    "time.perf_counter_ns": CLOCK,
    "time.process_time": CLOCK,
    "time.process_time_ns": CLOCK,
    "time.localtime": CLOCK,
    "time.gmtime": CLOCK,
    "time.strftime": CLOCK,
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "datetime.date.today": CLOCK,
    "random": RANDOMNESS,
    "numpy.random": RANDOMNESS,
    "secrets": RANDOMNESS,
    "os.urandom": RANDOMNESS,
    "uuid.uuid1": IDENTITY,
    "uuid.uuid4": IDENTITY,
    "os.environ": ENVIRONMENT,
    "os.environb": ENVIRONMENT,
    "os.getenv": ENVIRONMENT,
    "concurrent.futures.as_completed": ORDER,
    "asyncio.as_completed": ORDER,
}
SEEDED = ("random.Random", "numpy.random.default_rng", "numpy.random.Generator", "numpy.random.PCG64")
"""Fine when a seed is given."""

LISTINGS = {"os.listdir", "os.scandir", "os.walk", "glob.glob", "glob.iglob"}
LISTING_METHODS = {"iterdir", "glob", "rglob"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
ORDER_FREE = {"sorted", "set", "frozenset", "len", "any", "all", "min", "max"}
"""What gives the same for every order of what it is given. (A sum of floats does not.)"""
ORDER_TAKING = {"list", "tuple", "iter", "enumerate", "map", "filter", "zip", "dict", "next", "sum", "reversed"}

OWNERS: dict[tuple[str, str], str] = {
    ("bridges/guard.py", "os.environ"): "the guard only ends processes, and starts as the command was started",
    ("bridges/onnx.py", "os.environ"): "tells onnxruntime to report nothing to its maker, which takes no other word",
    ("bridges/process.py", "os.environ"): "hands the few variables that it lists on to a node, and no others",
    ("capture/timing.py", "time.time_ns"): "timing.arrow says when things happened, and no fingerprint covers it",
    ("capture/trust.py", "os.environ"): "where the user's state folder is; what a run holds does not depend on it",
    ("engine/coordinator.py", "time.perf_counter_ns"): "measures nodes for timing.arrow, which no fingerprint covers",
    ("engine/remote.py", "time.monotonic"): "how long an external node may take to answer, in wall-clock time",
    ("engine/seeds.py", "random"): "the generator that all others come from, always seeded",
    ("engine/watchdog.py", "time.monotonic"): "how long a node of this process may take, in wall-clock time",
    ("scenarios/secrets.py", "os.environ"): "the values of secrets, which stand in no file of a run",
    ("tools/progress.py", "time.monotonic"): "how often progress is shown to a person",
    ("tools/settings.py", "os.environ"): "the one place where settings are read from the environment",
}


class Finding(NamedTuple):
    """A source of nondeterminism: its name in `BANNED`, where it stands, and what to write instead."""

    name: str
    line: int
    instead: str


def findings(source: str) -> list[Finding]:
    """Return every banned source of nondeterminism in the module `source`, by line."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    names = _imported_names(tree)
    sets = _names_of_sets(tree)
    found = [*_banned_names(tree, names, parents), *_listings(tree, names, parents), *_set_orders(tree, sets, parents)]
    return sorted(set(found), key=lambda finding: (finding.line, finding.name))


def _imported_names(tree: ast.AST) -> dict[str, str]:
    """Return what each name that is bound by an import stands for: `{"now": "time.monotonic"}`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or bound] = bound
        elif isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """Return the full name that `node` stands for, or "" if it does not begin with an imported name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, names)
        return f"{base}.{node.attr}" if base else ""
    return ""


def _banned_names(tree: ast.AST, names: dict[str, str], parents: dict[ast.AST, ast.AST]) -> Iterator[Finding]:
    for node in ast.walk(tree):
        name = _dotted(node, names)
        if name and not isinstance(parents.get(node), ast.Attribute):
            banned = next((each for each in BANNED if name == each or name.startswith(f"{each}.")), "")
            if banned and not _is_harmless(node, name, parents):
                yield Finding(banned, node.lineno, BANNED[banned])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id == "hash" and _function_around(node, parents) != "__hash__":
                yield Finding("hash", node.lineno, HASH)
            if node.func.id == "id":
                yield Finding("id", node.lineno, MEMORY)


def _is_harmless(node: ast.AST, name: str, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether `name` is a generator that is given a seed, or only names a type."""
    call = parents.get(node)
    called = isinstance(call, ast.Call) and call.func is node
    if name in SEEDED:
        annotation = isinstance(call, ast.arg | ast.AnnAssign | ast.FunctionDef)
        return annotation or bool(called and (call.args or call.keywords))
    return name == "time.gmtime" and called and bool(call.args)


def _function_around(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    while node in parents and not isinstance(node, ast.FunctionDef):
        node = parents[node]
    return node.name if isinstance(node, ast.FunctionDef) else ""


def _listings(tree: ast.AST, names: dict[str, str], parents: dict[ast.AST, ast.AST]) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _dotted(node.func, names)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if (name in LISTINGS or (method in LISTING_METHODS and not name)) and not _order_is_lost(node, parents):
            yield Finding(name or f".{method}", node.lineno, ORDER)


def _order_is_lost(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether the order of `node` can't be seen: it goes into sorted(), a set, any() and the like."""
    outer = parents.get(node)
    if isinstance(outer, ast.Call) and isinstance(outer.func, ast.Name):
        return outer.func.id in ORDER_FREE and node in outer.args
    if isinstance(outer, ast.comprehension) and outer.iter is node:
        comprehension = parents[outer]
        return isinstance(comprehension, ast.SetComp) or (
            isinstance(comprehension, ast.GeneratorExp | ast.ListComp) and _order_is_lost(comprehension, parents)
        )
    if isinstance(outer, ast.Starred):
        return isinstance(parents[outer], ast.Set) or _order_is_lost(parents[outer], parents)
    if isinstance(outer, ast.List | ast.Tuple):
        return _order_is_lost(outer, parents)
    return isinstance(outer, ast.Compare)


def _set_orders(tree: ast.AST, sets: dict[ast.AST, set[str]], parents: dict[ast.AST, ast.AST]) -> Iterator[Finding]:
    """Yield where the order of a set becomes visible: loops, comprehensions, list(), join(), unpacking, pop()."""
    for node in ast.walk(tree):
        known = _known_sets(node, sets, parents)
        outer = parents.get(node)
        if isinstance(node, ast.expr) and _is_set(node, known) and _shows_order(node, outer, parents):
            yield Finding("iteration over a set", node.lineno, ORDER)


def _shows_order(node: ast.AST, outer: ast.AST | None, parents: dict[ast.AST, ast.AST]) -> bool:
    if isinstance(outer, ast.For | ast.AsyncFor):
        return outer.iter is node
    if isinstance(outer, ast.comprehension | ast.Starred):
        return (isinstance(outer, ast.Starred) or outer.iter is node) and not _order_is_lost(node, parents)
    if isinstance(outer, ast.Attribute):
        return outer.attr == "pop" and isinstance(parents.get(outer), ast.Call)
    if isinstance(outer, ast.Call) and node in outer.args:
        if isinstance(outer.func, ast.Name):
            return outer.func.id in ORDER_TAKING and not _order_is_lost(outer, parents)
        return isinstance(outer.func, ast.Attribute) and outer.func.attr in ("join", "extend", "fromkeys")
    unpacked = isinstance(outer, ast.Assign) and isinstance(outer.targets[0], ast.Tuple | ast.List)
    return unpacked or isinstance(outer, ast.YieldFrom)


def _is_set(node: ast.AST, known: set[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Name):
            return function.id in ("set", "frozenset")
        return isinstance(function, ast.Attribute) and function.attr in SET_METHODS
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return any(_is_set(side, known) or _is_keys(side) for side in (node.left, node.right))
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in known


def _is_keys(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


def _names_of_sets(tree: ast.AST) -> dict[ast.AST, set[str]]:
    """Return for each scope the names that hold sets there, by annotation or assignment; attributes by class."""
    scopes: dict[ast.AST, set[str]] = {}
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            scopes[scope] = set()
            for node in _inside(scope):
                scopes[scope].update(_sets_named_by(node, attributes=isinstance(scope, ast.ClassDef)))
    return scopes


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what is in `scope` itself; of a class also what is in its methods, for the attributes set there."""
    for child in ast.iter_child_nodes(scope):
        yield child
        inner = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if not inner or isinstance(scope, ast.ClassDef):
            yield from (ast.walk(child) if inner else _inside(child))


def _sets_named_by(node: ast.AST, *, attributes: bool) -> Iterator[str]:
    names: list[ast.AST] = []
    if isinstance(node, ast.Assign) and _is_set(node.value, set()):
        names = node.targets
    elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation and _is_set_annotation(node.annotation):
        names = [node.target] if isinstance(node, ast.AnnAssign) else [ast.Name(node.arg)]
    for name in names:
        text = ast.unparse(name)
        if text.startswith("self.") == attributes:
            yield text
        elif attributes and isinstance(node, ast.AnnAssign):
            yield f"self.{text}"


def _is_set_annotation(annotation: ast.AST) -> bool:
    text = ast.unparse(annotation).strip("'\"").partition("[")[0].rpartition(".")[2]
    return text in ("set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet")


def _known_sets(node: ast.AST, sets: dict[ast.AST, set[str]], parents: dict[ast.AST, ast.AST]) -> set[str]:
    known: set[str] = set()
    scope: ast.AST | None = node
    while scope is not None:
        known |= sets.get(scope, set())
        scope = parents.get(scope)
    return known


def test_nondeterminism_enters_by_parameters(root, house_files):
    found = []
    for path in house_files:
        if path.suffix == ".py":
            for name, line, instead in findings((root / path).read_text()):
                if (str(path), name) not in OWNERS:
                    found.append(f"{path}:{line}: {name}: {instead}")
    assert found == [], "\n" + "\n".join(found)


def test_every_owner_still_owns_it(root):
    """An exception that nobody needs any more would hide the next mistake."""
    idle = []
    for path, name in OWNERS:
        source = (root / path).read_text() if (root / path).exists() else ""
        if name not in {finding.name for finding in findings(source)}:
            idle.append(f"{path}: {name}")
    assert idle == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\ntime.time()", "time.time"),
        ("import time as t\ndef f(clock=t.monotonic): pass", "time.monotonic"),
        ("from time import perf_counter as now\nnow()", "time.perf_counter"),
        ("def f():\n    import time\n    return time.time_ns()", "time.time_ns"),
        ("import time\ntime.gmtime()", "time.gmtime"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as d\nd.utcnow()", "datetime.datetime.utcnow"),
        ("from datetime import date\ndate.today()", "datetime.date.today"),
        ("import random\nrandom.random()", "random"),
        ("import random\nrandom.Random()", "random"),
        ("import random\nrandom.seed(1)", "random"),
        ("from random import shuffle\nshuffle([])", "random"),
        ("import numpy as np\nnp.random.rand(3)", "numpy.random"),
        ("import numpy as np\nnp.random.default_rng()", "numpy.random"),
        ("import uuid\nuuid.uuid4().hex", "uuid.uuid4"),
        ("from uuid import uuid1\nuuid1()", "uuid.uuid1"),
        ("import os\nos.environ['HOME']", "os.environ"),
        ("from os import environ\nenviron.get('HOME')", "os.environ"),
        ("import os\nos.getenv('HOME')", "os.getenv"),
        ("import os\nos.urandom(8)", "os.urandom"),
        ("import secrets\nsecrets.token_hex()", "secrets"),
        ("hash('x')", "hash"),
        ("sorted(x, key=lambda each: id(each))", "id"),
        ("for x in {1, 2}: pass", "iteration over a set"),
        ("[x for x in set(y)]", "iteration over a set"),
        ("list({x for x in y})", "iteration over a set"),
        ("','.join(set(y))", "iteration over a set"),
        ("[*{1, 2}]", "iteration over a set"),
        ("def f(a: set[str]):\n    for x in a: pass", "iteration over a set"),
        ("def f():\n    a = set()\n    return tuple(a)", "iteration over a set"),
        ("A = frozenset('ab')\ndef f():\n    return [x for x in A]", "iteration over a set"),
        (
            "class A:\n    def f(self):\n        self.x = set()\n    def g(self):\n        return list(self.x)",
            "iteration over a set",
        ),
        ("class A:\n    x: set[int]\n    def g(self):\n        return list(self.x)", "iteration over a set"),
        ("for x in a.keys() - b.keys(): pass", "iteration over a set"),
        ("for x in set(a) | b: pass", "iteration over a set"),
        ("for x in a.union(b): pass", "iteration over a set"),
        ("def f():\n    a = {1}\n    return a.pop()", "iteration over a set"),
        ("def f(a: frozenset[int]):\n    yield from a", "iteration over a set"),
        ("a, b = {1, 2}", "iteration over a set"),
        ("sum(x for x in {0.1, 0.2})", "iteration over a set"),
        ("import os\nfor x in os.listdir('.'): pass", "os.listdir"),
        ("import os\nfor x in os.walk('.'): pass", "os.walk"),
        ("from os import scandir\nlist(scandir('.'))", "os.scandir"),
        ("import glob\nglob.glob('*')", "glob.glob"),
        ("for x in path.iterdir(): pass", ".iterdir"),
        ("[x for x in path.rglob('*')]", ".rglob"),
        ("list(path.glob('*'))", ".glob"),
        ("from concurrent.futures import as_completed\nas_completed([])", "concurrent.futures.as_completed"),
    ],
)
def test_a_planted_source_is_caught(source, name):
    assert [finding.name for finding in findings(source)] == [name]


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "def f(now):\n    return now()",
        "import time\ntime.gmtime(0)",
        "import random\nrandom.Random(7)",
        "import numpy as np\nnp.random.default_rng(7)",
        "self.random.gauss(0, 1)",
        "def random(): pass\nrandom()",
        "def __hash__(self):\n    return hash(self.x)",
        "import os\nos.path.join('a', 'b')",
        "for x in sorted({1, 2}): pass",
        "x in {1, 2}",
        "len(set(y))",
        "sorted(x for x in {1, 2} if x)",
        "sorted([*{1, 2}])",
        "{x for x in {1, 2}}",
        "any(x for x in set(y))",
        "set(a) - set(b)",
        "def f():\n    a = set()\ndef g(a: list[int]):\n    return list(a)",
        "sorted(path.iterdir())",
        "sorted(p for p in path.rglob('*') if p.is_file())",
        "any(path.iterdir())",
        "import os\nsorted(os.listdir('.'))",
    ],
)
def test_what_is_deterministic_passes(source):
    assert findings(source) == []


def test_models_of_scenarios_are_covered(house_files):
    assert any(path.parts[:2] == ("scenarios", "models") for path in house_files if path.suffix == ".py")
