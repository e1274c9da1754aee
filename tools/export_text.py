"""Exports as text: JSON Lines as `xtrace show --json` prints them, and comma-separated values."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from xtrace.tools.export_files import Format, as_named, head_of, wanted_rows
from xtrace.tools.show import Wanted, json_line, payload_text

if TYPE_CHECKING:
    from xtrace.capture.reader import Run

CSV_COLUMNS = ("seq", "step", "time_us", "kind", "node", "src", "dst", "type", "late_us", "cause", "payload", "object")
_JSONL_BEGINS = b'{"seq": '


def write_jsonl(run: Run, wanted: Wanted, file: BinaryIO) -> int:
    """Write a JSON object per row and return how many."""
    count = 0
    for stored in wanted_rows(run, wanted):
        file.write(json_line(stored).encode("ascii") + b"\n")
        count += 1
    return count


def write_csv(run: Run, wanted: Wanted, file: BinaryIO) -> int:
    """Write rows as RFC 4180 has them, in UTF-8, below a header: the payload as JSON, causes separated by spaces."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    try:
        writer = csv.writer(text)
        writer.writerow(CSV_COLUMNS)
        count = 0
        for stored in wanted_rows(run, wanted):
            columns = {**stored.row._asdict(), "seq": stored.seq, "cause": " ".join(map(str, stored.cause))}
            columns["payload"] = payload_text(stored.row.payload) if stored.row.payload else ""
            writer.writerow([columns[name] for name in CSV_COLUMNS])
            count += 1
        text.flush()
    finally:
        text.detach()
    return count


def _wrote_jsonl(path: Path) -> bool:
    head = head_of(path)
    return not head or head.startswith(_JSONL_BEGINS)


def _wrote_csv(path: Path) -> bool:
    return head_of(path).startswith(",".join(CSV_COLUMNS).encode() + b"\r\n")


JSONL = Format(as_named, write_jsonl, _wrote_jsonl)
CSV = Format(as_named, write_csv, _wrote_csv)
