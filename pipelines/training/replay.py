"""The state of a training at a given step, made again from its seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpfunc import Batch, Key, epoch_batches, fold_in, init_train_state, make_step, split
from bpfunc.batches.augment import augmented
from bpfunc.batches.batch import batches_per_epoch
from bpfunc.training.step import TrainState
from bpfunc.transforms.schedules import constant
from pipelines.artifacts import PIXELS
from pipelines.dataset.streaming import Stream, stream_batches
from pipelines.spec.run_spec import RunSpec, TrainSpec
from pipelines.training.build import build_augmentation, build_loss, build_model, build_schedule, build_transform


def first_step(train_rows: Batch | Stream, spec: RunSpec) -> tuple[TrainState, Batch]:
    """Where a training begins.

    Args:
        train_rows: Rows to learn from.
        spec: Network and training; its seed decides.

    Returns:
        The state before the first step, and the first batch, mirror images and all.

    Example:
        >>> import numpy as np
        >>> state, batch = first_step(Batch(np.zeros((40, 784), np.float32), np.eye(3, dtype=np.float32)[[0] * 40]),
        ...                          RunSpec(train=TrainSpec(batch_size=32)))
        >>> state.step, batch.inputs.shape
        (0, (32, 784))
    """
    return first_state(spec), next(_batches(train_rows, spec.train, 0))


def _batches(train_rows: Batch | Stream, settings: TrainSpec, epoch: int) -> Iterator[Batch]:
    """Batches of an epoch, augmented."""
    _, order_key, _, augment_key = _keys(settings.seed)
    if isinstance(train_rows, Stream):
        plain = stream_batches(train_rows, order_key, epoch, settings.batch_size)
    else:
        plain = epoch_batches(train_rows, order_key, epoch, settings.batch_size)
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


def standings(train_rows: Batch, spec: RunSpec, steps: Sequence[int]) -> Iterator[tuple[TrainState, Batch]]:
    """Train once, and stop before each of several steps.

    Args:
        train_rows: Rows to learn from.
        spec: Network and training; its seed decides.
        steps: Updates made before each stop, from 0, in rising order.

    Yields:
        The state before each step, and the batch that it takes.

    Raises:
        ValueError: The training does not have such a step, or the order is another.

    Example:
        >>> train_rows = Batch(np.zeros((40, 784), np.float32), np.eye(3, dtype=np.float32)[[0] * 40])
        >>> [state.step for state, _ in standings(train_rows, RunSpec(train=TrainSpec(batch_size=32)), (0, 3))]
        [0, 3]
    """
    each = batches_per_epoch(len(train_rows.inputs), spec.train.batch_size)
    for step in steps:
        if not 0 <= step < each * spec.train.epochs:
            raise ValueError(f"expected a step in 0..{each * spec.train.epochs - 1}, found {step}")
    if list(steps) != sorted(set(steps)):
        raise ValueError(f"expected steps in rising order, found {', '.join(map(str, steps))}")
    state, wanted = first_state(spec), set(steps)
    transform = build_transform(spec.train, build_schedule(spec.train, spec.train.epochs * each))
    advance = make_step(build_model(spec.model, train_rows.targets.shape[1]), build_loss(spec.train), transform)
    for epoch in range(max(steps, default=-1) // each + 1):
        for batch in _batches(train_rows, spec.train, epoch):
            if state.step in wanted:
                yield state, batch
            if state.step == max(steps):
                return
            state, _ = advance(state, batch)
