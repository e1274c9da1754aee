"""The command line as a whole: help, version, errors, and readers that go away."""

from __future__ import annotations

import errno
import json
import subprocess
import sys

import pytest

from xtrace.tools import cli, info, runs

SLOW = {
    "deepdiff",
    "docker",
    "duckdb",
    "numpy",
    "onnxruntime",
    "pyarrow",
    "rich",
    "yaml",
    "asyncio",
    "importlib.metadata",
}


def test_help_imports_nothing_slow():
    program = (
        "import json, sys\nfrom xtrace.tools.cli import main\n"
        "status = main(['--help'])\nprint(json.dumps([status, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert SLOW & set(modules) == set()


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help_with_an_example(command, xtrace):
    answer = xtrace(command, "--help")
    assert answer.status == 0
    assert f"example:\n  xtrace {command} " in answer.out
    assert answer.err == ""


def test_the_version_is_data(xtrace):
    answer = xtrace("--version")
    assert answer.status == 0
    assert answer.out.startswith("xtrace ")


def test_without_a_command_help_is_shown(xtrace):
    answer = xtrace()
    assert (answer.status, answer.out) == (2, "")
    assert "usage: xtrace" in answer.err


def test_a_misspelt_command_is_recognised(xtrace):
    answer = xtrace("recrod", "smoke")
    assert answer.status == 2
    assert answer.err == "xtrace: unknown command 'recrod'; did you mean 'record'?; `xtrace --help` lists all\n"


@pytest.mark.parametrize("arguments", [["diff"], ["record", "smoke", "--seed", "x"], ["show", "a", "--nod", "b"]])
def test_a_wrong_option_ends_with_2(arguments, xtrace):
    answer = xtrace(*arguments)
    assert answer.status == 2
    assert "usage: xtrace" in answer.err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("x"), "xtrace: internal error: KeyError: 'x'\n"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "xtrace: a/b: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "xtrace: a: Permission denied\n"),
        (RecursionError("too deep \x1b[31m"), "xtrace: internal error: RecursionError: too deep \\x1b[31m\n"),
        (MemoryError(), "xtrace: internal error: MemoryError: \n"),
    ],
)
def test_what_nobody_expected_is_one_readable_message(error, message, xtrace, monkeypatch, recorded):
    def fail(_):
        raise error

    monkeypatch.setattr(info, "describe", fail)
    answer = xtrace("info", recorded)
    assert answer.status == 2
    assert answer.err.startswith(message)
    assert "Traceback" not in answer.err


def test_the_traceback_is_there_for_who_asks(xtrace, monkeypatch):
    monkeypatch.setenv("XTRACE_DEBUG", "1")
    answer = xtrace("info", "nothing")
    assert answer.status == 2
    assert "Traceback" in answer.err
    assert "xtrace: nothing: no such folder" in answer.err


def test_ctrl_c_ends_with_130(xtrace, monkeypatch, recorded):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "describe", interrupted)
    assert xtrace("info", recorded) == (130, "", "xtrace: interrupted\n")


def test_a_mistake_in_the_file_of_settings_stops_every_command(xtrace, tmp_path):
    (tmp_path / "xtrace.toml").write_text("sede = 1")
    answer = xtrace("doctor")
    assert answer.status == 2
    assert "unknown setting 'sede'; did you mean 'seed'?" in answer.err


@pytest.mark.parametrize("arguments", [["show"], ["query", "--format", "csv"], ["query", "--format", "arrow"]])
def test_a_reader_that_goes_away_is_no_error(arguments, xtrace_command, recorded):
    command, *options = arguments
    sql = ["FROM events a, events b"] if command == "query" else ["--json"]
    process = subprocess.Popen(
        xtrace_command(command, str(recorded), *sql, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(10)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), errors) == (141, b"")


@pytest.mark.parametrize("arguments", [["info"], ["show"], ["query", "FROM events"]])
def test_a_full_disk_is_a_readable_error(arguments, xtrace_command, recorded):
    command, *rest = arguments
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            xtrace_command(command, str(recorded), *rest), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "xtrace: No space left on device"
    assert "Traceback" not in done.stderr
    assert "nanobind" not in done.stderr


def test_a_folder_that_is_no_run_is_told_and_the_nearest_named(xtrace, recorded):
    above, near = recorded.parent, recorded.parent / "frist"
    assert f"is no run: it has no manifest.json; did you mean {recorded}?" in xtrace("info", above).err
    assert f"no such folder; did you mean {recorded}?" in xtrace("info", near).err
    assert "is a file; a run is a folder" in xtrace("info", recorded / "events.arrow").err
    assert xtrace("info", "elsewhere/run").err == "xtrace: elsewhere/run: no such folder\n"


def test_default_folders_never_exist(tmp_path):
    first = runs.free_folder(tmp_path, name="a/../b c", seed=1)
    assert first == tmp_path / "a-..-b-c-1"
    first.mkdir()
    second = runs.free_folder(tmp_path, name="a/../b c", seed=1)
    assert second == tmp_path / "a-..-b-c-1-2"
    second.symlink_to("nowhere")
    assert runs.free_folder(tmp_path, name="a/../b c", seed=1) == tmp_path / "a-..-b-c-1-3"


def test_commands_can_be_pasted():
    assert runs.command("replay", "my run", "--all") == "xtrace replay 'my run' --all"
