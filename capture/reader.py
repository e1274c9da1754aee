"""Reads a run. Every byte is verified against the seal's chain before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.capture.blocks import StoredRow, decode_with_digest, stored_rows
from xtrace.capture.digests import fingerprint_of
from xtrace.capture.files import open_regular, read_limited, sha256_of, size_of
from xtrace.capture.index import BlockRecord, NodeRecord, read_events_index, read_nodes_index
from xtrace.capture.layout import BLOCK_MAX_BYTES, EVENTS, EVENTS_INDEX, MANIFEST, NODES_INDEX, OBJECTS, schema
from xtrace.capture.manifest import read_manifest
from xtrace.capture.objects import ObjectStore
from xtrace.engine.errors import CorruptionError
from xtrace.engine.recorder import NETWORK, Row
from xtrace.engine.values import MAX_PAYLOAD_BYTES

if TYPE_CHECKING:
    import pyarrow as pa


class Run:
    """A closed run, opened with `Run.open(path)`.

    The chain of trust: SEAL covers the manifest, the manifest the indexes, `events.index` each block. `holes` says what
    a recovered run lost; such a run has no fingerprint.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], manifest_digest: str) -> None:
        self.path = path
        self.manifest = manifest
        self.manifest_digest = manifest_digest
        self.fingerprint: str | None = manifest["fingerprint"]
        self.holes: list[dict[str, Any]] = manifest.get("holes") or []
        self.status: str = manifest["status"]
        self.seed: int = manifest["seed"]
        self.events: int = manifest["totals"]["rows"]
        self.steps: int = manifest["totals"]["steps"]
        self.nodes: list[str] = sorted({*manifest["nodes"], NETWORK})
        self.objects = ObjectStore(path / OBJECTS)
        self.blocks_read = 0
        """How many blocks were read from disk so far."""
        for name in (EVENTS_INDEX, NODES_INDEX):
            _check_file(path / name, manifest["files"][name])
        self.header, self.blocks = read_events_index(path / EVENTS_INDEX, holes=bool(self.holes))
        _check_size(path / EVENTS, manifest["files"][EVENTS])
        self._check_totals()

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a closed run. Raises InputError if `path` is none, CorruptionError if its metadata was changed."""
        folder = Path(path)
        manifest, digest = read_manifest(folder)
        try:
            return cls(folder, manifest, digest)
        except (KeyError, TypeError, AttributeError) as error:
            raise CorruptionError(
                folder / "manifest.json", f"a required field is missing or wrong: {error!r}"
            ) from error

    @cached_property
    def node_records(self) -> Sequence[NodeRecord]:
        """The running digests per block and node, in order."""
        return read_nodes_index(self.path / NODES_INDEX, self.manifest["vocabulary"]["name"])

    def read_block(self, block: int) -> pa.RecordBatch:
        """Return block number `block`, its checksum verified first. Raises CorruptionError."""
        record = self.blocks[block]
        data = self._block_bytes(record)
        try:
            batch, digest = decode_with_digest(self.path / EVENTS, record.block, self._head, data)
        except CorruptionError as error:
            raise self._broken(record, error.reason) from error
        fault = _contradiction(batch, record) or self._foreign_words(batch)
        if digest not in ("", record.digest.hex()):
            fault = fault or "the digest in its metadata is not that of the index"
        if fault:
            raise self._broken(record, fault)
        return batch

    def payload(self, row: Row) -> bytes:
        """Return the payload of a row wherever it lies; an object is verified first. Raises CorruptionError."""
        if not row.object:
            return row.payload
        path = self.objects.path(row.object)
        if row.object not in self.manifest["objects"]:
            raise CorruptionError(path, f"the manifest has no such object; a row of step {row.step} refers to it")
        data = read_limited(path, limit_bytes=MAX_PAYLOAD_BYTES)
        if hashlib.sha256(data).hexdigest() != row.object:
            raise CorruptionError(path, "the content is not what its name says", length=len(data))
        return data

    def batches(self, first: int = 0, last: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the blocks from `first` up to and without `last`."""
        for record in self.blocks[first:last]:
            yield self.read_block(record.block)

    def rows(self, first: int = 0, last: int | None = None) -> Iterator[StoredRow]:
        """Yield the rows of the blocks from `first` up to and without `last`."""
        for batch in self.batches(first, last):
            yield from stored_rows(batch)

    def table(self) -> pa.Table:
        """Return the whole event log."""
        import pyarrow as pa

        return pa.Table.from_batches(self.batches(), schema=schema())

    def verify_raw(self) -> None:
        """Verify every byte of `events.arrow` and of the objects, and decode nothing. Raises CorruptionError."""
        self.verify_head()
        for record in self.blocks:
            self.verify_block(record)
        self.verify_footer()
        for name in sorted(self.manifest["objects"]):
            self.objects.verified_path(name)

    def verify_head(self) -> None:
        """Verify what precedes block 0. Raises CorruptionError."""
        _ = self._head

    def verify_block(self, record: BlockRecord) -> None:
        """Verify the bytes of one block. Raises CorruptionError."""
        self._block_bytes(record)

    def verify_footer(self) -> None:
        """Verify what follows the last block. Raises CorruptionError."""
        footer = self.manifest["footer"]
        data = self._read(footer["offset"], footer["length"])
        if hashlib.sha256(data).hexdigest() != footer["sha256"]:
            raise self._corrupt("the checksum of the footer is wrong", footer["offset"], footer["length"])

    @cached_property
    def _head(self) -> bytes:
        data = self._read(0, self.header.head_length)
        if self.header.head_length and hashlib.sha256(data).digest() != self.header.head_checksum:
            raise self._corrupt("the checksum of schema and vocabulary is wrong", 0, len(data))
        return data

    @cached_property
    def _words(self) -> dict[str, pa.Array]:
        """The dictionary that each column of words must have."""
        import pyarrow as pa

        words = self.manifest["vocabulary"]
        names = pa.array(words["name"], pa.string())
        return {"kind": pa.array(words["kind"], pa.string()), "node": names, "src": names, "dst": names}

    def _foreign_words(self, batch: pa.RecordBatch) -> str:
        wrong = [name for name, words in self._words.items() if not batch.column(name).dictionary.equals(words)]
        return f"the words of the column {wrong[0]!r} are not the vocabulary of the manifest" if wrong else ""

    def _check_totals(self) -> None:
        """Check that the manifest and `events.index` say the same."""
        blocks, totals, footer = self.blocks, self.manifest["totals"], self.manifest["footer"]
        end = blocks[-1].offset + blocks[-1].length if blocks else self.header.head_length
        digest = blocks[-1].digest if blocks else hashlib.sha256().digest()
        facts = {
            "totals.rows": (totals["rows"], sum(record.rows for record in blocks)),
            "totals.blocks": (totals["blocks"], len(blocks)),
            "totals.last_step": (totals["last_step"], blocks[-1].last_step if blocks else 0),
            "footer.offset": (footer["offset"], end),
            "footer.length": (footer["length"], self.manifest["files"][EVENTS]["bytes"] - end),
            "fingerprint": (self.fingerprint, None if self.fingerprint is None else fingerprint_of(digest)),
        }
        for name, (said, found) in facts.items():
            if said != found:
                raise CorruptionError(self.path / MANIFEST, f"{name} is {said!r}, but by {EVENTS_INDEX} {found!r}")

    def _block_bytes(self, record: BlockRecord) -> bytes:
        self.blocks_read += 1
        data = self._read(record.offset, record.length, record=record)
        if hashlib.sha256(data).digest() != record.checksum:
            raise self._broken(record, "the checksum is wrong")
        return data

    def _read(self, offset: int, length: int, *, record: BlockRecord | None = None) -> bytes:
        with open_regular(self.path / EVENTS) as file:
            missing = offset + length - size_of(file)
            if missing > 0 or length > BLOCK_MAX_BYTES:
                reason = f"the file ends {missing} bytes early"
                if missing <= 0:
                    reason = f"{length:,} bytes are more than the limit of {BLOCK_MAX_BYTES:,}"
                raise self._corrupt(reason, offset, length) if record is None else self._broken(record, reason)
            file.seek(offset)
            return file.read(length)

    def _broken(self, record: BlockRecord, reason: str) -> CorruptionError:
        steps = f"steps {record.first_step} to {record.last_step}, {record.rows} rows"
        return self._corrupt(f"{reason} ({steps})", record.offset, record.length, block=record.block)

    def _corrupt(self, reason: str, offset: int, length: int, *, block: int | None = None) -> CorruptionError:
        return CorruptionError(self.path / EVENTS, reason, offset=offset, length=length, block=block)


def _contradiction(batch: pa.RecordBatch, record: BlockRecord) -> str:
    """Return what the record of a block says of its rows that is not so, "" for nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(batch) != record.rows:
        return f"it has {len(batch)} rows"
    if not batch.column("seq").equals(pa.arange(record.first_seq, record.first_seq + record.rows)):
        return f"its rows are not numbered from {record.first_seq} on"
    steps, times = batch.column("step"), pc.min_max(batch.column("time_us"))
    found = steps[0].as_py(), steps[-1].as_py(), times["min"].as_py(), times["max"].as_py()
    said = record.first_step, record.last_step, record.min_time_us, record.max_time_us
    if found != said:
        return f"first and last step, first and last time are {found} instead of {said}"
    return ""


def _check_size(path: Path, facts: dict[str, Any]) -> None:
    with open_regular(path) as file:
        size = size_of(file)
    if size != facts["bytes"]:
        reason = f"the file has {size} bytes instead of {facts['bytes']}"
        raise CorruptionError(path, reason, offset=min(size, facts["bytes"]), length=abs(size - facts["bytes"]))


def _check_file(path: Path, facts: dict[str, Any]) -> None:
    _check_size(path, facts)
    with open_regular(path) as file:
        digest = sha256_of(file)
    if digest != facts["sha256"]:
        _locate(path)
        raise CorruptionError(path, "the content is not what the manifest says", length=facts["bytes"])


def _locate(path: Path) -> None:
    """Raise a CorruptionError that names the damaged record of an index, where its own checksum shows it."""
    if path.name == EVENTS_INDEX:
        read_events_index(path, holes=True)
    elif path.name == NODES_INDEX:
        for _ in read_nodes_index(path, [""] * 2**16):
            pass
