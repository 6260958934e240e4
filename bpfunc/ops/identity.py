"""Identity."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly


def identity(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Identity: ``y = x``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> identity(np.array([-1.0, 2.0]))[0].round(4)
        array([-1.,  2.])

    Reference: none needed; it ends a combinator where nothing is to be done.
    """
    y = x.copy()
    return y, readonly(x)


def identity_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `identity`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `identity`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> identity_vjp(identity(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([1., 1.])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def identity_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `identity`'s output; the Jacobian is diagonal, so it is `identity_vjp` of the tangent.

    Args:
        residual: From `identity`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> identity_jvp(identity(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([1., 1.])
    """
    return identity_vjp(residual, x_dot)


def identity_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `identity_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `identity`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> identity_vjp_jvp(identity(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([0., 0.])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    x = residual
    return np.ones_like(x)


def _curvature(residual: FloatArray) -> FloatArray:
    x = residual
    return np.zeros_like(x)
