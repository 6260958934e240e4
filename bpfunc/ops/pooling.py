"""Pooling of images: the largest pixel or the mean of each window, and what their derivatives need."""

from __future__ import annotations

import attrs
import numpy as np

from bpfunc.arrays.calls import one_line
from bpfunc.arrays.types import BoolArray, FloatArray, IntArray, Shape, readonly_arrays
from bpfunc.ops.windows import Windows, padded, size_of
from bpfunc.tree import STATIC


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class MaxPoolResidual:
    """What the derivatives of `max_pool` need.

    Args:
        chosen: (B, OH, OW, C), which position of each window was the largest, counted row by row.
        how: The geometry.
        in_shape: (B, H, W, C).
    """

    chosen: IntArray
    how: Windows = attrs.field(metadata=STATIC)
    in_shape: Shape = attrs.field(metadata=STATIC)

    __repr__ = one_line


def max_pool(x: FloatArray, how: Windows) -> tuple[FloatArray, MaxPoolResidual]:
    """Take the largest pixel of each window: ``y[b,p,q,c] = max_ij window[b,p,q,i,j,c]``; padding never wins.

    Of equal pixels the first is taken, row by row, as in torch; it alone gets the cotangent. NaN wins over numbers.

    Args:
        x: (B, H, W, C) floating.
        how: The geometry; the padding is narrower than the kernel, so that each window holds a pixel.

    Returns:
        ``y`` (B, OH, OW, C), and the residual.

    Example:
        >>> how = Windows((1, 2), (1, 2), (0, 0, 0, 0), (1, 1))
        >>> max_pool(np.array([3.0, 1.0, 2.0, 5.0]).reshape(1, 1, 4, 1), how)[0].ravel()
        array([3., 5.])

    Reference: Ranzato, Huang, Boureau and LeCun, "Unsupervised learning of invariant feature hierarchies" (2007).
    """
    wide = padded(x, how, fill=-np.inf)
    indices = list(how.slices(size_of(x.shape)))
    y = wide[indices[0]].copy()
    chosen = np.zeros(y.shape, np.min_scalar_type(len(indices)))
    for position, index in enumerate(indices[1:], 1):
        pixels = wide[index]
        _choose(chosen, pixels > y, position)
        np.maximum(y, pixels, out=y)
    if not (np.isfinite(y.min(initial=0)) and np.isfinite(y.max(initial=0))):
        chosen = _chosen_of_extremes(x, wide, how)
    return y, MaxPoolResidual(chosen, how, x.shape)


def _choose(chosen: IntArray, better: BoolArray, position: int) -> None:
    """Write a position over smaller ones: the bytes of the truth, as numbers, need no branch."""
    np.maximum(chosen, np.multiply(better, position, dtype=chosen.dtype), out=chosen)


def _chosen_of_extremes(x: FloatArray, wide: FloatArray, how: Windows) -> IntArray:
    """The choice among pixels of which some are NaN, the last of which counts, or -inf in the image itself."""
    indices = list(how.slices(size_of(x.shape)))
    inside = padded(np.ones((1, *x.shape[1:3], 1), np.float32), how).astype(bool)
    y, taken = wide[indices[0]].copy(), inside[indices[0]]
    chosen = np.zeros(y.shape, np.min_scalar_type(len(indices)))
    for position, index in enumerate(indices[1:], 1):
        pixels = wide[index]
        better = (pixels > y) | np.isnan(pixels) | (inside[index] & ~taken)
        _choose(chosen, better, position)
        taken = taken | inside[index]
        np.maximum(y, pixels, out=y)
    return chosen


def max_pool_vjp(residual: MaxPoolResidual, dy: FloatArray) -> FloatArray:
    """Cotangent of `max_pool`'s input: each ``dy`` goes to the pixel that was chosen.

    Args:
        residual: From `max_pool`.
        dy: (B, OH, OW, C).

    Returns:
        ``dx`` (B, H, W, C).

    Example:
        >>> how = Windows((1, 2), (1, 2), (0, 0, 0, 0), (1, 1))
        >>> _, residual = max_pool(np.array([3.0, 1.0, 2.0, 5.0]).reshape(1, 1, 4, 1), how)
        >>> max_pool_vjp(residual, np.ones((1, 1, 2, 1))).ravel()
        array([1., 0., 0., 1.])
    """
    how, size = residual.how, size_of(residual.in_shape)
    wide = _wide_zeros(how, residual.in_shape, dy.dtype)
    for position, index in enumerate(how.slices(size)):
        wide[index] += _where_chosen(residual, position, dy)
    return _inner(wide, how, residual.in_shape)


def max_pool_jvp(residual: MaxPoolResidual, x_dot: FloatArray) -> FloatArray:
    """Tangent of `max_pool`'s output: that of the chosen pixel.

    Args:
        residual: From `max_pool`.
        x_dot: (B, H, W, C).

    Returns:
        ``y_dot`` (B, OH, OW, C).

    Example:
        >>> how = Windows((1, 2), (1, 2), (0, 0, 0, 0), (1, 1))
        >>> _, residual = max_pool(np.array([3.0, 1.0, 2.0, 5.0]).reshape(1, 1, 4, 1), how)
        >>> max_pool_jvp(residual, np.arange(4.0).reshape(1, 1, 4, 1)).ravel()
        array([0., 3.])
    """
    wide = padded(x_dot, residual.how)
    y_dot = np.zeros(residual.chosen.shape, x_dot.dtype)
    for position, index in enumerate(residual.how.slices(size_of(residual.in_shape))):
        y_dot += _where_chosen(residual, position, wide[index])
    return y_dot


def _where_chosen(residual: MaxPoolResidual, position: int, values: FloatArray) -> FloatArray:
    """The values where a position was chosen, else 0: by their bits, so that 0 times infinity does not come up."""
    here = residual.chosen == position
    if values.itemsize > 8:
        return np.where(here, values, values.dtype.type(0))
    bits = f"i{values.itemsize}"
    mask = np.negative(here.view(np.int8)).astype(bits)  # all bits or none
    mask &= values.view(bits)
    kept: FloatArray = mask.view(values.dtype)
    return kept


def mean_pool(x: FloatArray, how: Windows) -> FloatArray:
    """Take the mean of each window's pixels, padding not counted: ``y = sum_ij window / count``.

    It is linear, so that it is its own tangent.

    Args:
        x: (B, H, W, C) floating.
        how: The geometry; the padding is narrower than the kernel, so that each window holds a pixel.

    Returns:
        ``y`` (B, OH, OW, C).

    Example:
        >>> how = Windows((1, 2), (1, 2), (0, 0, 0, 0), (1, 1))
        >>> mean_pool(np.array([3.0, 1.0, 2.0, 5.0]).reshape(1, 1, 4, 1), how).ravel()
        array([2. , 3.5])

    Reference: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998).
    """
    wide = padded(x, how)
    share = _shares(how, x.shape, x.dtype)
    y = np.zeros((len(x), *share.shape[1:3], x.shape[3]), x.dtype)
    for index in how.slices(size_of(x.shape)):
        y += wide[index] * share  # shares first: the sum of large numbers may overflow
    return y


def mean_pool_vjp(dy: FloatArray, how: Windows, in_shape: Shape) -> FloatArray:
    """Cotangent of `mean_pool`'s input: each pixel of a window gets an equal share of ``dy``.

    Args:
        dy: (B, OH, OW, C).
        how: The geometry.
        in_shape: (B, H, W, C).

    Returns:
        ``dx`` (B, H, W, C).

    Example:
        >>> how = Windows((1, 2), (1, 2), (0, 0, 0, 0), (1, 1))
        >>> mean_pool_vjp(np.ones((1, 1, 2, 1)), how, (1, 1, 4, 1)).ravel()
        array([0.5, 0.5, 0.5, 0.5])
    """
    wide = _wide_zeros(how, in_shape, dy.dtype)
    shared = dy * _shares(how, in_shape, dy.dtype)
    for index in how.slices(size_of(in_shape)):
        wide[index] += shared
    return _inner(wide, how, in_shape)


def _shares(how: Windows, in_shape: Shape, dtype: np.dtype[np.floating]) -> FloatArray:
    """One over the pixels in each window, (1, OH, OW, 1)."""
    inside = padded(np.ones((1, *in_shape[1:3], 1), dtype), how)
    count = sum(inside[index] for index in how.slices(size_of(in_shape)))
    return np.asarray(1 / count, dtype)


def _wide_zeros(how: Windows, in_shape: Shape, dtype: np.dtype[np.floating]) -> FloatArray:
    (top, bottom), (left, right) = how.pads(size_of(in_shape))
    b, h, w, c = in_shape
    return np.zeros((b, h + top + bottom, w + left + right, c), dtype)


def _inner(wide: FloatArray, how: Windows, in_shape: Shape) -> FloatArray:
    (top, _), (left, _) = how.pads(size_of(in_shape))
    return wide[:, top : top + in_shape[1], left : left + in_shape[2]].copy()
