"""The features of a window of samples: integers, so that they are the same on every platform."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isqrt

FEATURES = ("rms", "peak", "mean_abs", "crest_milli", "shape_milli", "kurtosis_milli", "crossings_milli", "rough_milli")
"""rms, peak, mean_abs: counts around the mean. crest: peak / rms. shape: rms / mean_abs. kurtosis: 3 for Gaussian
noise, 1.5 for a sine, large for impacts. crossings: changes of sign per sample. rough: rms of the differences / rms."""


def extract(segments: Sequence[Sequence[int]]) -> list[int]:
    """Return the features of the samples in `segments`, in the order of FEATURES.

    Within a segment the samples follow one another; between two of them some were lost.
    """
    samples = [sample for segment in segments for sample in segment]
    count = len(samples)
    mean = sum(samples) // count
    centred = [[sample - mean for sample in segment] for segment in segments]
    squares = sum(x * x for segment in centred for x in segment)
    fourths = sum(x**4 for segment in centred for x in segment)
    rms = isqrt(squares // count)
    peak = max(abs(x) for segment in centred for x in segment)
    mean_abs = sum(abs(x) for segment in centred for x in segment) // count
    pairs = [pair for segment in centred for pair in pairwise(segment)]
    crossings = sum((a < 0) != (b < 0) for a, b in pairs)
    steps = isqrt(sum((b - a) ** 2 for a, b in pairs) // max(1, len(pairs)))
    return [
        rms,
        peak,
        mean_abs,
        1000 * peak // max(1, rms),
        1000 * rms // max(1, mean_abs),
        1000 * count * fourths // max(1, squares * squares),
        1000 * crossings // max(1, len(pairs)),
        1000 * steps // max(1, rms),
    ]
