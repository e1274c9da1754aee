"""The keys of a scenario file: the tables that the validator and the JSON Schema are both built from."""

from __future__ import annotations

import re

from xtrace.engine.node import Option
from xtrace.engine.recorder import NETWORK
from xtrace.engine.values import MAX_INT
from xtrace.scenarios.options import AUTO

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""What a scenario is called: also the name of a file."""
NODE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""No dots: ids stand in the paths of `--set`."""
NODE_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""An environment variable."""
TIERS = ("exact",)
DEFAULT_STEP_US = 1_000


def _name(pattern: re.Pattern[str], what: str, *, required: bool = True) -> Option:
    def check(value: str) -> None:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value[:80]!r} is not {what}: {pattern.pattern} is expected")

    return Option("string", what, required=required, check=check)


def _path(value: str) -> None:
    if not value or "\0" in value:
        raise ValueError("a path is needed: not empty, no NUL character")


SCENARIO = {
    "scenario": _name(NAME, "the name of a scenario"),
    "description": Option("string", "what the scenario is about", default=""),
    "expected": Option("string", "the expected outcome of a run", default=""),
    "runtime_estimate": Option("duration", "how long a run takes on the clock on the wall"),
    "ci_compatible": Option("boolean", "whether a run needs nothing that CI lacks", default=True),
    "requires": Option("strings", "the extras and programs that a run needs", default=[]),
    "seed": Option("integer", "where all randomness comes from", default=0, minimum=0, maximum=MAX_INT),
    "duration": Option("duration", "how much virtual time a run covers", required=True, minimum=1),
    "step": Option("duration", "virtual time per step; auto: the smallest latency", default=AUTO, minimum=1),
    "network": Option("mapping", "the network model and its options", default={}),
    "faults": Option("any", "reserved: only an empty list so far", default=[]),
    "compare": Option("mapping", "how strictly runs are compared", default={}),
    "secrets": Option("mapping", "values that never appear in a run, by name: where each comes from", default={}),
    "nodes": Option("any", "what advances in virtual time", required=True),
}

NODE = {
    "id": _name(NODE_ID, "the id of a node"),
    "type": _name(NODE_TYPE, "what a node does, such as sensor or gateway"),
    "implementation": Option("string", "how the node is run", required=True),
    "config": Option("mapping", "what the node is told", default={}),
}

SECRET = {
    "env": _name(VARIABLE, "the environment variable that has the value", required=False),
    "file": Option("string", "the file that has the value, relative to the scenario", check=_path),
}
"""A secret has exactly one of these."""

PATTERNS = {"scenario": NAME, "id": NODE_ID, "type": NODE_TYPE}

COMPARE = {"default": Option("string", "the tier of every node", default="exact", choices=TIERS)}

MODEL = Option("string", "the network model", default="direct")

LINK = {
    "src": Option("node", "the id of the sending node", required=True),
    "dst": Option("node", "the id of the receiving node", required=True),
}
"""A link of a network model takes the model's other options beside these."""
LINKS = "links"

RESERVED_IDS = (NETWORK,)

PROSE = ("description", "expected")
"""Keys whose text is for people: it may speak of references."""
REFERRING_KINDS = ("mapping", "any")
"""The kinds of options of a node in which a reference to a secret may stand."""
