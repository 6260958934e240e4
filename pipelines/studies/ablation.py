"""What each ingredient of a recipe is worth: the same seeds once more, with one ingredient removed at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

import attrs

from pipelines.dataset.places import Places
from pipelines.disk.json_text import write_json
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import merged
from pipelines.studies.statistics import Interval, mean_and_interval
from pipelines.studies.study import SeedResult, require_same_data, run_study

INGREDIENTS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "scaling": {"dataset": {"scaling": "unit", "scaling_offset": 0.0}},
    "dropout": {"model": {"dropout": 0.0}},
    "input dropout": {"model": {"input_dropout": 0.0}},
    "mirror averaging": {"model": {"mirror": False}},
    "activation": {"model": {"activation": "relu"}},
    "schedule": {"train": {"schedule": "constant"}},
    "momentum": {"train": {"momentum": 0.0}},
    "weight decay": {"train": {"weight_decay": 0.0}},
    "label smoothing": {"train": {"label_smoothing": 0.0}},
    "batch normalisation": {"model": {"batch_norm": False}},
    "random flips": {"train": {"flip": False}},
    "random shifts": {"train": {"shift": 0}},
    "blanked squares": {"train": {"cutout": 0}},
    "mixup": {"train": {"mixup": 0.0}},
    "averaged weights": {"train": {"average": 0.0}},
    "best epoch kept": {"train": {"keep": "last"}},
}
"""Ingredient -> the fields that are as if it were not there."""


@attrs.frozen
class AblationRow:
    """A recipe without one ingredient, against the whole recipe, paired by seed."""

    ingredient: str
    mean: float
    """Mean test accuracy without it, a fraction."""
    deviation: float | None
    """Standard deviation between seeds; None for one seed."""
    difference: float
    """What it is worth: mean of (with - without) over the seeds."""
    interval: Interval | None
    """95 % confidence interval of the difference, by Student's t over the pairs; None for fewer than three, and where
    all differences are equal."""
    every: tuple[float, ...]
    """Test accuracy without it, seed by seed."""


def without_each(spec: RunSpec) -> dict[str, RunSpec]:
    """Remove each ingredient that a recipe has.

    Args:
        spec: The recipe.

    Returns:
        Ingredient -> the recipe without it.

    Example:
        >>> from pipelines.spec.run_spec import TrainSpec
        >>> list(without_each(RunSpec(train=TrainSpec(momentum=0.9))))
        ['momentum']
    """
    variants = {name: merged(spec, changes, where="ablation") for name, changes in INGREDIENTS.items()}
    return {name: variant for name, variant in variants.items() if variant != spec}


def run_ablation(
    spec: RunSpec, seeds: Sequence[int], directory: Path, places: Places, executor: Executor
) -> Iterator[tuple[str, SeedResult]]:
    """Run a study for the recipe without each of its ingredients.

    Args:
        spec: The recipe.
        seeds: Those of the study that it is compared with.
        directory: Directory of that study; each ingredient gets a directory in ``without/``.
        places: Directories of data and cache.
        executor: What runs the seeds.

    Yields:
        Ingredient and result, as they come.

    Raises:
        PipelineError: A seed failed; what is finished stays.
    """
    for name, variant in without_each(spec).items():
        for result in run_study(variant, seeds, directory / "without" / name.replace(" ", "-"), places, executor):
            yield name, result


def ablation_rows(full: Sequence[SeedResult], without: Mapping[str, Sequence[SeedResult]]) -> tuple[AblationRow, ...]:
    """Compare, seed by seed.

    Args:
        full: Of the whole recipe.
        without: Ingredient -> results of the same seeds without it.

    Returns:
        Rows, the ingredient of most worth first.

    Raises:
        UsageProblem: Two seeds are of different data.

    Example:
        >>> full = [SeedResult(seed, 0.9, None, 1.0, ((1,),)) for seed in (0, 1)]
        >>> less = [SeedResult(0, 0.7, None, 1.0, ((1,),)), SeedResult(1, 0.9, None, 1.0, ((1,),))]
        >>> round(ablation_rows(full, {"flips": less})[0].difference, 3)
        0.1
    """
    of_seed = {result.seed: result.test_accuracy for result in full}
    rows = []
    for name, results in without.items():
        ordered = sorted(results, key=lambda result: result.seed)
        require_same_data([*full, *ordered])
        every = tuple(result.test_accuracy for result in ordered)
        mean, deviation, _ = mean_and_interval(every)
        differences = [of_seed[result.seed] - result.test_accuracy for result in ordered]
        difference, _, interval = mean_and_interval(differences, within=(-1, 1))
        rows.append(AblationRow(name, mean, deviation, difference, interval, every))
    return tuple(sorted(rows, key=lambda row: -row.difference))


def ablation_table(rows: Sequence[AblationRow]) -> list[dict[str, object]]:
    """Turn an ablation into plain values: what ``ablation.json`` holds.

    Args:
        rows: All ingredients.

    Returns:
        A JSON object for each; accuracies and differences as fractions, deviation and interval None where there are
        none.

    Example:
        >>> ablation_table([AblationRow("flips", 0.9, None, 0.1, None, (0.9,))])[0]["interval"] is None
        True
    """
    return [attrs.asdict(row) for row in rows]


def write_ablation(directory: Path, rows: Sequence[AblationRow]) -> None:
    """Write ``ablation.json``: accuracies and differences as fractions.

    Args:
        directory: Directory of the study.
        rows: All ingredients.
    """
    write_json(directory / "ablation.json", ablation_table(rows))
