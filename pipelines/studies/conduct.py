"""A study in one call: the data, the engine, every seed, the sum, the ablation, the tables and the page."""

from __future__ import annotations

from pathlib import Path

import attrs

from pipelines.dataset.places import Places
from pipelines.disk.ownership import check_new_directory, study_command
from pipelines.spec.run_spec import RunSpec
from pipelines.stages.prepare import prepare
from pipelines.studies.ablation import AblationRow, ablation_rows, run_ablation, without_each, write_ablation
from pipelines.studies.executors import Workers
from pipelines.studies.study import SeedResult, Study, read_seed, run_seeds, study_spec, summarised, write_study
from pipelines.studies.study_page import write_study_page


@attrs.frozen(eq=False)
class ConductedStudy:
    """A study that is done."""

    study: Study
    ablation: tuple[AblationRow, ...]
    """Empty where none was asked for."""
    page: Path


def conduct_study(
    spec: RunSpec, seeds: int, directory: Path, places: Places, workers: Workers, *, ablate: bool = False
) -> ConductedStudy:
    """Train many seeds of one recipe, sum them up, and write ``study.json``, ``ablation.json`` and ``study.html``.

    Args:
        spec: The recipe; its seed does not count.
        seeds: How many, from 0 on; finished ones are not trained again.
        directory: Directory of the study: a new one, or one that is gone on with.
        places: Directories of data and cache.
        workers: What runs the trainings, and who is told of them.
        ablate: Whether to train them once more without each of the recipe's ingredients.

    Returns:
        The study.

    Raises:
        UsageProblem: The directory is something else, or a study of another configuration or of other data.
        PipelineError: There is no data, or a seed failed; what is finished stays.
    """
    check_new_directory(directory, "study", reads=[directory / "config.toml"])
    spec = study_spec(directory, spec)
    prepared, _ = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    results, without = list[SeedResult](), dict[str, list[SeedResult]]()
    there = sum(read_seed(directory, seed) is not None for seed in range(seeds))
    total = seeds * (1 + len(without_each(spec)) * ablate)
    with workers.begin(spec, total) as (executor, told):
        for result in run_seeds(spec, range(seeds), directory, places, executor, prepared):
            results.append(result)
            figures = f"{100 * result.test_accuracy:.2f} %, {result.train_seconds:.1f} s"
            told(f"seed {result.seed}: {figures}", result.test_accuracy, max(there, len(results)))
        for name, result in run_ablation(spec, range(seeds), directory, places, executor) if ablate else ():
            without.setdefault(name, []).append(result)
            told(f"without {name}, seed {result.seed}: {100 * result.test_accuracy:.2f} %", None)
    study, rows = summarised(spec.name, prepared.meta.class_names, results), ablation_rows(results, without)
    write_study(directory, study)
    if ablate:
        write_ablation(directory, rows)
    command = study_command(directory, seeds, places.source, ablate=ablate)
    return ConductedStudy(study, rows, write_study_page(directory, study, command, ablation=rows))
