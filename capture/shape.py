"""What a manifest must look like before anything in it is used.

A seal proves that a manifest was not changed since, not that it makes sense: whoever made the run could write anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from xtrace.capture.layout import EVENTS, EVENTS_INDEX, NODES_INDEX

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"xt1:sha256:[0-9a-f]{64}")
NEEDED_KINDS = ("input", "output", "drop", "step")
"""The kinds of rows that digests and totals tell apart."""


def natural(value: Any) -> bool:
    """Return whether `value` is a whole number that a file could be long."""
    return type(value) is int and 0 <= value < 2**63


def integer(value: Any) -> bool:
    """Return whether `value` is a whole number."""
    return type(value) is int


def positive(value: Any) -> bool:
    """Return whether `value` is a natural number above 0."""
    return natural(value) and value > 0


def text(value: Any) -> bool:
    """Return whether `value` is text."""
    return isinstance(value, str)


def digest(value: Any) -> bool:
    """Return whether `value` is a SHA-256 or a raw public key in hexadecimal."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def fingerprint(value: Any) -> bool:
    """Return whether `value` is a fingerprint, or null for a run that lost rows."""
    return value is None or (isinstance(value, str) and _FINGERPRINT.fullmatch(value) is not None)


def natural_or_none(value: Any) -> bool:
    """Return whether `value` is a natural number, or null for one that nobody knows."""
    return value is None or natural(value)


def scenario(value: Any) -> bool:
    """Return whether `value` has the outline of a scenario; it need not have all of it."""
    if not isinstance(value, dict) or not isinstance(value.get("network", {}), dict):
        return False
    nodes = value.get("nodes", [])
    return isinstance(nodes, list) and all(isinstance(node, dict) for node in nodes)


STATUSES = ("complete", "interrupted", "failed", "recovered")
"""How a closed run can have ended; one that is not closed is `recording`."""


def status(value: Any) -> bool:
    """Return whether `value` is the status of a closed run."""
    return value in STATUSES


EVERY = "*"
"""As the only key of a shape: all values of the mapping have that shape."""

REQUIRED = {
    "fingerprint": fingerprint,
    "status": status,
    "seed": integer,
    "totals": {"rows": natural, "steps": natural, "blocks": natural, "last_step": natural},
    "nodes": {EVERY: {}},
    "files": {EVERY: {"bytes": natural, "sha256": digest}},
    "footer": {"offset": natural, "length": natural, "sha256": digest},
    "vocabulary": {"kind": [text], "name": [text]},
    "artefacts": {EVERY: {EVERY: text}},
    "objects": {EVERY: natural},
}
OPTIONAL = {
    "holes": [{"first_step": natural, "last_step": natural, "rows": natural_or_none, "bytes": natural, "reason": text}],
    "lost": [{"file": text, "offset": natural, "reason": text}],
    "signed_by": digest,
    "replayed": text,
    "replay_of": fingerprint,
    "scenario": scenario,
}
"""What a key of a closed run looks like if it is there."""
OPEN = {
    "checksum": text,
    "seed": integer,
    "nodes": {EVERY: {}},
    "vocabulary": {"kind": [text], "name": [text]},
    "artefacts": {EVERY: {EVERY: text}},
}
"""What the manifest of a run has, closed or not, that is recovered."""
REPLAYABLE = {
    "step_us": positive,
    "duration_us": positive,
    "scenario": {"nodes": [{"id": text, "type": text}], "network": {}},
}
"""What a run needs besides to be replayed."""


def misfit(value: Any, shape: Any, place: str = "") -> str:
    """Return the first place in `value` that is missing or wrong, "" if it has `shape`.

    A mapping stands for a mapping that has these keys and perhaps others, a list for a list of whatever is in it.
    """
    if callable(shape):
        return "" if shape(value) else place
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place
        members = [(f"{place}[{index}]", member, shape[0]) for index, member in enumerate(value)]
    else:
        if not isinstance(value, dict):
            return place
        keys = value if EVERY in shape else shape
        missing = [key for key in keys if key not in value]
        if missing:
            return f"{place}.{missing[0]}"
        members = [(f"{place}.{key}", value[key], shape.get(EVERY, shape.get(key))) for key in keys]
    return next((found for where, member, inner in members if (found := misfit(member, inner, where))), "")


def contradiction(manifest: Mapping[str, Any]) -> str:
    """Return what a manifest of shape `REQUIRED` says that can't be, "" if it can."""
    for key, shape in OPTIONAL.items():
        place = misfit(manifest[key], shape, key) if key in manifest else ""
        if place:
            return f"{place} is wrong"
    words, objects = manifest["vocabulary"], manifest["objects"]
    if len({*words["kind"]}) < len(words["kind"]) or not {*NEEDED_KINDS} <= {*words["kind"]}:
        return f"vocabulary.kind must have each kind once, and {', '.join(NEEDED_KINDS)}"
    if len({*words["name"]}) < len(words["name"]) or "" not in words["name"]:
        return "vocabulary.name must have each name once, and the empty one"
    absent = [name for name in (EVENTS, EVENTS_INDEX, NODES_INDEX) if name not in manifest["files"]]
    if absent:
        return f"files.{absent[0]} is missing"
    for name in manifest["files"]:
        if not _stays_inside(name):
            return f"files has the name {name!r}, which leads out of the run"
    for name in objects:
        if not digest(name):
            return f"objects has {name!r}, which is not the name of an object"
    for node, files in manifest["artefacts"].items():
        for name, kept in files.items():
            if kept not in objects:
                return f"artefacts.{node} has {name!r}, which is none of the objects"
    if (manifest["fingerprint"] is None) != bool(manifest.get("holes")):
        return "a run has a fingerprint unless it has holes"
    return ""


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.as_posix() == name and not path.is_absolute() and not {"..", "."} & {*path.parts} and "\0" not in name
