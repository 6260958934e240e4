"""Sigmoid cross-entropy on logits: binary, and for several labels at once."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.calls import hands_out, recorded
from bpfunc.arrays.types import FloatArray
from bpfunc.layers import ShapeError
from bpfunc.losses.base import Loss, Targets
from bpfunc.losses.elementwise import elementwise_loss, jvp, vjp, vjp_jvp
from bpfunc.ops.elementwise import ElementwiseResidual
from bpfunc.ops.special import logistic


@elementwise_loss(
    "sigmoid_cross_entropy",
    keeps="x",
    slope=lambda z, t: logistic(z) - t,
    curvature=lambda z, t: logistic(z) * (1 - logistic(z)),
)
def sigmoid_cross_entropy(outputs: FloatArray, targets: Targets) -> FloatArray:
    """Cross-entropy of independent sigmoids, averaged over the labels: ``l = mean_k (log(1 + exp(z_k)) - t_k z_k)``.

    Args:
        outputs: (B, K) logits ``z``, in nats.
        targets: (B, K) ``t`` in 0..1; or (B,) where the logits are (B, 1).

    Returns:
        Losses (B,), in nats, and the residual.

    Raises:
        ShapeError: Outputs and targets do not fit.

    Example:
        >>> from bpfunc.losses import sigmoid_cross_entropy_vjp
        >>> losses, residual = sigmoid_cross_entropy(np.zeros((1, 1)), np.array([1]))
        >>> losses.round(4), sigmoid_cross_entropy_vjp(residual, np.ones(1))
        (array([0.6931]), array([[-0.5]]))

    Reference: Cox, "The regression analysis of binary sequences" (1958).
    """
    # max(z, 0) - t z in one product: the difference would lose a small loss among large logits.
    size, missed = np.abs(outputs), np.where(outputs > 0, 1 - targets, targets)
    loss: FloatArray = missed * np.where((missed == 0) & (size == np.inf), 0, size) + np.log1p(np.exp(-size))
    return loss


@recorded
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
    return Loss("binary_cross_entropy", _of_one_logit, vjp, jvp, vjp_jvp, metric="binary accuracy")


def _of_one_logit(outputs: FloatArray, targets: Targets) -> tuple[FloatArray, ElementwiseResidual]:
    if outputs.ndim != 2 or outputs.shape[1] != 1:
        raise ShapeError(f"binary_cross_entropy expected logits of shape (B, 1), found {outputs.shape}")
    return sigmoid_cross_entropy(outputs, targets)


@recorded
def multilabel_cross_entropy() -> Loss:
    """Sigmoid cross-entropy of K labels, any number of which may be right, as a `Loss`; see `sigmoid_cross_entropy`.

    Returns:
        A loss on (B, K) logits and (B, K) targets in 0..1, averaged over the labels.

    Example:
        >>> multilabel_cross_entropy().forward(np.zeros((1, 2)), np.array([[1, 1]]))[0].round(3)
        array([0.693])
    """
    return Loss("multilabel_cross_entropy", sigmoid_cross_entropy, vjp, jvp, vjp_jvp, metric="binary accuracy")


hands_out(binary_cross_entropy, forward=_of_one_logit)
