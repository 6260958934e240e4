"""Softplus."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.ops.special import logistic


def softplus(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Softplus: ``y = log(1 + exp(x))``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> softplus(np.array([-1.0, 2.0]))[0].round(4)
        array([0.3133, 2.1269])

    Reference: Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating second-order functional knowledge" (2001).
    """
    y: FloatArray = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return y, readonly(x)


def softplus_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `softplus`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `softplus`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> softplus_vjp(softplus(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.2689, 0.8808])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def softplus_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `softplus`'s output; the Jacobian is diagonal, so it is `softplus_vjp` of the tangent.

    Args:
        residual: From `softplus`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> softplus_jvp(softplus(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.2689, 0.8808])
    """
    return softplus_vjp(residual, x_dot)


def softplus_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `softplus_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `softplus`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> softplus_vjp_jvp(softplus(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([0.1966, 0.105 ])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    x = residual
    return logistic(x)


def _curvature(residual: FloatArray) -> FloatArray:
    x = residual
    s = logistic(x)
    second: FloatArray = s * (1 - s)
    return second
