"""Identity above 0: rectified linear unit, and its relatives that bend or leak below 0."""

from typing import Any

import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.ops.elementwise import elementwise

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""The fixed point that keeps mean 0 and variance 1, as given in the paper's appendix."""


@elementwise(keeps="y", slope=lambda y: y > 0)
def relu(x: FloatArray) -> FloatArray:
    """Rectified linear unit: ``y = max(x, 0)``, elementwise.

    Args:
        x: Array of any shape, floating; the slope at 0 is 0.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = relu(np.array([-1.0, 2.0]))
        >>> y
        array([0., 2.])
        >>> from bpfunc.ops import relu_vjp, relu_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> relu_vjp(residual, one).round(4), relu_vjp_jvp(residual, one, one, zero).round(4)
        (array([0., 1.]), array([0., 0.]))

    Reference: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).
    """
    return np.maximum(x, 0)


@elementwise(keeps="x", slope=lambda x, slope: np.where(x > 0, 1, x.dtype.type(slope)))
def leaky_relu(x: FloatArray, *, slope: float = 0.01) -> FloatArray:
    """Leaky rectified linear unit: ``y = x for x > 0, slope x below``, elementwise.

    Args:
        x: Array of any shape, floating.
        slope: Slope for negative inputs; the slope at 0 is this one.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = leaky_relu(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([-0.01,  2.  ])
        >>> from bpfunc.ops import leaky_relu_vjp, leaky_relu_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> leaky_relu_vjp(residual, one).round(4), leaky_relu_vjp_jvp(residual, one, one, zero).round(4)
        (array([0.01, 1.  ]), array([0., 0.]))

    Reference: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).
    """
    return np.where(x > 0, x, slope * x)


def _bent(x: Any, above: float, below: float) -> Any:
    return np.where(x > 0, above, below * np.exp(np.minimum(x, 0)))


@elementwise(keeps="x", slope=lambda x, alpha: _bent(x, 1.0, alpha), curvature=lambda x, alpha: _bent(x, 0.0, alpha))
def elu(x: FloatArray, *, alpha: float = 1.0) -> FloatArray:
    """Exponential linear unit: ``y = x for x > 0, alpha (exp(x) - 1) below``, elementwise.

    Args:
        x: Array of any shape, floating; slope and curvature at 0 are those from below.
        alpha: What ``-y`` tends to for very negative inputs.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = elu(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([-0.6321,  2.    ])
        >>> from bpfunc.ops import elu_vjp, elu_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> elu_vjp(residual, one).round(4), elu_vjp_jvp(residual, one, one, zero).round(4)
        (array([0.3679, 1.    ]), array([0.3679, 0.    ]))

    Reference: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning" (2016).
    """
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@elementwise(
    keeps="x",
    slope=lambda x: _bent(x, SELU_SCALE, SELU_SCALE * SELU_ALPHA),
    curvature=lambda x: _bent(x, 0.0, SELU_SCALE * SELU_ALPHA),
)
def selu(x: FloatArray) -> FloatArray:
    """Scaled exponential linear unit: ``y = scale x for x > 0, scale alpha (exp(x) - 1) below``, elementwise.

    Args:
        x: Array of any shape, floating; slope and curvature at 0 are those from below.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = selu(np.array([-1.0, 2.0]))
        >>> y.round(4)
        array([-1.1113,  2.1014])
        >>> from bpfunc.ops import selu_vjp, selu_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> selu_vjp(residual, one).round(4), selu_vjp_jvp(residual, one, one, zero).round(4)
        (array([0.6468, 1.0507]), array([0.6468, 0.    ]))

    Reference: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks" (2017).
    """
    return np.where(x > 0, SELU_SCALE * np.maximum(x, 0), SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(x, 0)))
