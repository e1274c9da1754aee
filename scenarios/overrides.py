"""`path=value`, the one grammar of `--set` and `--with`: nodes.edge.config.window=3, network.links[0].base=5ms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xtrace.engine.errors import InputError
from xtrace.engine.registry import unknown
from xtrace.scenarios.problems import Place, describe, format_place
from xtrace.scenarios.yaml_file import parse_value

MAX_PARTS = 60
"""A path has at most this many parts: no document is deeper."""

_EXAMPLES = {"--set": "nodes.edge.config.window=3", "--with": "config.window=3"}
_PART = re.compile(r"([^.\[\]]+)((?:\[[0-9]{1,9}\])*)")


def apply_override(document: Mapping[str, Any], override: str, *, option: str = "--set") -> dict[str, Any]:
    """Return a copy of `document` with `override`, such as `nodes.edge.config.window=3`, carried out.

    Entries of a list that have an `id` are addressed by it. The value is read as in a scenario file. New keys are
    created; whether they are known is for the validator to say. Raises InputError for a path that leads nowhere.
    """
    return override_at(document, override, option=option)[0]


def override_at(document: Mapping[str, Any], override: str, *, option: str = "--set") -> tuple[dict[str, Any], Place]:
    """Do as `apply_override`, and return the place that was set too."""
    where = f"{option} {override}"
    path, equals, text = override.partition("=")
    parts = _parts(path.strip())
    if not equals or not parts:
        raise InputError(where, f"write {option} path=value, for example {option} {_EXAMPLES[option]}")
    value = parse_value(text, where=where)
    copy = dict(document)
    try:
        return copy, _set(copy, parts, value)
    except ValueError as error:
        raise InputError(where, str(error)) from error


def _parts(path: str) -> list[str | int]:
    """Return `a.b[0]` as ["a", "b", 0], or nothing if it is no path."""
    parts: list[str | int] = []
    for each in path.split("."):
        match = _PART.fullmatch(each)
        if match is None or len(parts) > MAX_PARTS:
            return []
        parts += [match[1], *map(int, re.findall("[0-9]+", match[2]))]
    return parts


def _set(document: dict[str, Any], parts: list[str | int], value: Any) -> Place:
    """Put `value` where `parts` lead, copying every container on the way."""
    place: Place = ()
    inside: Any = document
    for number, part in enumerate(parts, start=1):
        key = _key(inside, part, place)
        place = (*place, key)
        if number == len(parts):
            inside[key] = value
            return place
        following = inside.get(key) if isinstance(inside, dict) else inside[key]
        if following is None and isinstance(parts[number], str):
            following = {}
        if not isinstance(following, dict | list):
            raise ValueError(
                f"{format_place(place)} is {describe(following)}, there is no {format_place((parts[number],))} in it"
            )
        inside[key] = following = following.copy()
        inside = following
    raise AssertionError("a path without parts")


def _key(inside: dict[Any, Any] | list[Any], part: str | int, place: Place) -> str | int:
    """Return the key or index that `part` stands for. Raises ValueError, naming what there is."""
    here = format_place(place) or "the top"
    if isinstance(inside, dict):
        if isinstance(part, int):
            raise ValueError(f"{here} is a mapping, which has no entry [{part}]: name a key")
        return part
    by_id = {each["id"]: index for index, each in enumerate(inside) if isinstance(each, dict) and _has_id(each)}
    if isinstance(part, str):
        if part not in by_id:
            what = "node" if place == ("nodes",) else "id"
            raise ValueError(f"{here}: {unknown(part, by_id, what)}" if by_id else f"{here} is a list: write {here}[0]")
        return by_id[part]
    if by_id:
        raise ValueError(f"{here} are named by their ids, not by numbers; known: {', '.join(sorted(by_id))}")
    if part >= len(inside):
        raise ValueError(f"{here} has no entry [{part}]: it has {len(inside)}, counted from [0]")
    return part


def _has_id(entry: dict[Any, Any]) -> bool:
    return isinstance(entry.get("id"), str)
