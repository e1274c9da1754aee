"""An independent reader of a run, from the description of the format alone: the standard library and pyarrow.

It shares no code with xtrace and is slow and plain on purpose. `check(folder)` reads everything, recomputes every
checksum and digest row by row, and returns what it found; it raises Broken for the first thing that does not fit.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

FORMAT = 1
"""The newest version that this reader knows."""
ARROW_MAGIC_BYTES = 8
HEADER = struct.Struct("<8sIIQ32s")
BLOCK = struct.Struct("<QQQQQQqq32s32s")
NODE = struct.Struct("<II16s16s")
COLUMNS = ("seq", "step", "time_us", "kind", "node", "src", "dst", "type", "late_us", "cause", "payload", "object")
OBJECT_MIN_BYTES = 64 * 1024
WORDS = ("kind", "node", "src", "dst", "type", "object")


class Broken(Exception):
    """The run is not what its own description says."""


class Block(NamedTuple):
    offset: int
    length: int
    rows: int
    first_seq: int
    first_step: int
    last_step: int
    min_time_us: int
    max_time_us: int
    checksum: bytes
    digest: bytes


class Found(NamedTuple):
    """What stands in a run: its manifest, its blocks, its rows, and its digests as recomputed here."""

    manifest: dict[str, Any]
    blocks: list[Block]
    rows: list[dict[str, Any]]
    fingerprint: str | None
    node_digests: dict[str, tuple[bytes, bytes]]


def check(folder: Path) -> Found:
    """Read the closed run in `folder` and verify all of it."""
    manifest = check_seal(folder)
    check_files(folder, manifest)
    head_length, head_checksum, blocks = read_events_index((folder / "events.index").read_bytes(), manifest)
    node_records = read_nodes_index((folder / "nodes.index").read_bytes(), manifest["vocabulary"]["name"])
    events = (folder / "events.arrow").read_bytes()
    head = events[:head_length]
    expect(not head or hashlib.sha256(head).digest() == head_checksum, "the checksum of schema and vocabulary")
    batches = list(read_blocks(events, head_length, blocks, manifest))
    rows = [row for batch in batches for row in batch]
    digests = Digests()
    for number, (block, batch) in enumerate(zip(blocks, batches, strict=True)):
        check_block(number, block, batch)
        active = digests.update(batch)
        expect(block.digest == digests.everything.digest(), f"the running digest after block {number}")
        recorded = [(node, *pair) for at, node, *pair in node_records if at == number]
        expect(recorded == [(node, *digests.of(node)) for node in sorted(active)], f"node digests of block {number}")
    fingerprint = None if manifest.get("holes") else "xt1:sha256:" + digests.everything.hexdigest()
    expect(manifest["fingerprint"] == fingerprint, "the fingerprint")
    check_objects(folder, manifest, rows)
    check_holes(manifest, blocks)
    check_totals(manifest, blocks, rows)
    node_digests = {node: digests.of(node) for node in sorted(digests.inputs | digests.outputs)}
    return Found(manifest, blocks, rows, fingerprint, node_digests)


def expect(fits: bool, what: str) -> None:
    if not fits:
        raise Broken(what)


def check_seal(folder: Path) -> dict[str, Any]:
    """SEAL names the SHA-256 of the manifest and the CRC-32 of that name; a second line is a signature."""
    data = (folder / "manifest.json").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    seal = f"xtrace seal 1 manifest sha256:{digest} crc32:{zlib.crc32(digest.encode()):08x}\n".encode()
    found = (folder / "SEAL").read_bytes()
    expect(found.startswith(seal), "SEAL")
    manifest: dict[str, Any] = json.loads(data)
    expect(type(manifest["format"]) is int and 0 <= manifest["format"] <= FORMAT, "the version of the format")
    signer = check_signature_line(found[len(seal) :])
    expect(manifest.get("signed_by") in (None, signer), "the signature of the one who recorded the run")
    return manifest


def check_signature_line(line: bytes) -> str | None:
    """Return the key in the second line of a seal. (Whether the signature is right takes more than hashes.)"""
    if not line:
        return None
    found = re.fullmatch(rb"(signature ed25519 key:([0-9a-f]{64}) value:[0-9a-f]{128}) crc32:([0-9a-f]{8})\n", line)
    expect(found is not None and int(found[3], 16) == zlib.crc32(found[1]), "the second line of SEAL")
    assert found is not None
    return found[2].decode()


def check_objects(folder: Path, manifest: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """A payload lies in its row or in an object, never in both; what is large lies in an object."""
    lost = {each["file"].removeprefix("objects/") for each in manifest.get("lost", [])}
    for row in rows:
        if row["object"]:
            known = row["object"] in manifest["objects"] or row["object"] in lost
            expect(known and row["payload"] == b"", f"the object of row {row['seq']}")
        elif manifest["format"] >= 1:
            expect(len(row["payload"]) < OBJECT_MIN_BYTES, f"the payload of row {row['seq']}")


def check_holes(manifest: dict[str, Any], blocks: list[Block]) -> None:
    """Rows keep their numbers: where some are missing, the manifest says so."""
    seq = 0
    for block in blocks:
        expect(block.first_seq == seq or (block.first_seq > seq and bool(manifest.get("holes"))), "rows are missing")
        seq = block.first_seq + block.rows
    for hole in manifest.get("holes", []):
        expect({"first_step", "last_step", "rows", "bytes", "reason"} <= {*hole}, "a hole")
    expect(not manifest.get("holes") or manifest["status"] == "recovered", "the status of a run with holes")


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """The manifest lists every file with size and SHA-256; objects are named after theirs."""
    known = {"manifest.json", "SEAL"}
    for name, facts in manifest["files"].items():
        data = (folder / name).read_bytes()
        expect((len(data), hashlib.sha256(data).hexdigest()) == (facts["bytes"], facts["sha256"]), name)
        known.add(name)
    for digest, size in manifest["objects"].items():
        data = (folder / "objects" / digest).read_bytes()
        expect((len(data), hashlib.sha256(data).hexdigest()) == (size, digest), f"objects/{digest}")
        known.add(f"objects/{digest}")
    for artefacts in manifest["artefacts"].values():
        expect(set(artefacts.values()) <= set(manifest["objects"]), "an artefact is no object")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expect(there == known, f"files: {sorted(there ^ known)}")


def records(data: bytes, magic: bytes, body: struct.Struct) -> tuple[int, bytes, list[tuple[Any, ...]]]:
    """Return head length, head checksum and records of an index: each record is followed by its CRC-32."""

    def sealed(start: int, length: int) -> bytes:
        record = data[start : start + length]
        (crc,) = struct.unpack_from("<I", data, start + length)
        expect(zlib.crc32(record) == crc, f"the CRC-32 of the record at {start}")
        return record

    found, version, record_bytes, head_length, head_checksum = HEADER.unpack(sealed(0, HEADER.size))
    expect((found, version, record_bytes) == (magic, 0, body.size + 4), "the header of an index")
    expect((len(data) - HEADER.size - 4) % record_bytes == 0, "the last record of an index")
    places = range(HEADER.size + 4, len(data), record_bytes)
    return head_length, head_checksum, [body.unpack(sealed(place, body.size)) for place in places]


def read_events_index(data: bytes, manifest: dict[str, Any]) -> tuple[int, bytes, list[Block]]:
    head_length, head_checksum, found = records(data, b"XTEVIDX\0", BLOCK)
    blocks = [Block(*each) for each in found]
    offset = head_length
    for block in blocks:
        expect(block.offset == offset, "blocks follow one another")
        offset += block.length
    expect(manifest["footer"]["offset"] == offset, "the footer follows the last block")
    return head_length, head_checksum, blocks


def read_nodes_index(data: bytes, names: list[str]) -> list[tuple[int, str, bytes, bytes]]:
    _, _, found = records(data, b"XTNDIDX\0", NODE)
    return [(block, names[name], inputs, outputs) for block, name, inputs, outputs in found]


def read_blocks(
    events: bytes, head_length: int, blocks: list[Block], manifest: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:
    """Decode each block from the head (magic, schema, vocabulary) and its own bytes, whose SHA-256 is in the index."""
    footer = manifest["footer"]
    rest = events[footer["offset"] :]
    expect((len(rest), hashlib.sha256(rest).hexdigest()) == (footer["length"], footer["sha256"]), "the footer")
    head = events[ARROW_MAGIC_BYTES:head_length]
    for number, block in enumerate(blocks):
        data = events[block.offset : block.offset + block.length]
        expect(hashlib.sha256(data).digest() == block.checksum, f"the checksum of block {number}")
        with pa.ipc.open_stream(head + data) as stream:
            batch, metadata = stream.read_next_batch_with_custom_metadata()
        batch.validate(full=True)
        digest = dict(metadata or {}).get(b"xtrace.digest", block.digest.hex().encode())
        expect(digest == block.digest.hex().encode(), f"the digest in the metadata of block {number}")
        expect(tuple(batch.schema.names[: len(COLUMNS)]) == COLUMNS, "the columns")
        expect(batch.column("kind").dictionary.to_pylist() == manifest["vocabulary"]["kind"], "the kinds")
        for name in ("node", "src", "dst"):
            expect(batch.column(name).dictionary.to_pylist() == manifest["vocabulary"]["name"], "the names")
        yield batch.to_pylist()


def check_block(number: int, block: Block, rows: list[dict[str, Any]]) -> None:
    """A record of the index says what its block holds; a cause is an earlier row."""
    times, steps = [row["time_us"] for row in rows], [row["step"] for row in rows]
    expect(steps == sorted(steps), f"the steps of block {number}")
    facts = (len(rows), rows[0]["seq"], steps[0], steps[-1], min(times), max(times))
    expect(facts == block[2:8], f"the facts of block {number}")
    for seq, row in enumerate(rows, block.first_seq):
        expect(row["seq"] == seq, "rows are numbered")
        expect(all(0 <= cause < seq for cause in row["cause"]), "a cause is an earlier row")


class Digests:
    """Running SHA-256 over canonical rows: of all, and per node of what it received and what it emitted."""

    def __init__(self) -> None:
        self.everything = hashlib.sha256()
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def update(self, rows: list[dict[str, Any]]) -> set[str]:
        """Add the rows of a block and return which nodes were active in it."""
        active = set()
        for row in rows:
            data = canonical(row)
            self.everything.update(data)
            for which, node in places(row):
                (self.inputs if which == "in" else self.outputs).setdefault(node, hashlib.sha256()).update(data)
                active.add(node)
        return active

    def of(self, node: str) -> tuple[bytes, bytes]:
        empty = hashlib.sha256()
        return self.inputs.get(node, empty).digest()[:16], self.outputs.get(node, empty).digest()[:16]


def canonical(row: dict[str, Any]) -> bytes:
    """Numbers in 8 bytes, words with their length in 4 bytes, the payload last; `seq` and `cause` are left out."""
    data = struct.pack("<qqqq", row["step"], row["time_us"], row["late_us"], len(row["payload"]))
    for name in WORDS:
        word = row[name].encode()
        data += struct.pack("<I", len(word)) + word
    return data + row["payload"]


def places(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield to which digests a row belongs. The network receives messages and emits deliveries and drops."""
    if row["kind"] == "input":
        yield from (("in", row["node"]), ("out", "network"))
    elif row["kind"] == "drop":
        yield "out", "network"
    elif row["kind"] == "output":
        yield "out", row["node"]
        if row["dst"]:
            yield "in", "network"


def check_totals(manifest: dict[str, Any], blocks: list[Block], rows: list[dict[str, Any]]) -> None:
    steps = sum(row["kind"] == "step" for row in rows)
    last_step = rows[-1]["step"] if rows else 0
    totals = {"rows": len(rows), "steps": steps, "blocks": len(blocks), "last_step": last_step}
    expect(manifest["totals"] == totals, f"totals {manifest['totals']} instead of {totals}")
