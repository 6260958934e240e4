"""Softmax over the last axis."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray


def softmax(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Softmax over the last axis: ``y_k = exp(x_k) / sum_j exp(x_j)``, shifted by the maximum to be stable.

    Args:
        x: (..., K) logits in nats, floating.

    Returns:
        ``y`` (..., K), rows sum to 1, and the residual (``y`` itself).

    Example:
        >>> import numpy as np
        >>> softmax(np.array([[0.0, 0.0]]))[0]
        array([[0.5, 0.5]])

    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    y = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return y, y


def softmax_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `softmax`'s input: ``dx = y * (dy - sum_k y_k dy_k)``.

    Args:
        residual: From `softmax`, (..., K).
        dy: Cotangent of the output, (..., K).

    Returns:
        ``dx`` (..., K).

    Example:
        >>> import numpy as np
        >>> softmax_vjp(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    y = residual
    dx: FloatArray = y * (dy - (y * dy).sum(axis=-1, keepdims=True))
    return dx


def softmax_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `softmax`'s output: the Jacobian ``diag(y) - y y^T`` is symmetric, so it is `softmax_vjp`.

    Args:
        residual: From `softmax`, (..., K).
        x_dot: Tangent of the input, (..., K).

    Returns:
        ``y_dot`` (..., K), rows sum to 0.

    Example:
        >>> import numpy as np
        >>> softmax_jvp(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    return softmax_vjp(residual, x_dot)


def softmax_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `softmax_vjp`, by the product rule on ``y * (dy - <y, dy>)``.

    Args:
        residual: From `softmax`, (..., K).
        x_dot: Tangent of the input, (..., K).
        dy: Cotangent of the output, (..., K).
        dy_dot: Tangent of ``dy``, (..., K).

    Returns:
        ``dx_dot`` (..., K).

    Example:
        >>> import numpy as np
        >>> y, zero = np.array([[0.5, 0.5]]), np.zeros((1, 2))
        >>> softmax_vjp_jvp(y, zero, zero, np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    y = residual
    y_dot = softmax_jvp(y, x_dot)
    centred = dy - (y * dy).sum(axis=-1, keepdims=True)
    dx_dot: FloatArray = y_dot * centred - y * (y_dot * dy).sum(axis=-1, keepdims=True) + softmax_vjp(y, dy_dot)
    return dx_dot
