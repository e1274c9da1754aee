"""In CI a skipped test is a failed one, unless it waits for data that is not in the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "test_plain.py": "def test_passes(): pass\n",
    "test_skips.py": "import pytest\n\n@pytest.mark.skip(reason='a whim')\ndef test_x(): pass\n",
    "test_skips_inside.py": "import pytest\n\ndef test_x(): pytest.skip('a whim')\n",
    "test_skips_at_import.py": "import pytest\n\npytest.skip('a whim', allow_module_level=True)\n",
    "test_expects_failure.py": "import pytest\n\n@pytest.mark.xfail(reason='known')\ndef test_x(): assert False\n",
    "test_telemetry.py": "def test_x(telemetry_csv): assert telemetry_csv.is_file()\n",
}


def outcome(folder: Path, root: Path, name: str, **environment: str) -> tuple[int, str]:
    """Run one test file beside a copy of the conftest and return pytest's exit status and last line."""
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests/conftest.py").write_text((root / "tests/conftest.py").read_text())
    (folder / "tests" / name).write_text(TESTS[name])
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CI", "XTRACE_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", f"tests/{name}"]
    done = subprocess.run(
        command, cwd=folder, env={**clean, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["test_skips.py", "test_skips_inside.py", "test_skips_at_import.py"])
def test_a_skip_fails_in_ci_only(name, tmp_path, root):
    assert outcome(tmp_path, root, name)[0] in (0, 5)
    status, text = outcome(tmp_path, root, name, CI="true")
    assert status in (1, 2)
    assert "skipped in CI" in text
    assert "a whim" in text


@pytest.mark.parametrize("name", ["test_plain.py", "test_expects_failure.py", "test_telemetry.py"])
def test_the_rest_passes_in_ci(name, tmp_path, root):
    assert outcome(tmp_path, root, name, CI="true")[0] == 0


def test_telemetry_is_found_by_name_and_said_to_be_absent(tmp_path, root):
    data = tmp_path / "data.csv"
    data.touch()
    assert "1 passed" in outcome(tmp_path, root, "test_telemetry.py", XTRACE_TELEMETRY_CSV=str(data))[1]
    assert "1 skipped" in outcome(tmp_path, root, "test_telemetry.py")[1]
