"""Convolution of images."""

from __future__ import annotations

import math
from functools import partial

import attrs

from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.sums import sum_to_last
from bpfunc.arrays.types import FloatArray, Shape, readonly, readonly_arrays
from bpfunc.keys import Key, split
from bpfunc.layers.base import Context, Layer, Maker, ShapeError
from bpfunc.layers.image_windows import Pair, check_images, image_windows, out_shape_of
from bpfunc.layers.initializers import Initializer, he_normal, zeros
from bpfunc.ops.convolution import (
    convolution,
    convolution_example_grads,
    convolution_input_vjp,
    convolution_weight_vjp,
)
from bpfunc.ops.windows import Windows, size_of
from bpfunc.tree import Tree


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class ConvParams:
    """Parameters of `conv2d`; also the form of their gradients and tangents.

    Args:
        weight: (KH, KW, C / groups, F).
        bias: (F,), or None for a layer without.
    """

    weight: FloatArray
    bias: FloatArray | None

    __repr__ = one_line


@attrs.frozen
class _Conv:
    """What a layer was made with."""

    how: Windows
    features: int
    groups: int
    use_bias: bool


def conv2d(
    features: int,
    kernel: Pair = 3,
    *,
    stride: Pair = 1,
    padding: str | int | tuple[int, ...] = "same",
    dilation: Pair = 1,
    groups: int = 1,
    use_bias: bool = True,
    weight_init: Initializer = he_normal,
    bias_init: Initializer = zeros,
) -> Layer:
    """Convolve images: each window of pixels becomes a row ``r``, and ``y = r W + b`` at each place.

    Images are (B, H, W, C), channels last: the pixels of a window lie side by side in memory, so that copying the
    windows is fast, and the product is that of `dense`. The derivatives are those of `dense` with a sum over places,
    since all places share ``W``: ``dW = sum r^T dy``, ``db = sum dy``, and ``dx`` adds up ``dy W^T`` over the windows
    that a pixel is in.

    Args:
        features: F, number of filters, at least 1.
        kernel: Height and width of a filter, or one number for both.
        stride: Pixels from one window to the next, down and across.
        padding: ``same`` (``ceil(H / stride)`` rows come out), ``valid`` (none), or pixels of zeros: one number, (down,
            across), or (top, bottom, left, right).
        dilation: Pixels from one pixel that a filter reads to the next, down and across.
        groups: Parts of channels and features that are apart; as many as channels for a depthwise convolution.
        use_bias: Whether there is a ``b``.
        weight_init: Starts ``W``, (KH, KW, C / groups, F).
        bias_init: Starts ``b``, (F,).

    Returns:
        A layer from (B, H, W, C) to (B, OH, OW, F) with `ConvParams`.

    Raises:
        ValueError: An argument is out of range, or the features do not fall into the groups.
        ShapeError: From the layer's functions, where the input is not (B, H, W, C), or smaller than the kernel.

    Example:
        >>> import numpy as np
        >>> from bpfunc.layers import INFERENCE
        >>> layer = conv2d(32, 3, stride=2)
        >>> params, state, out_shape = layer.init(Key(0), (28, 28, 1))
        >>> y, _, residual = layer.forward(params, state, np.ones((5, 28, 28, 1), np.float32), INFERENCE)
        >>> y.shape, layer.backward(params, residual, y)[0].weight.shape
        ((5, 14, 14, 32), (3, 3, 1, 32))

    Reference: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989).
    """
    features = whole("conv2d", "features", features, "[1, inf)")
    groups = whole("conv2d", "groups", groups, "[1, inf)")
    if features % groups:
        raise ValueError(f"conv2d takes features that fall into its {groups} groups, got {features}")
    how = image_windows("conv2d", kernel, stride, padding, dilation)
    conv = _Conv(how, features, groups, bool(use_bias))
    settings = (
        ("features", features),
        ("kernel", how.kernel),
        ("stride", how.stride),
        ("padding", how.padding),
        ("dilation", how.dilation),
        ("groups", groups),
        ("use_bias", bool(use_bias)),
    )
    return Layer(
        name=f"conv2d({features}, {how.kernel[0]} x {how.kernel[1]})",
        init=partial(_init, conv, weight_init, bias_init),
        forward=partial(_forward, conv),
        backward=partial(_backward, conv),
        backward_params=partial(_backward_params, conv),
        jvp=partial(_jvp, conv),
        backward_jvp=partial(_backward_jvp, conv),
        example_grads=partial(_example_grads, conv),
        flops=partial(_flops, conv),
        draws=False,
        maker=Maker("conv2d", settings),
    )


def _init(
    conv: _Conv, weight_init: Initializer, bias_init: Initializer, key: Key, in_shape: Shape
) -> tuple[ConvParams, Tree, Shape]:
    out = out_shape_of("conv2d", conv.how, in_shape)
    if in_shape[2] % conv.groups:
        raise ShapeError(f"conv2d has {conv.groups} groups, into which the channels of {in_shape} do not fall")
    weight_key, bias_key = split(key)
    weight = weight_init(weight_key, (*conv.how.kernel, in_shape[2] // conv.groups, conv.features))
    bias = bias_init(bias_key, (conv.features,)) if conv.use_bias else None
    return ConvParams(weight, bias), (), (*out, conv.features)


def _check_params(conv: _Conv, params: ConvParams) -> None:
    weight, expected = params.weight.shape, (*conv.how.kernel, conv.features)
    if len(weight) != 4 or (*weight[:2], weight[3]) != expected:
        raise ShapeError(
            f"conv2d expected a weight of shape ({expected[0]}, {expected[1]}, C, {expected[2]}), found {weight}"
        )
    if params.bias is not None and params.bias.shape != weight[3:]:
        raise ShapeError(f"conv2d has a weight {weight}, and a bias {params.bias.shape} that does not fit")


def _forward(
    conv: _Conv, params: ConvParams, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, FloatArray]:
    _check_params(conv, params)
    check_images("conv2d", conv.how, x, params.weight.shape[2] * conv.groups)
    return _affine(conv, params, x), state, readonly(x)


def _affine(conv: _Conv, params: ConvParams, x: FloatArray) -> FloatArray:
    y = convolution(x, params.weight, conv.how, conv.groups)
    if params.bias is not None:
        y += params.bias
    return y


def _flops(conv: _Conv, in_shape: Shape, out_shape: Shape) -> int:
    row = math.prod(conv.how.kernel) * in_shape[2] // conv.groups
    return math.prod(out_shape) * (2 * row + conv.use_bias)


def _check_cotangent(conv: _Conv, x: FloatArray, dy: FloatArray) -> None:
    expected = (len(x), *conv.how.out_size(size_of(x.shape)), conv.features)
    if dy.shape != expected:
        raise ShapeError(f"conv2d expected a cotangent of shape {expected}, found {dy.shape}")


def _backward(conv: _Conv, params: ConvParams, residual: FloatArray, dy: FloatArray) -> tuple[ConvParams, FloatArray]:
    return _backward_params(conv, params, residual, dy), _dx(conv, params, residual, dy)


def _backward_params(conv: _Conv, params: ConvParams, residual: FloatArray, dy: FloatArray) -> ConvParams:
    _check_cotangent(conv, residual, dy)
    weight = convolution_weight_vjp(residual, dy, conv.how, conv.groups)
    return ConvParams(weight, None if params.bias is None else sum_to_last(dy))


def _dx(conv: _Conv, params: ConvParams, x: FloatArray, dy: FloatArray) -> FloatArray:
    return convolution_input_vjp(params.weight, dy, conv.how, x.shape, conv.groups)


def _jvp(
    conv: _Conv, params: ConvParams, residual: FloatArray, params_dot: ConvParams, x_dot: FloatArray
) -> FloatArray:
    y_dot = _affine(conv, params_dot, residual)
    y_dot += convolution(x_dot, params.weight, conv.how, conv.groups)
    return y_dot


def _backward_jvp(
    conv: _Conv,
    params: ConvParams,
    residual: FloatArray,
    params_dot: ConvParams,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[ConvParams, FloatArray]:
    moved = _backward_params(conv, params, residual, dy_dot)
    weight = moved.weight + convolution_weight_vjp(x_dot, dy, conv.how, conv.groups)
    dx_dot = _dx(conv, params_dot, residual, dy) + _dx(conv, params, residual, dy_dot)
    return ConvParams(weight, moved.bias), dx_dot


def _example_grads(
    conv: _Conv, params: ConvParams, residual: FloatArray, dy: FloatArray
) -> tuple[ConvParams, FloatArray]:
    _check_cotangent(conv, residual, dy)
    weight = convolution_example_grads(residual, dy, conv.how, conv.groups)
    bias = None if params.bias is None else dy.sum(axis=(1, 2))
    return ConvParams(weight, bias), _dx(conv, params, residual, dy)


hands_out(
    conv2d,
    forward=_forward,
    backward=_backward,
    backward_params=_backward_params,
    jvp=_jvp,
    backward_jvp=_backward_jvp,
    example_grads=_example_grads,
    flops=_flops,
)
