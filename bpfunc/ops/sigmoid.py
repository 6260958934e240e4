"""Logistic sigmoid."""

from __future__ import annotations

from bpfunc.arrays.types import FloatArray
from bpfunc.ops.special import logistic


def sigmoid(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logistic sigmoid: ``y = 1 / (1 + exp(-x))``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> sigmoid(np.array([-1.0, 2.0]))[0].round(4)
        array([0.2689, 0.8808])

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    y = logistic(x)
    return y, y


def sigmoid_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `sigmoid`'s input: ``dx = f'(x) dy``.

    Args:
        residual: From `sigmoid`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> sigmoid_vjp(sigmoid(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.1966, 0.105 ])
    """
    dx: FloatArray = _slope(residual) * dy
    return dx


def sigmoid_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `sigmoid`'s output; the Jacobian is diagonal, so it is `sigmoid_vjp` of the tangent.

    Args:
        residual: From `sigmoid`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> sigmoid_jvp(sigmoid(np.array([-1.0, 2.0]))[1], np.ones(2)).round(4)
        array([0.1966, 0.105 ])
    """
    return sigmoid_vjp(residual, x_dot)


def sigmoid_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `sigmoid_vjp`: ``dx_dot = f''(x) x_dot dy + f'(x) dy_dot``.

    Args:
        residual: From `sigmoid`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones(2), np.zeros(2)
        >>> sigmoid_vjp_jvp(sigmoid(np.array([-1.0, 2.0]))[1], one, one, none).round(4)
        array([ 0.0909, -0.08  ])
    """
    dx_dot: FloatArray = _curvature(residual) * x_dot * dy + _slope(residual) * dy_dot
    return dx_dot


def _slope(residual: FloatArray) -> FloatArray:
    y = residual
    factor: FloatArray = y * (1 - y)
    return factor


def _curvature(residual: FloatArray) -> FloatArray:
    y = residual
    second: FloatArray = y * (1 - y) * (1 - 2 * y)
    return second
