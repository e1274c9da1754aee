"""Defaults of the command: options win, then `XTRACE_*` variables, then `xtrace.toml`.

This is the one module of the command that reads the environment. Nothing that lowers a guard (`--trust`, `--force`) can
be set here: an `xtrace.toml` comes with a checkout that somebody else wrote.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xtrace.engine.errors import InputError

FILE_NAME = "xtrace.toml"
PREFIX = "XTRACE_"
MAX_FILE_BYTES = 1_000_000
OTHER_VARIABLES = ("XTRACE_STATE_DIR",)
"""Read elsewhere: where it is remembered which runs are trusted, which no file of a checkout may say."""


class Setting(NamedTuple):
    """One default. `kind`: integer, duration, path, boolean, or the choices separated by `|`."""

    kind: str
    default: Any
    doc: str

    def parse(self, value: object) -> Any:
        """Return `value`, from a variable (text) or from TOML, checked. Raises ValueError."""
        if self.kind == "integer":
            return _integer(value)
        if self.kind == "boolean":
            return _boolean(value)
        if self.kind == "duration":
            return _duration(value)
        if self.kind == "path":
            return _path(value)
        if value not in self.kind.split("|"):
            raise ValueError(f"must be {self.kind.replace('|', ', ')}, not {value!r}")
        return value


SETTINGS: Mapping[str, Setting] = {
    "color": Setting("auto|always|never", "auto", "when the output is coloured; auto: on a terminal without NO_COLOR"),
    "debug": Setting("boolean", False, "show the traceback of an error"),
    "duration": Setting("duration", None, "`record --duration`, instead of the scenario's"),
    "format": Setting("table|json|csv|arrow", "table", "`query --format`"),
    "limit": Setting("integer", None, "`show --limit`; 0: no limit"),
    "runs": Setting("path", "runs", "the folder for runs recorded without `-o`"),
    "seed": Setting("integer", None, "`record --seed`, instead of the scenario's"),
}


class Settings(NamedTuple):
    """What is in force. `origins` says for each setting which variable or file it comes from, or "default"."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    file: Path | None
    no_color: bool
    ci: bool
    unknown_variables: tuple[str, ...]

    def choose(self, option: Any, name: str) -> Any:
        """Return what the command line says, or else the setting."""
        return self.values[name] if option is None else option


def load(*, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return what is in force in `folder` (default: the working directory). Raises InputError with all mistakes."""
    env = os.environ if environment is None else environment
    values: dict[str, Any] = {name: setting.default for name, setting in SETTINGS.items()}
    origins = dict.fromkeys(SETTINGS, "default")
    file = find_file(Path.cwd() if folder is None else folder)
    if file is not None:
        for name, value in _from_file(file).items():
            values[name], origins[name] = value, str(file)
    for name, value in _from_variables(env).items():
        values[name], origins[name] = value, PREFIX + name.upper()
    known = (*OTHER_VARIABLES, *(PREFIX + name.upper() for name in SETTINGS))
    return Settings(
        values=values,
        origins=origins,
        file=file,
        no_color=bool(env.get("NO_COLOR")) or env.get("TERM") == "dumb",
        ci=env.get("CI", "").lower() not in ("", "0", "false", "no"),
        unknown_variables=tuple(sorted(name for name in env if name.startswith(PREFIX) and name not in known)),
    )


def debugging(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether tracebacks are wanted, also when the settings themselves can't be loaded."""
    try:
        return _boolean((os.environ if environment is None else environment).get(PREFIX + "DEBUG", "0"))
    except ValueError:
        return True


def find_file(folder: Path) -> Path | None:
    """Return the `xtrace.toml` of `folder`, or of its nearest parent within the same git checkout."""
    checkout = [folder]
    for parent in (folder, *folder.parents):
        if parent not in checkout:
            checkout.append(parent)
        if (parent / ".git").exists():
            break
    else:
        checkout = [folder]
    for each in checkout:
        if (each / FILE_NAME).is_file():
            return each / FILE_NAME
    return None


def _from_file(file: Path) -> dict[str, Any]:
    import tomllib

    from xtrace.engine.registry import unknown

    if file.stat().st_size > MAX_FILE_BYTES:
        raise InputError(str(file), f"longer than the limit of {MAX_FILE_BYTES} bytes")
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(str(file), f"not valid TOML: {error}") from error
    values, problems = {}, []
    for name, value in sorted(document.items()):
        if name not in SETTINGS:
            problems.append(unknown(name, SETTINGS, "setting"))
            continue
        try:
            values[name] = SETTINGS[name].parse(value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise InputError(str(file), problems)
    if "runs" in values:
        values["runs"] = str(file.parent / values["runs"])
    return values


def _from_variables(env: Mapping[str, str]) -> dict[str, Any]:
    values, problems = {}, []
    for name, setting in SETTINGS.items():
        text = env.get(PREFIX + name.upper(), "")
        if text:
            try:
                values[name] = setting.parse(text)
            except ValueError as error:
                problems.append(f"{PREFIX}{name.upper()}: {error}")
    if problems:
        raise InputError("environment", problems)
    return values


def _integer(value: object) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ValueError(f"must be an integer, not {value!r}") from None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"must be an integer, not {value!r}")


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError(f"must be true or false, not {value!r}")


def _duration(value: object) -> str:
    from xtrace.engine.duration import parse_duration

    parse_duration(value)
    return str(value)


def _path(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"must be a path, not {value!r}")
