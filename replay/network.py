"""Runs the network model alone: it gets the recorded messages step by step, and its decisions are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from xtrace.capture.blocks import StoredRow
from xtrace.capture.reader import Run
from xtrace.engine.deliveries import Deliveries, Delivery, Drop, drop_payload, undelivered
from xtrace.engine.event import Message
from xtrace.engine.network import NetworkModel
from xtrace.engine.recorder import NETWORK, Row
from xtrace.replay.payloads import Given
from xtrace.replay.recorded import end_of, network_steps
from xtrace.replay.steps import ReplayedStep


def replay_network(run: Run, network: NetworkModel, given: Given) -> Iterator[ReplayedStep]:
    """Yield every step: the messages given, and the recorded and the actual deliveries and drops.

    A decision shows in the step in which the message arrives or is lost. Raises NodeFailure if the model fails.
    """
    step_us, duration_us = run.manifest["step_us"], run.manifest["duration_us"]
    closing_step = -(-duration_us // step_us) + 1
    deliveries = Deliveries(step_us=step_us, duration_us=duration_us)
    sent: Counter[str] = Counter()
    last_whole_step = end_of(run).last_whole_step
    for step, stored in network_steps(run):
        if run.holes and step > last_whole_step:  # what was sent before is lost
            return
        while deliveries.next_step() < min(step, closing_step):
            yield _unrecorded(deliveries, step_us, duration_us)
        until_us = min(step * step_us, duration_us)
        waiting = deliveries.take(step)
        if step > last_whole_step:  # it was to be; what the network had decided before was handed over
            arrived = [each.row for each in stored if each.row.kind == "input"]
            if arrived or waiting:
                yield ReplayedStep(step, until_us, [], arrived, _arrived(step, waiting))
            return
        messages = [message for message in _messages(stored, sent, given) if message.dst]
        if step == closing_step:
            actual = _dropped(step, undelivered(waiting, end_us=duration_us))
        else:
            actual = _arrived(step, waiting)
            actual += _dropped(step, deliveries.route(network.advance(until_us, messages), until_us=until_us))
        expected = [each.row for each in stored if each.row.kind in ("input", "drop")]
        outputs = [each.row for each in stored if each.row.kind == "output"]
        yield ReplayedStep(step, until_us, outputs, expected, actual)
    while run.status == "complete" and deliveries.next_step() < closing_step:
        yield _unrecorded(deliveries, step_us, duration_us)
    left = deliveries.take(closing_step) if run.status == "complete" else []
    if left:
        dropped = _dropped(closing_step, undelivered(left, end_us=duration_us))
        yield ReplayedStep(closing_step, duration_us, [], [], dropped)


def _unrecorded(deliveries: Deliveries, step_us: int, duration_us: int) -> ReplayedStep:
    """Return the next step with deliveries, of which the record has none."""
    step = deliveries.next_step()
    return ReplayedStep(step, min(step * step_us, duration_us), [], [], _arrived(step, deliveries.take(step)))


def _messages(stored: list[StoredRow], sent: Counter[str], given: Given) -> Iterator[Message]:
    for seq, row, _ in stored:
        if row.kind == "output":
            payload = given.payload(row)
            yield Message(row.time_us, row.src, sent[row.src], row.dst, given.type(row), payload, seq)
            sent[row.src] += 1


def _arrived(step: int, deliveries: list[Delivery]) -> list[Row]:
    return [
        Row(step, time_us, "input", dst, src, dst, type_, late_us, payload, "")
        for time_us, src, _, dst, type_, payload, late_us, _ in deliveries
    ]


def _dropped(step: int, drops: list[Drop]) -> list[Row]:
    return [
        Row(step, time_us, "drop", NETWORK, message.src, message.dst, message.type, 0, drop_payload(fate), "")
        for time_us, fate in drops
        for message in (fate.message,)
    ]
