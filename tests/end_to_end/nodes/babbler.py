"""A node that writes 300 KB before it reads anything: as its log (`log`), or where its answers belong (`answer`)."""

import json
import sys

if sys.argv[1] == "log":
    sys.stderr.write("loading a very large model\n" * 12_000)
else:
    sys.stdout.write("loading a very large model\n" * 12_000)
sys.stdout.flush()
for line in sys.stdin:
    message = json.loads(line)
    if message["msg"] == "INIT":
        answer = {"msg": "READY", "protocol": 1, "capabilities": []}
    elif message["msg"] == "ADVANCE":
        answer = {"msg": "DONE", "time_us": message["time_us"], "events": [], "next_time_us": None}
    else:
        break
    print(json.dumps(answer), flush=True)
