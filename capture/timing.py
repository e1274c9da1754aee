"""`timing.arrow`: wall-clock time per block and node. The only file of a run that differs from run to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from xtrace.capture.blocks import ArrowFile
from xtrace.capture.disk import Disk, LogFile

BATCH_ROWS = 4_096
NAMES = ("block", "unix_ns", "node", "wall_ns")
"""`node` is "" in the row of the block itself."""


class TimingLog:
    """Writes, at each block end, the wall-clock time and what every node has spent since the last one.

    `spent_ns` is set by whoever runs the nodes: it returns nanoseconds per node since the start.
    """

    def __init__(self, disk: Disk, path: Path) -> None:
        import pyarrow as pa

        self.spent_ns: Callable[[], Mapping[str, int]] = dict
        self.file = LogFile(disk, path)
        self._before: dict[str, int] = {}
        self._rows: list[tuple[int, int, str, int]] = []
        self._types = (pa.int64(), pa.int64(), pa.string(), pa.int64())
        self._output = ArrowFile(pa.schema(list(zip(NAMES, self._types, strict=True))))

    def end_block(self, block: int) -> None:
        """Note the end of `block`. Raises OSError."""
        now_ns = time.time_ns()
        for node, total_ns in sorted(self.spent_ns().items()):
            spent_ns = total_ns - self._before.get(node, 0)
            if spent_ns:
                self._rows.append((block, now_ns, node, spent_ns))
                self._before[node] = total_ns
        self._rows.append((block, now_ns, "", 0))
        if len(self._rows) >= BATCH_ROWS:
            self._write()

    def close(self) -> None:
        """Write what is left, for good, and close the file. Raises OSError."""
        try:
            if self._rows:
                self._write()
            self.file.append(self._output.finish())
            self.file.sync()
        finally:
            self.file.close()

    def _write(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, self._types, strict=True)]
        self._rows = []
        self.file.append(self._output.write(pa.RecordBatch.from_arrays(arrays, names=list(NAMES))))
