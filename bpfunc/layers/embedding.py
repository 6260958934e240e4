"""Embedding of integer categories."""

from __future__ import annotations

from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, IntArray, Shape, readonly, readonly_arrays
from bpfunc.keys import Key, normal
from bpfunc.layers.base import Context, Layer, Maker, ShapeError, no_flops
from bpfunc.layers.initializers import Initializer
from bpfunc.tree import Tree


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class EmbeddingParams:
    """Parameters of `embedding`; also the form of their gradients and tangents.

    Args:
        table: (V, E), a row for each category.
    """

    table: FloatArray

    __repr__ = one_line


def embedding(categories: int, width: int, *, table_init: Initializer = normal) -> Layer:
    """Look categories up in a table: ``y = table[x]``.

    Args:
        categories: V, at least 1.
        width: E, at least 1.
        table_init: Starts the table, (V, E).

    Returns:
        A layer from (B,) or (B, F) whole numbers in 0..V-1 to (B, E) or (B, F, E), with `EmbeddingParams`. Categories
        have no derivative: the input's cotangent is zeros of the output's dtype.

    Raises:
        ValueError: A size is below 1; or, from `forward`, a category is out of range or no whole number.
        ShapeError: From the layer's functions, where the input is not (B,) or (B, F).

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> layer = embedding(5, 2)
        >>> params, state, out_shape = layer.init(Key(0), (3,))
        >>> layer.forward(params, state, np.array([[0, 4, 4]]), INFERENCE)[0].shape, out_shape
        ((1, 3, 2), (3, 2))

    Reference: Bengio, Ducharme, Vincent and Jauvin, "A neural probabilistic language model" (2003).
    """
    categories = whole("embedding", "categories", categories, "[1, inf)")
    width = whole("embedding", "width", width, "[1, inf)")
    return Layer(
        name=f"embedding({categories}, {width})",
        init=partial(_init, categories, width, table_init),
        forward=partial(_forward, categories, width),
        backward=_backward,
        jvp=_jvp,
        backward_jvp=_backward_jvp,
        example_grads=_example_grads,
        flops=no_flops,
        draws=False,
        maker=Maker("embedding", (("categories", categories), ("width", width))),
        looks_up=True,
    )


def _init(
    categories: int, width: int, table_init: Initializer, key: Key, in_shape: Shape
) -> tuple[EmbeddingParams, Tree, Shape]:
    if len(in_shape) > 1:
        raise ShapeError(f"embedding takes examples of shape () or (F,), found {in_shape}")
    return EmbeddingParams(table_init(key, (categories, width))), (), (*in_shape, width)


def _forward(
    categories: int, width: int, params: EmbeddingParams, state: Tree, x: IntArray, ctx: Context
) -> tuple[FloatArray, Tree, IntArray]:
    if x.ndim not in (1, 2):
        raise ShapeError(f"embedding expected an input of shape (B,) or (B, F), found {x.shape}")
    if params.table.shape != (categories, width):
        raise ShapeError(f"embedding expected a table of shape {(categories, width)}, found {params.table.shape}")
    if not np.issubdtype(x.dtype, np.integer):
        raise ValueError(f"embedding takes whole numbers, found {x.dtype}")
    if x.size and not 0 <= x.min() <= x.max() < categories:
        raise ValueError(f"categories run from 0 to {categories - 1}, found {x.min()} to {x.max()}")
    return params.table[x], state, readonly(x)


def _backward(params: EmbeddingParams, residual: IntArray, dy: FloatArray) -> tuple[EmbeddingParams, FloatArray]:
    if dy.shape != (*residual.shape, params.table.shape[1]):
        shape = (*residual.shape, params.table.shape[1])
        raise ShapeError(f"embedding expected a cotangent of shape {shape}, found {dy.shape}")
    table = np.zeros(params.table.shape, dy.dtype)
    np.add.at(table, residual, dy)
    return EmbeddingParams(table), np.zeros(residual.shape, dy.dtype)


def _jvp(params: EmbeddingParams, residual: IntArray, params_dot: EmbeddingParams, x_dot: Tree) -> FloatArray:
    y_dot: FloatArray = params_dot.table[residual]
    return y_dot


def _backward_jvp(
    params: EmbeddingParams,
    residual: IntArray,
    params_dot: EmbeddingParams,
    x_dot: Tree,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[EmbeddingParams, FloatArray]:
    return _backward(params, residual, dy_dot)


def _example_grads(params: EmbeddingParams, residual: IntArray, dy: FloatArray) -> tuple[EmbeddingParams, FloatArray]:
    tables = np.zeros((len(dy), *params.table.shape), dy.dtype)
    rows = np.arange(len(dy)).reshape(-1, *([1] * (residual.ndim - 1)))
    np.add.at(tables, (rows, residual), dy)
    return EmbeddingParams(tables), np.zeros(residual.shape, dy.dtype)


hands_out(
    embedding, forward=_forward, backward=_backward, jvp=_jvp, backward_jvp=_backward_jvp, example_grads=_example_grads
)
