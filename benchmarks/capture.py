"""Writing and reading events that are there already: an xtrace run, a plain pyarrow file, and an MCAP file.

The events are those of a recording of `machine_monitoring`, handed over step by step as the coordinator does.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from xtrace.capture.blocks import StoredRow
from xtrace.capture.reader import Run
from xtrace.capture.writer import RunWriter
from xtrace.scenarios.loader import load
from xtrace.scenarios.record import record

DURATION = "1000s"
ROWS_PER_BATCH = 16_384
COLUMNS = ("time_us", "node", "src", "dst", "type", "late_us", "payload")


class Rows(NamedTuple):
    """Rows of one step and kind, by column; those of kind `step` have no columns."""

    step: int
    kind: str
    time_us: int
    columns: dict[str, list[Any]]


class Recording(NamedTuple):
    """A recording to be written again: its nodes, its rows, and how many events are in it."""

    nodes: list[str]
    rows: list[Rows]
    events: int


def make_recording(folder: Path) -> Recording:
    """Record `machine_monitoring` for a while and return what is in it."""
    record(load("machine_monitoring", duration=DURATION), folder)
    run = Run.open(folder)
    rows = [
        _columns(step, kind, list(stored))
        for (step, kind), stored in groupby(run.rows(), key=lambda each: (each.row.step, each.row.kind))
    ]
    return Recording([node for node in run.nodes if node != "network"], rows, run.events)


def _columns(step: int, kind: str, stored: list[StoredRow]) -> Rows:
    columns = {name: [getattr(each.row, name) for each in stored] for name in COLUMNS}
    return Rows(step, kind, stored[-1].row.time_us, columns | {"cause": [each.cause for each in stored]})


def write_xtrace(folder: Path, recording: Recording) -> int:
    """Write a closed run with every checksum and digest; return its size in bytes."""
    writer = RunWriter(folder, node_ids=recording.nodes, about={"seed": 0, "nodes": {}})
    for step, kind, time_us, columns in recording.rows:
        if kind == "step":
            writer.end_step(step, time_us)
        else:
            writer.append(step, kind, **columns)
    writer.close("complete")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def read_xtrace(folder: Path) -> int:
    """Read every row, verified, and touch every payload; return their bytes."""
    return sum(sum(map(len, batch.column("payload").to_pylist())) for batch in Run.open(folder).batches())


def write_pyarrow(path: Path, recording: Recording) -> int:
    """Write the same columns as a plain Arrow file, zstd, without checksum, index or digest."""
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    kinds = pa.array(["step", "input", "output", "drop", "abort"])
    names = pa.array(["", *recording.nodes, "network"])
    index = {node: number for number, node in enumerate(names.to_pylist())}
    kind_index = {kind: number for number, kind in enumerate(kinds.to_pylist())}
    types = {
        "step": pa.int64(), "kind": name, "time_us": pa.int64(), "node": name, "src": name, "dst": name,
        "type": pa.string(), "late_us": pa.int64(), "payload": pa.binary(), "cause": pa.list_(pa.int64()),
    }  # fmt: skip
    schema = pa.schema(list(types.items()))
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
        waiting: dict[str, list[Any]] = {column: [] for column in types}
        for step, kind, _, columns in recording.rows:
            count = len(columns["time_us"])
            waiting["step"] += [step] * count
            waiting["kind"] += [kind_index[kind]] * count
            for column, values in columns.items():
                waiting[column] += values
            if len(waiting["step"]) >= ROWS_PER_BATCH or (kind == "step" and (step, kind) == recording.rows[-1][:2]):
                arrays = []
                for column, type_ in types.items():
                    values = waiting[column]
                    if column == "kind":
                        arrays.append(pa.DictionaryArray.from_arrays(pa.array(values, pa.int32()), kinds))
                    elif type_ == name:
                        indices = pa.array([index[value] for value in values], pa.int32())
                        arrays.append(pa.DictionaryArray.from_arrays(indices, names))
                    else:
                        arrays.append(pa.array(values, type_))
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                waiting = {column: [] for column in types}
    return path.stat().st_size


def write_mcap(path: Path, recording: Recording) -> int:
    """Write an MCAP file, zstd, with its checksums on: a message for each event, a channel for each kind of them.

    The rows that end steps, which MCAP has no use for, and everything but times and payload are left out.
    """
    from mcap.writer import CompressionType, Writer

    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD, enable_crcs=True)
        writer.start()
        schema = writer.register_schema("payload", "", b"")
        channels: dict[tuple[str, ...], int] = {}
        for number, (_, kind, _, columns) in enumerate(recording.rows):
            if kind == "step":
                continue
            fields = (columns[name] for name in ("time_us", "src", "dst", "type", "payload"))
            for time_us, src, dst, type_, payload in zip(*fields, strict=True):
                key = (kind, src, dst, type_)
                if key not in channels:
                    channels[key] = writer.register_channel("/".join(("", *key)), "msgpack", schema)
                writer.add_message(channels[key], time_us * 1_000, payload, time_us * 1_000, number)
        writer.finish()
    return path.stat().st_size


def read_mcap(path: Path) -> int:
    """Read every message with its checksums, and touch every payload; return their bytes."""
    from mcap.reader import make_reader

    with path.open("rb") as file:
        messages = make_reader(file, validate_crcs=True).iter_messages(log_time_order=False)
        return sum(len(message.data) for _, _, message in messages)
