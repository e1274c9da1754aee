"""Nodes that are a command: any program, in any language, that speaks the node protocol (`engine/PROTOCOL.md`).

The command runs in the scenario's folder, in a session and process group of its own, with a clean environment. It ends
with the run, however the run ends: by itself after SHUTDOWN, by SIGTERM, by SIGKILL, or by the guard's hand.
"""

from __future__ import annotations

import difflib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from xtrace.bridges.filtered_log import FilteredLog
from xtrace.bridges.guard import SOCKET_NAME, clean_up, guard
from xtrace.engine.errors import InputError, NodeCrashed
from xtrace.engine.json_values import printable, shown
from xtrace.engine.node import NodeSpec, Option, Setup, Workspace
from xtrace.engine.remote import RemoteNode, clock

PASSED = (
    "PATH",
    "HOME",
    "TMPDIR",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
)
"""The variables that a command gets from xtrace's own environment."""
SET = {"LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
"""The variables that are the same for every command on every machine."""
TERMINATE_S = 2.0
"""How long a command may take to end after SIGTERM, before it gets SIGKILL."""
LOG_TAIL_LINES = 5
LOG_TAIL_BYTES = 4_000
MAX_SOCKET_FOLDER_BYTES = 90
"""The path of a Unix socket must fit in 104 bytes on some systems."""
PLACEHOLDERS = {"{socket}": "unix", "{address}": "tcp"}


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raise InputError unless `variables` can be environment variables."""
    problems = []
    for name, value in variables.items():
        if type(value) not in (str, int):
            problems.append(f"{name}: a variable is text, not {value!r}: write it in quotes")
        elif not name or "=" in name or "\0" in f"{name}{value}":
            problems.append(f"{name!r} can't be a variable: no =, no NUL, not empty")
    if problems:
        raise InputError("env", problems)


def check_command(arguments: Sequence[str]) -> None:
    """Raise InputError unless `arguments` can be a command."""
    if not arguments or not arguments[0]:
        raise InputError("command", "a program is needed, such as ['{python}', node.py]")
    problems = [f"{shown(argument)} has a NUL character" for argument in arguments if "\0" in argument]
    if problems:
        raise InputError("command", problems)


class ProcessNode(RemoteNode):
    """Runs a command and talks to it over its stdin and stdout, a Unix socket, or TCP on this machine."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "command": Option(
            "strings",
            "the program and its arguments; `{python}`, `{socket}` and `{address}` are filled in",
            required=True,
            check=check_command,
        ),
        "transport": Option(
            "string",
            "stdio, unix (the command connects to `$XTRACE_SOCKET`) or tcp (to `$XTRACE_ADDRESS`)",
            default="stdio",
            choices=("stdio", "unix", "tcp"),
        ),
        "timeout": Option("duration", "how long the command may take for one step", default="10s", minimum=1),
        "start_timeout": Option("duration", "how long the command may take to get ready", default="30s", minimum=1),
        "env": Option("mapping", "further environment variables", default={}, check=check_variables),
        "files": Option("strings", "files that the command opens, beside those that its arguments name", default=()),
    }

    def __init__(self, spec: NodeSpec, workspace: Workspace) -> None:
        options = spec.options
        super().__init__(spec.id, timeout_us=options["timeout"], start_timeout_us=options["start_timeout"])
        self._transport: str = options["transport"]
        self._folder = workspace.folder.absolute()
        self._log = workspace.logs / f"{spec.id}.log"
        self._log_filter = workspace.log_filter
        self._filtered_log: FilteredLog | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder = ""
        where = f"node {spec.id!r}"
        self._environment = _environment(options["env"])
        self._command = _command(options["command"], workspace, self._transport, where=f"{where}: command")
        self._program = _program(self._command[0], self._folder, self._environment, where=f"{where}: command")
        missing = [name for name in options["files"] if not os.path.isfile(workspace.find(name))]
        if missing:
            raise InputError(f"{where}: files", [f"{name}: no such file in {self._folder}" for name in missing])
        for name in options["files"]:
            workspace.path(name)

    @property
    def programs(self) -> Sequence[str]:
        """The program that is run, unless it is part of the run, or the Python that xtrace has anyway."""
        kept = Path(self._program).is_relative_to(self._folder) or self._program == sys.executable
        return () if kept else (os.path.basename(self._program),)

    def start(self, setup: Setup) -> None:
        """Start the command. Raises NodeCrashed if the system refuses to."""
        try:
            address = self._listen()
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._open_log() as log:
                self._process = process = self._popen(address, log)
            guard.add("group", str(process.pid))
        except OSError as error:
            reason = f"the command {shown(self._command[0])} can't be started: {error.strerror}"
            raise NodeCrashed(self.node, reason, hint=_start_hint(error)) from error
        if process.stdin is not None and process.stdout is not None:
            with process.stdin as stdin, process.stdout as stdout:
                self.connect(os.dup(stdout.fileno()), os.dup(stdin.fileno()))

    def ended(self) -> str:
        """Return how the command ended, or "" if it runs."""
        process = self._process
        if process is None:
            return "it was never started"
        if process.returncode is None and process.poll() is not None:
            # What it started must not outlive it. Its group can't be another's yet: ids are not used again so soon.
            self._free_group(process.pid)
        if process.returncode is None:
            return ""
        if process.returncode >= 0:
            return f"it ended with exit status {process.returncode}"
        return f"it was killed by {_signal_name(-process.returncode)}"

    def hints(self) -> list[str]:
        """Return the end of the log, and what a command has to do that ended by itself."""
        hints = []
        if self._process is not None and self._process.returncode == 0:
            hints.append("the command has to run until it reads SHUTDOWN or the end of its input")
        if self._filtered_log is not None:
            self._filtered_log.settle()
        lines = _last_lines(self._log)
        if lines:
            hints += ["the end of its log:", *(f"  {printable(line)}" for line in lines)]
        return hints

    def release(self, *, deadline_s: float) -> None:
        """End the command and whatever it started in its group, and remove its socket."""
        process = self._process
        if process is not None and process.returncode is None:
            for wait_s, number in ((deadline_s - clock(), signal.SIGTERM), (TERMINATE_S, signal.SIGKILL)):
                if not _ends(process, wait_s):
                    _signal_group(process.pid, number)
            process.wait()
            self._free_group(process.pid)
        if self._filtered_log is not None:
            self._filtered_log.close()
        if self._socket_folder:
            clean_up("folder", self._socket_folder)
            guard.remove("folder", self._socket_folder)
            self._socket_folder = ""

    def _open_log(self) -> BinaryIO:
        if self._log_filter is None:
            return self._log.open("wb")
        self._filtered_log = FilteredLog(self._log, self._log_filter())
        return self._filtered_log.input

    def _listen(self) -> str:
        """Listen where the command has to connect to, and return that address."""
        if self._transport == "stdio":
            return ""
        if self._transport == "tcp":
            listener = socket.create_server(("127.0.0.1", 0), backlog=1)
            self.expect(listener)
            return "{}:{}".format(*listener.getsockname())
        folder = tempfile.mkdtemp(prefix="xtrace-")
        if len(os.fsencode(folder)) > MAX_SOCKET_FOLDER_BYTES:
            os.rmdir(folder)
            folder = tempfile.mkdtemp(prefix="xtrace-", dir="/tmp")
        self._socket_folder = folder
        guard.add("folder", folder)
        address = os.path.join(folder, SOCKET_NAME)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(1)
        self.expect(listener)
        return address

    def _popen(self, address: str, log: BinaryIO) -> subprocess.Popen[bytes]:
        piped = self._transport == "stdio"
        return subprocess.Popen(
            [argument.replace("{socket}", address).replace("{address}", address) for argument in self._command],
            executable=self._program,
            bufsize=0,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else log,
            stderr=log,
            cwd=self._folder,
            env=self._environment | _addresses(self._transport, address),
            start_new_session=True,
        )

    def _free_group(self, group: int) -> None:
        _signal_group(group, signal.SIGKILL)
        guard.remove("group", str(group))


def _environment(extra: Mapping[str, Any]) -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return passed | SET | {name: str(value) for name, value in extra.items()}


def _command(arguments: Sequence[str], workspace: Workspace, transport: str, *, where: str) -> list[str]:
    """Return the command with every file of the scenario that it names kept."""
    problems = []
    for argument in arguments:
        for placeholder, needed in PLACEHOLDERS.items():
            if placeholder in argument and transport != needed:
                problems.append(f"{argument!r} has {placeholder}, which needs transport: {needed}, not {transport}")
    if problems:
        raise InputError(where, problems)
    return [_kept(argument.replace("{python}", sys.executable), workspace) for argument in arguments]


def _kept(argument: str, workspace: Workspace) -> str:
    """Return `argument`, with the file that it (or its part behind `=`) names kept by the workspace."""
    option, equals, _ = argument.rpartition("=")
    for prefix, name in (("", argument), (option + equals, argument.removeprefix(option + equals))):
        path = workspace.find(name) if name else workspace.folder
        # An absolute path outside of the scenario is part of the machine, such as an interpreter.
        inside = not os.path.isabs(name) or Path(name).is_relative_to(workspace.folder.absolute()) or path != Path(name)
        if inside and os.path.isfile(path):
            kept = workspace.path(name)
            return argument if kept == workspace.folder / name else f"{prefix}{kept.absolute()}"
    return argument


def _program(name: str, folder: Path, environment: Mapping[str, str], *, where: str) -> str:
    """Return the path of the program called `name`. Raises InputError, with the nearest name."""
    search = environment.get("PATH", os.defpath)
    if "/" in name:
        path = str(folder / name)
        near = _nearest(os.path.basename(name), os.path.dirname(path))
        what = f"{shown(name)} does not exist in {folder}"
    else:
        path = os.path.abspath(shutil.which(name, path=search) or "")
        near = f"./{name}" if os.path.isfile(folder / name) else _nearest(name, *search.split(os.pathsep))
        what = f"no program {shown(name)} on the PATH ({search})"
    if not os.path.isfile(path):
        raise InputError(where, what + (f"; did you mean {near!r}?" if near else ""))
    if not os.access(path, os.X_OK):
        raise InputError(where, f"{shown(name)} is not executable: chmod +x it, or name its interpreter before it")
    return path


def _nearest(name: str, *folders: str) -> str:
    names: list[str] = []
    for folder in folders:
        try:
            names += sorted(os.listdir(folder))
        except OSError:
            continue
    return next(iter(difflib.get_close_matches(name, names, n=1)), "")


def _last_lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return file.read().decode(errors="backslashreplace").splitlines()[-LOG_TAIL_LINES:]
    except OSError:
        return []


def _addresses(transport: str, address: str) -> dict[str, str]:
    return {"stdio": {}, "unix": {"XTRACE_SOCKET": address}, "tcp": {"XTRACE_ADDRESS": address}}[transport]


def _start_hint(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "a script needs a first line such as #!/bin/sh, or its interpreter as the program"
    if error.errno == errno.ENOENT:
        return "the interpreter that its first line names does not exist"
    return ""


def _ends(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        process.wait(max(0.0, wait_s))
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left; macOS refuses where only zombies are


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in signal.valid_signals() and number < 32 else f"signal {number}"
