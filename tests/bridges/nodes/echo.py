"""A node that sends every event back to its sender, with nothing but the standard library."""

import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    if message["msg"] == "INIT":
        answer = {"msg": "READY", "protocol": 1, "capabilities": []}
    elif message["msg"] == "ADVANCE":
        events = [
            {
                "time_us": event["time_us"],
                "dst": event["src"],
                "type": "echo",
                "payload": event["payload"],
                "cause": [event["id"]],
            }
            for event in message["events"]
        ]
        # `next_time_us: null` says that there is nothing to do until an event comes.
        answer = {"msg": "DONE", "time_us": message["time_us"], "events": events, "next_time_us": None}
    else:  # SHUTDOWN
        break
    print(json.dumps(answer), flush=True)  # without the flush the answer would stay in a buffer
