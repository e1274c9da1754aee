"""SQL over a run in DuckDB, in this process, with no way out: no files, no network, no writes, no Python variables."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from xtrace.engine.errors import InputError, XtraceError
from xtrace.engine.json_values import encode_value
from xtrace.engine.values import decode

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from xtrace.capture.reader import Run

ALLOWED = ("SELECT", "EXPLAIN", "MULTI")
"""Types of statements; MULTI is a PIVOT, which DuckDB turns into two. A read-only transaction guards what they do."""
LOCKS = (
    "SET temp_directory = ''",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
VIEW = "CREATE VIEW events AS SELECT * REPLACE (payload_json(payload)::JSON AS payload) FROM events_log"
AHEAD_BATCHES = 4
STOP_ATTEMPTS = 50
STOP_WAIT_S = 0.1


class Sandbox:
    """A connection that knows the view `events` of one run and nothing else."""

    def __init__(self, run: Run) -> None:
        import duckdb

        self._log = _EventLog(run)
        self._results: list[Result] = []
        self._connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
        by_column: Any = {"type": "arrow", "null_handling": "special"}
        self._connection.create_function("payload_json", _payload_json, ["BLOB"], "VARCHAR", **by_column)
        self._connection.register("events_log", self._log)
        for statement in (VIEW, *LOCKS, "BEGIN TRANSACTION READ ONLY"):
            self._connection.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for result in self._results:
            result.close()
        self._connection.close()

    def query(self, sql: str) -> Result:
        """Answer `sql`, one statement that reads. Raises InputError, and CorruptionError for a damaged block."""
        self._check(sql)
        self._results.append(Result(self._connection, sql, self._log))
        return self._results[-1]

    def _check(self, sql: str) -> None:
        import duckdb

        try:
            kinds = [statement.type.name for statement in self._connection.extract_statements(sql)]
        except duckdb.Error as error:
            raise InputError("query", str(error)) from error
        if len(kinds) != 1:
            raise InputError("query", f"one statement is expected, not {len(kinds)}")
        if kinds[0] not in ALLOWED:
            raise InputError("query", f"a run is read-only: {kinds[0]} is not allowed, only SELECT and EXPLAIN are")


class Result:
    """What a query answers: names and DuckDB types of its columns, an Arrow schema, and rows that are read once.

    DuckDB does not look for Ctrl-C while it works; so it works in a thread, and whoever waits for it interrupts it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sql: str, log: _EventLog) -> None:
        self._connection = connection
        self._log = log
        self._answers: queue.Queue[Any] = queue.Queue(AHEAD_BATCHES)
        self._stopping = False
        self._worker = threading.Thread(target=self._work, args=(sql,), daemon=True)
        self._worker.start()
        self.columns: list[str]
        self.types: list[str]
        self.schema: pa.Schema
        self.columns, self.types, self.schema = self._next()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches."""
        while (batch := self._next()) is not None:
            yield batch

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows as Python values."""
        for batch in self.batches():
            yield from zip(*(column.to_pylist(maps_as_pydicts="lossy") for column in batch.columns), strict=True)

    def _next(self) -> Any:
        try:
            answer = self._answers.get()
        except KeyboardInterrupt:
            self.close()
            raise
        if isinstance(answer, Exception):
            raise self._explained(answer)
        return answer

    def _work(self, sql: str) -> None:
        """Put the head, each batch, and then None or an exception where the waiting thread finds them."""
        import pyarrow as pa

        try:
            relation = self._connection.sql(sql)
            reader = pa.RecordBatchReader.from_stream(relation)
            self._answers.put((list(relation.columns), [str(each) for each in relation.types], reader.schema))
            for batch in reader:
                self._answers.put(batch)
                if self._stopping:
                    return
            self._answers.put(None)
        except Exception as error:
            self._answers.put(error)

    def close(self) -> None:
        """Make the worker end: interrupt DuckDB, and take from it what it still wants to say."""
        self._stopping = True
        for _ in range(STOP_ATTEMPTS):
            if not self._worker.is_alive():
                return
            self._connection.interrupt()
            with suppress(queue.Empty):
                self._answers.get(timeout=STOP_WAIT_S)

    def _explained(self, error: Exception) -> Exception:
        """Return the error to raise: a block that could not be read goes before what DuckDB made of that."""
        import duckdb
        import pyarrow as pa

        if self._log.failure is not None:
            return self._log.failure
        if isinstance(error, duckdb.Error | pa.ArrowException | OSError):
            return InputError("query", re.split(r"\.? Detail: Python exc", str(error), maxsplit=1)[0].strip())
        return error


class _EventLog:
    """The event log as an Arrow stream, verified block by block, begun anew by every scan of a query."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self.failure: XtraceError | None = None

    def __arrow_c_schema__(self) -> object:
        from xtrace.capture.layout import schema

        return schema().__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        import pyarrow as pa

        from xtrace.capture.layout import schema

        reader = pa.RecordBatchReader.from_batches(schema(), self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        from xtrace.capture.layout import schema

        names = schema().names
        for record in self._run.blocks:
            try:
                # two scans of one query may come here from two threads
                with self._lock:
                    batch = self._run.read_block(record.block)
            except XtraceError as error:
                self.failure = error
                raise
            yield batch.select(names)


def _payload_json(payloads: Any) -> Any:
    """Return msgpack payloads as JSON texts; DuckDB calls this for the rows that a query needs the payload of.

    DuckDB evaluates the annotations, so they can't name what is only imported for the type checker.
    """
    import pyarrow as pa

    return pa.array(
        [encode_value(decode(payload)) if payload else None for payload in payloads.to_pylist()], pa.string()
    )
