"""The command `xtrace`: its parser, and what an error looks like.

A command is a module of this folder with `SUMMARY`, `EXAMPLE`, `arguments(parser)` and `run(arguments, console,
settings) -> exit status`. What is slow to import is imported inside functions: help must come at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from xtrace.engine.errors import XtraceError
from xtrace.tools import (
    diff,
    doctor,
    export,
    import_command,
    info,
    interrupts,
    query,
    record,
    recover,
    replay,
    scenarios,
    settings,
    show,
    verify,
)
from xtrace.tools.output import Console, OutputClosed

CLOSED_STATUS = 141
"""128 + SIGPIPE: what the shell reports of a program whose reader went away."""

DESCRIPTION = (
    "Record a co-simulated system step by step, replay any one node of it alone, and find where two runs part."
)
EPILOG = """\
exit status:
  0    the same, good
  1    the system failed the question: runs differ, a replayed node did something else,
       a node crashed, hung or broke the protocol
  2    xtrace could not answer: bad input, something missing, damaged files
  130  interrupted
  141  whoever read the output went away (xtrace show … | head)

start with:
  xtrace record smoke -o first
  xtrace replay first --all
  xtrace record smoke -o second --seed 2
  xtrace diff first second"""


class Command(Protocol):
    """What a module must have to be a command."""

    SUMMARY: str
    EXAMPLE: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    def run(self, arguments: argparse.Namespace, console: Console, settings: settings.Settings) -> int:
        """Do it and return the exit status."""


COMMANDS: Mapping[str, Command] = {
    "record": record,
    "replay": replay,
    "diff": diff,
    "info": info,
    "show": show,
    "verify": verify,
    "recover": recover,
    "query": query,
    "export": export,
    "import": import_command,
    "scenarios": scenarios,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process) and return its exit status; never raises."""
    _reopen_closed_streams()
    is_process = arguments is None
    status = _guarded(sys.argv[1:] if arguments is None else arguments, restore=not is_process)
    if is_process:
        interrupts.leaving(status)
    return status


def _guarded(arguments: Sequence[str], *, restore: bool) -> int:
    try:
        with interrupts.raising(restore=restore):
            return _run(arguments)
    except KeyboardInterrupt:
        Console().say("xtrace: interrupted")
        return interrupts.EXIT_STATUS
    except OutputClosed:
        # at exit the interpreter flushes stdout once more; let it succeed
        _forget_stdout()
        return CLOSED_STATUS
    except Exception as error:
        return _explain(error)


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; with `chosen`, the options of the other commands are left out."""
    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "xtrace", description=DESCRIPTION, epilog=EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    top.add_argument("--version", action=_Version, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.SUMMARY,
            description=_sentence(command.SUMMARY),
            epilog=f"example:\n  {command.EXAMPLE}",
            formatter_class=formatter,
            allow_abbrev=False,
        )
        if chosen in (None, name):
            command.arguments(sub)
        sub.set_defaults(run=command.run)
    return top


def _run(arguments: Sequence[str]) -> int:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        from xtrace.engine.registry import unknown

        raise XtraceError(f"{unknown(arguments[0], COMMANDS, 'command')}; `xtrace --help` lists all")
    top = parser(arguments[0] if arguments else "")
    try:
        parsed = top.parse_args(arguments)
        if parsed.command is None:
            top.print_help(sys.stderr)
            return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    in_force = settings.load()
    console = Console(color=in_force.values["color"], no_color=in_force.no_color, ci=in_force.ci)
    status: int = parsed.run(parsed, console, in_force)
    console.flush()
    return status


def _explain(error: Exception) -> int:
    """Print one readable message and return the exit status."""
    console = Console()
    if settings.debugging():
        import traceback

        console.say("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, XtraceError):
        console.say(f"xtrace: {error}")
        return error.exit_status
    if isinstance(error, OSError) and error.strerror:
        # what is still buffered for a full disk would fail again at exit
        _forget_stdout()
        console.say(f"xtrace: {error.filename}: {error.strerror}" if error.filename else f"xtrace: {error.strerror}")
        return 2
    console.say(f"xtrace: internal error: {type(error).__name__}: {error}")
    console.say("  This is a mistake in xtrace. XTRACE_DEBUG=1 shows the traceback.")
    return 2


def _reopen_closed_streams() -> None:
    """Stand in for the streams that the caller has closed (`>&-`); else a file of the run would get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # until the process ends


def _forget_stdout() -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:]}."


class _Version(argparse.Action):
    """Print the version; looking it up takes longer than the rest of the parser, so only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from xtrace.tools.versions import own_version

        print(f"xtrace {own_version()}")
        parser.exit(0)
