"""Choosing settings by cross-validation over the training split; the test split is never opened.

A search file names a recipe, a number of folds and variants of the recipe. Every variant is trained on every fold,
and judged on the rows left out, by the mean of its final validation figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from itertools import product
from pathlib import Path

import attrs

from bpfunc import Key
from bpfunc.batches.splits import k_fold
from pipelines.artifacts import PreparedTrain
from pipelines.dataset.cache_key import cache_key
from pipelines.dataset.places import Places
from pipelines.disk.atomic import write_bytes
from pipelines.errors import DataProblem, UsageProblem, first_line
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.settings import OPTION, flat
from pipelines.spec.toml import load_recipe, merged, to_table
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.training.interrupts import stop_requested
from pipelines.training.rows import read_training_rows
from pipelines.untrusted.documents import read_json, read_toml


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
    validation_accuracy: float
    validation_loss: float
    train_seconds: float


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
        UsageProblem: The file cannot be read or is not valid, or a change is of a field that the search or a variant
            sets: neither is taken over the other in silence.
    """
    table = read_toml(path, "search")
    folds, take, recipe = table.get("folds"), table.get("take"), table.get("recipe")
    variants = table.get("variant")
    if not isinstance(folds, int) or not isinstance(take, int) or not 1 <= take <= folds or folds < 2:
        raise UsageProblem(
            f"folds = {folds!r} and take = {take!r}",
            where=str(path),
            remedy="whole numbers, 2 <= folds, 1 <= take <= folds",
        )
    if not isinstance(recipe, str) or not isinstance(variants, dict) or not variants:
        raise UsageProblem("no recipe or no variant", where=str(path), remedy="add recipe = ... and [variant.NAME]")
    base = merged(load_recipe(recipe), _table(table, "base", path), where=f"{path}, base")
    base = merged(base, changes or {}, where=OPTION)
    _check_changes({name for name, _ in flat(changes or {})}, variants, path)
    # Validation rows are the fold's, so none is cut off again.
    base = attrs.evolve(base, train=attrs.evolve(base.train, keep="last", validation_fraction=0.0))
    specs = {name: merged(base, _table(variants, name, path), where=f"{path}, variant {name}") for name in variants}
    return Search(recipe, folds, take, specs)


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
        raise UsageProblem(f"{name}: expected a table, found {found!r}", where=str(path), remedy="mend the file")
    return found


def run_search(search: Search, directory: Path, places: Places, executor: Executor) -> Iterator[Trial]:
    """Train every variant on every fold that is not in the log yet.

    Args:
        search: What to try.
        directory: Where ``trials/`` keeps a file for each trial, named by variant, fold, and a hash of all that its
            figures depend on; what is there is not run again.
        places: Where data and cache lie.
        executor: What runs the trials.

    Yields:
        Trials, fold by fold and variant by variant.

    Raises:
        PipelineError: See the stages.
    """
    (directory / "trials").mkdir(parents=True, exist_ok=True)
    prepared = {
        name: prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].train
        for name, spec in search.variants.items()
    }
    jobs = [
        executor.submit(_trial, name, search.variants[name], fold, search.folds, prepared[name], directory)
        for fold, name in product(range(search.take), search.variants)
    ]
    for job in jobs:
        yield job.result()


def _trial(name: str, spec: RunSpec, fold: int, folds: int, prepared: PreparedTrain, directory: Path) -> Trial:
    key = cache_key({"spec": to_table(spec), "folds": folds, "rows": prepared.sha256})[:16]
    path = directory / "trials" / f"{name}-{fold}-{key}.json"
    if path.is_file():
        return _read_trial(path)
    rows = read_training_rows(prepared)
    learn, choose = list(k_fold(rows, Key(0), folds))[fold]
    seeded = attrs.evolve(spec, train=attrs.evolve(spec.train, seed=1000 + fold))
    with stop_requested() as stop:  # a worker whose parent is gone has nobody to work for
        trained = fit(learn, choose, seeded, stop=stop)
    last = trained.history[-1]
    trial = Trial(name, fold, last.validation_accuracy or 0.0, last.validation_loss or 0.0, trained.train_seconds)
    write_bytes(path, json.dumps(attrs.asdict(trial)).encode())
    return trial


def _read_trial(path: Path) -> Trial:
    try:
        values = read_json(path)
        if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
            raise ValueError("it is not a trial")
        return Trial(**values)
    except (OSError, ValueError, TypeError) as error:
        text = error.strerror if isinstance(error, OSError) else first_line(error)
        raise DataProblem(f"damaged trial: {text}", where=str(path), remedy="remove it; it is then run again") from None


def search_table(trials: list[Trial]) -> list[dict[str, object]]:
    """Sum up a search: a row for each variant, the best first.

    Args:
        trials: All that are done.

    Returns:
        Rows with mean validation accuracy and loss, and seconds a trial.
    """
    rows: list[dict[str, object]] = []
    for name in dict.fromkeys(trial.variant for trial in trials):
        own = [trial for trial in trials if trial.variant == name]
        rows.append(
            {
                "variant": name,
                "folds": len(own),
                "validation_accuracy": sum(trial.validation_accuracy for trial in own) / len(own),
                "validation_loss": sum(trial.validation_loss for trial in own) / len(own),
                "every_accuracy": [trial.validation_accuracy for trial in own],
                "train_seconds": sum(trial.train_seconds for trial in own) / len(own),
            }
        )
    return sorted(rows, key=lambda row: (-float(str(row["validation_accuracy"])), float(str(row["validation_loss"]))))
