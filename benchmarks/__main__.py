"""Prints a line per measurement: both speeds, their ratio, and whether the target is met. Ratios are medians of rounds
that take turns; absolute speeds say more about the machine than about the code."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

from benchmarks.capture import EVENTS, make_events, write_mcap, write_pyarrow, write_xtrace
from benchmarks.pairs import Measured, measure
from benchmarks.ring import recorded_ring, simpy_ring

RINGS = ((100, 2_000), (1_000, 200))
MIN_RING_RATIO = 1.5
MIN_MCAP_RATIO = 4.0
MAX_MCAP_SIZE = 1 / 3


def main() -> None:
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; speeds are medians, ratios too\n")
    with tempfile.TemporaryDirectory(prefix="xtrace-bench-") as name:
        rings(Path(name))
        capture(Path(name))


def rings(folder: Path) -> None:
    """Recorded lockstep against unrecorded SimPy."""
    numbers = itertools.count()
    for nodes, steps in RINGS:
        result = measure(
            lambda nodes=nodes, steps=steps: recorded_ring(folder / f"ring{next(numbers)}", nodes=nodes, steps=steps),
            lambda nodes=nodes, steps=steps: simpy_ring(nodes=nodes, steps=steps),
            units=nodes * steps,
        )
        report(f"ring of {nodes:,}, messages/s", "recorded", "SimPy unrecorded", result, at_least=MIN_RING_RATIO)


def capture(folder: Path) -> None:
    """Writing events, against pyarrow alone and against the mcap package."""
    events = make_events()
    numbers = itertools.count()
    sizes = {
        "xtrace": write_xtrace(folder / "size-xtrace", events),
        "pyarrow": write_pyarrow(folder / "size-pyarrow", events),
        "mcap": write_mcap(folder / "size-mcap", events),
    }
    plain = measure(
        lambda: write_xtrace(folder / f"capture{next(numbers)}", events),
        lambda: write_pyarrow(folder / "plain.arrow", events),
        units=EVENTS,
    )
    report("capture, events/s", "xtrace", "pyarrow, no integrity", plain)
    mcap = measure(
        lambda: write_xtrace(folder / f"capture{next(numbers)}", events),
        lambda: write_mcap(folder / "plain.mcap", events),
        units=EVENTS,
    )
    report("capture, events/s", "xtrace", "mcap, CRC on", mcap, at_least=MIN_MCAP_RATIO)
    ratio = sizes["xtrace"] / sizes["mcap"]
    verdict = "met" if ratio <= MAX_MCAP_SIZE else "MISSED"
    listed = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    print(
        f"size in bytes, {EVENTS:,} events: {listed}; {ratio:.2f}x of mcap (target <= {MAX_MCAP_SIZE:.2f}: {verdict})"
    )


def report(what: str, ours: str, theirs: str, measured: Measured, *, at_least: float | None = None) -> None:
    target = ""
    if at_least is not None:
        target = f" (target >= {at_least:g}x: {'met' if measured.ratio >= at_least else 'MISSED'})"
    print(f"{what}: {ours} {measured.ours:,.0f}, {theirs} {measured.theirs:,.0f}: {measured.ratio:.2f}x{target}")


if __name__ == "__main__":
    main()
