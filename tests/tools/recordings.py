"""Recordings of other programs, and what is compared of runs that are made of them."""

from __future__ import annotations

import json
import random

from mcap.writer import CompressionType, Writer

from xtrace.capture.reader import Run

START_NS = 1_700_000_000_123_456_789


def same_content(one, other):
    """Return whether two runs are the same: rows with their causes, files, logs and what the manifest says of them."""
    runs = [Run.open(each) for each in (one, other)]
    manifests = [
        {
            key: run.manifest[key]
            for key in ("scenario", "seed", "status", "failure", "artefacts", "objects", "versions")
        }
        for run in runs
    ]
    logs = [{path.name: path.read_bytes() for path in (run.path / "logs").glob("*")} for run in runs]
    # NaN is not equal to itself, the bytes of its payload are.
    return (
        list(runs[0].rows()) == list(runs[1].rows())
        and manifests[0] == manifests[1]
        and logs[0] == logs[1]
        and runs[0].fingerprint == runs[1].fingerprint
    )


def write_foreign(path, *, compression=CompressionType.ZSTD, shuffle=False, use_chunking=True, messages=50):
    """Write what a robot might: two topics, three encodings, times out of order and equal."""
    with path.open("wb") as file:
        writer = Writer(file, compression=compression, use_chunking=use_chunking)
        writer.start(profile="ros2")
        imu = writer.register_channel("/imu/data", "cdr", writer.register_schema("Imu", "ros2msg", b"float64 x"))
        say = writer.register_channel("/say", "json", writer.register_schema("Say", "jsonschema", b"{}"))
        raw = writer.register_channel("/say", "protobuf", 0)
        sent = [(imu, START_NS + 1_000_001 * n, bytes([n % 256])) for n in range(messages)]
        sent += [(say, START_NS + 500, json.dumps({"n": n, "$k": n / 2}).encode()) for n in range(3)]
        sent += [(raw, START_NS + 7_000_999, b"\xff"), (say, START_NS + 7_000_999, b"{not json")]
        if shuffle:
            random.Random(5).shuffle(sent)
        for sequence, (channel, time_ns, data) in enumerate(sent):
            writer.add_message(channel, time_ns, data, time_ns - 5, sequence)
        writer.add_attachment(0, 0, "manifest.json", "", b"of something else")
        writer.finish()
    return sent


def outputs(run):
    return [stored.row for stored in Run.open(run).rows() if stored.row.kind == "output"]
