"""Writes a run: rows come in step by step, blocks and indexes go out, and closing seals the folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xtrace.capture.blocks import BlockEncoder, Columns, split_head
from xtrace.capture.digests import RunDigests, fingerprint_of
from xtrace.capture.index import EVENTS_MAGIC, NODES_MAGIC, BlockRecord, pack_block, pack_header, pack_node
from xtrace.capture.layout import (
    BLOCK_MAX_PAYLOAD_BYTES,
    BLOCK_MAX_ROWS,
    BLOCK_MIN_ROWS,
    EVENTS,
    EVENTS_INDEX,
    FORMAT_VERSION,
    LOGS,
    MANIFEST,
    NODES_INDEX,
    OBJECTS,
    STEP_MAX_PAYLOAD_BYTES,
    TIMING,
    ends_block,
    vocabulary,
)
from xtrace.capture.manifest import holds_run, write_manifest, write_seal
from xtrace.capture.objects import ObjectStore
from xtrace.capture.timing import TimingLog
from xtrace.engine.errors import InputError, LimitExceeded
from xtrace.engine.recorder import NETWORK


class RunWriter:
    """A run being recorded into `folder`: the engine's `Recorder`, and the keeper of artefacts.

    `about` is what the manifest says of the run before it starts (scenario, seed, versions, …). Raises
    InputError if `folder` exists and is not empty; `force` removes it first if it holds a run.
    """

    def __init__(self, folder: Path, *, node_ids: Sequence[str], about: Mapping[str, Any], force: bool = False) -> None:
        _make_room(folder, force=force)
        self.folder = folder = folder.absolute()  # a model may change the working directory
        self.objects = ObjectStore(folder / OBJECTS)
        self.logs = folder / LOGS
        self.logs.mkdir()
        self.timing = TimingLog()
        self.rows_written = 0
        self.steps = 0
        self.manifest_digest = ""
        self._words = vocabulary([*node_ids, NETWORK])
        self._name_index = {name: index for index, name in enumerate(self._words["name"])}
        self._about = {**about, "format": FORMAT_VERSION, "vocabulary": self._words, "status": "recording"}
        self._artefacts: dict[str, dict[str, str]] = {}
        self._digests = RunDigests()
        self._digest = hashlib.sha256().digest()
        self._encoder = BlockEncoder(self._words)
        self._columns = Columns(first_seq=0)
        self._blocks = 0
        self._last_step = 0
        write_manifest(folder, self._about)
        self._events = (folder / EVENTS).open("wb")
        self._index = (folder / EVENTS_INDEX).open("wb")
        self._index.write(pack_header(EVENTS_MAGIC))
        self._nodes_index = (folder / NODES_INDEX).open("wb")
        self._nodes_index.write(pack_header(NODES_MAGIC))

    def keep(self, node: str) -> Callable[[str, Path], Path]:
        """Return the `keep` of the workspace of `node`: it copies a file into `objects/`."""
        kept = self._artefacts.setdefault(node, {})

        def keep(name: str, path: Path) -> Path:
            if name not in kept:
                kept[name] = self.objects.put(path)
            return self.objects.path(kept[name])

        return keep

    def append(
        self,
        step: int,
        kind: str,
        *,
        time_us: Sequence[int],
        node: Sequence[str],
        src: Sequence[str],
        dst: Sequence[str],
        type: Sequence[str],
        late_us: Sequence[int],
        payload: Sequence[bytes],
        cause: Sequence[int | Sequence[int]],
    ) -> int:
        """Append rows of one kind, by column; return the seq of the first."""
        columns = self._columns
        columns.payload_bytes += len(b"".join(payload))
        if columns.payload_bytes > BLOCK_MAX_PAYLOAD_BYTES + STEP_MAX_PAYLOAD_BYTES:
            what = f"bytes of payloads in step {step}"
            raise LimitExceeded(what, found=columns.payload_bytes, limit=STEP_MAX_PAYLOAD_BYTES)
        first, count = columns.rows, len(time_us)
        columns.rows += count
        columns.runs.append((step, kind, count))
        columns.time_us.fromlist(list(time_us))
        columns.node += node
        columns.src += src
        columns.dst += dst
        columns.type += type
        columns.late_us.fromlist(list(late_us))
        columns.payload += payload
        columns.add_causes(cause)
        return columns.first_seq + first

    def end_step(self, step: int, time_us: int) -> None:
        """Append the `step` row, and end the block where it is due."""
        columns = self._columns
        columns.rows += 1
        columns.runs.append((step, "step", 1))
        columns.time_us.append(time_us)
        columns.node.append("")
        columns.src.append("")
        columns.dst.append("")
        columns.type.append("")
        columns.late_us.append(0)
        columns.payload.append(b"")
        columns.causes.append(0)
        self.steps += 1
        if columns.payload_bytes >= BLOCK_MAX_PAYLOAD_BYTES or (
            columns.rows >= BLOCK_MIN_ROWS and (columns.rows >= BLOCK_MAX_ROWS or ends_block(step))
        ):
            self._cut_block()

    def close(self, status: str, *, failure: Mapping[str, Any] | None = None, **facts: Any) -> str:
        """Write what is left, the manifest and the seal; return the fingerprint.

        `facts` go into the manifest. Rows of a step that did not end are kept: they are what led to `failure`.
        """
        if self._columns.rows:
            self._cut_block()
        footer = self._encoder.finish()
        footer_offset = self._events.tell()
        self._events.write(footer)
        for file in (self._events, self._index, self._nodes_index):
            file.close()
        self.timing.write(self.folder / TIMING)
        fingerprint = fingerprint_of(self._digest)
        manifest = {
            **self._about,
            **facts,
            "status": status,
            "failure": failure,
            "fingerprint": fingerprint,
            "totals": {
                "rows": self.rows_written,
                "steps": self.steps,
                "blocks": self._blocks,
                "last_step": self._last_step,
            },
            "footer": {"offset": footer_offset, "length": len(footer), "sha256": hashlib.sha256(footer).hexdigest()},
            "artefacts": self._artefacts,
            "objects": self.objects.sizes,
            "files": {name: _file_facts(self.folder / name) for name in self._files()},
        }
        self.manifest_digest = write_manifest(self.folder, manifest)
        write_seal(self.folder, self.manifest_digest)
        return fingerprint

    def discard(self) -> None:
        """Remove the folder: nothing was recorded, because the scenario can't run."""
        for file in (self._events, self._index, self._nodes_index):
            file.close()
        shutil.rmtree(self.folder)

    def _cut_block(self) -> None:
        columns, self._columns = self._columns, Columns(self._columns.first_seq + self._columns.rows)
        batch = self._encoder.batch(columns)
        self._digest, node_records = self._digests.update(batch)
        data = self._encoder.block(batch)
        if self._blocks == 0:
            head, data = split_head(data)
            checksum = hashlib.sha256(head).digest()
            self._index.seek(0)
            self._index.write(pack_header(EVENTS_MAGIC, head_length=len(head), head_checksum=checksum))
            self._events.write(head)
        steps = [step for step, _, _ in columns.runs]
        record = BlockRecord(
            block=self._blocks,
            offset=self._events.tell(),
            length=len(data),
            rows=columns.rows,
            first_seq=columns.first_seq,
            first_step=steps[0],
            last_step=steps[-1],
            min_time_us=min(columns.time_us),
            max_time_us=max(columns.time_us),
            checksum=hashlib.sha256(data).digest(),
            digest=self._digest,
        )
        self._events.write(data)
        self._index.write(pack_block(record))
        for node, inputs, outputs in node_records:
            self._nodes_index.write(pack_node(self._blocks, self._name_index[node], inputs, outputs))
        for file in (self._events, self._index, self._nodes_index):
            file.flush()
        self.timing.end_block(self._blocks)
        self._last_step = record.last_step
        self._blocks += 1
        self.rows_written += columns.rows

    def _files(self) -> list[str]:
        logs = sorted(path.relative_to(self.folder).as_posix() for path in self.logs.rglob("*") if path.is_file())
        return [EVENTS, EVENTS_INDEX, NODES_INDEX, TIMING, *logs]


def _file_facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _make_room(folder: Path, *, force: bool) -> None:
    """Create `folder`; what is in the way is removed only if it is a run and `force` is given."""
    for parent in folder.absolute().parents:
        if (parent / MANIFEST).is_file() and (parent / EVENTS).is_file():
            raise InputError(str(folder), f"lies inside of the run {parent}; choose another folder with -o")
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is a file; choose another folder with -o")
    if folder.is_dir() and any(folder.iterdir()):
        if not holds_run(folder):
            raise InputError(
                str(folder), "is not empty and holds no run, so it is never removed; choose another folder"
            )
        if not force:
            raise InputError(str(folder), "holds a run already; choose another folder or give --force to replace it")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
