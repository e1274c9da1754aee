"""What a node is, how one is described, and where it finds its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple, Protocol

from xtrace.engine.errors import InputError
from xtrace.engine.event import Done, Event


class Option(NamedTuple):
    """One key that an implementation accepts beside `id`, `type`, `implementation` and `config`.

    `kind`: string, node (the id of one of the scenario), integer, number, boolean, duration, bytes (`64KiB`), strings,
    mapping, any. `choices` limits a string, `minimum` and `maximum` a quantity; `check` raises ValueError or
    InputError for a value that it refuses. A duration is written with its unit (the default too) and handed to the
    node in microseconds.
    """

    kind: str
    doc: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    check: Callable[[Any], object] | None = None


@dataclass(frozen=True)
class NodeSpec:
    """A node of a scenario: what it does (`type`), how it is run (`implementation` and its `options`), and
    what it is told (`config`, payload values only)."""

    id: str
    type: str
    implementation: str
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


class Setup(NamedTuple):
    """What a node learns at INIT. `seed` is its own, derived from the run's seed and its id."""

    node: str
    type: str
    seed: int
    config: Mapping[str, Any]


class Node(ABC):
    """Anything that advances in virtual time. An implementation is a subclass `Class(spec, workspace)`.

    The constructor checks and prepares and starts nothing; `init` starts. A node that can't go on raises a
    NodeFailure; any other exception is reported as a crash of the node.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {}

    timeout_us: int = 60_000_000
    """How long one `init` or `advance` may take, in wall-clock microseconds."""

    @property
    def packages(self) -> Sequence[str]:
        """Installed packages, by the name they are imported by, that the node has used so far."""
        return ()

    @property
    def programs(self) -> Sequence[str]:
        """Programs that the node runs and that are not part of the run."""
        return ()

    @abstractmethod
    def init(self, setup: Setup) -> None:
        """Get ready for the first advance, at virtual time 0."""

    @abstractmethod
    def advance(self, from_us: int, until_us: int, events: Sequence[Event]) -> Done:
        """Advance from `from_us` to `until_us`; every event has `time_us < until_us`, in order of time.

        Every output must have `from_us <= time_us < until_us`.
        """

    def shutdown(self) -> None:
        """Release everything; called once or more, also after a failure, and never raises."""
        return None


def keep_in_place(_name: str, path: Path) -> Path:
    """Use a node's file where it lies: what a workspace does when nothing is recorded."""
    return path


class LogFilter(Protocol):
    """What a log goes through before it is written, piece by piece."""

    def feed(self, data: bytes) -> bytes:
        """Return what can be written once `data` has come too."""

    def end(self) -> bytes:
        """Return what was held back: nothing follows."""


class Workspace:
    """A node's way to its files and its log; whatever it opens here becomes part of the run.

    `folder` holds the scenario, `logs` takes the node's stderr. `keep(name, path)` is called for every file used and
    returns where to read it from. `located` maps names that lie outside of `folder` to where they lie in a replay.
    `place` describes in errors where was looked. `log_filter` makes the filter that a log has to pass, if there is one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        logs: Path,
        keep: Callable[[str, Path], Path] = keep_in_place,
        located: Mapping[str, Path] | None = None,
        place: str = "",
        log_filter: Callable[[], LogFilter] | None = None,
    ) -> None:
        self.folder = folder
        self.logs = logs
        self.log_filter = log_filter
        self._keep = keep
        self._located = dict(located or {})
        self._place = place or str(folder)

    def find(self, name: str) -> Path:
        """Return where the file called `name` in the scenario lies, without using it."""
        return self._located.get(name) or self.folder / name

    def path(self, name: str) -> Path:
        """Keep the file `name` and return where it lies, for programs that open it themselves. Raises InputError."""
        path = self.find(name)
        self._kept(name, path)
        return path

    def open(self, name: str) -> BinaryIO:
        """Keep the file `name` and open exactly the bytes that were kept. Raises InputError."""
        return self._kept(name, self.find(name)).open("rb")

    def read(self, name: str) -> bytes:
        """Keep the file `name` and return exactly the bytes that were kept. Raises InputError."""
        with self.open(name) as file:
            return file.read()

    def _kept(self, name: str, path: Path) -> Path:
        if not path.is_file():
            raise InputError(name, f"no such file in {self._place}")
        return self._keep(name, path)
