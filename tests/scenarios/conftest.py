"""Implementations that exist for the tests only, so that these need no bridge."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from xtrace.engine import registry
from xtrace.engine.node import Option

FAKE_OPTIONS = {
    "model": Option("string", "the class", required=True),
    "peer": Option("node", "another node"),
    "mode": Option("string", "how", default="fast", choices=("fast", "slow")),
    "every": Option("duration", "the period", default="10ms"),
    "room": Option("bytes", "the memory", default="64KiB"),
    "gain": Option("number", "the factor", default=1, minimum=0, maximum=10),
    "count": Option("integer", "how many"),
    "loud": Option("boolean", "whether it is heard", default=False),
    "columns": Option("strings", "the columns", default=()),
    "env": Option("mapping", "variables", default={}),
    "extra": Option("any", "anything"),
}


@pytest.fixture(scope="module", autouse=True)
def fake_implementations():
    """`fake` takes an option of every kind, `absent` needs a package that isn't installed."""
    module = ModuleType("fake_bridge")
    module.FakeNode = SimpleNamespace(OPTIONS=FAKE_OPTIONS)
    sys.modules["fake_bridge"] = module
    added = {"fake": "fake_bridge:FakeNode", "absent": "package_that_is_not_installed:Node"}
    registry.BUILT_IN[registry.NODES].update(added)
    registry.names.cache_clear()
    yield
    for name in [*added]:
        del registry.BUILT_IN[registry.NODES][name]
    registry.names.cache_clear()
    del sys.modules["fake_bridge"]


@pytest.fixture
def write(tmp_path):
    """Write a scenario file and return its path."""

    def write_text(text, name="case.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_text


@pytest.fixture
def minimal():
    """The smallest valid document."""
    return {
        "scenario": "small",
        "duration": "1s",
        "nodes": [{"id": "a", "type": "sensor", "implementation": "fake", "model": "m:A"}],
    }
