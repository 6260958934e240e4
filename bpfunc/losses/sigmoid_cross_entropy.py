"""Sigmoid cross-entropy on logits: binary, and for several labels at once."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray, readonly_arrays
from bpfunc.layers import ShapeError
from bpfunc.losses.base import Loss, Targets, paired
from bpfunc.ops.special import logistic


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class SigmoidResidual:
    """What the derivatives of `sigmoid_cross_entropy` need.

    Args:
        probabilities: (B, K) sigmoids of the logits.
        targets: (B, K).
    """

    probabilities: FloatArray
    targets: FloatArray


def sigmoid_cross_entropy(outputs: FloatArray, targets: Targets) -> tuple[FloatArray, SigmoidResidual]:
    """Cross-entropy of independent sigmoids, averaged over the labels: ``l = mean_k (log(1 + exp(z_k)) - t_k z_k)``.

    Args:
        outputs: (B, K) logits ``z``, in nats.
        targets: (B, K) ``t`` in 0..1; or (B,) where the logits are (B, 1).

    Returns:
        Losses (B,), in nats, and the residual.

    Raises:
        ShapeError: Outputs and targets do not fit.

    Example:
        >>> sigmoid_cross_entropy(np.zeros((1, 1)), np.array([1]))[0].round(4)
        array([0.6931])

    Reference: Cox, "The regression analysis of binary sequences" (1958).
    """
    rows = paired("sigmoid_cross_entropy", outputs, targets)
    softplus = np.maximum(outputs, 0) + np.log1p(np.exp(-np.abs(outputs)))
    losses: FloatArray = (softplus - rows * outputs).sum(axis=1) / max(outputs.shape[1], 1)
    return losses, SigmoidResidual(logistic(outputs), rows)


def sigmoid_cross_entropy_vjp(residual: SigmoidResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the outputs: ``dy = l'(y) dl``.

    Args:
        residual: From `sigmoid_cross_entropy`.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dy``, the outputs' shape and dtype.

    Example:
        >>> _, residual = sigmoid_cross_entropy(np.zeros((1, 1)), np.array([1]))
        >>> sigmoid_cross_entropy_vjp(residual, np.ones(1)).round(4)
        array([[-0.5]])
    """
    doutputs: FloatArray = _slope(residual) * dlosses[:, None]
    return doutputs


def sigmoid_cross_entropy_jvp(residual: SigmoidResidual, outputs_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum l'(y) y_dot``.

    Args:
        residual: From `sigmoid_cross_entropy`.
        outputs_dot: Tangent of the outputs, same shape.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> _, residual = sigmoid_cross_entropy(np.zeros((1, 1)), np.array([1]))
        >>> sigmoid_cross_entropy_jvp(residual, np.array([[1.0]])).round(4)
        array([-0.5])
    """
    losses_dot: FloatArray = (_slope(residual) * outputs_dot).sum(axis=1)
    return losses_dot


def sigmoid_cross_entropy_vjp_jvp(
    residual: SigmoidResidual, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `sigmoid_cross_entropy_vjp`: ``dy_dot = l''(y) y_dot dl + l'(y) dl_dot``.

    Args:
        residual: From `sigmoid_cross_entropy`.
        outputs_dot: Tangent of the outputs, same shape.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dy_dot``, the outputs' shape and dtype.

    Example:
        >>> _, residual = sigmoid_cross_entropy(np.zeros((1, 1)), np.array([1]))
        >>> sigmoid_cross_entropy_vjp_jvp(residual, np.array([[1.0]]), np.ones(1), np.zeros(1)).round(4)
        array([[0.25]])
    """
    p = residual.probabilities
    second = p * (1 - p) / max(p.shape[1], 1) * outputs_dot * dlosses[:, None]
    doutputs_dot: FloatArray = second + _slope(residual) * dlosses_dot[:, None]
    return doutputs_dot


def _slope(residual: SigmoidResidual) -> FloatArray:
    slope: FloatArray = (residual.probabilities - residual.targets) / max(residual.targets.shape[1], 1)
    return slope


def binary_cross_entropy() -> Loss:
    """Sigmoid cross-entropy of one logit as a `Loss`; see `sigmoid_cross_entropy`.

    Returns:
        A loss on (B, 1) logits and (B,) or (B, 1) targets in 0..1.

    Raises:
        ShapeError: From the loss, where there is more than one logit.

    Example:
        >>> binary_cross_entropy().forward(np.zeros((1, 1)), np.array([1]))[0].round(3)
        array([0.693])
    """

    def forward(outputs: FloatArray, targets: Targets) -> tuple[FloatArray, SigmoidResidual]:
        if outputs.ndim != 2 or outputs.shape[1] != 1:
            raise ShapeError(f"binary_cross_entropy expected logits of shape (B, 1), found {outputs.shape}")
        return sigmoid_cross_entropy(outputs, targets)

    return _loss("binary_cross_entropy", forward)


def multilabel_cross_entropy() -> Loss:
    """Sigmoid cross-entropy of K labels, any number of which may be right, as a `Loss`; see `sigmoid_cross_entropy`.

    Returns:
        A loss on (B, K) logits and (B, K) targets in 0..1, averaged over the labels.

    Example:
        >>> multilabel_cross_entropy().forward(np.zeros((1, 2)), np.array([[1, 1]]))[0].round(3)
        array([0.693])
    """
    return _loss("multilabel_cross_entropy", sigmoid_cross_entropy)


def _loss(name: str, forward: Callable[[FloatArray, Targets], tuple[FloatArray, SigmoidResidual]]) -> Loss:
    return Loss(name, forward, sigmoid_cross_entropy_vjp, sigmoid_cross_entropy_jvp, sigmoid_cross_entropy_vjp_jvp)
