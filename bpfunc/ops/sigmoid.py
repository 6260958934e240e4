"""Functions of sigmoid shape, and those that are made of the logistic sigmoid."""

from typing import Any

import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.ops.elementwise import elementwise
from bpfunc.ops.special import logistic

BOUND = 750
"""Beyond it the logistic sigmoid is 0 or 1 exactly, in float64 too."""


@elementwise(keeps="y", slope=lambda y: 1 - y * y, curvature=lambda y: -2 * y * (1 - y * y))
def tanh(x: FloatArray) -> FloatArray:
    """Hyperbolic tangent: ``y = tanh(x)``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = tanh(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([-0.7616,  0.964 ])
        >>> from bpfunc.ops import tanh_vjp, tanh_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> tanh_vjp(residual, one).round(4), tanh_vjp_jvp(residual, one, one, zero).round(4)
        (array([0.42  , 0.0707]), array([ 0.6397, -0.1362]))

    Reference: LeCun, Bottou, Orr and Mueller, "Efficient backprop" (1998).
    """
    return np.tanh(x)


@elementwise(keeps="y", slope=lambda y: y * (1 - y), curvature=lambda y: y * (1 - y) * (1 - 2 * y))
def sigmoid(x: FloatArray) -> FloatArray:
    """Logistic sigmoid: ``y = 1 / (1 + exp(-x))``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = sigmoid(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([0.2689, 0.8808])
        >>> from bpfunc.ops import sigmoid_vjp, sigmoid_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> sigmoid_vjp(residual, one).round(4), sigmoid_vjp_jvp(residual, one, one, zero).round(4)
        (array([0.1966, 0.105 ]), array([ 0.0909, -0.08  ]))

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    return logistic(x)


def _inverse_size(x: Any) -> Any:
    return 1 / (1 + np.abs(x))


@elementwise(
    keeps="x",
    slope=lambda x: _inverse_size(x) * _inverse_size(x),
    curvature=lambda x: -2 * np.sign(x) * _inverse_size(x) * _inverse_size(x) * _inverse_size(x),
)
def softsign(x: FloatArray) -> FloatArray:
    """Softsign: ``y = x / (1 + |x|)``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = softsign(np.array([-1.0, 3.0]))
        >>> y
        array([-0.5 ,  0.75])
        >>> from bpfunc.ops import softsign_vjp, softsign_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> softsign_vjp(residual, one), softsign_vjp_jvp(residual, one, one, zero)
        (array([0.25  , 0.0625]), array([ 0.25   , -0.03125]))

    Reference: Turian, Bergstra and Bengio, "Quadratic features and deep architectures for chunking" (2009).
    """
    x = x.clip(-1e30, 1e30)  # beyond, the quotient is 1 or -1 exactly
    y: FloatArray = x / (1 + np.abs(x))
    return y


@elementwise(keeps="x", slope=logistic, curvature=lambda x: logistic(x) * (1 - logistic(x)))
def softplus(x: FloatArray) -> FloatArray:
    """Softplus: ``y = log(1 + exp(x))``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = softplus(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([0.3133, 2.1269])
        >>> from bpfunc.ops import softplus_vjp, softplus_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> softplus_vjp(residual, one).round(4), softplus_vjp_jvp(residual, one, one, zero).round(4)
        (array([0.2689, 0.8808]), array([0.1966, 0.105 ]))

    Reference: Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating second-order functional knowledge" (2001).
    """
    y: FloatArray = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return y


def _silu_slope(x: Any) -> Any:
    x, s = x.clip(-BOUND, BOUND), logistic(x)
    return s * (1 + x * (1 - s))


def _silu_curvature(x: Any) -> Any:
    x, s = x.clip(-BOUND, BOUND), logistic(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


@elementwise(keeps="x", slope=_silu_slope, curvature=_silu_curvature)
def silu(x: FloatArray) -> FloatArray:
    """Sigmoid linear unit, or swish: ``y = x / (1 + exp(-x))``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = silu(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([-0.2689,  1.7616])
        >>> from bpfunc.ops import silu_vjp, silu_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> silu_vjp(residual, one).round(4), silu_vjp_jvp(residual, one, one, zero).round(4)
        (array([0.0723, 1.0908]), array([0.3024, 0.0501]))

    Reference: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units" (2018); Ramachandran, Zoph and Le (2017).
    """
    y: FloatArray = x.clip(-BOUND, np.inf) * logistic(x)
    return y
