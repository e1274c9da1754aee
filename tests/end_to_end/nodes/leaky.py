"""A model that is told secrets and spreads them in every way that it can."""

import json

from xtrace.engine.model import Model


class Leaky(Model):
    def on_init(self):
        self.step = 0
        self.schedule_periodic(1_000, self.tick, first_us=0)

    def tick(self):
        self.step += 1
        for name in sorted(self.config["secrets"]):
            value = self.config["secrets"][name]
            self.send("tool", "login", {"user": "me", "password": value, "step": self.step})
            self.send("tool", f"topic/{value}/state", f"a {value} b {value}")
            self.observe("key", {value: 1, f"{value}{value}": {"deep": [[value]]}, "other": 2})
            self.observe("bytes", {"frame": b"\x00" + value.encode() + b"\xff", "list": [value.encode()]})
            self.observe("json", json.dumps({"password": value}))
            self.observe("python", repr({"password": value}))
            self.observe("codes", {"codes": list(value.encode()), "innocent": self.step})
        if self.step == self.config.get("fail_in"):
            raise RuntimeError(f"cannot log in with {self.config['secrets']!r}")
