"""A document becomes a checked Scenario in its one normal form, or a line for each mistake."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from xtrace.engine import registry
from xtrace.engine.errors import InputError, MissingDependency
from xtrace.engine.node import NodeSpec
from xtrace.scenarios.keys import SCENARIO
from xtrace.scenarios.loader import from_document
from xtrace.scenarios.options import default

from . import strategies  # noqa: TID252  # tests have no name to be imported by


def check(document):
    return from_document(document, folder=Path("/"), where="doc")


def problems(document):
    with pytest.raises(InputError) as caught:
        check(document)
    return caught.value.problems


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"scenario": "Big Name"},
            "scenario: 'Big Name' is not the name of a scenario: [a-z][a-z0-9_-]{0,63} is expected",
        ),
        (
            {"scenario": "line\n"},
            "scenario: 'line\\n' is not the name of a scenario: [a-z][a-z0-9_-]{0,63} is expected",
        ),
        ({"description": 5}, "description: expected text, not 5: put it in quotes"),
        ({"description": None}, "description: expected text, not nothing"),
        ({"ci_compatible": "yes"}, "ci_compatible: expected true or false, not 'yes'"),
        ({"requires": "onnx"}, "requires: expected a list such as [a, b], not 'onnx'"),
        ({"requires": [1]}, "requires: expected a list of text only, and there is 1 in it: put it in quotes"),
        ({"runtime_estimate": 3}, "runtime_estimate: a duration needs its unit: write 3us, 3ms or 3s instead of 3"),
        ({"seed": -1}, "seed: -1 is too small: at least 0 is expected"),
        ({"seed": 2**64}, "seed: the integer 18446744073709551616 does not fit in 64 bits"),
        ({"seed": True}, "seed: expected an integer, not true"),
        ({"duration": "0s"}, "duration: 0s is too small: at least 1us is expected"),
        ({"duration": "9" * 1000 + "s"}, f"duration: '{'9' * 60}' ... is not a duration such as 250us, 10ms or 60s"),
        ({"duration": [1]}, "duration: expected a duration such as 10ms, not a list"),
        ({"duration": b"1s"}, "duration: bytes can't stand in a scenario: write text"),
        ({"step": "0ms"}, "step: 0s is too small: at least 1us is expected"),
        ({"faults": ["crash"]}, "faults: faults can't be injected yet: leave the list empty, []"),
        ({"faults": None}, "faults: faults can't be injected yet: leave the list empty, []"),
        ({"compare": {"default": "exat"}}, "compare.default: unknown value 'exat'; did you mean 'exact'?"),
        ({"compare": {"defualt": "exact"}}, "compare.defualt: unknown key 'defualt'; did you mean 'default'?"),
        ({"compare": []}, "compare: expected a mapping, not a list"),
        ({"network": "direct"}, "network: expected a mapping, not 'direct'"),
        ({"network": {"model": 3}}, "network.model: expected text, not 3"),
        ({"network": {"model": "direct", "base": "1ms"}}, "network.base: unknown key 'base'; known: model"),
        ({"network": {"model": "latency", "los": 1}}, "network.los: unknown key 'los'; did you mean 'loss'?"),
        ({"network": {"model": "latency", "loss": 2}}, "network.loss: 2.0 is too large: at most 1 is expected"),
        (
            {"network": {"model": "latency", "bandwidth": "1Mbit"}},
            "network.bandwidth: '1Mbit' is no data rate such as 250kbps; units: bps, kbps, Mbps, Gbps",
        ),
        (
            {"network": {"model": "latency", "links": {"a": "b"}}},
            "network.links: expected a list with one entry for each link, not a mapping",
        ),
        (
            {"network": {"model": "latency", "links": [{"src": "a", "dst": "aa"}]}},
            "network.links[0].dst: unknown node 'aa'; did you mean 'a'?",
        ),
        (
            {"network": {"model": "latency", "links": [{"src": "a"}]}},
            "network.links[0].dst: is missing: the id of the receiving node",
        ),
        (
            {"network": {"model": "latency", "links": [{"src": "a", "dst": "a"}] * 2}},
            "network.links[1]: there is another link from 'a' to 'a'",
        ),
        ({"nodes": None}, "nodes: expected a list with an entry for each node, not nothing"),
        ({"nodes": []}, "nodes: expected a list with an entry for each node, not an empty one"),
        ({"nodes": {"a": {}}}, "nodes: expected a list with an entry for each node, not a mapping"),
        ({"nodes": ["a"]}, "nodes[0]: expected a mapping with id, type, implementation, config, not 'a'"),
        ({"sede": 1}, "sede: unknown key 'sede'; did you mean 'seed'?"),
    ],
)
def test_one_mistake_is_one_line(minimal, change, expected):
    assert [expected] == problems({**minimal, **change})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "a.b"}, "id: 'a.b' is not the id of a node: [A-Za-z][A-Za-z0-9_-]{0,63} is expected"),
        ({"id": "Network"}, "id: 'Network' is reserved for the network model: choose another id"),
        (
            {"type": "a b"},
            "type: 'a b' is not what a node does, such as sensor or gateway: [A-Za-z][A-Za-z0-9_.-]{0,63} is expected",
        ),
        ({"implementation": None}, "implementation: expected text, not nothing"),
        ({"model": 5}, "model: expected text, not 5: put it in quotes"),
        ({"config": None}, "config: expected a mapping, not nothing"),
        (
            {"config": {"a": [1, {"b": float("nan")}]}},
            "config.a[1].b: nan can't stand in a scenario: write a finite number, or text",
        ),
        ({"config": {"a": "\ud800"}}, "config.a: the text has a lone surrogate and is not valid Unicode"),
        ({"config": {"a": 2**64}}, "config.a: the integer 18446744073709551616 does not fit in 64 bits"),
        ({"config": {1: 2}}, "config: the key 1 can't stand in a scenario: it is no text"),
        (
            {"config": {"a": {1, 2}}},
            "config.a: a set can't be a payload: use None, bool, int, float, str, bytes, list or dict",
        ),
        ({"mode": "fats"}, "mode: unknown value 'fats'; did you mean 'fast'?"),
        ({"peer": 5}, "peer: expected text, not 5: put it in quotes"),
        ({"peer": ""}, "peer: unknown node ''; known: a"),
        ({"every": 5}, "every: a duration needs its unit: write 5us, 5ms or 5s instead of 5"),
        ({"every": None}, "every: expected a duration such as 10ms, not nothing"),
        ({"room": 64}, "room: a size needs its unit: write 64B, 64KiB or 64MiB instead of 64"),
        ({"room": "64 kib"}, "room: unknown unit of size 'kib'; known: B, GB, GiB, KB, KiB, MB, MiB"),
        ({"room": "big"}, "room: expected a size such as 64KiB, not 'big'"),
        (
            {"room": "99999999999999GiB"},
            "room: '99999999999999GiB' is longer than the limit of 18446744073709551615 bytes",
        ),
        ({"gain": "1"}, "gain: expected a number, not '1'"),
        ({"gain": 11}, "gain: 11.0 is too large: at most 10 is expected"),
        ({"count": 1.0}, "count: expected an integer, not 1.0"),
        ({"loud": 1}, "loud: expected true or false, not 1"),
        (
            {"columns": ["a", None]},
            "columns: expected a list of text only, and there is nothing in it: put it in quotes",
        ),
        ({"env": []}, "env: expected a mapping, not a list"),
        ({"gian": 1}, "gian: unknown key 'gian'; did you mean 'gain'?"),
    ],
)
def test_one_mistake_of_a_node_is_one_line(minimal, change, expected):
    minimal["nodes"][0].update(change)
    assert [f"nodes[0].{expected}"] == problems(minimal)


@pytest.mark.parametrize("key", ["duration", "nodes", "scenario"])
def test_what_is_required_is_missed(minimal, key):
    del minimal[key]
    assert [f"{key}: is missing: {SCENARIO[key].doc}"] == problems(minimal)


@pytest.mark.parametrize(
    ("key", "typo"), [("duration", "duraton"), ("nodes", "node"), ("scenario", "scenari"), ("duration", "Duration")]
)
def test_a_misspelt_key_is_one_mistake_not_two(minimal, key, typo):
    minimal[typo] = minimal.pop(key)
    assert [f"{typo}: unknown key {typo!r}; did you mean {key!r}?"] == problems(minimal)


def test_without_a_known_implementation_other_keys_are_not_judged(minimal):
    minimal["nodes"] = [{"id": "a", "type": "t", "implementaton": "fake", "anything": 1}]
    assert problems(minimal) == [
        "nodes[0].implementaton: unknown key 'implementaton'; did you mean 'implementation'?",
    ]


@pytest.mark.parametrize("peer", ["gateway", "a", "b", None])
def test_an_option_may_name_any_node_also_one_further_down(minimal, peer):
    minimal["nodes"] += [{**minimal["nodes"][0], "id": "b", "peer": peer}, {**minimal["nodes"][0], "id": "gateway"}]
    assert check(minimal).nodes[1].options["peer"] == peer


def test_an_option_that_names_no_node_is_a_mistake_like_the_others(minimal):
    minimal["nodes"] += [
        {**minimal["nodes"][0], "id": "gateway", "mode": "fats"},
        {**minimal["nodes"][0], "id": "c", "peer": "gatway"},
    ]
    assert problems(minimal) == [
        "nodes[1].mode: unknown value 'fats'; did you mean 'fast'?",
        "nodes[2].peer: unknown node 'gatway'; did you mean 'gateway'?",
    ]


def test_a_node_with_a_mistake_of_its_own_may_still_be_named(minimal):
    minimal["nodes"] = [{**minimal["nodes"][0], "peer": "b"}, {"id": "b"}]
    minimal["network"] = {"model": "latency", "links": [{"src": "a", "dst": "b"}]}
    assert all(problem.startswith("nodes[1].") for problem in problems(minimal))


def test_nodes_that_are_elsewhere_can_be_made_known(minimal):
    minimal["nodes"][0]["peer"] = "gateway"
    scenario = from_document(minimal, folder=Path("/"), where="doc", known_nodes=["gateway"])
    assert scenario.nodes[0].options["peer"] == "gateway"
    with pytest.raises(InputError, match=r"nodes\[0\].peer: unknown node 'gateway'; did you mean 'gateways'"):
        from_document(minimal, folder=Path("/"), where="doc", known_nodes=["gateways"])


@pytest.mark.parametrize(("name", "why"), [("a", ""), ("A", ": 'a' differs in capitals only, and both name log files")])
def test_ids_are_unique(minimal, name, why):
    minimal["nodes"].append({**minimal["nodes"][0], "id": name})
    assert problems(minimal) == [f"nodes[1].id: there is another node {name!r}{why}"]


def test_the_normal_form_has_every_default(minimal):
    scenario = check(minimal)
    assert (
        NodeSpec(
            id="a",
            type="sensor",
            implementation="fake",
            options={
                "columns": [],
                "count": None,
                "env": {},
                "every": 10_000,
                "extra": None,
                "gain": 1.0,
                "loud": False,
                "mode": "fast",
                "model": "m:A",
                "peer": None,
                "room": 65536,
            },
            config={},
        )
        == scenario.nodes[0]
    )
    document = scenario.document
    assert sorted(SCENARIO) == list(document)
    assert (document["nodes"][0]["every"], document["nodes"][0]["room"]) == ("10ms", "64KiB")
    assert document["network"] == {"model": "direct"}
    assert {"default": "exact"} == document["compare"] == scenario.compare
    assert (
        scenario.runtime_estimate_us,
        scenario.ci_compatible,
        scenario.requires,
        scenario.seed,
    ) == (None, True, (), 0)


@given(strategies.documents())
def test_the_document_of_a_scenario_gives_it_back(document):
    scenario = check(document)
    again = from_document(json.loads(json.dumps(scenario.document)), folder=Path("/"), where="again")
    assert scenario == again
    assert json.dumps(scenario.document) == json.dumps(again.document)


@given(strategies.documents())
def test_the_order_in_the_file_never_matters(document):
    def shuffled(value, order):
        if isinstance(value, dict):
            return {key: shuffled(value[key], order) for key in order.sample(list(value), len(value))}
        return value

    order = random.Random(0)
    other = shuffled(document, order)
    other["nodes"] = [shuffled(node, order) for node in reversed(document["nodes"])]
    if "links" in other.get("network", {}):
        other["network"]["links"] = [shuffled(link, order) for link in reversed(document["network"]["links"])]
    assert json.dumps(check(document).document) == json.dumps(check(other).document)
    assert check(document) == check(other)


@given(strategies.junk)
def test_junk_is_an_input_error(document):
    with pytest.raises(InputError):
        check(document)


@given(strategies.documents(), strategies.junk, strategies.junk)
def test_junk_inside_a_valid_document_is_an_input_error_or_harmless(document, key, value):
    key = str(key)
    for place in (
        document,
        document["nodes"][0],
        document.setdefault("network", {}),
        document.setdefault("compare", {}),
    ):
        kept = dict(place)
        for junk_key in (key, *kept):
            place[junk_key] = value
            with suppress(InputError, MissingDependency):
                check(document)
            place.clear()
            place.update(kept)


@pytest.mark.parametrize(
    ("network", "step_us", "warned"),
    [
        ({"model": "direct"}, 1_000, True),
        ({"model": "latency"}, 1_000, True),
        ({"model": "latency", "base": "7ms", "jitter": "1ms"}, 7_000, False),
        ({"model": "latency", "base": "7ms", "links": [{"src": "a", "dst": "a", "base": "250us"}]}, 250, False),
        ({"model": "latency", "base": "7ms", "links": [{"src": "a", "dst": "a", "loss": 1}]}, 7_000, False),
    ],
)
def test_the_automatic_step_is_the_smallest_latency(minimal, network, step_us, warned):
    scenario = check({**minimal, "network": network})
    assert (step_us, warned) == (scenario.step_us, bool(scenario.step_warning))
    assert scenario.document["step"] == "auto"


def test_a_step_of_its_own_needs_no_warning(minimal):
    scenario = check({**minimal, "step": "2ms"})
    assert (scenario.step_us, scenario.step_warning) == (2_000, "")


def test_links_keep_what_they_inherit_open(minimal):
    minimal["network"] = {"model": "latency", "base": "7ms", "links": [{"src": "a", "dst": "a", "jitter": "1ms"}]}
    scenario = check(minimal)
    assert scenario.network.options["links"] == [{"dst": "a", "jitter": 1_000, "src": "a"}]
    assert scenario.document["network"]["links"] == [{"dst": "a", "jitter": "1ms", "src": "a"}]


def test_a_missing_package_is_an_error_for_the_scenario_that_needs_it(minimal):
    minimal["nodes"].append({"id": "b", "type": "t", "implementation": "absent", "what": "ever"})
    with pytest.raises(MissingDependency, match="package_that_is_not_installed"):
        check(minimal)
    minimal["seed"] = "x"
    assert problems(minimal) == [
        "seed: expected an integer, not 'x'",
        (
            "nodes[1].implementation: implementation 'absent' needs package_that_is_not_installed, "
            "which is not installed; get it with: pip install package_that_is_not_installed"
        ),
    ]


def test_every_built_in_implementation_has_sound_options():
    """Defaults obey their own options, and no option hides a key that every node has."""
    for group in (registry.NODES, registry.NETWORKS):
        for name, place in registry.BUILT_IN[group].items():
            if place.startswith("xtrace."):
                for key, option in registry.load(group, name).OPTIONS.items():
                    assert key not in {"id", "type", "implementation", "config"}
                    assert option.doc
                    assert option.required or default(option)
