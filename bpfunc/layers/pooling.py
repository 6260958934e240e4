"""Pooling of images: the largest pixel or the mean of each window, or of the whole image."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.types import FloatArray, Shape, readonly
from bpfunc.keys import Key
from bpfunc.layers.base import Context, Layer, Maker, ShapeError, no_params
from bpfunc.layers.image_windows import Pair, check_images, image_windows, out_shape_of
from bpfunc.ops.pooling import MaxPoolResidual, max_pool, max_pool_jvp, max_pool_vjp, mean_pool, mean_pool_vjp
from bpfunc.ops.windows import Windows, size_of
from bpfunc.tree import Tree


def max_pool2d(
    window: Pair = 2, *, stride: Pair | None = None, padding: str | int | tuple[int, ...] = "valid"
) -> Layer:
    """Take the largest pixel of each window, channel by channel: ``y = max_ij window``.

    Args:
        window: Height and width, or one number for both.
        stride: Pixels from one window to the next, down and across; by default the window's size.
        padding: As in `conv2d`, below the window's size; padding never is the largest.

    Returns:
        A layer from (B, H, W, C) to (B, OH, OW, C), without parameters. Of equal pixels the first gets the cotangent.

    Raises:
        ValueError: An argument is out of range.
        ShapeError: From the layer's functions, where the input is not (B, H, W, C), or smaller than the window.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> max_pool2d(2).forward((), (), np.arange(8.0).reshape(1, 2, 4, 1), INFERENCE)[0].ravel()
        array([5., 7.])

    Reference: Ranzato, Huang, Boureau and LeCun, "Unsupervised learning of invariant feature hierarchies" (2007).
    """
    how = _pool_windows("max_pool2d", window, stride, padding)
    return Layer(
        name=f"max_pool2d({how.kernel[0]} x {how.kernel[1]})",
        init=partial(_init, "max_pool2d", how),
        forward=partial(_max_forward, how),
        backward=_max_backward,
        backward_params=no_params,
        jvp=_max_jvp,
        backward_jvp=_max_backward_jvp,
        flops=partial(_flops, how),
        draws=False,
        maker=Maker("max_pool2d", _settings(how)),
    )


def avg_pool2d(
    window: Pair = 2, *, stride: Pair | None = None, padding: str | int | tuple[int, ...] = "valid"
) -> Layer:
    """Take the mean of each window's pixels, channel by channel; padding is not counted.

    Args:
        window: Height and width, or one number for both.
        stride: Pixels from one window to the next, down and across; by default the window's size.
        padding: As in `conv2d`, below the window's size.

    Returns:
        A layer from (B, H, W, C) to (B, OH, OW, C), without parameters.

    Raises:
        ValueError: An argument is out of range.
        ShapeError: From the layer's functions, where the input is not (B, H, W, C), or smaller than the window.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> avg_pool2d(2).forward((), (), np.arange(8.0).reshape(1, 2, 4, 1), INFERENCE)[0].ravel()
        array([2.5, 4.5])

    Reference: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998).
    """
    how = _pool_windows("avg_pool2d", window, stride, padding)
    return Layer(
        name=f"avg_pool2d({how.kernel[0]} x {how.kernel[1]})",
        init=partial(_init, "avg_pool2d", how),
        forward=partial(_mean_forward, how),
        backward=partial(_mean_backward, how),
        backward_params=no_params,
        jvp=partial(_mean_jvp, how),
        backward_jvp=partial(_mean_backward_jvp, how),
        flops=partial(_flops, how),
        draws=False,
        maker=Maker("avg_pool2d", _settings(how)),
    )


def global_avg_pool() -> Layer:
    """Take the mean of each channel over the whole image: (B, H, W, C) becomes (B, C).

    Returns:
        A layer without parameters.

    Raises:
        ShapeError: From the layer's functions, where the input is not (B, H, W, C).

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> global_avg_pool().forward((), (), np.arange(8.0).reshape(1, 2, 2, 2), INFERENCE)[0]
        array([[3., 4.]])

    Reference: Lin, Chen and Yan, "Network in network" (2014).
    """
    return Layer(
        name="global_avg_pool",
        init=_global_init,
        forward=_global_forward,
        backward=_global_backward,
        backward_params=no_params,
        jvp=_global_jvp,
        backward_jvp=_global_backward_jvp,
        flops=_global_flops,
        draws=False,
        maker=Maker("global_avg_pool"),
    )


def _pool_windows(name: str, window: Pair, stride: Pair | None, padding: str | int | tuple[int, ...]) -> Windows:
    how = image_windows(name, window, window if stride is None else stride, padding)
    (height, width), pads = how.kernel, how.padding
    if not isinstance(pads, str) and (max(pads[:2]) >= height or max(pads[2:]) >= width):
        raise ValueError(f"{name} takes a padding below its window {how.kernel}, got {padding!r}")
    return how


def _settings(how: Windows) -> tuple[tuple[str, tuple[int, ...] | str], ...]:
    return ("window", how.kernel), ("stride", how.stride), ("padding", how.padding)


def _init(name: str, how: Windows, key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
    return (), (), (*out_shape_of(name, how, in_shape), in_shape[2])


def _flops(how: Windows, in_shape: Shape, out_shape: Shape) -> int:
    return math.prod(out_shape) * math.prod(how.kernel)


def _check_cotangent(name: str, expected: Shape, dy: FloatArray) -> None:
    if dy.shape != expected:
        raise ShapeError(f"{name} expected a cotangent of shape {expected}, found {dy.shape}")


def _max_forward(
    how: Windows, params: Tree, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, MaxPoolResidual]:
    check_images("max_pool2d", how, x)
    y, residual = max_pool(x, how)
    return y, state, residual


def _max_backward(params: Tree, residual: MaxPoolResidual, dy: FloatArray) -> tuple[Tree, FloatArray]:
    _check_cotangent("max_pool2d", residual.chosen.shape, dy)
    return (), max_pool_vjp(residual, dy)


def _max_jvp(params: Tree, residual: MaxPoolResidual, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return max_pool_jvp(residual, x_dot)


def _max_backward_jvp(
    params: Tree, residual: MaxPoolResidual, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    return (), max_pool_vjp(residual, dy_dot)


def _mean_forward(
    how: Windows, params: Tree, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, Shape]:
    check_images("avg_pool2d", how, x)
    return mean_pool(x, how), state, x.shape


def _mean_backward(how: Windows, params: Tree, residual: Shape, dy: FloatArray) -> tuple[Tree, FloatArray]:
    _check_cotangent("avg_pool2d", (residual[0], *how.out_size(size_of(residual)), residual[3]), dy)
    return (), mean_pool_vjp(dy, how, residual)


def _mean_jvp(how: Windows, params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return mean_pool(x_dot, how)


def _mean_backward_jvp(
    how: Windows, params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    return (), mean_pool_vjp(dy_dot, how, residual)


def _global_init(key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
    if len(in_shape) != 3 or min(in_shape) < 1:
        raise ShapeError(f"global_avg_pool takes examples of shape (H, W, C), found {in_shape}")
    return (), (), in_shape[2:]


def _global_flops(in_shape: Shape, out_shape: Shape) -> int:
    return math.prod(in_shape)


def _global_forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Shape]:
    if x.ndim != 4 or min(x.shape[1:]) < 1:
        raise ShapeError(f"global_avg_pool expected an input of shape (B, H, W, C), found {x.shape}")
    return x.mean(axis=(1, 2)), state, x.shape


def _global_backward(params: Tree, residual: Shape, dy: FloatArray) -> tuple[Tree, FloatArray]:
    _check_cotangent("global_avg_pool", (residual[0], residual[3]), dy)
    share = dy / (residual[1] * residual[2])
    return (), readonly(np.broadcast_to(share[:, None, None], residual))


def _global_jvp(params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    y_dot: FloatArray = x_dot.mean(axis=(1, 2))
    return y_dot


def _global_backward_jvp(
    params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    return _global_backward(params, residual, dy_dot)


hands_out(
    max_pool2d, forward=_max_forward, backward=_max_backward, jvp=_max_jvp, backward_jvp=_max_backward_jvp, flops=_flops
)
hands_out(avg_pool2d, forward=_mean_forward, backward=_mean_backward, jvp=_mean_jvp, backward_jvp=_mean_backward_jvp)
hands_out(
    global_avg_pool,
    forward=_global_forward,
    backward=_global_backward,
    jvp=_global_jvp,
    backward_jvp=_global_backward_jvp,
    flops=_global_flops,
)
