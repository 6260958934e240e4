"""What a metric is, the most common kind (a weighted mean over examples), and several metrics as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias, cast

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.calls import Call, hands_out, recorded
from bpfunc.arrays.types import BoolArray, FloatArray, IntArray
from bpfunc.batches.batch import Batch, class_indices
from bpfunc.layers import ShapeError
from bpfunc.losses.base import Targets, labels_in_range, weighed, whole_numbers
from bpfunc.tree import Tree, tree_add

Measure: TypeAlias = Callable[[FloatArray, Batch], Tree]
"""``(outputs, batch) -> state``."""


@attrs.frozen
class Metric:
    """A figure that can be computed in parts.

    Args:
        name: For tables, such as ``accuracy``.
        measure: ``(outputs, batch) -> state``, such as a tree of sums.
        value: ``state -> figure``: a number, or a tree of numbers and arrays.
        merge: ``(state, state) -> state``; adds leaf by leaf unless told otherwise.
        call: The call that made it, for `repr`; None where it was made from its functions.

    Example:
        >>> from bpfunc.metrics import accuracy
        >>> metric = accuracy()
        >>> left = metric.measure(np.array([[0.0, 1.0]]), Batch(np.zeros((1, 1)), np.array([1])))
        >>> right = metric.measure(np.array([[0.0, 1.0]]), Batch(np.zeros((1, 1)), np.array([0])))
        >>> metric.value(metric.merge(left, right))
        0.5
    """

    name: str
    measure: Measure
    value: Callable[[Tree], Tree]
    merge: Callable[[Tree, Tree], Tree] = tree_add
    call: Call | None = attrs.field(default=None, init=False, repr=False, eq=False)

    def __repr__(self) -> str:
        """Print as the call that made it."""
        return f"Metric({self.name!r})" if self.call is None else repr(self.call)


@attrs.frozen
class Mean:
    """A weighted mean in parts; also the state of metrics that are means.

    Args:
        total: Weighted sum.
        weight: Sum of the weights.

    Example:
        >>> mean(merge_means(Mean(1.0, 2.0), Mean(2.0, 2.0)))
        0.75
    """

    total: float
    weight: float


def mean(state: Mean) -> float:
    """Divide: ``total / weight``.

    Args:
        state: A `Mean`.

    Returns:
        The mean; NaN where nothing was counted.

    Example:
        >>> mean(Mean(3.0, 4.0))
        0.75
    """
    return state.total / state.weight if state.weight else float("nan")


def merge_means(left: Mean, right: Mean) -> Mean:
    """Add two means in parts: what `bpfunc.tree.tree_add` gives, without a walk at every step of a training.

    Args:
        left: Of the first part.
        right: Of the second.

    Returns:
        Of both.

    Example:
        >>> merge_means(Mean(1.0, 2.0), Mean(2.0, 2.0))
        Mean(total=3.0, weight=4.0)
    """
    return Mean(left.total + right.total, left.weight + right.weight)


@recorded
def mean_metric(name: str, figures: Callable[[FloatArray, Batch], FloatArray | BoolArray]) -> Metric:
    """Make a metric that is the mean of one number for each example: ``sum_b w_b f_b / sum_b w_b``, in float64.

    Args:
        name: For tables.
        figures: ``(outputs, batch) -> f`` with ``f`` (B,), numbers or truth values.

    Returns:
        A metric whose state is a `Mean`; all weights are 1 where the batch has none.

    Example:
        >>> largest = mean_metric("largest output", lambda outputs, batch: outputs.max(axis=1))
        >>> largest.measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0])))
        Mean(total=2.0, weight=2.0)
    """
    return Metric(name, partial(_mean_measure, figures), mean, merge_means)


@recorded
def mean_metric_of_targets(name: str, figures: Callable[[FloatArray, Targets], FloatArray | BoolArray]) -> Metric:
    """Make a metric as `mean_metric` does, of one that looks at outputs and targets alone.

    A training in machine code does not have to gather the inputs again for it.

    Args:
        name: For tables.
        figures: ``(outputs, targets) -> f`` with ``f`` (B,), numbers or truth values.

    Returns:
        A metric whose state is a `Mean`; all weights are 1 where the batch has none.

    Example:
        >>> largest_error = mean_metric_of_targets("error", lambda outputs, targets: abs(outputs - targets).max(axis=1))
        >>> largest_error.measure(np.eye(2), Batch(np.zeros((2, 1)), np.ones((2, 2))))
        Mean(total=2.0, weight=2.0)
    """
    return Metric(name, partial(_mean_of_targets, figures), mean, merge_means)


def reads_inputs(metric: Metric) -> bool:
    """Tell whether a metric may look at the inputs of a batch.

    Args:
        metric: Any.

    Returns:
        False for those that `mean_metric_of_targets` made.

    Example:
        >>> from bpfunc.metrics import accuracy
        >>> reads_inputs(accuracy())
        False
    """
    return not (isinstance(metric.measure, partial) and metric.measure.func is _mean_of_targets)


def _mean_of_targets(
    figures: Callable[[FloatArray, Targets], FloatArray | BoolArray], outputs: FloatArray, batch: Batch
) -> Mean:
    return _mean_over_rows(figures(outputs, batch.targets), batch)


def _mean_measure(
    figures: Callable[[FloatArray, Batch], FloatArray | BoolArray], outputs: FloatArray, batch: Batch
) -> Mean:
    return _mean_over_rows(figures(outputs, batch), batch)


def _mean_over_rows(found: FloatArray | BoolArray, batch: Batch) -> Mean:
    if batch.weights is None:
        total = np.count_nonzero(found) if found.dtype.kind == "b" else found.sum(dtype=np.float64)
        return Mean(float(total), float(len(found)))
    weights = row_weights(batch, len(found))
    return Mean(float(weighed(weights, found.astype(np.float64)).sum()), float(weights.sum()))


@recorded
def all_of(*metrics: Metric) -> Metric:
    """Measure several metrics at once.

    Args:
        metrics: At least one, with different names.

    Returns:
        A metric whose state is the tuple of their states, and whose figure is a dict from their names to their
        figures.

    Raises:
        ValueError: There is no metric, or two have one name.

    Example:
        >>> from bpfunc.metrics import accuracy, top_k
        >>> both = all_of(accuracy(), top_k(2))
        >>> both.value(both.measure(np.eye(3), Batch(np.zeros((3, 1)), np.array([1, 1, 1]))))
        {'accuracy': 0.3333333333333333, 'top-2 accuracy': 0.6666666666666666}
    """
    names = [metric.name for metric in metrics]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"all_of takes metrics with different names, at least one, got {names}")
    return Metric(
        ", ".join(names), partial(_measure_all, metrics), partial(_value_of_all, metrics), partial(_merge_all, metrics)
    )


def _merge_all(metrics: tuple[Metric, ...], left: tuple[Tree, ...], right: tuple[Tree, ...]) -> tuple[Tree, ...]:
    return tuple(metric.merge(*parts) for metric, *parts in zip(metrics, left, right, strict=True))


def _value_of_all(metrics: tuple[Metric, ...], state: tuple[Tree, ...]) -> dict[str, Tree]:
    return {metric.name: metric.value(part) for metric, part in zip(metrics, state, strict=True)}


def _measure_all(metrics: tuple[Metric, ...], outputs: FloatArray, batch: Batch) -> tuple[Tree, ...]:
    return tuple(metric.measure(outputs, batch) for metric in metrics)


def row_weights(batch: Batch, rows: int) -> NDArray[np.float64]:
    """Return how much each row counts.

    Args:
        batch: With weights or without.
        rows: B, rows of the outputs.

    Returns:
        (B,) float64, all 1 where the batch has no weights.

    Raises:
        ShapeError: There is not one weight for each row.

    Example:
        >>> row_weights(Batch(np.zeros((2, 1)), np.array([0, 1])), 2)
        array([1., 1.])
    """
    if batch.weights is None:
        return np.ones(rows)
    if batch.weights.shape != (rows,):
        raise ShapeError(f"the metric expected weights of shape {(rows,)}, found {batch.weights.shape}")
    return batch.weights.astype(np.float64)


def row_means(array: FloatArray | BoolArray) -> FloatArray:
    """Mean of each row: one number for each example, whether it has one output or several.

    Args:
        array: (B, ...).

    Returns:
        (B,) float64 for truth values, else of the array's dtype.

    Example:
        >>> row_means(np.array([[1.0, 2.0], [3.0, 5.0]]))
        array([1.5, 4. ])
    """
    means: FloatArray = array.reshape(len(array), math.prod(array.shape[1:])).mean(axis=1)
    return means


def labels_for(outputs: FloatArray, targets: Targets) -> IntArray:
    """Return the true class of each row of outputs.

    Args:
        outputs: (B, K) what the model says.
        targets: (B, K) or (B,).

    Returns:
        (B,) class indices in 0..K-1.

    Raises:
        ShapeError: The outputs are not (B, K), or the targets do not fit them.
        TypeError: The targets are (B,), and not whole numbers.
        ValueError: A class index is outside 0..K-1.

    Example:
        >>> labels_for(np.zeros((2, 3)), np.eye(3)[[2, 0]])
        array([2, 0])
    """
    shape = targets.shape
    if outputs.ndim != 2 or shape not in (outputs.shape, outputs.shape[:1]):
        raise ShapeError(
            f"the metric expected outputs (B, K) and targets (B, K) or (B,), found {outputs.shape} and {shape};"
            " where these are not classes, pass another metric"
        )
    if targets.ndim == 2:
        return class_indices(targets)
    return labels_in_range(cast(IntArray, whole_numbers(targets)), outputs.shape[1])


def never_of_nan(outputs: FloatArray, right: BoolArray) -> BoolArray:
    """Take back that rows are right whose outputs hold NaN: a network that diverged scores nothing.

    Args:
        outputs: (B, K) what the model says.
        right: (B,) truth values.

    Returns:
        (B,) truth values.

    Example:
        >>> never_of_nan(np.array([[np.nan, 0.0], [1.0, 0.0]]), np.array([True, True]))
        array([False,  True])
    """
    if not outputs.size or not math.isnan(np.maximum.reduce(outputs, axis=None)):  # NaN is larger than all numbers
        return right
    still: BoolArray = right & ~np.isnan(outputs).any(axis=1)
    return still


hands_out(mean_metric, measure=_mean_measure)
hands_out(mean_metric_of_targets, measure=_mean_of_targets)
hands_out(all_of, measure=_measure_all, value=_value_of_all, merge=_merge_all)
