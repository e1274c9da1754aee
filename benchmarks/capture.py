"""Writing events that are there already: an xtrace run, a plain pyarrow file, and an MCAP file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack

from xtrace.capture.writer import RunWriter

EVENTS = 200_000
PER_STEP = 50
NODES = [f"n{number}" for number in range(10)]
ROWS_PER_BATCH = 16_384

Event = tuple[int, str, str, str, bytes]
"""time_us, src, dst, type, payload."""


def make_events(count: int = EVENTS) -> list[Event]:
    """Return events with small payloads, as sensors send them: a reading that wanders and a counter."""
    events = []
    reading = 20_000
    for number in range(count):
        reading += (number * 7_919) % 41 - 20
        payload = msgpack.packb({"count": number, "reading": reading})
        src, dst = NODES[number % len(NODES)], NODES[(number * 3 + 1) % len(NODES)]
        events.append((number * 20, src, dst, "reading", payload))
    return events


def write_xtrace(folder: Path, events: list[Event]) -> int:
    """Write a closed run with every checksum and digest; return its size in bytes."""
    writer = RunWriter(folder, node_ids=NODES, about={"seed": 0, "nodes": {}})
    for step, start in enumerate(range(0, len(events), PER_STEP), 1):
        times, srcs, dsts, types, payloads = zip(*events[start : start + PER_STEP], strict=True)
        zeros: list[int] = [0] * len(times)
        writer.append(
            step,
            "output",
            time_us=times,
            node=srcs,
            src=srcs,
            dst=dsts,
            type=types,
            late_us=zeros,
            payload=payloads,
            cause=[()] * len(times),
        )
        writer.end_step(step, times[-1] + 1)
    writer.close("complete")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_pyarrow(path: Path, events: list[Event]) -> int:
    """Write the same columns as a plain Arrow file, zstd, without checksum, index or digest."""
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    words = pa.array(NODES)
    index = {node: number for number, node in enumerate(NODES)}
    fields: list[tuple[str, Any]] = [("time_us", pa.int64()), ("src", name), ("dst", name)]
    schema = pa.schema([*fields, ("type", pa.string()), ("payload", pa.binary())])
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
        for start in range(0, len(events), ROWS_PER_BATCH):
            times, srcs, dsts, types, payloads = zip(*events[start : start + ROWS_PER_BATCH], strict=True)
            columns = [
                pa.array(times, pa.int64()),
                *(
                    pa.DictionaryArray.from_arrays(pa.array([index[node] for node in nodes], pa.int32()), words)
                    for nodes in (srcs, dsts)
                ),
                pa.array(types, pa.string()),
                pa.array(payloads, pa.binary()),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return path.stat().st_size


def write_mcap(path: Path, events: list[Event]) -> int:
    """Write an MCAP file, zstd, with its checksums on: a channel per pair of nodes."""
    from mcap.writer import CompressionType, Writer

    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD, enable_crcs=True)
        writer.start()
        schema = writer.register_schema("payload", "", b"")
        channels = {
            (src, dst): writer.register_channel(f"/{src}/{dst}/reading", "msgpack", schema)
            for src in NODES
            for dst in NODES
        }
        for number, (time_us, src, dst, _, payload) in enumerate(events):
            time_ns = time_us * 1_000
            writer.add_message(channels[src, dst], time_ns, payload, time_ns, number)
        writer.finish()
    return path.stat().st_size
