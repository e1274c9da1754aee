"""Secrets of a scenario: where their values come from, and the references in its nodes that stand for them.

A checked scenario and its document hold references only. Values are looked up when it runs, and put into what its nodes
are told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from xtrace.capture.environment import versions
from xtrace.capture.layout import EVENTS, EVENTS_INDEX, LOGS, MANIFEST, NODES_INDEX, TAIL, TIMING
from xtrace.capture.secrets import Secrets, placeholder, weakness
from xtrace.capture.shape import STATUSES
from xtrace.engine.errors import InputError, NodeCrashed, NodeFailure, NodeTimeout, ProtocolError
from xtrace.engine.recorder import KINDS, NETWORK, Row
from xtrace.scenarios.problems import Place, format_place
from xtrace.scenarios.references import reference, with_values
from xtrace.scenarios.scenario import Scenario

MAX_FILE_BYTES = 64 * 1024
"""No value is longer: a file that is was named by mistake."""

TOO_ORDINARY = "the value is a part of what a run says of itself, and would be found everywhere: choose another"

_WORDS = (
    *(EVENTS, EVENTS_INDEX, NODES_INDEX, TAIL, TIMING, MANIFEST, *STATUSES, *KINDS, *Row._fields, "".join(KINDS)),
    *(error.__name__ for error in (InputError, NodeCrashed, NodeFailure, NodeTimeout, ProtocolError)),
    "xtrace seal 1 manifest sha256: xt1:sha256: xtrace.format xtrace.digest ARROW1 XTEVIDX XTNDIDX XTTAIL",
    "artefacts blocks bytes checksum cpu_features duration_us error failure fingerprint first_step footer format",
    "implementation last_step length machine objects offset packages platform programs reason replay_of replayed",
    "scenario self_contained status step_us system totals versions vocabulary wall_ns unix_ns",
)
"""What stands in every run."""


class Found(NamedTuple):
    """The values of secrets that could be had, and what to do about each of the others.

    `exposed` are values that stand in the scenario: nodes have them whatever becomes of the references.
    """

    values: dict[str, str]
    missing: dict[str, str]
    exposed: dict[str, str]

    def problems(self) -> list[str]:
        """Return what keeps a scenario from being recorded."""
        return [f"secrets.{name}: {problem}" for name, problem in {**self.missing, **self.exposed}.items()]


def provided(scenario: Scenario, *, about: Mapping[str, Any]) -> tuple[Scenario, Secrets | None]:
    """Return `scenario` with values in place of references, and its secrets, None if it has none.

    `about` is what a run says of itself. Raises InputError that says how to provide every value that is missing, and
    why one can't be kept secret.
    """
    if not scenario.secrets:
        return scenario, None
    found = find_values(scenario, folder=scenario.folder)
    problems = found.problems()
    ids = sorted([NETWORK, *(node.id for node in scenario.nodes)])
    names = ["".join(ids), *(f"{LOGS}/{each}.log" for each in ids)]  # in the event log, and of files
    text = json.dumps([about, names, versions()], ensure_ascii=False)
    own = [name for name, value in found.values.items() if value in text]
    problems += [f"secrets.{name}: {TOO_ORDINARY}" for name in own]
    if problems:
        raise InputError(scenario.name, problems)
    return told(scenario, found), Secrets(found.values)


def find_values(scenario: Scenario, *, folder: Path, environment: Mapping[str, str] | None = None) -> Found:
    """Return the values of the secrets of `scenario`; files that are named relatively lie in `folder`."""
    variables = os.environ if environment is None else environment
    found = Found({}, {}, {})
    for name, source in scenario.secrets.items():
        try:
            value = _value(source, folder, variables)
            _check(name, value)
        except ValueError as error:
            found.missing[name] = str(error)
            continue
        places = [format_place(place) for place, text in _texts(scenario.document, ()) if value in text]
        if places:
            remedy = f"write {reference(name)} there instead"
            found.exposed[name] = f"the value stands in the scenario, at {places[0].replace(value, '…')}: {remedy}"
        else:
            found.values[name] = value
    return found


def told(scenario: Scenario, found: Found) -> Scenario:
    """Return `scenario` with values in place of references in what its nodes are told; its document stays.

    A value that is missing is its placeholder.
    """
    values = {name: placeholder(name) for name in scenario.secrets} | found.values
    nodes = [
        replace(spec, config=with_values(spec.config, values), options=with_values(spec.options, values))
        for spec in scenario.nodes
    ]
    return replace(scenario, nodes=tuple(nodes))


def redact_failure(failure: NodeFailure | None, secrets: Secrets | None) -> None:
    """Remove secrets from what is said about `failure`."""
    if failure is not None and secrets is not None:
        failure.reason, failure.hint = secrets.redact_text(failure.reason), secrets.redact_text(failure.hint)
        failure.args = (failure.node, failure.reason)


def _value(source: Mapping[str, str | None], folder: Path, variables: Mapping[str, str]) -> str:
    variable, file = source["env"], source["file"]
    return _from_variable(variable, variables) if variable else _from_file(folder / str(file))


def _from_variable(name: str, variables: Mapping[str, str]) -> str:
    if name not in variables:
        raise ValueError(f"the variable {name} is not set: export it with the value, `export {name}=…`")
    return variables[name]


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; write the value into it as text") from None
    except OSError as error:
        raise ValueError(
            f"{path} can't be read: {error.strerror}; write the value into this file, or name another"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{path} is longer than the limit of {MAX_FILE_BYTES} bytes; name a file with the value only")
    return text.removesuffix("\n").removesuffix("\r")


def _check(name: str, value: str) -> None:
    """Raise ValueError, without the value in it, if `value` can't be kept out of a run."""
    weak = weakness(value)
    if weak:
        raise ValueError(f"{weak}: choose a longer one")
    marks = (placeholder(name, 1), placeholder(name).replace(">", ":cut>"))
    if any(value in text for text in (*_WORDS, *marks)):
        raise ValueError(TOO_ORDINARY)


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield every key and value of a document as text, entries of `nodes` under their ids."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield (*place, key), key
            yield from _texts(member, (*place, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            name = member["id"] if place == ("nodes",) else index
            yield from _texts(member, (*place, name))
    else:
        yield place, value if isinstance(value, str) else json.dumps(value)
