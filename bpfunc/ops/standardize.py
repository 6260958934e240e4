"""Bringing numbers to mean 0 and mean square 1 along an axis: the core of every normalisation layer."""

import math

import attrs
import numpy as np

from bpfunc.arrays.calls import one_line
from bpfunc.arrays.sums import mean_over
from bpfunc.arrays.types import FloatArray, readonly, readonly_arrays
from bpfunc.tree import STATIC


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class StandardizeResidual:
    """What the derivatives of `standardize` need.

    Args:
        y: The output.
        inverse: ``1 / sqrt(variance + eps)``, with the axis kept at length 1.
        axis: Along which the statistics were taken; None where they were given as constants.
        centred: Whether the mean was subtracted.
    """

    y: FloatArray
    inverse: FloatArray
    axis: int | tuple[int, ...] | None = attrs.field(metadata=STATIC)
    centred: bool = attrs.field(metadata=STATIC)

    __repr__ = one_line


def standardize(
    x: FloatArray, *, axis: int | tuple[int, ...] = -1, eps: float = 1e-5, centred: bool = True
) -> tuple[FloatArray, StandardizeResidual]:
    """Standardise along an axis: ``y = (x - mean) / sqrt(variance + eps)``.

    Not centred, the mean stays and the mean square takes the variance's place.

    Args:
        x: Array of any shape, floating.
        axis: Axis or axes along which mean and variance are taken.
        eps: Added to the variance, above 0 where it can vanish.
        centred: Whether to subtract the mean.

    Returns:
        ``y`` of the same shape and dtype, read-only, and the residual.

    Example:
        >>> standardize(np.array([[1.0, 3.0]]), eps=0.0)[0]
        array([[-1.,  1.]])

    Reference: Ioffe and Szegedy, "Batch normalization" (2015); Ba, Kiros and Hinton, "Layer normalization" (2016);
        Zhang and Sennrich, "Root mean square layer normalization" (2019).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        y, inverse = _standardized(x, axis, eps, centred)
    if not (inverse > 0).all() and np.isfinite(x).all():  # sums or squares overflow
        largest = np.abs(x).max(axis=axis, keepdims=True)
        scale = np.ldexp(x.dtype.type(1), -np.frexp(largest)[1]).clip(None, 1)  # a power of 2 rounds nothing
        centre = x * scale - mean_over(x * scale, axis) if centred else x * scale
        spread = np.sqrt(mean_over(np.square(centre), axis))
        with np.errstate(under="ignore"):
            y = centre / np.hypot(spread, math.sqrt(eps) * scale)
            inverse = 1 / np.hypot(spread / scale, x.dtype.type(math.sqrt(eps)))
    y = readonly(y)
    return y, StandardizeResidual(y, inverse, axis, centred)


def standardize_vjp(residual: StandardizeResidual, dy: FloatArray) -> FloatArray:
    """Cotangent of `standardize`'s input: ``dx = (dy - mean(dy) - y mean(y dy)) inverse``.

    Args:
        residual: From `standardize`.
        dy: Cotangent of the output, same shape.

    Returns:
        ``dx``, same shape and dtype.

    Example:
        >>> standardize_vjp(standardize(np.array([[1.0, 3.0]]), eps=0.0)[1], np.array([[1.0, 1.0]]))
        array([[0., 0.]])
    """
    rest = _projected(residual, dy)
    return np.multiply(rest, residual.inverse, out=None if rest is dy else rest)


def standardize_jvp(residual: StandardizeResidual, x_dot: FloatArray) -> FloatArray:
    """Tangent of `standardize`'s output: the Jacobian is symmetric, so it is `standardize_vjp`.

    Args:
        residual: From `standardize`.
        x_dot: Tangent of the input, same shape.

    Returns:
        ``y_dot``, same shape and dtype.

    Example:
        >>> standardize_jvp(standardize(np.array([[1.0, 3.0]]), eps=0.0)[1], np.array([[1.0, 1.0]]))
        array([[0., 0.]])
    """
    return standardize_vjp(residual, x_dot)


def standardize_vjp_jvp(
    residual: StandardizeResidual, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> FloatArray:
    """Tangent of `standardize_vjp`, by the product rule; ``inverse_dot = -inverse^2 mean(y x_dot)``.

    Args:
        residual: From `standardize`.
        x_dot: Tangent of the input, same shape.
        dy: Cotangent of the output, same shape.
        dy_dot: Tangent of ``dy``, same shape.

    Returns:
        ``dx_dot``, same shape and dtype.

    Example:
        >>> one, none = np.ones((1, 2)), np.zeros((1, 2))
        >>> standardize_vjp_jvp(standardize(np.array([[1.0, 3.0]]), eps=0.0)[1], none, none, one)
        array([[0., 0.]])
    """
    dx_dot = _projected(residual, dy_dot)
    if residual.axis is not None:
        y, axis = residual.y, residual.axis
        y_dot = standardize_jvp(residual, x_dot)
        shrink = residual.inverse * mean_over(y * x_dot, axis)
        along = mean_over(y * dy, axis)
        dx_dot = dx_dot - shrink * _projected(residual, dy)
        dx_dot -= y_dot * along + y * mean_over(y_dot * dy, axis)
    return dx_dot * residual.inverse


def _standardized(
    x: FloatArray, axis: int | tuple[int, ...], eps: float, centred: bool
) -> tuple[FloatArray, FloatArray]:
    centre = x - mean_over(x, axis) if centred else x
    inverse: FloatArray = 1 / np.sqrt(mean_over(np.square(centre), axis) + eps)
    return np.multiply(centre, inverse, out=centre if centred else None), inverse


def _projected(residual: StandardizeResidual, cotangent: FloatArray) -> FloatArray:
    """Take out what mean and scale absorb: a new array, unless they are constants."""
    if residual.axis is None:
        return cotangent
    y, axis = residual.y, residual.axis
    along: FloatArray = y * mean_over(y * cotangent, axis)
    rest = np.subtract(cotangent, along, out=along)
    if residual.centred:
        rest -= mean_over(cotangent, axis)
    return rest
