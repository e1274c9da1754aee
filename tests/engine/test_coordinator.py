"""The lockstep: order, time rules, causes, idle nodes, and what must never matter."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.lockstep import MemoryRecorder, ModelNode, Scripted, Ticker, once, payloads, run

from xtrace.engine import member as member_module
from xtrace.engine.coordinator import Coordinator
from xtrace.engine.errors import ProtocolError
from xtrace.engine.event import NEVER, Done, Output
from xtrace.engine.model import Model
from xtrace.engine.network import Direct, Latency

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
    inputs = outcome.of("input")
    assert ["a", "a", "a", "b", "b", "b"] == [row.src for row in inputs]
    assert [9, 8, 7, 9, 8, 7] == payloads(inputs)


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
    answers = Scripted(
        lambda _, until_us, events: [Output(until_us - 1, "a", "re", {"count": 0}, (e.id,)) for e in events]
    )
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
    inputs = {1: (), 2: (), 3: ()}
    for at, row in enumerate(outcome.rows):
        if row.kind == "input":
            inputs[row.step] += (at,)
    rows = zip(outcome.rows, outcome.recorder.causes, strict=True)
    assert inputs == {row.step: cause for row, cause in rows if row.type == "sum"}
    assert [0, 2, 2] == [len(each) for each in inputs.values()]


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
    causes = [cause for row, cause in zip(fine.rows, fine.recorder.causes, strict=True) if row.type == "named"]
    counts = [payload["count"] for payload in payloads([fine.rows[seq] for (seq,) in causes])]
    assert [max(n - 3, 1) for n in range(1, len(causes) + 1)] == counts
    assert isinstance(far.failure, ProtocolError)
    assert "it can name the last 4" in far.failure.reason
    assert len(fine.coordinator.members["b"]._input_seqs) <= 8


def test_idle_nodes_are_not_advanced_and_idle_time_is_jumped_over():
    """A node that said when it is next due is left alone until then; then it learns from where it comes."""
    nodes = {"a": ModelNode(Ticker("", period_us=50_000)), "b": Scripted(), "c": ModelNode(Model())}
    outcome = run(nodes, duration_us=200_000)
    assert [(0, 1_000), (1_000, 51_000), (51_000, 101_000), (101_000, 151_000)] == nodes["a"].advances
    assert [(0, 1_000)] == nodes["b"].advances == nodes["c"].advances
    assert [1, 51, 101, 151] == [row.step for row in outcome.of("step")], "on the step grid, no row in between"


def test_an_input_wakes_an_idle_node_and_replaces_its_plan():
    """Woken early, it may plan anew; the old wake-up is void."""
    sleeper = Scripted(lambda _, until_us, events: Done([], NEVER if events else 8_000))
    run({"a": once("s", 3_000), "s": sleeper})
    assert [(0, 1_000), (1_000, 5_000)] == sleeper.advances
    assert [(1, 4_000)] == [(event.id, event.time_us) for event in sleeper.received]


def test_plans_do_not_pile_up():
    """A node that is woken in each step and always waits for the same moment has one plan, not one per step."""
    nodes = {"a": ModelNode(Ticker("w")), "w": Scripted(lambda *_: Done([], 90_000))}
    asked = itertools.count()
    outcome = run(nodes, duration_us=100_000, should_stop=lambda: next(asked) >= 50)
    assert 50 == len(nodes["w"].advances)
    assert 2 >= sum(map(len, outcome.coordinator._wakes.values()))


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
    expected = [(11, 10_000, "network", "a", "c"), (11, 10_000, "network", "b", "c")]
    assert expected == [row[:2] + row[3:6] for row in drops]
    assert [15_700, 14_400] == [payload["due_us"] for payload in payloads(drops)]
    assert ["end_of_run"] * 2 == [payload["reason"] for payload in payloads(drops)]
    assert ("step", 11, 10_000) == (outcome.rows[-1].kind, outcome.rows[-1].step, outcome.rows[-1].time_us)
    assert in_total_order(outcome)


def test_every_message_has_one_end():
    """Each output to somebody is an input or a drop, exactly once."""
    outcome = run(ring("a", "b", "c", period_us=333), lossy(), duration_us=50_000)
    rows = zip(outcome.rows, outcome.recorder.causes, strict=True)
    ends = Counter(cause[0] for row, cause in rows if row.kind in ("input", "drop"))
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
    """Return the events without their steps, in order of time."""
    return sorted(row[1:] for row in outcome.of("input", "output"))


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

    def trace(step_us):
        return times_of(run(ring("a", "b", period_us=700), Latency({"base": 500}, seed=1), step_us=step_us))

    traces = [trace(500), trace(1_000)]
    assert traces[0] != traces[1]
    assert all(row[6] == 0 for row in traces[0])
    assert any(row[6] > 0 for row in traces[1])


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
