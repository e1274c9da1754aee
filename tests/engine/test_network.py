"""The network models: delays, losses and queues to the microsecond, and links that leave one another alone."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrace.engine.errors import InputError
from xtrace.engine.event import Message
from xtrace.engine.network import Direct, Latency, parse_rate

NODES = ("a", "b", "c")


def messages(*sent, size=10):
    """Return a message for each (time_us, src, dst), numbered at its source."""
    made, numbers = [], dict.fromkeys(NODES, 0)
    for time_us, src, dst in sent:
        made.append(Message(time_us, src, numbers[src], dst, "t", bytes(size), len(made)))
        numbers[src] += 1
    return made


def due(network, sent, **options):
    """Return (due_us, drop_reason) for each message."""
    return [(fate.due_us, fate.drop_reason) for fate in network.advance(1_000, messages(*sent, **options))]


def steady(count, *, src="a", dst="b"):
    return [(each, src, dst) for each in range(count)]


def test_direct_delivers_at_the_time_of_sending():
    """Direct changes nothing; lockstep moves the delivery to the end of the step."""
    assert [(0, ""), (5, "")] == due(Direct({}, seed=3), [(0, "a", "b"), (5, "b", "a")])
    assert 0 == Direct.smallest_latency_us({})


def test_base_alone_is_exact():
    """Every message takes exactly `base`, whatever the seed."""
    for seed in (0, 1, 2**64 - 1):
        assert [(20_000, ""), (20_007, "")] == due(Latency({"base": 20_000}, seed=seed), [(0, "a", "b"), (7, "b", "a")])


def test_durations_may_be_text():
    """A network built by hand takes the same words as a scenario."""
    assert [(20_000, "")] == due(Latency({"base": "20ms"}, seed=1), [(0, "a", "b")])


def test_known_draws():
    """Every recorded run depends on these numbers: the key of a draw must never change unnoticed."""
    network = Latency({"base": 100, "jitter": 1_000, "loss": 0.3}, seed=42)
    expected = []
    for index in range(12):
        bits = hashlib.sha256(b"xtrace link\x0042\x00a\x00b\x00" + index.to_bytes(8, "big")).digest()
        lost = Fraction(int.from_bytes(bits[:8], "big"), 2**64) < Fraction(3, 10)
        jitter_us = int(Fraction(int.from_bytes(bits[8:16], "big"), 2**64) * 1_001)
        expected.append((index, "loss") if lost else (index + 100 + jitter_us, ""))
    assert expected == due(network, steady(12))
    known = [(306, ""), (852, ""), (978, ""), (271, ""), (4, "loss"), (895, "")]
    assert known == expected[:6], "the numbers themselves, so that test and code can't drift together"


def test_jitter_reaches_both_ends_and_nothing_beyond():
    """Jitter is uniform over 0 … jitter, both included."""
    delays = [due_us - each for each, (due_us, _) in enumerate(due(Latency({"jitter": 3}, seed=1), steady(4_000)))]
    assert {0, 1, 2, 3} == {*delays}
    assert all(900 < delays.count(each) < 1_100 for each in range(4))


@pytest.mark.parametrize(("loss", "low", "high"), [(0, 0, 0), (0.0, 0, 0), (1, 2_000, 2_000), (0.25, 420, 580)])
def test_loss_is_a_probability_with_exact_edges(loss, low, high):
    """0 loses nothing, 1 everything."""
    lost = sum(reason == "loss" for _, reason in due(Latency({"loss": loss}, seed=5), steady(2_000)))
    assert low <= lost <= high


def test_bandwidth_queues_exactly():
    """Each message occupies its link for its bytes; those behind wait; a lost one has used the link too."""
    sent = [(0, "a", "b"), (0, "a", "b"), (90, "a", "b"), (500, "a", "b"), (0, "b", "a"), (0, "a", "c")]
    expected = [(80, ""), (160, ""), (240, ""), (580, ""), (80, ""), (80, "")]  # 10 bytes at 1 Mbit/s: 80 us
    assert expected == due(Latency({"bandwidth": "1Mbps"}, seed=1), sent)
    assert [(each, "loss") for each, _ in expected] == due(Latency({"bandwidth": "1Mbps", "loss": 1}, seed=1), sent)


def test_time_on_the_wire_is_rounded_up():
    """10 bytes at 3 Mbit/s take 26.67 us: 27."""
    assert [(27, ""), (54, "")] == due(Latency({"bandwidth": "3Mbps"}, seed=1), [(0, "a", "b")] * 2)


def test_the_queue_outlives_the_step():
    """What one step left on the link delays the next one."""
    network = Latency({"bandwidth": "1Mbps", "base": 5}, seed=1)
    network.advance(10, messages(*[(0, "a", "b")] * 3))
    assert [(325, "")] == [(each.due_us, each.drop_reason) for each in network.advance(20, messages((10, "a", "b")))]


def test_links_override_single_values_in_one_direction():
    """A link takes what it names from its own entry and the rest from above; the way back is another link."""
    links = [{"src": "a", "dst": "b", "loss": 0}, {"src": "b", "dst": "c", "base": 7}]
    options = {"base": 100, "loss": 1, "links": links}
    sent = [(0, "a", "b"), (0, "b", "a"), (0, "b", "c")]
    assert [(100, ""), (0, "loss"), (0, "loss")] == due(Latency(options, seed=1), sent)
    assert 7 == Latency.smallest_latency_us(options)
    assert 0 == Latency.smallest_latency_us({"links": [{"src": "a", "dst": "b", "base": 5}]})


LINKS = st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)).filter(lambda each: each[0] != each[1])
SENT = st.lists(st.tuples(st.integers(0, 900), LINKS), min_size=1, max_size=40)
OPTIONS = st.fixed_dictionaries(
    {
        "base": st.integers(0, 50),
        "jitter": st.integers(0, 50),
        "loss": st.sampled_from([0, 0.2, 0.9]),
        "bandwidth": st.sampled_from([None, "1Mbps", "37kbps"]),
    }
)


def fates(network, sent):
    """Return the fates by link, in order of the messages on it."""
    found = {}
    ordered = sorted((time_us, src, dst) for time_us, (src, dst) in sent)
    for message, fate in zip(messages(*ordered), network.advance(1_000, messages(*ordered)), strict=True):
        found.setdefault((message.src, message.dst), []).append((fate.due_us, fate.drop_reason))
    return found


@given(sent=SENT, extra=st.tuples(st.integers(0, 900), LINKS), options=OPTIONS, seed=st.integers(0, 2**64 - 1))
def test_one_more_message_leaves_all_other_links_alone(sent, extra, options, seed):
    """Metamorphic: draws are keyed by link, so an extra message on one link changes nothing on any other."""
    before, after = fates(Latency(options, seed=seed), sent), fates(Latency(options, seed=seed), [*sent, extra])
    del after[extra[1]]
    before.pop(extra[1], None)
    assert before == after


class Shared(Latency):
    """Planted: one stream of draws for all links."""

    def advance(self, until_us, messages):
        fates = super().advance(until_us, [each._replace(src="a", dst="b") for each in messages])
        return [fate._replace(message=message) for fate, message in zip(fates, messages, strict=True)]


def test_a_shared_stream_of_draws_is_caught():
    """The metamorphic property fails for a network that draws from one stream."""
    sent = [(each, link) for each in range(20) for link in (("a", "b"), ("b", "c"))]
    options = {"jitter": 1_000}
    before, after = (fates(Shared(options, seed=1), each) for each in (sent, [(0, ("a", "c")), *sent]))
    assert before["b", "c"] != after["b", "c"]


@given(sent=SENT, options=OPTIONS, seed=st.integers(0, 100))
def test_nothing_arrives_before_it_was_sent(sent, options, seed):
    """Every message gets one fate, in order, never earlier than its own time plus `base`."""
    given_messages = messages(*sorted((time_us, *link) for time_us, link in sent))
    decided = Latency(options, seed=seed).advance(1_000, given_messages)
    assert given_messages == [fate.message for fate in decided]
    for fate in decided:
        assert fate.due_us >= fate.message.time_us + (0 if fate.drop_reason else options["base"])


@given(sent=SENT, options=OPTIONS, cut=st.integers(0, 40))
def test_cutting_the_messages_into_steps_changes_nothing(sent, options, cut):
    """A link remembers only what it carried, not in how many calls."""
    ordered = messages(*sorted((time_us, *link) for time_us, link in sent))
    whole, parts = Latency(options, seed=1), Latency(options, seed=1)
    assert whole.advance(1_000, ordered) == parts.advance(0, ordered[:cut]) + parts.advance(1_000, ordered[cut:])


@pytest.mark.parametrize("loss", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_loss_beyond_its_range_is_refused(loss):
    """Also in a link of its own."""
    with pytest.raises(InputError, match="is no probability"):
        Latency({"loss": loss}, seed=1)
    with pytest.raises(InputError, match="is no probability"):
        Latency({"links": [{"src": "a", "dst": "b", "loss": loss}]}, seed=1)


@pytest.mark.parametrize(
    ("text", "expected"), [(None, 0), ("1bps", 1), ("250kbps", 250_000), ("1.5 Mbps", 1_500_000), ("2Gbps", 2 * 10**9)]
)
def test_rates(text, expected):
    """A rate has a unit; none is unlimited."""
    assert expected == parse_rate(text)


@pytest.mark.parametrize("text", ["fast", "1", 1, "0kbps", "0.5bps", "1MBps", "-1kbps", "1 kb", "", "1e3bps"])
def test_bad_rates(text):
    """Bare numbers, unknown units and rates that are not whole and positive are refused."""
    with pytest.raises(InputError, match=r"network\.bandwidth"):
        parse_rate(text)
