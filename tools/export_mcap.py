"""Exports as MCAP, for Foxglove and other viewers; `xtrace import` makes the same run of it again.

A channel per node, kind and type, its topic `/<node>/<kind>/<type>`. A message is a row as `xtrace show --json` prints
it, without `payload` where the row has none; times are virtual, in nanoseconds from 0. The manifest, objects and logs
are attachments: payloads in `objects/` stay there.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from xtrace.engine.errors import CorruptionError, LimitExceeded
from xtrace.tools.decompress import missing
from xtrace.tools.export_files import Format, as_named, head_of, wanted_batches
from xtrace.tools.output import to_json
from xtrace.tools.show import Wanted, json_columns

if TYPE_CHECKING:
    from mcap.writer import Writer

    from xtrace.capture.blocks import StoredRow
    from xtrace.capture.reader import Run

LIBRARY = "xtrace"
RECORD = "xtrace"
"""The metadata record that says which run it was."""
MANIFEST = "manifest.json"
MAX_ATTACHMENT_BYTES = 1024 * 1024 * 1024
"""The package takes an attachment as a whole."""
MAX_CHANNELS = 2**16 - 1
MAX_LOG_TIME_NS = 2**64 - 1

_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_SCHEMA = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("seq", "step", "time_us", "late_us"), _NUMBER),
        **dict.fromkeys(("kind", "node", "src", "dst", "type", "object"), _TEXT),
        "cause": {"type": "array", "items": _NUMBER},
        "payload": {},
    },
}


def write(run: Run, wanted: Wanted, file: BinaryIO) -> int:
    """Write everything and return how many rows that were."""
    try:
        from mcap.writer import Writer
    except ModuleNotFoundError as error:
        raise missing("mcap", needed_by="export --format mcap") from error
    from xtrace.capture.blocks import stored_rows

    writer = Writer(file, enable_crcs=True, enable_data_crcs=True)
    writer.start(library=LIBRARY)
    writer.add_metadata(RECORD, _about(run, wanted))
    _attach_files(run, writer)
    channels = _Channels(writer)
    count = 0
    for batch in wanted_batches(run, wanted):
        for stored in stored_rows(batch):
            time_ns = min(max(stored.row.time_us, 0) * 1_000, MAX_LOG_TIME_NS)  # the exact time is in the message
            sequence = stored.seq % 2**32
            writer.add_message(channels.number(stored), time_ns, _message(stored), time_ns, sequence)
            count += 1
    writer.finish()  # type: ignore[no-untyped-call]  # in the package
    return count


def _about(run: Run, wanted: Wanted) -> dict[str, str]:
    whole = all(part is None for part in wanted)
    return {
        "format": str(run.manifest["format"]),
        "fingerprint": str(run.fingerprint),
        "rows": str(run.events) if whole else "some",
    }


def _message(stored: StoredRow) -> bytes:
    columns = json_columns(stored)
    if not stored.row.payload:
        del columns["payload"]  # null is a payload too
    return to_json(columns).encode("ascii")


def _attach_files(run: Run, writer: Writer) -> None:
    """Attach manifest, objects and logs, each compared with what the run says of it."""
    _attach(writer, MANIFEST, run.path / MANIFEST, "application/json", digest=run.manifest_digest)
    for name in sorted(run.manifest["objects"]):
        _attach(writer, f"objects/{name}", run.objects.verified_path(name), "application/octet-stream", digest=name)
    for name, facts in sorted(run.manifest["files"].items()):
        if name in {f"logs/{node}.log" for node in run.manifest["nodes"]}:
            _attach(writer, name, run.path / name, "text/plain", digest=facts["sha256"])


def _attach(writer: Writer, name: str, path: Path, media_type: str, *, digest: str) -> None:
    import hashlib

    if not path.is_file():
        raise CorruptionError(path, "the file is missing")
    size = path.stat().st_size
    if size > MAX_ATTACHMENT_BYTES:
        raise LimitExceeded(f"bytes of {path}", found=size, limit=MAX_ATTACHMENT_BYTES)
    with path.open("rb") as file:
        data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptionError(path, "the content is not what was recorded", length=size)
        writer.add_attachment(0, 0, name, media_type, data)
        if size:
            data.close()


class _Channels:
    """The channels of a file, each made when its first row comes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._schema = writer.register_schema("xtrace.event", "jsonschema", json.dumps(_SCHEMA).encode())
        self._numbers: dict[tuple[str, str, str], int] = {}

    def number(self, stored: StoredRow) -> int:
        """Return the channel of a row."""
        key = (stored.row.node, stored.row.kind, stored.row.type)
        if key not in self._numbers:
            if len(self._numbers) == MAX_CHANNELS:
                what = "channels of an MCAP file, one per node, kind and type"
                raise LimitExceeded(what, found=MAX_CHANNELS + 1, limit=MAX_CHANNELS)
            topic = "/" + "/".join(each for each in key if each)
            metadata: Mapping[str, str] = dict(zip(("node", "kind", "type"), key, strict=True))
            self._numbers[key] = self._writer.register_channel(topic, "json", self._schema, dict(metadata))
        return self._numbers[key]


def _wrote(path: Path) -> bool:
    head = head_of(path)[:64]
    return head.startswith(b"\x89MCAP0\r\n") and head[21:].startswith(len(LIBRARY).to_bytes(4, "little") + b"xtrace")


FORMAT = Format(as_named, write, _wrote)
