"""Choosing settings by cross-validation over the training split; the test split is never opened.

A search file names a recipe, a number of folds and variants of the recipe. Every variant is trained on every fold,
and judged on the rows left out, by the mean of its final validation figures. A variant whose training diverges is told
as such and has no rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import product
from pathlib import Path

import attrs

from bpfunc import Key
from bpfunc.batches.splits import k_fold
from pipelines.dataset.cache_key import cache_key
from pipelines.dataset.classes import class_numbers
from pipelines.dataset.data_hashes import DataHashes
from pipelines.dataset.places import Places
from pipelines.disk.atomic import make_directory
from pipelines.disk.file_names import file_name_fault, same_file_name
from pipelines.disk.json_text import write_json
from pipelines.disk.untrusted.documents import read_json, read_toml
from pipelines.disk.untrusted.printable import shell
from pipelines.errors import UsageProblem, WorkFailed
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import OPTION, flat
from pipelines.spec.toml import check_fields, load_recipe, merged, reasons_table
from pipelines.studies.executors import run_jobs
from pipelines.studies.tuning.judge import TrainData, judge, train_data
from pipelines.training.engine import settled
from pipelines.training.interrupts import stop_requested
from pipelines.training.rows import read_training_rows


@attrs.frozen
class Search:
    """What to try."""

    recipe: str
    folds: int
    """Parts that the training split is cut into; each is left out once."""
    take: int
    """How many of the folds are used, from the first on."""
    variants: Mapping[str, RunSpec]
    """Name -> specification."""


@attrs.frozen
class Trial:
    """One variant on one fold."""

    variant: str
    fold: int
    validation_accuracy: float | None
    """None where the training diverged."""
    validation_loss: float | None
    train_seconds: float
    problem: str | None = None
    """How the training diverged; None where it did not."""


SHOWN = 60
"""Letters of a refused name that its message shows."""
OWN = {"train.seed", "train.keep", "train.validation_fraction"}
"""Fields that a search gives every trial: the seed is the fold's, and so are the validation rows."""


def load_search(path: Path, changes: Mapping[str, object] | None = None) -> Search:
    """Read a search file.

    Args:
        path: TOML with ``recipe``, ``folds``, ``take``, perhaps a table ``[base]`` of changes to the recipe for all
            variants, and tables ``[variant.NAME]`` of changes for one.
        changes: Laid over the base, such as the values of ``--set``.

    Returns:
        What to try.

    Raises:
        UsageProblem: The file cannot be read or is not valid, a variant's name cannot be part of a file's name, or a
            change is of a field that the search or a variant sets: neither is taken over the other in silence.
    """
    table, where = read_toml(path, "search"), str(path)
    if "parameters" in table:
        raise UsageProblem("this is the space of a sweep", where=where, remedy=f"`bpfunc sweep {shell([where])}`")
    check_fields(table, ("recipe", "folds", "take", "base", "variant"), where=where)
    missing = [name for name in ("recipe", "folds", "take", "variant") if name not in table]
    if missing:
        raise UsageProblem(
            f"the search does not say {' and '.join(missing)}",
            where=where,
            remedy="write recipe = NAME, folds = K, take = how many of them are judged, and tables [variant.NAME]",
        )
    folds, take, recipe = table.get("folds"), table.get("take"), table.get("recipe")
    variants = table.get("variant")
    if not isinstance(folds, int) or not isinstance(take, int) or not 1 <= take <= folds or folds < 2:
        raise UsageProblem(
            f"folds = {folds!r} and take = {take!r}",
            where=where,
            remedy="whole numbers, 2 <= folds, 1 <= take <= folds",
        )
    if not isinstance(recipe, str) or not isinstance(variants, dict) or not variants:
        raise UsageProblem("recipe is not a text, or there is no table [variant.NAME]", where=where, remedy="add it")
    _check_names(list(variants), path)
    base = merged(load_recipe(recipe), _table(table, "base", path), where=f"{path}, base")
    base = merged(base, changes or {}, where=OPTION)
    _check_changes({name for name, _ in flat(changes or {})}, variants, path)
    # Validation rows are the fold's, so none is cut off again.
    base = attrs.evolve(base, train=attrs.evolve(base.train, keep="last", validation_fraction=0.0))
    specs = {name: merged(base, _table(variants, name, path), where=f"{path}, variant {name}") for name in variants}
    _check_rows(specs, path)
    return Search(recipe, folds, take, specs)


def _check_names(names: Sequence[str], path: Path) -> None:
    """Refuse names that cannot be part of a file's name, or that some file systems take for one another's."""
    seen: dict[str, str] = {}
    for name in names:
        fault = file_name_fault(name)
        other = seen.setdefault(same_file_name(name), name)
        if other != name:
            fault = f"differs from {other!r} by case or spelling alone"
        if fault is not None:
            shown = repr(name) if len(name) <= SHOWN else f"{name[:SHOWN]!r}..."
            raise UsageProblem(
                f"variant {shown} {fault}",
                where=str(path),
                remedy="rename it: the name is part of a file's name",
            )


def _check_rows(specs: Mapping[str, RunSpec], path: Path) -> None:
    """Refuse variants that would be judged on different rows."""
    numbers = {name: class_numbers(spec.dataset.classes, pinned=spec.dataset.pinned) for name, spec in specs.items()}
    first = next(iter(specs))
    for name, spec in specs.items():
        if spec.dataset.partitions:
            raise UsageProblem(
                "a search cuts its folds from rows in memory, not from partitions",
                where=f"{path}, variant {name}",
                remedy="leave dataset.partitions out",
            )
        if numbers[name] != numbers[first]:
            raise UsageProblem(
                f"variants {first} and {name} would be judged on different rows: they differ in dataset.classes",
                where=str(path),
                remedy="set the classes in [base]",
            )


def _check_changes(changed: set[str], variants: Mapping[str, object], path: Path) -> None:
    for field in sorted(changed & OWN):
        raise UsageProblem(f"{field} is the search's own", where=OPTION, remedy="leave it out")
    for name in variants:
        for field, _ in flat(_table(variants, name, path)):
            if field in changed:
                raise UsageProblem(
                    f"{field} is set in variant {name}, and set as well", where=OPTION, remedy="leave one of them out"
                )


def _table(tables: Mapping[str, object], name: str, path: Path) -> Mapping[str, object]:
    found = tables.get(name, {})
    if not isinstance(found, Mapping):
        raise UsageProblem(f"{name}: expected a table, found {found!r}", where=str(path), remedy="fix the file")
    return found


def settled_search(search: Search) -> Search:
    """Settle the engine of each variant, once for all workers.

    Args:
        search: What to try.

    Returns:
        The search with its engines.

    Raises:
        UsageProblem: An engine is not installed, or does not know a variant.
    """
    return attrs.evolve(search, variants={name: settled(spec) for name, spec in search.variants.items()})


def search_data(search: Search, places: Places) -> dict[str, TrainData]:
    """Prepare the data of each variant, each data set once.

    Args:
        search: What to try.
        places: Where data and cache lie.

    Returns:
        Name of a variant -> its data.

    Raises:
        UsageProblem: There are fewer rows than folds.
        PipelineError: There is no data, or it is damaged.
    """
    of_dataset = {dataset: train_data(dataset, places) for dataset in {v.dataset for v in search.variants.values()}}
    found = {name: of_dataset[spec.dataset] for name, spec in search.variants.items()}
    for name, (data, _) in found.items():
        if search.folds > data.train.rows:
            raise UsageProblem(
                f"{search.folds} folds cannot be cut from {data.train.rows} training rows",
                where=f"variant {name}",
                remedy="lower folds",
            )
    return found


def run_search(
    search: Search, directory: Path, places: Places, executor: Executor, data: Mapping[str, TrainData] | None = None
) -> Iterator[Trial]:
    """Train every variant on every fold that is not in the log yet.

    Args:
        search: What to try.
        directory: Where ``trials/`` keeps a file for each trial, named by variant, fold, and a hash of all that its
            figures depend on; what is there is not run again.
        places: Where data and cache lie.
        executor: What runs the trials; its workers do not have to see this disk.
        data: From `search_data`; prepared here where None.

    Yields:
        Trials as they come: first those that were there already, then each as it is done, begun fold by fold.

    Raises:
        PipelineError: See the stages.
    """
    search = settled_search(search)
    data = search_data(search, places) if data is None else data
    make_directory(directory / "trials")
    files = trial_files(search, directory, data)
    there = {which: read_trial(path) for which, path in files.items()}
    yield from (trial for trial in there.values() if trial is not None)
    left = [which for which, trial in there.items() if trial is None]
    jobs = [
        partial(run_fold, name, search.variants[name], (fold, search.folds), places, data[name][1], files[name, fold])
        for name, fold in left
    ]

    def unfinished() -> str:
        return f"{sum(read_trial(path) is None for path in files.values())} of {len(files)} trials"

    for trial in run_jobs(executor, jobs, unfinished, where=str(directory)):
        path = files[trial.variant, trial.fold]
        if read_trial(path) is None:
            write_json(path, attrs.asdict(trial))
        yield trial


def trial_files(search: Search, directory: Path, data: Mapping[str, TrainData]) -> dict[tuple[str, int], Path]:
    """Name the files of all trials.

    Args:
        search: What to try, with its engines.
        directory: Directory of the search.
        data: From `search_data`.

    Returns:
        Variant and fold -> file, fold by fold.
    """
    keys = dict[str, str]()
    for name, spec in search.variants.items():
        reasons = {"spec": reasons_table(spec), "folds": search.folds, "rows": data[name][0].train.sha256}
        keys[name] = cache_key(reasons)[:16]
    both = product(range(search.take), search.variants)
    return {(name, fold): directory / "trials" / f"{name}-{fold}-{keys[name]}.json" for fold, name in both}


def run_fold(name: str, spec: RunSpec, fold: tuple[int, int], places: Places, data: DataHashes, path: Path) -> Trial:
    """Train on all folds but one and judge on that, unless the trial is in the log.

    Args:
        name: Name of the variant.
        spec: Its specification.
        fold: The fold that is left out, and how many there are.
        places: Where data and cache lie, seen from here.
        data: The hashes of the search's data.
        path: The trial's file; it is written where its directory can be seen from here.

    Returns:
        The trial.

    Raises:
        PipelineError: The data here are not the search's; or see the stages.
        Interrupted: A signal came.
    """
    trial = read_trial(path)
    if trial is not None:
        return trial
    number, folds = fold
    rows = read_training_rows(train_data(spec.dataset, places, expected=("search", data))[0].train)
    seeded = attrs.evolve(spec, train=attrs.evolve(spec.train, seed=1000 + number))
    with stop_requested() as stop:  # a worker whose parent is gone leaves
        found = judge(list(k_fold(rows, Key(0), folds))[number], seeded, stop=stop)
    trial = Trial(name, number, found.accuracy, found.loss, found.train_seconds, found.problem)
    if path.parent.is_dir():
        write_json(path, attrs.asdict(trial))
    return trial


def read_trial(path: Path) -> Trial | None:
    """Read a trial from the log.

    Args:
        path: Its file.

    Returns:
        The trial; None where it is missing or damaged, so that it is run again.
    """
    try:
        values = read_json(path)
        if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
            return None
        trial = Trial(**values)
        whole = all(math.isfinite(value) for value in (trial.validation_accuracy, trial.validation_loss) if value)
    except (OSError, ValueError, TypeError):
        return None
    return trial if whole else None


def search_table(trials: Sequence[Trial]) -> list[dict[str, object]]:
    """Sum up a search: a row for each variant, the best first; one of which a trial diverged has no rank, and is last.

    Args:
        trials: All that are done.

    Returns:
        Rows with mean validation accuracy and loss, seconds a trial, and the first problem. A variant that diverged
        has None for both means: one over the other folds would be of other rows.
    """
    rows = [
        _row(name, [trial for trial in trials if trial.variant == name])
        for name in dict.fromkeys(trial.variant for trial in trials)
    ]
    return [row for _, row in sorted(rows, key=lambda ranked: ranked[0])]


def _row(name: str, own: Sequence[Trial]) -> tuple[tuple[float, float], dict[str, object]]:
    """Sum up a variant: what it is sorted by, and its row."""
    accuracy = _mean([trial.validation_accuracy for trial in own])
    loss = _mean([trial.validation_loss for trial in own])
    rank = (math.inf, math.inf) if accuracy is None or loss is None else (-accuracy, loss)
    row: dict[str, object] = {
        "variant": name,
        "folds": len(own),
        "validation_accuracy": accuracy,
        "validation_loss": loss,
        "every_accuracy": [trial.validation_accuracy for trial in own],
        "train_seconds": sum(trial.train_seconds for trial in own) / len(own),
        "problem": next((f"fold {trial.fold}: {trial.problem}" for trial in own if trial.problem is not None), None),
    }
    return rank, row


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def write_search(directory: Path, table: Sequence[Mapping[str, object]]) -> None:
    """Write ``search.json``.

    Args:
        directory: Directory of the search.
        table: From `search_table`.

    Raises:
        WorkFailed: There is nothing to choose from, since every variant diverged; the file is written all the same.
    """
    write_json(directory / "search.json", table)
    if all(row["problem"] is not None for row in table):
        raise WorkFailed(
            f"every variant diverged; {table[0]['variant']}, {table[0]['problem']}",
            where=str(directory / "search.json"),
            remedy="lower train.learning_rate",
        )
