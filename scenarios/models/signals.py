"""What an accelerometer on a rotating machine measures, in ADC counts, the same bits on every platform.

Angles are integers, 2**32 to a turn; the sine comes from a table that is made with +, - and * alone, and the
resonance of the housing is computed in integers: no `math.sin`, whose last bits differ between platforms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xtrace.engine.seeds import Random

TURN = 2**32
SINE_BITS = 10
SINE_UNIT = 2**14
ADC_MAX = 4095
ADC_CENTRE = 2048
NOMINAL_RPM = 1500


def _sine_table() -> list[int]:
    """Return one turn of the sine in units of 1 / SINE_UNIT, by its Taylor series on the first quarter."""
    size = 2**SINE_BITS
    quarter = []
    for index in range(size // 4 + 1):
        x = index * 6.283185307179586 / size
        term = total = x
        for n in range(3, 18, 2):
            term = -term * x * x / (n * (n - 1))
            total += term
        quarter.append(int(total * SINE_UNIT + 0.5))
    half = quarter + quarter[-2:0:-1]
    return half + [-value for value in half]


SINE = _sine_table()


class Vibration:
    """The signal of one accelerometer, as a sum of what shakes it:

    - harmonics of the rotation (imbalance, misalignment, looseness), whose force grows with the square of the speed;
    - Gaussian noise of the sensor;
    - a damaged outer race: whenever a ball rolls over the defect (`bpfo_milli` / 1000 times per turn: the ball pass
      frequency) it hits the housing, which rings at its own frequency and decays within some milliseconds.
    """

    def __init__(self, config: Mapping[str, Any], random: Random) -> None:
        self._random = random
        self._rate_hz = config["sample_rate_hz"]
        self._noise = config["noise_counts"]
        self._impact = config["impact_counts"]
        self._bpfo_milli = config["bpfo_milli"]
        self._harmonics = [(order, amplitude) for order, amplitude in enumerate(config["harmonics_counts"], 1)]
        self._shaft = random.randrange(TURN)
        self._cage = random.randrange(TURN)
        self._ringing = (0, 0)

    def samples(self, count: int, *, rpm: int, severity_milli: int) -> list[int]:
        """Return the next `count` samples at `rpm`, with a defect of `severity_milli` (0 healthy, 1000 full-grown)."""
        advance = rpm * TURN // (60 * self._rate_hz)
        cage_advance = advance * self._bpfo_milli // 1000
        force_milli = 1000 * rpm * rpm // NOMINAL_RPM**2
        harmonics = [(order, amplitude * force_milli // 1000) for order, amplitude in self._harmonics]
        impact = self._impact * force_milli * severity_milli // 1_000_000
        gauss, noise, shift = self._random.gauss, self._noise, 32 - SINE_BITS
        shaft, cage, (ring, before) = self._shaft, self._cage, self._ringing
        samples = []
        for _ in range(count):
            shaft = (shaft + advance) % TURN
            cage += cage_advance
            hit = 0
            if cage >= TURN:
                cage -= TURN
                hit = impact
            # a resonator with its poles at 0.27 of the sampling rate and radius 0.84, in units of 1/1024
            ring, before = hit + (-216 * ring - 722 * before) // 1024, ring
            value = ring + sum(size * SINE[(order * shaft % TURN) >> shift] for order, size in harmonics) // SINE_UNIT
            samples.append(min(ADC_MAX, max(0, ADC_CENTRE + value + int(gauss(0.0, noise)))))
        self._shaft, self._cage, self._ringing = shaft, cage, (ring, before)
        return samples
