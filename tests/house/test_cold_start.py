"""`xtrace --help` answers at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"deepdiff", "docker", "duckdb", "numpy", "onnx", "onnxruntime", "pyarrow", "rich", "torch"}
HELP = """
from xtrace.tools.cli import main
sys.argv = ["xtrace", "--help"]
try:
    status = main()
except SystemExit as stop:
    status = stop.code
assert not status, status
"""


def heavy_modules(program: str) -> list[str]:
    """Run `program` in a fresh interpreter and return the heavy modules that it imported."""
    report = "\nimport json\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", "import sys\n" + program + report]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(HEAVY & set(json.loads(done.stdout.splitlines()[-1])))


def test_help_imports_nothing_heavy():
    assert heavy_modules(HELP) == []


def test_no_package_imports_anything_heavy(folders):
    assert heavy_modules("\n".join(f"import xtrace.{folder}" for folder in folders)) == []


@pytest.mark.parametrize("module", ["rich", "deepdiff"])
def test_a_planted_import_is_caught(module):
    assert module in heavy_modules(f"import {module}" + HELP)
