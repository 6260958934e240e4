"""Logarithm of the softmax over the last axis."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray


def log_softmax(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logarithm of softmax: ``y_k = x_k - log sum_j exp(x_j)``, shifted by the maximum to be stable.

    Args:
        x: (..., K) logits in nats, floating.

    Returns:
        ``y`` (..., K) in nats, and the residual (the probabilities).

    Example:
        >>> log_softmax(np.array([[0.0, 0.0]]))[0].round(3)
        array([[-0.693, -0.693]])

    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    shifted = x - x.max(axis=-1, keepdims=True)
    y: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return y, np.exp(y)


def log_softmax_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `log_softmax`'s input: ``dx = dy - p sum_k dy_k``, ``p`` the probabilities.

    Args:
        residual: From `log_softmax`, (..., K).
        dy: Cotangent of the output, (..., K).

    Returns:
        ``dx`` (..., K).

    Example:
        >>> log_softmax_vjp(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        array([[ 0.5, -0.5]])
    """
    dx: FloatArray = dy - residual * dy.sum(axis=-1, keepdims=True)
    return dx


def log_softmax_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `log_softmax`'s output: ``y_dot = x_dot - sum_k p_k x_dot_k``.

    Args:
        residual: From `log_softmax`, (..., K).
        x_dot: Tangent of the input, (..., K).

    Returns:
        ``y_dot`` (..., K).

    Example:
        >>> log_softmax_jvp(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        array([[ 0.5, -0.5]])
    """
    y_dot: FloatArray = x_dot - (residual * x_dot).sum(axis=-1, keepdims=True)
    return y_dot


def log_softmax_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `log_softmax_vjp`: ``dx_dot = dy_dot - p sum_k dy_dot_k - p_dot sum_k dy_k``.

    Args:
        residual: From `log_softmax`, (..., K).
        x_dot: Tangent of the input, (..., K).
        dy: Cotangent of the output, (..., K).
        dy_dot: Tangent of ``dy``, (..., K).

    Returns:
        ``dx_dot`` (..., K).

    Example:
        >>> p, none = np.array([[0.5, 0.5]]), np.zeros((1, 2))
        >>> log_softmax_vjp_jvp(p, none, none, np.array([[1.0, 0.0]]))
        array([[ 0.5, -0.5]])
    """
    p_dot = residual * log_softmax_jvp(residual, x_dot)
    dx_dot: FloatArray = log_softmax_vjp(residual, dy_dot) - p_dot * dy.sum(axis=-1, keepdims=True)
    return dx_dot
