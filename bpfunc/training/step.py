"""One training step, on one screen: forward, backward, transform, update."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import attrs
import numpy as np

from bpfunc.arrays.aligned import keep_freed_memory
from bpfunc.arrays.arguments import expected
from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.types import Shape
from bpfunc.batches.batch import Batch
from bpfunc.gradient.modes import GradientFn, GradientMaker, Value, value_and_grad
from bpfunc.gradient.slips import check_parts
from bpfunc.keys import Key, fold_in, split
from bpfunc.layers import Context, Layer
from bpfunc.losses import Loss
from bpfunc.metrics import Mean, Metric
from bpfunc.metrics.of_loss import metric_for
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.update import updated
from bpfunc.tree import STATIC, Tree


@attrs.frozen(eq=False)
class TrainState:
    """All that training carries from step to step; save it and nothing else is needed to go on.

    Args:
        params: The model's parameters.
        layer_state: The model's state (running statistics), ``()`` for most.
        optimizer_state: The transform's state.
        step: Updates made so far. The one step count there is.
        key: Randomness of the whole training; a step uses ``fold_in(key, step)``.
    """

    params: Tree
    layer_state: Tree
    optimizer_state: Tree
    step: int
    key: Key = attrs.field(metadata=STATIC)

    __repr__ = one_line


@attrs.frozen(eq=False)
class StepMetrics:
    """What a step saw, in a form that merges over steps.

    Args:
        loss: Weighted mean loss before the update, in the loss's unit (nats, where it takes logits).
        metric: State of the step's metric on the same outputs.
        measured_by: That metric, which merges such states and gives their figure; None where the state is a `Mean` of
            what the reader knows.
    """

    loss: Mean
    metric: Tree
    measured_by: Metric | None = attrs.field(default=None, metadata=STATIC)

    __repr__ = one_line


StepFn: TypeAlias = Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]
"""``(state, batch) -> (state, metrics)``."""


def weighted_mean(value: Value, batch: Batch) -> Mean:
    """Bring the mean loss of a batch into a form that merges.

    Args:
        value: What a forward pass found.
        batch: The batch it ran on.

    Returns:
        The loss times the batch's weight, and that weight: the number of rows where rows have no weights.

    Example:
        >>> value = Value(np.float64(0.5), np.array([0.25, 0.75]), np.zeros((2, 1)), ())
        >>> weighted_mean(value, Batch(np.zeros((2, 1)), np.zeros(2)))
        Mean(total=1.0, weight=2.0)
    """
    weight = float(len(value.losses) if batch.weights is None else batch.weights.sum(dtype=np.float64))
    return Mean(float(value.loss) * weight, weight)


def init_train_state(model: Layer, transform: GradientTransform, key: Key, in_shape: Shape) -> TrainState:
    """Start a training: fresh parameters, fresh optimiser state, step 0.

    Args:
        model: Any layer.
        transform: The optimiser.
        key: Seed of everything random.
        in_shape: Shape of one example, such as ``(784,)``.

    Returns:
        The state before the first step.

    Raises:
        ShapeError: The model cannot take such examples.

    Example:
        >>> from bpfunc.layers import dense
        >>> from bpfunc.optimizers import sgd
        >>> init_train_state(dense(3), sgd(0.1), Key(0), (784,)).params.weight.shape
        (784, 3)
    """
    expected("init_train_state", "model", model, Layer)
    expected("init_train_state", "transform", transform, GradientTransform)
    params_key, training_key = split(expected("init_train_state", "key", key, Key))
    params, layer_state, _ = model.init(params_key, in_shape)
    return TrainState(params, layer_state, transform.init(params), 0, training_key)


def make_step(
    model: Layer,
    loss: Loss,
    transform: GradientTransform,
    *,
    metric: Metric | None = None,
    gradient: GradientMaker = value_and_grad,
) -> StepFn:
    """Compose a training step from its parts.

    Args:
        model: What computes outputs.
        loss: What is to become small.
        transform: What turns gradients into updates.
        metric: What else to measure on the outputs; where None what goes with the loss, such as accuracy or the mean
            squared error (`bpfunc.metrics.of_loss.metric_for`). The step's metrics carry it along.
        gradient: How to get gradients; another maker may add microbatches or a sharpness-aware detour.

    Returns:
        A pure function ``(state, batch) -> (state, metrics)``.

    Raises:
        ValueError: The loss names a metric that does not exist.
        ShapeError: From the step, where a batch does not fit the model.

    Example:
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> model, transform = dense(2), sgd(0.5)
        >>> step = make_step(model, cross_entropy(), transform)
        >>> state = init_train_state(model, transform, Key(0), (3,))
        >>> batch = Batch(np.ones((4, 3), np.float32), np.array([0, 0, 1, 0]))
        >>> state, metrics = step(state, batch)
        >>> state.step
        1
    """
    check_parts("make_step", model, loss)
    expected("make_step", "transform", transform, GradientTransform)
    keep_freed_memory()
    loss_and_gradient = gradient(model, loss)
    measured = metric_for(loss) if metric is None else metric
    return partial(_step, transform, loss_and_gradient, measured)


def _step(
    transform: GradientTransform, loss_and_gradient: GradientFn, measured: Metric, state: TrainState, batch: Batch
) -> tuple[TrainState, StepMetrics]:
    if type(state) is not TrainState or type(batch) is not Batch:
        expected("a step", "state", state, TrainState)
        expected("a step", "batch", batch, Batch)
    ctx = Context(train=True, key=fold_in(state.key, state.step))
    value, grads = loss_and_gradient(state.params, state.layer_state, batch, ctx)
    params, optimizer_state = updated(transform, grads, state.optimizer_state, state.params, state.step)
    metrics = StepMetrics(weighted_mean(value, batch), measured.measure(value.outputs, batch), measured)
    return TrainState(params, value.state, optimizer_state, state.step + 1, state.key), metrics


hands_out(make_step, step=_step)
