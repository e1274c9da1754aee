"""`xtrace export`: the same rows in the formats of others, whole or not at all."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import subprocess
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader

from xtrace.capture.reader import Run
from xtrace.engine.errors import LimitExceeded
from xtrace.engine.json_values import decode_value
from xtrace.engine.values import decode, encode
from xtrace.tools import export_mcap, export_parquet
from xtrace.tools.cli import main

FORMATS = ("parquet", "jsonl", "csv", "mcap")
LARGE = """\
from xtrace.engine.model import Model


class Large(Model):
    def on_init(self):
        self.schedule_periodic(1000, self.talk)

    def talk(self):
        self.observe("frame", {"at": self.now_us, "pixels": bytes(70_000)})
        self.observe("none", None)
"""


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A run whose payloads lie in `objects/`, and one that is null."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "model.py").write_text(LARGE)
    (folder / "large.yaml").write_text(
        "duration: 5ms\nstep: 1ms\nnodes:\n  - {id: camera, type: camera, implementation: python_model, "
        "model: 'model.py:Large'}\n"
    )
    assert main(["record", str(folder / "large.yaml"), "-o", str(folder / "run")]) == 0
    return folder / "run"


def rows_of(run):
    return list(Run.open(run).rows())


def only_file(folder):
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    return path


def test_jsonl_is_what_show_prints(xtrace, recorded):
    assert xtrace("export", recorded, "--format", "jsonl", "-o", "out.jsonl").status == 0
    assert Path("out.jsonl").read_text() == xtrace("show", recorded, "--json").out


def test_jsonl_loses_nothing(xtrace, recorded):
    """Every line gives back its row: bytes, NaN and keys that begin with a dollar too."""
    xtrace("export", recorded, "-o", "out.jsonl")
    for line, stored in zip(Path("out.jsonl").read_bytes().splitlines(), rows_of(recorded), strict=True):
        columns = decode_value(line)
        payload = b"" if columns["kind"] == "step" else encode(columns.pop("payload"))
        assert stored.row.payload == payload
        assert stored.cause == tuple(columns["cause"])
        assert [columns[name] for name in ("seq", "step", "time_us", "kind", "type")] == [
            stored.seq,
            *(getattr(stored.row, name) for name in ("step", "time_us", "kind", "type")),
        ]


def test_csv_is_read_by_others(xtrace, recorded):
    xtrace("export", recorded, "-o", "out.csv")
    text = Path("out.csv").read_bytes().decode()
    assert text.count("\n") == text.count("\r\n") == len(rows_of(recorded)) + 1
    with Path("out.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file, strict=True))
    for line, stored in zip(found, rows_of(recorded), strict=True):
        assert [int(each) for each in line["cause"].split()] == list(stored.cause)
        assert line["type"] == stored.row.type
        assert (encode(decode_value(line["payload"].encode())) if line["payload"] else b"") == stored.row.payload
    counted = duckdb.sql("SELECT count(*), sum(seq), max(time_us) FROM read_csv('out.csv')").fetchall()
    assert counted == [(len(found), sum(range(len(found))), rows_of(recorded)[-1].row.time_us)]


def test_parquet_of_several_runs_is_one_data_set(xtrace, recorded, wrong, monkeypatch):
    """DuckDB reads the partitions of many runs as one table; the payload is there as it is and as JSON."""
    for run in (recorded, wrong):
        assert xtrace("export", run, "--format", "parquet", "-o", "set").status == 0
    sql = "SELECT scenario, seed, run, count(*), sum(step) FROM read_parquet('set/**/*.parquet', {}) GROUP BY ALL"
    found = duckdb.sql(sql.format("hive_partitioning=true")).fetchall()
    expected = [
        (
            "talk",
            1,
            f"xt1-{Run.open(run).fingerprint[11:23]}",
            len(rows_of(run)),
            sum(each.row.step for each in rows_of(run)),
        )
        for run in (recorded, wrong)
    ]
    assert sorted(expected) == sorted(found)
    said = duckdb.sql(
        "SELECT CAST(payload_json->>'$.value' AS INT) FROM read_parquet('set/**/*.parquet', hive_partitioning=true) "
        f"WHERE run = '{expected[1][2]}' AND kind = 'output' AND type = 'word' ORDER BY seq"
    ).fetchall()
    assert [(-1,) if n == 50 else (n,) for n in range(1, 100)] == said


def test_parquet_has_every_column(xtrace, recorded):
    xtrace("export", recorded, "--format", "parquet", "-o", "set")
    table = pq.read_table(only_file(Path("set")))
    assert [*Run.open(recorded).table().column_names, "payload_json"] == table.column_names[:13]
    plain = table.select(range(12)).to_pylist()
    assert Run.open(recorded).table().to_pylist() == plain
    for row in table.to_pylist():
        assert (encode(decode_value(row["payload_json"].encode())) if row["payload_json"] else b"") == row["payload"]


@pytest.mark.parametrize("format", FORMATS)
def test_payloads_in_objects_are_exported_too(xtrace, large, format, monkeypatch):
    monkeypatch.setattr(export_parquet, "GROUP_MAX_BYTES", 150_000)  # in pieces
    assert xtrace("export", large, "--format", format, "-o", "out").status == 0
    assert any(stored.row.object for stored in rows_of(large))
    path = only_file(Path("out")) if format == "parquet" else Path("out")
    if format == "parquet":
        table = pq.read_table(path)
        texts = [text for text in table["payload_json"].to_pylist() if text and len(text) > 70_000]
        assert pq.ParquetFile(path).num_row_groups > 1
    elif format == "mcap":
        with path.open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            attached = {each.name: each.data for each in reader.iter_attachments()}
            rows = [json.loads(message.data) for _, _, message in reader.iter_messages(log_time_order=False)]
        names = [row["object"] for row in rows if row["object"]]
        texts = [decode(attached[f"objects/{name}"]) for name in names]
        assert [row["payload"] for row in rows if row["type"] == "none"] == [None] * len(names)
        assert not any("payload" in row for row in rows if row["object"] or row["kind"] == "step")
    else:
        texts = [line for line in path.read_text().splitlines() if len(line) > 70_000]
    assert len(texts) == 4


def test_mcap_is_read_by_the_mcap_package(xtrace, recorded):
    """A topic for each node, kind and type; virtual time; every checksum right; schema and metadata."""
    assert xtrace("export", recorded, "-o", "out.mcap").status == 0
    with Path("out.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        messages = list(reader.iter_messages(log_time_order=False))
        metadata = {each.name: each.metadata for each in reader.iter_metadata()}
        attached = {each.name: each.data for each in reader.iter_attachments()}
    shown = [json.loads(line) for line in xtrace("show", recorded, "--json").out.splitlines()]
    assert len(messages) == len(shown)
    for (schema, channel, message), row in zip(messages, shown, strict=True):
        assert {"payload": None, **json.loads(message.data)} == row
        assert message.log_time == row["time_us"] * 1_000
        assert schema.encoding == "jsonschema"
        assert (channel.message_encoding, channel.metadata["node"]) == ("json", row["node"])
    assert {"/talker/output/word", "/listener/input/word", "/listener/output/heard", "/step"} <= {
        channel.topic for _, channel, _ in messages
    }
    run = Run.open(recorded)
    assert metadata["xtrace"]["fingerprint"] == run.fingerprint
    assert attached["manifest.json"] == (recorded / "manifest.json").read_bytes()
    assert {f"objects/{name}" for name in run.manifest["objects"]} <= set(attached)


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_of_a_run(xtrace, recorded, format):
    words = ("export", recorded, "--node", "listener", "--from", "10ms", "--to", "20ms", "--json", "--format", format)
    answer = xtrace(*words, "-o", "out")
    shown = xtrace("show", recorded, "--node", "listener", "--from", "10ms", "--to", "20ms", "--json")
    assert json.loads(answer.out)["events"] == len(shown.out.splitlines()) > 0
    assert "unknown node 'listner'" in xtrace("export", recorded, "--node", "listner", "-o", "x.csv").err


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten_unasked(xtrace, recorded, format):
    out = ("--format", format, "-o", "out")
    assert xtrace("export", recorded, *out).status == 0
    path = only_file(Path("out")) if format == "parquet" else Path("out")
    before = path.read_bytes()
    refused = xtrace("export", recorded, *out)
    assert refused.status == 2
    assert "--force" in refused.err
    path.write_bytes(before[:100] if format == "jsonl" else before)
    assert xtrace("export", recorded, *out, "--force").status == 0
    assert path.read_bytes() == before
    path.write_text("mine\n")
    refused = xtrace("export", recorded, *out, "--force")
    assert refused.status == 2
    assert "never replaced" in refused.err
    assert path.read_text() == "mine\n"


def test_places_that_are_refused(xtrace, recorded, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert "no file" in xtrace("export", recorded, "-o", "folder.csv", "--force").err
    inside = xtrace("export", recorded, "-o", recorded / "logs" / "x.csv")
    assert (inside.status, "inside of the run" in inside.err) == (2, True)
    assert "--format" in xtrace("export", recorded, "-o", "out.txt").err
    (tmp_path / "file").write_text("")
    for place in (("file/x.csv",), ("file/a/x.csv",), ("file", "--format", "parquet")):
        refused = xtrace("export", recorded, "-o", *place)
        assert refused.status == 2
        assert "file: is there already and no folder; choose another place with -o" in refused.err
    assert (tmp_path / "file").read_text() == ""
    assert "-o: is empty" in xtrace("export", recorded, "--format", "csv", "-o", "").err
    assert "is not after" in xtrace("export", recorded, "-o", "x.csv", "--from", "30ms", "--to", "10ms").err
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_block_leaves_nothing(xtrace, recorded, format, tmp_path):
    """The rows before it are verified and written, and then gone again: no half of an export looks like a whole one."""
    shutil.copytree(recorded, tmp_path / "run")
    data = bytearray((tmp_path / "run/events.arrow").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "run/events.arrow").write_bytes(data)
    answer = xtrace("export", "run", "--format", format, "-o", "some/where/out")
    assert answer.status == 2
    assert "events.arrow" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_one_message_and_leaves_nothing(xtrace_command, recorded, format, tmp_path):
    """A limit on the size of files stands in for the disk."""
    done = subprocess.run(
        xtrace_command("export", str(recorded), "--format", format, "-o", "out"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000)),
    )
    assert done.returncode == 2
    assert done.stderr.startswith("xtrace: out")
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_limits_of_mcap(recorded, tmp_path, monkeypatch, xtrace):
    monkeypatch.setattr(export_mcap, "MAX_CHANNELS", 3)
    answer = xtrace("export", recorded, "-o", "out.mcap")
    assert (answer.status, LimitExceeded.__name__ in answer.err) == (2, False)
    assert "4 are more than the limit of 3" in answer.err
    monkeypatch.setattr(export_mcap, "MAX_ATTACHMENT_BYTES", 10)
    assert "manifest.json" in xtrace("export", recorded, "-o", "out.mcap").err
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_hostile_scenario_stays_inside(recorded):
    run = Run.open(recorded)
    run.manifest = {**run.manifest, "scenario": {"scenario": "../../x=/é"}}
    path = export_parquet.place(run, Path("set"))
    assert path.parts[:2] == ("set", "scenario=..%2F..%2Fx%3D%2F%C3%A9")
    assert ".." not in path.parts
