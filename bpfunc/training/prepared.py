"""A network made ready to predict: what its layers compute at inference, without what only training needs.

Dense layers, elementwise activations and dropout become chains, which a maker turns into one function each. Whatever
else there is runs as its own `forward`; combinators run as they are, with prepared parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import attrs
import numpy as np

from bpfunc.arrays.aligned import empty
from bpfunc.arrays.arguments import expected
from bpfunc.arrays.calls import one_line
from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.layers import INFERENCE, Context, DenseParams, Layer, ShapeError
from bpfunc.layers.base import Setting
from bpfunc.layers.combinators import NamedParams, SerialParams
from bpfunc.layers.custom import checked
from bpfunc.layers.dense import matrix_product
from bpfunc.layers.recognition import inside, made_by, maker_of
from bpfunc.ops.elementwise import formulas_of
from bpfunc.tree import Tree, TreeT, tree_map

RowsFn: TypeAlias = Callable[[FloatArray], FloatArray]
"""``x -> y``: rows in, rows out."""
DROPPING = ("dropout", "channel_dropout")
"""Layers that do nothing at inference."""


@attrs.frozen(eq=False)
class Chain:
    """Dense layers in a row, at least one, with elementwise activations before, between and after them.

    Args:
        before: Activations of the inputs.
        dense: Parameters of each dense layer; their shapes and dtypes fit one another.
        behind: The activations that follow each of them.
    """

    before: tuple[RowsFn, ...]
    dense: tuple[DenseParams, ...]
    behind: tuple[tuple[RowsFn, ...], ...]

    __repr__ = one_line


ChainFn: TypeAlias = Callable[[Chain], RowsFn]
"""Makes the function of a chain. The function raises ShapeError where the rows do not fit, and returns new arrays."""
OtherFn: TypeAlias = Callable[[Layer, str], None]
"""``(layer, path)`` of a layer that is not part of a chain; raises where it is refused."""


def prepared(model: Layer, params: Tree, layer_state: Tree, make: ChainFn, other: OtherFn) -> RowsFn | None:
    """Make the function of a network at inference.

    Args:
        model: Any layer.
        params: Its parameters; must not be modified afterwards.
        layer_state: Its state; the same.
        make: Turns a chain into a function.
        other: Called for each layer that runs as its own `forward`.

    Returns:
        The function; None where there is no chain. It raises ShapeError where the rows do not fit, without the path
        that the model's own `forward` names.

    Raises:
        ValueError: As ``other``.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> import numpy as np
        >>> model = serial(dense(4), relu(), dense(2))
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> rows = prepared(model, params, state, chain_by_numpy, any_layer)
        >>> x = np.ones((5, 3), np.float32)
        >>> np.array_equal(rows(x), model.forward(params, state, x, INFERENCE)[0])
        True
    """
    made: list[Chain] = []

    def counted(chain: Chain) -> RowsFn:
        made.append(chain)
        return make(chain)

    rows = _rows(model, params, layer_state, "", counted, other)
    return rows if made else None


def any_layer(layer: Layer, path: str) -> None:
    """Refuse no layer: an `OtherFn`.

    Args:
        layer: Any.
        path: Where it stands.

    Returns:
        None.

    Example:
        >>> from bpfunc.layers import flatten
        >>> any_layer(flatten(), "layers[0]")
    """


def own_arrays(tree: TreeT) -> TreeT:
    """Copy the arrays of a tree to where products read them fastest: contiguous, from the start of a cache line.

    Args:
        tree: Any tree.

    Returns:
        A tree whose arrays are its own and cannot be written to.

    Example:
        >>> import numpy as np
        >>> own_arrays((np.eye(3)[:, ::2],))[0].flags.c_contiguous
        True
    """
    return tree_map(_own, tree)


def _own(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray):
        return leaf
    copy = empty(leaf.shape, leaf.dtype)
    copy[...] = leaf
    return readonly(copy)


@attrs.frozen(eq=False)
class _Link:
    """A dense layer, or an elementwise activation, or any other function of rows."""

    dense: DenseParams | None = None
    activation: RowsFn | None = None
    other: RowsFn | None = None


def _rows(layer: Layer, params: Tree, state: Tree, path: str, make: ChainFn, other: OtherFn) -> RowsFn:
    """The function of a layer: chains wherever they are as long as they can be."""
    functions: list[RowsFn] = []
    run: list[_Link] = []
    for link in (*_links(layer, params, state, path, make, other), _Link()):
        if link.dense is not None and not _fits(run, link.dense):
            functions += _chained(run, make)
            run = []
        if link.dense is not None or link.activation is not None:
            run.append(link)
            continue
        functions += _chained(run, make)
        run = []
        if link.other is not None:
            functions.append(link.other)
    return functions[0] if len(functions) == 1 else partial(_one_after_another, tuple(functions))


def _one_after_another(functions: tuple[RowsFn, ...], x: FloatArray) -> FloatArray:
    for function in functions:
        x = function(x)
    return x


def _links(layer: Layer, params: Tree, state: Tree, path: str, make: ChainFn, other: OtherFn) -> Iterator[_Link]:
    """What a layer does, in order."""
    try:
        maker = maker_of(layer, path)
    except ValueError:
        other(layer, path)
        yield _Link(other=partial(_forward, checked(layer), params, state))
        return
    settings, parts = dict(maker.settings), [part for _, part in layer.parts]
    inner = [inside(path, label) for label, _ in layer.parts]
    if maker.name in ("serial", "named"):
        own = _own_parts(settings, params)
        for part, of_part, state_of_part, place in zip(parts, own, state, inner, strict=True):
            yield from _links(part, of_part, state_of_part, place, make, other)
    elif maker.name in ("mirror_averaged", "residual", "parallel"):
        trees = zip(params.branches, state, strict=True) if maker.name == "parallel" else [(params, state)]
        ready = [
            attrs.evolve(part, forward=partial(_as_forward, _rows(part, *own, place, make, other)))
            for part, own, place in zip(parts, trees, inner, strict=True)
        ]
        yield _Link(other=partial(_forward, made_by(maker.name, ready, settings), params, state))
    elif maker.name == "dense" and _is_plain(params):
        yield _Link(dense=params)
    elif maker.name not in DROPPING:
        found = formulas_of(made_by(maker.name, parts, settings).op or _nothing)
        if found is None:
            other(layer, path)
            yield _Link(other=partial(_forward, layer, params, state))
        else:
            yield _Link(activation=partial(found[0].function, **found[1]))


def _nothing(x: FloatArray) -> FloatArray:
    return x


def _own_parts(settings: dict[str, Setting], params: Tree) -> tuple[Tree, ...]:
    names: Any = settings.get("names")
    if names is None:
        return expected("serial", "params", params, SerialParams).layers
    parts = expected("named", "params", params, NamedParams).parts
    return tuple([parts[name] for name in names])


def _is_plain(params: Tree) -> bool:
    """Whether parameters are those of a dense layer, and all of one dtype."""
    if not isinstance(params, DenseParams) or params.weight.ndim != 2 or params.weight.dtype.kind != "f":
        return False
    bias = params.bias
    return bias is None or (bias.shape == params.weight.shape[1:] and bias.dtype == params.weight.dtype)


def _fits(run: list[_Link], dense: DenseParams) -> bool:
    """Whether a dense layer takes what the last one of a run gives."""
    last = next((link.dense for link in reversed(run) if link.dense is not None), None)
    return last is None or (last.weight.shape[1] == dense.weight.shape[0] and last.weight.dtype == dense.weight.dtype)


def _chained(run: list[_Link], make: ChainFn) -> list[RowsFn]:
    """The functions of a run of dense layers and activations."""
    groups: list[tuple[RowsFn, ...]] = [()]
    for link in run:
        if link.activation is None:
            groups.append(())
        else:
            groups[-1] = (*groups[-1], link.activation)
    dense = tuple([link.dense for link in run if link.dense is not None])
    return [make(Chain(groups[0], dense, tuple(groups[1:])))] if dense else list(groups[0])


def _forward(layer: Layer, params: Tree, state: Tree, x: FloatArray) -> FloatArray:
    return layer.forward(params, state, x, INFERENCE)[0]


def _as_forward(rows: RowsFn, params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
    return rows(x), state, ()


def chain_by_numpy(chain: Chain) -> RowsFn:
    """Make the function of a chain with NumPy's products: the bits of `forward`.

    Args:
        chain: Any.

    Returns:
        The function.

    Example:
        >>> import numpy as np
        >>> chain_by_numpy(Chain((), (DenseParams(np.eye(2), np.ones(2)),), ((np.negative,),)))(np.zeros((1, 2)))
        array([[-1., -1.]])
    """
    layers = zip(chain.dense, chain.behind, strict=True)
    steps = tuple([(params.weight, params.bias, behind) for params, behind in layers])
    return partial(_by_numpy, chain.dense[0].weight.shape[0], chain.before, steps)


def _by_numpy(
    width: int,
    before: tuple[RowsFn, ...],
    steps: tuple[tuple[FloatArray, FloatArray | None, tuple[RowsFn, ...]], ...],
    x: FloatArray,
) -> FloatArray:
    if x.ndim != 2 or x.shape[1] != width:
        raise ShapeError(f"expected an input of shape (B, {width}), found {x.shape}")
    for follow in before:
        x = follow(x)
    for weight, bias, behind in steps:
        x = matrix_product(x, weight)
        if bias is not None:
            x += bias
        for follow in behind:
            x = follow(x)
    return x
