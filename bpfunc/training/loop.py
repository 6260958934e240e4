"""Training as a fold: a step folded over batches is an epoch, epochs come out of a lazy iterator.

Early stopping, logging, checkpoints and progress are ordinary consumers of that iterator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import attrs
import numpy as np

from bpfunc.arrays.arguments import described, expected
from bpfunc.arrays.calls import one_line
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray
from bpfunc.batches.batch import Batch, epoch_batches, in_order
from bpfunc.gradient.modes import value
from bpfunc.gradient.slips import check_parts
from bpfunc.keys import Key
from bpfunc.layers import INFERENCE, Layer, inputs_for
from bpfunc.losses import Loss
from bpfunc.metrics import Mean, Metric, merge_means
from bpfunc.metrics.of_loss import metric_for
from bpfunc.training.step import StepFn, StepMetrics, TrainState, weighted_mean
from bpfunc.tree import Tree

EpochBatches: TypeAlias = Callable[[int], Iterable[Batch]]
"""``epoch -> batches``, epochs counted from 0; the same epoch gives the same batches."""


@runtime_checkable
class FoldingStep(Protocol):
    """A step that takes many batches faster than one by one: machine code that stays with its threads and memory.

    `fold_steps` leaves the batches to it, and so does all that is made of `fold_steps`, such as `train`.
    """

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        """Take one step."""
        ...

    def fold(self, state: TrainState, batches: Iterable[Batch]) -> tuple[TrainState, StepMetrics]:
        """Take a step for each batch; return the last state, and the merged metrics."""
        ...


@attrs.frozen(eq=False)
class Epoch:
    """One record of a training.

    Args:
        number: Epochs finished, from 1.
        state: The state after this epoch.
        metrics: Metrics of the epoch's steps, merged.
    """

    number: int
    state: TrainState
    metrics: StepMetrics

    __repr__ = one_line


def merge_metrics(left: StepMetrics, right: StepMetrics, metric: Metric | None = None) -> StepMetrics:
    """Combine what two stretches of steps saw.

    Args:
        left: Of the first stretch.
        right: Of the second.
        metric: The metric whose states they hold, where they do not carry it; means where neither does.

    Returns:
        The metrics of both.

    Raises:
        ValueError: They hold states of different metrics, or of one that is not known.

    Example:
        >>> one = StepMetrics(Mean(1.0, 1.0), Mean(0.0, 1.0))
        >>> merge_metrics(one, one).loss
        Mean(total=2.0, weight=2.0)
    """
    known = [given for given in (left.measured_by, right.measured_by, metric) if given is not None]
    if any(given is not known[0] and given.name != known[0].name for given in known):
        raise ValueError(f"cannot merge states of different metrics: {', '.join(given.name for given in known)}")
    loss = merge_means(left.loss, right.loss)
    if known:
        for part, other in ((left, right), (right, left)):
            if part.measured_by is None and part.loss.weight == 0:  # a step that was left out
                return StepMetrics(loss, other.metric, known[0])
        return StepMetrics(loss, known[0].merge(left.metric, right.metric), known[0])
    if not (isinstance(left.metric, Mean) and isinstance(right.metric, Mean)):
        raise ValueError("the steps measure something else than a mean, and do not carry their metric; pass metric=...")
    return StepMetrics(loss, merge_means(left.metric, right.metric))


def steps(step: StepFn, state: TrainState, batches: Iterable[Batch]) -> Iterator[tuple[TrainState, StepMetrics]]:
    """Take one step after the other, lazily: for those who want to see, save or stop within an epoch.

    Args:
        step: From `bpfunc.training.step.make_step`.
        state: Where to start.
        batches: What to learn from.

    Yields:
        The state after each step, and what the step saw.

    Example:
        >>> def count(state, batch):
        ...     return state + len(batch), StepMetrics(Mean(0.0, 1.0), Mean(1.0, 1.0))
        >>> [state for state, _ in steps(count, 0, ["ab", "c"])]
        [2, 3]
    """
    for batch in batches:
        state, metrics = step(state, batch)
        yield state, metrics


def fold_steps(
    step: StepFn, state: TrainState, batches: Iterable[Batch], *, metric: Metric | None = None
) -> tuple[TrainState, StepMetrics]:
    """Fold a step over batches: one epoch.

    Args:
        step: From `bpfunc.training.step.make_step`; a `FoldingStep` folds by itself.
        state: Where to start.
        batches: What to learn from, at least one batch.
        metric: The step's metric, where its metrics do not carry it, as those of `bpfunc.training.step.make_step` do.

    Returns:
        The last state, and the merged metrics.

    Raises:
        ValueError: There is no batch, or the step's metric is another one.

    Example:
        >>> def count(state, batch):
        ...     return state + len(batch), StepMetrics(Mean(0.0, 1.0), Mean(1.0, 1.0))
        >>> fold_steps(count, 0, ["ab", "c"])[0]
        3
    """
    if isinstance(step, FoldingStep):
        return step.fold(state, batches)
    parts = []
    for batch in batches:
        state, metrics = step(state, batch)
        parts.append(metrics)
    return state, _merged(parts, metric)


def train(
    step: StepFn,
    state: TrainState,
    batches: EpochBatches,
    *,
    epochs: int,
    start: int = 0,
    metric: Metric | None = None,
) -> Iterator[Epoch]:
    """Train lazily: each record that is asked for is one epoch trained.

    To go on from a saved state, say where it stands: ``done, first = divmod(state.step, batches_per_epoch(...))``. Then
    ``start`` is ``done``, and in epoch ``done`` ``batches`` passes over the ``first`` batches. The states that follow
    are those of a training that was never interrupted, bit for bit; the metrics of that epoch are of its rest.

    Args:
        step: From `bpfunc.training.step.make_step`.
        state: Where to start.
        batches: ``epoch -> batches``, such as a call of `bpfunc.batches.batch.epoch_batches`.
        epochs: How many epochs there are in all, at least 0.
        start: Epochs that ``state`` has behind it already, at least 0.
        metric: The step's metric, where its metrics do not carry it, as those of `bpfunc.training.step.make_step` do.

    Yields:
        A record after each epoch.

    Raises:
        TypeError: ``step`` or ``batches`` is not a function.
        ValueError: ``epochs`` or ``start`` is not a whole number of at least 0, an epoch has no batch, or the
            step's metric is another one.

    Example:
        >>> def count(state, batch):
        ...     return state + len(batch), StepMetrics(Mean(0.0, 1.0), Mean(1.0, 1.0))
        >>> [record.state for record in train(count, 0, lambda epoch: ["ab"], epochs=3)]
        [2, 4, 6]
    """
    if not callable(batches):
        raise TypeError(
            f"train takes a function of the epoch's number as batches, got {described(batches)}; "
            "write lambda epoch: epoch_batches(data, key, epoch, batch_size)"
        )
    if not callable(step):
        raise TypeError(f"train takes a step as step, got {described(step)}; write make_step(model, loss, transform)")
    epochs, start = whole("train", "epochs", epochs, "[0, inf)"), whole("train", "start", start, "[0, inf)")
    for number in range(start, epochs):
        state, metrics = fold_steps(step, state, batches(number), metric=metric)
        yield Epoch(number + 1, state, metrics)


def evaluate(
    model: Layer,
    loss: Loss,
    params: Tree,
    layer_state: Tree,
    data: Batch,
    *,
    metric: Metric | None = None,
    batch_size: int = 1024,
) -> StepMetrics:
    """Measure a model on data it does not learn from, in batches so that memory stays small.

    Args:
        model: Any layer.
        loss: The loss to report.
        params: The model's parameters.
        layer_state: The model's state; it does not change.
        data: At least one row.
        metric: What else to measure; where None what goes with the loss.
        batch_size: Rows at a time.

    Returns:
        Merged loss and metric.

    Raises:
        ValueError: The data set is empty.
        ShapeError: The data does not fit the model.

    Example:
        >>> import numpy as np
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> data = Batch(np.zeros((4, 3), np.float32), np.array([0, 0, 0, 1]))
        >>> evaluate(model, cross_entropy(), params, state, data).metric
        Mean(total=3.0, weight=4.0)
    """
    check_parts("evaluate", model, loss)
    expected("evaluate", "data", data, Batch)
    measured = metric_for(loss) if metric is None else metric
    rows = epoch_batches(data, Key(0), 0, batch_size, sampler=in_order)
    return _merged((_measured(model, loss, params, layer_state, batch, measured) for batch in rows), measured)


def _measured(model: Layer, loss: Loss, params: Tree, layer_state: Tree, batch: Batch, metric: Metric) -> StepMetrics:
    found = value(model, loss, params, layer_state, batch, INFERENCE)
    return StepMetrics(weighted_mean(found, batch), metric.measure(found.outputs, batch), metric)


def _merged(parts: Iterable[StepMetrics], metric: Metric | None) -> StepMetrics:
    remaining = iter(parts)
    merged = next(remaining, None)
    if merged is None:
        raise ValueError("there is no batch to merge; is the data set empty?")
    if merged.measured_by is None:
        merged = attrs.evolve(merged, measured_by=metric)
    for part in remaining:
        merged = merge_metrics(merged, part, metric)
    return merged


def predict(model: Layer, params: Tree, layer_state: Tree, inputs: FloatArray) -> FloatArray:
    """Run a model forward, without residuals or randomness.

    Args:
        model: Any layer.
        params: Its parameters.
        layer_state: Its state.
        inputs: (B, ...) rows; brought to the parameters' dtype.

    Returns:
        The outputs, such as (B, K) logits.

    Raises:
        ShapeError: The inputs do not fit the model.

    Example:
        >>> import numpy as np
        >>> from bpfunc.layers import relu
        >>> predict(relu(), (), (), np.array([[-1.0, 2.0]]))
        array([[0., 2.]])
    """
    expected("predict", "model", model, Layer)
    expected("predict", "inputs", inputs, np.ndarray)
    outputs, _, _ = model.forward(params, layer_state, inputs_for(model, params, inputs), INFERENCE)
    return outputs
