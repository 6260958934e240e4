"""Whether a model is right as often as it claims to be."""

from __future__ import annotations

import attrs
import numpy as np

from bpfunc.batches import Batch
from bpfunc.metrics.base import Metric, labels_for
from bpfunc.ops import softmax
from bpfunc.types import FloatArray, readonly_arrays


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


def expected_calibration_error(bins: int = 15) -> Metric:
    """Mean gap between confidence and accuracy: ``sum_m (w_m / w) |accuracy_m - confidence_m|``, 0 to 1.

    The confidence of an example is its largest probability. Bin ``m`` of ``M`` holds confidences in
    ``((m - 1) / M, m / M]``. Takes logits (B, K) and applies the softmax itself, in float64.

    Args:
        bins: M, at least 1.

    Returns:
        A metric whose state is a `CalibrationState`; its figure is NaN where nothing was counted. Its measure raises
        ShapeError where outputs and targets are no classes.

    Raises:
        ValueError: There is no bin.

    Example:
        >>> metric = expected_calibration_error(10)
        >>> metric.value(metric.measure(np.zeros((4, 2)), Batch(np.zeros((4, 1)), np.array([0, 0, 0, 1]))))
        0.25

    Reference: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (2015).
    """
    if bins < 1:
        raise ValueError(f"expected_calibration_error takes at least 1 bin, got {bins}")
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]

    def measure(outputs: FloatArray, batch: Batch) -> CalibrationState:
        label = labels_for(outputs, batch)
        probabilities, _ = softmax(outputs.astype(np.float64))
        confidence = probabilities.max(axis=1, initial=0.0)
        correct = outputs.argmax(axis=1) == label
        weights = np.ones(len(label)) if batch.weights is None else batch.weights.astype(np.float64)
        place = np.searchsorted(inner_edges, confidence)

        def binned(values: FloatArray) -> FloatArray:
            return np.bincount(place, values, bins).astype(np.float64, copy=False)

        return CalibrationState(
            confidence=binned(confidence * weights),
            correct=binned(correct * weights),
            weight=binned(weights),
        )

    def value(state: CalibrationState) -> float:
        total = float(state.weight.sum())
        return float(np.abs(state.correct - state.confidence).sum()) / total if total else float("nan")

    return Metric("expected calibration error", measure, value)
