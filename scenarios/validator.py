"""Checks a whole scenario against the tables of keys, and brings it into its one normal form."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xtrace.engine.duration import format_duration
from xtrace.engine.errors import MissingDependency
from xtrace.engine.node import NodeSpec, Option
from xtrace.engine.registry import NETWORKS, NODES, load, names, unknown
from xtrace.scenarios.keys import (
    COMPARE,
    DEFAULT_STEP_US,
    LINK,
    LINKS,
    MODEL,
    NODE,
    NODE_ID,
    PROSE,
    REFERRING_KINDS,
    RESERVED_IDS,
    SCENARIO,
    SECRET,
)
from xtrace.scenarios.options import Normal, default, normalise
from xtrace.scenarios.plain import plain
from xtrace.scenarios.problems import Place, Problems, describe
from xtrace.scenarios.references import reference_fault, refers
from xtrace.scenarios.scenario import NetworkSpec, Scenario

STEP_WARNING = (
    "no smallest latency to take the step from, so it is {step}: what arrives when may depend on it; "
    "give the network a latency, or set `step`"
)


def validate(document: Any, *, folder: Path, problems: Problems, known_nodes: Sequence[str] = ()) -> Scenario:
    """Return the scenario that `document` describes; its options may name its own nodes and `known_nodes`.

    Raises InputError with every mistake; MissingDependency if nothing but an uninstalled package stands in the way.
    """
    validator = _Validator(problems, known_nodes)
    scenario = validator.scenario(document, folder=folder)
    if scenario is None and not problems:
        raise next(iter(validator.missing.values()))
    if scenario is None:
        for place, missing in validator.missing.items():
            problems.add(place, str(missing))
        raise problems.error()
    return scenario


class _Validator:
    """Checks one document. Every mistake goes to `problems`, every package that is not installed to `missing`."""

    def __init__(self, problems: Problems, known_nodes: Sequence[str]) -> None:
        self.problems = problems
        self.ids = dict.fromkeys(known_nodes)
        self.missing: dict[Place, MissingDependency] = {}
        self.referring: dict[Place, None] = {}
        """Where values may be references to secrets."""

    def scenario(self, document: Any, *, folder: Path) -> Scenario | None:
        """Return the scenario that `document` describes, or None if there are mistakes."""
        document = plain(document, problems=self.problems)
        if not isinstance(document, dict):
            self.problems.add((), f"expected a mapping with the keys {', '.join(SCENARIO)}, not {describe(document)}")
            return None
        top = self._keys(document, SCENARIO, ())
        secrets = self._secrets(document.get("secrets", {}))
        nodes = self._nodes(document["nodes"]) if "nodes" in document else []
        network = self._network(document.get("network", {}))
        compare = self._keys(document.get("compare", {}), COMPARE, ("compare",))
        if document.get("faults", []) != []:
            self.problems.add(("faults",), "faults can't be injected yet: leave the list empty, []")
        self._references({key: each for key, each in document.items() if key not in PROSE}, (), names=list(secrets))
        if self.problems or self.missing or network is None:
            return None
        written, given = _split(top)
        written |= {
            "compare": _split(compare)[0],
            "secrets": secrets,
            "network": network[0],
            "nodes": [each for each, _ in nodes],
        }
        written["requires"] = given["requires"] = sorted(dict.fromkeys(given["requires"]))
        step_us, step_warning = _step(given["step"], network[1])
        return Scenario(
            name=given["scenario"],
            description=given["description"],
            expected=given["expected"],
            runtime_estimate_us=given["runtime_estimate"],
            ci_compatible=given["ci_compatible"],
            requires=tuple(given["requires"]),
            seed=given["seed"],
            duration_us=given["duration"],
            step_us=step_us,
            step_warning=step_warning,
            network=network[1],
            nodes=tuple(node for _, node in nodes),
            compare=_split(compare)[1],
            secrets=secrets,
            folder=folder,
            document=_ordered(written),
        )

    def _keys(
        self, mapping: Any, options: Mapping[str, Option], place: Place, *, closed: bool = True, fill: bool = True
    ) -> dict[str, Normal]:
        """Return the checked values of `mapping`: no other keys if `closed`, defaults for missing ones if `fill`."""
        if not isinstance(mapping, dict):
            self.problems.add(place, f"expected a mapping, not {describe(mapping)}")
            return {}
        missing = [key for key, option in options.items() if option.required and key not in mapping]
        for key in mapping:
            if key in options:
                continue
            meant = difflib.get_close_matches(key[:80], missing, n=1)  # one mistake, so one line
            missing = [each for each in missing if each not in meant]
            if closed or meant:
                self.problems.add((*place, key), unknown(key[:80], meant or options, "key"))
        for key in missing:
            self.problems.add((*place, key), f"is missing: {options[key].doc}")
        wanted = {key: option for key, option in options.items() if key in mapping or (fill and not option.required)}
        found = {key: self._value(option, key, mapping, place) for key, option in wanted.items()}
        return {key: normal for key, normal in found.items() if normal is not None}

    def _value(self, option: Option, key: str, mapping: dict[str, Any], place: Place) -> Normal | None:
        if key not in mapping:
            return default(option)
        try:
            normal = normalise(option, mapping[key])
        except ValueError as error:
            self.problems.add((*place, key), str(error))
            return None
        if option.kind == "node" and normal.given is not None and self.ids and normal.given not in self.ids:
            self.problems.add((*place, key), unknown(normal.given[:80], self.ids, "node"))
            return None
        return normal

    def _load(self, group: str, name: Any, place: Place) -> Any:
        """Return the class called `name`, or None if it is unknown or can't be imported."""
        if not isinstance(name, str):
            self.problems.add(place, f"expected text, not {describe(name)}")
        elif name not in names(group):
            what = "implementation" if group == NODES else "network model"
            self.problems.add(place, unknown(name[:80], names(group), what))
        else:
            try:
                return load(group, name)
            except MissingDependency as error:
                self.missing[place] = error
        return None

    def _nodes(self, nodes: Any) -> list[tuple[dict[str, Any], NodeSpec]]:
        """Return each node as in the document and as the engine gets it, in order of ids."""
        if not isinstance(nodes, list) or not nodes:
            what = "an empty one" if nodes == [] else describe(nodes)
            self.problems.add(("nodes",), f"expected a list with an entry for each node, not {what}")
            return []
        self._ids(nodes)
        found = [self._node(node, ("nodes", index)) for index, node in enumerate(nodes)]
        return sorted((each for each in found if each is not None), key=lambda each: each[1].id)

    def _secrets(self, secrets: Any) -> dict[str, dict[str, Any]]:
        """Return where the value of each secret comes from, in order of their names."""
        found = {}
        for name, source in secrets.items() if isinstance(secrets, dict) else ():  # what else it is, `_keys` says
            place: Place = ("secrets", name)
            if not NODE_ID.fullmatch(name):
                self.problems.add_key(place, f"{name[:80]!r} is no name of a secret: {NODE_ID.pattern} is expected")
            found[name] = given = _split(self._keys(source, SECRET, place))[1]
            sources = [each for each in given.values() if each is not None]
            if isinstance(source, dict) and given.keys() >= {*source, *SECRET} and len(sources) != 1:
                self.problems.add(place, "say where the value comes from, once: {env: VARIABLE} or {file: path}")
        return found

    def _references(self, value: Any, place: Place, *, names: Sequence[str]) -> None:
        """Check the references to secrets in `value`, and that there are none where nothing is put in their place."""
        if isinstance(value, dict):
            for key, member in value.items():
                if refers(key):
                    self.problems.add_key((*place, key), "a reference to a secret can't be a key: make it a value")
                self._references(member, (*place, key), names=names)
        elif isinstance(value, list):
            for index, member in enumerate(value):
                self._references(member, (*place, index), names=names)
        elif isinstance(value, str) and refers(value):
            fault = reference_fault(value, names)
            if not fault and place[:3] not in self.referring:
                fault = "a secret can't stand here: give it to a node in `config` or `env`"
            if fault:
                self.problems.add(place, fault)

    def _ids(self, nodes: Sequence[Any]) -> None:
        seen: dict[str, str] = {}
        for index, node in enumerate(nodes):
            name = node.get("id") if isinstance(node, dict) else None
            if not isinstance(name, str):
                continue
            self.ids[name] = None
            first = seen.get(name.casefold())
            seen.setdefault(name.casefold(), name)
            place = ("nodes", index, "id")
            if name.casefold() in RESERVED_IDS:
                self.problems.add(place, f"{name!r} is reserved for the network model: choose another id")
            elif first is not None:
                also = "" if first == name else f": {first!r} differs in capitals only, and both name log files"
                self.problems.add(place, f"there is another node {name[:80]!r}{also}")

    def _node(self, node: Any, place: Place) -> tuple[dict[str, Any], NodeSpec] | None:
        if not isinstance(node, dict):
            self.problems.add(place, f"expected a mapping with {', '.join(NODE)}, not {describe(node)}")
            return None
        options: Mapping[str, Option] | None = None  # not known without the implementation
        if "implementation" in node:
            implementation = self._load(NODES, node["implementation"], (*place, "implementation"))
            options = None if implementation is None else implementation.OPTIONS
        self.referring |= {
            (*place, key): None
            for key in node
            if key == "config" or options is None or (key in options and options[key].kind in REFERRING_KINDS)
        }
        found = self._keys(node, {**(options or {}), **NODE}, place, closed=options is not None)
        if not found.keys() >= NODE.keys():
            return None
        written, given = _split(found)
        spec = NodeSpec(
            id=given["id"],
            type=given["type"],
            implementation=given["implementation"],
            options=_ordered({key: value for key, value in given.items() if key not in NODE}),
            config=_ordered(given["config"]),
        )
        return written, spec

    def _network(self, network: Any) -> tuple[dict[str, Any], NetworkSpec] | None:
        place: Place = ("network",)
        if not isinstance(network, dict):
            self.problems.add(place, f"expected a mapping such as {{model: latency}}, not {describe(network)}")
            return None
        name = network.get("model", MODEL.default)
        model = self._load(NETWORKS, name, (*place, "model"))
        if model is None:
            return None
        options: Mapping[str, Option] = model.OPTIONS
        found = self._keys(network, {"model": MODEL, **options}, place)
        written, given = _split(found)
        if LINKS in options and found.get(LINKS) is not None:
            link_options = {key: option for key, option in options.items() if key != LINKS}
            links = self._links(given[LINKS], link_options)
            written[LINKS], given[LINKS] = [each for each, _ in links], [each for _, each in links]
        return written, NetworkSpec(name, _ordered({key: given[key] for key in given if key != "model"}))

    def _links(self, links: Any, options: Mapping[str, Option]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return each link as in the document and as the network model gets it, in order of their ends."""
        place: Place = ("network", LINKS)
        if not isinstance(links, list):
            self.problems.add(place, f"expected a list with one entry for each link, not {describe(links)}")
            return []
        found: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {}
        for index, link in enumerate(links):
            here = (*place, index)
            written, given = _split(self._keys(link, {**options, **LINK}, here, fill=False))
            ends = [given.get(end) for end in LINK]
            if None in ends:
                continue
            key = (given["src"], given["dst"])
            if key in found:
                self.problems.add(here, f"there is another link from {key[0]!r} to {key[1]!r}")
            found[key] = (written, given)
        return [found[key] for key in sorted(found)]


def _split(found: Mapping[str, Normal]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {key: each.written for key, each in found.items()}, {key: each.given for key, each in found.items()}


def _step(step_us: int | None, network: NetworkSpec) -> tuple[int, str]:
    """Return the step and a warning: without one of its own it is the smallest latency of the network."""
    if step_us is not None:
        return step_us, ""
    smallest_us = load(NETWORKS, network.model).smallest_latency_us(network.options)
    if smallest_us > 0:
        return smallest_us, ""
    return DEFAULT_STEP_US, STEP_WARNING.format(step=format_duration(DEFAULT_STEP_US))


def _ordered(value: Any) -> Any:
    """Return `value` with every mapping in order of its keys."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(member) for member in value] if isinstance(value, list) else value
