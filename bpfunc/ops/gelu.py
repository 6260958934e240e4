"""Gaussian error linear unit, exact."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.ops.special import normal_cdf, normal_pdf


def gelu(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gaussian error linear unit, exact: ``y = x Phi(x), Phi the normal distribution function``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> gelu(np.array([-1.0, 2.0]))[0].round(4)
        array([-0.1587,  1.9545])

    Reference: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    y: FloatArray = x * normal_cdf(x)
    return y, readonly(x)


def gelu_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `gelu`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `gelu`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> gelu_vjp(gelu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([-0.0833,  1.0852])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def gelu_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `gelu`'s output; the Jacobian is diagonal, so it is `gelu_vjp` of the tangent.

    Args:
        residual: From `gelu`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> gelu_jvp(gelu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([-0.0833,  1.0852])
    """
    return gelu_vjp(residual, x_dot)


def gelu_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `gelu_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `gelu`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> gelu_vjp_jvp(gelu(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([ 0.242, -0.108])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    x = residual
    factor: FloatArray = normal_cdf(x) + x * normal_pdf(x)
    return factor


def _curvature(residual: FloatArray) -> FloatArray:
    x = residual
    # x is bounded, since the density is 0 long before its square could overflow.
    near = np.clip(x, -40, 40)
    second: FloatArray = normal_pdf(near) * (2 - near * near)
    return second
