"""Combinators: layers in, one layer out."""

from __future__ import annotations

import attrs
import numpy as np

from bpfunc.keys import Key, fold_in
from bpfunc.layers import Context, Layer, ShapeError
from bpfunc.tree import Tree
from bpfunc.types import FloatArray, Shape


@attrs.frozen(eq=False)
class SerialParams:
    """Parameters of `serial`, one entry for each layer; also the form of their gradients and tangents.

    Args:
        layers: Params of the layers in order; ``()`` for a layer that has none.
    """

    layers: tuple[Tree, ...]


def serial(*layers: Layer) -> Layer:
    """Compose layers: the output of each is the input of the next. The chain rule in one place.

    Args:
        layers: In the order in which the data passes them.

    Returns:
        A layer with `SerialParams`; state and residual are tuples with one entry for each layer.

    Raises:
        ShapeError: From the layer's functions, naming the failing layer as ``layers[i]``.

    Example:
        >>> from bpfunc.layers import INFERENCE, dense, relu
        >>> mlp = serial(dense(4), relu(), dense(3))
        >>> params, state, out_shape = mlp.init(Key(0), (2,))
        >>> out_shape
        (3,)
        >>> mlp.forward(params, state, np.ones((5, 2), np.float32), INFERENCE)[0].shape
        (5, 3)
    """

    def init(key: Key, in_shape: Shape) -> tuple[SerialParams, Tree, Shape]:
        params, states, shape = [], [], in_shape
        for index, layer in enumerate(layers):
            try:
                layer_params, layer_state, shape = layer.init(fold_in(key, index), shape)
            except ShapeError as error:
                raise error.inside(f"layers[{index}]") from None
            params.append(layer_params)
            states.append(layer_state)
        return SerialParams(tuple(params)), tuple(states), shape

    def forward(params: SerialParams, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
        y, states, residuals = x, [], []
        for index, layer in enumerate(layers):
            try:
                y, layer_state, residual = layer.forward(params.layers[index], state[index], y, _child(ctx, index))
            except ShapeError as error:
                raise error.inside(f"layers[{index}]") from None
            states.append(layer_state)
            residuals.append(residual)
        return y, tuple(states), tuple(residuals)

    def backward(params: SerialParams, residual: Tree, dy: FloatArray) -> tuple[SerialParams, FloatArray]:
        grads: list[Tree] = []
        for index in reversed(range(len(layers))):
            layer_grads, dy = layers[index].backward(params.layers[index], residual[index], dy)
            grads.append(layer_grads)
        return SerialParams(tuple(reversed(grads))), dy

    def backward_params(params: SerialParams, residual: Tree, dy: FloatArray) -> SerialParams:
        grads: list[Tree] = []
        for index in reversed(range(1, len(layers))):
            layer_grads, dy = layers[index].backward(params.layers[index], residual[index], dy)
            grads.append(layer_grads)
        if layers:
            grads.append(layers[0].backward_params(params.layers[0], residual[0], dy))
        return SerialParams(tuple(reversed(grads)))

    def jvp(params: SerialParams, residual: Tree, params_dot: SerialParams, x_dot: FloatArray) -> FloatArray:
        return _tangents(layers, params, residual, params_dot, x_dot)[-1]

    def backward_jvp(
        params: SerialParams,
        residual: Tree,
        params_dot: SerialParams,
        x_dot: FloatArray,
        dy: FloatArray,
        dy_dot: FloatArray,
    ) -> tuple[SerialParams, FloatArray]:
        tangents = _tangents(layers, params, residual, params_dot, x_dot)
        grads_dot: list[Tree] = []
        for index in reversed(range(len(layers))):
            layer, layer_params, layer_residual = layers[index], params.layers[index], residual[index]
            layer_dot, dx_dot = layer.backward_jvp(
                layer_params, layer_residual, params_dot.layers[index], tangents[index], dy, dy_dot
            )
            _, dy = layer.backward(layer_params, layer_residual, dy)
            dy_dot = dx_dot
            grads_dot.append(layer_dot)
        return SerialParams(tuple(reversed(grads_dot))), dy_dot

    def example_grads(params: SerialParams, residual: Tree, dy: FloatArray) -> tuple[SerialParams, FloatArray]:
        grads: list[Tree] = []
        for index in reversed(range(len(layers))):
            layer_grads, dy = layers[index].example_grads(params.layers[index], residual[index], dy)
            grads.append(layer_grads)
        return SerialParams(tuple(reversed(grads))), dy

    def example_norms(params: SerialParams, residual: Tree, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
        total: FloatArray = np.zeros(len(dy), dy.dtype)
        for index in reversed(range(len(layers))):
            norms, dy = layers[index].example_norms(params.layers[index], residual[index], dy)
            total = total + norms
        return total, dy

    return Layer(
        name=f"serial({', '.join(layer.name for layer in layers)})",
        init=init,
        forward=forward,
        backward=backward,
        backward_params=backward_params,
        jvp=jvp,
        backward_jvp=backward_jvp,
        example_grads=example_grads,
        example_norms=example_norms,
    )


def _child(ctx: Context, index: int) -> Context:
    return ctx if ctx.key is None else Context(ctx.train, fold_in(ctx.key, index))


def _tangents(
    layers: tuple[Layer, ...],
    params: SerialParams,
    residual: Tree,
    params_dot: SerialParams,
    x_dot: FloatArray,
) -> list[FloatArray]:
    """Tangents of the inputs of all layers, and of the last output."""
    tangents = [x_dot]
    for index, layer in enumerate(layers):
        tangents.append(layer.jvp(params.layers[index], residual[index], params_dot.layers[index], tangents[-1]))
    return tangents
