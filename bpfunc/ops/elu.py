"""Exponential linear unit."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly


def elu(x: FloatArray, *, alpha: float = 1.0) -> tuple[FloatArray, tuple[FloatArray, float]]:
    """Exponential linear unit: ``y = x for x > 0, alpha (exp(x) - 1) below``, elementwise.

    Args:
        x: Array of any shape, floating.
        alpha: What ``-y`` tends to for very negative inputs.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> elu(np.array([-1.0, 2.0]))[0].round(4)
        array([-0.6321,  2.    ])

    Reference: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning" (2016).
    """
    y: FloatArray = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    return y, (readonly(x), alpha)


def elu_vjp(residual: tuple[FloatArray, float], dy: FloatArray) -> FloatArray:
    """Cotangent of `elu`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `elu`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> elu_vjp(elu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.3679, 1.    ])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def elu_jvp(residual: tuple[FloatArray, float], x_dot: FloatArray) -> FloatArray:
    """Tangent of `elu`'s output; the Jacobian is diagonal, so it is `elu_vjp` of the tangent.

    Args:
        residual: From `elu`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> elu_jvp(elu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.3679, 1.    ])
    """
    return elu_vjp(residual, x_dot)


def elu_vjp_jvp(
    residual: tuple[FloatArray, float], x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> FloatArray:
    """Tangent of `elu_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `elu`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> elu_vjp_jvp(elu(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([0.3679, 0.    ])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: tuple[FloatArray, float]) -> FloatArray:
    x, alpha = residual
    factor: FloatArray = np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0)))
    return factor


def _curvature(residual: tuple[FloatArray, float]) -> FloatArray:
    x, alpha = residual
    second: FloatArray = np.where(x > 0, 0.0, alpha * np.exp(np.minimum(x, 0)))
    return second
