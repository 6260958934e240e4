"""How probable the truth was held to be: proper scores on the softmax of logits."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.types import FloatArray
from bpfunc.losses import Targets, class_rows, softmax_cross_entropy
from bpfunc.metrics.base import Metric, mean_metric_of_targets
from bpfunc.ops import softmax


@recorded
def log_loss() -> Metric:
    """Mean negative log probability of the truth, in nats: ``-sum_k t_k log p_k`` with ``p`` the softmax.

    Takes logits (B, K) and applies the softmax itself, in float64; nothing is clipped.

    Returns:
        A metric whose state is a `Mean`. Its measure raises as `bpfunc.losses.softmax_cross_entropy` does.

    Example:
        >>> from bpfunc.batches.batch import Batch
        >>> metric = log_loss()
        >>> round(metric.value(metric.measure(np.zeros((1, 2)), Batch(np.zeros((1, 1)), np.array([1])))), 3)
        0.693

    Reference: Good, "Rational decisions" (1952).
    """
    return mean_metric_of_targets("log loss", _log_losses)


def _log_losses(outputs: FloatArray, targets: Targets) -> FloatArray:
    return softmax_cross_entropy(outputs.astype(np.float64), targets)[0]


@recorded
def brier() -> Metric:
    """Mean squared distance of the probabilities from the truth: ``sum_k (p_k - t_k)^2``, 0 to 2.

    Takes logits (B, K) and applies the softmax itself, in float64. Some halve it for two classes; this one does not.

    Returns:
        A metric whose state is a `Mean`. Its measure raises as `bpfunc.losses.class_rows` does.

    Example:
        >>> from bpfunc.batches.batch import Batch
        >>> metric = brier()
        >>> metric.value(metric.measure(np.zeros((1, 2)), Batch(np.zeros((1, 1)), np.array([1]))))
        0.5

    Reference: Brier, "Verification of forecasts expressed in terms of probability" (1950).
    """
    return mean_metric_of_targets("Brier score", _squared_distances)


def _squared_distances(outputs: FloatArray, targets: Targets) -> FloatArray:
    logits = outputs.astype(np.float64)
    squares: FloatArray = np.square(softmax(logits)[0] - class_rows(logits, targets)).sum(axis=1)
    return squares
