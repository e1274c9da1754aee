"""Writes the tables of the documentation that the code knows better: `make docs`.

A page has a place for each, between `<!-- generated: NAME -->` and `<!-- end -->`; the tests check that they are up
to date.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xtrace.engine.duration import format_duration
from xtrace.engine.node import Option
from xtrace.engine.registry import NETWORKS, NODES, load
from xtrace.scenarios.keys import COMPARE, LINK, NODE, SCENARIO, SECRET
from xtrace.scenarios.options import default
from xtrace.tools.cli import COMMANDS, parser
from xtrace.tools.settings import PREFIX, SETTINGS

FOLDER = Path(__file__).resolve().parent

_PLACE = re.compile(r"(<!-- generated: (?P<name>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that have generated places."""
    return [path for path in sorted(FOLDER.glob("*.md")) if _PLACE.search(path.read_text(encoding="utf-8"))]


def filled(page: str) -> str:
    """Return `page` with all of its generated places up to date. Raises KeyError for an unknown name."""
    return _PLACE.sub(lambda match: match[1] + "\n" + _content(match["name"]) + "\n\n" + match[3], page)


def _content(name: str) -> str:
    kind, _, argument = name.partition(" ")
    return _CONTENTS[kind](argument)


def _keys(name: str) -> str:
    return _options({"scenario": SCENARIO, "node": NODE, "compare": COMPARE, "link": LINK, "secret": SECRET}[name])


def _implementation(name: str) -> str:
    return _options(load(NODES, name).OPTIONS)


def _network(name: str) -> str:
    return _options(load(NETWORKS, name).OPTIONS)


def _options(options: Mapping[str, Option]) -> str:
    rows = [(f"`{key}`", _kind(option), _default(option), option.doc) for key, option in options.items()]
    return _table(("key", "kind", "default", "meaning"), rows)


def _kind(option: Option) -> str:
    limits = {"at least": option.minimum, "at most": option.maximum}
    words = [
        f"{words} {format_duration(limit) if option.kind == 'duration' else limit}"
        for words, limit in limits.items()
        if limit is not None
    ]
    if option.choices:
        words = [" or ".join(f"`{choice}`" for choice in option.choices)]
    return ", ".join([option.kind, *words])


def _default(option: Option) -> str:
    if option is SCENARIO["scenario"]:
        return "the file's name"
    if option.required:
        return "**required**"
    value = default(option).written
    return "–" if value in (None, "") else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _settings(_: str) -> str:
    rows = [
        (f"`{name}`", f"`{PREFIX}{name.upper()}`", setting.kind.replace("|", ", "), _text(setting.default), setting.doc)
        for name, setting in SETTINGS.items()
    ]
    return _table(("in `xtrace.toml`", "variable", "kind", "default", "meaning"), rows)


def _text(value: Any) -> str:
    return "–" if value is None else f"`{json.dumps(value).strip(chr(34))}`"


def _commands(_: str) -> str:
    subparsers = _subparsers(parser())
    return "\n\n".join(_command(name, sub) for name, sub in subparsers.items())


def _command(name: str, sub: argparse.ArgumentParser) -> str:
    """Return the section of a command, made of its parts: argparse's own text differs between versions of Python."""
    command = COMMANDS[name]
    example, _, notes = command.EXAMPLE.partition("\n\n")
    actions = _subparsers(sub)
    described = {f"{name} {action}": each for action, each in actions.items()} or {name: sub}
    parts = [f"## xtrace {name}", f"{command.SUMMARY[:1].upper()}{command.SUMMARY[1:]}."]
    for words, each in described.items():
        parts.append(f"```text\nxtrace {words}{_usage(each)}\n```")
        rows = [_argument(action) for action in _arguments(each)]
        if actions:
            parts.append(f"{_help_of(sub, words.split()[-1])}.")
        if rows:
            parts.append(_table(("argument", "meaning"), rows))
    return "\n\n".join([*parts, f"Example: `{example}`", *([notes] if notes else [])])


def _subparsers(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _help_of(of: argparse.ArgumentParser, name: str) -> str:
    action = next(each for each in of._actions if isinstance(each, argparse._SubParsersAction))
    text = next(each.help or "" for each in action._choices_actions if each.dest == name)
    return text[:1].upper() + text[1:]


def _arguments(of: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in of._actions if not isinstance(action, argparse._HelpAction)]


def _usage(of: argparse.ArgumentParser) -> str:
    groups = {group._group_actions[0]: group for group in of._mutually_exclusive_groups}
    rest = [action for group in groups.values() for action in group._group_actions[1:]]
    words = []
    for action in _arguments(of):
        if action in groups:
            each_way = " | ".join(each.option_strings[0] + _value(each) for each in groups[action]._group_actions)
            words.append(f" ({each_way})" if groups[action].required else f" [{each_way}]")
        elif action.option_strings and action not in rest:
            word = f"{action.option_strings[0]}{_value(action)}"
            words.append(f" {word}" if action.required else f" [{word}]")
        elif not action.option_strings:
            words.append(f" {action.metavar}" + (f" [{action.metavar} …]" if action.nargs == "+" else ""))
    return "".join(words)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    return " {" + ",".join(action.choices) + "}" if action.choices else f" {action.metavar}"


def _argument(action: argparse.Action) -> tuple[str, str]:
    words = [f"`{name}{_value(action)}`" for name in action.option_strings] or [f"`{action.metavar}`"]
    return ", ".join(words), str(action.help)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


_CONTENTS: Mapping[str, Callable[[str], str]] = {
    "commands": _commands,
    "implementation": _implementation,
    "keys": _keys,
    "network": _network,
    "settings": _settings,
}


if __name__ == "__main__":
    for path in pages():
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
