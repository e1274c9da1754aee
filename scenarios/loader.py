"""Finds a scenario, reads it, applies overrides and checks it: all of its mistakes are reported at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xtrace.engine.errors import InputError
from xtrace.scenarios.keys import NAME
from xtrace.scenarios.overrides import override_at
from xtrace.scenarios.problems import Origin, Problems
from xtrace.scenarios.scenario import Scenario
from xtrace.scenarios.validator import validate
from xtrace.scenarios.yaml_file import read_yaml

LIBRARY = Path(__file__).parent


def load(
    reference: str | Path, *, overrides: Sequence[str] = (), seed: int | None = None, duration: str | None = None
) -> Scenario:
    """Return the scenario in the file `reference`, or the one of that name in the library.

    `overrides` (`path=value`) are carried out in order, then `seed` and `duration`, then everything is checked.
    Raises InputError that lists every mistake; MissingDependency if nothing but an uninstalled package stands in
    the way.
    """
    path = find(reference)
    problems = Problems(str(path))
    document = read_yaml(path, problems=problems)
    if document is None and not problems:
        raise InputError(str(path), "is empty; a scenario needs at least `duration` and `nodes`")
    if isinstance(document, dict):
        document = _override(document, overrides, problems=problems)
        for key, value in (("seed", seed), ("duration", duration)):
            if value is not None:
                document[key] = value
                problems.override((key,), f"--{key}")
        if "scenario" not in document:
            document["scenario"] = path.stem
            problems.origins["scenario",] = Origin(0, "taken from the name of the file")
    return validate(document, folder=path.parent.absolute(), problems=problems)


def from_document(document: Any, *, folder: Path, where: str, known_nodes: Sequence[str] = ()) -> Scenario:
    """Return the scenario that `document` describes, such as `Scenario.document` of another one.

    `where` names the document in errors; `known_nodes` are the ids that its options may name beside those of
    its own nodes. Raises InputError and MissingDependency as `load` does.
    """
    return validate(document, folder=folder, problems=Problems(where), known_nodes=known_nodes)


def library() -> list[tuple[str, Path]]:
    """Return name and file of every scenario that comes with xtrace, in order of names."""
    return [(path.stem, path) for path in sorted(LIBRARY.glob("*.yaml"))]


def find(reference: str | Path) -> Path:
    """Return the file that `reference` means: a name in the library first, else a path. Raises InputError."""
    known = dict(library())
    name = str(reference)
    if isinstance(reference, str) and name in known:
        return known[name]
    path = Path(reference)
    if os.path.exists(path):  # a name that can't be one is False here, not an error
        return path
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    what = "no such scenario in the library, and no such file" if NAME.fullmatch(name) else "no such file"
    raise InputError(name, f"{what}; {hint}the library has: {', '.join(known)}")


def _override(document: dict[str, Any], overrides: Sequence[str], *, problems: Problems) -> dict[str, Any]:
    for override in overrides:
        try:
            document, place = override_at(document, override)
            problems.override(place, "--set")
        except InputError as error:
            for problem in error.problems:
                problems.add_key((error.where,), problem)
    return dict(document)
