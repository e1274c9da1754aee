"""Where secrets may stand in a scenario, where their values come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xtrace.capture.layout import EVENTS
from xtrace.engine.errors import InputError, NodeCrashed
from xtrace.scenarios.loader import from_document
from xtrace.scenarios.scenario import Scenario
from xtrace.scenarios.secrets import MAX_FILE_BYTES, find_values, provided, redact_failure, told

SECRET = "correct horse"


@pytest.fixture
def document(minimal: dict[str, Any]) -> dict[str, Any]:
    minimal["secrets"] = {"broker": {"env": "BROKER_PASSWORD"}, "key": {"file": "key.txt"}}
    minimal["nodes"][0] |= {
        "config": {"password": "${secret:broker}", "deep": [{"key": ["${secret:key}", 1]}], "user": "me"},
        "env": {"KEY": "${secret:key}"},
    }
    return minimal


def loaded(document: dict[str, Any], folder: Path = Path("/nowhere")) -> Scenario:
    return from_document(document, folder=folder, where="doc")


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        loaded(document)
    return caught.value.problems


def test_a_checked_scenario_holds_references_and_no_values(document, monkeypatch):
    monkeypatch.setenv("BROKER_PASSWORD", SECRET)
    scenario = loaded(document)
    assert scenario.secrets == {
        "broker": {"env": "BROKER_PASSWORD", "file": None},
        "key": {"env": None, "file": "key.txt"},
    }
    assert scenario.nodes[0].config["password"] == "${secret:broker}"
    assert SECRET not in repr(scenario)
    assert from_document(scenario.document, folder=scenario.folder, where="again") == scenario


def test_values_come_from_variables_and_files(document, tmp_path):
    (tmp_path / "key.txt").write_text("--key--\nline 2--\r\n")
    found = find_values(loaded(document), folder=tmp_path, environment={"BROKER_PASSWORD": SECRET})
    assert found == ({"broker": SECRET, "key": "--key--\nline 2--"}, {}, {})
    spec = told(loaded(document), found).nodes[0]
    assert spec.config == {"password": SECRET, "deep": [{"key": ["--key--\nline 2--", 1]}], "user": "me"}
    assert spec.options["env"] == {"KEY": "--key--\nline 2--"}


def test_a_missing_value_is_its_placeholder(document, tmp_path):
    found = find_values(loaded(document), folder=tmp_path, environment={"BROKER_PASSWORD": SECRET})
    assert list(found.missing) == ["key"]
    assert told(loaded(document), found).nodes[0].options["env"] == {"KEY": "<secret:key>"}


def test_everything_that_is_not_provided_is_reported_at_once(document, monkeypatch, tmp_path):
    monkeypatch.delenv("BROKER_PASSWORD", raising=False)
    with pytest.raises(InputError) as caught:
        provided(loaded(document, tmp_path), about={})
    file_remedy = "write the value into this file, or name another"
    assert caught.value.problems == [
        "secrets.broker: the variable BROKER_PASSWORD is not set: export it with the value, `export BROKER_PASSWORD=…`",
        f"secrets.key: {tmp_path / 'key.txt'} can't be read: No such file or directory; {file_remedy}",
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\xfd\xfc\xfb\xfa", "is not UTF-8 text"),
        (b"x" * (MAX_FILE_BYTES + 1), "is longer than the limit"),
        (b"short\n", "shorter than 6"),
        (b"123456\n", "a number"),
        (b"env: X", ""),
    ],
)
def test_the_content_of_a_file_is_checked(document, tmp_path, content, why):
    (tmp_path / "key.txt").write_bytes(content)
    found = find_values(loaded(document), folder=tmp_path, environment={})
    assert why in found.missing.get("key", "")
    assert ("key" in found.values) is (why == "")


@pytest.mark.parametrize("place", ["a folder", "a loop"])
def test_a_file_that_can_not_be_read_is_reported(document, tmp_path, place):
    path = tmp_path / "key.txt"
    path.mkdir() if place == "a folder" else path.symlink_to(path)
    assert "can't be read" in find_values(loaded(document), folder=tmp_path, environment={}).missing["key"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"description": f"uses {SECRET}"}, "description"),
        ({"nodes": [{"id": "a", "config": {"x": [SECRET]}}]}, "nodes.a.config.x[0]"),
        ({"nodes": [{"id": "a", "config": {SECRET: 1}}]}, "nodes.a.config.…"),
    ],
)
def test_a_value_that_stands_in_the_scenario_is_refused(document, change, place):
    change.get("nodes", [{}])[0].update(type="sensor", implementation="fake", model="m:A")
    scenario = loaded({**document, **change})
    found = find_values(scenario, folder=Path("/nowhere"), environment={"BROKER_PASSWORD": SECRET})
    assert found.exposed["broker"].startswith(f"the value stands in the scenario, at {place}")


@pytest.mark.parametrize(
    "value", ["abort row", EVENTS, "complete", "payload", "reason", "secret", "NodeCrashed", "stepinput", "broker:cut"]
)
def test_a_value_that_every_run_has_in_it_is_refused(document, value):
    found = find_values(loaded(document), folder=Path("/nowhere"), environment={"BROKER_PASSWORD": value})
    assert ("broker" in found.values) is (value == "abort row")


def test_a_number_in_the_scenario_counts_too(document):
    document["nodes"][0]["config"]["number"] = 123456789012
    found = find_values(loaded(document), folder=Path("/nowhere"), environment={"BROKER_PASSWORD": "123456789012"})
    assert "nodes.a.config.number" in found.exposed["broker"]


def test_a_value_that_the_run_says_of_itself_is_refused(document, tmp_path, monkeypatch):
    (tmp_path / "key.txt").write_text("--key--")
    monkeypatch.setenv("BROKER_PASSWORD", "x86_64-linux")
    with pytest.raises(InputError, match=r"secrets\.broker: the value is a part of what a run says of itself"):
        provided(loaded(document, tmp_path), about={"platform": {"machine": "x86_64-linux-gnu"}})


def test_a_failure_is_redacted_in_all_its_parts(document, tmp_path, monkeypatch):
    (tmp_path / "key.txt").write_text("--key--")
    monkeypatch.setenv("BROKER_PASSWORD", SECRET)
    _, secrets = provided(loaded(document, tmp_path), about={})
    failure = NodeCrashed("a", f"no {SECRET}", hint=f"try {SECRET}")
    redact_failure(failure, secrets)
    assert str(failure) == "node 'a' crashed: no <secret:broker>\n  try <secret:broker>"
    assert SECRET not in repr(failure)


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ([], "secrets: expected a mapping, not a list"),
        ({"a": 5}, "secrets.a: expected a mapping, not 5"),
        ({"a": "PASSWORD"}, "secrets.a: expected a mapping, not 'PASSWORD'"),
        ({"a": {}}, "secrets.a: say where the value comes from, once: {env: VARIABLE} or {file: path}"),
        ({"a": {"env": "X", "file": "x"}}, "secrets.a: say where the value comes from, once"),
        ({"a": {"env": "no name"}}, "secrets.a.env: 'no name' is not the environment variable"),
        ({"a": {"file": ""}}, "secrets.a.file: a path is needed"),
        ({"a": {"var": "X"}}, "secrets.a.var: unknown key 'var'"),
        ({"a b": {"env": "X"}}, "secrets.a b: 'a b' is no name of a secret"),
    ],
)
def test_a_wrong_declaration_is_reported(minimal, secrets, problem):
    (found,) = problems({**minimal, "secrets": secrets})
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ({"config": {"a": "${secret:brokre}"}}, "config.a: unknown secret 'brokre'; did you mean 'broker'?"),
        ({"config": {"a": "Bearer ${secret:broker}"}}, "config.a: a reference stands alone: write ${secret:NAME}"),
        ({"config": {"${secret:broker}": 1}}, "config.${secret:broker}: a reference to a secret can't be a key"),
        ({"model": "${secret:broker}"}, "model: a secret can't stand here: give it to a node in `config` or `env`"),
        ({"columns": ["${secret:broker}"]}, "columns[0]: a secret can't stand here"),
    ],
)
def test_a_wrong_reference_is_reported(document, node, problem):
    document["nodes"][0] |= node
    (found,) = problems(document)
    assert found.startswith(f"nodes[0].{problem}")


def test_a_reference_without_declarations_is_reported(minimal):
    minimal["nodes"][0]["config"] = {"a": "${secret:broker}"}
    assert problems(minimal) == ["nodes[0].config.a: there is no secret 'broker' in `secrets`"]


def test_a_reference_in_the_network_is_reported(document):
    document["network"] = {"model": "latency", "base": "${secret:broker}"}
    assert len(problems(document)) == 1


def test_prose_may_speak_of_references(document):
    assert loaded({**document, "description": "logs in with ${secret:broker}"}).description.endswith("}")


def test_a_node_that_is_not_installed_is_no_reason_to_refuse_a_reference(document):
    document["nodes"].append({"id": "b", "type": "b", "implementation": "absent", "env": {"A": "${secret:key}"}})
    with pytest.raises(Exception, match="package_that_is_not_installed") as caught:
        loaded(document)
    assert "secret" not in str(caught.value)
