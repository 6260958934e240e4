"""Stage `train`: prepared training split -> trained network. It cannot see the test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs

from bpfunc import Batch, Key, cross_entropy, epoch_batches, evaluate, init_train_state, make_step, split
from bpfunc import train as train_epochs
from bpfunc.batches import shuffled, take
from bpfunc.loop import Epoch
from bpfunc.metrics import mean
from bpfunc.schedules import as_schedule
from bpfunc.step import TrainState
from pipelines.artifacts import PIXELS, EpochRecord, PreparedTrain, Trained
from pipelines.build import build_model, build_transform
from pipelines.config import RunSpec, TrainSpec
from pipelines.stages.store import read_split


@attrs.frozen(eq=False)
class Progress:
    """What a watcher sees after each epoch: the figures, and the state that a checkpoint saves."""

    record: EpochRecord
    state: TrainState


Watch: TypeAlias = Callable[[Iterator[Progress]], Iterator[Progress]]
"""Wraps the iterator of epochs: a progress bar, a log, checkpoints."""


def unwatched(epochs: Iterator[Progress]) -> Iterator[Progress]:
    """Watch nothing.

    Args:
        epochs: The epochs.

    Returns:
        The same iterator.

    Example:
        >>> list(unwatched(iter([])))
        []
    """
    return epochs


def train(prepared: PreparedTrain, spec: RunSpec, *, watch: Watch = unwatched) -> Trained:
    """Train the network that a spec describes.

    Args:
        prepared: The training split in the cache.
        spec: Network and training; its seed decides split, start and order.
        watch: What else happens after each epoch.

    Returns:
        The network of the last epoch or the best, as the spec says, and the history.

    Raises:
        DataProblem: The cache entry is not what it was.

    Example:
        See `pipelines.graph`, which calls the stages in order.
    """
    table = read_split(prepared)
    data = Batch(table.pixels, table.target)
    history: list[EpochRecord] = []
    kept: Progress | None = None
    for progress in watch(_epochs(data, spec, classes=table.target.shape[1])):
        history.append(progress.record)
        if kept is None or spec.train.keep == "last" or _better(progress.record, kept.record):
            kept = progress
    if kept is None:
        raise ValueError("a training needs at least one epoch")
    return Trained(
        model=spec.model,
        params=kept.state.params,
        layer_state=kept.state.layer_state,
        history=tuple(history),
        epoch=kept.record.epoch,
        train_seconds=sum(record.seconds for record in history),
    )


def _better(record: EpochRecord, other: EpochRecord) -> bool:
    assert record.validation_loss is not None
    assert other.validation_loss is not None
    return record.validation_loss < other.validation_loss


def training_split(data: Batch, spec: TrainSpec) -> tuple[Batch, Batch | None]:
    """Cut the validation rows off the training split.

    Args:
        data: All rows of the training split.
        spec: Fraction and seed.

    Returns:
        Rows to learn from, and rows to choose by (None where the fraction is 0).

    Example:
        >>> import numpy as np
        >>> data = Batch(np.zeros((10, 1)), np.zeros((10, 2)))
        >>> learn, choose = training_split(data, TrainSpec(validation_fraction=0.2))
        >>> len(learn.inputs), len(choose.inputs)
        (8, 2)
    """
    held_out = round(spec.validation_fraction * len(data.inputs))
    if held_out == 0:
        return data, None
    rows = shuffled(split(Key(spec.seed), 3)[2], len(data.inputs))
    return take(data, rows[held_out:]), take(data, rows[:held_out])


def _epochs(data: Batch, spec: RunSpec, *, classes: int) -> Iterator[Progress]:
    settings = spec.train
    start_key, order_key, _ = split(Key(settings.seed), 3)
    learn, choose = training_split(data, settings)
    model, loss, transform = build_model(spec.model, classes), cross_entropy(), build_transform(settings)
    rate = as_schedule(settings.learning_rate)
    state = init_train_state(model, transform, start_key, (PIXELS,))
    step = make_step(model, loss, transform)
    started = time.perf_counter()
    for epoch in train_epochs(
        step,
        state,
        lambda number: epoch_batches(learn, order_key, number, settings.batch_size),
        epochs=settings.epochs,
    ):
        seconds = time.perf_counter() - started
        validation = None
        if choose is not None:
            validation = evaluate(model, loss, epoch.state.params, epoch.state.layer_state, choose)
        figures = None if validation is None else (mean(validation.loss), mean(validation.metric))
        yield Progress(_record(epoch, rate(epoch.state.step - 1), figures, seconds), epoch.state)
        started = time.perf_counter()


def _record(epoch: Epoch, rate: float, validation: tuple[float, float] | None, seconds: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch.number,
        step=epoch.state.step,
        learning_rate=rate,
        train_loss=mean(epoch.metrics.loss),
        train_accuracy=mean(epoch.metrics.metric),
        validation_loss=None if validation is None else validation[0],
        validation_accuracy=None if validation is None else validation[1],
        seconds=seconds,
    )
