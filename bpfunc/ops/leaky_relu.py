"""Leaky rectified linear unit."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly


def leaky_relu(x: FloatArray, *, slope: float = 0.01) -> tuple[FloatArray, tuple[FloatArray, float]]:
    """Leaky rectified linear unit: ``y = x for x > 0, slope x below``, elementwise.

    Args:
        x: Array of any shape, floating.
        slope: Slope for negative inputs; the slope at 0 is this one.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> leaky_relu(np.array([-1.0, 2.0]))[0].round(4)
        array([-0.01,  2.  ])

    Reference: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).
    """
    y: FloatArray = np.where(x > 0, x, slope * x)
    return y, (readonly(x), slope)


def leaky_relu_vjp(residual: tuple[FloatArray, float], dy: FloatArray) -> FloatArray:
    """Cotangent of `leaky_relu`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `leaky_relu`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> leaky_relu_vjp(leaky_relu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.01, 1.  ])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def leaky_relu_jvp(residual: tuple[FloatArray, float], x_dot: FloatArray) -> FloatArray:
    """Tangent of `leaky_relu`'s output; the Jacobian is diagonal, so it is `leaky_relu_vjp` of the tangent.

    Args:
        residual: From `leaky_relu`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> leaky_relu_jvp(leaky_relu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.01, 1.  ])
    """
    return leaky_relu_vjp(residual, x_dot)


def leaky_relu_vjp_jvp(
    residual: tuple[FloatArray, float], x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> FloatArray:
    """Tangent of `leaky_relu_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `leaky_relu`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> leaky_relu_vjp_jvp(leaky_relu(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([0., 0.])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: tuple[FloatArray, float]) -> FloatArray:
    x, slope = residual
    factor: FloatArray = np.where(x > 0, x.dtype.type(1), x.dtype.type(slope))
    return factor


def _curvature(residual: tuple[FloatArray, float]) -> FloatArray:
    return np.zeros_like(residual[0])
