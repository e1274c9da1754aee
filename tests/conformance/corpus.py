"""Good and broken runs with the answers that every reader of the format must give, made anew for each test.

`GOOD` are runs that must be read; `BROKEN` are runs of which `verify` must say what is wrong, and where. Most have
right seals: what a checksum can find is tried bit by bit elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
from tests.conformance.broken_runs import Image, Parts, assembled, decoded, encoded, sealed, sealed_bytes

from xtrace.capture.index import HEADER_BYTES, NODE_BYTES
from xtrace.engine.values import encode

ANOTHER = hashlib.sha256(b"another").digest()


class Case(NamedTuple):
    """What is done to a run, and what must come of it.

    `expected` is a pattern for the line of `verify`; `other` one for the other reader, None if it does not look there.
    """

    name: str
    change: Callable[[Parts], Image]
    expected: str = ""
    other: str | None = ""
    status: int = 2


def sound(parts: Parts) -> Image:
    return assembled(parts)


def _manifest(**facts: Any) -> Callable[[Parts], Image]:
    def change(parts: Parts) -> Image:
        image = assembled(parts)
        return sealed(image, {**json.loads(image["manifest.json"]), **facts}, files=False)

    return change


def _nested(*path: str, value: Any) -> Callable[[Parts], Image]:
    """Change one member deep in the manifest."""

    def change(parts: Parts) -> Image:
        image = assembled(parts)
        manifest = holder = json.loads(image["manifest.json"])
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value
        return sealed(image, manifest, files=False)

    return change


def _record(block: int, name: str, by: Any) -> Callable[[Parts], Image]:
    """Let the record of a block lie about one field, by a number or with other bytes."""

    def change(parts: Parts) -> Image:
        offset = len(parts.head) + sum(map(len, parts.blocks[:block]))
        right = offset if name == "offset" else getattr(parts.records[block], name)
        parts.facts[block] = {name: by if isinstance(by, bytes) else right + by}
        return assembled(parts)

    return change


def _blocks(how: Callable[[list[bytes]], None]) -> Callable[[Parts], Image]:
    def change(parts: Parts) -> Image:
        how(parts.blocks)
        return assembled(parts)

    return change


def _swap(blocks: list[bytes]) -> None:
    blocks[1], blocks[2] = blocks[2], blocks[1]


def _repeat(blocks: list[bytes]) -> None:
    blocks[2] = blocks[1]


def _trailing(blocks: list[bytes]) -> None:
    blocks[1] += blocks[1]


def _claims_a_terabyte(blocks: list[bytes]) -> None:
    """Let the first compressed buffer of a block say how long it will be."""
    (metadata,) = struct.unpack_from("<i", blocks[1], 4)
    body = bytearray(blocks[1])
    struct.pack_into("<q", body, 8 + metadata, 1 << 40)
    blocks[1] = bytes(body)


def _column(name: str, value: Any) -> Callable[[Parts], Image]:
    """Give the second row of block 1 another value in one column; the block is sound Arrow."""

    def change(parts: Parts) -> Image:
        batch = decoded(parts, 1)
        values = batch.column(name).to_pylist()
        values[1] = value
        kind = batch.schema.field(name).type
        other = pa.array(values, kind) if not pa.types.is_dictionary(kind) else pa.array(values).dictionary_encode()
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, pa.field(name, other.type, nullable=value is None), other)
        head, parts.blocks[1] = encoded(batch, parts.records[1].digest)
        if pa.types.is_dictionary(kind):
            parts.head = head
        return assembled(parts)

    return change


def _texts_that_are_none(parts: Parts) -> Image:
    batch = decoded(parts, 1)
    place = batch.schema.get_field_index("type")
    data = pa.array([b"\xff\xfe"] * len(batch), pa.binary())
    wrong = pa.Array.from_buffers(pa.string(), len(batch), data.buffers())
    batch = batch.set_column(place, pa.field("type", pa.string(), nullable=False), wrong)
    parts.blocks[1] = encoded(batch, parts.records[1].digest)[1]
    return assembled(parts)


def _node(change_record: Callable[[list[tuple[int, int, bytes, bytes]]], None]) -> Callable[[Parts], Image]:
    def change(parts: Parts) -> Image:
        change_record(parts.nodes)
        return assembled(parts)

    return change


def _other_digest(nodes: list[tuple[int, int, bytes, bytes]]) -> None:
    nodes[2] = (*nodes[2][:2], ANOTHER[:16], nodes[2][3])


def _one_more(nodes: list[tuple[int, int, bytes, bytes]]) -> None:
    nodes.append(nodes[-1])


def _one_less(nodes: list[tuple[int, int, bytes, bytes]]) -> None:
    nodes.pop()


def _cut_index(parts: Parts) -> Image:
    image = assembled(parts)
    return sealed({**image, "events.index": image["events.index"][:-1]}, parts.manifest)


def _file(name: str, data: Callable[[bytes], bytes]) -> Callable[[Parts], Image]:
    """Change a file and nothing that vouches for it."""

    def change(parts: Parts) -> Image:
        image = assembled(parts)
        return {**image, name: data(image.get(name, b""))}

    return change


def _twice(parts: Parts) -> Image:
    image = assembled(parts)
    return sealed_bytes(image, image["manifest.json"].replace(b'"seed": 1', b'"seed": 1, "seed": 2'))


def _further_column(parts: Parts) -> Image:
    """A later version may add columns; their values are covered by the checksums of the blocks alone."""
    for number, batch in enumerate([decoded(parts, number) for number in range(len(parts.blocks))]):
        wider = batch.append_column("weight", pa.array([0.5] * len(batch)))
        parts.head, parts.blocks[number] = encoded(wider, parts.records[number].digest)
    return assembled(parts)


def _at_record(number: int) -> str:
    return f"offset {HEADER_BYTES + number * NODE_BYTES}"


GOOD = [
    Case("as it was recorded", sound),
    Case("a key of the manifest that nobody knows", _manifest(colour="blue")),
    Case("a column that nobody knows", _further_column),
]

BROKEN = [
    Case("a bit of the seal", _file("SEAL", lambda data: b"Xtrace" + data[6:]), "SEAL: .*checksum of the seal", "SEAL"),
    Case("a seal that goes on", _file("SEAL", lambda data: data + b"x\n"), "SEAL: .*not a seal", "second line of SEAL"),
    Case(
        "a byte of the manifest", _file("manifest.json", lambda data: data + b" "), "manifest.json: .*SEAL says", "SEAL"
    ),
    Case(
        "a byte of a block",
        _file("events.arrow", lambda data: data[:5000] + b"??" + data[5002:]),
        r"events.arrow: block \d+, offset \d+ .*the checksum is wrong \(steps \d+ to \d+, \d+ rows\)",
        "events.arrow",
    ),
    Case("a shorter log", _file("events.arrow", lambda data: data[:-1]), "events.arrow: .* instead of", "events.arrow"),
    Case(
        "a longer log", _file("events.arrow", lambda data: data + b"\0"), "events.arrow: .* instead of", "events.arrow"
    ),
    Case(
        "another log file",
        _file("logs/a.log", lambda data: b"?" + data[1:]),
        "logs/a.log: .*not what was",
        "logs/a.log",
    ),
    Case(
        "a file of somebody else",
        _file("notes.txt", lambda data: b"mine"),
        "notes.txt: .*not a file of",
        "files",
        status=0,
    ),
    Case("a newer format", _manifest(format=99), "newer than", "version of the format"),
    Case("a key twice", _twice, "manifest.json: .*a key stands twice", None),
    Case(
        "a fingerprint of other rows",
        _manifest(fingerprint=f"xt1:sha256:{ANOTHER.hex()}"),
        "fingerprint is",
        "fingerprint",
    ),
    Case("no fingerprint and no holes", _manifest(fingerprint=None), "a run has a fingerprint unless", "fingerprint"),
    Case("a signer without a signature", _manifest(signed_by=ANOTHER.hex()), "SEAL: .*is missing", "the signature of"),
    Case("too many steps in the totals", _nested("totals", "steps", value=7), "totals.steps is 7", "totals"),
    Case("too few rows in the totals", _nested("totals", "rows", value=7), "totals.rows is 7", "totals"),
    Case(
        "an artefact that is no object",
        _nested("artefacts", "a", "model.py", value=ANOTHER.hex()),
        "none of the obj",
        "an artefact is no object",
    ),
    Case(
        "a file outside",
        _nested("files", "../SEAL", value={"bytes": 1, "sha256": "0" * 64}),
        "leads out of the",
        "No such file",
    ),
    Case("a word twice", _nested("vocabulary", "kind", value=["step"] * 5), "each kind once", "the kinds"),
    Case("an index whose last record is cut", _cut_index, "events.index: .*record 6 is cut off", "last record"),
    Case(
        "a block elsewhere", _record(1, "offset", 8), "events.index: block 1, .*does not follow", "follow one another"
    ),
    Case(
        "a row number that leaves one out",
        _record(2, "first_seq", 1),
        "block 2, .*does not follow",
        "are missing|facts",
    ),
    Case("a block of more rows", _record(6, "rows", 1), r"totals.rows is", "facts of block 6"),
    Case(
        "a later first step", _record(1, "first_step", 1), "events.arrow: block 1, .*first and last step", "facts of b"
    ),
    Case("an earlier last step", _record(1, "last_step", -1), "block 1, .*first and last step", "facts of block 1"),
    Case("a later first time", _record(1, "min_time_us", 5), "block 1, .*first and last time", "facts of block 1"),
    Case("an earlier last time", _record(1, "max_time_us", -5), "block 1, .*first and last time", "facts of block 1"),
    Case(
        "another digest", _record(1, "digest", ANOTHER), "block 1, .*digest in its metadata", "digest in the metadata"
    ),
    Case(
        "blocks in another order",
        _blocks(_swap),
        "block 1, .*not numbered from|block 1, .* rows",
        "facts|rows are|digest",
    ),
    Case("a block twice", _blocks(_repeat), "block 2, .*not numbered from|block 2, .* rows", "digest in the metadata"),
    Case("something behind a block", _blocks(_trailing), "block 1, .*not one record batch", None),
    Case(
        "a buffer of a terabyte", _blocks(_claims_a_terabyte), "block 1, .*more than the limit", "Broken|OSError|Memory"
    ),
    Case(
        "another payload",
        _column("payload", encode({"n": "?"})),
        "block 1, .*not those that the running",
        "running digest",
    ),
    Case("a payload that is no value", _column("payload", b"\xc1"), "block 1, .*no canonical value", "running digest"),
    Case("a payload in another form", _column("payload", b"\xcd\x00\x01"), "no canonical value", "running digest"),
    Case(
        "a cause that comes later", _column("cause", [10**6]), "block 1, .*no earlier row", "a cause is an earlier row"
    ),
    Case("a negative cause", _column("cause", [-1]), "block 1, .*no earlier row", "a cause is an earlier row"),
    Case("a step that goes back", _column("step", 1), "block 1, .*go backwards", "the steps of block 1"),
    Case("another row number", _column("seq", 0), "block 1, .*not numbered from", "rows are numbered"),
    Case("an object that is not there", _column("object", "f" * 64), "refers to the object", "running digest"),
    Case("an object outside", _column("object", "../../manifest.json"), "refers to the object", "running digest"),
    Case("a null", _column("type", None), "the column 'type' has nulls", "NoneType|null"),
    Case("text that is none", _texts_that_are_none, "block 1, .*UTF8", "UTF8"),
    Case(
        "words of its own", _column("src", "?"), "unexpected columns|vocabulary", "the names|the columns|out of bounds"
    ),
    Case(
        "another digest of a node",
        _node(_other_digest),
        f"nodes.index: block 0, {_at_record(2)} .*other digests",
        "node di",
    ),
    Case("a node too many", _node(_one_more), "nodes.index: .*belongs to no block", "node digests"),
    Case("a node too few", _node(_one_less), "nodes.index: block 6, .*no record of node", "node digests"),
]
