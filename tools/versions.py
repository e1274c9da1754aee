"""Which version of xtrace and of other distributions is installed."""

from __future__ import annotations

DISTRIBUTION = "xtrace-toolkit"


def version_of(distribution: str) -> str | None:
    """Return the installed version of `distribution`, None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def own_version() -> str:
    """Return the version of xtrace, or say that it was started from a folder without being installed."""
    return version_of(DISTRIBUTION) or "(not installed)"
