"""Exports as Parquet: each run is a partition of one data set, `OUT/scenario=…/seed=…/run=…/events.parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from xtrace.tools.export_files import Format, wanted_batches
from xtrace.tools.show import Wanted, payload_text

if TYPE_CHECKING:
    import pyarrow as pa

    from xtrace.capture.reader import Run

FILE = "events.parquet"
FINGERPRINT_PREFIX = "xt1:sha256:"
FINGERPRINT_DIGITS = 12
MAX_NAME_CHARACTERS = 100
GROUP_MAX_BYTES = 32 * 1024 * 1024
"""Text of payloads in a row group: what is in memory at once."""
_METADATA = "xtrace.fingerprint"


def place(run: Run, out: Path) -> Path:
    """Return the file of `run` in the data set `out`."""
    scenario = run.manifest.get("scenario")
    name = scenario.get("scenario") if isinstance(scenario, dict) else None
    return out / _part("scenario", name or "") / _part("seed", run.seed) / _part("run", _run_name(run)) / FILE


def write(run: Run, wanted: Wanted, file: BinaryIO) -> int:
    """Write the rows and return how many."""
    import pyarrow.parquet as pq

    schema = _schema(run)
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=True) as writer:
        for batch in wanted_batches(run, wanted):
            for group in _groups(run, batch, schema):
                writer.write_batch(group)
                count += len(group)
    return count


def _schema(run: Run) -> pa.Schema:
    """Return the columns of the log, words as plain text, and the payload as JSON."""
    import pyarrow as pa

    from xtrace.capture.layout import schema

    plain = [
        pa.field(field.name, pa.string(), nullable=False) if pa.types.is_dictionary(field.type) else field
        for field in schema()
    ]
    about = {_METADATA: str(run.fingerprint), "xtrace.status": run.status, "xtrace.format": str(run.manifest["format"])}
    return pa.schema([*plain, pa.field("payload_json", pa.string())], metadata=about)


def _groups(run: Run, batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a block with `payload_json`, in pieces of at most GROUP_MAX_BYTES of it, or of one row."""
    texts: list[str | None] = []
    start = size = 0
    for text in _payload_texts(run, batch):
        if texts and size + len(text or "") > GROUP_MAX_BYTES:
            yield _group(batch.slice(start, len(texts)), texts, schema)
            start, texts, size = start + len(texts), [], 0
        texts.append(text)
        size += len(text or "")
    if texts:
        yield _group(batch.slice(start), texts, schema)


def _group(batch: pa.RecordBatch, texts: list[str | None], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns: list[Any] = [batch.column(field.name).cast(field.type) for field in list(schema)[:-1]]
    return pa.RecordBatch.from_arrays([*columns, pa.array(texts, pa.string())], schema=schema)


def _payload_texts(run: Run, batch: pa.RecordBatch) -> Iterator[str | None]:
    from xtrace.capture.blocks import stored_rows

    for stored in stored_rows(batch):
        payload = run.payload(stored.row) if stored.row.object else stored.row.payload
        yield payload_text(payload) if payload else None


def _run_name(run: Run) -> str:
    """Return what tells runs of one seed apart: their fingerprints; a run with holes has none.

    With letters in front, or readers would take some of the digits for numbers.
    """
    digits = str(run.fingerprint or "").removeprefix(FINGERPRINT_PREFIX)[:FINGERPRINT_DIGITS]
    return f"xt1-{digits}" if digits else run.path.absolute().name


def _part(key: str, value: object) -> str:
    """Return the name of a folder; what can't stand in one is written as `%XX`, which readers undo."""
    return f"{key}={quote(str(value)[:MAX_NAME_CHARACTERS], safe='', errors='replace')}"


def _wrote(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return _METADATA.encode() in metadata


FORMAT = Format(place, write, _wrote)
