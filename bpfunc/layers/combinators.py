"""Combinators: layers in, one layer out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.keys import Key, fold_in
from bpfunc.layers import Context, Layer, Maker, ShapeError
from bpfunc.tree import Tree


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
        y, keyless = x, ctx.key is None
        states: list[Tree] = []
        residuals: list[Tree] = []
        try:
            for layer, layer_params, layer_state in zip(layers, params.layers, state, strict=True):
                inner = ctx if keyless else _child(ctx, len(states), layer)
                y, new_state, residual = layer.forward(layer_params, layer_state, y, inner)
                states.append(new_state)
                residuals.append(residual)
        except ShapeError as error:
            raise error.inside(f"layers[{len(states)}]") from None
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
        parts=tuple((f"layers[{index}]", layer) for index, layer in enumerate(layers)),
        maker=Maker("serial"),
    )


def _child(ctx: Context, index: int, layer: Layer) -> Context:
    return ctx if ctx.key is None or not layer.draws else Context(ctx.train, fold_in(ctx.key, index))


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


@attrs.frozen(eq=False)
class NamedParams:
    """Parameters of `named`; also the form of their gradients and tangents.

    Args:
        parts: Params of each part by its name.
    """

    parts: dict[str, Tree]


def named(*parts: tuple[str, Layer]) -> Layer:
    """Compose layers as `serial` does, and call them by name: paths read ``parts['head'].weight``.

    Args:
        parts: (name, layer), in the order in which the data passes them.

    Returns:
        A layer with `NamedParams`; state and residual are tuples as in `serial`.

    Raises:
        ValueError: Two parts have one name.
        ShapeError: From the layer's functions, naming the failing part.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> model = named(("hidden", dense(4)), ("activation", relu()), ("head", dense(3)))
        >>> params, _, _ = model.init(Key(0), (2,))
        >>> sorted(params.parts)
        ['activation', 'head', 'hidden']
    """
    names = [name for name, _ in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"every part needs a name of its own, got {', '.join(names)}")
    inner = serial(*(layer for _, layer in parts))

    def unnamed(params: NamedParams) -> SerialParams:
        return SerialParams(tuple(params.parts[name] for name in names))

    def renamed(params: SerialParams) -> NamedParams:
        return NamedParams(dict(zip(names, params.layers, strict=True)))

    def first(result: tuple[SerialParams, FloatArray]) -> tuple[NamedParams, FloatArray]:
        return renamed(result[0]), result[1]

    def init(key: Key, in_shape: Shape) -> tuple[NamedParams, Tree, Shape]:
        with _names_in_errors(names):
            params, state, out_shape = inner.init(key, in_shape)
        return renamed(params), state, out_shape

    def forward(params: NamedParams, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
        with _names_in_errors(names):
            return inner.forward(unnamed(params), state, x, ctx)

    return Layer(
        name=f"named({', '.join(names)})",
        init=init,
        forward=forward,
        backward=lambda params, residual, dy: first(inner.backward(unnamed(params), residual, dy)),
        backward_params=lambda params, residual, dy: renamed(inner.backward_params(unnamed(params), residual, dy)),
        jvp=lambda params, residual, params_dot, x_dot: inner.jvp(
            unnamed(params), residual, unnamed(params_dot), x_dot
        ),
        backward_jvp=lambda params, residual, params_dot, x_dot, dy, dy_dot: first(
            inner.backward_jvp(unnamed(params), residual, unnamed(params_dot), x_dot, dy, dy_dot)
        ),
        example_grads=lambda params, residual, dy: first(inner.example_grads(unnamed(params), residual, dy)),
        example_norms=lambda params, residual, dy: inner.example_norms(unnamed(params), residual, dy),
        parts=tuple((f"parts[{name!r}]", layer) for name, layer in parts),
        maker=Maker("named", (("names", tuple(names)),)),
    )


@contextmanager
def _names_in_errors(names: list[str]) -> Iterator[None]:
    try:
        yield
    except ShapeError as error:
        index, _, rest = error.path.removeprefix("layers[").partition("]")
        raise ShapeError(error.problem, f"parts[{names[int(index)]!r}]{rest}") from None


def residual(layer: Layer) -> Layer:
    """Add a layer's input to its output: ``y = x + f(x)``.

    Args:
        layer: ``f``, which must keep the shape.

    Returns:
        A layer with the parameters and state of ``f``.

    Raises:
        ShapeError: From `init`, where ``f`` changes the shape.

    Example:
        >>> from bpfunc.layers import INFERENCE, relu
        >>> residual(relu()).forward((), (), np.array([[-1.0, 2.0]]), INFERENCE)[0]
        array([[-1.,  4.]])

    Reference: He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016).
    """

    def init(key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
        params, state, out_shape = layer.init(key, in_shape)
        if out_shape != in_shape:
            raise ShapeError(f"residual needs a layer that keeps the shape {in_shape}, this one gives {out_shape}")
        return params, state, out_shape

    def forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
        y, state, inner = layer.forward(params, state, x, ctx)
        return x + y, state, inner

    def plus(result: tuple[Tree, FloatArray], dy: FloatArray) -> tuple[Tree, FloatArray]:
        return result[0], result[1] + dy

    return Layer(
        name=f"residual({layer.name})",
        init=init,
        forward=forward,
        backward=lambda params, inner, dy: plus(layer.backward(params, inner, dy), dy),
        backward_params=layer.backward_params,
        jvp=lambda params, inner, params_dot, x_dot: x_dot + layer.jvp(params, inner, params_dot, x_dot),
        backward_jvp=lambda params, inner, params_dot, x_dot, dy, dy_dot: plus(
            layer.backward_jvp(params, inner, params_dot, x_dot, dy, dy_dot), dy_dot
        ),
        example_grads=lambda params, inner, dy: plus(layer.example_grads(params, inner, dy), dy),
        example_norms=lambda params, inner, dy: plus(layer.example_norms(params, inner, dy), dy),
        parts=(("inner", layer),),
        maker=Maker("residual"),
    )


@attrs.frozen(eq=False)
class ParallelParams:
    """Parameters of `parallel`, one entry for each branch; also the form of their gradients and tangents.

    Args:
        branches: Params of the branches in order.
    """

    branches: tuple[Tree, ...]


def parallel(*layers: Layer, combine: Literal["concatenate", "add"] = "concatenate") -> Layer:
    """Give one input to several layers and concatenate, or add, what they make of it.

    Args:
        layers: The branches, at least one; each gives (B, H_i), or all the same shape to add.
        combine: ``concatenate`` along the last axis, or ``add``.

    Returns:
        A layer with `ParallelParams`; state and residual are tuples with one entry for each branch.

    Raises:
        ValueError: There is no branch.
        ShapeError: From the layer's functions, naming the failing branch; or from `init`, where the outputs do not fit.

    Example:
        >>> from bpfunc.layers import dense
        >>> parallel(dense(3), dense(2)).init(Key(0), (4,))[2]
        (5,)

    Reference: Szegedy et al., "Going deeper with convolutions" (2015).
    """
    if not layers:
        raise ValueError("parallel takes at least one layer")

    def init(key: Key, in_shape: Shape) -> tuple[ParallelParams, Tree, Shape]:
        made = []
        for index, layer in enumerate(layers):
            with _inside(f"branches[{index}]"):
                made.append(layer.init(fold_in(key, index), in_shape))
        shapes = [shape for _, _, shape in made]
        if combine == "add" and len(set(shapes)) > 1:
            raise ShapeError(f"parallel can add outputs of one shape only, the branches give {shapes}")
        if combine == "concatenate" and len({shape[:-1] for shape in shapes}) > 1:
            raise ShapeError(f"parallel can concatenate along the last axis only, the branches give {shapes}")
        params = ParallelParams(tuple(params for params, _, _ in made))
        out_shape = shapes[0] if combine == "add" else (*shapes[0][:-1], sum(shape[-1] for shape in shapes))
        return params, tuple(state for _, state, _ in made), out_shape

    def forward(params: ParallelParams, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
        outputs, states, residuals = [], [], []
        for index, layer in enumerate(layers):
            with _inside(f"branches[{index}]"):
                y, branch_state, kept = layer.forward(
                    params.branches[index], state[index], x, _child(ctx, index, layer)
                )
            outputs.append(y)
            states.append(branch_state)
            residuals.append((kept, y.shape[-1]))
        return joined(outputs), tuple(states), tuple(residuals)

    def joined(outputs: list[FloatArray]) -> FloatArray:
        return np.concatenate(outputs, axis=-1) if combine == "concatenate" else _total(outputs)

    def cut(residual: Tree, dy: FloatArray) -> list[FloatArray]:
        if combine == "add":
            return [dy] * len(layers)
        ends = np.cumsum([width for _, width in residual])
        return np.split(dy, ends[:-1], axis=-1)

    def backward(params: ParallelParams, residual: Tree, dy: FloatArray) -> tuple[ParallelParams, FloatArray]:
        results = [
            layer.backward(params.branches[index], residual[index][0], part)
            for (index, layer), part in zip(enumerate(layers), cut(residual, dy), strict=True)
        ]
        return ParallelParams(tuple(grads for grads, _ in results)), _total([dx for _, dx in results])

    def backward_params(params: ParallelParams, residual: Tree, dy: FloatArray) -> ParallelParams:
        return ParallelParams(
            tuple(
                layer.backward_params(params.branches[index], residual[index][0], part)
                for (index, layer), part in zip(enumerate(layers), cut(residual, dy), strict=True)
            )
        )

    def jvp(params: ParallelParams, residual: Tree, params_dot: ParallelParams, x_dot: FloatArray) -> FloatArray:
        return joined(
            [
                layer.jvp(params.branches[index], residual[index][0], params_dot.branches[index], x_dot)
                for index, layer in enumerate(layers)
            ]
        )

    def backward_jvp(
        params: ParallelParams,
        residual: Tree,
        params_dot: ParallelParams,
        x_dot: FloatArray,
        dy: FloatArray,
        dy_dot: FloatArray,
    ) -> tuple[ParallelParams, FloatArray]:
        parts = zip(enumerate(layers), cut(residual, dy), cut(residual, dy_dot), strict=True)
        results = [
            layer.backward_jvp(
                params.branches[index], residual[index][0], params_dot.branches[index], x_dot, part, part_dot
            )
            for (index, layer), part, part_dot in parts
        ]
        return ParallelParams(tuple(grads for grads, _ in results)), _total([dx for _, dx in results])

    def example_grads(params: ParallelParams, residual: Tree, dy: FloatArray) -> tuple[ParallelParams, FloatArray]:
        results = [
            layer.example_grads(params.branches[index], residual[index][0], part)
            for (index, layer), part in zip(enumerate(layers), cut(residual, dy), strict=True)
        ]
        return ParallelParams(tuple(grads for grads, _ in results)), _total([dx for _, dx in results])

    def example_norms(params: ParallelParams, residual: Tree, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
        results = [
            layer.example_norms(params.branches[index], residual[index][0], part)
            for (index, layer), part in zip(enumerate(layers), cut(residual, dy), strict=True)
        ]
        return _total([norms for norms, _ in results]), _total([dx for _, dx in results])

    return Layer(
        name=f"parallel({', '.join(layer.name for layer in layers)})",
        init=init,
        forward=forward,
        backward=backward,
        backward_params=backward_params,
        jvp=jvp,
        backward_jvp=backward_jvp,
        example_grads=example_grads,
        example_norms=example_norms,
        parts=tuple((f"branches[{index}]", layer) for index, layer in enumerate(layers)),
        chained=False,
        maker=Maker("parallel", (("combine", combine),)),
    )


def _total(arrays: list[FloatArray]) -> FloatArray:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total


@contextmanager
def _inside(path: str) -> Iterator[None]:
    try:
        yield
    except ShapeError as error:
        raise error.inside(path) from None
