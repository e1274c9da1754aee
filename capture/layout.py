"""The names, versions and columns of a run on disk; `capture/FORMAT.md` is normative."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xtrace.engine.recorder import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1
"""Raised when a reader of the previous version would misread a run; every reader reads every older version."""

EVENTS = "events.arrow"
EVENTS_INDEX = "events.index"
NODES_INDEX = "nodes.index"
TAIL = "events.tail"
RESERVE = "reserve"
TIMING = "timing.arrow"
MANIFEST = "manifest.json"
SEAL = "SEAL"
OBJECTS = "objects"
LOGS = "logs"

BLOCK_MIN_ROWS = 2_048
BLOCK_MAX_ROWS = 16_384
"""A block ends after the first step that brings it to BLOCK_MAX_ROWS, or to BLOCK_MIN_ROWS where `ends_block`."""
BLOCK_MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
"""It ends as well after the first step that brings its payloads to this size."""
STEP_MAX_PAYLOAD_BYTES = 192 * 1024 * 1024
"""What one step may hold of payloads that are no objects."""
BLOCK_MAX_BYTES = 256 * 1024 * 1024
"""What all columns of a block may take in memory: no reader makes room for more."""

OBJECT_MIN_BYTES = 64 * 1024
"""A payload of this size or more is an object, stored once however often it is sent."""

MAX_OBJECTS = 250_000
"""How many objects a run may have: all of them are named in its manifest, which has a limit too."""

DURABILITIES = ("second", "step")
COMPRESSIONS = ("zstd", "lz4", "none")


@dataclass(frozen=True)
class Storage:
    """How a run is stored; what is recorded does not depend on it.

    `durability`: `second` loses at most the last second if the recorder is killed, `step` writes and syncs every step
    before the next one begins. `signing_key` is the file of an Ed25519 private key that signs the closed run.
    """

    durability: str = "second"
    compression: str = "zstd"
    signing_key: Path | None = None


def schema() -> pa.Schema:
    """Return the Arrow schema of `events.arrow`."""
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            pa.field("seq", pa.int64(), nullable=False),
            pa.field("step", pa.int64(), nullable=False),
            pa.field("time_us", pa.int64(), nullable=False),
            pa.field("kind", name, nullable=False),
            pa.field("node", name, nullable=False),
            pa.field("src", name, nullable=False),
            pa.field("dst", name, nullable=False),
            pa.field("type", pa.string(), nullable=False),
            pa.field("late_us", pa.int64(), nullable=False),
            pa.field("cause", pa.list_(pa.int64()), nullable=False),
            pa.field("payload", pa.binary(), nullable=False),
            pa.field("object", pa.string(), nullable=False),
        ],
        metadata={"xtrace.format": str(FORMAT_VERSION)},
    )


def vocabulary(node_ids: list[str]) -> dict[str, list[str]]:
    """Return the whole vocabulary of the dictionary columns: `kind`, and `name` for node, src and dst."""
    return {"kind": list(KINDS), "name": ["", *sorted(node_ids)]}


def ends_block(step: int) -> bool:
    """Return whether a block may end early after this step: on average after every 256th.

    It depends on the number of the step alone, so that the blocks of two runs realign after an insertion.
    """
    return hashlib.sha256(step.to_bytes(8, "little")).digest()[0] == 0
