"""The lockstep: order, time rules, causes, failures, idle nodes, and what must never matter."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.lockstep import MemoryRecorder, ModelNode, Scripted, Ticker, once, payloads, run

from xtrace.engine import member as member_module
from xtrace.engine.coordinator import Coordinator
from xtrace.engine.errors import NodeCrashed, ProtocolError
from xtrace.engine.event import NEVER, Done, Fate, Output
from xtrace.engine.model import Model
from xtrace.engine.network import Direct, Latency, NetworkModel

PHASES = {kind: phase for phase, kind in enumerate(("input", "output", "drop", "step"))}


def ring(*names, **options):
    """Return tickers in a ring, in the order of `names`."""
    return {name: Ticker(names[(at + 1) % len(names)], **options) for at, name in enumerate(names)}


def lossy(**options):
    return Latency({"base": 700, "jitter": 2_500, "loss": 0.2, **options}, seed=7)


def in_total_order(outcome):
    """Return whether rows are sorted by step, phase, time and source, and the outputs of a node as it emitted them."""
    keys = [(row.step, PHASES[row.kind], row.time_us, row.src.encode()) for row in outcome.rows]
    numbers = Counter()
    for row, payload in zip(outcome.of("output"), payloads(outcome.of("output")), strict=True):
        if row.type == "tick":
            numbers[row.src, row.dst] += 1
            if payload["count"] != numbers[row.src, row.dst]:
                return False
    return keys == sorted(keys)


def test_rows_stand_in_total_order():
    """Steps, phases, then time, source (bytewise) and number: inputs, outputs, drops, and one step row at the end."""
    outcome = run(ring("b", "a", "é", "Z", period_us=300), lossy(), duration_us=20_000)
    assert in_total_order(outcome)
    assert {"input", "output", "drop", "step"} == {row.kind for row in outcome.rows}
    assert all(1 == len(list(rows)) for _, rows in itertools.groupby(r.step for r in outcome.of("step")))


def test_a_recorder_that_swaps_two_rows_is_caught():
    """Planted: the check above sees two neighbours that changed places."""
    outcome = run(ring("a", "b", period_us=300), lossy())
    at = next(at for at, row in enumerate(outcome.rows) if row.kind == "output")
    outcome.rows[at : at + 2] = reversed(outcome.rows[at : at + 2])
    assert not in_total_order(outcome)


def test_many_messages_at_one_time_keep_the_order_of_their_source():
    """Equal times: by source, then as emitted; the payload has no say."""
    nodes = {name: Scripted(lambda *_, name=name: [Output(5, "z", name, 9 - n) for n in range(3)]) for name in "ba"}
    outcome = run({**nodes, "z": Scripted()}, duration_us=2_000)
    expected = [("a", 9), ("a", 8), ("a", 7), ("b", 9), ("b", 8), ("b", 7)]
    assert expected == [(row.src, n) for row, n in zip(outcome.of("input"), payloads(outcome.of("input")), strict=True)][:6]


def test_inputs_are_recorded_before_anybody_advances():
    """What led to a failure is in the log even if the node takes the whole process with it."""
    recorder, seen = MemoryRecorder(), []

    def look(_from_us, until_us, _events):
        seen.append((until_us, [row.kind for row in recorder.rows if row.step == until_us // 1_000]))
        return []

    nodes = {"a": once("b", 100), "b": Scripted(look)}
    Coordinator(nodes, Direct({}, seed=0), recorder, step_us=1_000, duration_us=3_000).run()
    assert [(1_000, []), (2_000, ["input"])] == seen


def test_a_delivery_is_an_input_of_the_step_that_holds_its_time():
    """Due 2,400: an input of step 3 (2,000 to 3,000) at exactly that time, late by nothing."""
    outcome = run({"a": once("b", 400), "b": Scripted()}, Latency({"base": 2_000}, seed=0))
    assert [(3, 2_400, "b", "a", "b", "once", 0)] == [row[:2] + row[3:8] for row in outcome.of("input")]


def test_what_is_due_within_the_step_is_late_and_says_by_how_much():
    """Never silently: sent at 400 and due at 450, it arrives at 1,000, 550 us late."""
    outcome = run({"a": once("b", 400), "b": Scripted()}, Latency({"base": 50}, seed=0))
    assert [(2, 1_000, 550)] == [(row.step, row.time_us, row.late_us) for row in outcome.of("input")]


def test_the_causes_of_a_message_are_followed_row_by_row():
    """An input names its output, an output the inputs that its node names, a drop the lost output."""
    answers = Scripted(lambda _, until_us, events: [Output(until_us - 1, "a", "re", {"count": 0}, (e.id,)) for e in events])
    outcome = run({"a": Ticker("b"), "b": answers}, lossy(), duration_us=30_000)
    rows, causes = outcome.rows, outcome.recorder.causes
    seen = Counter()
    for row, cause in zip(rows, causes, strict=True):
        if row.kind in ("input", "drop"):
            (seq,) = cause
            assert ("output", row.src, row.dst, row.type) == (rows[seq].kind, *rows[seq][4:7])
        if row.type == "re" and row.kind == "output":
            (seq,) = cause
            assert ("input", "b") == (rows[seq].kind, rows[seq].node)
            seen[seq] += 1
    assert len(seen) > 10
    assert {1} == {*seen.values()}


def test_without_a_cause_all_inputs_of_the_step_are_it():
    """cause=None stands for the inputs of this step; none came, none is named."""
    lazy = Scripted(lambda _, until_us, events: Done([Output(until_us - 1, "", "sum")], 0))
    outcome = run({"a": Ticker("z", period_us=500), "z": lazy}, duration_us=3_000)
    inputs = {step: [at for at, row in enumerate(outcome.rows) if (row.kind, row.step) == ("input", step)] for step in (1, 2, 3)}
    sums = {row.step: list(cause) for row, cause in zip(outcome.rows, outcome.recorder.causes, strict=True) if row.type == "sum"}
    assert ({1: [], 2: inputs[2], 3: inputs[3]}, 2) == (sums, len(inputs[2]))


@pytest.mark.parametrize("cause", [(0,), (2,), (-1,), (1, 99)])
def test_a_cause_that_is_no_input_is_refused(cause):
    """Ids that the node never got name the node, the id, and what would be possible."""
    outcome = run({"a": once("b", 0), "b": once("", 1_500, cause=cause)})
    assert isinstance(outcome.failure, ProtocolError)
    wrong = next(each for each in cause if each != 1)
    assert f"an output names input {wrong} as its cause: its inputs so far are 1 to 1" in outcome.failure.reason


def test_causes_are_remembered_for_long_but_not_for_ever(monkeypatch):
    """The last CAUSE_HISTORY inputs can always be named; memory does not grow with the run."""
    monkeypatch.setattr(member_module, "CAUSE_HISTORY", 4)

    def naming(back):
        def answer(_from_us, until_us, events):
            return [Output(until_us - 1, "", "named", None, (max(events[-1].id - back, 1),))] if events else []

        return run({"a": Ticker("b"), "b": Scripted(answer)}, duration_us=30_000)

    fine, far = naming(3), naming(9)
    assert fine.failure is None
    named = [(row, cause) for row, cause in zip(fine.rows, fine.recorder.causes, strict=True) if row.type == "named"]
    assert [max(n - 3, 1) for n in range(1, len(named) + 1)] == [payload["count"] for payload in payloads([fine.rows[c[0]] for _, c in named])]
    assert isinstance(far.failure, ProtocolError)
    assert "it can name the last 4" in far.failure.reason
    assert len(fine.coordinator.members["b"]._input_seqs) <= 8


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
    assert "ZeroDivisionError: too much (test_coordinator.py:" in outcome.failure.reason
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


def test_idle_nodes_are_not_advanced_and_idle_time_is_jumped_over():
    """A node that said when it is next due is left alone until then; then it learns from where it comes."""
    nodes = {"a": ModelNode(Ticker("", period_us=50_000)), "b": Scripted(), "c": ModelNode(Model())}
    outcome = run(nodes, duration_us=200_000)
    assert [(0, 1_000), (1_000, 51_000), (51_000, 101_000), (101_000, 151_000)] == nodes["a"].advances
    assert [(0, 1_000)] == nodes["b"].advances == nodes["c"].advances
    assert [1, 51, 101, 151] == [row.step for row in outcome.of("step")], "on the step grid, and nothing in the log between"


def test_an_input_wakes_an_idle_node_and_replaces_its_plan():
    """Woken early, it may plan anew; the old wake-up is void."""
    sleeper = Scripted(lambda _, until_us, events: Done([], NEVER if events else 8_000))
    run({"a": once("s", 3_000), "s": sleeper})
    assert [(0, 1_000), (1_000, 5_000)] == sleeper.advances
    assert [(1, 4_000)] == [(event.id, event.time_us) for event in sleeper.received]


def test_next_time_0_means_every_step():
    """A node without a plan is advanced in each step."""
    outcome = run({"a": Scripted(lambda *_: Done([], 0))}, duration_us=5_500)
    assert [(0, 1_000), (1_000, 2_000), (2_000, 3_000), (3_000, 4_000), (4_000, 5_000), (5_000, 5_500)] == (
        outcome.coordinator.members["a"].node.advances
    ), "the last step is cut at the duration"


def test_what_is_under_way_at_the_end_is_dropped_by_name():
    """Nothing vanishes: a drop at the end of the run for each, in total order, with the time it would have arrived."""
    nodes = {"b": once("c", 9_400), "a": once("c", 9_700), "c": Scripted()}
    outcome = run(nodes, Latency({"base": 5_000, "links": [{"src": "a", "dst": "c", "base": 6_000}]}, seed=0))
    drops = outcome.of("drop")
    assert [(11, 10_000, "network", "a", "c"), (11, 10_000, "network", "b", "c")] == [row[:2] + row[3:6] for row in drops]
    assert [{"due_us": 15_700, "reason": "end_of_run"}, {"due_us": 14_400, "reason": "end_of_run"}] == payloads(drops)
    assert ("step", 11, 10_000) == (outcome.rows[-1].kind, outcome.rows[-1].step, outcome.rows[-1].time_us)
    assert in_total_order(outcome)


def test_every_message_has_one_end():
    """Each output to somebody is an input or a drop, exactly once."""
    outcome = run(ring("a", "b", "c", period_us=333), lossy(), duration_us=50_000)
    ends = Counter(outcome.recorder.causes[at][0] for at, row in enumerate(outcome.rows) if row.kind in ("input", "drop"))
    sent = [at for at, row in enumerate(outcome.rows) if row.kind == "output" and row.dst]
    assert dict.fromkeys(sent, 1) == ends
    assert {"loss", "end_of_run"} == {each["reason"] for each in payloads(outcome.of("drop"))}


def test_the_order_in_which_nodes_are_given_never_matters():
    """Any permutation of the nodes gives the same rows and causes."""
    names = ("a", "b", "c", "d")
    recorders = [
        run({name: ring(*names, period_us=700)[name] for name in order}, lossy()).recorder
        for order in itertools.permutations(names)
    ]
    assert all((recorders[0].rows, recorders[0].causes) == (each.rows, each.causes) for each in recorders)


def test_a_node_that_nobody_talks_to_changes_no_row_of_others():
    """Metamorphic: an added bystander, busy as it may be, leaves the rest bit for bit as it was."""
    alone = run(ring("b", "d", period_us=700), lossy())
    for name in ("a", "c", "e"):
        more = run({**ring("b", "d", period_us=700), name: Ticker("", period_us=100)}, lossy())
        others = [row for row in more.rows if row.kind != "step" and row.node != name]
        assert [row for row in alone.rows if row.kind != "step"] == others
        assert len(more.rows) > len(alone.rows)


EDGES = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=8, unique=True)


def times_of(outcome):
    """Return the rows without their steps, in order of time."""
    rows = [(r.time_us, r.kind, r.src, r.dst, r.type, r.late_us, r.payload) for r in outcome.rows if r.kind in ("input", "output")]
    return sorted(rows)


def system(edges, periods):
    return {name: Ticker(*[dst for src, dst in edges if src == name], period_us=periods[name]) for name in "abcd"}


@given(
    edges=EDGES,
    periods=st.fixed_dictionaries({name: st.integers(400, 3_000) for name in "abcd"}),
    step_us=st.integers(100, 1_000),
    jitter_us=st.integers(0, 1_500),
)
@settings(max_examples=40)
def test_with_latencies_of_a_step_or_more_the_step_does_not_matter(edges, periods, step_us, jitter_us):
    """Times, payloads and order are the physics; steps are only how they are computed."""

    def trace(step_us):
        network = Latency({"base": 1_000, "jitter": jitter_us, "loss": 0.1, "bandwidth": "1Mbps"}, seed=3)
        return times_of(run(system(edges, periods), network, step_us=step_us, duration_us=9_000))

    assert trace(1_000) == trace(step_us)


def test_with_latencies_below_the_step_it_does_matter():
    """The unpleasant half of the promise: shorter latencies are rounded up to the step, and late_us says so."""
    traces = [times_of(run(ring("a", "b", period_us=700), Latency({"base": 500}, seed=1), step_us=each)) for each in (500, 1_000)]
    assert traces[0] != traces[1]
    assert all(row[5] == 0 for row in traces[0])
    assert any(row[5] > 0 for row in traces[1])


def test_a_run_that_is_asked_to_stop_ends_after_a_whole_step():
    """No abort, no closing step, no half step."""
    asked = itertools.count()
    outcome = run(ring("a", "b"), should_stop=lambda: next(asked) >= 4)
    assert outcome.coordinator.stopped
    assert (4, "step") == (outcome.rows[-1].step, outcome.rows[-1].kind)
    whole = run(ring("a", "b"))
    assert whole.rows[: len(outcome.rows)] == outcome.rows
    assert not whole.coordinator.stopped


def test_progress_is_told_after_each_step():
    """on_step gets the virtual time that was reached."""
    reached = []
    run(ring("a", "b"), duration_us=2_500, on_step=reached.append)
    assert [1_000, 2_000, 2_500] == reached


def test_what_nodes_cost_is_measured_with_the_clock_that_was_given():
    """The wall clock enters by parameter and influences nothing that is recorded."""
    ticks = itertools.count(0, 10)
    outcome = run(ring("a", "b"), clock_ns=lambda: next(ticks))
    assert {"a": 100, "b": 100} == outcome.coordinator.spent_ns()
    assert outcome.rows == run(ring("a", "b")).rows


class BadNetwork(NetworkModel):
    def __init__(self, decide):
        self.decide = decide

    def advance(self, until_us, messages):
        return [self.decide(message) for message in messages]


@pytest.mark.parametrize(
    ("decide", "kind", "reason"),
    [
        (lambda message: 1 / 0, NodeCrashed, "ZeroDivisionError"),
        (lambda message: Fate(message, message.time_us - 1), ProtocolError, "sent at 0 us would be due before that, at -1 us"),
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
