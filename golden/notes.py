"""What should be known before "different" is believed: how the two recordings were not the same to begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from xtrace.golden.trace import Trace, last_step

_PROSE = ("description", "expected", "runtime_estimate", "ci_compatible", "requires", "compare")
"""Keys of a scenario that no run depends on."""
_OWN_LINES = ("nodes", "seed")
_ABSENT = "(absent)"
SHOWN_CHARACTERS_MAX = 60


def notes(a: Trace, b: Trace) -> tuple[str, ...]:
    """Return one line for each difference of platform, outcome, seed, scenario, nodes and artefacts; A / B."""
    return tuple(_notes(a, b))


def _notes(a: Trace, b: Trace) -> Iterator[str]:
    one, other = a.manifest, b.manifest
    if one.get("platform") != other.get("platform"):
        names = ", ".join(_unequal(_mapping(one, "platform"), _mapping(other, "platform")))
        yield f"platform class differs ({names}): exact results are promised within one class only"
    if a.status != b.status:
        yield f"status differs: {a.status} up to step {last_step(a)} / {b.status} up to step {last_step(b)}"
    yield from _differs("seed", one.get("seed"), other.get("seed"))
    scenario, other_scenario = _mapping(one, "scenario"), _mapping(other, "scenario")
    for key in _unequal(scenario, other_scenario):
        if key not in (*_PROSE, *_OWN_LINES):
            yield from _differs(key, scenario.get(key, _ABSENT), other_scenario.get(key, _ABSENT))
    yield from _node_notes(_by_id(scenario), _by_id(other_scenario))
    artefacts, other_artefacts = _mapping(one, "artefacts"), _mapping(other, "artefacts")
    replayed = [manifest["replayed"] for manifest in (one, other) if "replayed" in manifest]
    for name, manifest in (("A", one), ("B", other)):
        if "replayed" in manifest:
            yield f"{name} is a replay of node {manifest['replayed']} alone"
    for node in replayed or _unequal(artefacts, other_artefacts):
        for name in _unequal(artefacts.get(node, {}), other_artefacts.get(node, {})):
            yield f"node {node}: artefact {name} differs"


def _node_notes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for node in _unequal(a, b):
        if node not in a or node not in b:
            yield f"node {node}: only in {'B' if node not in a else 'A'}"
            continue
        for key in _unequal(a[node], b[node]):
            one, other = a[node].get(key, _ABSENT), b[node].get(key, _ABSENT)
            if isinstance(one, dict) and isinstance(other, dict):
                for name in _unequal(one, other):
                    yield from _differs(f"node {node}: {key}.{name}", one.get(name, _ABSENT), other.get(name, _ABSENT))
            else:
                yield from _differs(f"node {node}: {key}", one, other)


def _differs(what: str, a: Any, b: Any) -> Iterator[str]:
    if a != b:
        yield f"{what} differs: {_text(a)} / {_text(b)}"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=repr)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"


def _mapping(manifest: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = manifest.get(key)
    return found if isinstance(found, dict) else {}


def _by_id(scenario: Mapping[str, Any]) -> dict[str, Any]:
    nodes = scenario.get("nodes")
    found = [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    return {node["id"]: node for node in found if isinstance(node.get("id"), str)}


def _unequal(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({*a, *b}) if key not in a or key not in b or a[key] != b[key]]
