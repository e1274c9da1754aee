"""`xtrace import`: a run of a recording that was made elsewhere, or of a run that was exported."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrace.engine.errors import InputError
from xtrace.tools.import_jsonl import FORMATS, Fields, refuse_export, take_lines
from xtrace.tools.import_place import arriving, check_free
from xtrace.tools.mcap_file import MAGIC, McapFile
from xtrace.tools.output import Console, aligned, plural
from xtrace.tools.progress import Progress
from xtrace.tools.runs import command, named_folder
from xtrace.tools.settings import Settings

if TYPE_CHECKING:
    from xtrace.tools.import_recording import Recording

SUMMARY = "make a run of an MCAP or JSON Lines file, so that what was recorded elsewhere can be replayed"
EXAMPLE = "xtrace import drive.mcap -o runs/drive --scenario-out drive"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("file", metavar="FILE", help="an MCAP file, of xtrace or any other program, or JSON Lines: an object per line")
    add("-o", "--out", required=True, metavar="DIR", help="the folder of the run")
    add("--time", metavar="FIELD", help="JSON Lines: the field with the time (default: time, timestamp or ts)")
    add("--time-format", choices=FORMATS, help="JSON Lines: ISO 8601, or a number since 1970 and its unit")
    nodes = parser.add_mutually_exclusive_group()
    nodes.add_argument("--node", metavar="FIELD", help="JSON Lines: the field that names the node of a line")
    nodes.add_argument("--node-id", metavar="NAME", help="JSON Lines: the node of all lines (default: the file's name)")
    add("--type", metavar="FIELD", help="JSON Lines: the field with the type of a line (default: all are `reading`)")
    add("--scenario-out", metavar="DIR", help="leave the scenario and its files in DIR, to be changed and recorded")
    add("--force", action="store_true", help="replace the run in DIR")
    add("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Import and return 0."""
    path, out = Path(arguments.file), named_folder(arguments.out)
    if not path.is_file():
        raise InputError(str(path), "no such file" if not path.exists() else "is no file")
    check_free(out, force=arguments.force)
    fields = Fields(arguments.time, arguments.time_format, arguments.node, arguments.node_id, arguments.type)
    for option, value in fields._asdict().items():
        if value == "":
            raise InputError(f"--{option.replace('_', '-')}", "is empty; give a name, or leave the option out")
    with ExitStack() as stack:
        mcap = stack.enter_context(McapFile(path)) if _is_mcap(path) else None
        if mcap is not None and any(each is not None for each in fields):
            raise InputError(
                str(path), "is MCAP: --time, --time-format, --node, --node-id and --type are for JSON Lines"
            )
        if mcap is not None and _holds_run(mcap):
            if arguments.scenario_out is not None:
                raise InputError("--scenario-out", "is for what other programs recorded; this is a run of xtrace")
            facts = _import_run(mcap, out, force=arguments.force)
        else:
            facts = _import_recording(mcap, path, fields, arguments, console)
    _print(facts, path, console, as_json=arguments.json)
    return 0


def _is_mcap(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC or path.suffix == ".mcap"


def _holds_run(mcap: McapFile) -> bool:
    from xtrace.tools.import_run import is_exported_run

    return is_exported_run(mcap)


def _import_run(mcap: McapFile, out: Path, *, force: bool) -> dict[str, Any]:
    from xtrace.capture.reader import Run
    from xtrace.tools.import_run import import_run

    with arriving(out, force=force) as folder:
        import_run(mcap, folder)
    imported = Run.open(out)
    return _facts(imported, sources=None, messages=imported.events)


def _import_recording(
    mcap: McapFile | None, path: Path, fields: Fields, arguments: argparse.Namespace, console: Console
) -> dict[str, Any]:
    from xtrace.capture.reader import Run
    from xtrace.scenarios.loader import load
    from xtrace.scenarios.record import record
    from xtrace.tools.import_recording import Recording

    out = Path(arguments.out)
    with (
        arriving(out, force=arguments.force) as folder,
        _scenario_folder(arguments.scenario_out, beside=out) as scenario_folder,
        closing(Recording(scenario_folder, where=str(path))) as recording,
    ):
        _take(mcap, path, fields, recording, console)
        scenario = load(recording.write(_scenario_name(path)))
        with closing(Progress(console, scenario.name)) as progress:
            recorded = record(scenario, folder, on_progress=progress)
        if recorded.status == "interrupted":
            raise KeyboardInterrupt
        if recorded.failure is not None:
            raise recorded.failure
        sources = [
            {"node": each.node, "source": each.name, "messages": each.messages} for each in recording.sources.values()
        ]
    return _facts(Run.open(out), sources=sources, messages=recording.messages)


def _take(mcap: McapFile | None, path: Path, fields: Fields, recording: Recording, console: Console) -> None:
    from xtrace.tools.import_mcap import take_messages

    if mcap is None:
        refuse_export(path)
        take_lines(path, recording, fields)
        return
    undecoded = take_messages(mcap, recording)
    if undecoded:
        what = f"{plural(undecoded, 'message')} in JSON that no payload can hold as it is written"
        console.say(f"warning: {what}: kept as bytes", style="yellow")


@contextmanager
def _scenario_folder(chosen: str | None, *, beside: Path) -> Iterator[Path]:
    """Yield the folder for the scenario: one that stays if it is `chosen` and the block ends well."""
    if chosen is None:
        beside.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{beside.name}.scenario-", dir=beside.absolute().parent) as name:
            yield Path(name)
        return
    folder = Path(chosen)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("--scenario-out", f"{folder} is there already and not an empty folder; choose another one")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        for each in sorted(folder.iterdir()):
            each.unlink(missing_ok=True)
        folder.rmdir()
        raise


def _scenario_name(path: Path) -> str:
    stem = re.sub(r"[^a-z0-9_-]+", "_", path.stem.lower()).strip("_-")[:64]
    return stem if stem[:1].isalpha() else f"recording_{stem}"[:64].rstrip("_")


def _facts(imported: Any, *, sources: list[dict[str, Any]] | None, messages: int) -> dict[str, Any]:
    return {
        "run": str(imported.path),
        "status": imported.status,
        "steps": imported.steps,
        "events": imported.events,
        "messages": messages,
        "fingerprint": imported.fingerprint,
        "sources": sources,
    }


def _print(facts: dict[str, Any], path: Path, console: Console, *, as_json: bool) -> None:
    if as_json:
        console.json(facts)
        return
    sources = facts["sources"]
    if sources is None:
        console.data(f"{path}: the run that was exported, {facts['status']}, {plural(facts['events'], 'event')}")
    else:
        what = f"{plural(facts['messages'], 'message')} of {plural(len(sources), 'source')}"
        console.data(f"{path}: {what}, {plural(facts['steps'], 'step')}")
        rows = [(f"  {each['node']}", each["source"], plural(each["messages"], "message")) for each in sources]
        for line in aligned(rows, right=[2]):
            console.data(line)
    console.data(f"fingerprint  {facts['fingerprint']}")
    console.data(f"run          {facts['run']}")
    trust = [] if sources is not None else ["--trust"]
    console.say(f"next: {command('replay', facts['run'], '--all', *trust)}", style="dim")
