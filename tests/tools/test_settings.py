"""Defaults: options win, then variables, then the file."""

from __future__ import annotations

import pytest

from xtrace.engine.errors import InputError
from xtrace.tools.settings import SETTINGS, debugging, find_file, load


def test_without_anything_the_defaults_are_in_force(tmp_path):
    settings = load(folder=tmp_path, environment={})
    assert settings.values == {name: setting.default for name, setting in SETTINGS.items()}
    assert set(settings.origins.values()) == {"default"}
    assert settings.file is None


def test_variables_win_over_the_file(tmp_path):
    (tmp_path / "xtrace.toml").write_text('seed = 3\nduration = "2s"\n')
    settings = load(folder=tmp_path, environment={"XTRACE_SEED": "7"})
    assert (settings.values["seed"], settings.values["duration"]) == (7, "2s")
    assert settings.origins["seed"] == "XTRACE_SEED"
    assert settings.origins["duration"] == str(tmp_path / "xtrace.toml")


def test_options_win_over_both(tmp_path):
    settings = load(folder=tmp_path, environment={"XTRACE_SEED": "7"})
    assert settings.choose(0, "seed") == 0
    assert settings.choose(None, "seed") == 7


def test_all_mistakes_of_the_file_are_reported_with_suggestions(tmp_path):
    (tmp_path / "xtrace.toml").write_text('sede = 3\nduration = 5\ncolor = "blue"\nruns = ""\ndebug = "perhaps"\n')
    with pytest.raises(InputError) as caught:
        load(folder=tmp_path, environment={})
    assert caught.value.problems == [
        "color: must be auto, always, never, not 'blue'",
        "debug: must be true or false, not 'perhaps'",
        "duration: a duration needs its unit: write 5us, 5ms or 5s instead of 5",
        "runs: must be a path, not ''",
        "unknown setting 'sede'; did you mean 'seed'?",
    ]


def test_all_mistakes_in_variables_are_reported(tmp_path):
    with pytest.raises(InputError) as caught:
        load(folder=tmp_path, environment={"XTRACE_SEED": "many", "XTRACE_LIMIT": "1.5"})
    assert caught.value.problems == [
        "XTRACE_LIMIT: must be an integer, not '1.5'",
        "XTRACE_SEED: must be an integer, not 'many'",
    ]


@pytest.mark.parametrize("content", [b"seed = ", b"\xff", b"a = " + b"[" * 5000])
def test_a_file_that_is_no_toml_is_an_error(tmp_path, content):
    (tmp_path / "xtrace.toml").write_bytes(content)
    with pytest.raises(InputError, match="not valid TOML"):
        load(folder=tmp_path, environment={})


def test_an_enormous_file_is_refused(tmp_path):
    (tmp_path / "xtrace.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="limit of 1000000 bytes"):
        load(folder=tmp_path, environment={})


def test_the_file_is_found_in_parents_up_to_the_checkout(tmp_path):
    inner = tmp_path / "checkout" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "xtrace.toml").touch()
    assert find_file(inner) is None
    (tmp_path / "checkout" / ".git").mkdir()
    assert find_file(inner) is None
    (tmp_path / "checkout" / "xtrace.toml").touch()
    assert find_file(inner) == tmp_path / "checkout" / "xtrace.toml"
    (inner / "xtrace.toml").touch()
    assert find_file(inner) == inner / "xtrace.toml"


def test_paths_in_the_file_are_relative_to_it(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "xtrace.toml").write_text('runs = "out"')
    assert load(folder=tmp_path / "a", environment={}).values["runs"] == str(tmp_path / "out")
    assert load(folder=tmp_path / "a", environment={"XTRACE_RUNS": "here"}).values["runs"] == "here"


def test_nothing_that_lowers_a_guard_can_be_set():
    assert not {"trust", "force"} & set(SETTINGS)


@pytest.mark.parametrize(
    ("variables", "no_color", "ci"),
    [({}, False, False), ({"NO_COLOR": "1", "CI": "true"}, True, True), ({"NO_COLOR": "", "CI": "0"}, False, False)],
)
def test_what_the_surroundings_say(tmp_path, variables, no_color, ci):
    settings = load(folder=tmp_path, environment=variables)
    assert (settings.no_color, settings.ci) == (no_color, ci)


def test_variables_that_are_no_settings_are_named(tmp_path):
    settings = load(folder=tmp_path, environment={"XTRACE_SEEED": "1", "XTRACE_SEED": "1", "OTHER": "1"})
    assert settings.unknown_variables == ("XTRACE_SEEED",)


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("0", False), ("", False), ("nonsense", True)])
def test_debugging_is_known_without_the_settings(text, expected):
    assert debugging({"XTRACE_DEBUG": text} if text else {}) is expected
