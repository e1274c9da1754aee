"""What ruff can't say: how long things may be, and what must never be written into a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

MAX_FUNCTION_LINES = 70
MAX_MODULE_LINES = 400

# Written in two pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of somebody's machine; write it relative, or as an example such as /path/to": re.compile(
        r"(?<![\w.}-])/("
        + "|".join(["wo" + "rk", "ro" + "ot", "far" + "m", "ho" + r"me/\w+", "Use" + r"rs/\w+"])
        + ")/"
    ),
    "a folder of one session; use a temporary folder": re.compile("/tmp/(" + "la" + "b|bash" + "_jobs)"),
    "the address of a registry; name the package only": re.compile(
        "py" + r"pi\.org|python" + r"hosted\.|registry\.npm" + r"js|deb\.deb" + "ian"
    ),
    "left for later; finish it or file an issue": re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b"),
}


def long_code(name: str, source: str) -> list[str]:
    """Return the modules and functions in `source` that are too long to be read at once."""
    found = []
    lines = source.count("\n")
    if lines > MAX_MODULE_LINES:
        found.append(f"{name}: {lines} lines; split what is more than one idea off (at most {MAX_MODULE_LINES})")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(f"{name}:{node.lineno}: {node.name} has {length} lines (at most {MAX_FUNCTION_LINES})")
    return found


def forbidden_text(name: str, text: str) -> list[str]:
    """Return what stands in `text` and must not, by line."""
    return [
        f"{name}:{number}: {found[0]!r} is {reason}"
        for number, line in enumerate(text.splitlines(), start=1)
        for reason, pattern in FORBIDDEN.items()
        if (found := pattern.search(line))
    ]


def undescribed_targets(makefile: str) -> list[str]:
    """Return the chores of a makefile that `make help` would not list."""
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    described = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    return sorted(set(phony[1].split() if phony else []) ^ described)


def test_modules_and_functions_are_short(root, all_files):
    found = []
    for path in all_files:
        if path.suffix == ".py":
            found += long_code(str(path), (root / path).read_text())
    assert found == [], "\n" + "\n".join(found)


def test_nothing_forbidden_is_written(root, all_files):
    found = []
    for path in all_files:
        try:
            found += forbidden_text(str(path), (root / path).read_text())
        except UnicodeDecodeError:
            is_object = "objects" in path.parts  # of a run that is kept for the tests
            assert is_object or path.suffix in (".onnx", ".png", ".arrow", ".index", ".bin"), (
                f"{path} is neither text nor a known kind of data"
            )
    assert found == [], "\n" + "\n".join(found)


def test_every_chore_has_a_line_in_help(root):
    assert undescribed_targets((root / "Makefile").read_text()) == []


def test_a_planted_long_function_is_caught():
    body = "    pass\n" * MAX_FUNCTION_LINES
    assert long_code("x.py", f"def f():\n{body}") == ["x.py:1: f has 71 lines (at most 70)"]
    assert long_code("x.py", f"def f():\n{body[:-9]}") == []


def test_a_planted_long_module_is_caught():
    assert "401 lines" in long_code("x.py", "pass\n" * (MAX_MODULE_LINES + 1))[0]
    assert long_code("x.py", "pass\n" * MAX_MODULE_LINES) == []


@pytest.mark.parametrize(
    "text",
    [
        "cd /wo" + "rk/main",
        "open('/ro" + "ot/x')",
        "in /ho" + "me/me/x",
        "/tmp/" + "lab/x",
        "https://py" + "pi.org/simple",
        "# TO" + "DO: later",
    ],
)
def test_planted_text_is_caught(text):
    assert len(forbidden_text("x", text)) == 1


@pytest.mark.parametrize("text", ["a/wo" + "rk/b", "/tmp/x", "todos", "/path/to", "net" + "work/", "$HO" + "ME/x"])
def test_harmless_text_passes(text):
    assert forbidden_text("x", text) == []


def test_a_planted_chore_without_help_is_caught():
    assert undescribed_targets(".PHONY: a b\na: ## Does a\nb: a\n") == ["b"]


def test_a_file_reads_as_a_path(all_files):
    assert Path("Makefile") in all_files
    assert Path("tests/house/test_style.py") in all_files
