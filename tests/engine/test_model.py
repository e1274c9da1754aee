"""The base class of models: order of callbacks, causes, timers, and independence of the step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.engine import model as model_module
from xtrace.engine.event import NEVER, Event, Output
from xtrace.engine.model import Model
from xtrace.engine.node import Setup


def started(model, *, seed=1, **config):
    model.start(Setup("m", "test", seed, config))
    return model


def outputs(model, *, until_us, events=(), step_us=None):
    """Advance from 0 to `until_us` in steps of `step_us` and return what was emitted."""
    emitted, from_us = [], 0
    while from_us < until_us:
        to_us = min(from_us + (step_us or until_us), until_us)
        given_now = [event for event in events if from_us <= event.time_us < to_us]
        emitted += model.advance(from_us, to_us, given_now).outputs
        from_us = to_us
    return emitted


def event(id, time_us, payload=None):
    return Event(id, time_us, "src", "in", payload)


class Scripted(Model):
    """Calls `init(self)` and `react(self, event)`."""

    def __init__(self, init=lambda self: None, react=lambda self, event: None):
        self.init, self.react = init, react

    def on_init(self):
        self.init(self)

    def on_event(self, event):
        self.react(self, event)


def test_start_sets_what_a_model_may_read():
    """Id, type, configuration, a seeded source of randomness and the time are there in on_init."""
    seen = {}
    model = Scripted(lambda self: seen.update(vars(self)))
    model.start(Setup("edge", "inference", 7, {"window": 3}))
    assert ("edge", "inference", {"window": 3}, 0) == tuple(
        seen[key] for key in ("node_id", "type", "config", "now_us")
    )
    assert started(Scripted(), seed=7).random.random() == model.random.random()
    assert started(Scripted(), seed=8).random.random() != started(Scripted(), seed=7).random.random()


def test_inputs_come_before_timers_and_timers_in_the_order_they_were_set():
    """At equal times: inputs, then timers first set first; earlier timers come before a later input."""

    def init(self):
        for name, delay_us in (("late", 20), ("first", 10), ("second", 10), ("early", 5)):
            self.schedule(delay_us, self.observe, name, None)

    model = started(Scripted(init, lambda self, event: self.observe("input", event.id)))
    emitted = outputs(model, until_us=30, events=[event(1, 10), event(2, 10), event(3, 20)])
    expected = [(5, "early"), (10, "input"), (10, "input"), (10, "first"), (10, "second"), (20, "input"), (20, "late")]
    assert expected == [(each.time_us, each.type) for each in emitted]


def test_a_timer_set_for_now_fires_within_the_same_step():
    """A delay of 0 runs after what is already due now."""
    order = []

    def init(self):
        self.schedule(5, order.append, "b")

    def react(self, event):
        self.schedule(0, order.append, "c")
        order.append("a")

    model = started(Scripted(init, react))
    model.advance(0, 10, [event(1, 5)])
    assert ["a", "b", "c"] == order


def test_causes_are_exact_through_timers_and_delays():
    """What a timer sends is caused by the input that armed it, not by the last one; on_init causes nothing."""

    def react(self, event):
        self.send("x", "now", event.id)
        self.send("x", "delayed", event.id, delay_us=50)
        self.schedule(60, lambda: self.schedule(10, self.send, "x", "chained", event.id))

    model = started(Scripted(lambda self: self.schedule(55, self.send, "x", "own"), react))
    emitted = outputs(model, until_us=200, events=[event(1, 10), event(2, 20), event(3, 58)])
    assert 10 == len(emitted)
    for each in emitted:
        assert (() if each.type == "own" else (each.payload,)) == each.cause
    assert [60, 70, 108] == [each.time_us for each in emitted if each.type == "delayed"]


def test_a_periodic_timer_keeps_the_cause_that_started_it():
    """Ticks name the input that started them for as long as the coordinator remembers it."""
    model = started(Scripted(react=lambda self, event: self.schedule_periodic(10, self.observe, "tick", None)))
    assert [(1,)] * 4 == [each.cause for each in outputs(model, until_us=50, events=[event(1, 5)])]


def test_a_cause_that_is_forgotten_is_left_out(monkeypatch):
    """A timer that outlives the memory of causes names none, rather than breaking the protocol."""
    monkeypatch.setattr(model_module, "CAUSE_HISTORY", 3)

    def react(self, event):
        if event.id == 1:
            self.schedule_periodic(10, self.observe, "tick", None)

    model = started(Scripted(react=react))
    emitted = outputs(model, until_us=60, events=[event(each + 1, 10 * each) for each in range(6)])
    assert [(10, (1,)), (20, (1,)), (30, ()), (40, ()), (50, ())] == [(each.time_us, each.cause) for each in emitted]


def test_periods():
    """First after one period or after `first_us`, then for ever; arguments are passed on."""
    model = started(Scripted(lambda self: self.schedule_periodic(10, self.observe, "a", 1)))
    assert [10, 20, 30] == [each.time_us for each in outputs(model, until_us=31)]
    model = started(Scripted(lambda self: self.schedule_periodic(10, self.observe, "a", 1, first_us=0)))
    assert [Output(0, "", "a", 1, ()), Output(10, "", "a", 1, ())] == outputs(model, until_us=20)


def test_an_empty_destination_records_only():
    """observe() is send() to nobody."""
    model = started(Scripted(lambda self: self.schedule(0, self.observe, "level", 3)))
    assert [Output(0, "", "level", 3, ())] == outputs(model, until_us=1)


def test_done_says_when_the_model_next_wants_to_run():
    """The next timer, or NEVER; due timers are not pending any more."""
    model = started(Scripted(lambda self: self.schedule(10, self.observe, "a", None)))
    assert 10 == model.advance(0, 10, []).next_time_us
    assert NEVER == model.advance(10, 11, []).next_time_us


@pytest.mark.parametrize(
    ("delay_us", "reason"), [(-1, "1 us into the past"), (1e6, "whole"), (0.5, "whole"), ("1", "whole")]
)
def test_a_delay_is_a_whole_number_of_microseconds_from_now_on(delay_us, reason):
    """A negative delay or 1e6 fails where it is written, not somewhere in the coordinator."""
    model = started(Scripted())
    with pytest.raises(ValueError, match=reason):
        model.schedule(delay_us, print)
    with pytest.raises(ValueError, match=reason):
        model.send("x", "y", delay_us=delay_us)


@pytest.mark.parametrize("period_us", [0, -5])
def test_a_period_must_advance_time(period_us):
    """A period of 0 would never end."""
    with pytest.raises(ValueError, match="a period must be at least 1 us"):
        started(Scripted()).schedule_periodic(period_us, print)


class Busy(Model):
    """Timers, randomness and inputs entangled: any dependence on the step would show."""

    def on_init(self):
        self.level = 0
        self.schedule_periodic(7, self.tick)
        self.schedule_periodic(13, self.tick, first_us=0)

    def tick(self):
        self.level += self.random.randrange(10)
        self.send("x", "level", self.level, delay_us=self.random.randrange(20))

    def on_event(self, event):
        self.level -= event.payload
        self.observe("in", [event.id, self.level])
        if self.level % 3 == 0:
            self.schedule(self.level % 11, self.tick)


@given(st.lists(st.integers(0, 199), max_size=30).map(sorted))
def test_the_size_of_the_step_does_not_matter_to_a_model(times_us):
    """Advanced by 1, 7 or 1,000 us, a model emits the same: state, randomness, causes and order."""
    events = [event(id, time_us, id % 4) for id, time_us in enumerate(times_us, 1)]
    whole, sevens, ones = (
        sorted(outputs(started(Busy()), until_us=200, events=events, step_us=step_us), key=lambda each: each.time_us)
        for step_us in (1_000, 7, 1)
    )
    assert whole == sevens == ones
    assert len(whole) > 20


class Impatient(Busy):
    """Planted: asks how far it may go, which the step decides."""

    def advance(self, from_us, until_us, events):
        self.level += 1
        return super().advance(from_us, until_us, events)


def test_a_model_that_depends_on_the_step_is_caught():
    """The comparison above fails for a model that counts its steps."""
    whole, ones = (outputs(started(Impatient()), until_us=200, step_us=step_us) for step_us in (1_000, 1))
    assert whole != ones


def test_what_was_sent_stays_as_it_was():
    """A payload that the model goes on changing is recorded as it was when it was sent, whatever the step."""

    class Counter(Model):
        def on_init(self):
            self.state = {"n": 0, "seen": []}
            self.schedule_periodic(100, self.count)

        def count(self):
            self.state["n"] += 1
            self.state["seen"].append(self.state["n"])
            self.send("", "now", self.state)
            self.send("", "later", self.state, delay_us=50)

    model = Counter()
    model.start(Setup("a", "counter", 1, {}))
    outputs = model.advance(0, 1_000, []).outputs
    assert [1, 2, 3] == [each.payload["n"] for each in outputs if each.type == "now"][:3]
    assert [[1], [1, 2], [1, 2, 3]] == [each.payload["seen"] for each in outputs if each.type == "later"][:3]
