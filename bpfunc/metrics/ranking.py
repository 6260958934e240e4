"""Whether a class's own rows are ranked before the others: the area under the ROC curve, exact."""

from __future__ import annotations

from functools import partial
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.calls import hands_out, one_line, recorded
from bpfunc.arrays.types import BoolArray, FloatArray, IntArray, readonly_arrays
from bpfunc.batches.batch import Batch
from bpfunc.layers import ShapeError
from bpfunc.metrics.base import Metric, labels_for, row_weights
from bpfunc.ops import softmax


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class RankingState:
    """State of `roc_auc`: the rows themselves, since no smaller state is exact.

    Args:
        scores: (N, K) float64 probabilities.
        label: (N,) true class indices.
        weights: (N,) float64, at least 0.
    """

    scores: FloatArray
    label: IntArray
    weights: FloatArray

    __repr__ = one_line


def area_under_roc(scores: FloatArray, positive: BoolArray, *, weights: FloatArray | None = None) -> float:
    """Probability that a positive row scores higher than a negative one, where a tie counts half.

    ``sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / sum_ij w_i w_j`` over positive ``i`` and negative ``j``, which
    is the area under the ROC curve.

    Args:
        scores: (N,) higher for what is held to be positive.
        positive: (N,) truth values, or the numbers 0 and 1.
        weights: (N,) finite, at least 0; None where all count the same.

    Returns:
        0 to 1; NaN where there is no positive or no negative row, or where the score of a row that counts is NaN.

    Raises:
        ValueError: The vectors differ in length, ``positive`` holds other numbers, or a weight is out of range.

    Example:
        >>> area_under_roc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
        0.875

    Reference: Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982).
    """
    if positive.dtype != np.bool_ and not np.isin(positive, (0, 1)).all():
        raise ValueError("area_under_roc takes a positive of truth values, or of the numbers 0 and 1")
    positive = positive.astype(np.bool_)  # the complement of the numbers 0 and 1 would be -1 and -2
    counted: FloatArray = np.ones(len(scores)) if weights is None else weights.astype(np.float64)
    if not scores.shape == positive.shape == counted.shape == (len(scores),):
        raise ValueError(
            f"expected vectors of one length, found scores {scores.shape}, positive {positive.shape},"
            f" weights {counted.shape}"
        )
    if np.isnan(scores[counted != 0]).any():
        return float("nan")
    counted = _near_one(counted)
    distinct, place = np.unique(scores, return_inverse=True)
    positives = np.bincount(place, counted * positive, len(distinct))
    negatives = np.bincount(place, counted * ~positive, len(distinct))
    pairs = float(positives.sum() * negatives.sum())
    below = np.cumsum(negatives) - negatives
    return float(positives @ (below + negatives / 2)) / pairs if pairs else float("nan")


def _near_one(weights: FloatArray) -> FloatArray:
    """Weights in the same proportions, the largest from 1/2 to 1, so that no sum or product of them overflows."""
    largest = weights.max(initial=0.0)
    if not (np.isfinite(largest) and weights.min(initial=0.0) >= 0):
        raise ValueError("the area under the ROC curve takes finite weights of at least 0")
    near: FloatArray = np.ldexp(weights, -int(np.frexp(largest)[1]))
    return near


@recorded
def roc_auc(*, average: Literal["macro", "weighted", "none"] = "macro") -> Metric:
    """Area under the ROC curve of each class against the rest; see `area_under_roc`.

    Takes logits (B, K) and applies the softmax itself, in float64: a class's score is its probability. The state
    grows with the rows that it has seen.

    Args:
        average: ``macro``: the plain mean over classes; ``weighted``: by the weight of their rows; ``none``: (K,)
            figures, one for each class.

    Returns:
        A metric whose state is a `RankingState`. A class without rows, or without others, has no curve: its figure is
        NaN, and the averages leave it out; they are NaN where no class has a curve. All are NaN where a row that
        counts has NaN outputs. Its measure raises ShapeError where outputs and targets are not classes.

    Raises:
        ValueError: The kind of average is unknown; from the metric's value, a weight is out of range.
        ShapeError: From the metric's merge, where two states have different classes.

    Example:
        >>> metric = roc_auc()
        >>> metric.value(metric.measure(np.eye(2), Batch(np.zeros((2, 1)), np.array([0, 1]))))
        1.0

    Reference: Fawcett, "An introduction to ROC analysis" (2006), section 9.
    """
    if average not in ("macro", "weighted", "none"):
        raise ValueError(f"the average is macro, weighted or none, got {average!r}")
    return Metric(f"{average} ROC AUC" if average != "none" else "ROC AUC", _ranked, partial(_areas, average), _both)


def _both(left: RankingState, right: RankingState) -> RankingState:
    if left.scores.shape[1] != right.scores.shape[1]:
        raise ShapeError(f"roc_auc merges scores (B, K) of one K, found {left.scores.shape} and {right.scores.shape}")
    return RankingState(
        np.concatenate([left.scores, right.scores]),
        np.concatenate([left.label, right.label]),
        np.concatenate([left.weights, right.weights]),
    )


def _areas(average: Literal["macro", "weighted", "none"], state: RankingState) -> float | NDArray[np.float64]:
    own = state.label[:, None] == np.arange(state.scores.shape[1])
    areas = np.array([area_under_roc(s, o, weights=state.weights) for s, o in zip(state.scores.T, own.T, strict=True)])
    if average == "none":
        return areas
    weights = np.where(np.isnan(areas), 0.0, 1.0 if average == "macro" else _near_one(state.weights) @ own)
    total = float(weights.sum())
    return float(np.nan_to_num(areas) @ weights) / total if total else float("nan")


def _ranked(outputs: FloatArray, batch: Batch) -> RankingState:
    label = labels_for(outputs, batch.targets)
    weights = row_weights(batch, len(label))
    return RankingState(softmax(outputs.astype(np.float64))[0], label.copy(), weights)


hands_out(roc_auc, measure=_ranked, value=_areas, merge=_both)
