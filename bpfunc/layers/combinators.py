"""Combinators: layers in, one layer out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import attrs
import numpy as np

from bpfunc.arrays.arguments import described, expected
from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.types import FloatArray, Shape, readonly
from bpfunc.keys import Key, fold_in
from bpfunc.layers import Context, Layer, Maker, ShapeError, custom, inputs_for
from bpfunc.layers.base import BackwardFn
from bpfunc.tree import Tree, tree_leaves

Layers: TypeAlias = tuple[Layer, ...]
Combine: TypeAlias = Literal["concatenate", "add"]
ResultT = TypeVar("ResultT")


@attrs.frozen(eq=False)
class SerialParams:
    """Parameters of `serial`, one entry for each layer; also the form of their gradients and tangents.

    Args:
        layers: Params of the layers in order; ``()`` for a layer that has none.
    """

    layers: tuple[Tree, ...]

    __repr__ = one_line


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
    return _Chain(_layers("serial", layers)).as_layer(Maker("serial"))


def _layers(function: str, layers: Layers) -> Layers:
    """Refuse what is not a layer, by its place."""
    return tuple(expected(function, f"layers[{index}]", layer, Layer) for index, layer in enumerate(layers))


@attrs.frozen(eq=False)
class NamedParams:
    """Parameters of `named`; also the form of their gradients and tangents.

    Args:
        parts: Params of each part by its name.
    """

    parts: dict[str, Tree]

    __repr__ = one_line


def named(*parts: tuple[str, Layer]) -> Layer:
    """Compose layers as `serial` does, and call them by name: paths read ``parts['head'].weight``.

    Args:
        parts: (name, layer), in the order in which the data passes them.

    Returns:
        A layer with `NamedParams`; state and residual are tuples as in `serial`.

    Raises:
        TypeError: A part is not a pair of a name and a layer.
        ValueError: Two parts have one name.
        ShapeError: From the layer's functions, naming the failing part.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> model = named(("hidden", dense(4)), ("activation", relu()), ("head", dense(3)))
        >>> params, _, _ = model.init(Key(0), (2,))
        >>> sorted(params.parts)
        ['activation', 'head', 'hidden']
    """
    given: tuple[Any, ...] = parts
    for index, part in enumerate(given):
        if not isinstance(part, tuple) or len(part) != 2 or not isinstance(part[0], str):
            found = described(part)
            raise TypeError(f'named takes pairs such as ("head", dense(3)), got {found} as parts[{index}]')
        expected("named", f"parts[{index}]", part[1], Layer)
    names = tuple(name for name, _ in parts)
    if len(set(names)) < len(names):
        raise ValueError(f"every part needs a name of its own, got {', '.join(names)}")
    return _Chain(tuple(layer for _, layer in parts), names).as_layer(Maker("named", (("names", names),)))


ChainParams: TypeAlias = SerialParams | NamedParams


@attrs.frozen
class _Chain:
    """Layers in a row, by number or by name."""

    layers: tuple[Layer, ...]
    names: tuple[str, ...] | None = None

    def path(self, index: int) -> str:
        return f"layers[{index}]" if self.names is None else f"parts[{self.names[index]!r}]"

    def own(self, params: ChainParams) -> tuple[Tree, ...]:
        """The parameters of each layer."""
        if self.names is None:
            return expected("serial", "params", params, SerialParams).layers
        parts = expected("named", "params", params, NamedParams).parts
        return tuple(parts[name] for name in self.names)

    def joined(self, own: Sequence[Tree]) -> ChainParams:
        if self.names is None:
            return SerialParams(tuple(own))
        return NamedParams(dict(zip(self.names, own, strict=True)))

    def as_layer(self, maker: Maker) -> Layer:
        names = self.names or [layer.name for layer in self.layers]
        chain = _Chain(tuple(map(custom.checked, self.layers)), self.names)
        return Layer(
            name=f"{maker.name}({', '.join(names)})",
            init=partial(_chain_init, chain),
            forward=partial(_chain_forward, chain),
            backward=partial(_chain_backward, chain, tuple(layer.backward for layer in chain.layers)),
            backward_params=partial(_chain_backward_params, chain),
            jvp=partial(_chain_jvp, chain),
            backward_jvp=partial(_chain_backward_jvp, chain),
            example_grads=partial(_chain_backward, chain, tuple(layer.example_grads for layer in chain.layers)),
            example_norms=partial(_chain_example_norms, chain),
            parts=tuple((self.path(index), layer) for index, layer in enumerate(self.layers)),
            maker=maker,
        )


def _chain_init(chain: _Chain, key: Key, in_shape: Shape) -> tuple[ChainParams, Tree, Shape]:
    params, states, shape = [], [], in_shape
    for index, layer in enumerate(chain.layers):
        with _inside(chain.path(index)):
            own, state, shape = layer.init(fold_in(key, index), shape)
        params.append(own)
        states.append(state)
    return chain.joined(params), tuple(states), shape


def _chain_forward(
    chain: _Chain, params: ChainParams, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, Tree]:
    y, keyless = x if chain.layers else readonly(x), ctx.key is None
    states: list[Tree] = []
    residuals: list[Tree] = []
    try:
        for layer, own, old in zip(chain.layers, chain.own(params), state, strict=True):
            inner = ctx if keyless or not layer.draws else _child(ctx, len(states), layer)
            y, new, residual = layer.forward(own, old, y, inner)
            states.append(new)
            residuals.append(residual)
    except ShapeError as error:
        raise error.inside(chain.path(len(states))) from None
    return y, tuple(states), tuple(residuals)


def _child(ctx: Context, index: int, layer: Layer) -> Context:
    return ctx if ctx.key is None or not layer.draws else Context(ctx.train, fold_in(ctx.key, index))


def _chain_backward(
    chain: _Chain, backwards: Sequence[BackwardFn], params: ChainParams, residual: Tree, dy: FloatArray
) -> tuple[ChainParams, FloatArray]:
    grads, dx = _pulled_back(chain, 0, backwards, chain.own(params), residual, dy)
    return chain.joined(grads), dx


def _pulled_back(
    chain: _Chain,
    first: int,
    functions: Sequence[Callable[[Tree, Tree, FloatArray], tuple[Tree, FloatArray]]],
    params: tuple[Tree, ...],
    residual: Tree,
    dy: FloatArray,
) -> tuple[list[Tree], FloatArray]:
    """Call a function of each layer, from the last to number ``first``, with the cotangent of the one behind it."""
    results: list[Tree] = []
    index, dx = len(functions), dy if functions else readonly(dy)
    try:
        for index in reversed(range(len(functions))):
            result, dx = functions[index](params[index], residual[index], dx)
            results.insert(0, result)
    except ShapeError as error:
        raise error.inside(chain.path(first + index)) from None
    return results, dx


def _chain_backward_params(chain: _Chain, params: ChainParams, residual: Tree, dy: FloatArray) -> ChainParams:
    """Stop at the first layer that has parameters: no cotangent is needed before it."""
    own = chain.own(params)
    first = next((index for index, tree in enumerate(own) if tree_leaves(tree)), None)
    if first is None:
        return chain.joined(own)
    behind = first + 1
    functions = [layer.backward for layer in chain.layers[behind:]]
    grads, dy = _pulled_back(chain, behind, functions, own[behind:], residual[behind:], dy)
    try:
        grad = chain.layers[first].backward_params(own[first], residual[first], dy)
    except ShapeError as error:
        raise error.inside(chain.path(first)) from None
    return chain.joined([*own[:first], grad, *grads])


def _chain_example_norms(
    chain: _Chain, params: ChainParams, residual: Tree, dy: FloatArray
) -> tuple[FloatArray, FloatArray]:
    functions = [layer.example_norms for layer in chain.layers]
    norms, dx = _pulled_back(chain, 0, functions, chain.own(params), residual, dy)
    return sum(reversed(norms), np.zeros(len(dy), dy.dtype)), dx


def _chain_jvp(
    chain: _Chain, params: ChainParams, residual: Tree, params_dot: ChainParams, x_dot: FloatArray
) -> FloatArray:
    return readonly(x_dot) if not chain.layers else _tangents(chain, params, residual, params_dot, x_dot)[-1]


def _chain_backward_jvp(
    chain: _Chain,
    params: ChainParams,
    residual: Tree,
    params_dot: ChainParams,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[ChainParams, FloatArray]:
    tangents = _tangents(chain, params, residual, params_dot, x_dot)
    own, own_dot = chain.own(params), chain.own(params_dot)
    grads_dot: list[Tree] = []
    dx_dot = dy_dot if chain.layers else readonly(dy_dot)
    for index, layer in reversed(list(enumerate(chain.layers))):
        given = own[index], residual[index], own_dot[index], tangents[index], dy, dx_dot
        layer_dot, dx_dot = layer.backward_jvp(*given)
        _, dy = layer.backward(own[index], residual[index], dy)
        grads_dot.insert(0, layer_dot)
    return chain.joined(grads_dot), dx_dot


def _tangents(
    chain: _Chain, params: ChainParams, residual: Tree, params_dot: ChainParams, x_dot: FloatArray
) -> list[FloatArray]:
    """Tangents of the inputs of all layers, and of the last output."""
    tangents = [x_dot]
    for layer, own, kept, own_dot in zip(chain.layers, chain.own(params), residual, chain.own(params_dot), strict=True):
        tangents.append(layer.jvp(own, kept, own_dot, tangents[-1]))
    return tangents


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
    whole, layer = expected("residual", "layer", layer, Layer), custom.checked(layer)
    return Layer(
        name=f"residual({layer.name})",
        init=partial(_residual_init, layer),
        forward=partial(_residual_forward, layer),
        backward=partial(_residual_backward, layer.backward),
        backward_params=layer.backward_params,
        jvp=partial(_residual_jvp, layer),
        backward_jvp=partial(_residual_backward_jvp, layer),
        example_grads=partial(_residual_backward, layer.example_grads),
        example_norms=partial(_residual_backward, layer.example_norms),
        parts=(("inner", whole),),
        maker=Maker("residual"),
    )


def _residual_init(layer: Layer, key: Key, in_shape: Shape) -> tuple[Tree, Tree, Shape]:
    params, state, out_shape = layer.init(key, in_shape)
    if out_shape != in_shape:
        raise ShapeError(f"residual needs a layer that keeps the shape {in_shape}, this one gives {out_shape}")
    return params, state, out_shape


def _residual_forward(
    layer: Layer, params: Tree, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, Tree]:
    y, state, inner = layer.forward(params, state, x, ctx)
    return x + y, state, inner


def _residual_backward(
    backward: Callable[[Tree, Tree, FloatArray], tuple[Tree, FloatArray]], params: Tree, inner: Tree, dy: FloatArray
) -> tuple[Tree, FloatArray]:
    result, dx = backward(params, inner, dy)
    return result, dx + dy


def _residual_jvp(layer: Layer, params: Tree, inner: Tree, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    return x_dot + layer.jvp(params, inner, params_dot, x_dot)


def _residual_backward_jvp(
    layer: Layer, params: Tree, inner: Tree, params_dot: Tree, x_dot: FloatArray, dy: FloatArray, dy_dot: FloatArray
) -> tuple[Tree, FloatArray]:
    grads_dot, dx_dot = layer.backward_jvp(params, inner, params_dot, x_dot, dy, dy_dot)
    return grads_dot, dx_dot + dy_dot


@attrs.frozen(eq=False)
class ParallelParams:
    """Parameters of `parallel`, one entry for each branch; also the form of their gradients and tangents.

    Args:
        branches: Params of the branches in order.
    """

    branches: tuple[Tree, ...]

    __repr__ = one_line


def parallel(*layers: Layer, combine: Combine = "concatenate") -> Layer:
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
    branches, layers = _layers("parallel", layers), tuple(map(custom.checked, layers))
    return Layer(
        name=f"parallel({', '.join(layer.name for layer in layers)})",
        init=partial(_parallel_init, layers, combine),
        forward=partial(_parallel_forward, layers, combine),
        backward=partial(_parallel_backward, tuple(layer.backward for layer in layers), combine),
        backward_params=partial(_parallel_backward_params, layers, combine),
        jvp=partial(_parallel_jvp, layers, combine),
        backward_jvp=partial(_parallel_backward_jvp, layers, combine),
        example_grads=partial(_parallel_backward, tuple(layer.example_grads for layer in layers), combine),
        example_norms=partial(_parallel_example_norms, layers, combine),
        parts=tuple((f"branches[{index}]", layer) for index, layer in enumerate(branches)),
        chained=False,
        maker=Maker("parallel", (("combine", combine),)),
    )


def _parallel_init(layers: Layers, combine: Combine, key: Key, in_shape: Shape) -> tuple[ParallelParams, Tree, Shape]:
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


def _parallel_forward(
    layers: Layers, combine: Combine, params: ParallelParams, state: Tree, x: FloatArray, ctx: Context
) -> tuple[FloatArray, Tree, Tree]:
    outputs, states, residuals = [], [], []
    for index, layer in enumerate(layers):
        with _inside(f"branches[{index}]"):
            own = inputs_for(layer, params.branches[index], x) if x.dtype.kind != "f" else x
            y, branch_state, kept = layer.forward(params.branches[index], state[index], own, _child(ctx, index, layer))
        outputs.append(y)
        states.append(branch_state)
        residuals.append((kept, y.shape[-1]))
    return _joined(combine, outputs), tuple(states), tuple(residuals)


def _joined(combine: Combine, outputs: list[FloatArray]) -> FloatArray:
    return np.concatenate(outputs, axis=-1) if combine == "concatenate" else _total(outputs)


def _cut(combine: Combine, residual: Tree, dy: FloatArray) -> list[FloatArray]:
    """The part of a cotangent that belongs to each branch."""
    if combine == "add":
        return [dy] * len(residual)
    ends = np.cumsum([width for _, width in residual])
    return np.split(dy, ends[:-1], axis=-1)


def _branches(
    functions: Sequence[Callable[[Tree, Tree, FloatArray], ResultT]],
    combine: Combine,
    params: ParallelParams,
    residual: Tree,
    dy: FloatArray,
) -> list[ResultT]:
    """Call a function of each branch with the branch's part of the cotangent."""
    given = zip(functions, params.branches, residual, _cut(combine, residual, dy), strict=True)
    return [function(own, kept, part) for function, own, (kept, _), part in given]


def _summed(results: list[tuple[Tree, FloatArray]]) -> tuple[ParallelParams, FloatArray]:
    return ParallelParams(tuple(grads for grads, _ in results)), _total([dx for _, dx in results])


def _parallel_backward(
    backwards: Sequence[BackwardFn], combine: Combine, params: ParallelParams, residual: Tree, dy: FloatArray
) -> tuple[ParallelParams, FloatArray]:
    return _summed(_branches(backwards, combine, params, residual, dy))


def _parallel_backward_params(
    layers: Layers, combine: Combine, params: ParallelParams, residual: Tree, dy: FloatArray
) -> ParallelParams:
    functions = [layer.backward_params for layer in layers]
    return ParallelParams(tuple(_branches(functions, combine, params, residual, dy)))


def _parallel_example_norms(
    layers: Layers, combine: Combine, params: ParallelParams, residual: Tree, dy: FloatArray
) -> tuple[FloatArray, FloatArray]:
    results = _branches([layer.example_norms for layer in layers], combine, params, residual, dy)
    return _total([norms for norms, _ in results]), _total([dx for _, dx in results])


def _parallel_jvp(
    layers: Layers,
    combine: Combine,
    params: ParallelParams,
    residual: Tree,
    params_dot: ParallelParams,
    x_dot: FloatArray,
) -> FloatArray:
    given = zip(layers, params.branches, residual, params_dot.branches, strict=True)
    return _joined(combine, [layer.jvp(own, kept, own_dot, x_dot) for layer, own, (kept, _), own_dot in given])


def _parallel_backward_jvp(
    layers: Layers,
    combine: Combine,
    params: ParallelParams,
    residual: Tree,
    params_dot: ParallelParams,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[ParallelParams, FloatArray]:
    parts = zip(layers, _cut(combine, residual, dy), _cut(combine, residual, dy_dot), strict=True)
    return _summed(
        [
            layer.backward_jvp(
                params.branches[index], residual[index][0], params_dot.branches[index], x_dot, part, part_dot
            )
            for index, (layer, part, part_dot) in enumerate(parts)
        ]
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


hands_out(
    serial,
    forward=_chain_forward,
    backward=_chain_backward,
    backward_params=_chain_backward_params,
    jvp=_chain_jvp,
    backward_jvp=_chain_backward_jvp,
    example_norms=_chain_example_norms,
)
hands_out(
    residual,
    forward=_residual_forward,
    backward=_residual_backward,
    jvp=_residual_jvp,
    backward_jvp=_residual_backward_jvp,
)
hands_out(
    parallel,
    forward=_parallel_forward,
    backward=_parallel_backward,
    backward_params=_parallel_backward_params,
    jvp=_parallel_jvp,
    backward_jvp=_parallel_backward_jvp,
    example_norms=_parallel_example_norms,
)
