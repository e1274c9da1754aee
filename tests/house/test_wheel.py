"""The wheel holds every file of the house under `xtrace/`, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def built_files(tree: Path, folder: Path) -> set[str]:
    """Build the wheel of `tree`, offline, and return the files in it."""
    folder.mkdir()
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def problems(tree: Path, built: set[str], *, folders: tuple[str, ...]) -> list[str]:
    """Return where the wheel and the tree disagree, each with the way to mend it."""
    expected = {
        f"xtrace/{path.relative_to(tree)}"
        for folder in folders
        for path in (tree / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    meta = {name for name in built if name.partition("/")[0].endswith(".dist-info")}
    missing = [
        f"{name} is not in the wheel: add its folder to `packages`, or its kind to `package-data`, in pyproject.toml"
        for name in sorted(expected - built)
    ]
    return missing + [f"{name} is in the wheel but not in the tree" for name in sorted(built - meta - expected)]


@pytest.fixture
def packages(root) -> list[str]:
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]


def test_the_wheel_holds_the_tree(house_copy, tmp_path, folders):
    built = built_files(house_copy, tmp_path / "out")
    found = problems(house_copy, built, folders=folders)
    assert found == [], "\n" + "\n".join(found)
    assert {name.partition("/")[0] for name in built if ".dist-info/" not in name} == {"xtrace"}
    assert "xtrace/__init__.py" not in built
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in built)


def test_a_planted_file_is_missed(house_copy, tmp_path, folders):
    """A nested package that is not listed and a data file of no known kind are what gets lost."""
    (house_copy / "capture/deep").mkdir()
    (house_copy / "capture/deep/__init__.py").touch()
    (house_copy / "engine/table.bin").touch()
    found = problems(house_copy, built_files(house_copy, tmp_path / "out"), folders=folders)
    assert [line.split(" ")[0] for line in found] == ["xtrace/capture/deep/__init__.py", "xtrace/engine/table.bin"]


def test_a_planted_stranger_is_caught(house_copy, tmp_path, folders):
    """A top-level package would shadow, or be shadowed by, a user's own."""
    pyproject = house_copy / "pyproject.toml"
    pyproject.write_text(
        pyproject.read_text().replace('    "xtrace.tools",\n', '    "xtrace.tools",\n    "tools",\n', 1)
    )
    found = problems(house_copy, built_files(house_copy, tmp_path / "out"), folders=folders)
    assert "tools/__init__.py is in the wheel but not in the tree" in found


def test_every_folder_is_listed(house_files, packages):
    """To setuptools each folder is a package, whether it holds code or data."""
    assert sorted({"xtrace." + ".".join(path.parent.parts) for path in house_files}) == packages


@pytest.mark.slow
def test_an_installed_wheel_works_among_strangers(house_copy, tmp_path, folders):
    """With the user's own tools/ and engine/ in the working directory, the library's scenarios are found and run."""
    built_files(house_copy, tmp_path / "out")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    with zipfile.ZipFile(*(tmp_path / "out").glob("*.whl")) as archive:
        archive.extractall(site)
    for folder in folders:
        (elsewhere / folder).mkdir(parents=True)
        (elsewhere / folder / "__init__.py").write_text("raise ImportError('the user meant this for himself')\n")

    def xtrace(*arguments: str) -> str:
        program = (
            "import sys, xtrace.engine as e; from xtrace.tools.cli import main; print(e.__file__); sys.exit(main())"
        )
        command = [sys.executable, "-c", program, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        done = subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert xtrace("record", "smoke", "-o", "first").startswith(str(site))
    xtrace("record", "smoke", "-o", "second")
    xtrace("replay", "first", "--all")
    xtrace("diff", "first", "second")
    assert "machine_monitoring" in xtrace("scenarios", "list")
