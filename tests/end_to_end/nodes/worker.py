"""A node for every transport: tosses dice from its seed, tells its peers, and lets what it hears change what it says.

The file `delays.json` beside it may say how many milliseconds a node takes for a step. With a variable STARTED in its
environment it notes there that it was started.
"""

import json
import os
import random
import socket
import sys
import time

if "XTRACE_SOCKET" in os.environ:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["XTRACE_SOCKET"])
    stream = connection.makefile("rw", encoding="utf-8", newline="\n")
elif "XTRACE_ADDRESS" in os.environ:
    host, _, port = os.environ["XTRACE_ADDRESS"].rpartition(":")
    stream = socket.create_connection((host, int(port))).makefile("rw", encoding="utf-8", newline="\n")
else:
    stream = None
reader, writer = (stream, stream) if stream else (sys.stdin, sys.stdout)


def delay_s(node):
    try:
        with open("delays.json", encoding="utf-8") as file:
            return json.load(file).get(node, 0) / 1000
    except FileNotFoundError:
        return 0


def advance(message):
    """Return the answer: what was heard and what is told, in order of time."""
    global total
    events = []
    inputs, until_us = message["events"], message["time_us"]
    time_us = -(-message["from_us"] // every_us) * every_us
    while inputs or time_us < until_us:
        if inputs and inputs[0]["time_us"] <= time_us:
            event = inputs.pop(0)
            total = (total * 31 + event["payload"]["dice"]) % 1_000_003
            heard = {"dst": "", "type": "heard", "payload": {"src": event["src"], "total": total}}
            events.append({"time_us": event["time_us"], "cause": [event["id"]], **heard})
        else:
            told = {"type": "told", "payload": {"dice": dice.randrange(6), "total": total}}
            events += [{"time_us": time_us, "dst": peer, **told} for peer in config["to"]]
            time_us += every_us
    return {"msg": "DONE", "time_us": until_us, "events": events, "next_time_us": time_us}


for line in reader:
    message = json.loads(line)
    if message["msg"] == "INIT":
        node, config, total = message["node"], message["config"], 0
        every_us = config["every_us"]
        dice = random.Random(int(message["seed"]))
        if "STARTED" in os.environ:
            with open(os.environ["STARTED"], "a", encoding="utf-8") as file:
                file.write(node + "\n")
        answer = {"msg": "READY", "protocol": 1, "capabilities": []}
    elif message["msg"] == "ADVANCE":
        time.sleep(delay_s(node))
        answer = advance(message)
    else:
        break
    writer.write(json.dumps(answer) + "\n")
    writer.flush()
