"""A node with every bad habit: the first argument says which, the second after how many lines it shows."""

import json
import os
import signal
import subprocess
import sys
import time

HABIT, WHEN = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0


def say(text, end="\n"):
    sys.stdout.write(text + end)
    sys.stdout.flush()


def done(time_us, **others):
    return json.dumps({"msg": "DONE", "time_us": time_us, "events": [], "next_time_us": None} | others)


def linger():
    while True:
        time.sleep(3600)


def fork_a_grandchild():
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    with open(os.environ["PID_FILE"], "w") as file:
        file.write(str(grandchild.pid))


def crash(message):
    print("about to fail", file=sys.stderr)
    raise RuntimeError("on purpose")


def half_line(message):
    say('{"msg":"DONE","time_', end="")
    linger()


def huge_line(message):
    while True:
        say("x" * 1_000_000, end="")


def dribble(message):
    for character in done(message["time_us"]) + "\n":
        say(character, end="")


def close_stdout(message):
    os.close(1)
    linger()


def speak_twice(message):
    say(done(message["time_us"]) + "\n" + done(message["time_us"] + 1000))


HABITS = {
    "crash": crash,
    "hang": lambda message: linger(),
    "garbage": lambda message: say("temperature is now 21.5"),
    "wrong_time": lambda message: say(done(message["time_us"] + 1)),
    "half_line": half_line,
    "huge_line": huge_line,
    "dribble": dribble,
    "error": lambda message: say(json.dumps({"msg": "ERROR", "message": "sensor \x1b[31mburnt"})),
    "status_3": lambda message: sys.exit(3),
    "segfault": lambda message: os.kill(os.getpid(), signal.SIGSEGV),
    "close_stdout": close_stdout,
    "speak_twice": speak_twice,
    "binary": lambda message: os.write(1, b"\x00\xff\n"),
    "grandchild": lambda message: say(done(message["time_us"])),
    "grandchild_crash": crash,
    "slow": lambda message: (time.sleep(0.2), say(done(message["time_us"]))),
}


def main():
    if HABIT == "exit_at_once":
        return
    if HABIT == "crash_in_init":
        raise RuntimeError("no licence")
    if HABIT == "banner":
        say("Simulator 1.0 ready")
    if HABIT == "ignores_sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if HABIT.startswith(("grandchild", "ignores_sigterm")):
        fork_a_grandchild()
    for answered, line in enumerate(sys.stdin):
        message = json.loads(line)
        if message["msg"] == "INIT":
            say(json.dumps({"msg": "READY", "protocol": 2 if HABIT == "version" else 1, "capabilities": []}))
            if HABIT == "exit_after_ready":
                return
        elif message["msg"] == "SHUTDOWN":
            if HABIT in ("ignores_sigterm", "ignores_shutdown"):
                linger()
            return
        elif answered >= WHEN and HABIT in HABITS:
            HABITS[HABIT](message)
        else:
            say(done(message["time_us"]))


main()
