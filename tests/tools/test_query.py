"""`xtrace query`: SQL over a run, and nothing but the run."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import threading

import pyarrow as pa
import pytest


@pytest.fixture
def ask(xtrace, recorded):
    """Return the rows of a query as JSON."""

    def ask(sql):
        answer = xtrace("query", recorded, sql, "--format", "json")
        assert answer.status == 0, answer.err
        return json.loads(answer.out)

    return ask


def test_the_payload_is_json(ask):
    assert ask(
        "SELECT payload->>'$.value' AS v, payload.value AS w FROM events WHERE type = 'heard' ORDER BY seq LIMIT 2"
    ) == [{"v": "1", "w": 1}, {"v": "2", "w": 2}]
    (row,) = ask("SELECT payload FROM events WHERE type = 'word' AND kind = 'output' AND step = 2")
    payload = row["payload"]
    assert payload["nan"] == {"$float": "nan"}
    assert payload["bytes"] == {"$bytes": "AAE="}
    assert payload["$$key"] == 1
    assert payload["text"] == "\x1b[31mred\u202e"
    assert ask("SELECT payload FROM events WHERE kind = 'step' LIMIT 1") == [{"payload": None}]


def test_every_column_is_there(ask):
    described = ask("DESCRIBE events")
    assert [row["column_name"] for row in described] == [
        *("seq", "step", "time_us", "kind", "node", "src", "dst", "type", "late_us", "cause", "payload", "object")
    ]


def test_a_view_can_be_read_several_times_in_a_query(ask):
    assert ask("SELECT count(*) AS n FROM events a JOIN events b ON a.cause[1] = b.seq WHERE a.type = 'heard'") == [
        {"n": 98}
    ]


def test_values_of_every_kind_become_json(ask):
    (row,) = ask(
        "SELECT 1 a, 2 a, 1.5 d, 12345678901234567890123::HUGEINT h, {'x': 1} s, MAP {'k': 'v'} m, 'ab'::BLOB b, "
        "DATE '2020-01-02' AS day, true t, NULL n, 'nan'::DOUBLE f, [1, NULL] l, '0-0'::VARCHAR u, UUID() = UUID() q"
    )
    assert row == {
        "a": 1, "a_2": 2, "d": 1.5, "h": 12345678901234567890123, "s": {"x": 1}, "m": {"k": "v"},
        "b": {"$bytes": "YWI="}, "day": "2020-01-02", "t": True, "n": None, "f": {"$float": "nan"}, "l": [1, None],
        "u": "0-0", "q": False,
    }  # fmt: skip


def test_no_rows_are_an_empty_list(ask):
    assert ask("SELECT seq FROM events WHERE false") == []


def test_a_table_is_aligned(xtrace, recorded):
    answer = xtrace("query", recorded, "SELECT kind, count(*) AS n, NULL AS x FROM events GROUP BY kind ORDER BY kind")
    assert answer.out.splitlines() == [
        "kind      n  x",
        "------  ---  ----",
        "drop      1  NULL",
        "input    98  NULL",
        "output  197  NULL",
        "step    101  NULL",
    ]
    assert answer.err == "4 rows\n"


def test_nothing_that_a_terminal_obeys_is_in_a_table(xtrace, recorded):
    text = xtrace("query", recorded, "SELECT payload, payload->>'$.text' AS text FROM events").out
    assert all(each.isprintable() or each == "\n" for each in text)
    assert "\\x1b[31mred\\u202e" in text


def test_csv_is_exact(xtrace, recorded):
    sql = "SELECT seq, type, payload->>'$.text' AS text, 'ab'::BLOB AS b FROM events WHERE kind = 'output' LIMIT 2"
    answer = xtrace("query", recorded, sql, "--format", "csv")
    found = list(csv.reader(io.StringIO(answer.out)))
    assert found == [["seq", "type", "text", "b"], ["1", "word", "\x1b[31mred\u202e", "6162"], *found[2:]]
    assert len(found) == 3


def test_arrow_is_a_stream(xtrace_command, recorded):
    command = xtrace_command("query", str(recorded), "SELECT seq, payload FROM events", "--format", "arrow")
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    table = pa.ipc.open_stream(done.stdout).read_all()
    assert table.column_names == ["seq", "payload"]
    assert table.num_rows == 397


def test_a_plan_is_drawn(xtrace, recorded):
    answer = xtrace("query", recorded, "EXPLAIN SELECT seq FROM events")
    assert answer.status == 0
    assert len(answer.out.splitlines()) > 3


def test_pivots_work(ask):
    assert ask("PIVOT (SELECT node, kind FROM events WHERE node = 'talker') ON kind USING count(*)")[0]["output"] == 99


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_json('/tmp/*')",
        "SELECT * FROM read_parquet('http://127.0.0.1/x')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "COPY events TO '{folder}/x.parquet'",
        "EXPORT DATABASE '{folder}/x'",
        "ATTACH '{folder}/x.db'",
        "ATTACH ':memory:' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 1",
        "RESET threads",
        "SET VARIABLE a = 1",
        "PRAGMA enable_profiling",
        "DROP VIEW events",
        "CREATE OR REPLACE VIEW events AS SELECT 1",
        "CREATE TABLE t (a INTEGER)",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CREATE MACRO m() AS 1",
        "INSERT INTO events SELECT * FROM events",
        "INSERT INTO events_log SELECT * FROM events_log",
        "UPDATE events SET seq = 0",
        "DELETE FROM events",
        "EXPLAIN ANALYZE CREATE TABLE t (a INTEGER)",
        "EXPLAIN ANALYZE DROP VIEW events",
        "COMMIT",
        "ROLLBACK",
        "SELECT 1; DROP VIEW events",
        "SELECT 1; SELECT 2",
        "",
        "-- nothing",
        "CALL pragma_version()",
        "PREPARE p AS SELECT 1",
        "SELECT * FROM query('DROP VIEW events')",
        "SELECT * FROM python_variable",
        "SELECT getenv('HOME')",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT nothing FROM events",
        "SELEC 1",
        "SELECT 'a'::INTEGER",
        "SELECT error('said the query')",
    ],
)
def test_what_is_refused_is_explained(sql, xtrace, recorded, tmp_path):
    python_variable = pa.table({"a": [1]})
    before = sorted(recorded.rglob("*"))
    answer = xtrace("query", recorded, sql.format(folder=tmp_path))
    assert answer.status == 2
    assert answer.err.startswith("xtrace: query: ")
    assert "Traceback" not in answer.err
    assert sorted(recorded.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []
    assert python_variable.num_rows == 1


def test_nothing_is_spilled_to_the_working_directory(xtrace, recorded, tmp_path):
    assert xtrace("query", recorded, "SELECT a.seq FROM events a, events b ORDER BY 1 LIMIT 1").status == 0
    assert list(tmp_path.iterdir()) == []


def test_damaged_bytes_are_never_queried(xtrace, recorded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    log = copy / "events.arrow"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    for sql in ("SELECT count(*) FROM events", "SELECT payload FROM events"):
        answer = xtrace("query", copy, sql)
        assert (answer.status, answer.out) == (2, "")
        assert answer.err.startswith(f"xtrace: {log}: block 0, offset ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_long_query_can_be_interrupted(number, xtrace, recorded):
    events = ", ".join(f"events e{each}" for each in range(8))
    timer = threading.Timer(1.5, os.kill, (os.getpid(), number))
    timer.start()
    answer = xtrace("query", recorded, f"SELECT sum(e1.seq * e2.seq * e7.seq) FROM {events}")
    timer.join()
    assert answer == (130, "", "xtrace: interrupted\n")


def test_an_arrow_stream_is_not_for_a_terminal(xtrace, recorded, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    answer = xtrace("query", recorded, "SELECT 1", "--format", "arrow")
    assert (answer.status, answer.out) == (2, "")
    assert "is not for a terminal" in answer.err


def test_the_format_can_be_set(xtrace, recorded, monkeypatch):
    monkeypatch.setenv("XTRACE_FORMAT", "csv")
    assert xtrace("query", recorded, "SELECT 1 AS a").out == "a\n1\n"
