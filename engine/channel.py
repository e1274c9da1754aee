"""A byte stream to and from a node, cut into lines; nothing here ever blocks."""

from __future__ import annotations

import os
import select
import socket

from xtrace.engine.protocol import MAX_LINE_BYTES

CHUNK_BYTES = 64 * 1024


class LineTooLong(ValueError):
    """The line that is arriving is longer than MAX_LINE_BYTES."""


class Channel:
    """The two file descriptors of a node, or one socket given twice; the channel owns and closes them.

    `offset` is where in the node's output the next line begins. `ended` is set at the end of that output.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.offset = 0
        self.ended = False
        self._unsent = memoryview(b"")
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._rest = b""
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    @property
    def unsent(self) -> bool:
        """Whether the node has not taken all of the last line yet."""
        return len(self._unsent) > 0

    @property
    def unread(self) -> bytes:
        """What has been read and belongs to no line returned by `receive`."""
        return b"".join(self._parts) + self._rest

    @property
    def unread_bytes(self) -> int:
        """The length of `unread`."""
        return self._parts_bytes + len(self._rest)

    def wanted(self, *, reading: bool) -> list[tuple[int, int]]:
        """Return the descriptors to poll, each with its mask: for output of the node, and for what is unsent."""
        if not self._unsent:
            return [(self.read_fd, select.POLLIN)] if reading else []
        if not reading:
            return [(self.write_fd, select.POLLOUT)]
        if self.read_fd == self.write_fd:
            return [(self.read_fd, select.POLLIN | select.POLLOUT)]
        return [(self.read_fd, select.POLLIN), (self.write_fd, select.POLLOUT)]

    def send(self, line: bytes) -> None:
        """Write as much of `line` as the node takes now; `flush` does the rest."""
        assert not self._unsent
        self._unsent = memoryview(line)
        self.flush()

    def flush(self) -> None:
        """Write as much of what is unsent as the node takes now."""
        try:
            self._unsent = self._unsent[os.write(self.write_fd, self._unsent) :]
        except BlockingIOError:
            return
        except ConnectionError:  # a broken pipe too: nobody reads, and the end of the node's output says why
            self._unsent = memoryview(b"")

    def receive(self) -> bytes | None:
        """Return the next line with its newline, None while it is not complete. Raises LineTooLong."""
        chunk = self._rest or self._read()
        end = chunk.find(b"\n") + 1
        if end and end == len(chunk) and not self._parts:
            line, self._rest = chunk, b""
        elif end:
            self._keep(chunk[:end])
            line, self._rest = b"".join(self._parts), chunk[end:]
            self._parts, self._parts_bytes = [], 0
        else:
            self._rest = b""
            if chunk:
                self._keep(chunk)
            return None
        self.offset += len(line)
        return line

    def discard(self) -> None:
        """Read and forget what the node has written so far."""
        while self._read():
            pass

    def end_input(self) -> None:
        """Let the node read the end of its input."""
        if self.write_fd == self.read_fd:
            with socket.socket(fileno=os.dup(self.write_fd)) as duplicate:
                try:
                    duplicate.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # the node has closed its end already
        elif self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Close both directions; may be called again."""
        for fd in sorted({self.read_fd, self.write_fd}):
            if fd >= 0:
                os.close(fd)
        self.read_fd = self.write_fd = -1

    def _read(self) -> bytes:
        try:
            chunk = os.read(self.read_fd, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except ConnectionError:
            chunk = b""
        self.ended = not chunk
        return chunk

    def _keep(self, chunk: bytes) -> None:
        self._parts.append(chunk)
        self._parts_bytes += len(chunk)
        if self._parts_bytes > MAX_LINE_BYTES:
            raise LineTooLong(f"a line longer than {MAX_LINE_BYTES} bytes")
