"""Losses: one number for each example, beside their derivatives, in the form of `bpfunc.ops`.

All classification losses take logits. They return the losses of the examples, (B,), and leave the mean to
`bpfunc.gradient`, so that weights, microbatches and shards combine exactly. Units are nats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import numpy as np

from bpfunc.layers import ShapeError
from bpfunc.ops import softmax_jvp
from bpfunc.tree import Tree
from bpfunc.types import FloatArray, IntArray, readonly_arrays

Targets: TypeAlias = FloatArray | IntArray
"""One-hot or soft (B, K) rows, class indices (B,), or numbers to regress on."""


@attrs.frozen
class Loss:
    """A loss as a record of pure functions.

    Args:
        name: For messages.
        forward: ``(outputs, targets) -> (losses, residual)`` with ``losses`` (B,).
        vjp: ``(residual, dlosses) -> doutputs``.
        jvp: ``(residual, outputs_dot) -> losses_dot``.
        vjp_jvp: ``(residual, outputs_dot, dlosses, dlosses_dot) -> doutputs_dot``.

    Example:
        >>> loss = cross_entropy()
        >>> losses, residual = loss.forward(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
        >>> losses.round(3)
        array([0.693])
    """

    name: str
    forward: Callable[[FloatArray, Targets], tuple[FloatArray, Tree]]
    vjp: Callable[[Tree, FloatArray], FloatArray]
    jvp: Callable[[Tree, FloatArray], FloatArray]
    vjp_jvp: Callable[[Tree, FloatArray, FloatArray, FloatArray], FloatArray]


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


def class_rows(logits: FloatArray, targets: Targets) -> FloatArray:
    """Bring targets into the form of rows: class indices become one-hot, rows stay.

    Args:
        logits: (B, K); gives shape and dtype.
        targets: (B, K) rows, or (B,) class indices in 0..K-1.

    Returns:
        (B, K) of the logits' dtype.

    Raises:
        ShapeError: The logits are not (B, K), or the targets do not fit them.
        ValueError: A class index is outside 0..K-1.

    Example:
        >>> class_rows(np.zeros((2, 3)), np.array([2, 0]))
        array([[0., 0., 1.],
               [1., 0., 0.]])
    """
    if logits.ndim != 2 or targets.shape not in (logits.shape, logits.shape[:1]):
        raise ShapeError(
            f"the loss expected logits (B, K) and targets (B, K) or (B,), found {logits.shape} and {targets.shape}"
        )
    if targets.ndim == 2:
        return targets.astype(logits.dtype, copy=False)
    classes = logits.shape[1]
    if len(targets) and not 0 <= targets.min() <= targets.max() < classes:
        raise ValueError(f"class indices run from 0 to {classes - 1}, found {targets.min()} to {targets.max()}")
    rows = np.zeros(logits.shape, logits.dtype)
    rows[np.arange(len(targets)), targets] = 1
    return rows


def softmax_cross_entropy(logits: FloatArray, targets: Targets) -> tuple[FloatArray, CrossEntropyResidual]:
    """Cross-entropy of the softmax, fused: ``l = sum_k t_k (log sum_j exp(z_j) - z_k)``.

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
    rows = class_rows(logits, targets)
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    mass = rows.sum(axis=1, keepdims=True)
    losses: FloatArray = (mass * np.log(total))[:, 0] - (rows * shifted).sum(axis=1)
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
    # softmax_jvp of the tangent is the tangent of the probabilities.
    probabilities_dot = softmax_jvp(residual.probabilities, logits_dot)
    dlogits_dot: FloatArray = probabilities_dot * residual.mass * dlosses[:, None]
    dlogits_dot += softmax_cross_entropy_vjp(residual, dlosses_dot)
    return dlogits_dot


def cross_entropy(*, label_smoothing: float = 0.0) -> Loss:
    """Softmax cross-entropy on logits as a `Loss`; see `softmax_cross_entropy`.

    Args:
        label_smoothing: Part of each target row that is spread evenly over the classes, in [0, 1).

    Returns:
        A loss on (B, K) logits and (B, K) one-hot or soft targets, or (B,) class indices.

    Raises:
        ValueError: The smoothing is outside [0, 1).

    Example:
        >>> loss = cross_entropy(label_smoothing=0.5)
        >>> loss.forward(np.zeros((1, 2)), np.array([0]))[1].targets
        array([[0.75, 0.25]])

    Reference: Szegedy et al., "Rethinking the Inception architecture" (2016), for the smoothing.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label smoothing lies in [0, 1), got {label_smoothing}")

    def forward(logits: FloatArray, targets: Targets) -> tuple[FloatArray, CrossEntropyResidual]:
        rows = class_rows(logits, targets)
        if label_smoothing:
            rows = (1 - label_smoothing) * rows + label_smoothing / logits.shape[1]
        return softmax_cross_entropy(logits, rows)

    return Loss(
        "cross_entropy",
        forward,
        softmax_cross_entropy_vjp,
        softmax_cross_entropy_jvp,
        softmax_cross_entropy_vjp_jvp,
    )
