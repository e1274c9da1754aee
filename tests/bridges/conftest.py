"""Nodes that are processes, and proof that nothing of them is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xtrace.bridges.process import ProcessNode
from xtrace.engine.node import NodeSpec, Workspace

NODES = Path(__file__).parent / "nodes"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ProcessNode]]:
    """Build nodes that run in `nodes/`; after the test each is shut down and must have left nothing."""
    made: list[ProcessNode] = []
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    def make_node(*command: str, workspace: Workspace | None = None, **options: object) -> ProcessNode:
        defaults = {"transport": "stdio", "timeout": 5_000_000, "start_timeout": 10_000_000, "env": {}, "files": []}
        spec = NodeSpec("edge", "test", "process", {**defaults, "command": list(command), **options})
        made.append(ProcessNode(spec, workspace or Workspace(NODES, logs=tmp_path / "logs")))
        return made[-1]

    yield make_node
    for node in made:
        node.shutdown()
        node.shutdown()
        if node._process is not None:
            assert_nothing_left(node._process.pid)
    assert list((tmp_path / "tmp").iterdir()) == []


def assert_nothing_left(pid: int) -> None:
    assert not Path(f"/proc/{pid}").exists()
    end_s = time.monotonic() + 5
    while has_members(pid):  # what the node itself started is reaped by init
        assert time.monotonic() < end_s
        time.sleep(0.01)


def has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
