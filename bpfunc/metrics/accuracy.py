"""Right or wrong: the fraction of examples whose class was found."""

from __future__ import annotations

from functools import partial

import numpy as np

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.ranges import FINITE, number, whole
from bpfunc.arrays.types import BoolArray, FloatArray
from bpfunc.layers import ShapeError
from bpfunc.losses.base import Targets, paired
from bpfunc.metrics.base import Metric, labels_for, mean_metric_of_targets, never_of_nan, row_means


@recorded
def accuracy() -> Metric:
    """Fraction of examples whose largest output is at the right class, weighted where the batch has weights.

    The first of several largest outputs counts; a row with NaN is never right. Takes logits or probabilities (B, K).

    Returns:
        A metric whose state is a `Mean`. Its measure raises ShapeError where outputs and targets are not classes, and
        ValueError where a class index is outside 0..K-1.

    Raises:
        ShapeError: From the metric's measure.

    Example:
        >>> from bpfunc.batches.batch import Batch
        >>> accuracy().measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0])))
        Mean(total=1.0, weight=2.0)
    """
    return mean_metric_of_targets("accuracy", _hits)


def _hits(outputs: FloatArray, targets: Targets) -> BoolArray:
    label = labels_for(outputs, targets)
    if outputs.shape[1] == 1 and not np.isin(targets, (0, 1)).all():
        raise ShapeError(
            "accuracy expected an output for each class, found a single one and targets that are numbers;"
            " pass another metric, such as mean_squared_error()"
        )
    return never_of_nan(outputs, outputs.argmax(axis=1) == label)


@recorded
def top_k(k: int) -> Metric:
    """Fraction of examples whose class is among the ``k`` largest outputs; `accuracy` for ``k = 1``.

    Of equal outputs the first counts as the larger; a row with NaN is never right. Takes logits or probabilities
    (B, K).

    Args:
        k: At least 1.

    Returns:
        A metric whose state is a `Mean`. Its measure raises ShapeError where outputs and targets are not classes, and
        ValueError where a class index is outside 0..K-1.

    Raises:
        ValueError: ``k`` is below 1.

    Example:
        >>> from bpfunc.batches.batch import Batch
        >>> outputs = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
        >>> top_k(2).measure(outputs, Batch(np.zeros((2, 1)), np.array([1, 2])))
        Mean(total=1.0, weight=2.0)
    """
    k = whole("top_k", "k", k, "[1, inf)")
    return mean_metric_of_targets(f"top-{k} accuracy", partial(_hits_among, k))


def _hits_among(k: int, outputs: FloatArray, targets: Targets) -> BoolArray:
    label = labels_for(outputs, targets)[:, None]
    own = np.take_along_axis(outputs, label, axis=1)
    ahead = np.where(np.arange(outputs.shape[1]) < label, outputs >= own, outputs > own)
    return never_of_nan(outputs, np.count_nonzero(ahead, axis=1) < k)


@recorded
def binary_accuracy(*, threshold: float = 0.0) -> Metric:
    """Fraction of yes-or-no answers that are right: ``(z > threshold) == (t > 1/2)``, one or several an example.

    Takes logits, whose probability 1/2 is at 0; for probabilities put the threshold at 0.5. NaN is never right.

    Args:
        threshold: Outputs above it say yes; finite.

    Returns:
        A metric on outputs and targets of one shape, or (B, 1) and (B,), whose state is a `Mean`.

    Raises:
        ShapeError: From the metric's measure, where the shapes do not fit.
        ValueError: The threshold is not a finite number.

    Example:
        >>> from bpfunc.batches.batch import Batch
        >>> binary_accuracy().measure(np.array([-1.0, 2.0]), Batch(np.zeros((2, 1)), np.array([0, 0])))
        Mean(total=1.0, weight=2.0)
    """
    threshold = number("binary_accuracy", "threshold", threshold, FINITE)
    return mean_metric_of_targets("binary accuracy", partial(_right_answers, threshold))


def _right_answers(threshold: float, outputs: FloatArray, targets: Targets) -> FloatArray:
    paired_targets = paired("binary_accuracy", outputs, targets)
    return row_means(((outputs > threshold) == (paired_targets > 0.5)) & ~np.isnan(outputs))
