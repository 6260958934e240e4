"""Scaled exponential linear unit."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly

ALPHA = 1.6732632423543772
SCALE = 1.0507009873554805
"""The fixed point that keeps mean 0 and variance 1, as given in the paper's appendix."""


def selu(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scaled exponential linear unit: ``y = scale x for x > 0, scale alpha (exp(x) - 1) below``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> selu(np.array([-1.0, 2.0]))[0].round(4)
        array([-1.1113,  2.1014])

    Reference: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks" (2017).
    """
    y: FloatArray = np.where(x > 0, SCALE * x, SCALE * ALPHA * np.expm1(np.minimum(x, 0)))
    return y, readonly(x)


def selu_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `selu`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `selu`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> selu_vjp(selu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.6468, 1.0507])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def selu_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `selu`'s output; the Jacobian is diagonal, so it is `selu_vjp` of the tangent.

    Args:
        residual: From `selu`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> selu_jvp(selu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.6468, 1.0507])
    """
    return selu_vjp(residual, x_dot)


def selu_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `selu_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `selu`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> selu_vjp_jvp(selu(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([0.6468, 0.    ])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    x = residual
    factor: FloatArray = np.where(x > 0, SCALE, SCALE * ALPHA * np.exp(np.minimum(x, 0)))
    return factor


def _curvature(residual: FloatArray) -> FloatArray:
    x = residual
    second: FloatArray = np.where(x > 0, 0.0, SCALE * ALPHA * np.exp(np.minimum(x, 0)))
    return second
