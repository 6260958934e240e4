"""Softmax and its logarithm, over the last axis."""

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly


def softmax(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Softmax over the last axis: ``y_k = exp(x_k) / sum_j exp(x_j)``, shifted by the maximum to be stable.

    Args:
        x: (..., K) logits in nats, floating. If one of a row is infinite, its ``y`` is 1.

    Returns:
        ``y`` (..., K), read-only, rows sum to 1; and the residual (``y`` itself).

    Example:
        >>> softmax(np.array([[0.0, 0.0]]))[0]
        array([[0.5, 0.5]])

    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    y = np.exp(_shifted(x))
    y /= _row_sums(y)
    y = readonly(y)
    return y, y


def softmax_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `softmax`'s input: ``dx = y * (dy - sum_k y_k dy_k)``.

    Args:
        residual: From `softmax`, (..., K).
        dy: Cotangent of the output, (..., K).

    Returns:
        ``dx`` (..., K).

    Example:
        >>> softmax_vjp(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    return residual * (dy - _row_sums(residual * dy))


def softmax_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `softmax`'s output: the Jacobian ``diag(y) - y y^T`` is symmetric, so it is `softmax_vjp`.

    Args:
        residual: From `softmax`, (..., K).
        x_dot: Tangent of the input, (..., K).

    Returns:
        ``y_dot`` (..., K), rows sum to 0.

    Example:
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
        >>> y, zero = np.array([[0.5, 0.5]]), np.zeros((1, 2))
        >>> softmax_vjp_jvp(y, zero, zero, np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    y, y_dot = residual, softmax_jvp(residual, x_dot)
    return y_dot * (dy - _row_sums(y * dy)) - y * _row_sums(y_dot * dy) + softmax_vjp(y, dy_dot)


def log_softmax(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logarithm of softmax: ``y_k = x_k - log sum_j exp(x_j)``, shifted by the maximum to be stable.

    Args:
        x: (..., K) logits in nats, floating. If one of a row is infinite, its ``y`` is 0.

    Returns:
        ``y`` (..., K) in nats, and the residual (the probabilities).

    Example:
        >>> log_softmax(np.array([[0.0, 0.0]]))[0].round(3)
        array([[-0.693, -0.693]])

    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    shifted = _shifted(x)
    y = shifted - np.log(_row_sums(np.exp(shifted)))
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
    return dy - residual * _row_sums(dy)


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
    return x_dot - _row_sums(residual * x_dot)


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
    return log_softmax_vjp(residual, dy_dot) - p_dot * _row_sums(dy)


def _shifted(x: FloatArray) -> FloatArray:
    """Subtract the maximum of each row. As one number grows to infinity, the others tend to -infinity."""
    top: FloatArray = x.max(axis=-1, keepdims=True)
    if (top == np.inf).any():
        alone = np.sum(x == np.inf, axis=-1, keepdims=True) == 1
        x = np.where(alone, np.where(x == np.inf, x.dtype.type(0), x.dtype.type(-np.inf)), x)
        top = np.where(alone, x.dtype.type(0), top)
    with np.errstate(over="ignore"):  # a difference of -infinity is right for exp
        return x - top


def _row_sums(values: FloatArray) -> FloatArray:
    sums: FloatArray = values.sum(axis=-1, keepdims=True)
    return sums
