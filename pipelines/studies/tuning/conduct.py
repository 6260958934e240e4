"""A search or a sweep in one call: the file, the engine, the data, every trial, and the tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from pipelines.dataset.places import Places
from pipelines.disk.atomic import make_directory, write_bytes
from pipelines.disk.json_text import write_json
from pipelines.disk.ownership import PROGRESS, Progress, check_new_directory, read_progress, write_progress
from pipelines.spec.toml import to_toml
from pipelines.studies.executors import Workers
from pipelines.studies.text import search_trial_line, trial_line
from pipelines.studies.tuning.cross_validation import (
    Trial,
    load_search,
    read_trial,
    run_search,
    search_data,
    search_table,
    settled_search,
    trial_files,
    write_search,
)
from pipelines.studies.tuning.judge import train_data
from pipelines.studies.tuning.space import load_space, with_settings
from pipelines.studies.tuning.storage import storage_failures, storage_url
from pipelines.studies.tuning.sweep import TrialResult, best_trial, open_study, results_of, run_sweep, sweep_table
from pipelines.training.engine import settled


def conduct_search(
    path: Path, directory: Path, places: Places, workers: Workers, *, changes: Mapping[str, object] | None = None
) -> list[dict[str, object]]:
    """Judge every variant on every fold, rank them, and write ``search.json``.

    Args:
        path: The search file, see `load_search`.
        directory: Directory of the search: a new one, or one that is gone on with.
        places: Where data and cache lie.
        workers: What runs the trainings, and who is told of them.
        changes: Laid over the base, such as the values of ``--set``.

    Returns:
        A row for each variant, the best first, see `search_table`.

    Raises:
        UsageProblem: The file is not valid, or the directory is something else.
        PipelineError: There is no data, a trial failed, or every variant diverged; what is finished stays.
    """
    search = load_search(path, changes)
    check_new_directory(directory, "search", reads=[path], writes=("search.json", PROGRESS))
    search = settled_search(search)
    data = search_data(search, places)
    files = trial_files(search, directory, data)

    def finished() -> int:
        return sum(read_trial(file) is not None for file in files.values())

    there, found = finished(), dict[tuple[str, int], Trial]()
    make_directory(directory)
    note = _note(directory, "search", search.recipe, len(files))
    note(there)
    try:
        with workers.begin(next(iter(search.variants.values())), len(files)) as (executor, told):
            for trial in run_search(search, directory, places, executor, data):
                found[trial.variant, trial.fold] = trial
                note(done := max(there, len(found)))
                told(search_trial_line(trial), trial.validation_accuracy, done)
    finally:  # also what a worker finished while the command was interrupted
        note(finished())
    table = search_table([found[which] for which in files])
    write_search(directory, table)
    return table


@attrs.frozen(eq=False)
class ConductedSweep:
    """A sweep that has as many trials as wanted."""

    results: tuple[TrialResult, ...]
    """Of every process that took part."""
    best: TrialResult
    config: Path
    """The recipe with the best trial's settings."""


def conduct_sweep(
    path: Path,
    directory: Path,
    trials: int,
    places: Places,
    workers: Workers,
    *,
    changes: Mapping[str, object] | None = None,
    storage: str | None = None,
) -> ConductedSweep:
    """Run trials until there are as many as wanted, and write ``sweep.json`` and ``best.toml``.

    Args:
        path: The space file, see `load_space`.
        directory: Directory of the sweep: a new one, or one that is gone on with.
        trials: How many there shall be in all, those of former calls and of others included.
        places: Where data and cache lie.
        workers: What runs the trainings, and who is told of them.
        changes: Laid over the file's fixed changes, such as the values of ``--set``.
        storage: URL of a database that many machines share; a file in the directory where None.

    Returns:
        The sweep.

    Raises:
        UsageProblem: The file is not valid, the directory is something else, or the storage does not open.
        PipelineError: There is no data, the storage failed, or no trial was trained to the end; what is finished stays.
    """
    asked = load_space(path, changes)
    check_new_directory(directory, "sweep", reads=[path], writes=("sweep.db", "sweep.json", "best.toml", PROGRESS))
    space = attrs.evolve(asked, base=settled(asked.base))
    data = train_data(space.base.dataset, places, read=True)
    make_directory(directory)
    url = storage or storage_url(directory)
    with storage_failures(url):
        study, note = open_study(space, url, data), _note(directory, "sweep", space.base.name, trials)
        note(len(results_of(study)))
        try:
            with workers.begin(space.base, trials) as (executor, told):
                for trial in run_sweep(space, url, trials, places, executor, jobs=workers.jobs, data=data):
                    note(done := len(results_of(study)))
                    told(trial_line(trial), trial.validation_accuracy, done)
        finally:  # also what a worker finished while the command was interrupted
            results = results_of(study)
            note(len(results))
    if len(results) < trials:
        workers.say(f"{trials - len(results)} of {trials} trials still run elsewhere; the same command shows them")
    write_json(directory / "sweep.json", sweep_table(results))
    best, config = best_trial(results), directory / "best.toml"
    write_bytes(config, to_toml(with_settings(asked.base, best.settings, where=str(path))).encode())
    return ConductedSweep(results, best, config)


def _note(directory: Path, kind: Literal["search", "sweep"], recipe: str, asked: int) -> Callable[[int], None]:
    """Write into a directory how many trainings are done of those asked for; a directory keeps when it began."""
    before = read_progress(directory)
    began = time.time() if before is None else before.began
    return lambda done: write_progress(directory, Progress(kind, done, asked, recipe, began))
