"""Sweeps: settings searched with Optuna, each trial judged on validation rows; the test split is never opened.

A space file names a recipe and the ranges of some of its fields. All that take part, on one machine or many, share one
Optuna storage: it hands out the trials, so none is run twice, and a sweep that was stopped goes on. The name of the
study in the storage is made of the space and of the data, so other settings never mix with it.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from typing import TYPE_CHECKING, Literal, cast

import attrs

from bpfunc.keys import Key, fold_in, generator
from bpfunc.training.not_finite import NotFiniteError
from pipelines.artifacts import EpochRecord, PreparedTrain
from pipelines.dataset.places import Places
from pipelines.errors import DataProblem, PipelineError, UsageProblem
from pipelines.spec.toml import to_table
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.studies.tuning.space import Parameter, Space, Value, settled
from pipelines.studies.tuning.storage import open_storage
from pipelines.training.progress import Progress
from pipelines.training.rows import training_rows
from pipelines.untrusted.documents import parse_json

if TYPE_CHECKING:
    import optuna


@attrs.frozen
class TrialResult:
    """One trial that is over."""

    number: int
    state: Literal["complete", "pruned"]
    settings: Mapping[str, Value]
    """Dotted name -> value."""
    validation_loss: float | None
    """Of the network that the recipe would keep, in nats; the last one seen where the trial was pruned."""
    validation_accuracy: float | None
    epochs: int


def study_name(space: Space, data: str) -> str:
    """Name a sweep by all that its trials depend on.

    Args:
        space: What is searched.
        data: SHA-256 of the training rows.

    Returns:
        The recipe's name and 16 hex digits.

    Example:
        >>> from pipelines.spec.run_spec import RunSpec
        >>> study_name(Space(RunSpec(), (), "median", 0), "00")[:7]
        'report-'
    """
    parameters = [[item.name, item.kind, item.values] for item in space.parameters]
    reasons = [to_table(space.base), parameters, space.pruner, space.seed, data]
    return f"{space.base.name}-{hashlib.sha256(json.dumps(reasons).encode()).hexdigest()[:16]}"


def run_sweep(
    space: Space, url: str, trials: int, places: Places, executor: Executor, *, jobs: int = 1
) -> Iterator[TrialResult]:
    """Run trials until the study has as many as wanted, together with everybody who shares the storage.

    Args:
        space: What to search.
        url: Of the storage; workers on other machines must reach it too.
        trials: How many there shall be in all, those of former calls and of others included.
        places: Where data and cache lie.
        executor: What runs the trials.
        jobs: How many at a time.

    Yields:
        The trials that this call ran, as they come.

    Raises:
        PipelineError: See the stages; or the storage does not open.
    """
    rows = prepare(space.base.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].train
    name = study_name(space, rows.sha256)
    _open_study(space, url, name)
    running = {executor.submit(run_trial, space, url, name, trials, places) for _ in range(jobs)}
    try:
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                if result is not None:
                    running.add(executor.submit(run_trial, space, url, name, trials, places))
                    yield result
    finally:
        for future in running:
            future.cancel()


def _open_study(space: Space, url: str, name: str) -> optuna.Study:
    storage = open_storage(url)
    import optuna

    pruners: dict[str, optuna.pruners.BasePruner] = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        "hyperband": optuna.pruners.HyperbandPruner(max_resource=space.base.train.epochs),
        "none": optuna.pruners.NopPruner(),
    }
    return optuna.create_study(storage=storage, study_name=name, pruner=pruners[space.pruner], load_if_exists=True)


class _Surplus(Exception):
    """Somebody else has taken the last trial."""


def run_trial(space: Space, url: str, name: str, trials: int, places: Places) -> TrialResult | None:
    """Take one trial from the study and run it, unless there are as many as wanted.

    Args:
        space: What to search.
        url: Of the storage.
        name: Of the study.
        trials: How many there shall be in all.
        places: Where data and cache lie, seen from here.

    Returns:
        The trial, or None where none was left.

    Raises:
        PipelineError: See the stages.
    """
    study = _open_study(space, url, name)
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    if _counted(study.get_trials(deepcopy=False)) >= trials:
        return None

    def objective(trial: optuna.Trial) -> float:
        # Numbers are handed out one by one. Whoever comes too late, by a race, gives the number back.
        before = [other for other in study.get_trials(deepcopy=False) if other.number < trial.number]
        if _counted(before) >= trials:
            raise _Surplus
        # The same settings for the same number and history, whoever runs the trial.
        seed = int(generator(fold_in(Key(space.seed), trial.number)).integers(2**32))
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)
        taken.append(trial.number)
        return _judged(space, trial, places)

    taken: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.optimize(objective, n_trials=1, catch=(_Surplus,))
    if not taken:
        return None
    return next(result for result in results_of(study) if result.number == taken[0])


def _counted(trials: Sequence[optuna.trial.FrozenTrial]) -> int:
    return sum(trial.state.name != "FAIL" for trial in trials)


def _judged(space: Space, trial: optuna.Trial, places: Places) -> float:
    """Train with the settings that Optuna suggests; give up early where others were better at the same epoch."""
    import optuna

    settings = {parameter.name: _suggested(trial, parameter) for parameter in space.parameters}
    trial.set_user_attr("settings", settings)
    try:
        spec = settled(space.base, settings, where=f"trial {trial.number}")
    except UsageProblem as problem:  # each value is valid by itself, these together are not
        trial.set_user_attr("problem", problem.what)
        raise optuna.TrialPruned from None
    rows = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].train

    def watch(epochs: Iterator[Progress]) -> Iterator[Progress]:
        for progress in epochs:
            record = progress.record
            if not math.isfinite(_loss(record)):
                trial.set_user_attr("problem", f"the validation loss is not finite after epoch {record.epoch}")
                raise optuna.TrialPruned
            trial.report(_loss(record), record.epoch)
            yield progress
            if record.epoch < spec.train.epochs and trial.should_prune():
                trial.set_user_attr("validation_accuracy", record.validation_accuracy)
                raise optuna.TrialPruned

    learn, choose = training_rows(rows, spec)
    try:
        trained = fit(learn, choose, spec, watch=watch)
    except NotFiniteError as problem:
        trial.set_user_attr("problem", str(problem))
        raise optuna.TrialPruned from None
    kept = trained.history[trained.epoch - 1]
    trial.set_user_attr("validation_accuracy", kept.validation_accuracy)
    return _loss(kept)


def _loss(record: EpochRecord) -> float:
    if record.validation_loss is None:
        raise DataProblem(
            "a sweep judges by validation rows, and none are held out",
            where="train.validation_fraction",
            remedy="hold some out",
        )
    return record.validation_loss


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Value:
    if parameter.kind == "choice":
        texts = [json.dumps(value) for value in parameter.values]  # a list is no choice of Optuna's, its text is
        return cast("Value", parse_json(trial.suggest_categorical(parameter.name, texts)))
    low, high = parameter.values
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if parameter.kind == "int":
        return trial.suggest_int(parameter.name, int(low), int(high))
    return trial.suggest_float(parameter.name, low, high, log=parameter.kind == "log")


def sweep_results(space: Space, url: str, places: Places) -> tuple[TrialResult, ...]:
    """Read all trials of a sweep that are over, whoever ran them.

    Args:
        space: What was searched.
        url: Of the storage.
        places: Where data and cache lie.

    Returns:
        In the order of their numbers.

    Raises:
        PipelineError: The storage does not open, or there is no data.
    """
    rows: PreparedTrain = prepare(space.base.dataset, source=places.source, cache=places.cache, raw=places.raw)[0].train
    return results_of(_open_study(space, url, study_name(space, rows.sha256)))


def results_of(study: optuna.Study) -> tuple[TrialResult, ...]:
    """Bring Optuna's trials into our form.

    Args:
        study: Any study of a sweep.

    Returns:
        Those that are over, in the order of their numbers.
    """
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name in ("COMPLETE", "PRUNED"):
            seen, attributes = trial.intermediate_values, trial.user_attrs
            found.append(
                TrialResult(
                    number=trial.number,
                    state="complete" if trial.state.name == "COMPLETE" else "pruned",
                    settings=attributes["settings"],
                    validation_loss=seen.get(max(seen, default=0)) if trial.value is None else trial.value,
                    validation_accuracy=attributes.get("validation_accuracy"),
                    epochs=max(seen, default=0),
                )
            )
    return tuple(found)


def sweep_table(results: Sequence[TrialResult]) -> list[dict[str, object]]:
    """Turn trials into plain values: what ``sweep.json`` holds.

    Args:
        results: Trials that are over.

    Returns:
        A JSON object for each; losses in nats, accuracies fractions.
    """
    return [attrs.asdict(result) for result in results]


def best_trial(results: Sequence[TrialResult]) -> TrialResult:
    """Find the trial of the lowest validation loss among those that were trained to the end.

    Args:
        results: Trials that are over.

    Returns:
        The best.

    Raises:
        PipelineError: None was trained to the end.

    Example:
        >>> trials = [TrialResult(n, "complete", {}, loss, None, 1) for n, loss in enumerate((0.2, 0.1))]
        >>> best_trial(trials).number
        1
    """
    whole = [result for result in results if result.state == "complete" and result.validation_loss is not None]
    if not whole:
        raise PipelineError("no trial was trained to the end", where="sweep", remedy="raise --trials")
    return min(whole, key=lambda result: (result.validation_loss, result.number))
