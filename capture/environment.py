"""What a run was recorded with: versions, and the platform class within which *exact* is promised."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

OWN_PACKAGES = ("xtrace-toolkit", "pyarrow", "msgpack")
CPU_FEATURES = ("avx", "avx2", "avx512f", "fma", "asimd", "sve")
"""CPU features that numeric libraries choose their code by, so that results differ in their last bits."""


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, of xtrace's own packages, and of the distributions that provide the importable
    `packages`."""
    found = {"python": platform.python_version()}
    for name in OWN_PACKAGES:
        found |= _version(name)
    for package in sorted(set(packages)):
        same_name = _version(package)
        found |= same_name
        if not same_name:
            for name in _providers().get(package, ()):
                found |= _version(name)
    return dict(sorted(found.items()))


def platform_class() -> dict[str, object]:
    """Return what floating-point results may depend on besides the code: CPU, its features, C library, Python."""
    libc = " ".join(platform.libc_ver())
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_features": _cpu_features(),
        "libc": libc or "unknown",
        "python": f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}",
    }


@cache
def _providers() -> Mapping[str, list[str]]:
    return packages_distributions()  # reads the files of every distribution


def _version(name: str) -> dict[str, str]:
    try:
        return {name: version(name)}
    except PackageNotFoundError:
        return {}


def _cpu_features() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = (line for line in text.splitlines() if line.startswith(("flags", "Features")))
    words = next(lines, "").split()
    return sorted(feature for feature in CPU_FEATURES if feature in words)
