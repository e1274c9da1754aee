"""Makes a run of the MCAP file that `xtrace export` made of it: the same rows, files and fingerprint."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from xtrace.capture.layout import FORMAT_VERSION
from xtrace.capture.objects import OBJECT_NAME
from xtrace.capture.shape import REQUIRED, misfit
from xtrace.capture.strict_json import MAX_BYTES, parse
from xtrace.capture.writer import RunWriter
from xtrace.engine.errors import CorruptionError, InputError
from xtrace.engine.json_values import decode_value
from xtrace.engine.recorder import KINDS, NETWORK
from xtrace.engine.values import MAX_DEPTH, MAX_PAYLOAD_BYTES, encode
from xtrace.scenarios.keys import NODE_ID
from xtrace.tools.export_mcap import MANIFEST, RECORD
from xtrace.tools.import_json import check_size
from xtrace.tools.mcap_file import Attachment, McapFile, Message

WRITTEN_ANEW = frozenset(
    ("artefacts", "checksum", "failure", "files", "fingerprint", "footer", "format", "objects", "status", "totals")
) | {"vocabulary"}
"""What the manifest says of the files of a run, and of how it ended."""
BATCH_ROWS = 4_096
BATCH_BYTES = 8 * 1024 * 1024
_TEXTS = ("kind", "node", "src", "dst", "type", "object")
_NUMBERS = ("seq", "step", "time_us", "late_us")
_COLUMNS = {*_TEXTS, *_NUMBERS, "cause"}


class _Row(NamedTuple):
    seq: int
    step: int
    kind: str
    columns: Mapping[str, Any]
    payload: bytes


def is_exported_run(mcap: McapFile) -> bool:
    """Return whether `mcap` says that xtrace made it of a run."""
    return RECORD in mcap.metadata and MANIFEST in mcap.attachments


def import_run(mcap: McapFile, folder: Path) -> str:
    """Write the run into `folder` and return its fingerprint, which is what it was.

    Raises InputError for a file that holds a part of a run, CorruptionError for one that was changed.
    """
    manifest = _manifest(mcap)
    names = [each for each in manifest["vocabulary"]["name"] if each not in ("", NETWORK)]
    about = {key: value for key, value in manifest.items() if key not in WRITTEN_ANEW}
    writer = RunWriter(folder, node_ids=names, about={**about, "imported": {"format": "mcap", "file": mcap.path.name}})
    try:
        _keep_files(mcap, manifest, writer)
        _Rows(mcap, manifest).write(writer)
        fingerprint = writer.close(manifest["status"], failure=manifest.get("failure"))
    except BaseException:
        writer.discard()
        raise
    if fingerprint != manifest["fingerprint"]:
        reason = f"the rows have the fingerprint {fingerprint} instead of {manifest['fingerprint']}: they were changed"
        raise CorruptionError(mcap.path, reason)
    return fingerprint


def _manifest(mcap: McapFile) -> dict[str, Any]:
    if mcap.metadata[RECORD].get("rows") == "some":
        raise InputError(str(mcap.path), "holds a part of a run: export it without --node, --from and --to")
    attachment = mcap.attachments[MANIFEST]
    if attachment.length > MAX_BYTES:
        raise _fault(mcap, attachment, f"the manifest is larger than the limit of {MAX_BYTES:,} bytes")
    try:
        manifest = parse(b"".join(mcap.pieces(attachment)))
    except ValueError as error:
        raise _fault(mcap, attachment, f"the manifest is no JSON of a run: {error}") from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise _fault(mcap, attachment, "the manifest is not that of a run")
    if manifest["format"] > FORMAT_VERSION:
        newer = f"format version {manifest['format']} is newer than {FORMAT_VERSION}: update xtrace-toolkit"
        raise InputError(str(mcap.path), newer)
    if manifest.get("holes") or manifest.get("fingerprint", "") is None:
        raise InputError(str(mcap.path), "the run has holes, and no fingerprint to know it by again; copy its folder")
    place = misfit(manifest, REQUIRED)
    if place:
        raise _fault(mcap, attachment, f"a required field of the manifest is missing or wrong: {place[1:]}")
    return manifest


def _keep_files(mcap: McapFile, manifest: dict[str, Any], writer: RunWriter) -> None:
    """Put artefacts and logs where a recording puts them, each compared with its hash."""
    with ExitStack() as stack:
        scratch: Path | None = None
        for node, files in sorted(manifest["artefacts"].items()):
            keep = writer.keep(node)
            for name, digest in sorted(files.items()):
                if digest in writer.objects.sizes:
                    keep(name, writer.objects.path(digest))
                    continue
                if scratch is None:
                    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=writer.folder.parent)))
                _copy(mcap, _object(mcap, digest), scratch / "object", digest=digest)
                keep(name, scratch / "object")
    for node in sorted(manifest["nodes"]):
        log = mcap.attachments.get(f"logs/{node}.log")
        if log is not None and NODE_ID.fullmatch(node):  # it becomes the name of a file
            facts = manifest["files"].get(log.name, {"sha256": ""})
            _copy(mcap, log, writer.logs / f"{node}.log", digest=facts["sha256"])


def _object(mcap: McapFile, name: str) -> Attachment:
    attachment = mcap.attachments.get(f"objects/{name}") if OBJECT_NAME.fullmatch(name) else None
    if attachment is None:
        raise CorruptionError(mcap.path, f"the object {name[:80]!r} is missing")
    return attachment


def _copy(mcap: McapFile, attachment: Attachment, path: Path, *, digest: str) -> None:
    running = hashlib.sha256()
    with path.open("wb") as file:
        for piece in mcap.pieces(attachment):
            running.update(piece)
            file.write(piece)
    if running.hexdigest() != digest:
        raise _fault(mcap, attachment, f"the content of {attachment.name} is not what it was")


class _Rows:
    """The rows in the messages of a file, each checked before it is written."""

    def __init__(self, mcap: McapFile, manifest: Mapping[str, Any]) -> None:
        self._mcap = mcap
        self._names = {"", *manifest["vocabulary"]["name"], NETWORK}
        self._total: int = manifest["totals"]["rows"]
        self._next_seq = 0
        self._last_step = 0

    def write(self, writer: RunWriter) -> None:
        """Append all rows to `writer`. Raises CorruptionError."""
        for batch in self._batches():
            first = batch[0]
            if first.kind == "step":
                writer.end_step(first.step, first.columns["time_us"])
                continue
            columns = {
                name: [row.columns[name] for row in batch]
                for name in ("time_us", "node", "src", "dst", "type", "late_us", "cause")
            }
            writer.append(first.step, first.kind, payload=[row.payload for row in batch], **columns)
        if self._next_seq != self._total:
            raise CorruptionError(self._mcap.path, f"there are {self._next_seq} rows instead of {self._total}")

    def _batches(self) -> Iterator[list[_Row]]:
        """Yield rows that can be appended together: of one step and kind, and not too many."""
        batch: list[_Row] = []
        size = 0
        for message in self._mcap.messages():
            row = self._row(message)
            full = len(batch) == BATCH_ROWS or size >= BATCH_BYTES
            if batch and (full or row.kind == "step" or (row.step, row.kind) != (batch[0].step, batch[0].kind)):
                yield batch
                batch, size = [], 0
            batch.append(row)
            size += len(row.payload)
        if batch:
            yield batch

    def _row(self, message: Message) -> _Row:
        try:
            check_size(message.data)
            columns = decode_value(message.data, max_depth=MAX_DEPTH + 1)
            reason = self._misfit(columns)
            payload = b"" if reason or "payload" not in columns else encode(columns["payload"])
        except ValueError as fault:
            reason = f"a message is no row of a run: {fault}"
        if reason:
            raise CorruptionError(self._mcap.path, reason, offset=message.offset)
        self._next_seq += 1
        self._last_step = columns["step"]
        if columns["object"]:
            payload = self._payload_object(columns["object"])
        return _Row(columns["seq"], columns["step"], columns["kind"], columns, payload)

    def _misfit(self, columns: Any) -> str:
        """Return what is wrong with the columns of a row, "" if nothing is."""
        if type(columns) is not dict or columns.keys() - {"payload"} != _COLUMNS:
            return f"a message is no row of a run: it needs exactly the columns {', '.join(sorted(_COLUMNS))}"
        texts, numbers = [columns[name] for name in _TEXTS], [columns[name] for name in _NUMBERS]
        if not all(type(each) is str for each in texts) or not isinstance(columns["cause"], list):
            return "a row has a column of another type"
        if not all(type(each) is int and 0 <= each < 2**63 for each in [*numbers, *columns["cause"]]):
            return "a row has a number that is none, or does not fit"
        if columns["seq"] != self._next_seq or columns["step"] < self._last_step:
            return f"row {columns['seq']} is not where it was: row {self._next_seq} is expected"
        if columns["kind"] not in KINDS or not {columns["node"], columns["src"], columns["dst"]} <= self._names:
            return f"row {columns['seq']} has a word that is not in the vocabulary"
        if "payload" in columns and columns["object"]:
            return f"row {columns['seq']} has a payload and an object"
        return ""

    def _payload_object(self, name: str) -> bytes:
        attachment = _object(self._mcap, name)
        if attachment.length > MAX_PAYLOAD_BYTES:
            raise _fault(self._mcap, attachment, f"a payload is larger than the limit of {MAX_PAYLOAD_BYTES:,} bytes")
        payload = b"".join(self._mcap.pieces(attachment))
        if hashlib.sha256(payload).hexdigest() != name:
            raise _fault(self._mcap, attachment, "the content of a payload is not what its name says")
        return payload


def _fault(mcap: McapFile, attachment: Attachment, reason: str) -> CorruptionError:
    return CorruptionError(mcap.path, reason, offset=attachment.offset, length=attachment.length)
