"""The names, versions and columns of a run on disk; `capture/FORMAT.md` is normative."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from xtrace.engine.recorder import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 0
"""Raised when a reader of the previous version would misread a run; every reader reads every older version."""

EVENTS = "events.arrow"
EVENTS_INDEX = "events.index"
NODES_INDEX = "nodes.index"
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
STEP_MAX_PAYLOAD_BYTES = 1024 * 1024 * 1024
"""What one step may hold of payloads: a block must fit into the 32-bit offsets of Arrow."""

COMPRESSION = "zstd"


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
