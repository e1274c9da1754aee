"""The errors of xtrace, each with the exit status a command ends with.

    XtraceError                 2  xtrace could not answer
    ├── InputError              2  a scenario, option or argument is wrong
    ├── MissingDependency       2  something that must be installed is not
    ├── CorruptionError         2  stored bytes are not what was written
    ├── LimitExceeded           2  a system is larger than xtrace can record
    ├── StorageError            2  the disk does not take what is recorded
    ├── NodeFailure             1  a node of the user's system failed
    │   ├── NodeCrashed         1  it ended, raised, or reported an error
    │   ├── NodeTimeout         1  it did not answer in time
    │   └── ProtocolError       1  it broke a rule of the node protocol
    └── Interrupted           130  Ctrl-C or SIGTERM

A constructor takes facts, keeps them as attributes, and writes the sentence.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from xtrace.engine.duration import seconds


class XtraceError(Exception):
    """xtrace could not do what was asked; `exit_status` is the command's."""

    exit_status = 2


class InputError(XtraceError):
    """Something the user wrote is wrong: `where` it stands, one line per problem."""

    def __init__(self, where: str, problems: Sequence[str] | str) -> None:
        self.where = where
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        if len(self.problems) == 1:
            text = f"{where}: {self.problems[0]}"
        else:
            text = "\n  ".join([f"{where}: {len(self.problems)} mistakes", *self.problems])
        super().__init__(text)


class MissingDependency(XtraceError):
    """`needed_by` needs `package`; `install` is the command that gets it."""

    def __init__(self, package: str, *, needed_by: str, install: str) -> None:
        self.package = package
        self.needed_by = needed_by
        self.install = install
        super().__init__(f"{needed_by} needs {package}, which is not installed; get it with: {install}")


class CorruptionError(XtraceError):
    """Bytes `[offset, offset + length)` of `file` are not what was written."""

    def __init__(
        self,
        file: Path | str,
        reason: str,
        *,
        offset: int = 0,
        length: int | None = None,
        block: int | None = None,
    ) -> None:
        self.file = Path(file)
        self.reason = reason
        self.offset = offset
        self.length = length
        self.block = block
        place = f"{file}: " + (f"block {block}, " if block is not None else "") + f"offset {offset}"
        extent = f" (+{length} bytes)" if length is not None else ""
        super().__init__(f"{place}{extent}: {reason}")


class LimitExceeded(XtraceError):
    """`what` is `found`, and may be `limit` at most."""

    def __init__(self, what: str, *, found: int, limit: int) -> None:
        self.what = what
        self.found = found
        self.limit = limit
        super().__init__(f"{what}: {found:,} are more than the limit of {limit:,}")


class StorageError(XtraceError):
    """The disk refused to store something of the run in `folder`; `kept_step` is the last step of the run that is kept.

    While that is None there is no whole run: what is there can be recovered, unless the folder itself is `gone`.
    """

    def __init__(self, folder: Path | str, reason: str, *, gone: bool = False) -> None:
        self.folder = Path(folder)
        self.reason = reason
        self.gone = gone
        self.kept_step: int | None = None
        self.in_journal = False
        """Whether later rows are in the journal of the run, because there was no room for a block of them."""
        super().__init__(folder, reason)

    def __str__(self) -> str:
        command = shlex.join(["xtrace", "recover", str(self.folder), "-o"]) + " OTHER"
        if self.kept_step == 0:
            kept = "a valid run without any step is kept there"
        elif self.kept_step is not None:
            kept = f"the run up to step {self.kept_step} is kept there, closed and valid"
        elif self.gone:
            kept = "nothing is kept there; if the folder was moved, `xtrace recover` works on it"
        elif not self.folder.is_dir():
            kept = "nothing is kept"
        else:
            kept = f"make a run of what is there with: {command}"
        if self.kept_step is not None and self.in_journal:
            kept += f"; what came after it is in its journal, and comes with: {command}"
        return f"{self.folder}: {self.reason}; {kept}"


class NodeFailure(XtraceError):
    """Node `node` failed while it advanced; step and time are filled in by the coordinator."""

    exit_status = 1
    verb = "failed"

    def __init__(self, node: str, reason: str, *, hint: str = "") -> None:
        self.node = node
        self.reason = reason
        self.hint = hint
        self.step: int | None = None
        self.time_us: int | None = None
        super().__init__(node, reason)

    def __str__(self) -> str:
        when = "" if self.time_us is None else f", virtual time {seconds(self.time_us)}"
        place = "" if self.step is None else f" in step {self.step}{when}"
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"node {self.node!r} {self.verb}{place}: {self.reason}{hint}"


class NodeCrashed(NodeFailure):
    """The node ended, raised an exception, or sent ERROR."""

    verb = "crashed"


class NodeTimeout(NodeFailure):
    """The node did not answer within the time it was given."""

    verb = "did not answer"


class ProtocolError(NodeFailure):
    """The node broke a rule of the node protocol (`engine/PROTOCOL.md`)."""

    verb = "broke the protocol"


class Interrupted(XtraceError):
    """The user or the system asked xtrace to stop."""

    exit_status = 130
