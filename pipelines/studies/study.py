"""Studies: one recipe over many seeds, trained in parallel, resumable, summed up with an interval.

A study is a directory with ``config.toml``, a run directory for each seed (``seed-007``) and, when all are done,
``study.json``. A seed whose ``metrics.json`` is there is never trained again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime
from functools import partial
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.metrics import class_figures
from pipelines.artifacts import Prepared
from pipelines.dataset.data_hashes import UNKNOWN, DataHashes, data_hashes, lineage_table, require_same
from pipelines.dataset.places import Places
from pipelines.disk.atomic import TEMPORARY, make_directory, remove_directory, write_bytes
from pipelines.disk.file_names import file_name_fault
from pipelines.disk.json_text import write_json
from pipelines.disk.ownership import ASKED, kind_of
from pipelines.errors import DataProblem, UsageProblem
from pipelines.runs.directory import read_config, write_config
from pipelines.runs.metrics import read_metrics
from pipelines.runs.run import evaluate_run, resume_run, train_run
from pipelines.spec.run_spec import RECORDED, RunSpec
from pipelines.spec.toml import load_config
from pipelines.stages.prepare import prepare
from pipelines.studies.executors import run_jobs
from pipelines.studies.statistics import Interval, mean_and_interval
from pipelines.training.engine import settled

BARE_SEED = (r"config\.toml", r"sealed\.txt", "checkpoints/")
"""Names of files in the directory of a seed that was killed before it had trained at all, as regular expressions."""


@attrs.frozen
class SeedResult:
    """What one seed came to."""

    seed: int
    test_accuracy: float
    validation_accuracy: float | None
    train_seconds: float
    confusion_matrix: tuple[tuple[int, ...], ...]
    data: DataHashes = UNKNOWN
    """The data that it was trained and evaluated on."""


@attrs.frozen(eq=False)
class Study:
    """All seeds of a study, and what they say together."""

    name: str
    class_names: tuple[str, ...]
    results: tuple[SeedResult, ...]
    """In the order of the seeds."""
    mean: float
    """Mean test accuracy, a fraction."""
    deviation: float | None
    """Standard deviation between seeds (n - 1 in the denominator); None for one seed."""
    interval: Interval | None
    """95 % confidence interval of the mean over seeds, by Student's t, cut off at 0 and 1; None for fewer than three
    seeds, and where all accuracies are equal. The test rows are taken as given."""
    confusion_matrix: NDArray[np.float64]
    """(K, K) mean counts; row = true class."""
    recall: Mapping[str, float]


def open_study(directory: Path, spec: RunSpec) -> None:
    """Begin a study, or go on with one of the same specification.

    Args:
        directory: Directory of the study.
        spec: The recipe; its seed does not count.

    Raises:
        UsageProblem: The directory holds something else, or a study of another specification.
    """
    if kind_of(directory) not in (None, "study"):
        raise UsageProblem(
            f"this directory is not a study, it is a {kind_of(directory)}",
            where=str(directory),
            remedy="choose another --out",
        )
    if (directory / "config.toml").is_file():
        if _seedless(load_config(directory / "config.toml", RECORDED)) != _seedless(spec):
            raise UsageProblem(
                "the study there has another configuration", where=str(directory), remedy="choose another --out"
            )
        return
    if directory.exists() and any(directory.iterdir()):
        raise UsageProblem("this directory is not a study", where=str(directory), remedy="choose another --out")
    directory.mkdir(parents=True, exist_ok=True)
    write_config(directory, _seedless(spec))


def study_spec(directory: Path, spec: RunSpec) -> RunSpec:
    """Settle the engine of a study, once for all its seeds: one that is there keeps the engine that it began with.

    Args:
        directory: Directory of the study.
        spec: The recipe.

    Returns:
        The recipe with its engine.

    Raises:
        UsageProblem: The engine is not installed, or does not know the recipe; or the study's configuration is invalid.
    """
    if spec.train.engine == "auto" and kind_of(directory) == "study":
        begun = load_config(directory / "config.toml", RECORDED).train.engine
        spec = attrs.evolve(spec, train=attrs.evolve(spec.train, engine=begun))
    return settled(spec)


def _seedless(spec: RunSpec) -> RunSpec:
    return attrs.evolve(spec, train=attrs.evolve(spec.train, seed=0))


def run_study(
    spec: RunSpec, seeds: Sequence[int], directory: Path, places: Places, executor: Executor
) -> Iterator[SeedResult]:
    """Train every seed that is not trained yet.

    Args:
        spec: The recipe.
        seeds: Which seeds.
        directory: Directory of the study.
        places: Directories of data and cache.
        executor: What runs the seeds: any `concurrent.futures.Executor`, such as `pipelines.studies.executors` opens.
            Its workers do not have to see this disk: their files come home as bytes.

    Yields:
        Results as they come: first those that were there already, then each as it is done.

    Raises:
        UsageProblem: A seed that is there is of other data than those that are named now.
        PipelineError: A seed failed; what is finished stays.
    """
    spec = study_spec(directory, spec)
    prepared, _ = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    yield from run_seeds(spec, seeds, directory, places, executor, prepared)


def run_seeds(
    spec: RunSpec, seeds: Sequence[int], directory: Path, places: Places, executor: Executor, prepared: Prepared
) -> Iterator[SeedResult]:
    """Do what `run_study` does, with an engine that is chosen and data that is prepared.

    Args:
        spec: The recipe, from `study_spec`.
        seeds: Which seeds.
        directory: Directory of the study.
        places: Directories of data and cache.
        executor: What runs the seeds.
        prepared: The recipe's data.

    Yields:
        Results as they come.

    Raises:
        PipelineError: See `run_study`.
    """
    open_study(directory, spec)
    write_bytes(directory / ASKED, f"{len(seeds)}\n".encode())
    there = {seed: read_seed(directory, seed) for seed in seeds}
    done = [found for found in there.values() if found is not None]
    data = data_hashes(prepared, spec.dataset, read=bool(done))
    for found in done:
        _require_data(directory, found, data)
    yield from done

    def unfinished() -> str:
        left = [str(seed) for seed in seeds if read_seed(directory, seed) is None]
        return f"{len(left)} of {len(seeds)} seeds ({', '.join(left)}); their checkpoints stay"

    jobs = [partial(train_on_worker, spec, seed, directory, places) for seed, found in there.items() if found is None]
    for seed, files in run_jobs(executor, jobs, unfinished, where=str(directory)):
        found = copy_back(directory, seed, files)
        _require_data(directory, found, data)
        yield found


def _require_data(directory: Path, found: SeedResult, data: DataHashes) -> None:
    records = {"this command": data, seed_directory(directory, found.seed).name: found.data}
    require_same(
        records,
        "a study takes one mean over one data set",
        where=str(directory),
        remedy="name the --source that the study began with, or choose another --out",
    )


def seed_directory(directory: Path, seed: int) -> Path:
    """Name the run directory of a seed.

    Args:
        directory: Directory of the study.
        seed: The seed.

    Returns:
        Its run directory.

    Example:
        >>> seed_directory(Path("study"), 7).name
        'seed-007'
    """
    return directory / f"seed-{seed:03d}"


def train_seed(spec: RunSpec, seed: int, directory: Path, places: Places) -> SeedResult:
    """Train and evaluate one seed; what a killed worker left of it is taken up, and nothing else is removed.

    Args:
        spec: The recipe.
        seed: The seed.
        directory: Directory of the study.
        places: Directories of data and cache.

    Returns:
        Its figures.

    Raises:
        UsageProblem: In the seed's place there is another run, or a directory with other files.
        PipelineError: See the stages.
    """
    run = seed_directory(directory, seed)
    seeded = attrs.evolve(spec, train=attrs.evolve(spec.train, seed=seed))
    if kind_of(run) == "run":
        if settled(read_config(run)) != settled(seeded):
            raise UsageProblem(
                "the run in this place has another configuration", where=str(run), remedy="move it elsewhere"
            )
        seeded, finished = resume_run(run, places)
    else:
        if os.path.lexists(run):
            remove_directory(run, BARE_SEED)
        finished = train_run(seeded, attrs.evolve(places, out=run), now=datetime.now())
    evaluate_run(seeded, finished)
    found = read_seed(directory, seed)
    if found is None:
        raise DataProblem("the run just written is not there", where=str(run), remedy="run the study again")
    return found


def train_on_worker(spec: RunSpec, seed: int, directory: Path, places: Places) -> tuple[int, dict[str, bytes]]:
    """Do what `train_seed` does, at a worker, and hand back what it wrote.

    Args:
        spec: The recipe.
        seed: The seed.
        directory: Directory of the study; where the worker sees another disk, a directory of that name there.
        places: Directories of data and cache, seen from the worker.

    Returns:
        The seed, and file name -> bytes of the run directory without its checkpoints.

    Raises:
        PipelineError: See the stages.
    """
    train_seed(spec, seed, directory, places)
    files = (path for path in seed_directory(directory, seed).iterdir() if path.is_file())
    return seed, {path.name: path.read_bytes() for path in files if not path.name.startswith(TEMPORARY)}


def copy_back(directory: Path, seed: int, files: Mapping[str, bytes]) -> SeedResult:
    """Write what a worker handed back, unless the worker wrote it here itself.

    Args:
        directory: Directory of the study, here.
        seed: The seed.
        files: From `train_on_worker`.

    Returns:
        The seed's figures.

    Raises:
        DataProblem: The figures are damaged, or a name is not that of a file in the run directory; nothing is written.
        PipelineError: The disk refused.
    """
    run = seed_directory(directory, seed)
    for name in files:
        fault = file_name_fault(name)
        if fault is not None:
            raise DataProblem(
                f"the worker handed back a file whose name {fault}: {name[:100]!r}",
                where=str(run),
                remedy="check which program runs as the worker",
            )
    if read_seed(directory, seed) is None:
        make_directory(run)
        for name in sorted(files, key=lambda name: name == "metrics.json"):  # last: it says that the run is finished
            write_bytes(run / name, files[name])
    found = read_seed(directory, seed)
    if found is None:
        raise DataProblem("the worker returned no metrics", where=str(run), remedy="run the study again")
    return found


def read_seed(directory: Path, seed: int) -> SeedResult | None:
    """Read the figures of a finished seed.

    Args:
        directory: Directory of the study.
        seed: The seed.

    Returns:
        Its figures, or None where it is not finished.

    Raises:
        DataProblem: Its metrics.json is damaged.
    """
    run = seed_directory(directory, seed)
    if not (run / "metrics.json").is_file():
        return None
    found = read_metrics(run)
    return SeedResult(
        found.seed,
        found.test_accuracy,
        found.validation_accuracy,
        found.train_seconds,
        found.confusion_matrix,
        found.data,
    )


def summarised(name: str, class_names: Sequence[str], results: Sequence[SeedResult]) -> Study:
    """Sum up a study.

    Args:
        name: Name of the recipe.
        class_names: In the order of the matrices.
        results: At least one seed.

    Returns:
        Mean, deviation, interval, mean matrix, recall.

    Raises:
        UsageProblem: Two seeds are of different data.

    Example:
        >>> results = [SeedResult(0, 0.8, None, 1.0, ((4, 1), (1, 4))), SeedResult(1, 1.0, None, 1.0, ((5, 0), (0, 5)))]
        >>> summarised("example", ("A", "B"), results).mean
        0.9
    """
    ordered = tuple(sorted(results, key=lambda result: result.seed))
    require_same_data(ordered)
    mean, deviation, interval = mean_and_interval([result.test_accuracy for result in ordered], within=(0, 1))
    matrix = np.mean([result.confusion_matrix for result in ordered], axis=0)
    recall = dict(zip(class_names, class_figures(matrix).recall.tolist(), strict=True))
    return Study(name, tuple(class_names), ordered, mean, deviation, interval, matrix, recall)


def require_same_data(results: Sequence[SeedResult]) -> None:
    """Refuse to average or compare seeds of different data.

    Args:
        results: Any.

    Raises:
        UsageProblem: Two are of different data.
    """
    require_same(
        {f"seed {result.seed} ({number})": result.data for number, result in enumerate(results)},
        "the seeds of a study are of different data",
        remedy="remove those of one of them, and train them again",
    )


def study_table(study: Study) -> dict[str, object]:
    """Turn a study into plain values: what ``study.json`` holds.

    Args:
        study: Any study.

    Returns:
        A JSON object; accuracies are fractions, times seconds.
    """
    return {
        "name": study.name,
        "seeds": len(study.results),
        "mean_test_accuracy": study.mean,
        "standard_deviation": study.deviation,
        "confidence_interval_95": study.interval,
        "class_names": list(study.class_names),
        "mean_confusion_matrix": study.confusion_matrix.tolist(),
        "recall": dict(study.recall),
        "train_seconds": sum(result.train_seconds for result in study.results),
        "lineage": lineage_table(study.results[0].data),
        "results": [_plain(result) for result in study.results],
    }


def _plain(result: SeedResult) -> dict[str, object]:
    return attrs.asdict(result, filter=lambda attribute, _: attribute.name != "data")


def write_study(directory: Path, study: Study) -> None:
    """Write ``study.json``.

    Args:
        directory: Directory of the study.
        study: All its seeds.
    """
    write_json(directory / "study.json", study_table(study))
