"""The directories that a run reads from and writes to."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Places:
    """Where a run takes from and puts to."""

    source: Path | None = None
    """A directory of IDX files, or None to find one."""
    raw: Path = Path("data/raw")
    cache: Path = Path("data/cache")
    runs: Path = Path("data/runs")
    out: Path | None = None
    """The run directory, or None for a new one below ``runs``."""
