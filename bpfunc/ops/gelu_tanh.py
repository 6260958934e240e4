"""Gaussian error linear unit, by tanh."""

from __future__ import annotations

import math

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly

ROOT = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def gelu_tanh(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gaussian error linear unit, by tanh: ``y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> gelu_tanh(np.array([-1.0, 2.0]))[0].round(4)
        array([-0.1588,  1.9546])

    Reference: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    y: FloatArray = 0.5 * x * (1 + np.tanh(_inner(x)))
    return y, readonly(x)


def gelu_tanh_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `gelu_tanh`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `gelu_tanh`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> gelu_tanh_vjp(gelu_tanh(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([-0.083 ,  1.0861])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def gelu_tanh_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `gelu_tanh`'s output; the Jacobian is diagonal, so it is `gelu_tanh_vjp` of the tangent.

    Args:
        residual: From `gelu_tanh`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> gelu_tanh_jvp(gelu_tanh(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([-0.083 ,  1.0861])
    """
    return gelu_tanh_vjp(residual, x_dot)


def gelu_tanh_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `gelu_tanh_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `gelu_tanh`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> gelu_tanh_vjp_jvp(gelu_tanh(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([ 0.2421, -0.1079])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    x = residual
    t = np.tanh(_inner(x))
    factor: FloatArray = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (ROOT * (1 + 3 * CUBIC * x * x))
    return factor


def _curvature(residual: FloatArray) -> FloatArray:
    x = residual
    t = np.tanh(_inner(x))
    first, second = ROOT * (1 + 3 * CUBIC * x * x), ROOT * 6 * CUBIC * x
    total: FloatArray = (1 - t * t) * (first + 0.5 * x * (second - 2 * t * first * first))
    return total


def _inner(x: FloatArray) -> FloatArray:
    inner: FloatArray = ROOT * (x + CUBIC * x * x * x)
    return inner
