"""The JSON Schema of scenario files, for editors: built from the tables that the validator uses too.

It knows less than the validator: not whether ids are unique, or whether there is a node of the id that an option names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xtrace.engine.duration import UNITS_US
from xtrace.engine.errors import MissingDependency
from xtrace.engine.node import Option
from xtrace.engine.registry import NETWORKS, NODES, load, names
from xtrace.scenarios.keys import COMPARE, LINK, LINKS, MODEL, NODE, NODE_ID, PATTERNS, RESERVED_IDS, SCENARIO, SECRET
from xtrace.scenarios.options import AUTO, UNITS_BYTES, default

Schema = dict[str, Any]

_DURATION = rf"^\s*[0-9]+(\.[0-9]+)?\s*({'|'.join(UNITS_US)})\s*$"
_BYTES = rf"^\s*[0-9]+\s*({'|'.join(UNITS_BYTES)})\s*$"
_NAMES = (SCENARIO["scenario"], NODE["id"], NODE["type"])
_KINDS: dict[str, Schema] = {
    "string": {"type": "string"},
    "node": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "duration": {"type": "string", "pattern": _DURATION},
    "bytes": {"type": "string", "pattern": _BYTES},
    "strings": {"type": "array", "items": {"type": "string"}},
    "mapping": {"type": "object"},
    "any": {},
}


def json_schema() -> Schema:
    """Return the JSON Schema (2020-12) of scenario files, the options of every implementation included."""
    properties = _properties(SCENARIO)
    properties["network"] |= _variants(NETWORKS, "model", {"model": MODEL})
    properties["compare"] |= _object(COMPARE)
    properties["secrets"] |= _secrets()
    properties["faults"] |= {"type": "array", "maxItems": 0}
    properties["nodes"] |= {"type": "array", "minItems": 1, "items": _variants(NODES, "implementation", NODE)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "xtrace scenario",
        "description": "Nodes, the network between them, and how long they run.",
        "type": "object",
        "properties": properties,
        # A file without a name is called as the file is.
        "required": sorted(key for key, option in SCENARIO.items() if option.required and key != "scenario"),
        "additionalProperties": False,
    }


def _variants(group: str, chooser: str, common: Mapping[str, Option]) -> Schema:
    """Return the schema of an object whose further keys depend on what its key `chooser` names."""
    schema = _object(common)
    del schema["additionalProperties"]
    schema["properties"][chooser] |= {"enum": list(names(group))}
    schema["allOf"] = []
    for name in names(group):
        chosen: Schema = {"properties": {chooser: {"const": name}}}
        if name != common[chooser].default:
            chosen["required"] = [chooser]
        try:
            options: Mapping[str, Option] = load(group, name).OPTIONS
        except MissingDependency:
            continue  # only scenarios that use it need it: its options stay open
        variant = _object({**options, **common})
        if group == NETWORKS and LINKS in options:
            variant["properties"][LINKS] |= _links({key: each for key, each in options.items() if key != LINKS})
        schema["allOf"].append({"if": chosen, "then": variant})
    return schema


def _links(options: Mapping[str, Option]) -> Schema:
    """Return the schema of the links of a network model: what they leave out is as for the whole network."""
    items = _object({**options, **LINK})
    for each in items["properties"].values():
        each.pop("default", None)
    return {"type": "array", "items": items}


def _secrets() -> Schema:
    """Return what the schema of `secrets` has besides: names, and exactly one source for each."""
    source = _object(SECRET)
    one_of = [{"required": [key], "properties": {key: {"type": "string"}}} for key in SECRET]
    return {"propertyNames": {"pattern": f"^{NODE_ID.pattern}$"}, "additionalProperties": {**source, "oneOf": one_of}}


def _object(options: Mapping[str, Option]) -> Schema:
    return {
        "type": "object",
        "properties": _properties(options),
        "required": sorted(key for key, option in options.items() if option.required),
        "additionalProperties": False,
    }


def _properties(options: Mapping[str, Option]) -> Schema:
    properties = {key: _property(option) for key, option in sorted(options.items())}
    for key, option in options.items():
        if option in _NAMES:
            properties[key]["pattern"] = f"^{PATTERNS[key].pattern}$"
        if option is NODE["id"]:
            properties[key]["not"] = {"enum": list(RESERVED_IDS)}
    return properties


def _property(option: Option) -> Schema:
    schema: Schema = dict(_KINDS[option.kind])
    if option.choices:
        schema["enum"] = list(option.choices)
    if option.kind in {"integer", "number"}:
        limits = {"minimum": option.minimum, "maximum": option.maximum}
        schema |= {key: limit for key, limit in limits.items() if limit is not None}
    if option.default is None and not option.required and schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if option.kind == "duration" and option.default == AUTO:
        schema = {"anyOf": [schema, {"const": AUTO}]}
    schema["description"] = option.doc
    if not option.required:
        schema["default"] = default(option).written
    return schema
