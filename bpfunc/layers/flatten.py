"""Flattening examples to vectors."""

from __future__ import annotations

import math

from bpfunc.arrays.types import FloatArray, Shape, readonly
from bpfunc.layers.base import Context, Layer, Maker
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

    def forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Shape]:
        return _flat(x), state, x.shape

    return Layer(
        name="flatten",
        init=lambda key, in_shape: ((), (), (math.prod(in_shape),)),
        forward=forward,
        backward=lambda params, residual, dy: ((), readonly(dy.reshape(residual))),
        backward_params=lambda params, residual, dy: (),
        jvp=lambda params, residual, params_dot, x_dot: _flat(x_dot),
        backward_jvp=lambda params, residual, params_dot, x_dot, dy, dy_dot: ((), readonly(dy_dot.reshape(residual))),
        flops=lambda in_shape, out_shape: 0,
        draws=False,
        maker=Maker("flatten"),
    )


def _flat(x: FloatArray) -> FloatArray:
    return readonly(x.reshape(len(x), math.prod(x.shape[1:])))
