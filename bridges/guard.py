"""Kills what xtrace started if xtrace itself is killed.

One guard process per xtrace process waits on a pipe that only xtrace holds open. Whatever ends xtrace, the pipe ends
with it; the guard then kills the process groups that are still registered and removes their socket folders. A process
that opens a session of its own escapes it. A message to the guard ends with NUL: `+group 123`, `-folder /tmp/x`.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

SOCKET_NAME = "s"
"""The one file that a registered folder may hold."""
READ_BYTES = 4096


class Guard:
    """The guard of this process: started with the first registration, ended when Python exits."""

    def __init__(self) -> None:
        self._kept: dict[str, None] = {}
        self._pid = 0
        self._pipe = -1

    def add(self, what: str, name: str) -> None:
        """Register the `group` or `folder` called `name`."""
        self._kept[f"{what} {name}"] = None
        if self._pid:
            self._tell(f"+{what} {name}")
        else:
            self._start()

    def remove(self, what: str, name: str) -> None:
        """Forget the `group` or `folder` called `name`."""
        entry = f"{what} {name}"
        if entry in self._kept:
            del self._kept[entry]
            self._tell(f"-{entry}")

    def close(self) -> None:
        """End the guard, which first cleans up what is still registered."""
        if self._pid:
            os.close(self._pipe)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def forget(self) -> None:
        """Let go of the guard, in a fork that must not keep the one of its parent waiting."""
        if self._pid:
            os.close(self._pipe)
        self._kept.clear()
        self._pid = 0

    def _tell(self, message: str) -> None:
        try:
            os.write(self._pipe, os.fsencode(message) + b"\0")
        except BrokenPipeError:  # somebody killed the guard
            self.close()
            self._start()

    def _start(self) -> None:
        read_fd, self._pipe = os.pipe()
        # Neither site packages nor PYTHON* variables: it must start fast and depend on nothing that a scenario changes.
        self._pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", __file__],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read_fd, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        os.close(read_fd)
        for each in self._kept:
            os.write(self._pipe, b"+" + os.fsencode(each) + b"\0")


def watch(fd: int) -> None:
    """Read registrations from `fd` until its end, then clean up what is registered: the whole life of a guard."""
    os.setsid()  # a Ctrl-C at the terminal is not for the guard
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kept: dict[str, None] = {}
    text = b""
    while chunk := os.read(fd, READ_BYTES):
        *messages, text = (text + chunk).split(b"\0")
        for message in map(os.fsdecode, messages):
            if message[:1] == "+":
                kept[message[1:]] = None
            else:
                kept.pop(message[1:], None)
    for what in ("group", "folder"):
        for each in kept:
            kind, _, name = each.partition(" ")
            if kind == what:
                clean_up(what, name)


def clean_up(what: str, name: str) -> None:
    """Kill the process group `name`, or remove the folder `name` and the socket in it; what is gone is fine."""
    try:
        if what == "group":
            os.killpg(int(name), signal.SIGKILL)
            return
        try:
            os.unlink(os.path.join(name, SOCKET_NAME))
        finally:
            os.rmdir(name)
    except OSError:
        pass


if __name__ == "__main__":
    watch(0)
else:
    guard = Guard()
    atexit.register(guard.close)
    os.register_at_fork(after_in_child=guard.forget)
