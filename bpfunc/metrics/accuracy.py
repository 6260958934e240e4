"""Right or wrong: the fraction of examples whose class was found."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import BoolArray, FloatArray
from bpfunc.batches.batch import Batch
from bpfunc.layers import ShapeError
from bpfunc.metrics.base import Metric, labels_for, mean_metric, row_means


def accuracy() -> Metric:
    """Fraction of examples whose largest output is at the right class, weighted where the batch has weights.

    The first of several largest outputs counts. Takes logits or probabilities (B, K).

    Returns:
        A metric whose state is a `Mean`. Its measure raises ShapeError where outputs and targets are no classes.

    Example:
        >>> accuracy().measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 0])))
        Mean(total=1.0, weight=2.0)
    """

    def hits(outputs: FloatArray, batch: Batch) -> BoolArray:
        label = labels_for(outputs, batch)
        found: BoolArray = outputs.argmax(axis=1) == label
        return found

    return mean_metric("accuracy", hits)


def top_k(k: int) -> Metric:
    """Fraction of examples whose class is among the ``k`` largest outputs; `accuracy` for ``k = 1``.

    Of equal outputs the first counts as the larger. Takes logits or probabilities (B, K).

    Args:
        k: At least 1.

    Returns:
        A metric whose state is a `Mean`. Its measure raises ShapeError where outputs and targets are no classes, and
        ValueError where a class index is outside 0..K-1.

    Raises:
        ValueError: ``k`` is below 1.

    Example:
        >>> outputs = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
        >>> top_k(2).measure(outputs, Batch(np.zeros((2, 1)), np.array([1, 2])))
        Mean(total=1.0, weight=2.0)
    """
    if k < 1:
        raise ValueError(f"top_k takes a k of at least 1, got {k}")

    def hits(outputs: FloatArray, batch: Batch) -> BoolArray:
        label, classes = labels_for(outputs, batch)[:, None], outputs.shape[1]
        if len(label) and not 0 <= label.min() <= label.max() < classes:
            raise ValueError(f"class indices run from 0 to {classes - 1}, found {label.min()} to {label.max()}")
        own = np.take_along_axis(outputs, label, axis=1)
        # Said with "not", so that an output that is no number ranks before the right one, and diverging is no hit.
        ahead = ~np.where(np.arange(classes) < label, outputs < own, outputs <= own)
        found: BoolArray = np.count_nonzero(ahead, axis=1) < k
        return found

    return mean_metric(f"top-{k} accuracy", hits)


def binary_accuracy(*, threshold: float = 0.0) -> Metric:
    """Fraction of yes-or-no answers that are right: ``(z > threshold) == (t > 1/2)``, one or several an example.

    Takes logits, whose probability 1/2 is at 0; for probabilities put the threshold at 0.5.

    Args:
        threshold: Outputs above it say yes.

    Returns:
        A metric on outputs and targets of one shape, (B,) or (B, H), whose state is a `Mean`.

    Raises:
        ShapeError: From the metric's measure, where the shapes differ.

    Example:
        >>> binary_accuracy().measure(np.array([-1.0, 2.0]), Batch(np.zeros((2, 1)), np.array([0, 0])))
        Mean(total=1.0, weight=2.0)
    """

    def fractions(outputs: FloatArray, batch: Batch) -> FloatArray:
        if outputs.shape != batch.targets.shape or outputs.ndim not in (1, 2):
            raise ShapeError(
                "binary_accuracy expected outputs and targets of one shape, (B,) or (B, H),"
                f" found {outputs.shape} and {batch.targets.shape}"
            )
        right = (outputs > threshold) == (batch.targets > 0.5)
        return row_means(right)

    return mean_metric("binary accuracy", fractions)
