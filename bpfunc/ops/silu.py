"""Sigmoid linear unit, or swish."""

from __future__ import annotations

from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.ops.special import logistic


def silu(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sigmoid linear unit, or swish: ``y = x / (1 + exp(-x))``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> silu(np.array([-1.0, 2.0]))[0].round(4)
        array([-0.2689,  1.7616])

    Reference: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units" (2018); Ramachandran, Zoph and Le (2017).
    """
    y: FloatArray = x * logistic(x)
    return y, readonly(x)


def silu_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `silu`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `silu`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> silu_vjp(silu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.0723, 1.0908])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def silu_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `silu`'s output; the Jacobian is diagonal, so it is `silu_vjp` of the tangent.

    Args:
        residual: From `silu`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> silu_jvp(silu(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.0723, 1.0908])
    """
    return silu_vjp(residual, x_dot)


def silu_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `silu_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `silu`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> silu_vjp_jvp(silu(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([0.3024, 0.0501])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    x = residual
    s = logistic(x)
    factor: FloatArray = s * (1 + x * (1 - s))
    return factor


def _curvature(residual: FloatArray) -> FloatArray:
    x = residual
    s = logistic(x)
    second: FloatArray = s * (1 - s) * (2 + x * (1 - 2 * s))
    return second
