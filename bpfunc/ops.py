"""Primitive functions, each beside its derivatives.

An op ``f`` comes as four neighbours with one order of arguments and explicit residuals, no closures:

- ``f(x) -> (y, residual)`` is the function, with whatever its derivatives need kept in ``residual``;
- ``f_vjp(residual, dy) -> dx`` pulls a cotangent back (reverse mode);
- ``f_jvp(residual, x_dot) -> y_dot`` pushes a tangent forward (forward mode);
- ``f_vjp_jvp(residual, x_dot, dy, dy_dot) -> dx_dot`` is the tangent of ``f_vjp``, which makes
  Hessian-vector products exact (Pearlmutter, "Fast exact multiplication by the Hessian", 1994).

``d`` + name is a cotangent, name + ``_dot`` a tangent. All keep the dtype that they are given.
"""

from __future__ import annotations

import numpy as np

from bpfunc.types import FloatArray


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
    y = np.maximum(x, 0)
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
    dx: FloatArray = np.multiply(dy, residual > 0)
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


def softmax(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Softmax over the last axis: ``y_k = exp(x_k) / sum_j exp(x_j)``, shifted by the maximum to be stable.

    Args:
        x: (..., K) logits in nats, floating.

    Returns:
        ``y`` (..., K), rows sum to 1, and the residual (``y`` itself).

    Example:
        >>> import numpy as np
        >>> softmax(np.array([[0.0, 0.0]]))[0]
        array([[0.5, 0.5]])

    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    y = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    y /= y.sum(axis=-1, keepdims=True)
    return y, y


def softmax_vjp(residual: FloatArray, dy: FloatArray) -> FloatArray:
    """Cotangent of `softmax`'s input: ``dx = y * (dy - sum_k y_k dy_k)``.

    Args:
        residual: From `softmax`, (..., K).
        dy: Cotangent of the output, (..., K).

    Returns:
        ``dx`` (..., K).

    Example:
        >>> import numpy as np
        >>> softmax_vjp(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    y = residual
    dx: FloatArray = y * (dy - (y * dy).sum(axis=-1, keepdims=True))
    return dx


def softmax_jvp(residual: FloatArray, x_dot: FloatArray) -> FloatArray:
    """Tangent of `softmax`'s output: the Jacobian ``diag(y) - y y^T`` is symmetric, so it is `softmax_vjp`.

    Args:
        residual: From `softmax`, (..., K).
        x_dot: Tangent of the input, (..., K).

    Returns:
        ``y_dot`` (..., K), rows sum to 0.

    Example:
        >>> import numpy as np
        >>> softmax_jvp(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    return softmax_vjp(residual, x_dot)


def softmax_vjp_jvp(residual: FloatArray, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray) -> FloatArray:
    """Tangent of `softmax_vjp`, by the product rule on ``y * (dy - <y, dy>)``.

    Args:
        residual: From `softmax`, (..., K).
        x_dot: Tangent of the input, (..., K).
        dy: Cotangent of the output, (..., K).
        dy_dot: Tangent of ``dy``, (..., K).

    Returns:
        ``dx_dot`` (..., K).

    Example:
        >>> import numpy as np
        >>> y, zero = np.array([[0.5, 0.5]]), np.zeros((1, 2))
        >>> softmax_vjp_jvp(y, zero, zero, np.array([[1.0, 0.0]]))
        array([[ 0.25, -0.25]])
    """
    y = residual
    y_dot = softmax_jvp(y, x_dot)
    centred = dy - (y * dy).sum(axis=-1, keepdims=True)
    dx_dot: FloatArray = y_dot * centred - y * (y_dot * dy).sum(axis=-1, keepdims=True) + softmax_vjp(y, dy_dot)
    return dx_dot
