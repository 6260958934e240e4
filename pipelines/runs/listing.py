"""The runs, studies, searches and sweeps in a directory: what is there, and which runs may be cleaned away."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from pipelines.disk.atomic import foreign_files, is_claimed, remove_directory
from pipelines.disk.ownership import ASKED, RUN_FILES, kind_of, read_progress, seed_directories
from pipelines.disk.untrusted.documents import read_json
from pipelines.errors import DataProblem, PipelineError, UsageProblem
from pipelines.runs.directory import read_config
from pipelines.runs.metrics import fraction, read_metrics
from pipelines.runs.naming import began, read_note
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import flat
from pipelines.spec.toml import load_config, to_table

State = Literal["finished", "trained", "unfinished", "damaged"]


@attrs.frozen(kw_only=True)
class RunEntry:
    """A run, as a list shows it."""

    path: Path
    state: State
    """``finished``: measured on the test split. ``trained``: not measured yet. ``unfinished``: to be resumed.
    ``damaged``: a file of it cannot be read."""
    recipe: str
    """Empty where the configuration cannot be read."""
    seed: int | None
    epochs: int | None
    """That were asked for."""
    test_accuracy: float | None
    began: float
    """Seconds since 1970, see `pipelines.runs.naming.began`."""
    settings: Mapping[str, object]
    """Dotted name -> value, of every field of the configuration; empty where that cannot be read."""
    modified: float
    """Seconds since 1970 at which a file of it last changed."""
    size: int
    """Bytes."""

    @property
    def accuracy(self) -> float | None:
        """The figure that stands for it in a list."""
        return self.test_accuracy


@attrs.frozen(kw_only=True)
class StudyEntry:
    """A study, as a list shows it."""

    path: Path
    recipe: str
    """Empty where the configuration cannot be read."""
    seeds: int
    """Finished ones."""
    asked: int | None
    """How many seeds the last command asked for; None where a study of a former version does not tell."""
    began: float
    """Seconds since 1970, when the first of its seeds began."""
    settings: Mapping[str, object]
    """As of a run, without the seed."""
    mean_test_accuracy: float | None
    """None until the study is done."""
    damaged: bool = False
    """Whether its configuration or ``study.json`` cannot be read."""

    @property
    def accuracy(self) -> float | None:
        """The figure that stands for it in a list."""
        return self.mean_test_accuracy

    @property
    def state(self) -> str:
        """Such as ``study``, ``unfinished 3/10`` or ``damaged study``."""
        done = self.mean_test_accuracy is not None
        return "damaged study" if self.damaged else _state_of("study", self.seeds, self.asked, done=done)


@attrs.frozen(kw_only=True)
class TuningEntry:
    """A search or a sweep, as a list shows it."""

    path: Path
    kind: Literal["search", "sweep"]
    recipe: str
    """Empty where a directory of a former version does not tell."""
    trials: int | None
    """Finished ones, of those that were asked for; None where that is not told."""
    asked: int | None
    began: float
    """Seconds since 1970."""
    state: str
    """Such as ``search``, ``unfinished 3/10`` or ``unfinished sweep``."""
    accuracy: None = None
    """Trials are judged by validation rows, which is not to be compared with runs."""
    settings: Mapping[str, object] = attrs.field(factory=dict)


def _state_of(kind: str, finished: int, asked: int | None, *, done: bool) -> str:
    if asked is not None and finished < asked:
        return f"unfinished {finished}/{asked}"
    return kind if done else f"unfinished {kind}"


@attrs.frozen
class Unwanted:
    """A run that may be removed, and why."""

    entry: RunEntry
    why: str


def list_runs(directory: Path) -> tuple[RunEntry, ...]:
    """List the runs that lie in a directory, the one that began last at the end.

    Args:
        directory: Such as ``data/runs``; may be missing.

    Returns:
        What is a run; everything else is passed over.
    """
    return tuple(sorted(_runs(directory), key=lambda entry: (entry.began, entry.path)))


def _runs(directory: Path) -> Iterable[RunEntry]:
    for path in _directories(directory):
        try:
            yield read_entry(path)
        except UsageProblem:
            if kind_of(path) == "run":
                yield _entry(path, None)


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
        UsageProblem: It is not a run directory.
    """
    return _entry(path, read_config(path))


def _entry(path: Path, spec: RunSpec | None) -> RunEntry:
    stats = [found for file in (path, *path.rglob("*")) if (found := _lstat(file)) is not None]
    accuracy, state = None, _state(path)
    if state == "finished":
        accuracy = _accuracy(path)
    if spec is None or (state == "finished" and accuracy is None):
        state = "damaged"
    return RunEntry(
        path=path,
        state=state,
        recipe="" if spec is None else spec.name,
        seed=None if spec is None else spec.train.seed,
        epochs=None if spec is None else spec.train.epochs,
        test_accuracy=accuracy,
        began=began(path),
        settings={} if spec is None else dict(flat(to_table(spec))),
        modified=max((found.st_mtime for found in stats if not stat.S_ISLNK(found.st_mode)), default=0.0),
        size=sum(found.st_size for found in stats if stat.S_ISREG(found.st_mode)),
    )


def _lstat(file: Path) -> os.stat_result | None:
    try:
        return file.lstat()
    except OSError:  # it went away meanwhile
        return None


def _state(path: Path) -> State:
    if (path / "metrics.json").is_file():
        return "finished"
    trained = (path / "params.safetensors").is_file() and (path / "history.parquet").is_file()
    return "trained" if trained else "unfinished"


def _accuracy(path: Path) -> float | None:
    try:
        return read_metrics(path).test_accuracy
    except DataProblem:
        return None


def _study_mean(path: Path) -> float | None:
    """The mean of a study that is done.

    Raises:
        ValueError: Its figures cannot be read.
    """
    if not os.path.lexists(path / "study.json"):
        return None
    try:
        values = read_json(path / "study.json")
    except OSError as error:
        raise ValueError(error.strerror) from None
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    return fraction(values.get("mean_test_accuracy"))


def list_studies(directory: Path) -> tuple[StudyEntry, ...]:
    """List the studies that lie in a directory.

    Args:
        directory: Such as ``data/runs``; may be missing.

    Returns:
        The one that began last at the end.
    """
    found = []
    for path in _directories(directory):
        begun = seed_directories(path)
        seeds = [seed for seed in begun if (seed / "metrics.json").is_file()]
        asked = read_note(path / ASKED)
        if not seeds and not asked and not os.path.lexists(path / "study.json"):
            continue
        recipe, mean, damaged, settings = "", None, False, dict[str, object]()
        try:
            spec = load_config(path / "config.toml", RunSpec())
            recipe, settings = spec.name, dict(flat(to_table(spec)))
            del settings["train.seed"]
            mean = _study_mean(path)
        except (PipelineError, ValueError):
            damaged = True
        entry = StudyEntry(
            path=path,
            recipe=recipe,
            seeds=len(seeds),
            asked=int(asked) if asked.isascii() and asked.isdecimal() else None,
            settings=settings,
            began=min(map(began, begun), default=began(path)),
            mean_test_accuracy=mean,
            damaged=damaged,
        )
        found.append(entry)
    return tuple(sorted(found, key=lambda entry: (entry.began, entry.path)))


def list_tunings(directory: Path) -> tuple[TuningEntry, ...]:
    """List the searches and sweeps that lie in a directory.

    Args:
        directory: Such as ``data/runs``; may be missing.

    Returns:
        The one that began last at the end.
    """
    found = []
    for path in _directories(directory):
        kind, progress = kind_of(path), read_progress(path)
        if kind in ("search", "sweep"):
            trials, asked = (None, None) if progress is None else (progress.done, progress.asked)
            entry = TuningEntry(
                path=path,
                kind=kind,
                recipe="" if progress is None else progress.recipe,
                trials=trials,
                asked=asked,
                began=began(path) if progress is None else progress.began,
                state=_state_of(kind, trials or 0, asked, done=(path / f"{kind}.json").is_file()),
            )
            found.append(entry)
    return tuple(sorted(found, key=lambda entry: (entry.began, entry.path)))


def unwanted(
    entries: Sequence[RunEntry], now: float, *, older_than_days: float | None = None, idle_minutes: float = 60.0
) -> tuple[Unwanted, ...]:
    """Choose, purely, which runs may be cleaned away: unfinished ones that no process works on, and old ones if asked.

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
    """Return why the directory of a run is not to be removed.

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
        UsageProblem: It is a link, no run, in use by another process, or holds something that is not of a run; or its
            configuration cannot be read, so that a person should look at it.
    """
    read_entry(path)
    remove_directory(path, RUN_FILES, last="config.toml")
