"""Identity."""

from bpfunc.arrays.types import FloatArray
from bpfunc.ops.elementwise import elementwise


@elementwise(keeps="x", slope=lambda x: 1.0)
def identity(x: FloatArray) -> FloatArray:
    """Identity: ``y = x``, elementwise, in an array of its own.

    Args:
        x: Array of any shape, floating.

    Returns:
        ``y`` of the same shape and dtype, and the residual.

    Example:
        >>> y, residual = identity(np.array([-1.0, 2.0]))
        >>> y
        array([-1.,  2.])
        >>> from bpfunc.ops import identity_vjp, identity_vjp_jvp
        >>> one, zero = np.ones(2), np.zeros(2)
        >>> identity_vjp(residual, one).round(4), identity_vjp_jvp(residual, one, one, zero).round(4)
        (array([1., 1.]), array([0., 0.]))

    Reference: He, Zhang, Ren and Sun, "Identity mappings in deep residual networks" (2016).
    """
    return x.copy()
