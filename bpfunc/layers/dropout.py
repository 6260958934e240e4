"""Dropout, of single inputs and of whole channels."""

from __future__ import annotations

from functools import partial

import numpy as np

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.keys import Key, uniform
from bpfunc.layers.base import Context, Layer, Maker, ShapeError, keeps_shape, no_params
from bpfunc.tree import Tree


def dropout(rate: float) -> Layer:
    """Drop inputs at random in training, and scale the others up: ``y = x m / (1 - rate)``, ``m`` 0 or 1.

    At inference it is the identity, so nothing has to be scaled there.

    Args:
        rate: Probability that an input is dropped, in [0, 1).

    Returns:
        A layer that keeps shapes, without parameters; the residual is the factor of each input.

    Raises:
        ValueError: The rate is outside [0, 1); or, from `forward`, training without a key.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import Context
        >>> y, _, _ = dropout(0.5).forward((), (), np.ones((1, 4), np.float32), Context(train=True, key=Key(1)))
        >>> sorted(set(y.ravel().tolist())) in ([0.0, 2.0], [0.0], [2.0])
        True

    Reference: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout" (2014).
    """
    rate = number("dropout", "rate", rate, "[0, 1)")

    return Layer(
        name=f"dropout({rate})",
        init=keeps_shape,
        forward=partial(_forward, rate),
        backward=_backward,
        backward_params=no_params,
        jvp=_jvp,
        backward_jvp=_backward_jvp,
        maker=Maker("dropout", (("rate", rate),)),
    )


def channel_dropout(rate: float) -> Layer:
    """Drop whole channels at random in training, and scale the others up: one draw for each example and channel.

    The pixels of a channel are alike, so that dropping single ones hides little.

    Args:
        rate: Probability that a channel is dropped, in [0, 1).

    Returns:
        A layer that keeps shapes (B, ..., C), without parameters; the residual is the factor, (B, 1, ..., C).

    Raises:
        ValueError: The rate is outside [0, 1); or, from `forward`, training without a key.
        ShapeError: From `forward`, where the input has less than two axes.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import Context
        >>> layer, ctx = channel_dropout(0.5), Context(train=True, key=Key(1))
        >>> y, _, _ = layer.forward((), (), np.ones((1, 2, 2, 3), np.float32), ctx)
        >>> bool((y == y[:, :1, :1]).all())
        True

    Reference: Tompson, Goroshin, Jain, LeCun and Bregler, "Efficient object localization using convolutional networks"
    (2015).
    """
    rate = number("channel_dropout", "rate", rate, "[0, 1)")

    return Layer(
        name=f"channel_dropout({rate})",
        init=keeps_shape,
        forward=partial(_channels_forward, rate),
        backward=_backward,
        backward_params=no_params,
        jvp=_jvp,
        backward_jvp=_backward_jvp,
        maker=Maker("channel_dropout", (("rate", rate),)),
    )


def _channels_forward(
    rate: float, params: Tree, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, FloatArray | None]:
    if x.ndim < 2:
        raise ShapeError(f"channel_dropout expected an input of shape (B, ..., C), found {x.shape}")
    if not ctx.train or rate == 0:
        return readonly(x), state, None
    if ctx.key is None:
        raise ValueError("channel_dropout in training needs a key: Context(train=True, key=Key(seed))")
    one_pixel = x[(slice(None), *(slice(1) for _ in x.shape[1:-1]))]
    factor = dropout_factor(ctx.key, one_pixel, rate)
    return x * factor, state, factor


def _forward(
    rate: float, params: Tree, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, FloatArray | None]:
    if not ctx.train or rate == 0:
        return readonly(x), state, None
    if ctx.key is None:
        raise ValueError("dropout in training needs a key: Context(train=True, key=Key(seed))")
    factor = dropout_factor(ctx.key, x, rate)
    return x * factor, state, factor


def _backward(params: Tree, residual: FloatArray | None, dy: FloatArray) -> tuple[Tree, FloatArray]:
    return (), _scaled(residual, dy)


def _jvp(params: Tree, residual: FloatArray | None, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return _scaled(residual, x_dot)


def _backward_jvp(
    params: Tree, residual: FloatArray | None, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    return (), _scaled(residual, dy_dot)


def dropout_factor(key: Key, x: FloatArray, rate: float) -> FloatArray:
    """Draw what `dropout` multiplies its input by: 0 with probability ``rate``, else ``1 / (1 - rate)``.

    Args:
        key: Names the mask.
        x: Gives shape and dtype.
        rate: In [0, 1).

    Returns:
        Array of ``x``'s shape and dtype; float64 where ``x`` holds whole numbers.

    Raises:
        ValueError: The rate is outside [0, 1).

    Example:
        >>> from bpfunc.keys import Key
        >>> float(dropout_factor(Key(0), np.ones(10_000), 0.2).mean().round(1))
        1.0
    """
    rate = number("dropout_factor", "rate", rate, "[0, 1)")
    kept = uniform(key, x.shape) >= rate
    factor: FloatArray = np.multiply(kept, np.asarray(1 / (1 - rate), x.dtype if x.dtype.kind == "f" else np.float64))
    return factor


def _scaled(factor: FloatArray | None, values: FloatArray) -> FloatArray:
    return readonly(values) if factor is None else values * factor


hands_out(dropout, forward=_forward, backward=_backward, jvp=_jvp, backward_jvp=_backward_jvp)
hands_out(channel_dropout, forward=_channels_forward)
