"""Whole runs: the stages composed, and what they leave in a run directory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import attrs

from bpfunc.gradient.modes import GradientMaker, value_and_grad
from bpfunc.training.not_finite import NotFiniteError
from bpfunc.tree import tree_allclose
from pipelines.artifacts import Evaluation, Examined, Prepared, ReportFiles, ReportInputs
from pipelines.dataset.cache_key import Decision
from pipelines.dataset.data_hashes import UNKNOWN, DataHashes, data_hashes, require_recorded
from pipelines.dataset.places import Places
from pipelines.disk.atomic import exclusive, make_directory, remove_directory, remove_leftovers, write_bytes
from pipelines.disk.ownership import RUN_FILES
from pipelines.disk.untrusted.printable import shell
from pipelines.errors import DataProblem, UsageProblem, WorkFailed
from pipelines.runs.checkpoints import EVERY_SECONDS, checkpoint_hashes, checkpoint_paths, newest_checkpoint, saving
from pipelines.runs.directory import SEALED, Finished, new_run_directory, read_config, write_config, write_history
from pipelines.runs.feature_maps import feature_maps
from pipelines.runs.metrics import RunMetrics, read_metrics, run_metrics, write_metrics
from pipelines.runs.model_card import NAME as CARD, CardInputs, model_card
from pipelines.runs.naming import BEGAN, began
from pipelines.runs.network import read_network, trained_network, with_history, write_network
from pipelines.runs.predictions import write_predictions
from pipelines.runs.wording import (
    command,
    course_accuracy,
    facts_in_words,
    first_weight,
    lineage_in_words,
    title_in_words,
)
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import to_toml
from pipelines.stages.encode import scaled
from pipelines.stages.evaluate import evaluate
from pipelines.stages.examine import examine
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.training.engine import choose_engine
from pipelines.training.interrupts import Interrupted, stop_requested
from pipelines.training.progress import Observer, Progress, no_observer
from pipelines.training.rows import training_rows

OTHER_DATA = "this is not the data that this network was trained on"


def train_run(
    spec: RunSpec,
    places: Places,
    *,
    now: datetime,
    observe: Observer = no_observer,
    sealed: bool = False,
    every: float = EVERY_SECONDS,
    gradient: GradientMaker = value_and_grad,
) -> Finished:
    """Prepare the data, train, and save the network; the test split stays sealed.

    Args:
        spec: What to run.
        places: Where.
        now: The time, for the run's name.
        observe: What else happens after each epoch.
        sealed: Whether the test split is to stay closed when this run is taken up again.
        every: Seconds of training between two checkpoints, at least; 0 for one after every epoch.
        gradient: How to get the gradient of a batch.

    Returns:
        The trained network and its directory.

    Raises:
        PipelineError: See the stages.
        Interrupted: A signal came; where the training stood has been saved.
    """
    if spec.train.engine == "compiled":  # where it is not there, or does not know the training, nothing else is begun
        choose_engine(spec, gradient)
    prepared, decision = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    data = data_hashes(prepared, spec.dataset)
    directory = new_run_directory(places.out, places.runs, spec, now)
    try:
        with exclusive(directory):
            if sealed:  # before the configuration: without one, no command takes the run up
                write_bytes(directory / SEALED, b"This run was asked to train alone; the test split is for later.\n")
            write_config(directory, spec)
            write_bytes(directory / BEGAN, f"{now.astimezone().isoformat()}\n".encode())
            finished = _trained(directory, spec, prepared, decision, data, observe, None, every, gradient)
            finished = attrs.evolve(finished, source=places.source)
            write_model_card(spec, finished)
    except UsageProblem:  # the rows cannot be split in this way: such a run can never be taken up
        remove_directory(directory, RUN_FILES, last="config.toml")
        raise
    return finished


def resume_run(
    directory: Path,
    places: Places,
    *,
    observe: Observer = no_observer,
    tell: Callable[[str], None] = lambda text: None,
    every: float = EVERY_SECONDS,
) -> tuple[RunSpec, Finished]:
    """Go on with a training that was stopped: from its newest whole checkpoint, bit for bit as if it had not been.

    Args:
        directory: Directory of the run.
        places: Directories of data and cache.
        observe: What else happens after each epoch.
        tell: Takes what a person should know: where it goes on, and which damaged checkpoint was passed over.
        every: Seconds of training between two checkpoints, at least.

    Returns:
        Its specification, and what `train_run` gives. A training that is finished is not trained again.

    Raises:
        UsageProblem: There is no such run, or another process works on it.
        DataProblem: Its data is gone or changed, or there are checkpoints and none can be used.
        PipelineError: See the stages.
        Interrupted: A signal came; where the training stood has been saved.
    """
    spec = read_config(directory)
    with exclusive(directory):
        for place in (directory, directory / "checkpoints"):
            remove_leftovers(place)
        if (directory / "params.safetensors").is_file() and (directory / "history.parquet").is_file():
            tell("this run is finished; nothing is trained again")
            return reopen_run(directory, places)
        prepared, decision = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
        data = data_hashes(prepared, spec.dataset, read=True)
        make_directory(directory / "checkpoints")
        start, damaged = newest_checkpoint(directory, spec, prepared.train.sha256, data)
        if start is not None and spec.dataset.partitions and checkpoint_hashes(directory) == UNKNOWN:
            data = UNKNOWN  # its parts are not known, and its validation rows were drawn in another way
        for problem in damaged:
            tell(f"passed over a checkpoint: {problem}")
        tell("from the beginning" if start is None else f"going on after epoch {start.record.epoch}")
        finished = attrs.evolve(
            _trained(directory, spec, prepared, decision, data, observe, start, every), source=places.source
        )
        write_model_card(spec, finished)
    return spec, finished


def _trained(
    directory: Path,
    spec: RunSpec,
    prepared: Prepared,
    decision: Decision,
    data: DataHashes,
    observe: Observer,
    start: Progress | None,
    every: float,
    gradient: GradientMaker = value_and_grad,
) -> Finished:
    save = saving(directory, spec, prepared.train.sha256, hashes=data, every=every)
    try:
        with stop_requested() as stop:
            train_rows, validation_rows = training_rows(prepared.train, spec, carried=data != UNKNOWN)
            saved: Observer = lambda epochs: observe(save(epochs))  # noqa: E731
            trained = fit(train_rows, validation_rows, spec, observe=saved, start=start, stop=stop, gradient=gradient)
            write_history(directory, trained.history)
            write_network(directory, trained_network(spec, prepared.meta, trained, data))
            if stop():  # it came after the last step
                raise Interrupted
    except Interrupted:
        raise Interrupted(f"go on with: bpfunc resume {shell([str(directory)])}") from None
    except NotFiniteError as problem:
        newest = next(iter(checkpoint_paths(directory)), None)
        good = "there is no good checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"
        raise WorkFailed(
            f"{problem}; {good}", where=str(directory), remedy="lower train.learning_rate, or use --on-nan skip"
        ) from None
    return Finished(
        directory, prepared, decision, trained, examine(train_rows, validation_rows, spec, trained), data=data
    )


def reopen_run(directory: Path, places: Places) -> tuple[RunSpec, Finished]:
    """Open a trained run again, with its data.

    Args:
        directory: Directory of the run.
        places: Directories of data and cache.

    Returns:
        Its specification, and what `train_run` gave.

    Raises:
        PipelineError: There is no such run, a file of it is damaged, or its data is gone.
    """
    spec, network = read_config(directory), read_network(directory)
    trained = with_history(directory, network)
    prepared, decision = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    data = data_hashes(prepared, spec.dataset, read=True)
    recorded = _evaluated_on(directory, data) if network.data == UNKNOWN else network.data
    require_recorded(recorded, data, OTHER_DATA, where=str(directory))
    if not tree_allclose(network.scaling, prepared.meta.scaling, rtol=0, atol=0):
        raise DataProblem(
            f"{OTHER_DATA}: its statistics differ",
            where=str(prepared.path),
            remedy="name the --source that the run began with",
        )
    return spec, Finished(directory, prepared, decision, trained, source=places.source, data=network.data)


def _evaluated_on(directory: Path, data: DataHashes) -> DataHashes:
    """The data that ``metrics.json`` names, for a network of an earlier version, which names none."""
    try:
        known = read_metrics(directory).data
    except DataProblem:
        return UNKNOWN
    return known if known.partitions else attrs.evolve(known, partitions=data.partitions, parts=data.parts)


def evaluate_run(spec: RunSpec, finished: Finished) -> tuple[Evaluation, RunMetrics]:
    """Open the test split, measure, and write ``predictions.parquet``, the model card and ``metrics.json``.

    Args:
        spec: What was run.
        finished: The trained run.

    Returns:
        The evaluation, and the figures that ``metrics.json`` holds.

    Raises:
        UsageProblem: Another process works on the run.
        PipelineError: The cache entry is damaged, or the file cannot be written.
    """
    prepared, temperature = finished.prepared, examined_run(spec, finished).temperature
    evaluation = evaluate(prepared.test, prepared.meta, finished.trained, temperature=temperature)
    again = command(finished.directory, finished.source)
    values = run_metrics(spec, prepared, finished.trained, evaluation, again, finished.data.partitions)
    with exclusive(finished.directory):
        write_predictions(finished.directory, evaluation)
        write_model_card(spec, finished, evaluation)
        write_metrics(finished.directory, values)
    return evaluation, values


def examined_run(spec: RunSpec, finished: Finished) -> Examined:
    """Return the measurements of a run that need training rows alone; read these rows again if necessary.

    Args:
        spec: What was run.
        finished: The trained run.

    Returns:
        Temperature and gradient flow.

    Raises:
        PipelineError: The cache entry is damaged.
    """
    if finished.examined is not None:
        return finished.examined
    train_rows, validation_rows = training_rows(finished.prepared.train, spec, carried=finished.data != UNKNOWN)
    return examine(train_rows, validation_rows, spec, finished.trained)


def report_run(spec: RunSpec, finished: Finished, evaluation: Evaluation) -> ReportFiles:
    """Draw the pictures and write the page.

    Args:
        spec: What was run.
        finished: The trained run.
        evaluation: What it says of the test split.

    Returns:
        The files to look at.

    Raises:
        PipelineError: A file cannot be written.
    """
    # matplotlib is imported here, after the numbers are safe, and only where a picture is asked for.
    from pipelines.stages.report import report

    with exclusive(finished.directory):
        return report(report_inputs(spec, finished, evaluation), finished.directory)


def report_inputs(spec: RunSpec, finished: Finished, evaluation: Evaluation) -> ReportInputs:
    """Gather what the report shows.

    Args:
        spec: What was run.
        finished: The trained run.
        evaluation: What it says of the test split.

    Returns:
        Typed inputs of the report stage.
    """
    trained = finished.trained
    example = scaled(evaluation.images[:1], finished.prepared.meta.scaling)
    return ReportInputs(
        title=title_in_words(spec, began(finished.directory)),
        evaluation=evaluation,
        history=trained.history,
        first_layer=first_weight(trained),
        facts=facts_in_words(spec, trained),
        lineage=lineage_in_words(finished),
        command=command(finished.directory, finished.source),
        flow=examined_run(spec, finished).flow,
        config=to_toml(spec),
        recipe=f"recipe {spec.name}, seed\N{NO-BREAK SPACE}{spec.train.seed}",
        kept=trained.epoch,
        published=course_accuracy(evaluation.class_names, pinned=spec.dataset.pinned),
        maps=feature_maps(trained, example, len(evaluation.class_names)),
    )


def write_model_card(spec: RunSpec, finished: Finished, evaluation: Evaluation | None = None) -> None:
    """Write ``model_card.md``.

    Args:
        spec: What was run.
        finished: The trained run.
        evaluation: What it says of the test split, or None where that is sealed.

    Raises:
        WorkFailed: The file cannot be written.
    """
    prepared = finished.prepared
    inputs = CardInputs(
        network=trained_network(spec, prepared.meta, finished.trained),
        train_rows=prepared.train.rows,
        test_rows=prepared.test.rows,
        facts=facts_in_words(spec, finished.trained),
        lineage=lineage_in_words(finished),
        command=command(finished.directory, finished.source),
        evaluation=evaluation,
    )
    write_bytes(finished.directory / CARD, model_card(inputs).encode())
