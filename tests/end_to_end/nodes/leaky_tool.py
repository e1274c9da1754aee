"""A process that is told secrets, in its configuration and in its environment, and says them on stderr too."""

import json
import os
import sys
import time

for line in sys.stdin:
    message = json.loads(line)
    if message["msg"] == "INIT":
        config, values = message["config"], [os.environ["TOKEN"], *message["config"]["secrets"]]
        for value in values:
            print("logging in with", value, file=sys.stderr, flush=True)
            print(repr(value), json.dumps({"password": value}), file=sys.stderr, flush=True)
            half = len(value.encode()) // 2
            os.write(2, value.encode()[:half])
            time.sleep(0.02)  # so that the halves are read one after the other
            os.write(2, value.encode()[half:] + b"\n")
        answer = {"msg": "READY", "protocol": 1, "capabilities": []}
    elif message["msg"] == "ADVANCE":
        time_us = message["from_us"]
        outputs = [{"time_us": time_us, "dst": "", "type": value, "payload": {value: [value]}} for value in values]
        for event in message["events"]:
            text = event["payload"]["password"] if event["type"] == "login" else event["payload"]
            known = [value for value in values if value in text]
            heard = {"from": event["src"], "type": event["type"], "known": len(known)}
            outputs.append({"time_us": event["time_us"], "dst": "", "type": "heard", "payload": heard})
        if time_us >= config.get("break_at_us", 1 << 60):
            print("this is no message: " + "x" * config.get("padding", 0) + values[0], flush=True)
        answer = {"msg": "DONE", "time_us": message["time_us"], "events": outputs}
        time.sleep(config.get("delay_ms", 0) / 1000)
    else:
        break
    print(json.dumps(answer), flush=True)
