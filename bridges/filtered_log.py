"""A log that passes a filter before it reaches the disk, for commands that know what must not be written down."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path
from typing import BinaryIO

from xtrace.engine.node import LogFilter

READ_BYTES = 64 * 1024
LEFT_BYTES_MAX = 1024 * 1024
"""A pipe holds no more. What escaped from the command's process group may write on, but is not read for ever."""
SETTLE_S = 0.2


class FilteredLog:
    """Writes to the file `path` what others write to `input`, a pipe, as `log_filter` gives it: in a thread.

    After the first error of the disk nothing more is written; those who write to the pipe don't notice.
    """

    def __init__(self, path: Path, log_filter: LogFilter) -> None:
        self._filter = log_filter
        self._file: BinaryIO | None = path.open("wb", buffering=0)
        self._read_fd, write_fd = os.pipe()
        self._woken_fd, self._wake_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        self.input = os.fdopen(write_fd, "wb", buffering=0)
        """To be closed by whoever hands it on."""
        self._closed = False
        self._thread = threading.Thread(target=self._pump, name=f"log {path.name}", daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Wait a little for what was written just now."""
        self._thread.join(SETTLE_S)

    def close(self) -> None:
        """Write what is still in the pipe, and end. To be called when those who write to it have ended."""
        if self._closed:
            return
        self._closed = True
        self.input.close()
        os.close(self._wake_fd)
        self._thread.join()
        os.close(self._read_fd)
        os.close(self._woken_fd)

    def _pump(self) -> None:
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        poll.register(self._woken_fd, select.POLLIN)
        left = LEFT_BYTES_MAX
        data: bytes | None = None
        while data != b"" and left > 0:
            is_closing = any(fd == self._woken_fd for fd, _ in poll.poll())
            data = self._read()
            if is_closing:
                left = 0 if data is None else left - len(data)
            if data:
                self._write(self._filter.feed(data))
        self._write(self._filter.end())
        if self._file is not None:
            self._file.close()

    def _read(self) -> bytes | None:
        """Return what is in the pipe: nothing at its end, None if something may still come."""
        try:
            return os.read(self._read_fd, READ_BYTES)
        except BlockingIOError:
            return None

    def _write(self, data: bytes) -> None:
        try:
            while data and self._file is not None:
                data = data[self._file.write(data) :]
        except OSError:
            assert self._file is not None
            self._file.close()
            self._file = None
