"""MCAP files that were cut, damaged, or made to do harm: a run, or one clear error."""

from __future__ import annotations

import io
import random
import shutil
import struct
import zlib

import pytest
import zstandard
from mcap.writer import Writer
from tests.tools.recordings import write_foreign

from xtrace.capture.reader import Run
from xtrace.engine.errors import CorruptionError
from xtrace.tools import mcap_file
from xtrace.tools.cli import main


def outcome(path, out):
    """Import a file as the command does; return its run, or the error, which must be one that is meant for people."""
    shutil.rmtree(out, ignore_errors=True)
    status = main(["import", str(path), "-o", str(out), "--force"])
    assert status in (0, 2)
    assert status == 0 or not out.exists()
    return Run.open(out) if status == 0 else None


@pytest.mark.parametrize("kind", ["exported", "foreign", "plain"])
def test_a_file_cut_anywhere_is_refused(recorded, tmp_path, capsys, kind):
    """At every hundredth of its length, and near its end."""
    path = tmp_path / "whole.mcap"
    if kind == "exported":
        main(["export", str(recorded), "-o", str(path)])
    else:
        write_foreign(path, use_chunking=kind == "foreign")
    data = path.read_bytes()
    for length in sorted({len(data) * part // 100 for part in range(100)} | {len(data) - n for n in range(1, 40)}):
        (tmp_path / "cut.mcap").write_bytes(data[:length])
        assert outcome(tmp_path / "cut.mcap", tmp_path / "run") is None, length
        error = capsys.readouterr().err
        assert "cut.mcap" in error, length
        assert "internal error" not in error, error


@pytest.mark.parametrize("kind", ["exported", "foreign", "plain"])
def test_a_flipped_bit_is_found_or_makes_no_difference(recorded, tmp_path, capsys, kind):
    """In an exported run everywhere. Others have a checksum per chunk; what lies outside of it may be read wrong."""
    path = tmp_path / "whole.mcap"
    if kind == "exported":
        main(["export", str(recorded), "-o", str(path)])
    else:
        write_foreign(path, use_chunking=kind == "foreign")
    data = path.read_bytes()
    expected = outcome(path, tmp_path / "run").fingerprint
    draw = random.Random(11)
    refused = 0
    for _ in range(150 if kind == "exported" else 50):
        bit = draw.randrange(len(data) * 8)
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "bad.mcap").write_bytes(flipped)
        found = outcome(tmp_path / "bad.mcap", tmp_path / "run")
        error = capsys.readouterr().err
        assert "internal error" not in error, (bit, error)
        refused += found is None
        if kind == "exported" and found is not None:
            assert expected == found.fingerprint, bit
    assert refused > (140 if kind == "exported" else 5)


def record_bytes(opcode, body):
    return struct.pack("<BQ", opcode, len(body)) + body


def text(value):
    return struct.pack("<I", len(value)) + value.encode()


def chunk(content, *, compression="zstd", size=None, checksum=None, data=None):
    packed = zstandard.compress(content) if data is None else data
    size = len(content) if size is None else size
    checksum = zlib.crc32(content) if checksum is None else checksum
    return record_bytes(
        mcap_file.CHUNK,
        struct.pack("<QQQI", 0, 0, size, checksum) + text(compression) + struct.pack("<Q", len(packed)) + packed,
    )


CHANNEL = record_bytes(mcap_file.CHANNEL, struct.pack("<HH", 1, 0) + text("/a") + text("json") + struct.pack("<I", 0))
MESSAGE = record_bytes(mcap_file.MESSAGE, struct.pack("<HIQQ", 1, 0, 5, 5) + b"{}")
HEADER = record_bytes(mcap_file.HEADER, text("") + text(""))
END = record_bytes(mcap_file.DATA_END, struct.pack("<I", 0)) + record_bytes(
    mcap_file.FOOTER, struct.pack("<QQI", 0, 0, 0)
)


def built(*records, header=HEADER, end=END):
    return mcap_file.MAGIC + header + b"".join(records) + end + mcap_file.MAGIC


def test_the_smallest_file_is_read(tmp_path):
    """What the hostile ones below are made of is right."""
    (tmp_path / "x.mcap").write_bytes(built(CHANNEL, MESSAGE, chunk(MESSAGE)))
    with mcap_file.McapFile(tmp_path / "x.mcap") as mcap:
        assert [message.data for message in mcap.messages()] == [b"{}", b"{}"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (built(chunk(b"", size=2**63)), "larger than the limit"),
        (built(*[chunk(record_bytes(200, bytes(60_000_000)))] * 6), "times what the file has"),
        (built(chunk(CHANNEL + MESSAGE * 5_000)), "more records than the file has bytes"),
        (
            built(CHANNEL, chunk(MESSAGE[:1] + struct.pack("<Q", 24_000_050) + MESSAGE[9:] + bytes(24_000_026))),
            "the limit of",
        ),
        (built(chunk(bytes(5_000_000), size=10)), "holds not the 10 bytes"),
        (built(chunk(CHANNEL, size=1_000)), "holds not the 1,000 bytes"),
        (built(chunk(CHANNEL, checksum=5)), "the checksum of a chunk is wrong"),
        (built(chunk(b"", data=b"nonsense", size=5)), "not zstd"),
        (built(chunk(b"", data=b"nonsense", size=5, compression="lz4")), "not lz4"),
        (built(chunk(b"", compression="bz2")), "'bz2' is not known"),
        (built(chunk(MESSAGE)), "channel 1, which there is not"),
        (built(chunk(CHANNEL[:-2])), "longer than the chunk"),
        (built(chunk(CHANNEL + b"\x05\x00")), "a record inside a chunk is cut"),
        (built(CHANNEL, record_bytes(mcap_file.MESSAGE, b"\1\0")), "a message is cut"),
        (built(record_bytes(mcap_file.CHANNEL, b"\1\0\0\0\xff\xff\xff\xff")), "a field is longer than its record"),
        (
            built(CHANNEL, record_bytes(mcap_file.CHANNEL, CHANNEL[9:].replace(b"/a", b"/b"))),
            "two different definitions",
        ),
        (built(record_bytes(mcap_file.CHANNEL, CHANNEL[9:].replace(b"/a", b"/\xff"))), "not UTF-8"),
        (built(record_bytes(mcap_file.CHANNEL, b"\1\0\7\0" + CHANNEL[13:])), "schema 7, which there is not"),
        (built(struct.pack("<BQ", 5, 2**64 - 1)), "longer than the rest of the file"),
        (built(record_bytes(mcap_file.ATTACHMENT, bytes(24) + b"\xff" * 8 + bytes(4))), "does not fill its record"),
        (
            built(record_bytes(mcap_file.METADATA, text("x") + b"\1\0\0\0" + text("a") + text("b"))),
            "does not end where",
        ),
        (built(CHANNEL, end=END[13:]), "no end of the data section"),
        (built(CHANNEL, end=b""), "it has no footer"),
        (built(CHANNEL, end=END[:13]), "it has no footer"),
        (built(CHANNEL, end=END + CHANNEL), "the footer is not followed"),
        (built(CHANNEL, header=b""), "the first record is no header"),
        (built(), "holds no message"),
    ],
)
def test_files_that_lie_are_refused(tmp_path, capsys, monkeypatch, data, reason):
    """Huge sizes, cut records, wrong checksums, bombs: one clear sentence that names the file, and nothing is left."""
    monkeypatch.setattr(mcap_file, "ALWAYS_RECORDS", 1_000)
    (tmp_path / "x.mcap").write_bytes(data)
    assert main(["import", str(tmp_path / "x.mcap"), "-o", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "x.mcap" in error
    assert reason in error
    assert "internal error" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["x.mcap"]


def test_wrong_checksums_outside_of_chunks_are_found(tmp_path):
    """Of the data section, of the summary and of attachments, which other readers leave out."""
    buffer = io.BytesIO()
    writer = Writer(buffer, enable_data_crcs=True)
    writer.start(library="robot")
    writer.add_attachment(0, 0, "notes", "text/plain", b"all well")
    writer.finish()
    data = buffer.getvalue()
    for old, new, reason in (
        (b"all well", b"all bell", "checksum of the attachment 'notes'"),
        (b"robot", b"rabot", "checksum of the data section"),
        (b"notes", b"Notes", "checksum"),
    ):
        (tmp_path / "x.mcap").write_bytes(data.replace(old, new))
        with pytest.raises(CorruptionError, match=reason):
            mcap_file.McapFile(tmp_path / "x.mcap")
    at = data.rindex(b"text/plain")  # in the summary
    (tmp_path / "x.mcap").write_bytes(data[:at] + b"T" + data[at + 1 :])
    with pytest.raises(CorruptionError, match="summary"):
        mcap_file.McapFile(tmp_path / "x.mcap")
