"""The nodes around a rotating machine: its sensors and drive, the gateway beside it, the cloud above."""

from __future__ import annotations

from features import extract
from signals import Vibration
from xtrace.engine.event import Event
from xtrace.engine.model import Model


class Sensor(Model):
    """An accelerometer: sends frames of samples, numbered from 0, and feels the speed of the shaft."""

    def on_init(self) -> None:
        self.vibration = Vibration(self.config, self.random)
        self.rpm = self.config["rpm"]
        self.number = 0
        count = self.config["samples_per_frame"]
        self.schedule_periodic(count * 1_000_000 // self.config["sample_rate_hz"], self.send_frame, count)

    def send_frame(self, count: int) -> None:
        samples = self.vibration.samples(count, rpm=self.rpm, severity_milli=self.severity_milli())
        self.send(self.config["gateway"], "frame", {"number": self.number, "samples": samples})
        self.number += 1

    def severity_milli(self) -> int:
        """Return how far the damage has grown: from the onset on, with the square of the time."""
        defect = self.config["defect"]
        grown_milli: int = 1000 * (self.now_us - defect["onset_us"]) // defect["growth_us"]
        return min(1000, max(0, grown_milli)) ** 2 // 1000

    def on_event(self, event: Event) -> None:
        if event.type == "speed":
            self.rpm = event.payload["rpm"]


class Actuator(Model):
    """The drive: takes the shaft to the commanded speed along a ramp; whoever is `driven` feels each step of it."""

    def on_init(self) -> None:
        self.rpm = self.target = self.config["rpm"]
        self.ramping = False

    def on_event(self, event: Event) -> None:
        if event.type == "command":
            self.target = event.payload["rpm"]
            self.send(event.src, "acknowledged", {"rpm": self.target})
            if not self.ramping:
                self.ramp()

    def ramp(self) -> None:
        change = self.config["rpm_per_ramp_step"]
        self.rpm += min(change, max(-change, self.target - self.rpm))
        for node in self.config["driven"]:
            self.send(node, "speed", {"rpm": self.rpm})
        self.ramping = self.rpm != self.target
        if self.ramping:
            self.schedule(self.config["ramp_step_us"], self.ramp)


class Gateway(Model):
    """Cuts each sensor's samples into windows and sends their features on; a window survives lost frames.

    Takes vibration frames, or single telemetry readings as `reading` in its config says.
    """

    def on_init(self) -> None:
        self.frames: dict[str, dict[int, list[int]]] = {}
        self.windows: dict[str, int] = {}
        self.readings: dict[str, tuple[int, int]] = {}

    def on_event(self, event: Event) -> None:
        if event.type == "frame":
            self.take(event.src, event.payload["number"], event.payload["samples"])
        elif event.type == "reading":
            self.take_reading(event.src, event.payload[self.config["reading"]["column"]])

    def take_reading(self, source: str, reading: int | float | None) -> None:
        """Scale a reading to counts; what counts as a sample is its change since the reading before."""
        if reading is None:
            return
        counts = int(reading * self.config["reading"]["counts_per_unit"])
        number, before = self.readings.get(source, (0, counts))
        self.readings[source] = (number + 1, counts)
        self.take(source, number, [counts - before])

    def take(self, source: str, number: int, samples: list[int]) -> None:
        size = self.config["frames_per_window"]
        window = self.windows.setdefault(source, 0)
        frames = self.frames.setdefault(source, {})
        if number >= window * size:  # else it comes too late: its window was sent without it
            frames[number] = samples
        while number >= (self.windows[source] + 1) * size + self.config["late_frames"]:
            self.finish(source, self.windows[source])
            self.windows[source] += 1

    def finish(self, source: str, window: int) -> None:
        """Send the features of a window, or record that too much of it was lost."""
        size, frames = self.config["frames_per_window"], self.frames[source]
        segments: list[list[int]] = []
        previous = None
        for number in range(window * size, (window + 1) * size):
            if number in frames:
                if previous != number - 1:
                    segments.append([])
                segments[-1] += frames.pop(number)
                previous = number
        lost = size - sum(len(segment) for segment in segments) // self.config["samples_per_frame"]
        about = {"machine": self.config["machine"], "sensor": source, "window": window, "frames_lost": lost}
        if lost > self.config["max_lost_frames"]:
            self.observe("window_lost", about)
        else:
            self.send(self.config["edge"], "features", {**about, "features": extract(segments)})


class Cloud(Model):
    """Decides: `alarm_after` anomalous windows of one sensor in a row bring the next of the `responses`.

    Hysteresis: after a response the machine gets `settle_us`, in which windows don't count; the alarm of a sensor ends
    only after `clear_after` normal windows in a row. A command is repeated until it is acknowledged.
    """

    def on_init(self) -> None:
        self.streaks: dict[str, int] = {}
        self.alarms: dict[str, bool] = {}
        self.responses = list(self.config.get("responses", ()))
        self.settled_us = 0
        self.unacknowledged: int | None = None

    def on_event(self, event: Event) -> None:
        if event.type == "score":
            self.judge(event.payload)
        elif event.type == "acknowledged" and event.payload["rpm"] == self.unacknowledged:
            self.unacknowledged = None

    def judge(self, score: dict[str, str | int | float]) -> None:
        sensor, anomalous = str(score["sensor"]), score["label"] == 1
        streak = self.streaks.get(sensor, 0)  # above 0: anomalous windows in a row, below 0: normal ones
        streak = max(streak, 0) + 1 if anomalous else min(streak, 0) - 1
        self.streaks[sensor] = streak
        if streak >= self.config["alarm_after"] and not self.alarms.get(sensor, False):
            self.change(score, sensor, True)
        elif streak <= -self.config["clear_after"] and self.alarms.get(sensor, False):
            self.change(score, sensor, False)
        if streak >= self.config["alarm_after"] and self.responses and self.now_us >= self.settled_us:
            self.settled_us = self.now_us + self.config["settle_us"]
            self.streaks[sensor] = 0
            self.command(self.responses.pop(0))

    def change(self, score: dict[str, str | int | float], sensor: str, alarm: bool) -> None:
        self.alarms[sensor] = alarm
        self.observe("alarm" if alarm else "all_clear", {"sensor": sensor, "window": score["window"]})

    def command(self, rpm: int) -> None:
        self.unacknowledged = rpm
        self.repeat(rpm)

    def repeat(self, rpm: int) -> None:
        if self.unacknowledged == rpm:
            self.send(self.config["actuator"], "command", {"machine": self.config["machine"], "rpm": rpm})
            self.schedule(self.config["repeat_us"], self.repeat, rpm)
