"""Focal loss: cross-entropy that looks away from what is easy."""

from __future__ import annotations

from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.calls import one_line, recorded
from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray, readonly_arrays
from bpfunc.losses.base import Loss, Targets, check_derivative, class_rows, weighed
from bpfunc.ops import log_softmax, log_softmax_jvp, log_softmax_vjp, log_softmax_vjp_jvp
from bpfunc.tree import STATIC


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class FocalResidual:
    """What the derivatives of `focal_cross_entropy` need.

    Args:
        log_p: (B, K) log-probabilities.
        probabilities: (B, K).
        targets: (B, K).
        gamma: As given.
    """

    log_p: FloatArray
    probabilities: FloatArray
    targets: FloatArray
    gamma: float = attrs.field(metadata=STATIC)

    __repr__ = one_line


def _checked_gamma(function: str, gamma: float) -> float:
    words = "of 0 or at least 1"
    return number(function, "gamma", gamma, "[0, inf)" if gamma == 0 else "[1, inf)", words=words)


def focal_cross_entropy(
    outputs: FloatArray, targets: Targets, *, gamma: float = 2.0
) -> tuple[FloatArray, FocalResidual]:
    """Focal loss of the softmax: ``l = -sum_k t_k (1 - p_k)^gamma log p_k``.

    Args:
        outputs: (B, K) logits, in nats.
        targets: (B, K) ``t``, one-hot or soft rows; or (B,) class indices.
        gamma: 0 (plain cross-entropy) or at least 1.

    Returns:
        Losses (B,), in nats, and the residual.

    Raises:
        ShapeError: Outputs and targets do not fit.
        ValueError: gamma is neither 0 nor at least 1.

    Example:
        >>> focal_cross_entropy(np.zeros((1, 2)), np.array([0]))[0].round(4)
        array([0.1733])

    Reference: Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection" (2017).
    """
    gamma = _checked_gamma("focal_cross_entropy", gamma)
    rows = class_rows(outputs, targets)
    log_p, p = log_softmax(outputs)
    losses: FloatArray = -weighed(rows * (-np.expm1(log_p)) ** gamma, log_p).sum(axis=1)
    return losses, FocalResidual(log_p, p, rows, gamma)


def focal_cross_entropy_vjp(residual: FocalResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the outputs: ``dy = l'(y) dl``.

    Args:
        residual: From `focal_cross_entropy`.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dy``, the outputs' shape and dtype.

    Example:
        >>> _, residual = focal_cross_entropy(np.zeros((1, 2)), np.array([0]))
        >>> focal_cross_entropy_vjp(residual, np.ones(1)).round(4)
        array([[-0.2983,  0.2983]])
    """
    check_derivative("focal", residual.probabilities.shape, dlosses=(dlosses,))
    return log_softmax_vjp(residual.probabilities, residual.targets * _slope(residual) * dlosses[:, None])


def focal_cross_entropy_jvp(residual: FocalResidual, outputs_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum l'(y) y_dot``.

    Args:
        residual: From `focal_cross_entropy`.
        outputs_dot: Tangent of the outputs, same shape.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> _, residual = focal_cross_entropy(np.zeros((1, 2)), np.array([0]))
        >>> focal_cross_entropy_jvp(residual, np.array([[1.0, 0.0]])).round(4)
        array([-0.2983])
    """
    check_derivative("focal", residual.probabilities.shape, outputs_dot=outputs_dot)
    log_p_dot = log_softmax_jvp(residual.probabilities, outputs_dot)
    losses_dot: FloatArray = (residual.targets * _slope(residual) * log_p_dot).sum(axis=1)
    return losses_dot


def focal_cross_entropy_vjp_jvp(
    residual: FocalResidual, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `focal_cross_entropy_vjp`: ``dy_dot = l''(y) y_dot dl + l'(y) dl_dot``.

    Args:
        residual: From `focal_cross_entropy`.
        outputs_dot: Tangent of the outputs, same shape.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dy_dot``, the outputs' shape and dtype.

    Example:
        >>> _, residual = focal_cross_entropy(np.zeros((1, 2)), np.array([0]))
        >>> focal_cross_entropy_vjp_jvp(residual, np.array([[1.0, 0.0]]), np.ones(1), np.zeros(1)).round(4)
        array([[ 0.3991, -0.3991]])
    """
    p, t = residual.probabilities, residual.targets
    check_derivative("focal", p.shape, outputs_dot=outputs_dot, dlosses=(dlosses, dlosses_dot))
    log_p_dot = log_softmax_jvp(p, outputs_dot)
    dlog_p = t * _slope(residual) * dlosses[:, None]
    dlog_p_dot = t * (_curvature(residual) * log_p_dot * dlosses[:, None] + _slope(residual) * dlosses_dot[:, None])
    return log_softmax_vjp_jvp(p, outputs_dot, dlog_p, dlog_p_dot)


def _slope(residual: FocalResidual) -> FloatArray:
    """First derivative of ``-(1 - e^u)^gamma u`` in ``u = log p``."""
    gamma, u, p = residual.gamma, residual.log_p, residual.probabilities
    rest = -np.expm1(u)
    slope: FloatArray = -(rest**gamma)
    return slope + gamma * rest ** (gamma - 1) * weighed(p, u) if gamma else slope


def _curvature(residual: FocalResidual) -> FloatArray:
    """Second derivative of ``-(1 - e^u)^gamma u``."""
    gamma, u, p = residual.gamma, residual.log_p, residual.probabilities
    if gamma == 0:
        return np.zeros_like(u)
    rest = -np.expm1(u)
    pu = weighed(p, u)
    # p u / (1 - p) tends to -1 as the probability tends to 1.
    ratio = np.divide(pu, rest, out=np.full_like(u, -1), where=rest > 0)
    curvature: FloatArray = gamma * rest ** (gamma - 1) * (pu + 2 * p - (gamma - 1) * p * ratio)
    return curvature


@recorded
def focal(*, gamma: float = 2.0) -> Loss:
    """Focal loss on logits as a `Loss`; see `focal_cross_entropy`.

    Args:
        gamma: 0 (plain cross-entropy) or at least 1.

    Returns:
        A loss on (B, K) logits and (B, K) one-hot or soft targets, or (B,) class indices.

    Raises:
        ValueError: gamma is neither 0 nor at least 1 (between them the second derivative has no bound).

    Example:
        >>> focal().forward(np.zeros((1, 2)), np.array([0]))[0].round(3)
        array([0.173])
    """
    forward = partial(focal_cross_entropy, gamma=_checked_gamma("focal", gamma))
    return Loss("focal", forward, focal_cross_entropy_vjp, focal_cross_entropy_jvp, focal_cross_entropy_vjp_jvp)
