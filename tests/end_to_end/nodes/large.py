"""A sender of large payloads, and a node that changes and passes them on."""

from xtrace.engine.model import Model


class Camera(Model):
    def on_init(self):
        self.number = 0
        self.schedule_periodic(5_000, self.shoot, first_us=0)

    def shoot(self):
        self.number += 1
        pixels = bytes([self.number % 251]) * self.config["bytes"]
        self.send("edge", "frame", {"number": self.number, "pixels": pixels, "labels": {"quality": [1, 2, 3]}})
        self.send("edge", "note", {"number": self.number})


class Edge(Model):
    def on_event(self, event):
        if event.type == "frame":
            quality = event.payload["labels"]["quality"]
            if event.payload["number"] >= self.config.get("change_from", 1 << 30):
                quality = [*quality[:-1], 99]
            self.send("cloud", "frame", {**event.payload, "labels": {"quality": quality, "by": self.node_id}})


class Cloud(Model):
    def on_event(self, event):
        payload = event.payload
        self.observe("seen", {"number": payload["number"], "bytes": len(payload["pixels"])})
