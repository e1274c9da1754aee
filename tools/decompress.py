"""Decompresses what others wrote, into no more bytes than they said and than can be believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xtrace.engine.errors import CorruptionError, MissingDependency


def decompressed(data: bytes, compression: str, *, size: int, fault: Callable[[str], CorruptionError]) -> bytes:
    """Return what `data` holds, exactly `size` bytes. Raises what `fault` makes of a reason, and MissingDependency."""
    if compression == "":
        content = data
    elif compression == "zstd":
        content = _zstd(data, size, fault)
    elif compression == "lz4":
        content = _lz4(data, size, fault)
    else:
        raise fault(f"the compression {compression!r} is not known: zstd, lz4 and none are")
    if len(content) != size:
        raise fault(f"it holds not the {size:,} bytes that it is said to hold")
    return content


def missing(package: str, *, needed_by: str) -> MissingDependency:
    """Return the error for a package of the extra `mcap` that is not installed."""
    return MissingDependency(package, needed_by=needed_by, install="pip install mcap zstandard lz4")


def _zstd(data: bytes, size: int, fault: Callable[[str], CorruptionError]) -> bytes:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise missing("zstandard", needed_by="an MCAP file compressed with zstd") from error
    try:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return reader.read(size + 1)
    except zstandard.ZstdError as error:
        raise fault(f"not zstd: {error}") from error


def _lz4(data: bytes, size: int, fault: Callable[[str], CorruptionError]) -> bytes:
    try:
        import lz4.frame
    except ModuleNotFoundError as error:
        raise missing("lz4", needed_by="an MCAP file compressed with lz4") from error
    try:
        decompressor: Any = lz4.frame.LZ4FrameDecompressor()
        content: bytes = decompressor.decompress(data, max_length=size + 1)
        return content
    except RuntimeError as error:
        raise fault(f"not lz4: {error}") from error
