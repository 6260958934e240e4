"""Convolution of images, and its derivatives.

A convolution is linear in the images and linear in the weight. So all derivatives, of first and second order, are sums
of three functions: the convolution, the cotangent of its images, and the cotangent of its weight.

Images are (B, H, W, C), channels last: the pixels that a window reads lie side by side in memory, and each window is a
row of a matrix, as an example is a row in a dense layer.
"""

from __future__ import annotations

import math

import numpy as np

from bpfunc.arrays.aligned import empty
from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.ops.windows import Windows, parts_of_batch, size_of, unwindowed, windows


def convolution(x: FloatArray, weight: FloatArray, how: Windows, groups: int = 1) -> FloatArray:
    """Convolve: ``y[b,p,q,f] = sum_ijc x[b, p s + i d - top, q s + j d - left, c] w[i,j,c,f]`` (a cross-correlation).

    With groups, channels and features fall into as many parts, and each part of features reads its own channels.

    Args:
        x: (B, H, W, C) floating.
        weight: (KH, KW, C / groups, F) floating.
        how: Kernel, stride, padding, dilation.
        groups: Divides C and F.

    Returns:
        ``y`` (B, OH, OW, F).

    Example:
        >>> how = Windows((1, 2), (1, 1), (0, 0, 0, 0), (1, 1))
        >>> convolution(np.arange(3.0).reshape(1, 1, 3, 1), np.ones((1, 2, 1, 1)), how).ravel()
        array([1., 3.])

    Reference: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989); Chellapilla, Puri and
        Simard, "High performance convolutional neural networks for document processing" (2006), for windows as rows.
    """
    features = weight.shape[3]
    dtype = np.result_type(x, weight)
    y = empty((len(x), *how.out_size(size_of(x.shape)), features), dtype)
    matrix = _by_group(weight, groups)
    for part in parts_of_batch(x.shape, how, x.itemsize):
        if _is_depthwise(groups, x.shape[3], features):
            np.einsum("bpqijc,ijc->bpqc", windows(x[part], how), weight[:, :, 0], out=y[part])
        else:
            rows = _window_rows(x[part], how, groups)
            y[part] = _joined(rows @ matrix).reshape(y[part].shape)
    return y


def convolution_input_vjp(
    weight: FloatArray, dy: FloatArray, how: Windows, in_shape: Shape, groups: int = 1
) -> FloatArray:
    """Cotangent of the images: ``dx[b, p s + i d - top, q s + j d - left, c] += sum_f dy[b,p,q,f] w[i,j,c,f]``.

    Args:
        weight: (KH, KW, C / groups, F) floating.
        dy: (B, OH, OW, F) cotangent of the output.
        how: Kernel, stride, padding, dilation.
        in_shape: (B, H, W, C).
        groups: As in `convolution`.

    Returns:
        ``dx`` (B, H, W, C).

    Example:
        >>> how = Windows((1, 2), (1, 1), (0, 0, 0, 0), (1, 1))
        >>> convolution_input_vjp(np.ones((1, 2, 1, 1)), np.ones((1, 1, 2, 1)), how, (1, 1, 3, 1)).ravel()
        array([1., 2., 1.])

    Reference: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989).
    """
    dtype = np.result_type(weight, dy)
    dx = empty(in_shape, dtype)
    matrix = _by_group(weight, groups).swapaxes(1, 2)
    for part in parts_of_batch(in_shape, how, dtype.itemsize):
        if _is_depthwise(groups, in_shape[3], weight.shape[3]):
            dwindows = np.einsum("bpqc,ijc->bpqijc", dy[part], weight[:, :, 0])
        else:
            drows = _split(dy[part], groups) @ matrix
            dwindows = _windows_of_rows(drows, dy[part].shape, how, in_shape[3])
        dx[part] = unwindowed(dwindows, how, dx[part].shape)
    return dx


def convolution_weight_vjp(x: FloatArray, dy: FloatArray, how: Windows, groups: int = 1) -> FloatArray:
    """Cotangent of the weight: ``dw[i,j,c,f] = sum_bpq window[b,p,q,i,j,c] dy[b,p,q,f]``.

    All examples and all places share the weight, so that their cotangents add up.

    Args:
        x: (B, H, W, C) floating.
        dy: (B, OH, OW, F) cotangent of the output.
        how: Kernel, stride, padding, dilation.
        groups: As in `convolution`.

    Returns:
        ``dw`` (KH, KW, C / groups, F).

    Example:
        >>> how = Windows((1, 2), (1, 1), (0, 0, 0, 0), (1, 1))
        >>> convolution_weight_vjp(np.arange(3.0).reshape(1, 1, 3, 1), np.ones((1, 1, 2, 1)), how).ravel()
        array([1., 3.])

    Reference: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989).
    """
    kernel, channels, features = how.kernel, x.shape[3] // groups, dy.shape[3]
    long = kernel[0] * kernel[1] * channels
    dmatrix = np.zeros((groups, long, features // groups), np.result_type(x, dy))
    for part in parts_of_batch(x.shape, how, x.itemsize):
        if _is_depthwise(groups, x.shape[3], features):
            dmatrix += np.einsum("bpqijc,bpqc->cij", windows(x[part], how), dy[part]).reshape(dmatrix.shape)
        else:
            dmatrix += _window_rows(x[part], how, groups).swapaxes(1, 2) @ _split(dy[part], groups)
    return dmatrix.transpose(1, 0, 2).reshape(*kernel, channels, features)


def convolution_example_grads(x: FloatArray, dy: FloatArray, how: Windows, groups: int = 1) -> FloatArray:
    """Cotangent of the weight for each example: the sum of `convolution_weight_vjp` over positions alone.

    Args:
        x: (B, H, W, C) floating.
        dy: (B, OH, OW, F) cotangent of the output.
        how: Kernel, stride, padding, dilation.
        groups: As in `convolution`.

    Returns:
        (B, KH, KW, C / groups, F).

    Example:
        >>> how = Windows((1, 2), (1, 1), (0, 0, 0, 0), (1, 1))
        >>> convolution_example_grads(np.arange(6.0).reshape(2, 1, 3, 1), np.ones((2, 1, 2, 1)), how).reshape(2, 2)
        array([[1., 3.],
               [7., 9.]])

    Reference: Rochette, Manoel and Tramel, "Efficient per-example gradient computations in convolutional neural
        networks" (2019).
    """
    channels, features = x.shape[3] // groups, dy.shape[3]
    grads = empty((len(x), *how.kernel, channels, features), np.result_type(x, dy))
    for part in parts_of_batch(x.shape, how, x.itemsize):
        if _is_depthwise(groups, x.shape[3], features):
            np.einsum("bpqijc,bpqc->bijc", windows(x[part], how), dy[part], out=grads[part][:, :, :, 0])
            continue
        count = len(x[part])
        rows = _window_rows(x[part], how, groups).reshape(groups, count, -1, math.prod(how.kernel) * channels)
        drows = _split(dy[part], groups).reshape(groups, count, -1, features // groups)
        products = rows.swapaxes(2, 3) @ drows  # (G, B, KH KW C / G, F / G)
        grads[part] = products.transpose(1, 2, 0, 3).reshape(grads[part].shape)
    return grads


def _is_depthwise(groups: int, channels: int, features: int) -> bool:
    """Whether each channel has one filter: then each matrix of a group would have one column."""
    return 1 < groups == channels == features


def _by_group(weight: FloatArray, groups: int) -> FloatArray:
    """(KH, KW, C / G, F) to matrices (G, KH KW C / G, F / G)."""
    features = weight.shape[3]
    return weight.reshape(-1, groups, features // groups).transpose(1, 0, 2)


def _window_rows(x: FloatArray, how: Windows, groups: int) -> FloatArray:
    """Windows as rows of matrices, (G, N, KH KW C / G) for the N windows of all images."""
    held = windows(x, how)
    b, rows, columns, height, width, channels = held.shape
    count = b * rows * columns
    if groups == 1:
        return held.reshape(1, count, height * width * channels)
    split = held.reshape(count, height * width, groups, channels // groups)
    return split.transpose(2, 0, 1, 3).reshape(groups, count, -1)


def _windows_of_rows(drows: FloatArray, out_shape: Shape, how: Windows, channels: int) -> FloatArray:
    """The way back of `_window_rows`."""
    groups, count = drows.shape[:2]
    if groups > 1:
        split = drows.reshape(groups, count, how.kernel[0] * how.kernel[1], channels // groups)
        drows = split.transpose(1, 2, 0, 3)
    return drows.reshape(*out_shape[:3], *how.kernel, channels)


def _split(y: FloatArray, groups: int) -> FloatArray:
    """(B, OH, OW, F) to (G, N, F / G)."""
    return y.reshape(-1, groups, y.shape[3] // groups).transpose(1, 0, 2)


def _joined(y: FloatArray) -> FloatArray:
    """(G, N, F / G) to (N, F)."""
    return y[0] if len(y) == 1 else y.transpose(1, 0, 2).reshape(y.shape[1], -1)
