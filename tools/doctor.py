"""`xtrace doctor`: what is installed, what is missing and how to get it, and which settings are in force."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from typing import Any, NamedTuple

from xtrace.engine.errors import XtraceError
from xtrace.tools.output import Console, aligned, escape
from xtrace.tools.settings import SETTINGS, Settings
from xtrace.tools.versions import own_version, version_of

SUMMARY = "say what is installed, what is missing and how to get it, and which settings are in force"
EXAMPLE = "xtrace doctor --json"

MIN_PYTHON = (3, 11)


class Part(NamedTuple):
    """A distribution that xtrace uses, the module it is imported as, and what for. `extra` is set for what is optional.

    `pinned` says what to install where not every version is as good.
    """

    distribution: str
    module: str
    purpose: str
    extra: str = ""
    pinned: str = ""

    @property
    def install(self) -> str:
        """The command that gets it into the environment that runs xtrace."""
        return shlex.join([sys.executable, "-m", "pip", "install", self.pinned or self.distribution])


PARTS = (
    Part("msgpack", "msgpack", "payloads"),
    Part("pyarrow", "pyarrow", "the event log"),
    Part("duckdb", "duckdb", "diff, query"),
    Part("deepdiff", "deepdiff", "diff"),
    Part("PyYAML", "yaml", "scenario files"),
    Part("rich", "rich", "progress on a terminal"),
    Part("onnxruntime", "onnxruntime", "nodes with implementation onnx", "onnx"),
    Part("numpy", "numpy", "nodes with implementation onnx", "onnx"),
    Part("mcap", "mcap", "export as MCAP", "mcap"),
    Part("zstandard", "zstandard", "MCAP files", "mcap"),
    Part("lz4", "lz4", "MCAP files", "mcap"),
    Part("torch", "torch", "training the library's model anew", "torch", pinned="torch==2.13.0"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Print it; return 0, or 2 if something required is missing."""
    facts = examine(settings)
    if arguments.json:
        console.json(facts)
    else:
        _print(facts, console)
    return 0 if facts["ok"] else 2


def examine(settings: Settings) -> dict[str, Any]:
    """Return what is installed and in force as JSON values."""
    import platform

    parts = [_examine_part(part) for part in PARTS]
    python_ok = sys.version_info >= MIN_PYTHON
    return {
        "ok": python_ok and all(part["ok"] for part in parts if part["required"]),
        "xtrace": own_version(),
        "python": {"version": platform.python_version(), "executable": sys.executable, "ok": python_ok},
        "platform": {
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()).strip(),
            "cores": os.cpu_count(),
        },
        "parts": parts,
        "implementations": _implementations(),
        "state_folder": _state_folder(),
        "settings": {
            name: {"value": settings.values[name], "from": settings.origins[name], "about": SETTINGS[name].doc}
            for name in sorted(SETTINGS)
        },
        "unknown_variables": list(settings.unknown_variables),
    }


def _examine_part(part: Part) -> dict[str, Any]:
    """Import a part, because being there and being usable are two things."""
    problem = None
    try:
        importlib.import_module(part.module)
    except Exception as error:
        problem = "not installed" if _is_absent(error, part.module) else f"{type(error).__name__}: {error}"
    return {
        "name": part.distribution,
        "version": version_of(part.distribution),
        "for": part.purpose,
        "required": not part.extra,
        "ok": problem is None,
        "problem": problem,
        "install": None if problem is None else part.install,
    }


def _is_absent(error: Exception, module: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name == module


def _implementations() -> dict[str, str]:
    """Return for each implementation of nodes "ok" or what it lacks."""
    from xtrace.engine import registry

    found = {}
    for name in registry.names(registry.NODES):
        try:
            registry.load(registry.NODES, name)
            found[name] = "ok"
        except XtraceError as error:
            found[name] = str(error)
    return found


def _print(facts: dict[str, Any], console: Console) -> None:
    python, machine = facts["python"], facts["platform"]
    _section(
        console,
        "xtrace",
        [
            ("version", facts["xtrace"]),
            ("python", f"{python['version']} ({python['executable']})" + ("" if python["ok"] else ": 3.11 is needed")),
            ("platform", f"{machine['system']}, {machine['machine']}, {machine['libc']}, {machine['cores']} cores"),
            ("state folder", facts["state_folder"] or "-"),
        ],
    )
    _section(console, "parts", [(part["name"], _part_text(part), part["for"]) for part in facts["parts"]])
    for part in facts["parts"]:
        if not part["ok"]:
            need = "required" if part["required"] else "optional"
            console.data(f"{need}: {part['install']}", style="red" if part["required"] else "yellow")
    _section(console, "implementations of nodes", list(facts["implementations"].items()))
    in_force = facts["settings"].items()
    _section(
        console, "settings", [(name, _value(each["value"]), each["from"], each["about"]) for name, each in in_force]
    )
    for name in facts["unknown_variables"]:
        console.say(f"note: the variable {name} is no setting of the command")


def _section(console: Console, title: str, rows: list[tuple[str, ...]]) -> None:
    console.data(title, style="bold")
    for line in aligned([(f"  {escape(row[0])}", *map(escape, row[1:])) for row in rows]):
        console.data(line)


def _part_text(part: dict[str, Any]) -> str:
    return (part["version"] or "installed") if part["ok"] else part["problem"]


def _value(value: Any) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _state_folder() -> str | None:
    """Return where xtrace remembers which runs were recorded or trusted on this machine."""
    try:
        from xtrace.capture.trust import state_folder
    except ImportError:
        return None
    return str(state_folder())
