"""A run taken apart and put together again, with every checksum right whatever is done to it in between.

Whoever makes a run can seal anything. So the parts (`Parts`) are changed one by one, and `assembled` computes what
vouches for them: the records of the indexes, the hashes in the manifest, the seal.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from xtrace.capture.blocks import DIGEST_KEY
from xtrace.capture.index import (
    BLOCK_BYTES,
    EVENTS_MAGIC,
    HEADER_BYTES,
    NODE_BYTES,
    NODES_MAGIC,
    BlockRecord,
    pack_block,
    pack_header,
    pack_node,
    read_events_index,
)
from xtrace.capture.seal import Seal, seal_text

Image = dict[str, bytes]
"""The files of a run by name."""


class Mutation(NamedTuple):
    """A changed run: its files, what is no plain file in it by name, and what was done."""

    image: Image
    specials: Mapping[str, str]
    what: str


@dataclass
class Parts:
    """A run in pieces. `facts` are fields of block records that shall be lies, by block."""

    manifest: dict[str, Any]
    head: bytes
    blocks: list[bytes]
    records: list[BlockRecord]
    footer: bytes
    nodes: list[tuple[int, int, bytes, bytes]]
    others: Image
    facts: dict[int, dict[str, Any]] = field(default_factory=dict)


def image_of(folder: Path) -> Image:
    """Return the files of a run."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def parts_of(folder: Path) -> Parts:
    """Take a sound run apart."""
    image = image_of(folder)
    header, records = read_events_index(folder / "events.index", holes=True)
    events, index = image.pop("events.arrow"), image.pop("nodes.index")
    nodes = []
    for place in range(HEADER_BYTES, len(index), NODE_BYTES):
        word = index[place : place + NODE_BYTES]
        nodes.append((int.from_bytes(word[:4], "little"), int.from_bytes(word[4:8], "little"), word[8:24], word[24:40]))
    end = records[-1].offset + records[-1].length
    for name in ("events.index", "SEAL"):
        image.pop(name)
    return Parts(
        manifest=json.loads(image.pop("manifest.json")),
        head=events[: header.head_length],
        blocks=[events[record.offset : record.offset + record.length] for record in records],
        records=list(records),
        footer=events[end:],
        nodes=nodes,
        others=image,
    )


def assembled(parts: Parts, *, files: bool = True) -> Image:
    """Put a run together: offsets, lengths, checksums and CRCs are right; with `files` the manifest's hashes too."""
    offset, index = len(parts.head), []
    for number, (data, record) in enumerate(zip(parts.blocks, parts.records, strict=False)):
        checksum = hashlib.sha256(data).digest()
        right = record._replace(block=number, offset=offset, length=len(data), checksum=checksum)
        index.append(pack_block(right._replace(**parts.facts.get(number, {}))))
        offset += len(data)
    checksum = hashlib.sha256(parts.head).digest()
    header = pack_header(EVENTS_MAGIC, head_length=len(parts.head), head_checksum=checksum)
    image = {
        **parts.others,
        "events.arrow": parts.head + b"".join(parts.blocks) + parts.footer,
        "events.index": header + b"".join(index),
        "nodes.index": pack_header(NODES_MAGIC) + b"".join(pack_node(*node) for node in parts.nodes),
    }
    if files:
        footer = {"offset": offset, "length": len(parts.footer), "sha256": hashlib.sha256(parts.footer).hexdigest()}
        parts.manifest["footer"] = footer
    return sealed(image, parts.manifest, files=files)


def sealed(image: Image, manifest: Any, *, files: bool = True) -> Image:
    """Return `image` with a manifest that has the hashes of its files, and with a seal over it."""
    if files:
        listed = [name for name in image if name not in ("manifest.json", "SEAL") and not name.startswith("objects/")]
        manifest["files"] = {
            name: {"bytes": len(image[name]), "sha256": hashlib.sha256(image[name]).hexdigest()} for name in listed
        }
    if isinstance(manifest.get("checksum"), str):
        manifest["checksum"] = "0" * 64
    data = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass")
    checksum = hashlib.sha256(data).hexdigest()
    return sealed_bytes(image, data.replace(b'"checksum": "%s"' % (b"0" * 64), b'"checksum": "%s"' % checksum.encode()))


def sealed_bytes(image: Image, manifest: bytes) -> Image:
    """Return `image` with these bytes for a manifest, and with a seal over them."""
    seal = seal_text(Seal(hashlib.sha256(manifest).hexdigest(), None)).encode()
    return {**image, "manifest.json": manifest, "SEAL": seal}


def with_blind_index(image: Image, manifest: dict[str, Any]) -> Image:
    """Return a run whose indexes were changed in any way, with their CRCs and all hashes made right again."""
    from xtrace.capture.index import _sealed

    for name, size in (("events.index", BLOCK_BYTES), ("nodes.index", NODE_BYTES)):
        data = image[name]
        pieces = [_sealed(data[: HEADER_BYTES - 4])]
        pieces += [_sealed(data[place : place + size - 4]) for place in range(HEADER_BYTES, len(data), size)]
        image = {**image, name: b"".join(pieces)}
    return sealed(image, manifest)


def decoded(parts: Parts, block: int) -> pa.RecordBatch:
    """Return the rows of a block."""
    with pa.ipc.open_stream(pa.py_buffer(parts.head[8:] + parts.blocks[block])) as reader:
        return reader.read_next_batch()


def encoded(batch: pa.RecordBatch, digest: bytes = b"", *, compression: str | None = "zstd") -> tuple[bytes, bytes]:
    """Return the head and the block of a batch, with no check at all."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch, custom_metadata={DIGEST_KEY: digest.hex()} if digest else None)
    data = sink.getvalue().to_pybytes()
    source = pa.BufferReader(data)
    source.seek(8)
    while True:
        start = source.tell()
        if pa.ipc.read_message(source).type == "record batch":
            return data[:start], data[start : source.tell()]


def lay_out(mutation: Mutation, folder: Path) -> None:
    """Write a changed run into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in mutation.image.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name, how in mutation.specials.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if how == "pipe":
            os.mkfifo(path)
        elif how == "folder":
            path.mkdir()
        elif how == "sparse":
            path.touch()
            os.truncate(path, 1 << 40)
        else:
            path.symlink_to({"zero": "/dev/zero", "loop": path.name, "outside": "/etc/passwd"}[how])
