"""Whether a model is right as often as it claims to be, and the one number that corrects it best."""

from __future__ import annotations

from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out, one_line, recorded
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.batches.batch import Batch
from bpfunc.metrics.base import Metric, labels_for, never_of_nan, row_weights
from bpfunc.ops import softmax

_NOTHING = 1e-12
"""Of logits at most 1: what rounding alone may leave of a mean that is 0, as where a network says the same of all."""
_STEPS = 200
"""Far above the about 10 that Newton's method takes, and the about 60 of bisection alone."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class CalibrationState:
    """State of `expected_calibration_error`: weighted sums over the examples of each bin, (bins,) float64.

    Args:
        confidence: Sum of the largest probabilities.
        correct: Weight of the examples that were right.
        weight: Weight of all examples.
    """

    confidence: FloatArray
    correct: FloatArray
    weight: FloatArray

    __repr__ = one_line


@recorded
def expected_calibration_error(bins: int = 15) -> Metric:
    """Mean gap between confidence and accuracy: ``sum_m (w_m / w) |accuracy_m - confidence_m|``, 0 to 1.

    The confidence of an example is its largest probability. Bin ``m`` of ``M`` holds confidences in
    ``((m - 1) / M, m / M]``. Takes logits (B, K) and applies the softmax itself, in float64.

    Args:
        bins: M, at least 1.

    Returns:
        A metric whose state is a `CalibrationState`; its figure is NaN where nothing was counted. Its measure raises
        ShapeError where outputs and targets are not classes.

    Raises:
        ValueError: There is no bin.

    Example:
        >>> metric = expected_calibration_error(10)
        >>> metric.value(metric.measure(np.zeros((4, 2)), Batch(np.zeros((4, 1)), np.array([0, 0, 0, 1]))))
        0.25

    Reference: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (2015).
    """
    bins = whole("expected_calibration_error", "bins", bins, "[1, inf)")
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    return Metric("expected calibration error", partial(_binned, bins, inner_edges), _gap)


def _gap(state: CalibrationState) -> float:
    total = float(state.weight.sum())
    return float(np.abs(state.correct - state.confidence).sum()) / total if total else float("nan")


def _binned(bins: int, inner_edges: FloatArray, outputs: FloatArray, batch: Batch) -> CalibrationState:
    label = labels_for(outputs, batch.targets)
    probabilities, _ = softmax(outputs.astype(np.float64))
    confidence = probabilities.max(axis=1, initial=0.0)
    correct = never_of_nan(outputs, outputs.argmax(axis=1) == label)
    weights = row_weights(batch, len(label))
    place = np.searchsorted(inner_edges, confidence)

    def binned(values: FloatArray) -> FloatArray:
        return np.bincount(place, values, bins).astype(np.float64, copy=False)

    return CalibrationState(
        confidence=binned(confidence * weights),
        correct=binned(correct * weights),
        weight=binned(weights),
    )


def fit_temperature(logits: FloatArray, labels: IntArray) -> float:
    """Find the temperature that makes the probabilities ``softmax(logits / T)`` most likely: ``argmin_T`` mean loss.

    In ``1 / T`` the mean cross-entropy is convex, and its slope is ``mean_b(E_p[z_b] - z_b[label])``: Newton's method
    finds the root, and a bisection takes over wherever a Newton step would leave the bracket. One number for all rows
    changes no decision, only how sure they are. Fit it on rows that the model did not learn from.

    Args:
        logits: (B, K) finite, B at least 1, K at least 2.
        labels: (B,) whole numbers, the class of each row, 0 to K - 1.

    Returns:
        T; above 1 where the model was too sure, below 1 where it was not sure enough. At the two ends, where no
        temperature is best: 0 where every row is right, so that ever smaller ones are better, and infinity where the
        logits say no more than chance, so that ever larger ones are.

    Raises:
        ValueError: The shapes do not fit, a label is not a class, or a logit is not finite.

    Example:
        >>> logits = np.log([[0.99, 0.01], [0.99, 0.01], [0.99, 0.01], [0.99, 0.01]])
        >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 4)
        4.1827

    Reference: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017).
    """
    z, label = _checked_logits(logits, labels)
    exponent = int(np.frexp(np.abs(z).max())[1])
    z = np.ldexp(z, -exponent)  # to numbers of at most 1, whose differences do not overflow
    z = z - z[np.arange(len(z)), label][:, None]
    scale = float(np.abs(z).max()) or 1.0
    z = z / scale
    if z.mean() > -_NOTHING:
        return np.inf
    if z.max(axis=1).mean() <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while _slope(z, high)[0] < 0:
        low, high = high, 2 * high
    inverse = high
    for _ in range(_STEPS):
        slope, curvature = _slope(z, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        newton = inverse - slope / curvature if curvature > 0 else low
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    with np.errstate(over="ignore", under="ignore"):  # what is beyond the largest number is infinite
        return float(np.ldexp(scale / inverse, exponent))


def _slope(z: FloatArray, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean loss in ``1 / T``, where the labels' logits are 0."""
    p, _ = softmax(inverse * z)
    mean = (p * z).sum(axis=1)
    return float(mean.mean()), float(((p * z * z).sum(axis=1) - mean**2).mean())


def _checked_logits(logits: FloatArray, labels: IntArray) -> tuple[FloatArray, IntArray]:
    if logits.ndim != 2 or not len(logits) or logits.shape[1] < 2 or labels.shape != (len(logits),):
        raise ValueError(f"expected logits (B, K) and labels (B,), found {logits.shape} and {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"expected labels that are whole numbers from 0 to {logits.shape[1] - 1}")
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits")
    return logits.astype(np.float64), labels


hands_out(expected_calibration_error, measure=_binned, value=_gap)
