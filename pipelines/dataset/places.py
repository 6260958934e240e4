"""The directories that a run reads from and writes to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import attrs


def default_cache() -> Path:
    """Return the directory of prepared data unless a command names another place.

    Returns:
        What the environment variable ``BPFUNC_CACHE`` names; else ``data/cache`` of the clone that the working
        directory lies in, or of the working directory where that has one already; else ``bpfunc`` in the user's cache
        directory, which ``XDG_CACHE_HOME`` names.
    """
    if named := os.environ.get("BPFUNC_CACHE"):
        return Path(named)
    here, local = Path.cwd(), Path("data/cache")
    if is_clone(here) or local.is_dir():
        return local
    clone = next((above for above in here.parents if is_clone(above)), None)
    return user_cache() if clone is None else clone / local


def is_clone(directory: Path) -> bool:
    """Return whether a directory is the root of a clone of this project.

    Args:
        directory: Any.

    Returns:
        Whether its files are those of the project.
    """
    return all(map(os.path.isfile, (directory / "bpfunc_command.py", directory / "data" / "sources.toml")))


def user_cache() -> Path:
    """Name this project's place in the user's cache directory, by the rules of the system.

    Returns:
        An absolute path; nothing is made.
    """
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # a relative path is to be ignored by the XDG specification
        return xdg / "bpfunc"
    home = Path("~").expanduser()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "bpfunc"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "bpfunc" / "Cache"
    return home / ".cache" / "bpfunc"


@attrs.frozen(kw_only=True)
class Places:
    """Where a run takes from and puts to."""

    source: Path | None = None
    """A directory of IDX files, or None to find one."""
    raw: Path = Path("data/raw")
    cache: Path = attrs.field(factory=default_cache)
    runs: Path = Path("data/runs")
    out: Path | None = None
    """The run directory, or None for a new one below ``runs``."""
