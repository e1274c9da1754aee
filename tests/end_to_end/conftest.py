"""The library, recorded once from a copy that is gone, and a place in which whatever is left behind is seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .front_door import LIBRARY, assert_nothing_left, record  # noqa: TID252  # tests have no name to be imported by


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every scenario of the library, recorded from a copy that was deleted; the runs were moved since."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(LIBRARY, folder / "scenarios", ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted((folder / "scenarios").glob("*.yaml"))
    for file in files:
        record(file, folder / "first" / file.stem)
    shutil.rmtree(folder / "scenarios")
    (folder / "first").rename(folder / "moved")
    return {file.stem: folder / "moved" / file.stem for file in files}


@pytest.fixture(scope="session")
def monitoring(library: dict[str, Path]) -> Path:
    return library["machine_monitoring"]


@pytest.fixture
def private(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables that keep the temporary files of a command apart; after the test no file and no process may be left."""
    folder = tmp_path / "private"
    folder.mkdir()
    yield {"TMPDIR": str(folder)}
    assert_nothing_left(folder)
