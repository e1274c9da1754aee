"""Nodes of this process that hang: ended by name, in the main thread only."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest
from tests.engine.lockstep import MemoryRecorder, ModelNode, Ticker

from xtrace.engine import watchdog as watchdog_module
from xtrace.engine.coordinator import Coordinator, never
from xtrace.engine.errors import Interrupted, NodeCrashed, NodeTimeout
from xtrace.engine.model import Model
from xtrace.engine.network import Direct
from xtrace.engine.node import Setup
from xtrace.engine.watchdog import Watchdog

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(watchdog_module, "LOOK_S", 0.005)
    monkeypatch.setattr(watchdog_module, "STOP_S", 0.05)


class Hanging(Model):
    """Hangs at 2,000 us; goes on hanging after the first `swallows` interruptions."""

    def __init__(self, swallows=0):
        self.swallows = swallows
        self.interrupted = 0

    def on_init(self):
        self.schedule(2_000, self.hang)

    def hang(self):
        while True:
            try:
                wait()
            except Exception:
                self.interrupted += 1
                if self.interrupted > self.swallows:
                    raise


def wait():
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(0.001)
    raise AssertionError("nobody came")


def watched(nodes, *, should_stop=never, timeout_us=60_000):
    """Return the recorder and what was raised by a run under a watchdog."""
    recorder = MemoryRecorder()
    members = {name: ModelNode(model) for name, model in nodes.items()}
    for node in members.values():
        node.timeout_us = timeout_us
    coordinator = Coordinator(
        members, Direct({}, seed=0), recorder, step_us=1_000, duration_us=5_000, should_stop=should_stop
    )
    raised = None
    with Watchdog(coordinator, should_stop=should_stop):
        try:
            coordinator.init({name: Setup(name, "test", 1, {}) for name in nodes})
            coordinator.run()
        except (NodeTimeout, Interrupted) as error:
            raised = error
    return recorder, raised


def test_a_hanging_node_ends_with_its_name():
    """The run aborts in the step in which the node hangs; the others are not blamed."""
    recorder, raised = watched({"a": Ticker("b"), "b": Hanging(), "c": Ticker("b")})
    assert isinstance(raised, NodeTimeout)
    assert ("b", 3, 2_000) == (raised.node, raised.step, raised.time_us)
    assert "node 'b' did not answer in step 3, virtual time 0.002000s: no answer within 60ms" == str(raised)
    assert ("abort", "b") == (recorder.rows[-1].kind, recorder.rows[-1].node)


def test_a_node_that_hangs_at_its_start():
    """on_init is watched too, as step 0."""

    class Unready(Model):
        def on_init(self):
            wait()

    _, raised = watched({"a": Ticker(""), "b": Unready()})
    assert ("b", 0) == (raised.node, raised.step)


def test_a_node_that_swallows_the_interruption_is_interrupted_again():
    """`except Exception: pass` around an endless loop doesn't keep a node alive: the second time it is no Exception."""
    model = Hanging(swallows=1_000)
    _, raised = watched({"a": model}, timeout_us=30_000)
    assert ("a", 1) == (raised.node, model.interrupted)
    assert isinstance(raised, NodeTimeout)


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, SystemExit])
def test_whatever_a_model_raises_is_its_failure(error):
    """Not only what derives from Exception: the run ends with the node's name, not with a traceback."""

    class Raising(Ticker):
        def tick(self):
            raise error

    recorder = MemoryRecorder()
    coordinator = Coordinator(
        {"a": ModelNode(Raising(""))}, Direct({}, seed=0), recorder, step_us=1_000, duration_us=5_000
    )
    coordinator.init({"a": Setup("a", "test", 1, {})})
    with pytest.raises(NodeCrashed, match=error.__name__):
        coordinator.run()
    assert "abort" == recorder.rows[-1].kind


def test_a_slow_node_within_its_time_is_left_alone():
    """Each advance has its own time limit, not the run."""

    class Slow(Ticker):
        def tick(self):
            time.sleep(0.03)
            super().tick()

    recorder, raised = watched({"a": Slow(""), "b": Slow("")})
    assert raised is None
    assert (5, "step") == (recorder.rows[-1].step, recorder.rows[-1].kind)


def test_a_run_that_is_to_stop_does_not_wait_for_a_hanging_node():
    """Ctrl-C while a node hangs ends the run as interrupted, long before the node's time limit; nobody is to blame."""
    began = time.monotonic()
    recorder, raised = watched(
        {"a": Ticker(""), "b": Hanging()}, should_stop=lambda: time.monotonic() > began + 0.1, timeout_us=60_000_000
    )
    assert isinstance(raised, Interrupted)
    assert "stopped while node 'b' was running" in str(raised)
    assert time.monotonic() - began < 5
    assert (2, "step") == (recorder.rows[-1].step, recorder.rows[-1].kind), "no abort row"


def test_the_signal_handler_of_others_comes_back():
    """A program that embeds xtrace keeps its own SIGALRM."""
    before = signal.getsignal(signal.SIGALRM)
    watched({"a": Ticker("")})
    assert before is signal.getsignal(signal.SIGALRM)
    assert [] == [thread.name for thread in threading.enumerate() if thread.name == "xtrace-watchdog"]


def test_outside_of_the_main_thread_there_is_no_watchdog():
    """Signals reach the main thread only, so a run in another thread goes unwatched, and runs."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(watched({"a": Ticker("")}, timeout_us=1)))
    thread.start()
    thread.join()
    ((recorder, raised),) = answers
    assert raised is None
    assert 5 == recorder.rows[-1].step
