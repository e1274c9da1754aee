"""The rows that a query answers, as a table, JSON, CSV or Arrow; none of them holds more than a part in memory."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain, islice
from typing import Any

from xtrace.engine.json_values import encode_value
from xtrace.tools.output import Console, escape, plural, shorten, to_json
from xtrace.tools.sandbox import Result

MEASURED_ROWS = 1_000
"""The columns of a table are as wide as the first rows need."""
PLAN_COLUMNS = ["explain_key", "explain_value"]
CELL_CHARACTERS_MAX = 100
"""On a terminal; a file or a pipe gets everything."""


def write_table(result: Result, console: Console) -> None:
    """Print aligned columns; a query plan is printed as DuckDB draws it."""
    if result.columns == PLAN_COLUMNS:
        for _, plan in result.rows():
            console.data(plan.rstrip())
        return
    numeric = [_NUMBER.fullmatch(kind) is not None for kind in result.types]
    most = CELL_CHARACTERS_MAX if console.terminal else None
    cells = (tuple(_cell(value, most) for value in row) for row in result.rows())
    head = tuple(escape(name) for name in result.columns)
    measured = list(islice(cells, MEASURED_ROWS))
    widths = [max(map(len, column)) for column in zip(head, *measured, strict=True)]
    rule = tuple("-" * width for width in widths)
    count = -2
    for row in chain((head, rule), measured, cells):
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        console.raw("  ".join(padded).rstrip() + "\n")
        count += 1
    console.say(plural(count, "row"))


def write_json(result: Result, console: Console) -> None:
    """Print a JSON array with an object per row, one a line."""
    names = _unique(result.columns)
    separator = "[\n"
    for row in result.rows():
        members = {
            name: json.loads(value) if kind == "JSON" and value is not None else _plain(value)
            for name, value, kind in zip(names, row, result.types, strict=True)
        }
        console.raw(separator + to_json(members))
        separator = ",\n"
    console.raw("[]\n" if separator == "[\n" else "\n]\n")


def write_csv(result: Result, console: Console) -> None:
    """Print comma-separated values with a header; NULL is empty, bytes are hexadecimal."""
    for row in chain([result.columns], result.rows()):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(["" if value is None else _text(value) for value in row])
        console.raw((escape(line.getvalue(), keep="\n") if console.terminal else line.getvalue()) + "\n")


def write_arrow(result: Result, console: Console) -> None:
    """Write an Arrow IPC stream to stdout as bytes."""
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, result.schema) as writer:
        for batch in result.batches():
            writer.write_batch(batch)
            console.binary(_taken(sink))
    console.binary(_taken(sink))


WRITERS: Mapping[str, Callable[[Result, Console], None]] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
    "arrow": write_arrow,
}

_NUMBER = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)")


def _taken(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data


def _cell(value: Any, most: int | None) -> str:
    text = "NULL" if value is None else escape(_text(value))
    return text if most is None else shorten(text, most)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | dict):
        return to_json(_plain(value))
    return str(value)


def _plain(value: Any) -> Any:
    """Return a value of DuckDB as JSON has it, in the spelling of payloads: bytes as `{"$bytes": …}`."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | bytes):
        return json.loads(encode_value(value))
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return str(value)


def _unique(names: list[str]) -> list[str]:
    """Return the names with a number behind those that stand twice: an object has a key only once."""
    unique: dict[str, None] = {}
    for name in names:
        candidate, number = name, 2
        while candidate in unique:
            candidate, number = f"{name}_{number}", number + 1
        unique[candidate] = None
    return list(unique)
