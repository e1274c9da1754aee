"""The echo node over a socket: `$XTRACE_SOCKET` names a Unix socket, `$XTRACE_ADDRESS` a host and port."""

import json
import os
import socket
import sys

if "XTRACE_SOCKET" in os.environ:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["XTRACE_SOCKET"])
else:
    host, _, port = os.environ["XTRACE_ADDRESS"].rpartition(":")
    connection = socket.create_connection((host, int(port)))
print("connected", flush=True)  # stdout is free for logging here

stream = connection.makefile("rw", encoding="utf-8", newline="\n")
for line in stream:
    message = json.loads(line)
    if message["msg"] == "SHUTDOWN":
        break
    if message["msg"] == "INIT":
        if "--never-ready" in sys.argv:
            sys.exit(4)
        answer = {"msg": "READY", "protocol": 1, "capabilities": []}
    else:
        names = ("time_us", "payload")
        events = [
            {"dst": each["src"], "type": "echo"} | {name: each[name] for name in names} for each in message["events"]
        ]
        answer = {"msg": "DONE", "time_us": message["time_us"], "events": events, "next_time_us": None}
    stream.write(json.dumps(answer) + "\n")
    stream.flush()
