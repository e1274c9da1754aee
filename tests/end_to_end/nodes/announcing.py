"""Records a scenario and announces every step, as time_us and when in ns: `announcing.py SCENARIO OUT DURABILITY`."""

import os
import sys
import time
from pathlib import Path

from xtrace.capture.layout import Storage
from xtrace.scenarios.loader import load
from xtrace.scenarios.record import record


def announce(time_us: int, _: int) -> None:
    os.write(1, b"%d %d\n" % (time_us, time.monotonic_ns()))


scenario, out, durability = sys.argv[1:]
record(load(scenario), Path(out), storage=Storage(durability=durability), on_progress=announce)
