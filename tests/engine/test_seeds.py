"""Seeds and random numbers: fixed for all time, on every platform."""

from __future__ import annotations

import hashlib
import math
import random
import statistics
import subprocess
import sys

import pytest

from xtrace.engine.seeds import Random, derive_seed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, "a"), 16_221_835_899_793_625_878),
        ((42, "sensor_a"), 4_657_669_449_662_352_743),
        ((42, "sensor_b"), 4_141_383_845_427_894_177),
        ((42, "sensor_a", "noise"), 3_764_627_625_090_448_694),
        ((2**64 - 1, "é"), 6_454_057_764_815_281_618),
    ],
)
def test_known_seeds(arguments, expected):
    """Every run ever recorded depends on these numbers: a change of the derivation must not go unnoticed."""
    assert expected == derive_seed(*arguments)


def test_the_derivation_is_the_documented_one():
    """SHA-256 over the msgpack of ["xtrace seed", run_seed, node, purpose], first 8 bytes, big-endian."""
    packed = b"\x94" + b"\xabxtrace seed" + b"\x05" + b"\xa1n" + b"\xa4node"
    assert int.from_bytes(hashlib.sha256(packed).digest()[:8], "big") == derive_seed(5, "n")


def test_every_argument_counts():
    """Other seed, other node, other purpose: other numbers, also where concatenated texts would be equal."""
    seeds = [derive_seed(*each) for each in [(1, "a"), (2, "a"), (1, "b"), (1, "a", "b"), (1, "ab"), (1, "a", "bnode")]]
    assert len(seeds) == len({*seeds})


def test_known_random_numbers():
    """The generator and its normal distribution are the same for all time."""
    source = Random(derive_seed(42, "sensor_a"))
    numbers = [source.random(), source.randrange(1_000_000), source.gauss(10.0, 2.0), source.normalvariate()]
    expected = ["0x1.fec25e1ec9b7bp-1", 823_242, "0x1.f657867e3361cp+2", "0x1.6e6db14ff7110p-1"]
    assert expected == [each.hex() if isinstance(each, float) else each for each in numbers]


def test_gauss_needs_no_libm(monkeypatch):
    """With every transcendental function of libm broken, gauss still works, while Python's own does not."""

    def broken(*_):
        raise AssertionError("libm")

    for name in ("_log", "_sin", "_cos", "_sqrt", "_exp"):
        monkeypatch.setattr(random, name, broken, raising=False)
    expected = [Random(3).gauss(), Random(3).normalvariate()]
    assert expected[0] == expected[1]
    with pytest.raises(AssertionError, match="libm"):
        random.Random(3).gauss(0.0, 1.0)


def test_gauss_is_normal_enough_and_bounded():
    """Mean 0, standard deviation 1, 68 % within one sigma, and nothing beyond six."""
    source = Random(1)
    drawn = [source.gauss() for _ in range(20_000)]
    assert abs(statistics.fmean(drawn)) < 0.03
    assert abs(statistics.pstdev(drawn) - 1) < 0.03
    assert abs(sum(abs(each) < 1 for each in drawn) / len(drawn) - 0.6827) < 0.015
    assert max(map(abs, drawn)) <= 6
    assert all(map(math.isfinite, drawn))


class Extreme(Random):
    def random(self):
        return math.nextafter(1.0, 0.0)


def test_gauss_at_its_edge():
    """Even twelve largest draws stay within 6 sigma."""
    assert 5.99 < Extreme(0).gauss() <= 6.0
    assert 10 + 2 * 6 >= Extreme(0).gauss(10.0, 2.0) > 21.9


def test_seeds_do_not_depend_on_the_hash_seed():
    """Two processes with different PYTHONHASHSEED, for which hash() differs, derive the same."""
    program = (
        "from xtrace.engine.seeds import Random, derive_seed\n"
        "print(hash('sensor'), derive_seed(7, 'sensor'), Random(derive_seed(7, 'sensor')).gauss())"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert answers[0][0] != answers[1][0], "the planted difference: hash() itself must differ"
    assert answers[0][1:] == answers[1][1:]
