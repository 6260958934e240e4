"""Rectified linear unit."""

from __future__ import annotations

import numpy as np

from bpfunc.arrays.aligned import SMALL, empty
from bpfunc.arrays.types import FloatArray


def relu(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rectified linear unit: ``y = max(x, 0)``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual (``y`` itself).

    Example:
        >>> import numpy as np
        >>> relu(np.array([-1.0, 2.0]))[0]
        array([0., 2.])

    Reference: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).
    """
    y: FloatArray = np.maximum(x, 0, out=empty(x.shape, x.dtype)) if x.nbytes >= SMALL else np.maximum(x, 0)
    return y, y


def relu_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `relu`'s input: ``dx = dy`` where ``x > 0``, else 0 (so 0 at the kink).

    Args:
        residual: From `relu`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> import numpy as np
        >>> relu_vjp(relu(np.array([-1.0, 2.0]))[1], np.array([5.0, 5.0]))
        array([0., 5.])
    """
    dx: FloatArray = np.multiply(dy, residual > 0, out=empty(dy.shape, dy.dtype))
    return dx


def relu_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `relu`'s output: the Jacobian is diagonal, so it is `relu_vjp` of the tangent.

    Args:
        residual: From `relu`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> import numpy as np
        >>> relu_jvp(relu(np.array([-1.0, 2.0]))[1], np.array([5.0, 5.0]))
        array([0., 5.])
    """
    return relu_vjp(residual, x_dot)


def relu_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `relu_vjp`: ``f'' = 0`` almost everywhere, so ``dx_dot = f'(x) dy_dot``.

    Args:
        residual: From `relu`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> import numpy as np
        >>> one = np.ones(2)
        >>> relu_vjp_jvp(relu(np.array([-1.0, 2.0]))[1], one, one, 3 * one)
        array([0., 3.])
    """
    return relu_vjp(residual, dy_dot)
