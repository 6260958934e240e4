"""Sweeps: settings searched with Optuna, each trial judged on validation rows; the test split is never opened.

A space file names a recipe and the ranges of some of its fields. All that take part, on one machine or many, share one
Optuna storage: it hands out the trials, so none is run twice, and a sweep that was stopped goes on. The name of the
study in the storage is made of the space and of the data, so other settings never mix with it.
"""

from __future__ import annotations

import hashlib
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Literal, cast

import attrs

from bpfunc.keys import Key, fold_in, generator
from pipelines.artifacts import Prepared
from pipelines.dataset.data_hashes import DataHashes
from pipelines.dataset.places import Places
from pipelines.disk.json_text import json_text
from pipelines.disk.untrusted.documents import parse_json
from pipelines.errors import PipelineError, UsageProblem
from pipelines.spec.toml import reasons_table
from pipelines.studies.executors import run_jobs
from pipelines.studies.tuning.judge import TrainData, judge, train_data
from pipelines.studies.tuning.space import Parameter, Space, Value, with_settings
from pipelines.studies.tuning.storage import open_storage, storage_failures
from pipelines.training.engine import settled
from pipelines.training.interrupts import Interrupted, stop_requested
from pipelines.training.progress import Progress
from pipelines.training.rows import training_rows

if TYPE_CHECKING:
    import optuna

CALL = "call"
"""Attribute of a trial: the call that it is run for."""


@attrs.frozen
class TrialResult:
    """One trial that is over."""

    number: int
    state: Literal["complete", "pruned"]
    settings: Mapping[str, Value]
    """Dotted name -> value."""
    validation_loss: float | None
    """Of the network that the recipe would keep, in nats; the last one seen where the trial was pruned, None where it
    has a problem."""
    validation_accuracy: float | None
    epochs: int
    problem: str | None = None
    """How the training diverged, or why the settings do not go together; None where neither is so."""


def study_name(space: Space, data: str) -> str:
    """Name a sweep by all that its trials depend on.

    Args:
        space: What is searched.
        data: SHA-256 of the training rows, and that of the partitions behind it where rows are streamed.

    Returns:
        The recipe's name and 16 hex digits.

    Example:
        >>> from pipelines.spec.run_spec import RunSpec
        >>> study_name(Space(RunSpec(), (), "median", 0), "00")[:7]
        'report-'
    """
    parameters = [[item.name, item.kind, item.values] for item in space.parameters]
    reasons = [reasons_table(settled(space.base)), parameters, space.pruner, space.seed, data]
    return f"{space.base.name}-{hashlib.sha256(json_text(reasons).encode()).hexdigest()[:16]}"


def run_sweep(
    space: Space,
    url: str,
    trials: int,
    places: Places,
    executor: Executor,
    *,
    jobs: int = 1,
    data: TrainData | None = None,
) -> Iterator[TrialResult]:
    """Run trials until the study has as many as wanted, together with everybody who shares the storage.

    Args:
        space: What to search.
        url: URL of the storage; workers on other machines must reach it too.
        trials: How many there shall be in all, those of former calls and of others included.
        places: Where data and cache lie.
        executor: What runs the trials.
        jobs: How many at a time.
        data: The base's; prepared here where None.

    Yields:
        The trials that this call ran, as they come.

    Raises:
        PipelineError: See the stages; or the storage does not open, or fails.
    """
    space = attrs.evolve(space, base=settled(space.base))
    data = train_data(space.base.dataset, places, read=True) if data is None else data
    name, call = _name(space, data), secrets.token_hex(8)
    with storage_failures(url):
        _study(space, url, name)

        def unfinished() -> str:
            told = ", ".join(map(str, _given_up(_study(space, url, name), call)))
            return f"trials {told}; others take their places" if told else "no trial"

        job = partial(run_trial, space, url, name, trials, places, data[1], call)
        yield from run_jobs(executor, repeat(job), unfinished, where=name, at_a_time=jobs)


def _name(space: Space, data: TrainData) -> str:
    return study_name(space, data[0].train.sha256 + data[1].partitions)


def open_study(space: Space, url: str, data: TrainData) -> optuna.Study:
    """Open the study of a sweep in its storage, or begin it.

    Args:
        space: What is searched, with its engine.
        url: URL of the storage.
        data: The base's.

    Returns:
        Optuna's study.

    Raises:
        UsageProblem: The storage does not open.
    """
    return _study(space, url, _name(space, data))


def _study(space: Space, url: str, name: str) -> optuna.Study:
    storage = open_storage(url)
    import optuna

    pruners: dict[str, optuna.pruners.BasePruner] = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        "hyperband": optuna.pruners.HyperbandPruner(max_resource=space.base.train.epochs),
        "none": optuna.pruners.NopPruner(),
    }
    return optuna.create_study(storage=storage, study_name=name, pruner=pruners[space.pruner], load_if_exists=True)


def _given_up(study: optuna.Study, call: str) -> list[int]:
    """Count the trials that lost workers were at as failed, without waiting until they are stale; return them."""
    mine = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get(CALL) == call]
    numbers = [trial.number for trial in mine if trial.state.name in ("RUNNING", "FAIL")]
    for number in numbers:
        _fail(study, number)
    return numbers


def _fail(study: optuna.Study, number: int) -> None:
    import optuna

    study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


class _Surplus(Exception):
    """Another process has taken the last trial."""


def run_trial(
    space: Space, url: str, name: str, trials: int, places: Places, data: DataHashes, call: str = ""
) -> TrialResult | None:
    """Take one trial from the study and run it, unless there are as many as wanted.

    A trial that others gave up meanwhile, since it gave no sign of life while this machine was suspended, is lost;
    another one is run instead.

    Args:
        space: What to search.
        url: URL of the storage.
        name: Name of the study.
        trials: How many there shall be in all.
        places: Where data and cache lie, seen from here.
        data: The hashes of the sweep's data.
        call: Names who asked, for whom finds the trial unfinished.

    Returns:
        The trial, or None where none was left.

    Raises:
        DataProblem: The data here are not the sweep's.
        PipelineError: See the stages.
        Interrupted: A signal came; the trial counts as failed, so that another is run instead.
    """
    settled(space.base)  # a worker without the engine takes no trial
    prepared, _ = train_data(space.base.dataset, places, expected=("sweep", data))
    study = _study(space, url, name)
    import optuna

    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        if _counted(study.get_trials(deepcopy=False)) >= trials:
            return None
        number = _tried(space, study, trials, call, partial(_judged, space, places, data, prepared))
        for result in results_of(study):
            if result.number == number:
                return result


def _tried(
    space: Space,
    study: optuna.Study,
    trials: int,
    call: str,
    judged: Callable[[optuna.Trial, Callable[[], bool]], float],
) -> int:
    """Run the next trial; return its number. It may be failed in the end, for one that came too late or was lost."""
    import optuna

    taken: list[int] = []
    own: list[Exception] = []

    def objective(trial: optuna.Trial) -> float:
        taken.append(trial.number)
        # Numbers are handed out one by one. A process that comes too late, by a race, gives the number back.
        before = [other for other in study.get_trials(deepcopy=False) if other.number < trial.number]
        if _counted(before) >= trials:
            raise _Surplus
        # The same settings for the same number and history, in every process.
        seed = int(generator(fold_in(Key(space.seed), trial.number)).integers(2**32))
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)
        with stop_requested() as stop:
            try:
                trial.set_user_attr(CALL, call)
                return judged(trial, stop)
            except Interrupted:
                _fail(study, trial.number)
                raise
            except (optuna.TrialPruned, optuna.exceptions.UpdateFinishedTrialError):
                raise
            except Exception as error:
                own.append(error)
                raise

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.optimize(objective, n_trials=1, catch=(_Surplus,))
    except Exception:
        if own:
            raise own[0] from None
        if not taken or study.get_trials(deepcopy=False)[taken[0]].state.name != "FAIL":
            raise
    return taken[0]


def _counted(trials: Sequence[optuna.trial.FrozenTrial]) -> int:
    return sum(trial.state.name != "FAIL" for trial in trials)


def _judged(
    space: Space, places: Places, data: DataHashes, base: Prepared, trial: optuna.Trial, stop: Callable[[], bool]
) -> float:
    """Judge the settings that Optuna suggests; give up early where others were better at the same epoch."""
    import optuna

    settings = {parameter.name: _suggested(trial, parameter) for parameter in space.parameters}
    trial.set_user_attr("settings", settings)
    try:
        spec = with_settings(space.base, settings, where=f"trial {trial.number}")
    except UsageProblem as problem:  # each value is valid by itself, these together are not
        trial.set_user_attr("problem", problem.what)
        raise optuna.TrialPruned from None
    prepared = base
    if spec.dataset != space.base.dataset:
        prepared, _ = train_data(spec.dataset, places, expected=("sweep", data))

    def observe(epochs: Iterator[Progress]) -> Iterator[Progress]:
        for progress in epochs:
            record = progress.record
            assert record.validation_loss is not None
            trial.report(record.validation_loss, record.epoch)
            yield progress
            if record.epoch < spec.train.epochs and trial.should_prune():
                trial.set_user_attr("validation_accuracy", record.validation_accuracy)
                raise optuna.TrialPruned

    found = judge(training_rows(prepared.train, spec), spec, observe=observe, stop=stop)
    if found.loss is None:
        trial.set_user_attr("problem", found.problem)
        raise optuna.TrialPruned
    trial.set_user_attr("validation_accuracy", found.accuracy)
    return found.loss


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Value:
    if parameter.kind == "choice":
        texts = [json_text(value) for value in parameter.values]  # a list is not a choice of Optuna's, its text is
        return cast("Value", parse_json(trial.suggest_categorical(parameter.name, texts)))
    low, high = parameter.values
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if parameter.kind == "int":
        return trial.suggest_int(parameter.name, int(low), int(high))
    return trial.suggest_float(parameter.name, low, high, log=parameter.kind == "log")


def sweep_results(space: Space, url: str, places: Places) -> tuple[TrialResult, ...]:
    """Read all trials of a sweep that are over, of every process.

    Args:
        space: What was searched.
        url: URL of the storage.
        places: Where data and cache lie.

    Returns:
        In the order of their numbers.

    Raises:
        PipelineError: The storage does not open, or there is no data.
    """
    data = train_data(space.base.dataset, places)
    with storage_failures(url):
        return results_of(open_study(space, url, data))


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
            epochs, problem = max(seen, default=0), attributes.get("problem")
            loss = seen.get(epochs) if trial.value is None else trial.value
            found.append(
                TrialResult(
                    number=trial.number,
                    state="complete" if trial.state.name == "COMPLETE" else "pruned",
                    settings=attributes["settings"],
                    validation_loss=loss if problem is None else None,
                    validation_accuracy=attributes.get("validation_accuracy"),
                    epochs=epochs,
                    problem=problem,
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
        why = next((f"; trial {result.number}: {result.problem}" for result in results if result.problem), "")
        raise PipelineError(f"no trial was trained to the end{why}", where="sweep", remedy="raise --trials")
    return min(whole, key=lambda result: (result.validation_loss, result.number))
