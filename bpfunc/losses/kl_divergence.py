"""Kullback-Leibler divergence from a target distribution to the softmax of logits."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.types import FloatArray
from bpfunc.losses.base import Loss, Targets, class_rows
from bpfunc.losses.softmax_cross_entropy import (
    CrossEntropyResidual,
    softmax_cross_entropy,
    softmax_cross_entropy_jvp,
    softmax_cross_entropy_vjp,
    softmax_cross_entropy_vjp_jvp,
)


def kl_from_logits(outputs: FloatArray, targets: Targets) -> tuple[FloatArray, CrossEntropyResidual]:
    """Divergence of the softmax from a target distribution: ``l = sum_k t_k (log t_k - log p_k)``.

    A target of 0 adds nothing.

    Args:
        outputs: (B, K) logits, in nats.
        targets: (B, K) ``t``, rows of probabilities; or (B,) class indices.

    Returns:
        Losses (B,), in nats, and the residual.

    Raises:
        ShapeError: Outputs and targets do not fit.

    Example:
        >>> kl_from_logits(np.zeros((1, 2)), np.array([[0.5, 0.5]]))[0].round(4)
        array([0.])

    Reference: Kullback and Leibler, "On information and sufficiency" (1951).
    """
    rows = class_rows(outputs, targets)
    losses, residual = softmax_cross_entropy(outputs, rows)
    entropies = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(axis=1)
    return losses - entropies, residual


def kl_from_logits_vjp(residual: CrossEntropyResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the outputs: ``dy = l'(y) dl``.

    Args:
        residual: From `kl_from_logits`.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dy``, the outputs' shape and dtype.

    Example:
        >>> _, residual = kl_from_logits(np.zeros((1, 2)), np.array([[0.5, 0.5]]))
        >>> kl_from_logits_vjp(residual, np.ones(1)).round(4)
        array([[0., 0.]])
    """
    # The targets' entropy does not depend on the logits.
    return softmax_cross_entropy_vjp(residual, dlosses)


def kl_from_logits_jvp(residual: CrossEntropyResidual, outputs_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum l'(y) y_dot``.

    Args:
        residual: From `kl_from_logits`.
        outputs_dot: Tangent of the outputs, same shape.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> _, residual = kl_from_logits(np.zeros((1, 2)), np.array([[0.5, 0.5]]))
        >>> kl_from_logits_jvp(residual, np.array([[1.0, 0.0]])).round(4)
        array([0.])
    """
    return softmax_cross_entropy_jvp(residual, outputs_dot)


def kl_from_logits_vjp_jvp(
    residual: CrossEntropyResidual, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `kl_from_logits_vjp`: ``dy_dot = l''(y) y_dot dl + l'(y) dl_dot``.

    Args:
        residual: From `kl_from_logits`.
        outputs_dot: Tangent of the outputs, same shape.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dy_dot``, the outputs' shape and dtype.

    Example:
        >>> _, residual = kl_from_logits(np.zeros((1, 2)), np.array([[0.5, 0.5]]))
        >>> kl_from_logits_vjp_jvp(residual, np.array([[1.0, 0.0]]), np.ones(1), np.zeros(1)).round(4)
        array([[ 0.25, -0.25]])
    """
    return softmax_cross_entropy_vjp_jvp(residual, outputs_dot, dlosses, dlosses_dot)


@recorded
def kl_divergence() -> Loss:
    """Kullback-Leibler divergence as a `Loss`; see `kl_from_logits`.

    Returns:
        A loss on (B, K) logits and (B, K) rows of probabilities, or (B,) class indices.

    Example:
        >>> kl_divergence().forward(np.zeros((1, 2)), np.array([[0.5, 0.5]]))[0]
        array([0.])
    """
    return Loss("kl_divergence", kl_from_logits, kl_from_logits_vjp, kl_from_logits_jvp, kl_from_logits_vjp_jvp)
