"""How a run is named on the command line: a path, a run's name, a unique beginning of one, or ``latest``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pipelines.disk.ownership import described, kind_of
from pipelines.disk.untrusted.printable import shell
from pipelines.errors import UsageProblem

RUNS = Path("data/runs")
"""Where runs lie whose place is not given."""
BEGAN = "checkpoints/began.txt"
"""A file in the directory of a run: when it began, as ISO 8601."""
LATEST = "latest"
"""Names the run that began last."""
STAMP = re.compile(r"(\d{8}-\d{6}-\d{6})-")
"""Begins the name of a run that was given none: when it began."""
_NOTE_LIMIT = 200
_SHOWN = 5


def read_note(path: Path) -> str:
    """Read a file of one short line.

    Args:
        path: The file.

    Returns:
        Its text, without space around it; empty where it is missing, too long, or not text.

    Example:
        >>> read_note(Path("nowhere"))
        ''
    """
    with suppress(OSError, UnicodeDecodeError):
        if path.is_file() and path.stat().st_size <= _NOTE_LIMIT:
            return path.read_text(encoding="utf-8").strip()
    return ""


def began(run: Path) -> float:
    """Return the time at which a run began.

    Args:
        run: Its directory.

    Returns:
        Seconds since 1970, as ``checkpoints/began.txt`` has it. A run of a former version has no such file: then the
        time in its directory's name, and without that the time at which ``config.toml`` was written.
    """
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromisoformat(read_note(run / BEGAN)).timestamp()
    if (stamp := STAMP.match(run.name)) is not None:
        with suppress(ValueError, OverflowError, OSError):
            return datetime.strptime(stamp[1], "%Y%m%d-%H%M%S-%f").timestamp()
    for path in (run / "config.toml", run):
        with suppress(OSError):
            return path.lstat().st_mtime
    return 0.0


def named_directories(runs: Path, kinds: Sequence[str] = ("run",)) -> list[Path]:
    """List what can be named: directories of some kinds.

    Args:
        runs: Where they lie; may be missing.
        kinds: As `pipelines.disk.ownership.kind_of` calls them.

    Returns:
        In the order of their names; links are left out.
    """
    try:
        children = sorted(runs.iterdir())
    except OSError:
        return []
    return [path for path in children if not path.is_symlink() and path.is_dir() and kind_of(path) in kinds]


def find_run(text: str, runs: Path = RUNS, kinds: Sequence[str] = ("run",)) -> Path:
    """Find the run that a person names.

    A path that exists comes first, then a name in ``runs``, then ``latest``, then a unique beginning of a name.

    Args:
        text: As it was written.
        runs: Directory of the runs.
        kinds: What may be named; a comparison takes studies as well.

    Returns:
        Its directory.

    Raises:
        UsageProblem: There is none, there are several that begin so, or it is of another kind: the message names the
            command that takes it.

    Example:
        >>> find_run("nowhere", Path("no/runs"))
        Traceback (most recent call last):
        pipelines.errors.UsageProblem: no run directory is there (nowhere): `bpfunc runs list` lists the runs
    """
    if not text:
        raise UsageProblem("expected a run, found an empty text", where="RUN", remedy=_REMEDY)
    path = Path(text)
    if os.path.lexists(path):
        return _of_kind(path, kinds)
    if os.path.lexists(runs / path):
        return _of_kind(runs / path, kinds)
    if text == LATEST:
        found = named_directories(runs)
        if not found:
            raise UsageProblem(f"there are no runs in {runs}", where=LATEST, remedy="train one: `bpfunc run`")
        return max(found, key=lambda run: (began(run), run.name))
    named = named_directories(runs, ("run", "study", "search", "sweep"))
    beginning = [run for run in named if run.name.startswith(text)]
    matching = [run for run in beginning if kind_of(run) in kinds] or beginning
    if len(matching) == 1:
        return _of_kind(matching[0], kinds)
    if matching:
        names = [run.name for run in matching]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UsageProblem(
            f"{len(names)} runs begin so: {', '.join(names[:_SHOWN])}{more}",
            where=text,
            remedy="write more of the name",
        )
    raise _unknown(path, [run.name for run in named])


_REMEDY = "name a path, a run, a beginning of its name that no other has, or `latest`; `bpfunc runs list` lists them"


def _unknown(path: Path, names: Sequence[str]) -> UsageProblem:
    import difflib

    what, remedy = described(path)
    near = next(iter(difflib.get_close_matches(path.name, names, n=1)), None)
    return UsageProblem(f"{what} (did you mean {near}?)" if near else what, where=str(path), remedy=remedy)


def _of_kind(path: Path, kinds: Sequence[str]) -> Path:
    """Return a path of one of these kinds; refuse others, as far as their files tell what they are."""
    if kind_of(path) in kinds:
        return path
    what, remedy = described(path)
    raise UsageProblem(what, where=str(path), remedy=remedy)


def check_order(run: str, others: Sequence[Path], command: Sequence[str]) -> None:
    """Refuse a file in the place of the run, where a run stands among the files.

    Args:
        run: What was written for the run.
        others: What was written after it.
        command: The words of the command.

    Raises:
        UsageProblem: They are swapped; the remedy is the command to type.

    Example:
        >>> check_order("first", [Path("a.png")], ["bpfunc", "predict"])
    """
    if _names_run(run):
        return
    runs = [path for path in others if _names_run(str(path))]
    if runs:
        rest = [str(path) for path in others if path != runs[0]]
        words = shell([*command, str(runs[0]), run, *rest])
        raise UsageProblem("the arguments are swapped: the run comes first", where=run, remedy=f"type `{words}`")


def _names_run(text: str) -> bool:
    try:
        return kind_of(find_run(text)) == "run"
    except UsageProblem:
        return False
