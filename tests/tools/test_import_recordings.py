"""`xtrace import` of what other programs recorded: MCAP of any kind, and JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcap.writer import CompressionType
from tests.tools.recordings import START_NS, outputs, write_foreign

from xtrace.capture.reader import Run
from xtrace.engine.values import decode
from xtrace.tools import import_jsonl, import_recording


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunks", [True, False])
def test_a_foreign_mcap_keeps_its_nanoseconds(xtrace, tmp_path, compression, chunks):
    """Every topic is a node; log time, publish time and sequence are exact; what is not JSON stays bytes."""
    messages = write_foreign(tmp_path / "robot.mcap", compression=compression, shuffle=True, use_chunking=chunks)
    answer = xtrace("import", "robot.mcap", "-o", "run", "--json")
    assert answer.status == 0, answer.err
    assert "1 message in JSON that no payload can hold" in answer.err
    facts = json.loads(answer.out)
    assert sorted((each["node"], each["source"], each["messages"]) for each in facts["sources"]) == [
        ("imu_data", "/imu/data", 50),
        ("say", "/say", 5),
    ]
    rows = outputs("run")
    found = [(row, decode(row.payload)) for row in rows if row.type != "channel"]
    assert sorted(each[1] for each in messages) == sorted(payload["log_time_ns"] for _, payload in found)
    for row, payload in found:
        assert row.time_us == (payload["log_time_ns"] - START_NS) // 1_000
        assert payload["publish_time_ns"] == payload["log_time_ns"] - 5
        sent = messages[payload["sequence"]][2]
        if payload["topic"] == "/say" and sent.startswith(b'{"n"'):
            assert payload["data"] == json.loads(sent)
            assert row.type == "Say"
        else:
            assert payload["data"] == sent
    assert [row.node for row in rows] == [row.src for row in rows]
    for node in ("imu_data", "say"):  # at equal times in the order of the file
        own = [payload for row, payload in found if row.node == node]
        assert own == sorted(own, key=lambda payload: (payload["log_time_ns"], payload["sequence"]))
    (imu, *say) = [decode(row.payload) for row in rows if row.type == "channel"]
    assert imu["schema"] == {"name": "Imu", "encoding": "ros2msg", "data": b"float64 x"}
    assert {each["message_encoding"] for each in say} == {"json", "protobuf"}


def test_an_imported_recording_replays_alone_and_records_again(xtrace, tmp_path):
    """Every source of it, and the scenario that is left records the same run once more."""
    write_foreign(tmp_path / "robot.mcap")
    assert xtrace("import", "robot.mcap", "-o", "run", "--scenario-out", "robot").status == 0
    assert xtrace("replay", "run", "--all", "--trust").status == 0
    assert xtrace("record", "robot/robot.yaml", "-o", "again").status == 0
    assert Run.open("run").fingerprint == Run.open("again").fingerprint
    assert sorted(path.name for path in Path("robot").iterdir()) == ["imu_data.jsonl", "robot.yaml", "say.jsonl"]
    again = xtrace("import", "robot.mcap", "-o", "run2", "--scenario-out", "robot")
    assert (again.status, "--scenario-out" in again.err) == (2, True)


def test_a_node_behind_real_telemetry(xtrace, tmp_path):
    """What was recorded elsewhere feeds a node of one's own, which then replays alone."""
    (tmp_path / "t.jsonl").write_text("".join(f'{{"time_ms": {n * 100}, "celsius": {20 + n}}}\n' for n in range(10)))
    assert xtrace("import", "t.jsonl", "-o", "run", "--scenario-out", "s").status == 0
    (tmp_path / "s/edge.py").write_text(
        "from xtrace.engine.model import Model\n\n\nclass Edge(Model):\n    def on_event(self, event):\n"
        "        if event.payload['celsius'] > 25:\n            self.observe('alarm', event.payload['celsius'])\n"
    )
    text = (tmp_path / "s/t.yaml").read_text().replace("  file: t.jsonl\n", "  file: t.jsonl\n  send_to: edge\n")
    text += "- {id: edge, type: edge, implementation: python_model, model: 'edge.py:Edge'}\n"
    (tmp_path / "s/t.yaml").write_text(text)
    assert xtrace("record", "s/t.yaml", "-o", "with_edge").status == 0
    alarms = [decode(row.payload) for row in outputs("with_edge") if row.type == "alarm"]
    assert alarms == [26, 27, 28]  # the message at the end of the recording arrives after it
    assert xtrace("replay", "with_edge", "--node", "edge").status == 0


def import_lines(xtrace, text, *options, out="run"):
    Path("t.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    return xtrace("import", "t.jsonl", "-o", out, *options)


@pytest.mark.parametrize(
    ("line", "options", "time_ns"),
    [
        ('{"time": "2024-01-01T00:00:00.123456789Z"}', (), 1_704_067_200_123_456_789),
        ('{"timestamp": "2024-01-01 01:00:00,5+01:00"}', (), 1_704_067_200_500_000_000),
        ('{"ts": 1704067200.123456789}', ("--time-format", "s"), 1_704_067_200_123_456_789),
        ('{"ts": "1704067200.123456789"}', ("--time-format", "s"), 1_704_067_200_123_456_789),
        ('{"ts": 1704067200123.000001}', ("--time-format", "ms"), 1_704_067_200_123_000_001),
        ('{"x": 1704067200000000123}', ("--time", "x", "--time-format", "ns"), 1_704_067_200_000_000_123),
        ('{"time_us": 7}', (), 7_000),
        ('{"time": 12, "time_us": 7}', (), 7_000),
        ('{"time": "1970-01-01T00:00:01Z", "time_us": 7}', (), 1_000_000_000),
        ('{"time": 12, "time_us": 7}', ("--time-format", "s"), 12_000_000_000),
        ('\ufeff{"time_ns": 18446744073709551615}', (), 2**64 - 1),
    ],
)
def test_times_of_lines_are_exact(xtrace, line, options, time_ns):
    """To the nanosecond, also where a float would round them."""
    assert import_lines(xtrace, line, *options).status == 0
    ((payload),) = [decode(row.payload) for row in outputs("run")]
    assert payload["time_ns"] == time_ns
    expected = json.loads(line.lstrip("\ufeff"))
    assert payload == {**expected, "time_ns": time_ns}


def test_nodes_and_types_of_lines(xtrace):
    """Ids are made of any names, and differ even where the names differ in odd characters only."""
    lines = [
        {"time_ms": time_ms, "dev": dev, "what": "w"}
        for time_ms, dev in ((9, "a/b"), (3, "a.b"), (3, "Network"), (5, "a/b"), (0, "7"))
    ]
    text = "\n\n".join(map(json.dumps, lines))
    answer = import_lines(xtrace, text, "--node", "dev", "--type", "what", "--json")
    assert {(each["node"], each["source"]) for each in json.loads(answer.out)["sources"]} == {
        ("a_b", "a/b"),
        ("a_b_2", "a.b"),
        ("Network_2", "Network"),
        ("source_7", "7"),
    }
    assert [(row.time_us, row.node, row.type) for row in outputs("run")] == [
        (0, "source_7", "w"),
        (3_000, "Network_2", "w"),
        (3_000, "a_b_2", "w"),
        (5_000, "a_b", "w"),
        (9_000, "a_b", "w"),
    ]
    assert import_lines(xtrace, text, "--node-id", "all of it", out="one").status == 0
    assert {row.node for row in outputs("one")} == {"all_of_it"}


def test_mistakes_in_lines_are_listed_with_their_lines(xtrace, tmp_path):
    text = "\n".join(
        [
            '{"time": "2024-01-01T00:00:00Z"}',
            "not json",
            '["time"]',
            '{"tme": 1}',
            '{"time": 5}',
            '{"time": "yesterday"}',
            '{"time": "2024-01-01T00:00:00Z", "n": 99999999999999999999}',
            '{"time": "2024-01-01T00:00:00Z", "n": 1e999}',
            '{"time": "2024-01-01T00:00:00Z", "time": 1}',
            '{"time": "2024-01-01T00:00:00Z", "t": "\\ud800"}',
            '{"time": "1969-12-31T00:00:00Z"}',
            '{"time": "2024-01-01T00:00:00Z", "time_ns": 5}',
            "[" * 20_000,
        ]
    )
    answer = import_lines(xtrace, text)
    assert answer.status == 2
    for number, words in enumerate(
        ["not JSON", "not a JSON object", "'tme'", "not a time", "not a time", "64 bits", "64-bit float", "twice"],
        start=2,
    ):
        (line,) = [line for line in answer.err.splitlines() if f"line {number}:" in line]
        assert words in line
    assert "lone surrogate" in answer.err
    assert "perhaps more" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.jsonl"]


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ("", (), "holds no message"),
        ('{"a": 1}', (), "no field time, timestamp, ts: name the one with the time with --time"),
        ('{"ts": 17}', (), "say in which unit with --time-format s|ms|us|ns"),
        ('{"ts": 17}', ("--time", "tss"), "unknown field 'tss'; did you mean 'ts'?"),
        ('{"ts": 1.5}', ("--time-format", "ns"), "not a whole number of nanoseconds"),
        ('{"ts": 1e99999999}', ("--time-format", "ns"), "64-bit float"),
        ('{"ts": true}', ("--time-format", "s"), "`ts` is true, which is no time"),
        ('{"ts": null}', (), "`ts` is null, which is no time"),
        ('{"ts": 17}', ("--node-id", ""), "--node-id: is empty"),
        ('{"ts": 17}', ("--time", ""), "--time: is empty"),
        ('{"time_s": 1}', ("--node", "dev"), "`dev`, which --node names, is null"),
        ('{"time_s": 1, "t": 3}', ("--type", "t"), "`t`, which --type names, is 3"),
        ('{"time_s": 1}\n' + "[" * 50_000, (), "line 2:"),
        (b'{"time_s": 1, "x": "\xff"}', (), "line 1: not UTF-8"),
        ('{"time_s": 0, "time_ns": 1}', ("--time", "time_s"), "try --time time_ns"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(xtrace, tmp_path, text, options, problem):
    answer = import_lines(xtrace, text, *options)
    assert answer.status == 2
    assert problem in answer.err
    assert "internal error" not in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


def test_limits_are_named(xtrace, monkeypatch, tmp_path):
    """A line without end, too many sources, and too much at one time."""
    for module, name, value, problem in (
        (import_jsonl, "MAX_LINE_BYTES", 20, "line 1: longer than 20 bytes"),
        (import_recording, "MAX_SOURCES", 2, "more than 2 sources"),
        (import_recording, "MAX_STEP_MESSAGES", 2, "more than 2 messages"),
        (import_recording, "MAX_NAME_CHARACTERS", 2, "longer than 2 characters"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            answer = import_lines(xtrace, "".join(f'{{"time_s": 1, "n": "abc{n}"}}\n' for n in range(4)), "--node", "n")
            assert (answer.status, problem in answer.err) == (2, True), answer.err
            assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


def test_an_export_is_not_taken_for_a_recording(xtrace, recorded, tmp_path):
    assert xtrace("export", recorded, "-o", "t.jsonl").status == 0
    answer = xtrace("import", "t.jsonl", "-o", "run")
    assert answer.status == 2
    assert "only MCAP comes back as the run: export with --format mcap" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]
