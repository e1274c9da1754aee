"""Which runs this machine has recorded or been told to trust: a run contains code and commands that replay executes.

One line a run, the SHA-256 of its manifest, in `trusted-runs` in the state folder of the user.
"""

from __future__ import annotations

import os
from pathlib import Path

from xtrace.capture.reader import Run


def state_folder() -> Path:
    """Return where xtrace keeps what it remembers: $XTRACE_STATE_DIR, else `xtrace` in the user's state folder."""
    chosen = os.environ.get("XTRACE_STATE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "xtrace"


def is_trusted(run: Run) -> bool:
    """Return whether `run`, unchanged, was recorded here or is trusted; moving its folder makes no difference."""
    try:
        text = _file().read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return run.manifest_digest in text.split()


def trust(run: Run) -> None:
    """Remember to trust `run`. Raises OSError if the state folder can't be written."""
    trust_digest(run.manifest_digest)


def trust_digest(manifest_digest: str) -> None:
    """Remember to trust the run whose manifest has this SHA-256. Raises OSError as `trust` does."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    line = f"{manifest_digest}\n".encode("ascii")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _file() -> Path:
    return state_folder() / "trusted-runs"
