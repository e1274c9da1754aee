"""Small systems written to disk, recorded through the front door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from xtrace.capture.reader import Run
from xtrace.scenarios.loader import load
from xtrace.scenarios.record import Recorded, record

MODELS = '''\
import time
from xtrace.engine.model import Model
from helper import scaled


class Source(Model):
    """Sends count and dice to the filter every `period_us`, until `until`."""

    def on_init(self):
        self.count = 0
        self.schedule(0, self.tick)

    def tick(self):
        self.count += 1
        self.send("filter", "sample", {"count": self.count, "dice": self.random.randrange(6)})
        if self.count < self.config.get("until", 10**9):
            self.schedule(self.config["period_us"], self.tick)


class Filter(Model):
    """Sums up what comes in and passes it on, one message later; fails as its configuration says."""

    def on_init(self):
        self.total = 0

    def on_event(self, event):
        self.total += scaled(event.payload["dice"], self.config["gain"])
        if self.total > self.config["fail_above"]:
            self.fail()
        self.send("sink", "sum", {"total": self.total, "of": event.payload["count"]}, delay_us=self.config["delay_us"])

    def fail(self):
        if self.config["how"] == "crash":
            raise RuntimeError(f"overflow at {self.total}")
        if self.config["how"] == "protocol":
            self.send("nobody", "x")
        if self.config["how"] == "hang":
            time.sleep(60)


class Sink(Model):
    """Answers to nobody, and keeps books with its own dice."""

    def on_event(self, event):
        self.observe("seen", [event.payload["total"], self.random.random()])


class Broken(Model):
    def on_init(self):
        raise ValueError("not today")
'''
HELPER = "def scaled(value, gain):\n    return value * gain\n"
ECHO = """\
import json, sys

print("hello", file=sys.stderr)
for line in sys.stdin:
    message = json.loads(line)
    if message["msg"] == "INIT":
        answer = {"msg": "READY", "protocol": 1, "capabilities": []}
    elif message["msg"] == "ADVANCE":
        outputs = []
        for event in message["events"]:
            if event["payload"]["count"] == int(sys.argv[1]):
                sys.exit(3)
            outputs.append({"time_us": event["time_us"], "dst": "sink", "type": "sum", "cause": [event["id"]],
                            "payload": {"total": event["payload"]["dice"], "of": event["payload"]["count"]}})
        answer = {"msg": "DONE", "time_us": message["time_us"], "events": outputs, "next_time_us": None}
    else:
        break
    print(json.dumps(answer), flush=True)
"""


def node(id: str, model: str, **config: Any) -> dict[str, Any]:
    return {"id": id, "type": id, "implementation": "python_model", "model": f"models/{model}", "config": config}


def document(**changes: Any) -> dict[str, Any]:
    """Return source → filter → sink over a lossy network, 60 ms long; `changes` go to the filter's configuration."""
    config = {"gain": 3, "fail_above": 10**9, "how": "crash", "delay_us": 300, **changes}
    return {
        "description": "source, filter, sink",
        "seed": 5,
        "duration": "60ms",
        "step": "1ms",
        "network": {"model": "latency", "base": "2ms", "jitter": "3ms", "loss": 0.1},
        "nodes": [
            node("source", "parts.py:Source", period_us=1_000),
            node("filter", "parts.py:Filter", **config),
            node("sink", "parts.py:Sink"),
        ],
    }


def write_system(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "parts.py").write_text(MODELS)
    (folder / "helper.py").write_text(HELPER)
    (folder / "models" / "echo.py").write_text(ECHO)
    path = folder / "system.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def recorded(folder: Path, content: dict[str, Any], **options: Any) -> tuple[Run, Recorded]:
    """Write and record a system; return the run and what was said of it."""
    done = record(load(write_system(folder / "system", content)), folder / "run", **options)
    return Run.open(folder / "run"), done
