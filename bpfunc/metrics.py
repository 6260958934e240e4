"""Metrics that merge: each batch gives a small state, states combine, and a state gives the figure.

A `Metric` is a triple of pure functions. Merging the states of the parts of a data set gives exactly the state of
the whole, however it was cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.batches import Batch
from bpfunc.tree import Tree, tree_add
from bpfunc.types import FloatArray, IntArray, readonly_arrays

Measure: TypeAlias = Callable[[FloatArray, Batch], Tree]
"""``(outputs, batch) -> state``."""


@attrs.frozen
class Metric:
    """A figure that can be computed in parts.

    Args:
        name: For tables, such as ``accuracy``.
        measure: ``(outputs, batch) -> state``, a tree of sums.
        value: ``state -> figure``.
        merge: ``(state, state) -> state``; adds leaf by leaf unless told otherwise.

    Example:
        >>> metric = accuracy()
        >>> left = metric.measure(np.array([[0.0, 1.0]]), Batch(np.zeros((1, 1)), np.array([1])))
        >>> right = metric.measure(np.array([[0.0, 1.0]]), Batch(np.zeros((1, 1)), np.array([0])))
        >>> metric.value(metric.merge(left, right))
        0.5
    """

    name: str
    measure: Measure
    value: Callable[[Tree], float]
    merge: Callable[[Tree, Tree], Tree] = tree_add


@attrs.frozen
class Mean:
    """A weighted mean in parts; also the state of metrics that are means.

    Args:
        total: Weighted sum.
        weight: Sum of the weights.

    Example:
        >>> mean(tree_add(Mean(1.0, 2.0), Mean(2.0, 2.0)))
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


def class_indices(targets: FloatArray | IntArray) -> IntArray:
    """Bring targets into the form of class indices.

    Args:
        targets: (B, K) one-hot or soft rows, or (B,) indices.

    Returns:
        (B,) whole numbers; the largest entry of each row.

    Example:
        >>> class_indices(np.eye(3)[[2, 0]])
        array([2, 0])
    """
    return targets.argmax(axis=-1) if targets.ndim == 2 else targets.astype(np.intp, copy=False)


def accuracy() -> Metric:
    """Fraction of examples whose largest output is at the right class, weighted where the batch has weights.

    Returns:
        A metric whose state is a `Mean`.

    Example:
        >>> accuracy().measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0])))
        Mean(total=1.0, weight=2.0)
    """

    def measure(outputs: FloatArray, batch: Batch) -> Mean:
        hits = outputs.argmax(axis=-1) == class_indices(batch.targets)
        if batch.weights is None:
            return Mean(float(np.count_nonzero(hits)), float(len(hits)))
        return Mean(float(batch.weights[hits].sum()), float(batch.weights.sum()))

    return Metric("accuracy", measure, mean)


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class ConfusionState:
    """State of `confusion`.

    Args:
        counts: (K, K) int64; row = true class, column = predicted class.
    """

    counts: NDArray[np.int64]


def confusion_matrix(predicted: IntArray, label: IntArray, classes: int) -> NDArray[np.int64]:
    """Count how often each true class was taken for each class.

    Args:
        predicted: (N,) class indices in 0..K-1.
        label: (N,) true class indices in 0..K-1.
        classes: K.

    Returns:
        (K, K) int64; row = true class, column = predicted class.

    Raises:
        ValueError: Lengths differ, or an index is outside 0..K-1.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
        array([[1, 1],
               [0, 1]])
    """
    if predicted.shape != label.shape or predicted.ndim != 1:
        raise ValueError(f"expected two vectors of one length, found {predicted.shape} and {label.shape}")
    for name, indices in (("predicted", predicted), ("label", label)):
        if len(indices) and not 0 <= indices.min() <= indices.max() < classes:
            raise ValueError(f"{name} has an index outside 0..{classes - 1}")
    flat = label.astype(np.int64) * classes + predicted
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes).astype(np.int64)
