"""Payloads on their way through a replay: a node gets the real ones, what it does is compared as it would be stored."""

from __future__ import annotations

from collections.abc import Iterator

from xtrace.capture.reader import Run
from xtrace.capture.secrets import Secrets
from xtrace.engine.recorder import Row
from xtrace.replay.steps import ReplayedStep


class Given:
    """What was recorded in `run`, as the node got it then: from objects, and with `secrets` in it."""

    def __init__(self, run: Run, secrets: Secrets | None) -> None:
        self._run = run
        self._secrets = secrets

    def payload(self, row: Row) -> bytes:
        """Return the payload of a recorded row. Raises CorruptionError."""
        payload = self._run.payload(row)
        return payload if self._secrets is None else self._secrets.reveal(payload)

    def type(self, row: Row) -> str:
        """Return the type of the event of a recorded row."""
        return row.type if self._secrets is None else self._secrets.reveal_text(row.type)


def without_secrets(steps: Iterator[ReplayedStep], secrets: Secrets | None) -> Iterator[ReplayedStep]:
    """Pass `steps` on, each with what the node did now as the recorder would have written it."""
    for step in steps:
        if secrets is not None:
            actual = [
                row._replace(type=secrets.redact_text(row.type), payload=secrets.redact(row.payload))
                for row in step.actual
            ]
            step = step._replace(actual=actual)
        yield step
