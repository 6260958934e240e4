"""Flattening examples to vectors."""

from __future__ import annotations

import math

from bpfunc.arrays.types import FloatArray, Shape, readonly
from bpfunc.keys import Key
from bpfunc.layers.base import Context, Layer, Maker, no_flops, no_params
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


def _init(key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
    return (), (), (math.prod(in_shape),)


def _forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Shape]:
    return _flat(x), state, x.shape


def _backward(params: Tree, residual: Shape, dy: FloatArray) -> tuple[Tree, FloatArray]:
    return (), readonly(dy.reshape(residual))


def _jvp(params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return _flat(x_dot)


def _backward_jvp(
    params: Tree, residual: Shape, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    return (), readonly(dy_dot.reshape(residual))


def _flat(x: FloatArray) -> FloatArray:
    return readonly(x.reshape(len(x), math.prod(x.shape[1:])))
