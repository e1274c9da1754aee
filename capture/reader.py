"""Reads a run. Every byte is verified against the seal's chain before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from os import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.capture.blocks import StoredRow, decode_block, stored_rows
from xtrace.capture.index import BlockRecord, NodeRecord, read_events_index, read_nodes_index
from xtrace.capture.layout import EVENTS, EVENTS_INDEX, NODES_INDEX, OBJECTS, schema
from xtrace.capture.manifest import read_manifest
from xtrace.capture.objects import ObjectStore
from xtrace.engine.errors import CorruptionError
from xtrace.engine.recorder import NETWORK

if TYPE_CHECKING:
    import pyarrow as pa


class Run:
    """A closed run, opened with `Run.open(path)`.

    The chain of trust: SEAL covers the manifest, the manifest the indexes, `events.index` each block.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], manifest_digest: str) -> None:
        self.path = path
        self.manifest = manifest
        self.manifest_digest = manifest_digest
        self.fingerprint: str = manifest["fingerprint"]
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
        self.header, self.blocks = read_events_index(path / EVENTS_INDEX)
        _check_size(path / EVENTS, manifest["files"][EVENTS])

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
    def node_records(self) -> list[NodeRecord]:
        """The running digests per block and node, in order."""
        return read_nodes_index(self.path / NODES_INDEX, self.manifest["vocabulary"]["name"])

    def read_block(self, block: int) -> pa.RecordBatch:
        """Return block number `block`, its checksum verified first. Raises CorruptionError."""
        return decode_block(self.path / EVENTS, block, self._head, self._block_bytes(self.blocks[block]))

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
        if self.blocks and hashlib.sha256(data).digest() != self.header.head_checksum:
            raise self._corrupt("the checksum of schema and vocabulary is wrong", 0, len(data))
        return data

    def _block_bytes(self, record: BlockRecord) -> bytes:
        self.blocks_read += 1
        data = self._read(record.offset, record.length)
        if hashlib.sha256(data).digest() != record.checksum:
            steps = f"steps {record.first_step} to {record.last_step}, {record.rows} rows"
            raise self._corrupt(f"the checksum is wrong ({steps})", record.offset, record.length, block=record.block)
        return data

    def _read(self, offset: int, length: int) -> bytes:
        with (self.path / EVENTS).open("rb") as file:
            missing = offset + length - file.seek(0, SEEK_END)
            if missing > 0:
                raise self._corrupt(f"the file ends {missing} bytes early", offset, length)
            file.seek(offset)
            return file.read(length)

    def _corrupt(self, reason: str, offset: int, length: int, *, block: int | None = None) -> CorruptionError:
        return CorruptionError(self.path / EVENTS, reason, offset=offset, length=length, block=block)


def _check_size(path: Path, facts: dict[str, Any]) -> None:
    if not path.is_file():
        raise CorruptionError(path, "the file is missing")
    size = path.stat().st_size
    if size != facts["bytes"]:
        reason = f"the file has {size} bytes instead of {facts['bytes']}"
        raise CorruptionError(path, reason, offset=min(size, facts["bytes"]), length=abs(size - facts["bytes"]))


def _check_file(path: Path, facts: dict[str, Any]) -> None:
    _check_size(path, facts)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
            _locate(path)
            raise CorruptionError(path, "the content is not what the manifest says", length=facts["bytes"])


def _locate(path: Path) -> None:
    """Raise a CorruptionError that names the damaged record of an index, where its own checksum shows it."""
    if path.name == EVENTS_INDEX:
        read_events_index(path)
    elif path.name == NODES_INDEX:
        read_nodes_index(path, [""] * 2**16)
