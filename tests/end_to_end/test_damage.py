"""One flipped bit: `verify` says where, and nothing that depends on it gives an answer."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .front_door import here, record, write_scenario, xtrace  # noqa: TID252  # tests have no name to be imported by

SAMPLES = 6
WITHOUT_RESULTS = ("timing.arrow", "logs/")
"""Files that no result depends on: `verify` reports them, everything else goes on."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with several blocks, objects that different nodes use, and a log."""
    folder = tmp_path_factory.mktemp("original")
    for name, said in (("a", 1), ("b", 2)):
        (folder / f"{name}.py").write_text(
            "from xtrace.engine.model import Model\n\n\n"
            "class Talker(Model):\n"
            "    def on_init(self):\n"
            f"        self.schedule_periodic({said}000, self.talk)\n\n"
            "    def talk(self):\n"
            f"        self.send('c', 'word', {{'dice': self.random.randrange({said}00)}})\n"
        )
    (folder / "c.py").write_text("import sys, json\nprint('I log', file=sys.stderr)\n" + ECHO)
    nodes = [
        {"id": "a", "type": "t", "implementation": "python_model", "model": "a.py:Talker"},
        {"id": "b", "type": "t", "implementation": "python_model", "model": "b.py:Talker"},
        {"id": "c", "type": "t", "implementation": "process", "command": ["{python}", "c.py"]},
    ]
    record(write_scenario(folder, nodes, duration="2500ms"), folder / "run")
    record(folder / "scenario.yaml", folder / "twin")
    return folder / "run"


ECHO = """\
for line in sys.stdin:
    message = json.loads(line)
    if message["msg"] == "SHUTDOWN":
        break
    done = {"msg": "DONE", "time_us": message.get("time_us"), "events": [], "next_time_us": None}
    ready = {"msg": "READY", "protocol": 1, "capabilities": []}
    print(json.dumps(ready if message["msg"] == "INIT" else done), flush=True)
"""


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def files_of(run: Path) -> list[str]:
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


@pytest.fixture
def flip(copy: Path) -> Iterator[Callable[[str, int], None]]:
    """Flip the lowest bit at an offset of a file, after the one that was flipped before is right again."""
    flipped: list[tuple[Path, int]] = []

    def turn(name: str, offset: int) -> None:
        while flipped:
            invert(*flipped.pop())
        invert(copy / name, offset)
        flipped.append((copy / name, offset))

    return turn


def invert(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << (offset % 8)
    path.write_bytes(data)


def places(run: Path) -> Iterator[tuple[str, int]]:
    """Yield offsets in every file: its ends and others between, the same in every test run."""
    for name in files_of(run):
        size = (run / name).stat().st_size
        inner = random.Random(name).sample(range(size), min(SAMPLES, size))
        for offset in sorted({0, size - 1, *inner}):
            yield name, offset


def blocks(run: Path) -> list[dict[str, int]]:
    from xtrace.capture.reader import Run

    return [block._asdict() for block in Run.open(run).blocks]


def test_the_original_is_worth_damaging(original):
    assert len(blocks(original)) > 1
    names = files_of(original)
    assert len([name for name in names if name.startswith("objects/")]) == 3
    assert "logs/c.log" in names
    assert (original / "logs/c.log").stat().st_size > 0
    assert here("verify", original).status == 0
    assert here("diff", original, original.parent / "twin").status == 0


def test_verify_names_file_block_and_offset(original, copy, flip):
    by_block = blocks(original)
    for name, offset in places(original):
        flip(name, offset)
        answer = here("verify", copy, "--json")
        assert answer.status == 2, (name, offset)
        assert answer.err == ""
        assert answer.json["intact"] is False
        problem = answer.json["problems"][0]
        assert problem["file"] == name, (name, offset)
        assert problem["offset"] <= offset, (name, offset, problem)
        assert problem["length"] is None or offset < problem["offset"] + problem["length"], (name, offset, problem)
        assert problem["fatal"] is not name.startswith(WITHOUT_RESULTS), (name, problem)
        if name == "events.arrow":
            inside = [each for each in by_block if each["offset"] <= offset < each["offset"] + each["length"]]
            assert problem["block"] == (inside[0]["block"] if inside else None)
    text = here("verify", copy).out
    assert text.startswith(f"{name}: "), text


def test_diff_gives_no_answer(original, copy, flip):
    twin = original.parent / "twin"
    assert twin.is_dir()
    for name, offset in places(original):
        flip(name, offset)
        for pair in ((copy, twin), (twin, copy)):
            answer = here("diff", *pair)
            if name.startswith(WITHOUT_RESULTS):
                assert (answer.status, answer.out[:9]) == (0, "identical"), (name, offset, answer)
            else:
                assert (answer.status, answer.out) == (2, ""), (name, offset, answer)
                assert name in answer.err


def test_replay_of_what_is_affected_gives_no_answer(original, copy, flip):
    manifest = json.loads((original / "manifest.json").read_text())
    for name in [file for file in files_of(original) if file.startswith("objects/")]:
        offset = (original / name).stat().st_size // 2
        flip(name, offset)
        users = [node for node, files in manifest["artefacts"].items() if name.partition("/")[2] in files.values()]
        assert users
        for node in "ab":  # c is a process, which takes its time to start
            answer = here("replay", copy, "--node", node)
            assert answer.status == (2 if node in users else 0), (name, node, answer)
            assert (name in answer.err) == (node in users)


@pytest.mark.parametrize("name", ["events.arrow", "events.index", "nodes.index", "manifest.json", "SEAL"])
def test_replay_over_a_damaged_file_gives_no_answer(name, original, copy, flip):
    last = blocks(original)[-1]
    end = last["offset"] + last["length"]
    for _, offset in [
        place for place in places(original) if place[0] == name and (name[:7] != "events." or place[1] < end)
    ]:
        flip(name, offset)
        for node in ("a", "network"):
            answer = here("replay", copy, "--node", node)
            assert answer.status == 2, (name, offset, node, answer)
            assert name in answer.err


@pytest.mark.parametrize("command", [["info"], ["query", "FROM events"], ["verify"], ["replay", "--all"]])
def test_a_run_without_its_seal_is_not_closed(command, copy):
    (copy / "SEAL").unlink()
    answer = xtrace(command[0], copy, *command[1:])
    assert answer.status == 2
    assert "SEAL" in answer.err + answer.out


@pytest.mark.parametrize("change", ["cut", "lengthened", "emptied", "gone"])
def test_a_file_of_another_length_is_found(change, original, copy):
    for name in files_of(original):
        data = (original / name).read_bytes()
        changed = {"cut": data[:-1], "lengthened": data + b"\0", "emptied": b"", "gone": None}[change]
        if changed is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(changed)
        answer = here("verify", copy)
        assert answer.status == 2, name
        assert name in answer.out + answer.err
        (copy / name).write_bytes(data)
    assert here("verify", copy).status == 0
