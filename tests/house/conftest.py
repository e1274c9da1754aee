"""The files of the house, for the tests that read them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("bridges", "capture", "engine", "golden", "replay", "scenarios", "tools")
BESIDE = (".ci", ".github", "benchmarks", "docs", "tests")


def files_under(root: Path, *folders: str) -> Iterator[Path]:
    """Yield the files of `folders`, sorted, relative to `root`, without what Python leaves behind."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not {"__pycache__", ".hypothesis"} & set(path.parts):
                yield path.relative_to(root)


@pytest.fixture
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def house_files(root: Path) -> list[Path]:
    """Every file of the packages, relative to the root."""
    return list(files_under(root, *FOLDERS))


@pytest.fixture
def all_files(root: Path) -> list[Path]:
    """Every file of the repository, relative to the root."""
    top = [path.relative_to(root) for path in sorted(root.iterdir()) if path.is_file() and path.name != ".git"]
    return [*top, *files_under(root, *BESIDE, *FOLDERS)]


@pytest.fixture
def folders() -> tuple[str, ...]:
    return FOLDERS


@pytest.fixture
def house_copy(root: Path, tmp_path: Path) -> Path:
    """A copy of all that goes into a wheel, to plant faults in."""
    copy = tmp_path / "house"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy / name)
    for path in files_under(root, *FOLDERS):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, copy / path)
    return copy
