"""The state of a training at a given step, made again from its seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np  # noqa: F401  # examples take it

from bpfunc import Batch, Key, epoch_batches, fold_in, init_train_state, make_step, split
from bpfunc.batches.augment import augmented
from bpfunc.training.step import TrainState
from pipelines.artifacts import PIXELS
from pipelines.dataset.streaming import Stream, stream_batches, stream_rows
from pipelines.spec.run_spec import RunSpec, TrainSpec  # noqa: F401  # examples take the second
from pipelines.training.build import Training, build_training


def training_on(train_rows: Batch | Stream, spec: RunSpec) -> Training:
    """Build the parts of a training on given rows.

    Args:
        train_rows: Rows to learn from.
        spec: Network and training.

    Returns:
        The parts; the number of rows decides how long the schedule is.

    Example:
        >>> training_on(Batch(np.zeros((40, 784)), np.zeros((40, 3))), RunSpec()).epoch_steps
        1
    """
    rows = stream_rows(train_rows) if isinstance(train_rows, Stream) else len(train_rows.inputs)
    return build_training(spec, rows)


def training_keys(seed: int) -> tuple[Key, ...]:
    """Return the keys of a training.

    Args:
        seed: Seed of the training.

    Returns:
        Keys of the first parameters, of the order of batches, of the split, and of the augmentation.

    Example:
        >>> len(training_keys(0))
        4
    """
    return split(Key(seed), 4)


def training_batches(train_rows: Batch | Stream, training: Training, epoch: int) -> Iterator[Batch]:
    """Read the batches of an epoch, augmented.

    Args:
        train_rows: Rows to learn from.
        training: From `training_on`.
        epoch: Number of the epoch, from 0.

    Returns:
        An iterator over the batches.

    Example:
        >>> rows = Batch(np.zeros((40, 784), np.float32), np.eye(3, dtype=np.float32)[[0] * 40])
        >>> training = training_on(rows, RunSpec(train=TrainSpec(batch_size=32)))
        >>> [len(batch.inputs) for batch in training_batches(rows, training, 0)]
        [32, 8]
    """
    settings, augmentation = training.spec.train, training.augmentation
    _, order_key, _, augment_key = training_keys(settings.seed)
    batches = stream_batches if isinstance(train_rows, Stream) else epoch_batches
    plain = batches(train_rows, order_key, epoch, settings.batch_size)  # type: ignore[arg-type]
    return iter(plain if augmentation is None else augmented(plain, fold_in(augment_key, epoch), augmentation))


def first_state(training: Training) -> TrainState:
    """Make the state that a training begins with.

    Args:
        training: Its parts.

    Returns:
        The state before the first step.

    Example:
        >>> first_state(build_training(RunSpec())).step
        0
    """
    key = training_keys(training.spec.train.seed)[0]
    return init_train_state(training.model, training.transform, key, (PIXELS,))


def standings(
    train_rows: Batch | Stream, training: Training, steps: Sequence[int]
) -> Iterator[tuple[TrainState, Batch]]:
    """Train once, and stop before each of several steps.

    Args:
        train_rows: Rows to learn from.
        training: From `training_on`.
        steps: Updates made before each stop, from 0, in rising order.

    Yields:
        The state before each step, and the batch that it takes.

    Raises:
        ValueError: The training does not have such a step, or the order is another.

    Example:
        >>> rows = Batch(np.zeros((40, 784), np.float32), np.eye(3, dtype=np.float32)[[0] * 40])
        >>> training = training_on(rows, RunSpec(train=TrainSpec(batch_size=32)))
        >>> [state.step for state, _ in standings(rows, training, (0, 3))]
        [0, 3]
    """
    for step in steps:
        if not 0 <= step < training.steps:
            raise ValueError(f"expected a step in 0..{training.steps - 1}, found {step}")
    if list(steps) != sorted(set(steps)):
        raise ValueError(f"expected steps in rising order, found {', '.join(map(str, steps))}")
    state, wanted = first_state(training), set(steps)
    advance = make_step(training.model, training.loss, training.transform)
    for epoch in range(max(steps, default=-1) // training.epoch_steps + 1):
        for batch in training_batches(train_rows, training, epoch):
            if state.step in wanted:
                yield state, batch
            if state.step == max(steps):
                return
            state, _ = advance(state, batch)
