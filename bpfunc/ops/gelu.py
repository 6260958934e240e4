"""Gaussian error linear unit: exact, and by tanh."""

import math

import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.ops.elementwise import elementwise
from bpfunc.ops.special import normal_cdf, normal_pdf

BOUND = 40
"""Beyond it the normal distribution function, and the form by tanh, are 0 or 1 exactly, in float64 too."""
ROOT, CUBIC = math.sqrt(2 / math.pi), 0.044715


def _gelu_slope(x: FloatArray) -> FloatArray:
    return normal_cdf(x) + x.clip(-BOUND, BOUND) * normal_pdf(x)


def _gelu_curvature(x: FloatArray) -> FloatArray:
    x = x.clip(-BOUND, BOUND)
    return normal_pdf(x) * (2 - x * x)


@elementwise(keeps="x", slope=_gelu_slope, curvature=_gelu_curvature)
def gelu(x: FloatArray) -> FloatArray:
    """Gaussian error linear unit, exact: ``y = x Phi(x), Phi the normal distribution function``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = gelu(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([-0.1587,  1.9545])
        >>> from bpfunc.ops import gelu_vjp, gelu_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> gelu_vjp(residual, one).round(4), gelu_vjp_jvp(residual, one, one, zero).round(4)
        (array([-0.0833,  1.0852]), array([ 0.242, -0.108]))

    Reference: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    return x.clip(-BOUND, np.inf) * normal_cdf(x)


def _tanh_of_cubic(x: FloatArray) -> FloatArray:
    return np.tanh(ROOT * (x + CUBIC * x * x * x))


def _gelu_tanh_slope(x: FloatArray) -> FloatArray:
    x = x.clip(-BOUND, BOUND)
    t = _tanh_of_cubic(x)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (ROOT * (1 + 3 * CUBIC * x * x))


def _gelu_tanh_curvature(x: FloatArray) -> FloatArray:
    x = x.clip(-BOUND, BOUND)
    t = _tanh_of_cubic(x)
    first, second = ROOT * (1 + 3 * CUBIC * x * x), ROOT * 6 * CUBIC * x
    return (1 - t * t) * (first + 0.5 * x * (second - 2 * t * first * first))


@elementwise(keeps="x", slope=_gelu_tanh_slope, curvature=_gelu_tanh_curvature)
def gelu_tanh(x: FloatArray) -> FloatArray:
    """Gaussian error linear unit, by tanh: ``y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``, elementwise.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = gelu_tanh(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([-0.1588,  1.9546])
        >>> from bpfunc.ops import gelu_tanh_vjp, gelu_tanh_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> gelu_tanh_vjp(residual, one).round(4), gelu_tanh_vjp_jvp(residual, one, one, zero).round(4)
        (array([-0.083 ,  1.0861]), array([ 0.2421, -0.1079]))

    Reference: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """
    return 0.5 * x.clip(-BOUND, np.inf) * (1 + _tanh_of_cubic(x.clip(-BOUND, BOUND)))
