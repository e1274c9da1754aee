"""A secret is in no byte of a run, whatever the nodes do with it and however the run ends; and a replay knows it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest

from xtrace.capture.secrets import placeholder
from xtrace.engine.values import decode

from .front_door import (  # noqa: TID252  # tests have no name to be imported by
    NODES,
    finish,
    here,
    record,
    rows,
    start,
    write_scenario,
)

PLAIN = "hunter2-hunter2"
ODD = "pa\"ss'wörd\\42"
TOKEN = "hunter2-hunter2-and-more"
PIECES = [b"hunter2", "wörd".encode(), b"u00f6rd"]
"""What a value is known by, however it is spelled, and if only a part of it is there."""


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIN_PASSWORD", PLAIN)
    monkeypatch.setenv("ODD_PASSWORD", ODD)


def scenario(folder: Path, *, model: dict[str, object] | None = None, **tool: object) -> Path:
    """Write two nodes that know three secrets and spread them."""
    secrets = {"plain": "${secret:plain}", "odd": "${secret:odd}"}
    nodes = [
        {
            "id": "model",
            "type": "model",
            "implementation": "python_model",
            "model": "leaky.py:Leaky",
            "config": {"secrets": secrets, **(model or {})},
        },
        {
            "id": "tool",
            "type": "tool",
            "implementation": "process",
            "command": ["{python}", "leaky_tool.py"],
            "env": {"TOKEN": "${secret:token}"},
            "config": {"secrets": ["${secret:plain}", "${secret:odd}"], **tool},
        },
    ]
    declared = {"plain": {"env": "PLAIN_PASSWORD"}, "odd": {"env": "ODD_PASSWORD"}, "token": {"file": "token.txt"}}
    path = write_scenario(folder, nodes, secrets=declared, duration="20ms")
    shutil.copy(NODES / "leaky.py", folder)
    shutil.copy(NODES / "leaky_tool.py", folder)
    (folder / "token.txt").write_text(TOKEN + "\n")
    return path


def leaks(folder: Path) -> list[str]:
    """Return every place below `folder` that holds a piece of a secret."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and holds(path.read_bytes()):
            found.append(str(path))
        if path.suffix == ".arrow" and (path.parent / "SEAL").is_file():
            found += [f"{path}: {column}" for column, cell in cells(path) if holds(cell)]
    return found


def holds(data: bytes) -> bool:
    return any(piece in data for piece in PIECES)


def cells(path: Path) -> list[tuple[str, bytes]]:
    """Return every cell of an Arrow file with its column, as bytes, and again as its values are spelled."""
    table = pa.ipc.open_file(path).read_all()
    found = []
    for column in table.column_names:
        for cell in table.column(column).to_pylist():
            data = cell if isinstance(cell, bytes) else str(cell).encode()
            found.append((column, data))
            if column == "payload" and cell:
                found.append((column, json.dumps(decode(cell), default=repr, ensure_ascii=False).encode()))
    return found


def said(err: str) -> None:
    assert not holds(err.encode()), err


def test_a_run_holds_placeholders_where_its_nodes_had_secrets(tmp_path: Path) -> None:
    run = tmp_path / "run"
    record(scenario(tmp_path / "system"), run)
    assert leaks(run) == []
    assert leaks(tmp_path / "system") == [str(tmp_path / "system" / "token.txt")]
    logins = [row["payload"]["password"] for row in rows(run, "kind = 'output' AND type = 'login' AND step = 1")]
    assert logins == [placeholder("odd"), placeholder("plain")]
    assert len(rows(run, f"kind = 'input' AND type = 'topic/{placeholder('plain')}/state'")) > 10
    (keys, *_) = [row["payload"] for row in rows(run, "type = 'key' AND step = 1 AND payload LIKE '%:plain>%'")]
    mark = placeholder("plain")
    assert keys == {mark: 1, mark * 2: {"deep": [[mark]]}, "other": 2}
    log = (run / "logs" / "tool.log").read_text()
    assert log.count(mark) == 4
    assert log.count(f"logging in with {placeholder('token')}\n") == 1
    # The tool found the real values in what it was sent.
    assert {row["payload"]["known"] for row in rows(run, "type = 'heard'")} == {1}


def test_the_fingerprint_does_not_depend_on_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scenario(tmp_path / "system")
    first = record(path, tmp_path / "first")
    monkeypatch.setenv("PLAIN_PASSWORD", "correct horse battery staple")
    monkeypatch.setenv("ODD_PASSWORD", "'\"ü\\'\"ü\\")
    second = record(path, tmp_path / "second")
    assert first["fingerprint"] != second["fingerprint"]  # some lists of character codes are as long as the value
    same = "kind != 'step' AND type NOT IN ('codes', 'json', 'python')"
    assert rows(tmp_path / "first", same) == rows(tmp_path / "second", same)


@pytest.mark.parametrize(("how", "node"), [("model", "model"), ("protocol", "tool"), ("cut", "tool")])
def test_a_failure_says_nothing_secret(tmp_path: Path, how: str, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {
        "model": {"model": {"fail_in": 5}},
        "protocol": {"break_at_us": 4_000},
        "cut": {"break_at_us": 4_000, "padding": 50},  # so that the message is cut within the value
    }
    run = tmp_path / "run"
    path = scenario(tmp_path / "system", **changes[how])  # type: ignore[arg-type]  # each fits
    monkeypatch.chdir(path.parent)
    answer = here("record", path, "-o", run)
    assert answer.status == 1
    said(answer.err)
    assert f"node {node!r}" in answer.err
    assert "<secret:" in answer.err
    assert leaks(run) == []
    replayed = here("replay", run, "--node", node)
    assert "<secret:" in replayed.out
    said(replayed.out + replayed.err)
    assert (replayed.status, leaks(run)) == (0, [])


def test_every_node_replays_the_same_with_the_values_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(scenario(tmp_path / "system"), tmp_path / "run")
    monkeypatch.chdir(tmp_path / "system")  # where the file of the token lies
    answer = here("replay", tmp_path / "run", "--all", "-o", tmp_path / "replays")
    assert (answer.status, answer.err) == (0, ""), answer.out
    assert leaks(tmp_path / "replays") == []
    assert placeholder("token") in (tmp_path / "replays" / "tool" / "logs" / "tool.log").read_text()


def test_a_replay_without_the_values_says_so_and_uses_placeholders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(scenario(tmp_path / "system"), tmp_path / "run")
    for name in ("PLAIN_PASSWORD", "ODD_PASSWORD"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    answer = here("replay", tmp_path / "run", "--all")
    assert answer.err.count("secret 'plain': the variable PLAIN_PASSWORD is not set") == 1
    assert answer.err.count(f"secret 'token': {tmp_path / 'token.txt'} can't be read: No such file or directory") == 1
    assert "network: same" in answer.out
    assert "tool: same" in answer.out
    assert "model: diverged" in answer.out  # which had a value with quotes in it, in JSON
    assert "output json has another value" in answer.out


def test_a_value_that_a_change_names_is_refused_in_a_replay_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(scenario(tmp_path / "system"), tmp_path / "run")
    change = f"config.other={PLAIN}"
    answer = here("replay", tmp_path / "run", "--node", "model", "--with", change, "-o", tmp_path / "out")
    assert answer.status == 2
    assert "secrets.plain: the value stands in the scenario, at nodes.model.config.other" in answer.err
    said(answer.err)
    assert not (tmp_path / "out").exists()


def test_what_depends_on_the_length_of_a_message_is_replayed_with_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scenario(tmp_path / "system")
    monkeypatch.chdir(path.parent)
    record(path, tmp_path / "run", "--set", "network={model: latency, base: 2ms, bandwidth: 100kbps}")
    assert here("replay", tmp_path / "run", "--node", "network").status == 0
    monkeypatch.delenv("PLAIN_PASSWORD")
    assert here("replay", tmp_path / "run", "--node", "network").status == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_recording_that_is_ended_from_outside_leaves_no_secret(tmp_path: Path, number: signal.Signals) -> None:
    path, run = scenario(tmp_path / "system", delay_ms=5), tmp_path / "run"
    process = start("record", path, "-o", run, "--duration", "60s")
    deadline_s = time.monotonic() + 20
    while not (run / "events.tail").is_file() or (run / "events.tail").stat().st_size < 5_000:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.kill(process.pid, number)
    finish(process)
    assert leaks(run) == []
    if number == signal.SIGKILL:
        recovered = here("recover", run, "-o", tmp_path / "recovered")
        assert recovered.status == 0, recovered.err
        assert len(rows(tmp_path / "recovered", "type = 'login'")) > 10
        run = tmp_path / "recovered"
    assert leaks(run) == []


@pytest.mark.parametrize("format", ["jsonl", "csv", "mcap", "parquet"])
def test_an_export_holds_no_secret(tmp_path: Path, format: str) -> None:
    record(scenario(tmp_path / "system"), tmp_path / "run", "--compress", "none")
    assert leaks(tmp_path / "run") == []
    answer = here("export", tmp_path / "run", "--format", format, "-o", tmp_path / "out" / f"it.{format}")
    assert answer.status == 0, answer.err
    assert leaks(tmp_path / "out") == []


def test_a_file_of_a_node_that_holds_a_secret_is_refused(tmp_path: Path) -> None:
    path = scenario(tmp_path / "system")
    source = (path.parent / "leaky.py").read_text()
    (path.parent / "leaky.py").write_text(source + f"PASSWORD = {PLAIN!r}\n")
    answer = here("record", path, "-o", tmp_path / "run")
    assert answer.status == 2
    assert "holds the value of a secret" in answer.err
    said(answer.err)
    assert not (tmp_path / "run").exists()


def test_a_secret_that_is_not_provided_stops_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scenario(tmp_path / "system")
    assert here("scenarios", "validate", path).status == 0
    monkeypatch.delenv("PLAIN_PASSWORD")
    (path.parent / "token.txt").unlink()
    assert here("scenarios", "validate", path).status == 0  # a check needs no values
    for options in (["-o", tmp_path / "run"], ["--dry-run"]):
        answer = here("record", path, *options)
        assert answer.status == 2
        assert "secrets.plain: the variable PLAIN_PASSWORD is not set: export it" in answer.err
        assert f"secrets.token: {path.parent / 'token.txt'} can't be read: No such file" in answer.err
    assert not (tmp_path / "run").exists()


def test_no_secret_can_be_a_word_that_every_run_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scenario(tmp_path / "system")
    record(path, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    of_the_user = ("scenario", "artefacts", "objects", "nodes", "packages", "programs", "vocabulary")
    words = {*manifest, *(key for name in manifest if name not in of_the_user for key in _keys(manifest[name]))}
    words = {word for word in words if len(word) >= 6} | {"modelnetwork"}
    assert len(words) > 20
    for word in sorted(words):
        monkeypatch.setenv("PLAIN_PASSWORD", word)
        answer = here("record", path, "-o", tmp_path / "other", "--dry-run")
        assert (answer.status, "secrets.plain: " in answer.err) == (2, True), word


def _keys(value: object) -> list[str]:
    return [each for key, member in value.items() for each in (key, *_keys(member))] if isinstance(value, dict) else []


def test_a_value_typed_into_the_scenario_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = scenario(tmp_path / "system")
    for change in (f"nodes.tool.config.password={PLAIN}", f"nodes.tool.config.{PLAIN}=1", f"description=it is {PLAIN}"):
        answer = here("record", path, "-o", tmp_path / "run", "--set", change)
        assert answer.status == 2
        assert "secrets.plain: the value stands in the scenario, at " in answer.err
        said(answer.err)
        assert not (tmp_path / "run").exists()
