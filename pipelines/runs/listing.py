"""The runs and studies in a directory: what is there, and which runs may be cleaned away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import attrs

from pipelines.disk.atomic import foreign_files, is_claimed, remove_directory
from pipelines.disk.ownership import RUN_FILES
from pipelines.disk.untrusted.documents import read_json
from pipelines.errors import DataProblem, PipelineError, UsageProblem
from pipelines.runs.directory import read_config
from pipelines.runs.metrics import read_metrics
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import load_config

State = Literal["finished", "trained", "unfinished", "damaged"]


@attrs.frozen(kw_only=True)
class RunEntry:
    """A run, as a list shows it."""

    path: Path
    state: State
    """``finished``: measured on the test split. ``trained``: not measured yet. ``unfinished``: to be resumed.
    ``damaged``: a file of it cannot be read."""
    recipe: str
    seed: int
    epochs: int
    """That were asked for."""
    test_accuracy: float | None
    modified: float
    """Seconds since 1970 at which a file of it last changed."""
    size: int
    """Bytes."""


@attrs.frozen(kw_only=True)
class StudyEntry:
    """A study, as a list shows it."""

    path: Path
    recipe: str
    seeds: int
    """Finished ones."""
    mean_test_accuracy: float | None
    """None until the study is done."""


@attrs.frozen
class Unwanted:
    """A run that may be removed, and why."""

    entry: RunEntry
    why: str


def list_runs(directory: Path) -> tuple[RunEntry, ...]:
    """List the runs that lie in a directory, the newest last.

    Args:
        directory: Such as ``data/runs``; need not exist.

    Returns:
        What is a run; everything else is passed over.
    """
    return tuple(sorted(_runs(directory), key=lambda entry: (entry.modified, entry.path)))


def _runs(directory: Path) -> Iterable[RunEntry]:
    for path in _directories(directory):
        try:
            yield read_entry(path)
        except UsageProblem:
            continue


def _directories(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())


def read_entry(path: Path) -> RunEntry:
    """Look at the directory of a run.

    Args:
        path: The directory.

    Returns:
        What it holds.

    Raises:
        UsageProblem: It is no run directory.
    """
    spec = read_config(path)
    files = [path, *(file for file in path.rglob("*") if not file.is_symlink())]
    stats = [file.lstat() for file in files]
    accuracy, state = None, _state(path)
    if state == "finished":
        accuracy = _accuracy(path)
        state = "damaged" if accuracy is None else state
    return RunEntry(
        path=path,
        state=state,
        recipe=spec.name,
        seed=spec.train.seed,
        epochs=spec.train.epochs,
        test_accuracy=accuracy,
        modified=max(stat.st_mtime for stat in stats),
        size=sum(stat.st_size for file, stat in zip(files, stats, strict=True) if file.is_file()),
    )


def _state(path: Path) -> State:
    if (path / "metrics.json").is_file():
        return "finished"
    trained = (path / "params.safetensors").is_file() and (path / "history.parquet").is_file()
    return "trained" if trained else "unfinished"


def _accuracy(path: Path) -> float | None:
    try:
        return float(str(read_metrics(path)["test_accuracy"]))
    except (DataProblem, KeyError, ValueError):
        return None


def _study_mean(path: Path) -> float | None:
    try:
        return float(cast("dict[str, Any]", read_json(path / "study.json"))["mean_test_accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_studies(directory: Path) -> tuple[StudyEntry, ...]:
    """List the studies that lie in a directory.

    Args:
        directory: Such as ``data/runs``; need not exist.

    Returns:
        In the order of their names.
    """
    found = []
    for path in _directories(directory):
        seeds = [seed for seed in path.glob("seed-*") if (seed / "metrics.json").is_file()]
        if not seeds and not (path / "study.json").is_file():
            continue
        try:
            recipe = load_config(path / "config.toml", RunSpec()).name
        except PipelineError:
            continue
        mean = _study_mean(path)
        found.append(StudyEntry(path=path, recipe=recipe, seeds=len(seeds), mean_test_accuracy=mean))
    return tuple(found)


def unwanted(
    entries: Sequence[RunEntry], now: float, *, older_than_days: float | None = None, idle_minutes: float = 60.0
) -> tuple[Unwanted, ...]:
    """Choose, purely, which runs may be cleaned away: unfinished ones that nobody works on, and old ones if asked.

    Args:
        entries: From `list_runs`.
        now: Seconds since 1970.
        older_than_days: Age from which any run may go, or None to keep all that are trained.
        idle_minutes: How long an unfinished run must have lain untouched; a younger one may be training now.

    Returns:
        The runs to remove, each with its reason.

    Example:
        >>> unwanted([], 0.0)
        ()
    """
    found = []
    for entry in entries:
        age = now - entry.modified
        if entry.state == "unfinished" and age >= 60 * idle_minutes:
            found.append(Unwanted(entry, "unfinished"))
        elif entry.state != "unfinished" and older_than_days is not None and age >= 86_400 * older_than_days:
            found.append(Unwanted(entry, f"{age / 86_400:.0f} days old"))
    return tuple(found)


def why_kept(path: Path) -> str:
    """Say why the directory of a run is not to be removed.

    Args:
        path: The directory.

    Returns:
        The reason: another process works in it, or it holds files that the project did not make. Empty if it may go.
    """
    if is_claimed(path):
        return "another process is at work in it"
    foreign = foreign_files(path, RUN_FILES)
    return f"it holds what is not of a run: {', '.join(foreign)}" if foreign else ""


def remove_run(path: Path) -> None:
    """Remove the directory of a run, unless it is at work or holds anything else.

    Args:
        path: The directory.

    Raises:
        UsageProblem: It is a link, no run, in use by another process, or holds something that is not of a run.
    """
    read_entry(path)
    remove_directory(path, RUN_FILES, last="config.toml")
