"""Implementations and network models by name."""

from __future__ import annotations

import pytest

from xtrace.engine.errors import InputError, MissingDependency
from xtrace.engine.network import Direct, Latency
from xtrace.engine.registry import BUILT_IN, NETWORKS, NODES, load, names


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a package with this module and these entry points."""

    def install(module, source, **points):
        (tmp_path / f"{module}.py").write_text(source)
        facts = tmp_path / "somebody-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
        lines = [f"{name} = {module}:{attribute}" for name, attribute in points.items()]
        (facts / "entry_points.txt").write_text("\n".join([f"[{NODES}]", *lines, ""]))
        monkeypatch.syspath_prepend(tmp_path)
        names.cache_clear()

    yield install
    names.cache_clear()


def test_built_in_names_load():
    """Every built-in name leads to a class with its options."""
    assert Direct is load(NETWORKS, "direct")
    assert Latency is load(NETWORKS, "latency")
    for group, found in BUILT_IN.items():
        for name in found:
            assert isinstance(load(group, name).OPTIONS, dict)


def test_an_unknown_name_gets_a_suggestion():
    """The nearest name is proposed, or all are listed."""
    with pytest.raises(InputError, match="unknown implementation 'pyhton_model'; did you mean 'python_model'"):
        load(NODES, "pyhton_model")
    with pytest.raises(InputError, match="unknown network model 'zzz'; known: direct, latency"):
        load(NETWORKS, "zzz")


def test_other_packages_add_names_but_never_replace_built_in_ones(installed):
    """An entry point called `csv` doesn't take over the built-in `csv`."""
    installed("adds_nodes", "class Mine: ...\n", mine="Mine", csv="Mine")
    assert "adds_nodes" == load(NODES, "mine").__module__
    assert BUILT_IN[NODES]["csv"] == names(NODES)["csv"]
    assert sorted(names(NODES)) == list(names(NODES))
    with pytest.raises(InputError, match="unknown implementation 'mime'; did you mean 'mine'"):
        load(NODES, "mime")


def test_a_failed_import_names_the_missing_package(installed):
    """What is missing is the package that could not be imported, not the module that wanted it."""
    installed("wants_a_package", "import not_there_at_all\n", wants="Node")
    with pytest.raises(MissingDependency, match="implementation 'wants' needs not_there_at_all"):
        load(NODES, "wants")


@pytest.mark.parametrize(
    ("source", "reason"), [("1 / 0\n", "ZeroDivisionError"), ("class Other: ...\n", "no attribute")]
)
def test_a_broken_module_is_an_error_of_what_is_installed(installed, source, reason):
    """Code of another package that can't be loaded is named, with what it raised."""
    module = "broken_" + reason.partition(" ")[0].lower()
    installed(module, source, broken="Node")
    with pytest.raises(InputError, match=f"broken: {module}:Node can't be loaded: .*{reason}"):
        load(NODES, "broken")
