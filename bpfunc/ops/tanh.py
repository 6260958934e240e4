"""Hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray


def tanh(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Hyperbolic tangent: ``y = tanh(x)``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> tanh(np.array([-1.0, 2.0]))[0].round(4)
        array([-0.7616,  0.964 ])

    Reference: LeCun, Bottou, Orr and Mueller, "Efficient backprop" (1998).
    """
    y: FloatArray = np.tanh(x)
    return y, y


def tanh_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `tanh`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `tanh`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> tanh_vjp(tanh(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.42  , 0.0707])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def tanh_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `tanh`'s output; the Jacobian is diagonal, so it is `tanh_vjp` of the tangent.

    Args:
        residual: From `tanh`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> tanh_jvp(tanh(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.42  , 0.0707])
    """
    return tanh_vjp(residual, x_dot)


def tanh_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `tanh_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `tanh`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> tanh_vjp_jvp(tanh(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([ 0.6397, -0.1362])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    y = residual
    factor: FloatArray = 1 - y * y
    return factor


def _curvature(residual: FloatArray) -> FloatArray:
    y = residual
    second: FloatArray = -2 * y * (1 - y * y)
    return second
