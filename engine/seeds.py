"""Seeds and random numbers that are the same on every platform, in every process, in any order of nodes."""

from __future__ import annotations

import hashlib
import random

from xtrace.engine.values import encode


def derive_seed(run_seed: int, node: str, purpose: str = "node") -> int:
    """Return the 64-bit seed of `node` for `purpose`: the first 8 bytes, big-endian, of SHA-256 over the canonical
    msgpack of `["xtrace seed", run_seed, node, purpose]`."""
    digest = hashlib.sha256(encode(["xtrace seed", run_seed, node, purpose])).digest()
    return int.from_bytes(digest[:8], "big")


class Random(random.Random):
    """Python's Mersenne Twister, with normal distributions that need no libm.

    `math.log`, `sin` and `cos` differ in their last bits between C libraries and CPUs; `gauss` and `normalvariate` here
    add up 12 uniform numbers (Irwin-Hall), which is exact everywhere. Their values stay within 6 sigma.
    """

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """Return a normally distributed number; never beyond 6 `sigma`."""
        uniform = self.random
        total = 0.0
        for _ in range(12):
            total += uniform()
        return mu + (total - 6.0) * sigma

    def normalvariate(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """Return the same distribution as `gauss`."""
        return self.gauss(mu, sigma)
