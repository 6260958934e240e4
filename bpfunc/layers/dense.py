"""Fully connected layer."""

from __future__ import annotations

from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.aligned import SMALL, empty
from bpfunc.arrays.arguments import expected_function
from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, Shape, readonly, readonly_arrays
from bpfunc.keys import Key, split
from bpfunc.layers.base import Context, Layer, Maker, ShapeError, squared_sums
from bpfunc.layers.initializers import Initializer, he_normal, zeros
from bpfunc.tree import Tree

SMALL_RESULT = SMALL // 8
"""Numbers in a product below which its place does not matter, whatever its dtype."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class DenseParams:
    """Parameters of `dense`; also the form of their gradients and tangents.

    Args:
        weight: (D, H).
        bias: (H,), or None for a layer without.
    """

    weight: FloatArray
    bias: FloatArray | None

    __repr__ = one_line


def dense(
    width: int, *, use_bias: bool = True, weight_init: Initializer = he_normal, bias_init: Initializer = zeros
) -> Layer:
    """Fully connected layer: ``y = x W + b``.

    Its derivatives: ``dW = x^T dy``, ``db = sum_B dy``, ``dx = dy W^T``.

    Args:
        width: H, number of outputs, at least 1.
        use_bias: Whether there is a ``b``.
        weight_init: Starts ``W``, (D, H).
        bias_init: Starts ``b``, (H,).

    Returns:
        A layer from (B, D) to (B, H) with `DenseParams`.

    Raises:
        ValueError: The width is below 1.
        TypeError: An initialiser is not a function.
        ShapeError: From the layer's functions, where the input is not (B, D).

    Example:
        >>> from bpfunc.layers import INFERENCE
        >>> layer = dense(3)
        >>> params, state, out_shape = layer.init(Key(0), (2,))
        >>> y, state, residual = layer.forward(params, state, np.ones((5, 2), np.float32), INFERENCE)
        >>> y.shape
        (5, 3)

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    width = whole("dense", "width", width, "[1, inf)")
    for name, init in (("weight_init", weight_init), ("bias_init", bias_init)):
        expected_function("dense", name, init, "Initializer")

    return Layer(
        name=f"dense({width})",
        init=partial(_dense_init, width, use_bias, weight_init, bias_init),
        forward=_dense_forward,
        backward=_dense_backward,
        backward_params=_dense_backward_params,
        jvp=_dense_jvp,
        backward_jvp=_dense_backward_jvp,
        example_grads=_dense_example_grads,
        example_norms=_dense_example_norms,
        flops=partial(_dense_flops, width, use_bias),
        draws=False,
        maker=Maker("dense", (("width", width), ("use_bias", bool(use_bias)))),
    )


def _misfit(params: DenseParams, x: FloatArray) -> ShapeError:
    if params.weight.ndim != 2:
        return ShapeError(f"dense expected a weight of shape (D, H), found {params.weight.shape}")
    return ShapeError(f"dense expected an input of shape (B, {params.weight.shape[0]}), found {x.shape}")


def _dense_init(
    width: int, use_bias: bool, weight_init: Initializer, bias_init: Initializer, key: Key, in_shape: Shape
) -> tuple[DenseParams, Tree, Shape]:
    if len(in_shape) != 1:
        raise ShapeError(f"dense takes examples of shape (D,), found {in_shape}; put flatten() before it")
    weight_key, bias_key = split(key)
    weight = weight_init(weight_key, (in_shape[0], width))
    return DenseParams(weight, bias_init(bias_key, (width,)) if use_bias else None), (), (width,)


def _dense_forward(
    params: DenseParams, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, FloatArray]:
    if x.ndim != 2 or x.shape[1:] != params.weight.shape[:-1]:
        raise _misfit(params, x)
    if params.bias is not None and params.bias.shape != params.weight.shape[1:]:
        raise ShapeError(f"dense has a weight {params.weight.shape}, and a bias {params.bias.shape} that does not fit")
    return _affine(x, params), state, readonly(x)


def _dense_flops(width: int, use_bias: bool, in_shape: Shape, out_shape: Shape) -> int:
    return 2 * in_shape[0] * width + (width if use_bias else 0)


def matrix_product(a: FloatArray, b: FloatArray) -> FloatArray:
    """Multiply into an array that lies well in memory.

    Args:
        a: (B, D) floating.
        b: (D, H) floating.

    Returns:
        (B, H).

    Example:
        >>> matrix_product(np.ones((1, 2)), np.ones((2, 3)))
        array([[2., 2., 2.]])
    """
    if len(a) * b.shape[1] < SMALL_RESULT:
        small: FloatArray = a.dot(b)  # the same product as `matmul`, called faster
        return small
    dtype = a.dtype if a.dtype == b.dtype else np.result_type(a, b)
    return np.matmul(a, b, out=empty((a.shape[0], b.shape[1]), dtype))


def _affine(x: FloatArray, params: DenseParams) -> FloatArray:
    y = matrix_product(x, params.weight)
    if params.bias is not None:
        y += params.bias
    return y


def _dense_backward(params: DenseParams, residual: FloatArray, dy: FloatArray) -> tuple[DenseParams, FloatArray]:
    return _dense_backward_params(params, residual, dy), matrix_product(dy, params.weight.T)


def _dense_backward_params(params: DenseParams, residual: FloatArray, dy: FloatArray) -> DenseParams:
    x = residual
    if dy.shape != (len(x), params.weight.shape[1]):
        raise ShapeError(f"dense expected a cotangent of shape {(len(x), params.weight.shape[1])}, found {dy.shape}")
    return DenseParams(matrix_product(x.T, dy), None if params.bias is None else np.add.reduce(dy))


def _dense_jvp(params: DenseParams, residual: FloatArray, params_dot: DenseParams, x_dot: FloatArray) -> FloatArray:
    y_dot: FloatArray = _affine(residual, params_dot) + x_dot @ params.weight
    return y_dot


def _dense_backward_jvp(
    params: DenseParams,
    residual: FloatArray,
    params_dot: DenseParams,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[DenseParams, FloatArray]:
    weight_dot = x_dot.T @ dy + residual.T @ dy_dot
    bias_dot = None if params.bias is None else dy_dot.sum(axis=0)
    return DenseParams(weight_dot, bias_dot), dy @ params_dot.weight.T + dy_dot @ params.weight.T


def _dense_example_grads(params: DenseParams, residual: FloatArray, dy: FloatArray) -> tuple[DenseParams, FloatArray]:
    weight = residual[:, :, None] * dy[:, None, :]
    return DenseParams(weight, None if params.bias is None else dy), dy @ params.weight.T


def _dense_example_norms(params: DenseParams, residual: FloatArray, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
    # The gradient of one example is an outer product, whose norm is the product of the norms (Goodfellow, 2015).
    inputs = squared_sums(residual)
    if params.bias is not None:
        inputs = inputs + 1
    return inputs * squared_sums(dy), dy @ params.weight.T


hands_out(
    dense,
    forward=_dense_forward,
    backward=_dense_backward,
    backward_params=_dense_backward_params,
    jvp=_dense_jvp,
    backward_jvp=_dense_backward_jvp,
    example_grads=_dense_example_grads,
    example_norms=_dense_example_norms,
    flops=_dense_flops,
)
