"""Laying the numbers of examples out in another shape, such as vectors or images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, Shape, readonly
from bpfunc.keys import Key
from bpfunc.layers.base import Context, Layer, Maker, ShapeError, no_flops, no_params
from bpfunc.tree import Tree


def flatten() -> Layer:
    """Lay each example's axes end to end: (B, ...) becomes (B, D).

    Returns:
        A layer without parameters; the residual is the input's shape.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> flatten().forward((), (), np.zeros((5, 28, 28)), INFERENCE)[0].shape
        (5, 784)
    """
    return Layer(
        name="flatten",
        init=_init,
        forward=_forward,
        backward=_backward,
        backward_params=no_params,
        jvp=_jvp,
        backward_jvp=_backward_jvp,
        flops=no_flops,
        draws=False,
        maker=Maker("flatten"),
        looks_up=None,
    )


def reshape(shape: Iterable[int]) -> Layer:
    """Give each example another shape, row-major: (B, ...) becomes (B, \\*shape); rows of pixels become images.

    Args:
        shape: Shape of an example, such as (28, 28, 1); each length at least 1.

    Returns:
        A layer without parameters; the residual is the input's shape.

    Raises:
        ValueError: A length is below 1.
        ShapeError: From the layer's functions, where the examples have another count of numbers.

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> reshape((28, 28, 1)).forward((), (), np.zeros((5, 784)), INFERENCE)[0].shape
        (5, 28, 28, 1)
    """
    lengths = tuple(whole("reshape", "length", length, "[1, inf)") for length in shape)
    return Layer(
        name=f"reshape{lengths}",
        init=partial(_reshape_init, lengths),
        forward=partial(_reshape_forward, lengths),
        backward=_backward,
        backward_params=no_params,
        jvp=partial(_reshape_jvp, lengths),
        backward_jvp=_backward_jvp,
        flops=no_flops,
        draws=False,
        maker=Maker("reshape", (("shape", lengths),)),
        looks_up=None,
    )


def _reshape_init(lengths: Shape, key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
    if math.prod(in_shape) != math.prod(lengths):
        raise ShapeError(f"reshape takes examples of {math.prod(lengths)} numbers for {lengths}, found {in_shape}")
    return (), (), lengths


def _reshape_forward(
    lengths: Shape, params: Tree, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, Shape]:
    if x.ndim < 1 or math.prod(x.shape[1:]) != math.prod(lengths):
        raise ShapeError(
            f"reshape expected an input of shape (B, ...) with {math.prod(lengths)} numbers for each example,"
            f" found {x.shape}"
        )
    return readonly(x.reshape(len(x), *lengths)), state, x.shape


def _reshape_jvp(lengths: Shape, params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return readonly(x_dot.reshape(len(x_dot), *lengths))


def _init(key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
    return (), (), (math.prod(in_shape),)


def _forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Shape]:
    return _flat(x), state, x.shape


def _backward(params: Tree, residual: Shape, dy: FloatArray) -> tuple[Tree, FloatArray]:
    return (), _back(residual, dy)


def _jvp(params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return _flat(x_dot)


def _backward_jvp(
    params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    return (), _back(residual, dy_dot)


def _back(in_shape: Shape, dy: FloatArray) -> FloatArray:
    if dy.shape[:1] != in_shape[:1] or math.prod(dy.shape) != math.prod(in_shape):
        raise ShapeError(f"a cotangent of shape {dy.shape} does not fit an input of shape {in_shape}")
    return readonly(dy.reshape(in_shape))


def _flat(x: FloatArray) -> FloatArray:
    return readonly(x.reshape(len(x), math.prod(x.shape[1:])))


hands_out(flatten, forward=_forward, backward=_backward, jvp=_jvp, backward_jvp=_backward_jvp)
hands_out(reshape, forward=_reshape_forward, jvp=_reshape_jvp)
