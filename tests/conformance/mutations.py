"""Random changes of runs, from one flipped bit to a hostile author who seals whatever he made up.

`mutated(run, seed, number)` is one change, always the same for the same arguments. To look at some of them:
`python -m tests.conformance.mutations RUN OUT NUMBER…`.
"""

from __future__ import annotations

import copy
import json
import os
import random
import stat
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pyarrow as pa
from tests.conformance.broken_runs import (
    Image,
    Mutation,
    Parts,
    assembled,
    decoded,
    encoded,
    lay_out,
    parts_of,
    sealed,
    sealed_bytes,
    with_blind_index,
)

from xtrace.engine.values import encode

HOSTILE_NUMBERS = (
    0,
    1,
    -1,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    10**30,
    1e308,
    0.5,
)
HOSTILE_TEXTS = (
    *(
        "",
        "..",
        "../../x",
        "/etc/passwd",
        "a/../../b",
        "x" * 5_000,
        "\0",
        "\x1b[31m",
        "\u202e",
        "*",
        "a" * 64,
        "\ud800",
    ),
    *("xt1:sha256:", "logs/../../y", "objects", ".", "~", "network", "$(id)", "{}", "${secret:A}", "\n"),
)
HOSTILE_VALUES = (None, True, [], {}, [[]], {"": {}}, [None] * 50, "x", {"*": 1}, *HOSTILE_NUMBERS)
DEEP = b"\x91" * 2_000 + b"\xc0"
ODD_PAYLOADS = (
    *(b"\xc1", b"\x91", DEEP, b"\xd9\x02\xff\xfe", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\x81\x01\x02"),
    *(
        b"\xca\x00\x00\x00\x00",
        b"\xcd\x00\x01",
        b"\x82\xa1b\x01\xa1a\x01",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xc7\x00\x05",
    ),
    *(b"\x01\x02", b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", b"\x81\xc4\x01a\x01", encode("\u202e\x1b[2J"), b"\x90" * 9),
)


def mutated(run: Path, seed: int, number: int) -> Mutation:
    """Return change `number` of the sound run in the folder `run`."""
    chosen = random.Random(f"{seed} {number}")
    kinds: list[tuple[int, Callable[[Path, random.Random], Mutation | Image]]] = [
        (12, _bytes),
        (12, _resealed_bytes),
        (22, _manifest),
        (6, _manifest_text),
        (14, _index_fields),
        (10, _shuffled_blocks),
        (20, _rows),
        (4, _specials),
    ]
    (change,) = chosen.choices([change for _, change in kinds], weights=[weight for weight, _ in kinds])
    made = change(run, chosen)
    what = change.__name__.strip("_")
    return made if isinstance(made, Mutation) else Mutation(made, {}, what)


def _damaged(data: bytes, chosen: random.Random) -> bytes:
    """Return bytes with one thing done to them."""
    size = len(data)
    place, length = chosen.randrange(size + 1), chosen.choice((1, 2, 4, 8, 40, 140, size // 3))
    end = min(place + length, size)
    how = chosen.randrange(8)
    if how == 0:
        return data[:place]
    if how == 1:
        return data + chosen.randbytes(length)
    if how == 2:
        return data[:place] + data[end:]
    if how == 3:
        return data[:end] + data[place:end] + data[end:]
    if how == 4:
        return data[:place] + bytes(end - place) + data[end:]
    if how == 5:
        number = chosen.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)).to_bytes(8, "little")
        return data[:place] + number[: max(1, min(8, size - place))] + data[place + 8 :]
    changed = bytearray(data)
    for _ in range(chosen.choice((1, 1, 3, 20)) if size else 0):
        changed[chosen.randrange(size)] ^= 1 << chosen.randrange(8)
    return bytes(changed)


def _bytes(run: Path, chosen: random.Random) -> Image:
    """One file is damaged and nothing else changed: what happens to disks."""
    image = assembled(parts_of(run))
    names = sorted(image)
    name = chosen.choice(names)
    if chosen.randrange(12) == 0:
        other = chosen.choice(names)
        return {**image, name: image[other], other: image[name]}
    if chosen.randrange(20) == 0:
        return {each: data for each, data in image.items() if each != name}
    return {**image, name: _damaged(image[name], chosen)}


def _resealed_bytes(run: Path, chosen: random.Random) -> Image:
    """A piece is damaged, and all that vouches for it made right again."""
    parts = parts_of(run)
    where = chosen.choice(("head", "block", "block", "block", "footer", "index", "nodes", "other", "object"))
    if where == "head":
        parts.head = _damaged(parts.head, chosen)
    elif where == "block":
        number = chosen.randrange(len(parts.blocks))
        parts.blocks[number] = _damaged(parts.blocks[number], chosen)
    elif where == "footer":
        parts.footer = _damaged(parts.footer, chosen)
    elif where in ("other", "object"):
        name = chosen.choice(sorted(parts.others))
        parts.others[name] = _damaged(parts.others[name], chosen)
    image = assembled(parts)
    if where in ("index", "nodes"):
        name = "events.index" if where == "index" else "nodes.index"
        return with_blind_index({**image, name: _damaged(image[name], chosen)}, parts.manifest)
    return image


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, member in members for place in ((*at, key), *_places(member, (*at, key)))]


def _hostile(chosen: random.Random) -> Any:
    """Return a value that does not belong there: a copy, because the next change may be inside of it."""
    return copy.deepcopy(chosen.choice((*HOSTILE_VALUES, *HOSTILE_TEXTS)))


def _manifest(run: Path, chosen: random.Random) -> Image:
    """Members of the manifest are removed, added, renamed or given other values."""
    parts = parts_of(run)
    image = assembled(parts)
    manifest = json.loads(image["manifest.json"])
    for _ in range(chosen.choice((1, 1, 1, 2, 5))):
        *at, key = chosen.choice(_places(manifest))
        holder = manifest
        for each in at:
            holder = holder[each]
        how = chosen.randrange(6)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder[chosen.choice(HOSTILE_TEXTS)] = holder.pop(key)
        elif how == 2 and isinstance(holder, dict):
            holder[chosen.choice(("holes", "signed_by", "replayed", "failure", "x"))] = _hostile(chosen)
        elif how == 3 and isinstance(holder, list):
            holder.extend(holder * chosen.choice((1, 100)))
        else:
            holder[key] = _hostile(chosen)
    return sealed(image, manifest, files=False)


def _manifest_text(run: Path, chosen: random.Random) -> Image:
    """The text of the manifest is something else: not JSON, too deep, too much."""
    image = assembled(parts_of(run))
    data = image["manifest.json"]
    texts = (
        _damaged(data, chosen),
        data.replace(b'"seed"', b'"seed": 1, "seed"', 1),
        data.replace(b'"seed": 1', b'"seed": ' + b"9" * chosen.choice((19, 400, 5_000)), 1),
        data.replace(b'"seed": 1', b'"seed": NaN', 1),
        data.replace(b'"scenario": {', b'"scenario": {"x": ' + b"[" * 900 + b"]" * 900 + b",", 1),
        data.replace(b'"scenario": {', b'"scenario": {"x": ' + b'{"a":' * 90 + b"1" + b"}" * 90 + b",", 1),
        data[:-1] + b',"x":[' + b"[]," * 300_000 + b"[]]}",
        data.decode().encode("utf-16"),
        b"[" * 100_000,
        b"null",
    )
    return sealed_bytes(image, chosen.choice(texts))


def _index_fields(run: Path, chosen: random.Random) -> Image:
    """Records of the indexes are lies, under right checksums."""
    parts = parts_of(run)
    names = ("offset", "length", "rows", "first_seq", "first_step", "last_step", "min_time_us", "max_time_us")
    for _ in range(chosen.choice((1, 1, 2))):
        number, name = chosen.randrange(len(parts.blocks)), chosen.choice(names)
        record = parts.records[number]
        small = getattr(record, name) + chosen.choice((-1, 1, 7, 1_000))
        large = chosen.choice((0, 2**31, 2**40, 2**63 - 1))
        parts.facts.setdefault(number, {})[name] = max(chosen.choice((small, large)), 0)
    if chosen.randrange(3) == 0:
        parts.facts.setdefault(0, {})["digest"] = chosen.randbytes(32)
    for _ in range(chosen.choice((0, 0, 1, 3))):
        block, name, inputs, outputs = parts.nodes[place := chosen.randrange(len(parts.nodes))]
        other = chosen.choice(((2**31, name), (block, 2**32 - 1), (block + 1, name), (block, name + 1)))
        parts.nodes[place] = (other[0] % 2**32, other[1] % 2**32, inputs, outputs)
    parts.manifest["totals"]["rows"] = chosen.choice((parts.manifest["totals"]["rows"], 0, 2**62))
    return assembled(parts)


def _shuffled_blocks(run: Path, chosen: random.Random) -> Image:
    """Blocks are swapped, repeated or left out, with their records or without, under right checksums."""
    parts = parts_of(run)
    one, other = chosen.sample(range(len(parts.blocks)), 2)
    how = chosen.randrange(5)
    lists: list[list[Any]] = [parts.blocks] if chosen.randrange(2) else [parts.blocks, parts.records]
    for each in lists:
        if how == 0:
            each[one], each[other] = each[other], each[one]
        elif how == 1:
            each.insert(other, each[one])
        elif how == 2:
            del each[one]
        elif how == 3:
            each.extend([each[one]] * 400)
        else:
            each[one] = each[other]
    if chosen.randrange(2):
        _renumber(parts)
    parts.records += parts.records[-1:] * max(0, len(parts.blocks) - len(parts.records))
    parts.manifest["totals"]["blocks"] = len(parts.blocks)
    return assembled(parts)


def _renumber(parts: Parts) -> None:
    """Make the records follow one another, as far as they say what they hold."""
    seq = 0
    for number, record in enumerate(parts.records):
        parts.records[number] = record._replace(block=number, first_seq=seq)
        seq += record.rows
    parts.manifest["totals"]["rows"] = seq


def _rows(run: Path, chosen: random.Random) -> Image:
    """A block has other rows or other columns than a recorder writes, in a sound Arrow message."""
    parts = parts_of(run)
    number = chosen.randrange(len(parts.blocks))
    batch = decoded(parts, number)
    how = chosen.randrange(16)
    if how == 0:
        batch = _with_other_rows(batch, chosen)
    elif how < 12:
        batch = _with_column(batch, chosen.choice(batch.schema.names), chosen)
    compression = chosen.choice(("zstd", "lz4", None)) if how < 12 else None
    head, data = encoded(batch, parts.records[number].digest, compression=compression)
    # Without compression a changed byte is a wrong offset, length or value, and no broken stream.
    parts.blocks[number] = data if how < 12 else _damaged(data, chosen)
    if number == 0 or chosen.randrange(3) == 0:
        parts.head = head
    if chosen.randrange(2):
        parts.facts[number] = {"rows": len(batch)}
    return assembled(parts)


def _with_other_rows(batch: pa.RecordBatch, chosen: random.Random) -> pa.RecordBatch:
    how = chosen.randrange(3)
    if how == 0:
        return batch.slice(0, chosen.randrange(len(batch)))
    if how == 1:
        return batch.append_column("extra", pa.array([None] * len(batch), pa.null()))
    return batch.select(batch.schema.names[:-1])


def _with_column(batch: pa.RecordBatch, name: str, chosen: random.Random) -> pa.RecordBatch:
    """Return the batch with another column `name`: wrong values, wrong offsets, another type."""
    column, rows = batch.column(name), len(batch)
    kind = column.type
    how = chosen.randrange(5)
    if how == 0:
        other = pa.array([None] * rows, kind)
    elif how == 1:
        other = pa.array(["x"] * rows, chosen.choice((pa.string(), pa.large_string(), pa.binary())))
    elif pa.types.is_integer(kind):
        wrong = (-(2**63), 2**63 - 1, -1, 0, 2**40)
        other = pa.array(
            [chosen.choice(wrong) if chosen.randrange(4) == 0 else each for each in column.to_pylist()], kind
        )
    elif pa.types.is_dictionary(kind):
        indices = pa.array([chosen.choice((-1, 0, 1, 99, 2**31 - 1)) for _ in range(rows)], pa.int32())
        words = chosen.choice((column.dictionary, pa.array(["", "", "x"]), pa.array(["\u202e\x1b[2J", ""])))
        other = pa.DictionaryArray.from_arrays(indices, words, safe=False)
    elif pa.types.is_list(kind):
        causes = (-1, 2**62, 0, rows)
        other = pa.array([[chosen.choice(causes)] * chosen.choice((0, 1, 50)) for _ in range(rows)], kind)
    else:
        other = _odd_texts(column, chosen)
    place = batch.schema.get_field_index(name)
    return batch.set_column(place, pa.field(name, other.type, nullable=other.null_count > 0), other)


def _odd_texts(column: pa.Array, chosen: random.Random) -> pa.Array:
    """Return a column of text or bytes with values that no recorder writes."""
    rows = len(column)
    if pa.types.is_binary(column.type):
        huge = chosen.randrange(12) == 0
        odd = [b"\xc0" * 150_000_000] if huge else list(ODD_PAYLOADS)
        wrong = [chosen.choice(odd) if chosen.randrange(5) == 0 and not huge else b"" for _ in range(rows)]
        return pa.array([odd[0], *wrong[1:]] if huge else wrong, pa.binary())
    odd = [text.encode(errors="surrogatepass") for text in HOSTILE_TEXTS] + [b"\xff\xfe"]
    data = pa.array([chosen.choice(odd) if chosen.randrange(3) else b"" for _ in range(rows)], pa.binary())
    return pa.Array.from_buffers(pa.string(), rows, data.buffers())


def _specials(run: Path, chosen: random.Random) -> Mutation:
    """A file is a pipe, a device, a folder, a link or a terabyte of nothing."""
    parts = parts_of(run)
    image = assembled(parts)
    name = chosen.choice(sorted(image))
    how = chosen.choice(("pipe", "folder", "zero", "loop", "outside", "sparse"))
    if how == "sparse" and name not in ("manifest.json", "SEAL"):
        parts.manifest["files"].get(name, {})["bytes"] = 1 << 40
        image = sealed({**image}, {**parts.manifest}, files=False)
    del image[name]
    return Mutation(image, {name: how}, f"specials {how} {name}")


def with_hostile_frame(journal: bytes, chosen: random.Random) -> bytes:
    """Return a journal with one frame more, whose checksum is right and whose content is not."""
    head = journal[:16]
    (length,) = struct.unpack_from("<I", journal, 16)
    frame = msgpack.unpackb(journal[24 : 24 + length], strict_map_key=False)
    for _ in range(chosen.choice((1, 1, 2))):
        *at, key = chosen.choice(_places(frame))
        holder = frame
        for each in at:
            holder = holder[each]
        value = _hostile(chosen)
        holder[key] = value if not isinstance(value, int) or -(2**63) <= value < 2**64 else 0
    body = msgpack.packb(frame, unicode_errors="surrogatepass")
    size = struct.pack("<I", len(body))
    frames = journal[16:] if chosen.randrange(2) else b""
    return head + frames + size + struct.pack("<I", zlib.crc32(body, zlib.crc32(size))) + body


def main() -> None:
    """Lay out single changes for a look at them."""
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    for number in map(int, sys.argv[3:]):
        made = mutated(run, 1, number)
        lay_out(made, out / str(number))
        print(number, made.what, stat.filemode(os.stat(out / str(number)).st_mode))


if __name__ == "__main__":
    main()
