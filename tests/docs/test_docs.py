"""The documentation says what the code does: names, tables, links, and every command and program that it shows."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.docs.pages import Reader, blocks, matches, without_blocks

from xtrace.capture.layout import schema
from xtrace.engine import errors
from xtrace.engine.model import Model
from xtrace.engine.registry import BUILT_IN, NETWORKS, NODES, load
from xtrace.scenarios.keys import COMPARE, LINK, NODE, SCENARIO, SECRET
from xtrace.scenarios.loader import library
from xtrace.tools.cli import COMMANDS, main, parser
from xtrace.tools.settings import OTHER_VARIABLES, PREFIX, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
FOLLOWED = [page for page in PAGES if "```console" in (ROOT / page).read_text(encoding="utf-8")]
LINKED = [*PAGES, "CHANGELOG.md", "capture/FORMAT.md", "engine/PROTOCOL.md"]
ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.XtraceError)]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """Return the prose below a heading, up to the next one of its level or above."""
    prose = without_blocks(read(page))
    match = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^\1 |^#{{1,2}} |\Z)", prose, re.DOTALL | re.MULTILINE)
    assert match is not None, f"{page} has no section {heading!r}"
    return match[2]


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(page: str, text: str) -> list[str]:
    """Return the links of a page to files and headings that do not exist."""
    broken = []
    for target in _LINK.findall(without_blocks(text)):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if re.match(r"[a-z]+:", target):
            continue
        if not path.exists():
            broken.append(f"{page}: {target}: no such file")
        elif anchor and anchor not in map(slug, _HEADING.findall(without_blocks(path.read_text(encoding="utf-8")))):
            broken.append(f"{page}: {target}: no such heading")
    return broken


def keys_of(value: Any) -> Iterator[str]:
    """Yield the keys of a JSON answer, without those that are ids and names."""
    if isinstance(value, list):
        for each in value[:1]:
            yield from keys_of(each)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield key
            if key in ("node_details", "settings") or (key == "nodes" and isinstance(member, dict)):
                yield from keys_of(list(member.values()))
            elif key not in ("platform", "versions", "programs", "python", "implementations", "payload"):
                yield from keys_of(member)


@pytest.mark.parametrize("page", FOLLOWED)
def test_what_a_page_tells_to_do_works_as_shown(page: str, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    assert Reader(folder, programs=tmp_path / "programs").follow(read(page)) > 0


@pytest.mark.parametrize("page", ["commands.md", "nodes.md", "scenarios.md"])
def test_generated_tables_are_up_to_date(page: str, generate: ModuleType) -> None:
    assert ROOT / "docs" / page in generate.pages()
    assert generate.filled(read(f"docs/{page}")) == read(f"docs/{page}"), "run: make docs"


@pytest.mark.parametrize("page", LINKED)
def test_every_internal_link_resolves(page: str) -> None:
    assert broken_links(page, read(page)) == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(_LINK.findall(read("README.md")))
    assert [page for page in PAGES[1:] if page not in linked] == []


def test_every_command_and_option_is_documented() -> None:
    text = read("docs/commands.md")
    actions = [action for action in parser()._actions if action.choices]
    assert [name for name in COMMANDS if f"## xtrace {name}\n" not in text] == []
    for name, sub in actions[0].choices.items():
        for action in sub._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help") or f"`{option}" in section("docs/commands.md", f"xtrace {name}")


def test_every_key_of_a_scenario_is_documented() -> None:
    keys = {**SCENARIO, **NODE, **COMPARE, **LINK, **SECRET}
    text = read("docs/scenarios.md")
    assert [key for key in keys if f"`{key}`" not in text] == []


@pytest.mark.parametrize(("group", "page"), [(NODES, "nodes"), (NETWORKS, "scenarios")])
def test_every_option_of_an_implementation_stands_in_its_section(group: str, page: str) -> None:
    for name in BUILT_IN[group]:
        text = section(f"docs/{page}.md", name)
        assert [key for key in load(group, name).OPTIONS if f"| `{key}` |" not in text] == []


def test_every_scenario_of_the_library_is_documented() -> None:
    text = section("docs/scenarios.md", "The library")
    assert [name for name, _ in library() if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_class_is_documented_with_its_exit_status(error: type[errors.XtraceError]) -> None:
    assert f"| `{error.__name__}` | {error.exit_status} |" in read("docs/errors.md")


def test_every_setting_and_variable_is_documented() -> None:
    text = section("docs/commands.md", "Settings")
    variables = [*OTHER_VARIABLES, *(PREFIX + name.upper() for name in SETTINGS)]
    assert [name for name in (*variables, "NO_COLOR") if f"`{name}`" not in text] == []


def test_every_member_of_the_model_is_documented() -> None:
    members = {*vars(Model), *Model.__annotations__} - {"start", "advance"}
    text = section("docs/nodes.md", "python_model")
    assert sorted(name for name in members if not name.startswith("_") and f"`{name}" not in text) == []


def test_every_column_is_documented() -> None:
    text = section("docs/reading-traces.md", "Columns")
    assert [name for name in schema().names if f"`{name}`" not in text] == []


def test_every_key_of_an_answer_in_json_is_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = section("docs/commands.md", "JSON") + section("docs/reading-traces.md", "Columns")
    (tmp_path / "bad.yaml").write_text("nodes: []\n")
    (tmp_path / "words.jsonl").write_text('{"time_ms": 5}\n')
    for arguments in (
        "record smoke -o a",
        "record smoke -o b --seed 2",
        "record smoke --dry-run",
        "replay a --all",
        "replay a --node ping --with config.period_us=7000",
        "diff a b",
        "info a",
        "show a --limit 1",
        "verify a",
        "export a -o a.mcap",
        "import a.mcap -o c",
        "import words.jsonl -o d",
        "scenarios list",
        "scenarios validate smoke bad.yaml",
        "doctor",
    ):
        main([*arguments.split(), "--json"])
        answer = json.loads(capsys.readouterr().out)
        assert [key for key in keys_of(answer) if f"`{key}`" not in text] == [], arguments


def test_code_taken_from_the_tests_is_what_the_tests_run() -> None:
    found = {block.mark: block.text for block in blocks(read("docs/nodes.md"))}
    assert (ROOT / "tests/bridges/nodes/echo.py").read_text() == found["file: echo.py"]
    quoted = [(mark.removeprefix("from: "), text) for mark, text in found.items() if mark.startswith("from: ")]
    assert quoted != []
    for name, text in quoted:
        lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
        assert [line for line in text.splitlines() if line not in lines] == []


def test_planted_output_that_is_not_what_came_is_caught() -> None:
    assert matches(["one …", "…", "xt1:sha256:12…"], ["one 1", "two", "three", "xt1:sha256:abcdef"])
    assert matches(["a", "…"], ["a"])
    assert not matches(["one"], ["one", "two"])
    assert not matches(["one", "two"], ["one"])
    assert not matches(["… two"], ["one"])


@pytest.mark.parametrize(
    "page",
    [
        "```console\n$ false\n```\n",
        "```console\n$ false\n$ echo $?\n0\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ echo one\n```\n",
        "```console\n$ xtrace info nowhere\n…\n```\n",
        "<!-- run -->\n```python\nraise SystemExit(1)\n```\n",
        "<!-- run -->\n```python\nprint(1)\n```\n\n<!-- output -->\n```text\n2\n```\n",
    ],
)
def test_a_planted_page_that_lies_is_caught(page: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="in the block of line"):
        Reader(tmp_path, programs=tmp_path / "programs").follow(page)


def test_a_page_is_followed_from_top_to_bottom(tmp_path: Path) -> None:
    page = "<!-- file: a/b.txt -->\n```text\nfrom the page\n```\n\n"
    page += "```console\n$ cat a/b.txt |\n> tr a-z A-Z\nFROM THE PAGE\n```\n"
    assert Reader(tmp_path, programs=tmp_path / "programs").follow(page) == 1


def test_a_planted_broken_link_is_caught() -> None:
    assert broken_links("README.md", "[a](docs/nowhere.md) [b](docs/nodes.md#nothing) [c](docs/nodes.md#csv)") == [
        "README.md: docs/nowhere.md: no such file",
        "README.md: docs/nodes.md#nothing: no such heading",
    ]


def test_a_planted_stale_table_is_caught(generate: ModuleType) -> None:
    page = read("docs/commands.md")
    stale = page.replace("| `--force` | ", "| `--force` | formerly: ", 1)
    assert stale != page
    assert generate.filled(stale) == page
