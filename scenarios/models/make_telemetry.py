"""Write telemetry_sample.csv: a synthetic temperature, one reading each five minutes, of a machine that fails.

python scenarios/models/make_telemetry.py
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from xtrace.engine.seeds import Random

SEED = 5
READINGS = 780
FAILURE = 600
START = datetime(2024, 3, 1)


def temperatures() -> list[int]:
    """Return the readings in hundredths of a degree: a slow drift and flicker; at FAILURE it falls, and comes back."""
    random = Random(SEED)
    level, drift, readings = 8800.0, 0.0, []
    for number in range(READINGS):
        drift = 0.995 * drift + random.gauss(0.0, 8.0)
        if number == FAILURE:
            level -= 2400.0
        elif number > FAILURE:
            level += (8800.0 - level) * 0.04
        readings.append(int(level + drift + random.gauss(0.0, 74.0)))
    return readings


def main() -> None:
    """Write the file beside this one."""
    lines = ["timestamp,value"]
    for number, value in enumerate(temperatures()):
        lines.append(f"{START + number * timedelta(minutes=5)},{value // 100}.{value % 100:02}")
    Path(__file__).with_name("telemetry_sample.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
