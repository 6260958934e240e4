"""Whole runs: the stages composed, and what they leave in a run directory."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import attrs

from bpfunc.finite import NotFiniteError
from bpfunc.gradient import GradientMaker, value_and_grad
from bpfunc.tree import tree_allclose, tree_leaves_with_path, tree_size
from bpfunc.types import FloatArray
from pipelines.artifacts import Evaluation, Examined, Prepared, ReportFiles, ReportInputs, Trained
from pipelines.checkpoints import EVERY_SECONDS, checkpoint_paths, newest_checkpoint, saving
from pipelines.config import RunSpec, TrainSpec, to_toml
from pipelines.data_hashes import UNKNOWN, DataHashes, data_hashes, lineage_hashes, require_recorded
from pipelines.errors import DataProblem, WorkFailed
from pipelines.files import claimed, make_directory, remove_leftovers, sha256_of, write_bytes
from pipelines.graph import Decision, prepare
from pipelines.model_card import NAME as CARD
from pipelines.model_card import CardInputs, model_card
from pipelines.network import read_network, trained_network, with_history, write_network
from pipelines.predictions import write_predictions
from pipelines.runs import (
    library_versions,
    metrics,
    new_run_directory,
    read_config,
    read_metrics,
    write_config,
    write_history,
    write_metrics,
)
from pipelines.signals import Interrupted, stop_requested
from pipelines.stages.evaluate import evaluate
from pipelines.stages.examine import examine
from pipelines.stages.train import Progress, Watch, fit, training_rows, unwatched

LINEAGE_FILES = ("config.toml", "params.safetensors", "predictions.parquet")
"""Files of a run that its report names by their hashes."""
OTHER_DATA = "this is not the data that this network was trained on"
SEALED = "sealed.txt"
"""A file in the directory of a run that was asked to train and no more."""


@attrs.frozen(kw_only=True)
class Places:
    """Where a run takes from and puts to."""

    source: Path | None = None
    """A directory of IDX files, or None to find one."""
    raw: Path = Path("data/raw")
    cache: Path = Path("data/cache")
    runs: Path = Path("data/runs")
    out: Path | None = None
    """The run directory, or None for a new one below ``runs``."""


@attrs.frozen(eq=False)
class Finished:
    """A run and all that came of it."""

    directory: Path
    prepared: Prepared
    decision: Decision
    trained: Trained
    examined: Examined | None = None
    """None where the training rows are to be read again for it."""
    source: Path | None = None
    """The directory of IDX files that the person named, for the command that does it again."""
    data: DataHashes = UNKNOWN
    """The source files and partitions that it was made from."""


def train_run(
    spec: RunSpec,
    places: Places,
    *,
    now: datetime,
    watch: Watch = unwatched,
    sealed: bool = False,
    every: float = EVERY_SECONDS,
    gradient: GradientMaker = value_and_grad,
) -> Finished:
    """Prepare the data, train, and save the network; the test split stays sealed.

    Args:
        spec: What to run.
        places: Where.
        now: The time, for the run's name.
        watch: What else happens after each epoch.
        sealed: Whether the test split is to stay closed when this run is taken up again.
        every: Seconds of training between two checkpoints, at least; 0 for one after every epoch.
        gradient: How to get the gradient of a batch.

    Returns:
        The trained network and its directory.

    Raises:
        PipelineError: See the stages.
        Interrupted: A signal came; where the training stood has been saved.
    """
    prepared, decision = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    data = data_hashes(prepared, spec.dataset)
    directory = new_run_directory(places.out, places.runs, spec, now)
    with claimed(directory):
        if sealed:  # before the configuration: without one, nobody takes the run up
            write_bytes(directory / SEALED, b"This run was asked to train alone; the test split is for later.\n")
        write_config(directory, spec)
        finished = _trained(directory, spec, prepared, decision, data, watch, None, every, gradient)
        finished = attrs.evolve(finished, source=places.source)
        write_model_card(spec, finished)
    return finished


def resume_run(
    directory: Path,
    places: Places,
    *,
    watch: Watch = unwatched,
    tell: Callable[[str], None] = lambda text: None,
    every: float = EVERY_SECONDS,
) -> tuple[RunSpec, Finished]:
    """Go on with a training that was stopped: from its newest whole checkpoint, bit for bit as if it had not been.

    Args:
        directory: Of the run.
        places: Where data and cache lie.
        watch: What else happens after each epoch.
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
    with claimed(directory):
        for place in (directory, directory / "checkpoints"):
            remove_leftovers(place)
        if (directory / "params.safetensors").is_file() and (directory / "history.parquet").is_file():
            tell("this run is finished; nothing is trained again")
            return reopen_run(directory, places)
        prepared, decision = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
        data = data_hashes(prepared, spec.dataset, read=True)
        make_directory(directory / "checkpoints")
        start, damaged = newest_checkpoint(directory, spec, prepared.train.sha256, data)
        for problem in damaged:
            tell(f"passed over a checkpoint: {problem}")
        tell("from the beginning" if start is None else f"going on after epoch {start.record.epoch}")
        finished = attrs.evolve(
            _trained(directory, spec, prepared, decision, data, watch, start, every), source=places.source
        )
        write_model_card(spec, finished)
    return spec, finished


def _trained(
    directory: Path,
    spec: RunSpec,
    prepared: Prepared,
    decision: Decision,
    data: DataHashes,
    watch: Watch,
    start: Progress | None,
    every: float,
    gradient: GradientMaker = value_and_grad,
) -> Finished:
    save = saving(directory, spec, prepared.train.sha256, hashes=data, every=every)
    try:
        with stop_requested() as stop:
            learn, choose = training_rows(prepared.train, spec)
            saved: Watch = lambda epochs: watch(save(epochs))  # noqa: E731
            trained = fit(learn, choose, spec, watch=saved, start=start, stop=stop, gradient=gradient)
            write_history(directory, trained.history)
            write_network(directory, trained_network(spec, prepared.meta, trained, data))
            if stop():  # it came after the last step
                raise Interrupted
    except Interrupted:
        raise Interrupted(f"go on with: bpfunc resume {directory}") from None
    except NotFiniteError as problem:
        newest = next(iter(checkpoint_paths(directory)), None)
        good = "there is no good checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"
        raise WorkFailed(
            f"{problem}; {good}", where=str(directory), remedy="lower train.learning_rate, or use --on-nan skip"
        ) from None
    return Finished(directory, prepared, decision, trained, examine(learn, choose, spec, trained), data=data)


def reopen_run(directory: Path, places: Places) -> tuple[RunSpec, Finished]:
    """Open a trained run again, with its data.

    Args:
        directory: Of the run.
        places: Where data and cache lie.

    Returns:
        Its specification, and what `train_run` gave.

    Raises:
        PipelineError: There is no such run, a file of it is damaged, or its data is gone.
    """
    spec, network = read_config(directory), read_network(directory)
    trained = with_history(directory, network)
    prepared, decision = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    data = data_hashes(prepared, spec.dataset, read=True)
    recorded = network.data if network.data.sources else _evaluated_on(directory, data)
    require_recorded(recorded, data, OTHER_DATA, where=str(directory))
    if not tree_allclose(network.scaling, prepared.meta.scaling, rtol=0, atol=0):
        raise DataProblem(
            f"{OTHER_DATA}: its statistics differ",
            where=str(prepared.path),
            remedy="name the --source that the run began with",
        )
    return spec, Finished(directory, prepared, decision, trained, source=places.source, data=data)


def _evaluated_on(directory: Path, data: DataHashes) -> DataHashes:
    """The data that ``metrics.json`` names, for a network of an earlier version, which names none."""
    if not (directory / "metrics.json").is_file():
        return UNKNOWN
    known = lineage_hashes(read_metrics(directory).get("lineage"))
    return known if known.partitions else attrs.evolve(known, partitions=data.partitions, parts=data.parts)


def evaluate_run(spec: RunSpec, finished: Finished) -> tuple[Evaluation, Mapping[str, object]]:
    """Open the test split, measure, and write ``predictions.parquet``, the model card and ``metrics.json``.

    Args:
        spec: What was run.
        finished: The trained run.

    Returns:
        The evaluation, and what ``metrics.json`` holds.

    Raises:
        PipelineError: The cache entry is damaged, or the file cannot be written.
    """
    prepared, temperature = finished.prepared, examined_run(spec, finished).temperature
    evaluation = evaluate(prepared.test, prepared.meta, finished.trained, temperature=temperature)
    again = command(finished.directory, finished.source)
    values = metrics(spec, prepared, finished.trained, evaluation, again, finished.data.partitions)
    write_predictions(finished.directory, evaluation)
    write_model_card(spec, finished, evaluation)
    write_metrics(finished.directory, values)
    return evaluation, values


def examined_run(spec: RunSpec, finished: Finished) -> Examined:
    """Say what training rows alone can say of a run, reading them again where that is not known.

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
    learn, choose = training_rows(finished.prepared.train, spec)
    return examine(learn, choose, spec, finished.trained)


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
    # matplotlib is imported here, after the numbers are safe, and by nobody who asks for no picture.
    from pipelines.stages.report import report

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
    return ReportInputs(
        title=f"{spec.name}, seed {spec.train.seed}",
        evaluation=evaluation,
        history=trained.history,
        first_layer=_weights(trained)[0],
        facts=facts_in_words(spec, trained),
        lineage=lineage_in_words(finished),
        command=command(finished.directory, finished.source),
        flow=examined_run(spec, finished).flow,
        config=to_toml(spec),
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


def _weights(trained: Trained) -> list[FloatArray]:
    return [leaf for path, leaf in tree_leaves_with_path(trained.params) if path.endswith("weight")]


def facts_in_words(spec: RunSpec, trained: Trained) -> dict[str, str]:
    """Describe a trained network for a person.

    Args:
        spec: What was run.
        trained: The network.

    Returns:
        Label -> value, in the order to show.
    """
    layers = " - ".join(map(str, (_weights(trained)[0].shape[0], *spec.model.hidden, len(spec.dataset.classes))))
    return {
        "Network": network_in_words(spec, layers),
        "Parameters": f"{tree_size(trained.params):,}",
        "Training": training_in_words(spec.train),
        "Validation": f"{spec.train.validation_fraction:.0%} of the training split held out",
        "Network kept": f"of epoch {trained.epoch}"
        + (", the lowest validation loss" if spec.train.keep == "best" else ", the last"),
        "Seed": str(spec.train.seed),
        "Training time": f"{trained.train_seconds:.1f} s",
    }


def lineage_in_words(finished: Finished) -> dict[str, str]:
    """Say what a run is made of, down to hashes.

    Args:
        finished: The trained run.

    Returns:
        Label -> value: source, prepared data, files of the run that are there, stages, versions.
    """
    prepared, here = finished.prepared, finished.directory
    return {
        **{f"{role.replace('_', ' ')}, SHA-256": sha for role, sha in prepared.meta.source_hashes.items()},
        "Prepared data, cache key": prepared.key,
        "train.parquet, SHA-256": prepared.train.sha256,
        "test.parquet, SHA-256": prepared.test.sha256,
        **({"Partitions, SHA-256": finished.data.partitions} if finished.data.partitions else {}),
        **{f"{name}, SHA-256": sha256_of(here / name) for name in LINEAGE_FILES if (here / name).is_file()},
        "Stages": ", ".join(f"{name} {number}" for name, number in prepared.meta.versions.items()),
        "Versions": ", ".join(f"{name} {number}" for name, number in library_versions().items()),
    }


def network_in_words(spec: RunSpec, layers: str) -> str:
    """Describe a network for a person.

    Args:
        spec: Of the run.
        layers: Its widths.

    Returns:
        A sentence without its full stop.

    Example:
        >>> network_in_words(RunSpec(), "784 - 128 - 64 - 3")
        '784 - 128 - 64 - 3, relu between, softmax at the end'
    """
    words = f"{layers}, {spec.model.activation} between, softmax at the end"
    if spec.model.dropout or spec.model.input_dropout:
        words += f"; dropout {spec.model.dropout} in hidden layers, {spec.model.input_dropout} on inputs"
    if spec.model.mirror:
        words += "; a prediction averages image and mirror image, at the cost of two passes"
    return words


def training_in_words(spec: TrainSpec) -> str:
    """Describe a training for a person.

    Args:
        spec: Its settings.

    Returns:
        A sentence without its full stop.

    Example:
        >>> training_in_words(TrainSpec(epochs=30, batch_size=32, learning_rate=0.05))
        'sgd, rate 0.05 (constant), batches of 32, 30 epochs'
    """
    words = f"{spec.optimizer}, rate {spec.learning_rate} ({spec.schedule}), batches of {spec.batch_size}"
    words += f", {spec.epochs} epochs"
    extras = {
        f"momentum {spec.momentum}": spec.momentum,
        f"weight decay {spec.weight_decay}": spec.weight_decay,
        f"label smoothing {spec.label_smoothing}": spec.label_smoothing,
        f"mixup {spec.mixup}": spec.mixup,
        "random mirror images": spec.flip,
        f"weights averaged at decay {spec.average}": spec.average,
    }
    return ", ".join([words, *(text for text, present in extras.items() if present)])


def command(directory: Path, source: Path | None = None) -> str:
    """Write the command line that repeats a run from its own configuration.

    Args:
        directory: Of the run.
        source: The directory of IDX files that was named, or None.

    Returns:
        A shell command.

    Example:
        >>> command(Path("data/runs/first"))
        'bpfunc run --config data/runs/first/config.toml'
        >>> command(Path("my runs/first"), Path("own"))
        "bpfunc run --config 'my runs/first/config.toml' --source own"
    """
    words = ["bpfunc", "run", "--config", str(directory / "config.toml")]
    return shlex.join(words + ([] if source is None else ["--source", str(source)]))
