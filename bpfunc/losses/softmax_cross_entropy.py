"""Softmax cross-entropy on logits, fused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out, one_line, recorded
from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray, readonly, readonly_arrays
from bpfunc.layers import ShapeError
from bpfunc.losses.base import Loss, Targets, check_derivative, class_rows, weighed
from bpfunc.ops import softmax_jvp


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class CrossEntropyResidual:
    """What the derivatives of `softmax_cross_entropy` need.

    Args:
        probabilities: (B, K) softmax of the logits.
        targets: (B, K) rows of weights on the classes.
        mass: (B, 1) sums of the target rows, 1 for one-hot rows.
    """

    probabilities: FloatArray
    targets: FloatArray
    mass: FloatArray

    __repr__ = one_line


def softmax_cross_entropy(logits: FloatArray, targets: Targets) -> tuple[FloatArray, CrossEntropyResidual]:
    """Cross-entropy of the softmax, fused: ``l = sum_k t_k (log sum_j exp(z_j) - z_k)``.

    A logit of -inf is a probability of 0: its class adds nothing where its target is 0; where that is above 0, the
    loss is infinite. A logit of +inf, or a row of nothing but -inf, has no softmax: the loss is NaN.

    Args:
        logits: (B, K) ``z``, in nats.
        targets: (B, K) ``t``, one-hot or soft rows; or (B,) class indices in 0..K-1.

    Returns:
        Losses (B,) in nats, and the residual.

    Raises:
        ShapeError: The logits are not (B, K), or the targets do not fit them.
        ValueError: A class index is outside 0..K-1.

    Example:
        >>> import numpy as np
        >>> softmax_cross_entropy(np.array([[0.0, 1e4]]), np.array([[1.0, 0.0]]))[0]
        array([10000.])

    Reference: Bridle (1990); Bishop, "Pattern recognition and machine learning" (2006), section 4.3.4.
    """
    return _of_rows(logits, class_rows(logits, targets))


def _of_rows(logits: FloatArray, rows: FloatArray) -> tuple[FloatArray, CrossEntropyResidual]:
    shifted = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = np.add.reduce(exponentials, axis=1, keepdims=True)
    mass = np.add.reduce(rows, axis=1, keepdims=True)
    losses: FloatArray = (mass * np.log(total))[:, 0] - np.add.reduce(weighed(rows, shifted), axis=1)
    exponentials /= total
    return losses, CrossEntropyResidual(exponentials, rows, mass)


def softmax_cross_entropy_vjp(residual: CrossEntropyResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the logits: ``dz = (p * sum_k t_k - t) dl``.

    Args:
        residual: From `softmax_cross_entropy`.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dz`` (B, K).

    Example:
        >>> import numpy as np
        >>> _, residual = softmax_cross_entropy(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
        >>> softmax_cross_entropy_vjp(residual, np.ones(1))
        array([[-0.5,  0.5]])
    """
    check_derivative("cross_entropy", residual.probabilities.shape, dlosses=(dlosses,))
    dlogits = residual.probabilities * residual.mass
    dlogits -= residual.targets
    dlogits *= dlosses[:, None]
    return dlogits


def softmax_cross_entropy_jvp(residual: CrossEntropyResidual, logits_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum_k (p_k sum_j t_j - t_k) z_dot_k``.

    Args:
        residual: From `softmax_cross_entropy`.
        logits_dot: (B, K) tangent of the logits.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> import numpy as np
        >>> _, residual = softmax_cross_entropy(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
        >>> softmax_cross_entropy_jvp(residual, np.array([[1.0, 0.0]]))
        array([-0.5])
    """
    check_derivative("cross_entropy", residual.probabilities.shape, outputs_dot=logits_dot)
    losses_dot: FloatArray = ((residual.probabilities * residual.mass - residual.targets) * logits_dot).sum(axis=1)
    return losses_dot


def softmax_cross_entropy_vjp_jvp(
    residual: CrossEntropyResidual, logits_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `softmax_cross_entropy_vjp`: the Hessian ``diag(p) - p p^T`` on the tangent, plus ``vjp`` of it.

    Args:
        residual: From `softmax_cross_entropy`.
        logits_dot: (B, K) tangent of the logits.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dz_dot`` (B, K).

    Example:
        >>> import numpy as np
        >>> _, residual = softmax_cross_entropy(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
        >>> softmax_cross_entropy_vjp_jvp(residual, np.array([[1.0, 0.0]]), np.ones(1), np.zeros(1))
        array([[ 0.25, -0.25]])
    """
    shape = residual.probabilities.shape
    check_derivative("cross_entropy", shape, outputs_dot=logits_dot, dlosses=(dlosses, dlosses_dot))
    # softmax_jvp of the tangent is the tangent of the probabilities.
    probabilities_dot = softmax_jvp(residual.probabilities, logits_dot)
    dlogits_dot: FloatArray = probabilities_dot * residual.mass * dlosses[:, None]
    dlogits_dot += softmax_cross_entropy_vjp(residual, dlosses_dot)
    return dlogits_dot


def _checked_weights(weights: FloatArray | Sequence[float]) -> FloatArray:
    checked = np.array(weights)
    if checked.ndim != 1 or checked.dtype.kind not in "fiu" or not ((checked >= 0) & (checked < np.inf)).all():
        raise ValueError(f"cross_entropy takes a vector of class_weights of at least 0, got {weights}")
    return readonly(checked)


@recorded
def cross_entropy(*, label_smoothing: float = 0.0, class_weights: FloatArray | Sequence[float] | None = None) -> Loss:
    """Softmax cross-entropy on logits as a `Loss`; see `softmax_cross_entropy`.

    Args:
        label_smoothing: Part of each target row that is spread evenly over the classes, in [0, 1).
        class_weights: (K,) what each class's part of a target counts, at least 0; the mean still divides by the number
            of rows. (torch divides by the sum of the weights.)

    Returns:
        A loss on (B, K) logits and (B, K) one-hot or soft targets, or (B,) class indices.

    Raises:
        ValueError: The smoothing is outside [0, 1), or a class weight is negative or not finite.
        ShapeError: From the loss, where outputs and targets do not fit, or there is not one weight for each class.

    Example:
        >>> loss = cross_entropy(label_smoothing=0.5)
        >>> loss.forward(np.zeros((1, 2)), np.array([0]))[1].targets
        array([[0.75, 0.25]])

    Reference: Szegedy et al., "Rethinking the Inception architecture" (2016), for the smoothing.
    """
    label_smoothing = number("cross_entropy", "label_smoothing", label_smoothing, "[0, 1)")
    weights = None if class_weights is None else _checked_weights(class_weights)
    return Loss(
        "cross_entropy",
        partial(_smoothed_and_weighted, label_smoothing, weights),
        softmax_cross_entropy_vjp,
        softmax_cross_entropy_jvp,
        softmax_cross_entropy_vjp_jvp,
    )


def _smoothed_and_weighted(
    label_smoothing: float, weights: FloatArray | None, logits: FloatArray, targets: Targets
) -> tuple[FloatArray, CrossEntropyResidual]:
    rows = class_rows(logits, targets)
    if label_smoothing:
        rows = (1 - label_smoothing) * rows + label_smoothing / logits.shape[1]
    if weights is not None:
        if weights.shape != logits.shape[1:]:
            raise ShapeError(f"cross_entropy has {len(weights)} class weights, found logits {logits.shape}")
        rows = (rows * weights).astype(logits.dtype, copy=False)
    return _of_rows(logits, rows)


hands_out(cross_entropy, forward=_smoothed_and_weighted)
