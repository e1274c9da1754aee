"""`timing.arrow`: wall-clock time per block and node. The only file of a run that differs from run to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path


class TimingLog:
    """Collects, at each block end, the wall-clock time and what every node has spent since the last one.

    `spent_ns` is set by whoever runs the nodes: it returns nanoseconds per node since the start.
    """

    def __init__(self) -> None:
        self.spent_ns: Callable[[], Mapping[str, int]] = dict
        self._before: dict[str, int] = {}
        self._rows: list[tuple[int, int, str, int]] = []

    def end_block(self, block: int) -> None:
        """Note the end of `block`."""
        now_ns = time.time_ns()
        for node, total_ns in sorted(self.spent_ns().items()):
            spent_ns = total_ns - self._before.get(node, 0)
            if spent_ns:
                self._rows.append((block, now_ns, node, spent_ns))
                self._before[node] = total_ns
        self._rows.append((block, now_ns, "", 0))

    def write(self, path: Path) -> None:
        """Write the table: block, unix_ns, node ("" for the block itself), wall_ns."""
        import pyarrow as pa

        names = ("block", "unix_ns", "node", "wall_ns")
        types = (pa.int64(), pa.int64(), pa.string(), pa.int64())
        columns = list(zip(*self._rows, strict=True)) or [()] * len(names)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        table = pa.Table.from_arrays(arrays, names=list(names))
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
