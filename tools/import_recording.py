"""Makes a scenario of a recording: a file of events per source, each played back by a node (`implementation: jsonl`).

Messages wait in one file in the order in which they come, and in memory as some 40 bytes each; at the end they are
sorted by time. Virtual time 0 is the time of the earliest. What comes at the same time keeps its order within a source.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xtrace.bridges.jsonl import MAX_LINE_BYTES
from xtrace.engine.duration import MAX_TIME_US
from xtrace.engine.errors import InputError
from xtrace.engine.json_values import encode_value
from xtrace.engine.values import Value, ValueFault, encode
from xtrace.scenarios.keys import RESERVED_IDS

STEP_US = 1_000
MAX_SOURCES = 500
"""Every one of them is a node that has its file open."""
MAX_STEP_MESSAGES = 100_000
MAX_STEP_BYTES = 128 * 1024 * 1024
"""What is sent in one step is in memory at once."""
MAX_ID_CHARACTERS = 48
MAX_NAME_CHARACTERS = 1_000
MAX_PREFACE_BYTES = 64 * 1024 * 1024
"""What the events about all sources may be long together."""
MAX_SHOWN_CHARACTERS = 200
_LINE_ROOM = 1_000


@dataclass
class Source:
    """Where messages come from, and the node that plays them back. `about` becomes the node's `config`."""

    name: str
    node: str
    about: dict[str, Value]
    messages: int = 0
    preface: list[bytes] = field(default_factory=list)
    """Lines at virtual time 0, without their time."""


class Recording:
    """Takes messages and writes them down as a scenario into `folder`; `where` names the file they come from."""

    def __init__(self, folder: Path, *, where: str) -> None:
        self.sources: dict[str, Source] = {}
        self.messages = 0
        self._folder = folder
        self._where = where
        self._ids: set[str] = set(RESERVED_IDS)
        self._waiting = (folder / "waiting").open("w+b")
        self._waiting_bytes = self._preface_bytes = 0
        self._numbers: dict[str, int] = {}
        self._source_of, self._time_ns = array("I"), array("q")
        self._offset, self._length = array("q"), array("I")

    def source(self, name: str, about: Mapping[str, Value]) -> Source:
        """Return the source called `name`; its node gets an id like that. Raises InputError."""
        known = self.sources.get(name)
        if known is None:
            if len(self.sources) == MAX_SOURCES:
                raise InputError(self._where, f"has more than {MAX_SOURCES} sources; import a part of it")
            if len(name) > MAX_NAME_CHARACTERS:
                raise InputError(self._where, f"the name of a source is longer than {MAX_NAME_CHARACTERS} characters")
            known = Source(name, self._free_id(name), dict(about))
            self._numbers[name] = len(self.sources)
            self.sources[name] = known
        return known

    def add(self, source: Source, time_ns: int, type_: str, payload: Value, *, place: str) -> None:
        """Take a message; `place` says in errors where it stands. Raises InputError."""
        line = _line(type_, payload, where=self._where, place=place)
        self._source_of.append(self._numbers[source.name])
        self._time_ns.append(time_ns - 2**63)  # an unsigned number in order
        self._offset.append(self._waiting_bytes)
        self._length.append(len(line))
        self._waiting_bytes += self._waiting.write(line)
        source.messages += 1
        self.messages += 1

    def introduce(self, source: Source, type_: str, payload: Value, *, place: str) -> None:
        """Take an event about the source itself, for virtual time 0."""
        line = _line(type_, payload, where=self._where, place=place)
        self._preface_bytes += len(line)
        if self._preface_bytes > MAX_PREFACE_BYTES:
            raise InputError(self._where, f"its schemas are longer than {MAX_PREFACE_BYTES:,} bytes for all topics")
        source.preface.append(line)

    def write(self, name: str) -> Path:
        """Write the files of the sources and the scenario `name`, and return its file. Raises InputError."""
        if not self.messages:
            raise InputError(self._where, "holds no message")
        order = self._in_order()
        first_ns = self._time_ns[order[0]] + 2**63
        last_us = (self._time_ns[order[-1]] + 2**63 - first_ns) // 1_000
        if last_us >= MAX_TIME_US:
            raise InputError(self._where, f"covers {last_us} us, more than the {MAX_TIME_US} us of virtual time")
        self._check_steps(order, first_ns)
        self._write_sources(order, first_ns)
        self._waiting.close()
        (self._folder / "waiting").unlink()
        path = self._folder / f"{name}.yaml"
        path.write_text(self._scenario(name, first_ns=first_ns, last_us=last_us), encoding="utf-8")
        return path

    def close(self) -> None:
        """Close the file of waiting messages."""
        self._waiting.close()

    def _free_id(self, name: str) -> str:
        """Return an id of a node that is like `name`, and like no other even without capitals."""
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:MAX_ID_CHARACTERS]
        stem = stem if stem[:1].isalpha() else f"source_{stem}".rstrip("_")
        candidate, number = stem, 2
        while candidate.casefold() in self._ids:
            candidate, number = f"{stem}_{number}", number + 1
        self._ids.add(candidate.casefold())
        return candidate

    def _in_order(self) -> array[int]:
        """Return the numbers of the messages by time; at equal times as they came."""
        import pyarrow as pa
        import pyarrow.compute as pc

        times = pa.Array.from_buffers(pa.int64(), len(self._time_ns), [None, pa.py_buffer(self._time_ns)])
        order = array("Q")
        order.frombytes(memoryview(pc.array_sort_indices(times).buffers()[1])[: 8 * len(times)])  # stable
        return order

    def _check_steps(self, order: Iterable[int], first_ns: int) -> None:
        step, count, size = -1, 0, 0
        for index in order:
            found = (self._time_ns[index] + 2**63 - first_ns) // 1_000 // STEP_US
            if found != step:
                step, count, size = found, 0, 0
            count += 1
            size += self._length[index]
            if count > MAX_STEP_MESSAGES or size > MAX_STEP_BYTES:
                raise InputError(
                    self._where,
                    f"more than {MAX_STEP_MESSAGES:,} messages or {MAX_STEP_BYTES:,} bytes have times within 1 ms, at "
                    f"{self._time_ns[index] + 2**63} ns: are the times what they should be?",
                )

    def _write_sources(self, order: Iterable[int], first_ns: int) -> None:
        of_source = [array("Q") for _ in self.sources]
        for index in order:
            of_source[self._source_of[index]].append(index)
        for number, source in enumerate(self.sources.values()):
            with (self._folder / f"{source.node}.jsonl").open("wb") as file:
                for line in source.preface:
                    file.write(b'{"time_us":0' + line)
                for time_us, line in self._lines(of_source[number], first_ns):
                    file.write(b'{"time_us":%d' % time_us + line)

    def _lines(self, indices: Iterable[int], first_ns: int) -> Iterator[tuple[int, bytes]]:
        for index in indices:
            self._waiting.seek(self._offset[index])
            yield (self._time_ns[index] + 2**63 - first_ns) // 1_000, self._waiting.read(self._length[index])

    def _scenario(self, name: str, *, first_ns: int, last_us: int) -> str:
        import yaml

        steps = last_us // STEP_US + 1
        document: dict[str, Any] = {
            "scenario": name,
            "description": f"Recorded elsewhere, imported from {Path(self._where).name[:MAX_SHOWN_CHARACTERS]}",
            "expected": "Every message is played back at the time at which it was recorded.",
            "duration": f"{steps * STEP_US}us",
            "step": f"{STEP_US}us",
            "network": {"model": "direct"},
            "nodes": [
                {
                    "id": source.node,
                    "type": "recording",
                    "implementation": "jsonl",
                    "file": f"{source.node}.jsonl",
                    "config": {**source.about, "time_0_ns": first_ns},
                }
                for source in self.sources.values()
            ],
        }
        head = (
            "# Written by `xtrace import`. Give a node `send_to: <id>` to play its recording to a node of your own.\n"
        )
        return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=120)


def _line(type_: str, payload: Value, *, where: str, place: str) -> bytes:
    """Return the rest of a line behind its time."""
    try:
        encode(payload)
        text = f',"type":{json.dumps(type_)},"payload":{encode_value(payload)}}}\n'.encode()
    except (ValueFault, UnicodeEncodeError) as fault:
        raise InputError(where, f"{place}: can't be a payload: {fault}") from fault
    if len(text) > MAX_LINE_BYTES - _LINE_ROOM:
        raise InputError(
            where, f"{place}: a message of {len(text):,} bytes is larger than the limit of {MAX_LINE_BYTES:,}"
        )
    return text
