"""A machine's recorded telemetry, 22,695 readings until it fails: the real input, through the real model."""

from __future__ import annotations

from pathlib import Path

from .front_door import here, record  # noqa: TID252  # tests have no name to be imported by


def count(run: Path, where: str) -> int:
    """Return how many outputs of a run a condition in SQL selects."""
    sql = f"SELECT count(*) AS n FROM events WHERE kind = 'output' AND {where}"
    (row,) = here("query", run, sql, "--format", "json").json
    number: int = row["n"]
    return number


def test_recorded_telemetry(telemetry_csv, tmp_path):
    run = tmp_path / "run"
    summary = record("telemetry_replay", run, "--set", f"nodes.telemetry.file={telemetry_csv}")
    assert summary["status"] == "complete"
    readings = len(telemetry_csv.read_text().splitlines()) - 1
    assert count(run, "type = 'reading'") == readings
    assert count(run, "type = 'score'") > readings // 200

    answer = here("replay", run, "--all")
    assert answer.status == 0, answer.out + answer.err
    assert answer.out.splitlines()[-1] == "5 of 5 nodes the same"
    assert here("verify", run).status == 0

    again = record("telemetry_replay", tmp_path / "again", "--set", f"nodes.telemetry.file={telemetry_csv}")
    assert again["fingerprint"] == summary["fingerprint"]


def test_a_recording_with_one_changed_reading_parts_there(telemetry_csv, tmp_path):
    lines = telemetry_csv.read_text().splitlines(keepends=True)
    row = len(lines) // 2
    stamp, _, value = lines[row].rstrip("\n").partition(",")
    lines[row] = f"{stamp},{float(value) + 0.001!r}\n"
    (tmp_path / "changed.csv").write_text("".join(lines))
    for name, file in (("a", telemetry_csv), ("b", tmp_path / "changed.csv")):
        record("telemetry_replay", tmp_path / name, "--set", f"nodes.telemetry.file={file}", "--duration", "130s")
    answer = here("diff", tmp_path / "a", tmp_path / "b", "--json")
    assert answer.status == 1
    divergence = answer.json["first_divergence"]
    assert (divergence["node"], divergence["field"]) == ("telemetry", "$.value")
    assert divergence["expected"] == float(value)
    assert divergence["actual"] == float(value) + 0.001
