"""Models that take wall-clock time: one sleeps, one works, and either may hang once."""

from __future__ import annotations

import hashlib
import time

from xtrace.engine.event import Event
from xtrace.engine.model import Model


class Sleeper(Model):
    """Every millisecond sleeps `sleep_s`, and tells each of `to` a number; hangs for `hang_s` at number `hang_at`."""

    def on_init(self) -> None:
        self.number = 0
        self.schedule_periodic(1000, self.tick, first_us=0)

    def tick(self) -> None:
        self.number += 1
        time.sleep(self.config["sleep_s"])
        for peer in self.config["to"]:
            self.send(peer, "told", {"number": self.number, "dice": self.random.randrange(6)})

    def on_event(self, event: Event) -> None:
        if event.payload["dice"] == self.config.get("hang_at"):
            time.sleep(self.config["hang_s"])


class Worker(Model):
    """Computes for every event that it gets."""

    def on_event(self, event: Event) -> None:
        digest = hashlib.sha256(str(event.payload).encode())
        for _ in range(300):
            digest = hashlib.sha256(digest.digest())
        self.send(event.src, "told", {"dice": digest.digest()[0], "total": digest.hexdigest()})
