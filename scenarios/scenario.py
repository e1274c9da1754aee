"""A scenario that has been read and checked: what is run, on which network, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtrace.engine.node import NodeSpec


@dataclass(frozen=True)
class NetworkSpec:
    """The network model of a scenario and its options, durations in microseconds."""

    model: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Scenario:
    """A checked scenario. `nodes` are in order of their ids, so that the order in the file never matters.

    `document` is the same as plain JSON content, in order of keys, with every default filled in and durations as
    text; `xtrace.scenarios.loader.from_document` makes an equal Scenario of it. `folder` is where the files lie that
    it names. `secrets` says where the value of each comes from (`env` or `file`); nodes have references to them.
    `step_warning` says what to check when the automatic step found no latency to go by, else it is empty.
    """

    name: str
    description: str
    expected: str
    runtime_estimate_us: int | None
    ci_compatible: bool
    requires: tuple[str, ...]
    seed: int
    duration_us: int
    step_us: int
    step_warning: str
    network: NetworkSpec
    nodes: tuple[NodeSpec, ...]
    compare: Mapping[str, Any]
    secrets: Mapping[str, Mapping[str, str | None]]
    folder: Path
    document: dict[str, Any]
