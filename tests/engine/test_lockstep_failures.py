"""Failures in the lockstep: named, placed in virtual time, recorded, and the same whoever else failed."""

from __future__ import annotations

import itertools

import pytest
from tests.engine.lockstep import Scripted, Ticker, payloads, run

from xtrace.engine.errors import NodeCrashed, ProtocolError
from xtrace.engine.event import Done, Fate, Output
from xtrace.engine.model import Model
from xtrace.engine.network import NetworkModel

BROKEN = {
    "at the end of the step": ([Output(2_000, "", "x")], "time 2000 us, which is outside of [1000, 2000)"),
    "before the step": ([Output(999, "", "x")], "time 999 us, which is outside of [1000, 2000)"),
    "negative": ([Output(-1, "", "x")], "time -1 us, which is outside of"),
    "a float as time": ([Output(1_500.0, "", "x")], "an integer as time"),
    "a bool as time": ([Output(True, "", "x")], "an integer as time"),
    "no text as type": ([Output(1_500, "", 5)], "text as dst and type"),
    "no text as dst": ([Output(1_500, None, "x")], "text as dst and type"),
    "a list as dst": ([Output(1_500, ["a"], "x")], "text as dst and type"),
    "an unknown dst": ([Output(1_500, "nobody", "x")], "goes to 'nobody', which is no node"),
    "the network as dst": ([Output(1_500, "network", "x")], "goes to 'network', which is no node"),
    "no value as payload": ([Output(1_500, "", "x", {"a": {1}})], "can't be recorded: $.a: a set"),
    "a cause that is no number": ([Output(1_500, "", "x", None, ("1",))], "names input '1' as its cause"),
    "a cause though nothing came in": ([Output(1_500, "", "x", None, (0,))], "names input 0 as its cause"),
    "something else than outputs": (["nonsense"], "no Done with a list of Outputs"),
    "nothing": (None, "no Done with a list of Outputs"),
    "a number": (7, "no Done with a list of Outputs"),
    "a next time that is no number": (Done([], "soon"), "next_time_us"),
    "a fractional next time": (Done([], 5_000.0), "next_time_us"),
}


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_ends_the_run_and_names_the_node(answer, reason):
    """The outputs of the whole step are discarded, and one abort row says who broke which rule."""
    bad = Scripted(lambda from_us, *_: answer if from_us == 1_000 else Done([], 0))
    outcome = run({"a": Ticker("m"), "m": bad, "z": Ticker("m")})
    assert isinstance(outcome.failure, ProtocolError)
    assert ("m", 2, 1_000) == (outcome.failure.node, outcome.failure.step, outcome.failure.time_us)
    assert reason in outcome.failure.reason
    last = [row for row in outcome.rows if row.step == 2]
    assert ["input", "input", "abort"] == [row.kind for row in last], "no outputs, no step row"
    assert (1_000, "m", "", "") == (last[-1].time_us, *last[-1][3:6])
    assert [{"error": "ProtocolError", "reason": outcome.failure.reason}] == payloads(last[-1:])


class Crashing(Model):
    def on_init(self):
        self.schedule(2_500, self.fall)

    def fall(self):
        raise ZeroDivisionError("too much")


def test_a_crash_names_node_place_and_time():
    """An exception of a node is a failure of that node, with the line that raised it."""
    outcome = run({"a": Ticker("b"), "b": Crashing()})
    assert isinstance(outcome.failure, NodeCrashed)
    assert ("b", 3, 2_000) == (outcome.failure.node, outcome.failure.step, outcome.failure.time_us)
    assert "ZeroDivisionError: too much (test_lockstep_failures.py:" in outcome.failure.reason
    assert "in fall)" in outcome.failure.reason


def test_of_several_failures_the_first_in_order_of_nodes_is_reported():
    """Whatever order they stand in, and whether a node raises or breaks a rule."""
    lying = Scripted(lambda from_us, *_: [Output(-1, "", "x")] if from_us == 2_000 else Done([], 0))
    for names in itertools.permutations("abc"):
        failing = {name: Crashing() for name in names}
        assert "a" == run(failing).failure.node
        assert "a" == run({**failing, "a": lying}).failure.node, "a broken rule counts as much as a crash"
        assert "a" == run({**failing, "c": lying}).failure.node


def test_a_failing_init_is_step_0():
    """All nodes are tried, the first in order is reported, and the log holds nothing but why."""

    class Unable(Model):
        def on_init(self):
            raise RuntimeError(self.node_id)

    outcome = run({"c": Unable(), "b": Unable(), "a": Ticker("b")})
    assert ("b", 0, 0) == (outcome.failure.node, outcome.failure.step, outcome.failure.time_us)
    assert [("abort", "b", 0, 0)] == [(row.kind, row.node, row.step, row.time_us) for row in outcome.rows]


class BadNetwork(NetworkModel):
    def __init__(self, decide):
        self.decide = decide

    def advance(self, until_us, messages):
        return [self.decide(message) for message in messages]


@pytest.mark.parametrize(
    ("decide", "kind", "reason"),
    [
        (lambda message: 1 / 0, NodeCrashed, "ZeroDivisionError"),
        (
            lambda message: Fate(message, message.time_us - 1),
            ProtocolError,
            "sent at 0 us would be due before that, at -1 us",
        ),
        (lambda message: Fate(message, message.time_us - 1, "gone"), ProtocolError, "due before that"),
    ],
    ids=["raises", "too early", "lost too early"],
)
def test_a_failing_network_is_a_failing_node(decide, kind, reason):
    """It is named `network`; what it was given stays in the log, so that its failure can be replayed."""
    outcome = run({"a": Ticker("b"), "b": Model()}, BadNetwork(decide))
    assert isinstance(outcome.failure, kind)
    assert ("network", 1) == (outcome.failure.node, outcome.failure.step)
    assert reason in outcome.failure.reason
    assert ["output", "abort"] == [row.kind for row in outcome.rows]
