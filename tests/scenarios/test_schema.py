"""The JSON Schema for editors and the validator agree on the structure of a scenario file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from xtrace.engine import registry
from xtrace.engine.errors import InputError
from xtrace.scenarios.keys import COMPARE, LINK, NODE, SCENARIO, SECRET
from xtrace.scenarios.loader import from_document, library, load
from xtrace.scenarios.problems import Problems
from xtrace.scenarios.schema import json_schema
from xtrace.scenarios.yaml_file import read_yaml

from . import strategies  # noqa: TID252  # tests have no name to be imported by


@pytest.fixture(scope="module")
def schema():
    return Draft202012Validator(json_schema())


def both_refuse(schema, document):
    with pytest.raises(InputError):
        from_document(document, folder=Path("/"), where="doc")
    return not schema.is_valid(document)


def test_the_schema_is_one_and_json(schema):
    Draft202012Validator.check_schema(schema.schema)
    assert json_schema() == json.loads(json.dumps(json_schema()))


def test_the_schema_describes_every_key(schema):
    text = json.dumps(schema.schema)
    tables = [
        SCENARIO,
        NODE,
        COMPARE,
        LINK,
        SECRET,
        *(registry.load(registry.NETWORKS, each).OPTIONS for each in ("direct", "latency")),
    ]
    for key, option in [item for table in tables for item in table.items()]:
        assert f'"{key}": {{' in text
        assert json.dumps(option.doc) in text


@pytest.mark.parametrize("name", [name for name, _ in library()])
def test_the_library_obeys_the_schema(schema, name):
    path = dict(library())[name]
    for document in (read_yaml(path, problems=Problems(name)), load(name).document):
        assert [error.message for error in schema.iter_errors(document)] == []


@given(strategies.documents())
def test_what_the_validator_accepts_the_schema_accepts(document):
    schema = Draft202012Validator(json_schema())
    assert [error.message for error in schema.iter_errors(document)] == []
    normal = from_document(document, folder=Path("/"), where="doc").document
    assert [error.message for error in schema.iter_errors(normal)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"duration": 5},
        {"duration": "5"},
        {"duration": "5 parsec"},
        {"step": "automatic"},
        {"step": None},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": "1"},
        {"scenario": "A b"},
        {"description": None},
        {"ci_compatible": "yes"},
        {"requires": "x"},
        {"requires": [1]},
        {"faults": [1]},
        {"compare": {"default": "loose"}},
        {"compare": {"other": 1}},
        {"network": {"model": "latancy"}},
        {"network": {"base": "1ms"}},
        {"network": {"model": "latency", "loss": 2}},
        {"network": {"model": "latency", "links": [{"src": "a"}]}},
        {"network": {"model": "latency", "links": [{"src": "a", "dst": "a", "bsae": "1s"}]}},
        {"network": []},
        {"nodes": []},
        {"nodes": {}},
        {"nodes": [{"id": "a"}]},
        {"unknown": 1},
    ],
)
def test_a_broken_structure_fails_in_both(schema, minimal, change):
    assert both_refuse(schema, {**minimal, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"id": "a.b"},
        {"id": "network"},
        {"id": 5},
        {"type": ""},
        {"implementation": "pyhton_model"},
        {"config": []},
        {"model": None},
        {"mode": "x"},
        {"every": 5},
        {"room": "5"},
        {"gain": 11},
        {"count": 1.5},
        {"loud": "on"},
        {"columns": "a"},
        {"env": None},
        {"unknown": 1},
    ],
)
def test_a_broken_node_fails_in_both(schema, minimal, change):
    minimal["nodes"][0].update(change)
    assert both_refuse(schema, minimal)


def test_options_of_what_is_not_installed_stay_open(schema, minimal):
    minimal["nodes"][0] = {"id": "a", "type": "t", "implementation": "absent", "what": "ever"}
    assert schema.is_valid(minimal)
