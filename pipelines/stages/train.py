"""Stage `train`: prepared training split -> trained network. It cannot see the test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs
import numpy as np

from bpfunc import Batch, Key, cross_entropy, epoch_batches, evaluate, fold_in, init_train_state, make_step, split
from bpfunc import train as train_epochs
from bpfunc.augment import augmented
from bpfunc.batches import batches_per_epoch
from bpfunc.finite import NotFiniteError, finite_gradient, finite_step, first_not_finite
from bpfunc.gradient import GradientMaker, value_and_grad
from bpfunc.loop import Epoch
from bpfunc.metrics import mean
from bpfunc.schedules import constant
from bpfunc.splits import train_validation_split
from bpfunc.step import StepMetrics, TrainState
from bpfunc.tree import Tree
from pipelines.artifacts import PIXELS, EpochRecord, PreparedTrain, Trained
from pipelines.build import (
    build_augmentation,
    build_loss,
    build_model,
    build_schedule,
    build_transform,
    result_params,
)
from pipelines.config import RunSpec, TrainSpec
from pipelines.signals import Interrupted
from pipelines.stages.store import read_split
from pipelines.streaming import Stream, open_stream, stream_batches, stream_rows, stream_validation


@attrs.frozen(eq=False)
class Kept:
    """The network that would be the result if training ended here."""

    params: Tree
    """The averaged ones where an average is kept."""
    layer_state: Tree
    epoch: int


@attrs.frozen(eq=False)
class Progress:
    """Where a training stands after an epoch: all that is needed to go on, and what a watcher shows."""

    state: TrainState
    kept: Kept
    history: tuple[EpochRecord, ...]

    @property
    def record(self) -> EpochRecord:
        """The figures of the epoch just finished."""
        return self.history[-1]


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


def never() -> bool:
    """Answer that nobody asked to stop.

    Returns:
        False.

    Example:
        >>> never()
        False
    """
    return False


def train(
    prepared: PreparedTrain,
    spec: RunSpec,
    *,
    watch: Watch = unwatched,
    start: Progress | None = None,
    stop: Callable[[], bool] = never,
) -> Trained:
    """Train the network that a spec describes.

    Args:
        prepared: The training split in the cache.
        spec: Network and training; its seed decides split, start and order.
        watch: What else happens after each epoch.
        start: Where an interrupted training stood; what follows is what would have followed then, bit for bit.
        stop: Asked before each step whether to leave.

    Returns:
        The network of the last epoch or the best, as the spec says, and the history.

    Raises:
        DataProblem: The cache entry is not what it was.
        NotFiniteError: A loss or gradient is not finite, and the spec says to stop then.
        Interrupted: ``stop`` said so.

    Example:
        See `pipelines.graph`, which calls the stages in order.
    """
    learn, choose = training_rows(prepared, spec)
    return fit(learn, choose, spec, watch=watch, start=start, stop=stop)


def training_rows(prepared: PreparedTrain, spec: RunSpec) -> tuple[Batch | Stream, Batch | None]:
    """Read the training split, or open the partitions to stream it from, and set the validation rows apart.

    Args:
        prepared: The training split in the cache.
        spec: Says from where, and what to hold out.

    Returns:
        Rows to learn from, and rows to choose by (None where none are held out).

    Raises:
        DataProblem: The rows are not what they were.
    """
    place, settings = spec.dataset.partitions, spec.train
    if not place:
        return training_split(read_training_rows(prepared), settings)
    stream = open_stream(prepared, place, held_out=settings.validation_fraction, key=_keys(settings.seed)[2])
    return stream, stream_validation(stream)


def read_training_rows(prepared: PreparedTrain) -> Batch:
    """Read the training split.

    Args:
        prepared: Its handle.

    Returns:
        Inputs (N, 784) and one-hot targets (N, K).

    Raises:
        DataProblem: The cache entry is not what it was.
    """
    table = read_split(prepared)
    return Batch(table.pixels, table.target)


def fit(
    learn: Batch | Stream,
    choose: Batch | None,
    spec: RunSpec,
    *,
    watch: Watch = unwatched,
    start: Progress | None = None,
    stop: Callable[[], bool] = never,
    gradient: GradientMaker = value_and_grad,
) -> Trained:
    """Train on some rows and measure on others.

    Args:
        learn: Rows to learn from.
        choose: Rows to judge by, or None.
        spec: Network and training.
        watch: What else happens after each epoch.
        start: Where an interrupted training stood.
        stop: Asked before each step whether to leave.
        gradient: How to get the gradient of a batch, such as one shared out among processes.

    Returns:
        The network of the last epoch or the best, as the spec says, and the history.

    Raises:
        ValueError: The best is asked for and there are no rows to judge by.
        NotFiniteError: A loss or gradient is not finite, and the spec says to stop then.
        Interrupted: ``stop`` said so.
    """
    last = start
    # What overflows is found by the check of the gradient; a warning would say it a second time, and less well.
    with np.errstate(over="ignore", invalid="ignore"):
        for progress in watch(_epochs(learn, choose, spec, start, stop, gradient)):
            last = progress
    if last is None:
        raise ValueError("a training needs at least one epoch")
    return Trained(
        model=spec.model,
        params=last.kept.params,
        layer_state=last.kept.layer_state,
        history=last.history,
        epoch=last.kept.epoch,
        train_seconds=sum(record.seconds for record in last.history),
    )


def _better(record: EpochRecord, other: EpochRecord) -> bool:
    if record.validation_loss is None or other.validation_loss is None:
        raise ValueError("keep = 'best' needs rows to judge by")
    return record.validation_loss < other.validation_loss or math.isnan(other.validation_loss)


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
    if spec.validation_fraction == 0:
        return data, None
    return train_validation_split(data, _keys(spec.seed)[2], spec.validation_fraction)


def beginning(learn: Batch | Stream, spec: RunSpec) -> tuple[TrainState, Batch]:
    """Where a training begins.

    Args:
        learn: Rows to learn from.
        spec: Network and training; its seed decides.

    Returns:
        The state before the first step, and the first batch, mirror images and all.

    Example:
        >>> import numpy as np
        >>> state, batch = beginning(Batch(np.zeros((40, 784), np.float32), np.eye(3, dtype=np.float32)[[0] * 40]),
        ...                          RunSpec(train=TrainSpec(batch_size=32)))
        >>> state.step, batch.inputs.shape
        (0, (32, 784))
    """
    return first_state(spec), next(_batches(learn, spec.train, 0))


def _batches(learn: Batch | Stream, settings: TrainSpec, epoch: int) -> Iterator[Batch]:
    """Batches of an epoch, augmented."""
    _, order_key, _, augment_key = _keys(settings.seed)
    if isinstance(learn, Stream):
        plain = stream_batches(learn, order_key, epoch, settings.batch_size)
    else:
        plain = epoch_batches(learn, order_key, epoch, settings.batch_size)
    augmentation = build_augmentation(settings)
    return iter(plain if augmentation is None else augmented(plain, fold_in(augment_key, epoch), augmentation))


def _keys(seed: int) -> tuple[Key, ...]:
    """Keys of the start, of the order of batches, of the split, and of the augmentation."""
    return split(Key(seed), 4)


def first_state(spec: RunSpec) -> TrainState:
    """Make the state that a training begins with.

    Args:
        spec: Network, optimiser and seed.

    Returns:
        Step 0 of it.

    Example:
        >>> first_state(RunSpec()).step
        0
    """
    model = build_model(spec.model, len(spec.dataset.classes))
    transform = build_transform(spec.train, constant(spec.train.learning_rate))
    return init_train_state(model, transform, _keys(spec.train.seed)[0], (PIXELS,))


def _epochs(
    learn: Batch | Stream,
    choose: Batch | None,
    spec: RunSpec,
    start: Progress | None,
    stop: Callable[[], bool],
    gradient: GradientMaker,
) -> Iterator[Progress]:
    settings, classes = spec.train, len(spec.dataset.classes)
    rows = stream_rows(learn) if isinstance(learn, Stream) else len(learn.inputs)
    schedule = build_schedule(settings, settings.epochs * batches_per_epoch(rows, settings.batch_size))
    model, transform = build_model(spec.model, classes), build_transform(settings, schedule)
    state = first_state(spec) if start is None else start.state
    checked = make_step(model, build_loss(settings), transform, gradient=finite_gradient(gradient))
    careful = finite_step(checked, on_nan=settings.on_nan)
    skipped = 0

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        nonlocal skipped
        state, seen = careful(state, batch)
        skipped += seen.loss.weight == 0
        return state, seen

    def batches(number: int) -> Iterator[Batch]:
        for batch in _batches(learn, settings, number):
            if stop():
                raise Interrupted
            yield batch

    kept, history = (None, ()) if start is None else (start.kept, start.history)
    started = time.perf_counter()
    for epoch in train_epochs(step, state, batches, epochs=settings.epochs, start=len(history)):
        seconds = time.perf_counter() - started
        params = result_params(settings, epoch.state)
        place = first_not_finite((epoch.state.params, params))
        if place is not None:  # an update overflowed: no later step can mend that, so skipping does not help
            raise NotFiniteError(f"parameter {place}", epoch.state.step)
        figures = None
        if choose is not None:
            found = evaluate(model, cross_entropy(), params, epoch.state.layer_state, choose)
            figures = (mean(found.loss), mean(found.metric))
        record = _record(epoch, schedule(epoch.state.step - 1), figures, seconds, skipped)
        if kept is None or settings.keep == "last" or _better(record, history[kept.epoch - 1]):
            kept = Kept(params, epoch.state.layer_state, epoch.number)
        history, skipped = (*history, record), 0
        yield Progress(epoch.state, kept, history)
        started = time.perf_counter()


def _record(
    epoch: Epoch, rate: float, validation: tuple[float, float] | None, seconds: float, skipped: int
) -> EpochRecord:
    return EpochRecord(
        epoch=epoch.number,
        step=epoch.state.step,
        learning_rate=rate,
        train_loss=mean(epoch.metrics.loss),
        train_accuracy=mean(epoch.metrics.metric),
        validation_loss=None if validation is None else validation[0],
        validation_accuracy=None if validation is None else validation[1],
        seconds=seconds,
        skipped_steps=skipped,
    )


def standing(learn: Batch, spec: RunSpec, step: int) -> tuple[TrainState, Batch]:
    """Train up to a step, and stop before it.

    Args:
        learn: Rows to learn from.
        spec: Network and training; its seed decides.
        step: Updates made before, from 0.

    Returns:
        The state before that step, and the batch that it takes.

    Raises:
        ValueError: The training has no such step.

    Example:
        >>> learn = Batch(np.zeros((40, 784), np.float32), np.eye(3, dtype=np.float32)[[0] * 40])
        >>> state, batch = standing(learn, RunSpec(train=TrainSpec(batch_size=32)), 1)
        >>> state.step, len(batch.inputs)
        (1, 8)
    """
    each = batches_per_epoch(len(learn.inputs), spec.train.batch_size)
    if not 0 <= step < each * spec.train.epochs:
        raise ValueError(f"expected a step in 0..{each * spec.train.epochs - 1}, found {step}")
    state = first_state(spec)
    transform = build_transform(spec.train, build_schedule(spec.train, spec.train.epochs * each))
    advance = make_step(build_model(spec.model, learn.targets.shape[1]), build_loss(spec.train), transform)
    for epoch in range(step // each + 1):
        for batch in _batches(learn, spec.train, epoch):
            if state.step == step:
                return state, batch
            state, _ = advance(state, batch)
    raise AssertionError("the last epoch holds the step")
