"""Which runs are trusted: those recorded here, unchanged, wherever they lie."""

from __future__ import annotations

import shutil
import stat

import pytest
from tests.capture.runs import busy_rows, make_run
from tests.capture.test_integrity import reseal

from xtrace.capture import trust as trust_module
from xtrace.capture.reader import Run
from xtrace.capture.trust import is_trusted, state_folder, trust


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XTRACE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def run(tmp_path, state):
    make_run(tmp_path / "run", busy_rows(3))
    return Run.open(tmp_path / "run")


def test_a_run_is_not_trusted_until_somebody_says_so(run, state):
    """Trust is remembered in the state folder, readable by its owner only."""
    assert not is_trusted(run)
    trust(run)
    assert is_trusted(run)
    assert 0 == stat.S_IMODE((state / "trusted-runs").stat().st_mode) & 0o077


def test_a_moved_run_is_still_trusted(run, tmp_path):
    """The content counts, not the place."""
    trust(run)
    shutil.move(run.path, tmp_path / "elsewhere")
    assert is_trusted(Run.open(tmp_path / "elsewhere"))


def test_a_changed_run_is_not_trusted(run, tmp_path):
    """Whoever changes a command or an artefact and seals the run again has made another run."""
    trust(run)
    shutil.copytree(run.path, tmp_path / "copy")
    reseal(tmp_path / "copy", lambda data: data["nodes"]["a"].update(type="other"))
    assert not is_trusted(Run.open(tmp_path / "copy"))
    assert is_trusted(Run.open(run.path))


def test_trust_is_per_run_and_adds_up(run, tmp_path):
    """Trusting one run says nothing about another."""
    make_run(tmp_path / "other", busy_rows(4))
    other = Run.open(tmp_path / "other")
    trust(run)
    assert not is_trusted(other)
    trust(other)
    assert is_trusted(run)
    assert is_trusted(other)


def test_a_part_of_a_digest_is_no_trust(run, state):
    """Whole lines are compared; junk in the file trusts nothing and breaks nothing."""
    state.mkdir()
    (state / "trusted-runs").write_bytes(run.manifest_digest[:-1].encode() + b"\n\xff\xfe\n\n")
    assert not is_trusted(run)


def test_a_state_folder_that_can_not_be_written(run, state):
    """trust() says so, is_trusted() is False; recording must not fail for it."""
    state.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="state"):
        trust(run)
    assert not is_trusted(run)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XTRACE_STATE_DIR": "/a", "XDG_STATE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_STATE_HOME": "/b", "HOME": "/c"}, "/b/xtrace"),
        ({"HOME": "/c"}, "/c/.local/state/xtrace"),
        ({"XTRACE_STATE_DIR": "", "HOME": "/c"}, "/c/.local/state/xtrace"),
    ],
)
def test_where_the_state_lies(monkeypatch, variables, expected):
    """Named by xtrace's own variable, else by the desktop's, else in the home folder."""
    for name in ("XTRACE_STATE_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert expected == str(state_folder())
    assert trust_module._file().parent == state_folder()
