"""`path=value`: one grammar for scenarios and, relative to a node, for what-if replays."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.engine.errors import InputError
from xtrace.scenarios.loader import from_document
from xtrace.scenarios.overrides import apply_override

from . import strategies  # noqa: TID252  # tests have no name to be imported by

DOCUMENT = {
    "seed": 1,
    "network": {"links": [{"src": "a", "dst": "b", "base": "1ms"}]},
    "nodes": [{"id": "other"}, {"id": "edge", "config": {"list": [1, 2], "deep": {"a": 1}}, "env": None}],
}


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("seed=7", ["seed"], 7),
        ("duration=5s", ["duration"], "5s"),
        (" seed = 7 ", ["seed"], 7),
        ("description=a=b, c: d", ["description"], "a=b, c: d"),
        ("description=", ["description"], ""),
        ("network.loss=0.1", ["network", "loss"], 0.1),
        ("network.links[0].base=5ms", ["network", "links", 0, "base"], "5ms"),
        ("network.links=[]", ["network", "links"], []),
        ("nodes.edge.config.window=3", ["nodes", 1, "config", "window"], 3),
        ("nodes.edge.config.list[1]={x: [y]}", ["nodes", 1, "config", "list", 1], {"x": ["y"]}),
        ("nodes.edge.config.deep.a=null", ["nodes", 1, "config", "deep", "a"], None),
        ("nodes.edge.config.new.er.b=true", ["nodes", 1, "config", "new", "er", "b"], True),
        ("nodes.other.config.x=1", ["nodes", 0, "config", "x"], 1),
        ("nodes.edge.env.HOME=/tmp", ["nodes", 1, "env", "HOME"], "/tmp"),
        ("nodes.edge.file=/abs/path.csv", ["nodes", 1, "file"], "/abs/path.csv"),
        ("compare.default=exact", ["compare", "default"], "exact"),
        ("model=other.py:Class", ["model"], "other.py:Class"),
    ],
)
def test_a_value_is_put_where_the_path_leads(override, path, expected):
    before = copy.deepcopy(DOCUMENT)
    value = apply_override(DOCUMENT, override)
    for part in path:
        value = value[part]
    assert (type(expected), expected) == (type(value), value)
    assert before == DOCUMENT


def test_the_example_fits_the_option():
    with pytest.raises(InputError, match=r"--with path=value, for example --with config\.window=3$"):
        apply_override({}, "window", option="--with")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "write --set path=value, for example --set nodes.edge.config.window=3"),
        ("=5", "write --set path=value"),
        ("a..b=5", "write --set path=value"),
        ("a[x]=5", "write --set path=value"),
        ("a[0=5", "write --set path=value"),
        (".".join("a" * 500) + "=5", "write --set path=value"),
        ("nodes.edg.config.x=1", "nodes: unknown node 'edg'; did you mean 'edge'?"),
        ("nodes.zzz=1", "nodes: unknown node 'zzz'; known: edge, other"),
        ("nodes[0].config.x=1", "nodes are named by their ids, not by numbers; known: edge, other"),
        ("seed.x=1", "seed is 1, there is no x in it"),
        ("seed[0]=1", "seed is 1, there is no [0] in it"),
        ("faults[0]=1", "faults is nothing, there is no [0] in it"),
        ("network[0]=1", "network is a mapping, which has no entry [0]: name a key"),
        ("network.links.base=5ms", "network.links is a list: write network.links[0]"),
        ("network.links[1].base=5ms", "network.links has no entry [1]: it has 1, counted from [0]"),
        ("seed=yes", "YAML versions read a bare 'yes' differently"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_there_is(override, expected):
    with pytest.raises(InputError) as caught:
        apply_override(DOCUMENT, override)
    assert str(caught.value).startswith(f"--set {override}")
    assert expected in str(caught.value)


def test_the_option_that_was_used_is_named():
    with pytest.raises(InputError, match=r"^--with seed\.x=1: "):
        apply_override(DOCUMENT, "seed.x=1", option="--with")


def test_nodes_that_are_no_list_are_for_the_validator():
    with pytest.raises(InputError, match="nodes is 'text', there is no a in it"):
        apply_override({"nodes": "text"}, "nodes.a.x=1")
    assert apply_override({"nodes": {"a": {}}}, "nodes.a.x=1") == {"nodes": {"a": {"x": 1}}}


@given(st.text(), strategies.junk)
def test_arbitrary_overrides_are_carried_out_or_refused(text, value):
    for override in (text, f"a={text}", f"{text}=1"):
        with suppress(InputError):
            apply_override({"a": value, "nodes": [value, {"id": value}]}, override)


@given(strategies.documents(), st.data())
def test_setting_every_value_of_a_normal_document_changes_nothing(document, data):
    """What a document holds can be given by options, in any order, and gives the same scenario."""
    scenario = from_document(document, folder=Path("/"), where="doc")
    overrides = [f"{key}={json.dumps(value)}" for key, value in scenario.document.items() if key != "nodes"]
    for node in scenario.document["nodes"]:
        overrides += [f"nodes.{node['id']}.{key}={json.dumps(value)}" for key, value in node.items() if key != "id"]
    bare = {"nodes": [{"id": node["id"]} for node in scenario.document["nodes"]]}
    for override in data.draw(st.permutations(overrides)):
        bare = apply_override(bare, override)
    assert scenario == from_document(bare, folder=Path("/"), where="doc")
