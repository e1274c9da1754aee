"""`xtrace show`: the rows of the event log, readable; only the blocks that can hold wanted rows are read."""

from __future__ import annotations

import argparse
import difflib
import json
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.engine.duration import seconds
from xtrace.engine.errors import CorruptionError, InputError
from xtrace.tools.output import Console, escape, plural, shorten, to_json
from xtrace.tools.runs import check_nodes, command, is_open, open_run, time_option, time_range
from xtrace.tools.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from xtrace.capture.blocks import StoredRow
    from xtrace.capture.index import BlockRecord
    from xtrace.capture.live import LiveRun
    from xtrace.capture.reader import Run

FOLLOW_PERIOD_S = 0.2
LIVE_ROWS = 99_999
"""As many rows as a run may have in the end for the columns to stand below one another while it is recorded."""
SUMMARY = "print events of a run"
EXAMPLE = "xtrace show runs/first --node edge --kind output --from 1s --to 2s"

TERMINAL_LIMIT = 50
"""Rows on a terminal unless --limit says otherwise; a pipe or a file gets all."""


class Wanted(NamedTuple):
    """Which rows to show; None is no restriction. Steps are inclusive, `to_us` is not."""

    nodes: tuple[str, ...] | None
    kinds: tuple[str, ...] | None
    types: tuple[str, ...] | None
    from_us: int | None
    to_us: int | None
    first_step: int | None
    last_step: int | None

    def may_be_in(self, record: BlockRecord) -> bool:
        """Return whether a block can hold wanted rows."""
        return not (
            (self.from_us is not None and record.max_time_us < self.from_us)
            or (self.to_us is not None and record.min_time_us >= self.to_us)
            or (self.first_step is not None and record.last_step < self.first_step)
            or (self.last_step is not None and record.first_step > self.last_step)
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("run_folder", metavar="RUN", help="the folder of a run")
    add("--node", action="append", metavar="ID", help="only rows of this node; may be given several times")
    add("--kind", action="append", metavar="KIND", help="only input, output, drop, step or abort; several times")
    add("--type", action="append", metavar="TYPE", help="only events of this type; several times")
    add("--from", dest="from_time", metavar="TIME", help="from this virtual time on, with its unit: 1s, 250ms")
    add("--to", dest="to_time", metavar="TIME", help="up to this virtual time and without it")
    add("--step", metavar="N[:M]", help="only step N, or the steps N to M, both included")
    add(
        "--at",
        metavar="TIME",
        help="the rows of the step at this virtual time, or of the last before it",
    )
    add("--follow", action="store_true", help="go on with what is being recorded, until the recording ends")
    add("--limit", type=int, metavar="N", help=f"at most N rows, 0 for all (default: {TERMINAL_LIMIT} on a terminal)")
    add("--json", action="store_true", help="print a JSON object per line")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Print the rows and return 0."""
    wanted = _wanted(arguments)
    limit = settings.choose(arguments.limit, "limit")
    if limit is None:
        limit = TERMINAL_LIMIT if console.terminal and not arguments.follow else 0
    if limit < 0:
        raise InputError("--limit", f"must be 0 or more, not {limit}")
    if is_open(arguments.run_folder):
        return follow(arguments, wanted, console, limit=limit)
    opened = open_run(arguments.run_folder)
    check_nodes(opened, arguments.node or ())
    if arguments.at is not None:
        wanted = _at(opened, wanted, arguments.at, console)
    line = json_line if arguments.json else _Lines.of(opened, console)
    shown = 0
    for row in rows(opened, wanted):
        if limit and shown == limit:
            console.say(f"… more than {plural(limit, 'row')}; --limit 0 shows all")
            break
        console.raw(line(row) + "\n")
        shown += 1
    if not shown:
        console.say(f"no event matches{_hint(opened, wanted)}")
    return 0


def follow(arguments: argparse.Namespace, wanted: Wanted, console: Console, *, limit: int) -> int:
    """Print the rows of a run that has no seal yet, with --follow until its recording ends; return 0."""
    from xtrace.capture.blocks import stored_rows
    from xtrace.capture.live import LiveRun

    live = LiveRun(Path(arguments.run_folder))
    check_nodes(live, arguments.node or ())
    if arguments.at is not None:
        raise InputError("--at", "works on a closed run; of this one, give --from and --to, or --step")
    line = json_line if arguments.json else _Lines.of_live(live, console)
    shown = 0
    while True:
        going_on = live.is_recording and not live.is_closed
        for batch in live.new_batches():
            for row in stored_rows(filtered(batch, wanted)):
                if limit and shown == limit:
                    console.say(f"… more than {plural(limit, 'row')}; --limit 0 shows all")
                    return 0
                console.raw(line(row) + "\n")
                shown += 1
        console.flush()
        if not (going_on and arguments.follow):
            break
        time.sleep(FOLLOW_PERIOD_S)
    if going_on:
        console.say("the run is being recorded; --follow goes on with what comes")
    elif not live.is_closed:
        console.say(f"the recording was killed; to make a run of it: {_recover_command(arguments.run_folder)}")
    return 0


def _recover_command(folder: str) -> str:
    return command("recover", folder, "-o", f"{folder.rstrip('/')}-recovered")


def _at(run: Run, wanted: Wanted, text: str, console: Console) -> Wanted:
    """Return `wanted` for the step in which the virtual time `text` lies, or for the last before it with events."""
    import pyarrow as pa
    import pyarrow.compute as pc

    at_us = time_option("--at", text)
    step_us = run.manifest.get("step_us")
    if at_us is None or not isinstance(step_us, int) or step_us < 1:
        raise InputError("--at", "the run does not say how long its steps are; give --from and --to")
    step = at_us // step_us + 1
    before = [record.block for record in run.blocks if record.first_step <= step]
    if not before:
        return wanted._replace(first_step=step, last_step=step)
    steps = run.read_block(before[-1]).column("step")
    found = pc.max(steps.filter(pc.less_equal(steps, pa.scalar(step, pa.int64())))).as_py()
    if found < step:
        console.say(f"nothing happened in step {step}, at {seconds(at_us)}; this is step {found}, the last before it")
    return wanted._replace(first_step=found, last_step=found)


def rows(run: Run, wanted: Wanted) -> Iterator[StoredRow]:
    """Yield the wanted rows in order. Raises CorruptionError for a block that is not what was written."""
    from xtrace.capture.blocks import stored_rows

    for record in run.blocks:
        if wanted.may_be_in(record):
            yield from stored_rows(filtered(run.read_block(record.block), wanted))


def filtered(batch: pa.RecordBatch, wanted: Wanted) -> pa.RecordBatch:
    """Return the wanted rows of a block."""
    import pyarrow as pa
    import pyarrow.compute as pc

    masks = [
        pc.is_in(batch.column(name).cast(pa.string()), pa.array(words, pa.string()))
        for name, words in (("node", wanted.nodes), ("kind", wanted.kinds), ("type", wanted.types))
        if words is not None
    ]
    for name, compare, bound in (
        ("time_us", pc.greater_equal, wanted.from_us),
        ("time_us", pc.less, wanted.to_us),
        ("step", pc.greater_equal, wanted.first_step),
        ("step", pc.less_equal, wanted.last_step),
    ):
        if bound is not None:
            masks.append(compare(batch.column(name), pa.scalar(bound, pa.int64())))
    for mask in masks[1:]:
        masks[0] = pc.and_(masks[0], mask)
    return batch.filter(masks[0]) if masks else batch


def _wanted(arguments: argparse.Namespace) -> Wanted:
    from xtrace.engine.recorder import KINDS
    from xtrace.engine.registry import unknown

    kinds = tuple(arguments.kind or ())
    problems = [unknown(kind, KINDS, "kind") for kind in kinds if kind not in KINDS]
    if problems:
        raise InputError("--kind", problems)
    from_us, to_us = time_range(arguments)
    first_step, last_step = _steps(arguments.step)
    return Wanted(
        nodes=tuple(arguments.node) if arguments.node else None,
        kinds=kinds or None,
        types=tuple(arguments.type) if arguments.type else None,
        from_us=from_us,
        to_us=to_us,
        first_step=first_step,
        last_step=last_step,
    )


def _hint(run: Run, wanted: Wanted) -> str:
    """Return "; did you mean …?" for types that no event of the blocks has that were looked through."""
    if wanted.types is None:
        return ""
    records = [record for record in run.blocks if wanted.may_be_in(record)]
    seen = sorted(
        {each for record in records for each in run.read_block(record.block).column("type").unique().tolist()}
    )
    near = [each for word in wanted.types if word not in seen for each in difflib.get_close_matches(word, seen, n=2)]
    return f"; did you mean {' or '.join(f'--type {shlex.quote(each)}' for each in near)}?" if near else ""


def _steps(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    first, colon, last = text.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (first, last or "0")):
        raise InputError("--step", f"{text!r} is not a step such as 7, or a range such as 7:12")
    if last and int(last) < int(first):
        raise InputError("--step", f"{text} ends before it begins; give {last}:{first}")
    return int(first), int(last) if last else None if colon else int(first)


class _Lines:
    """Makes lines whose columns stand below one another; on a terminal they are as wide as it, at most."""

    def __init__(self, nodes: Sequence[str], console: Console, *, rows: int, last_step: int, end_us: int) -> None:
        self._width = console.width if console.terminal else None
        self._seq = len(str(rows))
        self._step = len(str(last_step))
        self._time = len(seconds(end_us))
        self._node = max(len(escape(node)) for node in nodes)

    @classmethod
    def of(cls, run: Run, console: Console) -> _Lines:
        """Return what makes the lines of a closed run."""
        last_step = run.blocks[-1].last_step if run.blocks else 0
        end_us = max((record.max_time_us for record in run.blocks), default=0)
        return cls(run.nodes, console, rows=run.events, last_step=last_step, end_us=end_us)

    @classmethod
    def of_live(cls, live: LiveRun, console: Console) -> _Lines:
        """Return what makes the lines of a run of which nobody knows how long it will be."""
        duration_us, step_us = live.manifest.get("duration_us") or 0, live.manifest.get("step_us") or 1
        return cls(live.nodes, console, rows=LIVE_ROWS, last_step=duration_us // step_us, end_us=duration_us)

    def __call__(self, stored: StoredRow) -> str:
        row = stored.row
        route = f"{row.src} -> {row.dst}" if row.src and row.dst else ""
        late = f"late {row.late_us}us" if row.late_us else ""
        payload = payload_text(row.payload) if row.payload else f"object {row.object}" if row.object else ""
        words = " ".join(escape(word) for word in (route, row.type, payload, late) if word)
        line = (
            f"{stored.seq:>{self._seq}}  {row.step:>{self._step}}  {seconds(row.time_us):>{self._time}}  "
            f"{row.kind:<6}  {escape(row.node):<{self._node}}  {words}"
        ).rstrip()
        return line if self._width is None else shorten(line, self._width)


def json_line(stored: StoredRow) -> str:
    """Return a row as a line of JSON."""
    return to_json(json_columns(stored))


def json_columns(stored: StoredRow) -> dict[str, Any]:
    """Return the columns of a row as JSON has them; no payload is null."""
    columns: dict[str, Any] = {"seq": stored.seq, **stored.row._asdict(), "cause": list(stored.cause)}
    columns["payload"] = json.loads(payload_text(stored.row.payload)) if stored.row.payload else None
    return columns


def payload_text(payload: bytes) -> str:
    """Return a payload, which is not empty, as JSON that loses nothing of it."""
    from xtrace.engine.json_values import encode_value
    from xtrace.engine.values import ValueFault, decode

    try:
        return encode_value(decode(payload))
    except ValueFault as fault:
        reason = f"a payload is no canonical value: {fault}; `xtrace verify RUN` names its block"
        raise CorruptionError("events.arrow", reason) from fault
