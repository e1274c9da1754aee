"""The two stubs of the scenario `smoke`."""

from __future__ import annotations

from xtrace.engine.event import Event
from xtrace.engine.model import Model


class Ping(Model):
    """Sends a number to `peer` every `period_us`, and records which answers came back."""

    def on_init(self) -> None:
        self.number = 0
        self.schedule_periodic(self.config["period_us"], self.ping, first_us=0)

    def ping(self) -> None:
        self.number += 1
        self.send(self.config["peer"], "ping", {"number": self.number, "dice": self.random.randrange(6) + 1})

    def on_event(self, event: Event) -> None:
        self.observe("answered", {"number": event.payload["number"]})


class Pong(Model):
    """Returns every number to its sender."""

    def on_event(self, event: Event) -> None:
        self.send(event.src, "pong", {"number": event.payload["number"]})
