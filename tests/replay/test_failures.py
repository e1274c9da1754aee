"""Runs that did not end well: their failure replays alone, and so does everything before it."""

from __future__ import annotations

import itertools
import time

import pytest
from tests.replay.systems import document, node, recorded

from xtrace.capture.reader import Run
from xtrace.capture.verify import verify
from xtrace.engine import watchdog
from xtrace.golden.compare import compare
from xtrace.replay.isolation import replay_node


def process(*arguments, **options):
    command = ["{python}", "models/echo.py", *map(str, arguments)]
    return {"id": "filter", "type": "filter", "implementation": "process", "command": command, **options}


def last_row(run):
    return list(run.rows())[-1].row


@pytest.mark.parametrize(("how", "kind"), [("crash", "NodeCrashed"), ("protocol", "ProtocolError")])
def test_a_recorded_failure_reproduces_alone(tmp_path, how, kind):
    """The failing step replays with the same inputs to the same error, and says that it was to be expected."""
    run, done = recorded(tmp_path, document(how=how, fail_above=120))
    assert ("failed", "filter", "abort") == (done.status, done.failure.node, last_row(run).kind)
    again = replay_node(run, "filter")
    assert (True, True) == (again.identical, again.expected_failure)
    assert (kind, done.failure.reason) == (type(again.failure).__name__, again.failure.reason)
    assert (done.failure.step, done.failure.time_us) == (again.failure.step, again.failure.time_us)
    assert again.failure.step > 15
    for other in ("source", "sink", "network"):
        rest = replay_node(run, other)
        assert (True, None) == (rest.identical, rest.failure)
        assert rest.steps > 5
    assert [] == verify(run.path)


def test_a_mended_failure_is_a_divergence(tmp_path):
    """With --with the node no longer fails: the abort is expected, and something else happened."""
    run, done = recorded(tmp_path, document(fail_above=60))
    again = replay_node(run, "filter", changes=["config.fail_above=1000000"])
    assert (False, None, False) == (again.identical, again.failure, again.expected_failure)
    assert done.failure.step == again.divergence.step


def test_a_new_failure_is_a_divergence(tmp_path):
    """The record is fine, the changed node fails: not expected, and named."""
    run, _ = recorded(tmp_path, document())
    again = replay_node(run, "filter", changes=["config.fail_above=60"])
    assert (False, False) == (again.identical, again.expected_failure)
    assert "RuntimeError: overflow at" in again.failure.reason


def test_a_failing_init_reproduces(tmp_path):
    """Step 0: the node never got ready, and doesn't now; nobody else did anything."""
    content = document()
    content["nodes"][1] = node("filter", "parts.py:Broken")
    run, done = recorded(tmp_path, content)
    assert ("failed", 0) == (done.status, done.failure.step)
    again = replay_node(run, "filter")
    assert (True, True, 0) == (again.identical, again.expected_failure, again.failure.step)
    assert "ValueError: not today" in again.failure.reason
    for other in ("source", "sink", "network"):
        assert (True, None) == (replay_node(run, other).identical, replay_node(run, other).failure)


def test_a_hanging_model_reproduces(tmp_path, monkeypatch):
    """A node of this process that hangs is ended by the watchdog, when recorded and when replayed."""
    monkeypatch.setattr(watchdog, "LOOK_S", 0.01)
    content = document(how="hang", fail_above=60)
    content["nodes"][1]["timeout"] = "80ms"
    run, done = recorded(tmp_path, content)
    again = replay_node(run, "filter")
    assert (True, True, "NodeTimeout") == (again.identical, again.expected_failure, type(again.failure).__name__)
    assert done.failure.step == again.failure.step


def test_a_command_that_ends_early_reproduces(tmp_path):
    """A node of another process too: it is started anew, from the copy in the run."""
    content = document()
    content["nodes"][1] = process(12)
    run, done = recorded(tmp_path, content)
    assert ("failed", "NodeCrashed") == (done.status, type(done.failure).__name__)
    (tmp_path / "system" / "models" / "echo.py").unlink()
    again = replay_node(run, "filter")
    assert (True, True, done.failure.step) == (again.identical, again.expected_failure, again.failure.step)
    assert replay_node(run, "source").identical


def test_a_command_replays_and_can_be_replaced(tmp_path):
    """Another implementation on the recorded inputs: a Python class in the place of a command."""
    content = document()
    content["nodes"][1] = process(10**6)
    run, _ = recorded(tmp_path, content)
    assert replay_node(run, "filter").identical
    (tmp_path / "same.py").write_text(
        "from xtrace.engine.model import Model\n"
        "class Filter(Model):\n"
        "    def on_event(self, event):\n"
        "        total, of = event.payload['dice'], event.payload['count']\n"
        "        self.send('sink', 'sum', {'total': total, 'of': of})\n"
    )
    other = ["implementation=python_model", "model=same.py:Filter"]
    assert replay_node(run, "filter", changes=other, changes_folder=tmp_path).identical
    source = (tmp_path / "same.py").read_text()
    (tmp_path / "same.py").write_text(source.replace("'of': of", "'of': of + (of == 9)"))
    found = replay_node(run, "filter", changes=other, changes_folder=tmp_path).divergence
    assert ("$.of", 9, 10) == (found.field, found.expected, found.actual)


def test_an_interrupted_run_replays(tmp_path):
    """It ends after a whole step; every node replays up to there."""
    asked = itertools.count()
    run, done = recorded(tmp_path, document(), should_stop=lambda: next(asked) >= 30)
    assert ("interrupted", "step") == (done.status, last_row(run).kind)
    for each in ("filter", "network", "sink", "source"):
        again = replay_node(run, each)
        assert (True, None) == (again.identical, again.failure)
        assert last_row(run).step >= again.steps > 10


def test_a_run_that_was_interrupted_before_it_began(tmp_path):
    """No rows, no steps, nothing to say against any node."""
    run, done = recorded(tmp_path, document(), should_stop=lambda: True)
    assert ("interrupted", 0) == (done.status, done.events)
    for each in ("filter", "network", "sink", "source"):
        assert (True, 0) == (replay_node(run, each).identical, replay_node(run, each).outputs)


@pytest.mark.parametrize("name", ["filter", "source", "network"])
def test_the_replay_of_a_failed_run_compares_as_identical(tmp_path, name):
    """With -o too, up to and including the failure."""
    run, _ = recorded(tmp_path, document(fail_above=60))
    replay_node(run, name, out=tmp_path / "again")
    assert [] == verify(tmp_path / "again")
    assert compare(run, Run.open(tmp_path / "again"), nodes=[name]).identical


@pytest.mark.parametrize("name", ["filter", "source", "network"])
def test_the_replay_of_a_failed_run_replays(tmp_path, name):
    """It says how it ended, and is a run like any other."""
    run, _ = recorded(tmp_path, document(fail_above=60))
    replay_node(run, name, out=tmp_path / "again")
    again = Run.open(tmp_path / "again")
    assert ("failed" if name == "filter" else "interrupted") == again.status
    twice = replay_node(again, name)
    assert (True, name == "filter") == (twice.identical, twice.expected_failure)


def test_a_replay_is_as_fast_as_the_node(tmp_path):
    """Nothing else of the system runs: not the source, whose code is gone."""
    run, _ = recorded(tmp_path, document())
    for digest in run.manifest["artefacts"]["source"].values():
        if digest not in run.manifest["artefacts"]["sink"].values():
            (run.path / "objects" / digest).unlink()
    began = time.monotonic()
    assert replay_node(run, "sink").identical
    assert time.monotonic() - began < 10
