"""`xtrace show`: the rows of the event log, readable; only the blocks that can hold wanted rows are read."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from xtrace.engine.duration import seconds
from xtrace.engine.errors import InputError
from xtrace.tools.output import Console, escape, plural, shorten, to_json
from xtrace.tools.runs import check_nodes, open_run
from xtrace.tools.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from xtrace.capture.blocks import StoredRow
    from xtrace.capture.index import BlockRecord
    from xtrace.capture.reader import Run

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
    add("--limit", type=int, metavar="N", help=f"at most N rows, 0 for all (default: {TERMINAL_LIMIT} on a terminal)")
    add("--json", action="store_true", help="print a JSON object per line")


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Print the rows and return 0."""
    wanted = _wanted(arguments)
    opened = open_run(arguments.run_folder)
    check_nodes(opened, arguments.node or ())
    limit = settings.choose(arguments.limit, "limit")
    if limit is None:
        limit = TERMINAL_LIMIT if console.terminal else 0
    if limit < 0:
        raise InputError("--limit", f"must be 0 or more, not {limit}")
    line = _json_line if arguments.json else _Lines(opened, console)
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


def rows(run: Run, wanted: Wanted) -> Iterator[StoredRow]:
    """Yield the wanted rows in order. Raises CorruptionError for a block that is not what was written."""
    from xtrace.capture.blocks import stored_rows

    for record in run.blocks:
        if wanted.may_be_in(record):
            yield from stored_rows(_filtered(run.read_block(record.block), wanted))


def _filtered(batch: pa.RecordBatch, wanted: Wanted) -> pa.RecordBatch:
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
    first_step, last_step = _steps(arguments.step)
    return Wanted(
        nodes=tuple(arguments.node) if arguments.node else None,
        kinds=kinds or None,
        types=tuple(arguments.type) if arguments.type else None,
        from_us=_time("--from", arguments.from_time),
        to_us=_time("--to", arguments.to_time),
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
    return f"; did you mean {' or '.join(f'--type {each}' for each in near)}?" if near else ""


def _time(option: str, text: str | None) -> int | None:
    from xtrace.engine.duration import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise InputError(option, str(error)) from error


def _steps(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    first, colon, last = text.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (first, last or "0")):
        raise InputError("--step", f"{text!r} is not a step such as 7, or a range such as 7:12")
    return int(first), int(last) if last else None if colon else int(first)


class _Lines:
    """Makes lines whose columns stand below one another; on a terminal they are as wide as it, at most."""

    def __init__(self, run: Run, console: Console) -> None:
        self._width = console.width if console.terminal else None
        self._seq = len(str(run.events))
        self._step = len(str(run.blocks[-1].last_step)) if run.blocks else 1
        self._time = len(seconds(max((record.max_time_us for record in run.blocks), default=0)))
        self._node = max(len(escape(node)) for node in run.nodes)

    def __call__(self, stored: StoredRow) -> str:
        row = stored.row
        route = f"{row.src} -> {row.dst}" if row.src and row.dst else ""
        late = f"late {row.late_us}us" if row.late_us else ""
        payload = _payload_text(row.payload) if row.payload else f"object {row.object}" if row.object else ""
        words = " ".join(escape(word) for word in (route, row.type, payload, late) if word)
        line = (
            f"{stored.seq:>{self._seq}}  {row.step:>{self._step}}  {seconds(row.time_us):>{self._time}}  "
            f"{row.kind:<6}  {escape(row.node):<{self._node}}  {words}"
        ).rstrip()
        return line if self._width is None else shorten(line, self._width)


def _json_line(stored: StoredRow) -> str:
    columns: dict[str, Any] = {"seq": stored.seq, **stored.row._asdict(), "cause": list(stored.cause)}
    columns["payload"] = json.loads(_payload_text(stored.row.payload)) if stored.row.payload else None
    return to_json(columns)


def _payload_text(payload: bytes) -> str:
    from xtrace.engine.json_values import encode_value
    from xtrace.engine.values import decode

    return encode_value(decode(payload))
