"""Which class was taken for which: the confusion matrix, and the figures that are functions of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.calls import hands_out, one_line, recorded
from bpfunc.arrays.numbers import plain_numbers
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.batches.batch import Batch
from bpfunc.metrics.base import Metric, labels_for, never_of_nan

Averaging: TypeAlias = Literal["macro", "micro", "weighted"]
"""``macro``: all classes count the same; ``weighted``: by their rows; ``micro``: all rows as one problem."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class ConfusionState:
    """State of `confusion`.

    Args:
        counts: (K, K) int64; row = true class, column = predicted class.
    """

    counts: NDArray[np.int64]

    __repr__ = one_line


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class ClassFigures:
    """How well each class was found, each figure (K,) float64 in 0..1.

    Args:
        precision: Of the rows taken for the class, the fraction that are of it.
        recall: Of the rows of the class, the fraction that was found.
        f1: Harmonic mean of the two.
        support: (K,) int64, number of rows of the class.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]

    __repr__ = one_line


@attrs.frozen
class Averages:
    """The figures of `ClassFigures` averaged over the classes, in 0..1.

    Args:
        precision: Mean precision.
        recall: Mean recall.
        f1: Mean of the classes' F1.
    """

    precision: float
    recall: float
    f1: float


def confusion_matrix(predicted: IntArray, label: IntArray, classes: int) -> NDArray[np.int64]:
    """Count how often each true class was taken for each class.

    Args:
        predicted: (N,) class indices in 0..K-1.
        label: (N,) true class indices in 0..K-1.
        classes: K.

    Returns:
        (K, K) int64; row = true class, column = predicted class.

    Raises:
        TypeError: The indices are not whole numbers.
        ValueError: Lengths differ, or an index is outside 0..K-1.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
        array([[1, 1],
               [0, 1]])
    """
    if predicted.shape != label.shape or predicted.ndim != 1:
        raise ValueError(f"expected two vectors of one length, found {predicted.shape} and {label.shape}")
    for name, indices in (("predicted", predicted), ("label", label)):
        plain_numbers(name, indices)
        if indices.dtype.kind not in "iu":
            raise TypeError(f"{name} has {indices.dtype}, expected whole numbers: class indices")
        if len(indices) and not 0 <= indices.min() <= indices.max() < classes:
            raise ValueError(f"{name} has an index outside 0..{classes - 1}")
    flat = label.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def class_figures(counts: IntArray | FloatArray) -> ClassFigures:
    """Precision, recall and F1 of each class, with ``c`` the counts.

    ``precision_k = c_kk / sum_i c_ik``; ``recall_k = c_kk / sum_j c_kj``;
    ``f1_k = 2 c_kk / (sum_i c_ik + sum_j c_kj)``.

    Args:
        counts: (K, K), or their means over runs; row = true class, column = predicted class.

    Returns:
        The figures; 0 where the denominator is 0.

    Raises:
        ValueError: The counts are not square.

    Example:
        >>> class_figures(np.array([[1, 1], [0, 1]])).precision
        array([1. , 0.5])

    Reference: van Rijsbergen, "Information retrieval" (1979).
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"a confusion matrix is (K, K), found {counts.shape}")
    hits, taken, support = np.diagonal(counts), counts.sum(axis=0), counts.sum(axis=1)
    return ClassFigures(
        precision=_ratio(hits, taken),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, taken + support),
        support=support.astype(np.int64),
    )


def averages(counts: IntArray, average: Averaging = "macro") -> Averages:
    """Average precision, recall and F1 over the classes.

    Args:
        counts: (K, K); row = true class, column = predicted class.
        average: ``macro``: the plain mean; ``weighted``: by the classes' rows; ``micro``: all rows as one problem,
            where each of the three is the accuracy.

    Returns:
        The averages; 0 where there is no row.

    Raises:
        ValueError: The counts are not square, or the kind of average is unknown.

    Example:
        >>> averages(np.array([[1, 1], [0, 1]])).precision
        0.75
        >>> averages(np.array([[1, 1], [0, 1]]), "micro").f1.__round__(3)
        0.667

    Reference: Sokolova and Lapalme, "A systematic analysis of performance measures for classification tasks" (2009).
    """
    figures = class_figures(counts)
    if _known(average) == "micro":
        rate = float(_ratio(np.trace(counts), counts.sum()))
        return Averages(rate, rate, rate)
    weights = np.ones_like(figures.support) if average == "macro" else figures.support
    total = weights.sum()
    return Averages(*(float(_ratio(each @ weights, total)) for each in (figures.precision, figures.recall, figures.f1)))


def _known(average: Averaging) -> Averaging:
    if average not in ("macro", "micro", "weighted"):
        raise ValueError(f"the average is macro, micro or weighted, got {average!r}")
    return average


def _ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> NDArray[np.float64]:
    """Divide; 0 where ``whole`` is 0."""
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.greater(whole, 0))
    return ratio


@recorded
def confusion(classes: int) -> Metric:
    """Count how often each true class was taken for each class; `accuracy`'s rule says which was taken.

    Takes logits or probabilities (B, K). Counts rows: the batch's weights are not used. A row with NaN is never right:
    it counts as taken for the class after its own.

    Args:
        classes: K, at least 1.

    Returns:
        A metric whose state is a `ConfusionState` and whose figure is its (K, K) counts. Its measure raises
        ShapeError where outputs and targets are not classes, and ValueError where a class is outside 0..K-1.

    Raises:
        ValueError: There is no class.

    Example:
        >>> metric = confusion(2)
        >>> metric.value(metric.measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0]))))
        array([[1, 1],
               [0, 0]])
    """
    return _of_counts("confusion", "confusion", classes, _unchanged)


@recorded
def precision(classes: int, *, average: Averaging = "macro") -> Metric:
    """Precision over the classes; see `averages`. For each class by itself, see `class_figures`.

    Args:
        classes: K, at least 1.
        average: How to average over the classes.

    Returns:
        A metric whose state is a `ConfusionState`.

    Raises:
        ValueError: There is no class, or the kind of average is unknown.

    Example:
        >>> metric = precision(2)
        >>> metric.value(metric.measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0]))))
        0.5
    """
    return _of_counts("precision", f"{_known(average)} precision", classes, partial(_averaged, "precision", average))


@recorded
def recall(classes: int, *, average: Averaging = "macro") -> Metric:
    """Recall over the classes; see `averages`. For each class by itself, see `class_figures`.

    Args:
        classes: K, at least 1.
        average: How to average over the classes.

    Returns:
        A metric whose state is a `ConfusionState`.

    Raises:
        ValueError: There is no class, or the kind of average is unknown.

    Example:
        >>> metric = recall(2, average="weighted")
        >>> metric.value(metric.measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0]))))
        0.5
    """
    return _of_counts("recall", f"{_known(average)} recall", classes, partial(_averaged, "recall", average))


@recorded
def f1(classes: int, *, average: Averaging = "macro") -> Metric:
    """F1 over the classes; see `averages`. For each class by itself, see `class_figures`.

    Args:
        classes: K, at least 1.
        average: How to average over the classes.

    Returns:
        A metric whose state is a `ConfusionState`.

    Raises:
        ValueError: There is no class, or the kind of average is unknown.

    Example:
        >>> metric = f1(2, average="micro")
        >>> metric.value(metric.measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0]))))
        0.5
    """
    return _of_counts("f1", f"{_known(average)} F1", classes, partial(_averaged, "f1", average))


def _unchanged(counts: IntArray) -> IntArray:
    return counts


def _averaged(name: Literal["precision", "recall", "f1"], average: Averaging, counts: IntArray) -> float:
    found = averages(counts, average)
    return {"precision": found.precision, "recall": found.recall, "f1": found.f1}[name]


def _of_counts(function: str, name: str, classes: int, figure: Callable[[IntArray], float | IntArray]) -> Metric:
    classes = whole(function, "classes", classes, "[1, inf)")
    return Metric(name, partial(_counted, classes), partial(_figure_of_counts, figure))


def _figure_of_counts(figure: Callable[[IntArray], float | IntArray], state: ConfusionState) -> float | IntArray:
    return figure(state.counts)


def _counted(classes: int, outputs: FloatArray, batch: Batch) -> ConfusionState:
    label = labels_for(outputs, batch.targets)
    taken = outputs.argmax(axis=1)
    unknown = ~never_of_nan(outputs, np.ones(len(taken), np.bool_))
    taken[unknown] = (label[unknown] + 1) % outputs.shape[1]
    return ConfusionState(confusion_matrix(taken, label, classes))


hands_out(confusion, measure=_counted, value=_figure_of_counts)
