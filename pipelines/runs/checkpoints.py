"""Checkpoints: where a training stands after an epoch, in a file that it can be taken up from bit for bit.

A checkpoint is a sealed safetensors file: the training state with that of the optimiser, the network kept so far and
the history, under their tree paths; a format's name and the run's configuration in its header. No code is in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.training.not_finite import NotFiniteError
from pipelines.artifacts import EpochRecord
from pipelines.dataset.data_hashes import UNKNOWN, DataHashes, from_text, require_recorded, to_text
from pipelines.disk.atomic import write_bytes
from pipelines.disk.tensors import read_sealed_tensors, sealed_tensors, tensor_metadata
from pipelines.errors import DataProblem
from pipelines.runs.directory import check_made_by
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import to_toml
from pipelines.training.build import build_training
from pipelines.training.engine import engine_metadata, engine_used
from pipelines.training.interrupts import Interrupted
from pipelines.training.progress import BestSoFar, Observer, Progress
from pipelines.training.replay import first_state

FORMAT = "bpfunc-checkpoint-2"
KEPT = 2
"""Newest checkpoints that stay."""
EVERY_SECONDS = 20.0
"""Training time between two checkpoints unless told otherwise; the last epoch always writes one."""
_NAME = re.compile(r"epoch-[0-9]{5,}\.safetensors")
REMEDY = "remove it; an older one, or the beginning, will do"
OTHER_ROWS = "the training split is not the one"


def saving(
    run: Path, spec: RunSpec, data: str, *, hashes: DataHashes = UNKNOWN, every: float = EVERY_SECONDS
) -> Observer:
    """Make a watcher that saves checkpoints: in intervals, at the end, and when training is stopped from outside.

    What a kill without warning can cost is the epochs since the last interval; a signal costs the epoch begun.

    Args:
        run: The run directory.
        spec: What is run.
        data: SHA-256 of the training split.
        hashes: Hashes of the source files and of the partitions.
        every: Seconds of training between two checkpoints, at least 0; 0 for one after every epoch.

    Returns:
        A wrapper around the iterator of epochs.
    """

    def observe(progress: Iterator[Progress]) -> Iterator[Progress]:
        last: Progress | None = None
        saved, since = 0, 0.0
        try:
            for last in progress:
                since += last.record.seconds
                if since >= every or last.record.epoch == spec.train.epochs:
                    write_checkpoint(run, spec, data, last, hashes)
                    saved, since = last.record.epoch, 0.0
                yield last
        except (Interrupted, NotFiniteError):
            if last is not None and last.record.epoch > saved:
                write_checkpoint(run, spec, data, last, hashes)
            raise

    return observe


def write_checkpoint(run: Path, spec: RunSpec, data: str, progress: Progress, hashes: DataHashes = UNKNOWN) -> Path:
    """Save where a training stands, and remove all but the newest checkpoints.

    Args:
        run: The run directory.
        spec: What is run.
        data: SHA-256 of the training split.
        progress: After an epoch.
        hashes: Hashes of the source files and of the partitions.

    Returns:
        The file.

    Raises:
        WorkFailed: The disk refused; the older checkpoints are as they were.
    """
    path = run / "checkpoints" / f"epoch-{progress.record.epoch:05d}.safetensors"
    metadata = {
        "format": FORMAT,
        "config": to_toml(spec),
        "data": data,
        "hashes": to_text(hashes),
        "epochs": str(len(progress.history)),
        "kept_epoch": str(progress.kept.epoch),
        **engine_metadata(progress.engine),
    }
    kept = (progress.kept.params, progress.kept.layer_state)
    write_bytes(path, sealed_tensors((progress.state, kept, _numbers(progress.history)), metadata))
    for old in checkpoint_paths(run)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def _numbers(history: tuple[EpochRecord, ...]) -> FloatArray:
    """A row for each epoch, a column for each field; NaN for None."""
    rows = [[math.nan if value is None else value for value in attrs.astuple(record)] for record in history]
    return np.array(rows, np.float64).reshape(-1, len(attrs.fields(EpochRecord)))


def _history(numbers: FloatArray, *, judged: bool) -> tuple[EpochRecord, ...]:
    """Undo `_numbers`; `judged` says whether there are validation figures."""
    names = [field.name for field in attrs.fields(EpochRecord)]
    columns = dict(zip(names, numbers.T.tolist(), strict=True))
    rows = len(numbers)
    return tuple(
        EpochRecord(
            epoch=int(columns["epoch"][row]),
            step=int(columns["step"][row]),
            learning_rate=columns["learning_rate"][row],
            train_loss=columns["train_loss"][row],
            train_accuracy=columns["train_accuracy"][row],
            validation_loss=columns["validation_loss"][row] if judged else None,
            validation_accuracy=columns["validation_accuracy"][row] if judged else None,
            seconds=columns["seconds"][row],
            skipped_steps=int(columns["skipped_steps"][row]),
        )
        for row in range(rows)
    )


def checkpoint_paths(run: Path) -> list[Path]:
    """List a run's checkpoints.

    Args:
        run: The run directory.

    Returns:
        Their files, the newest first.
    """
    found = [path for path in (run / "checkpoints").glob("epoch-*.safetensors") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_epoch_in_name, reverse=True)


def _epoch_in_name(path: Path) -> tuple[int, str]:
    return len(path.name), path.name  # numbers of five digits and of more, in the order of the numbers


def read_checkpoint(path: Path, spec: RunSpec, data: str, hashes: DataHashes | None = None) -> Progress:
    """Read where a training stood.

    Args:
        path: One of a run's checkpoints.
        spec: The run's specification, which fixes every name, shape and dtype in the file.
        data: SHA-256 of the training split.
        hashes: Hashes of source files and partitions, as they are now; None to compare the training split alone.

    Returns:
        What `pipelines.stages.train.train` takes as its start.

    Raises:
        DataProblem: The file is not a whole checkpoint of such a run on such data.
    """
    metadata = tensor_metadata(path, remedy=REMEDY)
    check_made_by(spec, metadata, FORMAT, path)
    recorded = _recorded(metadata, path)
    if hashes is not None:
        require_recorded(recorded, hashes, f"{OTHER_ROWS} that this checkpoint was made with", where=str(path))
    if metadata.get("data") != data:
        raise DataProblem(
            f"{OTHER_ROWS} that this checkpoint was made with",
            where=str(path),
            remedy="name the --source that the run began with",
        )
    try:
        engine = engine_used(metadata)
        epochs, kept_epoch = int(metadata["epochs"]), int(metadata["kept_epoch"])
        if not 1 <= kept_epoch <= epochs <= spec.train.epochs:
            raise ValueError(f"epoch {kept_epoch} of {epochs} of {spec.train.epochs}")
        if path.stat().st_size < 8 * epochs * len(attrs.fields(EpochRecord)):
            raise ValueError(f"the file is smaller than the history of {epochs} epochs")
    except (ValueError, KeyError) as error:
        raise DataProblem(f"damaged checkpoint: {error}", where=str(path), remedy=REMEDY) from None
    first = first_state(build_training(spec))
    like = (first, (first.params, first.layer_state), np.zeros((epochs, len(attrs.fields(EpochRecord)))))
    state, (params, layer_state), numbers = read_sealed_tensors(path, like, remedy=REMEDY)
    try:
        history = _history(numbers, judged=spec.train.validation_fraction > 0)
    except (ValueError, OverflowError) as error:
        raise DataProblem(f"damaged checkpoint: {error}", where=str(path), remedy=REMEDY) from None
    if [record.epoch for record in history] != list(range(1, epochs + 1)) or history[-1].step != state.step:
        raise DataProblem("the history and the state are of different epochs", where=str(path), remedy=REMEDY)
    return Progress(state, BestSoFar(params, layer_state, kept_epoch), history, engine)


def _recorded(metadata: Mapping[str, str], path: Path) -> DataHashes:
    try:
        return from_text(metadata.get("hashes"))
    except ValueError as error:
        raise DataProblem(f"damaged checkpoint: {error}", where=str(path), remedy=REMEDY) from None


def checkpoint_hashes(run: Path) -> DataHashes:
    """Read which data the newest checkpoint with a readable header names.

    Args:
        run: The run directory.

    Returns:
        The hashes; `UNKNOWN` for checkpoints of earlier versions, and where there is none.
    """
    for path in checkpoint_paths(run):
        try:
            return _recorded(tensor_metadata(path, remedy=REMEDY), path)
        except DataProblem:
            continue
    return UNKNOWN


def newest_checkpoint(
    run: Path, spec: RunSpec, data: str, hashes: DataHashes | None = None
) -> tuple[Progress | None, tuple[DataProblem, ...]]:
    """Find the newest checkpoint that is whole.

    Args:
        run: The run directory.
        spec: The run's specification.
        data: SHA-256 of the training split.
        hashes: Hashes of source files and partitions, as they are now; None to compare the training split alone.

    Returns:
        What it holds, or None where there is no checkpoint at all; and what is wrong with those passed over.

    Raises:
        DataProblem: There are checkpoints, and none can be used: to begin anew would put others in their place.
    """
    problems: list[DataProblem] = []
    for path in checkpoint_paths(run):
        try:
            return read_checkpoint(path, spec, data, hashes), tuple(problems)
        except DataProblem as problem:
            problems.append(problem)
    if problems:
        raise problems[0]
    return None, ()
