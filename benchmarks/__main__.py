"""Prints a line per measurement: both speeds, their ratio, and whether the target is met. Ratios are medians of rounds
that take turns; absolute speeds say more about the machine than about the code."""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.capture import make_recording, read_mcap, read_xtrace, write_mcap, write_pyarrow, write_xtrace
from benchmarks.pairs import Measured, measure
from benchmarks.ring import recorded_ring, simpy_ring
from benchmarks.share import recording_share

RINGS = ((100, 2_000), (1_000, 200))
MIN_RING_RATIO = 1.5
MIN_MCAP_RATIO = 4.0
MIN_PYARROW_RATIO = 0.5
MIN_READ_RATIO = 5.0
MAX_MCAP_SIZE = 1 / 3
MAX_SHARE = 0.05
SHARE_ROUNDS = 5


def main() -> None:
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; speeds are medians, ratios too\n")
    with tempfile.TemporaryDirectory(prefix="xtrace-bench-") as name:
        rings(Path(name))
        capture(Path(name))
        share(Path(name))


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
    """Writing and reading recorded events, against pyarrow alone and against the mcap package."""
    recording = make_recording(folder / "recording")
    numbers = itertools.count()
    sizes = {
        "xtrace": write_xtrace(folder / "size-xtrace", recording),
        "pyarrow": write_pyarrow(folder / "size-pyarrow", recording),
        "mcap": write_mcap(folder / "size-mcap", recording),
    }
    for what, write, at_least in (
        ("pyarrow, no integrity", write_pyarrow, MIN_PYARROW_RATIO),
        ("mcap, CRC on", write_mcap, MIN_MCAP_RATIO),
    ):
        result = measure(
            lambda: write_xtrace(folder / f"capture{next(numbers)}", recording),
            lambda write=write: write(folder / "theirs", recording),
            units=recording.events,
        )
        report("capture, rows/s", "xtrace", what, result, at_least=at_least)
    result = measure(
        lambda: read_xtrace(folder / "size-xtrace"), lambda: read_mcap(folder / "size-mcap"), units=recording.events
    )
    report("verified read, rows/s", "xtrace", "mcap, CRC on", result, at_least=MIN_READ_RATIO)
    ratio = sizes["xtrace"] / sizes["mcap"]
    listed = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    verdict = "met" if ratio <= MAX_MCAP_SIZE else "MISSED"
    target = f"(target <= {MAX_MCAP_SIZE:.2f}: {verdict})"
    print(f"bytes for {recording.events:,} rows: {listed}; {ratio:.2f}x of mcap {target}")


def share(folder: Path) -> None:
    """What recording costs ten nodes that work."""
    times = [recording_share(folder / f"share{number}") for number in range(SHARE_ROUNDS + 1)][1:]
    part = statistics.median(log / whole for whole, log in times)
    verdict = "met" if part <= MAX_SHARE else "MISSED"
    print(
        f"ten nodes: {statistics.median(whole for whole, _ in times):.2f} s, of which the log took "
        f"{statistics.median(log for _, log in times):.2f} s: {part:.1%} (target <= {MAX_SHARE:.0%}: {verdict})"
    )


def report(what: str, ours: str, theirs: str, measured: Measured, *, at_least: float | None = None) -> None:
    target = ""
    if at_least is not None:
        target = f" (target >= {at_least:g}x: {'met' if measured.ratio >= at_least else 'MISSED'})"
    print(f"{what}: {ours} {measured.ours:,.0f}, {theirs} {measured.theirs:,.0f}: {measured.ratio:.2f}x{target}")


if __name__ == "__main__":
    main()
