"""Which networks a compiled epoch knows, and how their parameters lie in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import attrs
import numpy as np

from bpfunc.arrays.aligned import CACHE_LINE, empty
from bpfunc.arrays.types import FloatArray, IntArray, Shape, readonly
from bpfunc.compiled.machine import LARGEST, PRECISIONS, Precision
from bpfunc.layers import DenseParams, Layer, Maker, ShapeError
from bpfunc.layers.combinators import SerialParams
from bpfunc.layers.recognition import inside, made_by, maker_of
from bpfunc.ops.elementwise import Elementwise, formulas_of
from bpfunc.transforms.formula import Formula, traced_function
from bpfunc.tree import Tree, tree_leaves, tree_leaves_with_path


@attrs.frozen
class Activation:
    """An elementwise activation.

    Args:
        formulas: Formulas of its op.
        settings: Settings of the op, by name.
    """

    formulas: Elementwise
    settings: tuple[tuple[str, float], ...] = ()


@attrs.frozen
class Dropout:
    """A dropout.

    Args:
        rate: Probability that a number is dropped, above 0.
        path: Numbers that the combinators fold into the key of the step.
    """

    rate: float
    path: tuple[int, ...]


@attrs.frozen
class Network:
    """A row of dense layers, and what stands between them.

    Args:
        use_bias: For each dense layer, whether it has one.
        links: What follows at each position, in order: at the inputs, and after each dense layer.
    """

    use_bias: tuple[bool, ...]
    links: tuple[tuple[Activation | Dropout, ...], ...]


def network_of(model: Layer) -> Network:
    """Read a network as a row of dense layers.

    Args:
        model: Dense layers, elementwise activations and dropout in `serial`, nested or not, or in `mirror_averaged`,
            which in training is what is inside it.

    Returns:
        The network.

    Raises:
        ValueError: There is another layer, or one of these with other functions, or none that is dense.

    Example:
        >>> from bpfunc.layers import dense, dropout
        >>> from bpfunc.layers.combinators import serial
        >>> network_of(serial(dense(4), dropout(0.5), dense(3, use_bias=False)))
        Network(use_bias=(True, False), links=((), (Dropout(rate=0.5, path=(1,)),), ()))
    """
    use_bias: list[bool] = []
    links: list[list[Activation | Dropout]] = [[]]
    for path, layer, maker, numbers in _flat(model, "", ()):
        settings = dict(maker.settings)
        if maker.name == "dense":
            use_bias.append(bool(settings["use_bias"]))
            links.append([])
        elif maker.name == "dropout":
            rate = settings["rate"]
            links[-1] += [Dropout(rate, numbers)] if isinstance(rate, float) and rate > 0 else []
        else:
            op = made_by(maker.name, [part for _, part in layer.parts], settings).op
            found = None if op is None else formulas_of(op)
            if found is None:
                raise _unknown(layer, path)
            links[-1].append(Activation(found[0], tuple(found[1].items())))
    if not use_bias:
        raise ValueError("a compiled epoch takes a network with at least one dense layer")
    return Network(tuple(use_bias), tuple(map(tuple, links)))


def _unknown(layer: Layer, path: str) -> ValueError:
    return ValueError(
        "a compiled epoch takes dense layers, elementwise activations and dropout, in serial or mirror_averaged; found "
        f"{layer.name}{f' at {path}' if path else ''}; compose the step for other networks"
    )


def _flat(layer: Layer, path: str, numbers: tuple[int, ...]) -> list[tuple[str, Layer, Maker, tuple[int, ...]]]:
    try:
        maker = maker_of(layer, path)
    except ValueError:
        raise _unknown(layer, path) from None
    if maker.name == "mirror_averaged":
        return [found for label, part in layer.parts for found in _flat(part, inside(path, label), numbers)]
    if maker.name != "serial":
        return [(path, layer, maker, numbers)]
    return [
        found
        for index, (label, part) in enumerate(layer.parts)
        for found in _flat(part, inside(path, label), (*numbers, index))
    ]


@lru_cache(maxsize=256)
def formula_of(links: tuple[Activation | Dropout, ...], dtype: Precision) -> tuple[Formula, tuple[float, ...]]:
    """Write down what follows at a position: the values after it and the slope, of the values before it and the masks.

    Args:
        links: In order, at least one.
        dtype: Data type of the values.

    Returns:
        The formula and its constants.

    Raises:
        TypeError: An activation does something that is not compiled.

    Example:
        >>> formula, _ = formula_of((Dropout(0.5, ()),), np.dtype(np.float32))
        >>> [operation.operands for operation in formula.operations][0]
        ('x[0]', 'x[1]')
    """

    def follow(z: Any, *masks: Any) -> tuple[Any, Any]:
        y, slope, remaining = z, None, iter(masks)
        for link in links:
            if isinstance(link, Dropout):
                mask = next(remaining)
                y, own = y * mask, mask
            else:
                x, settings = y, dict(link.settings)
                y = link.formulas.function(x, **settings)
                own = link.formulas.slope(x if link.formulas.keeps == "x" else y, *settings.values())
            slope = own if slope is None else own * slope
        return y, slope

    try:
        return traced_function(follow, 1 + sum(isinstance(link, Dropout) for link in links), dtype)
    except AttributeError as error:
        raise TypeError(f"an activation cannot be compiled: {error}") from None


def template(model: Layer) -> tuple[Tree, Tree]:
    """Make trees of the structure that a network's parameters and layer state have.

    Args:
        model: One that `network_of` takes.

    Returns:
        Parameters with a 0 for each array, and layer state.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> template(serial(dense(4, use_bias=False), relu()))
        (SerialParams(layers=(DenseParams(weight=0, bias=None), ())), ((), ()))
    """
    maker = maker_of(model)
    if maker.name == "serial":
        parts = [template(part) for _, part in model.parts]
        return SerialParams(tuple([params for params, _ in parts])), tuple([state for _, state in parts])
    if maker.name == "mirror_averaged":
        return template(model.parts[0][1])
    if maker.name == "dense":
        leaf: Any = 0
        return DenseParams(leaf, leaf if dict(maker.settings)["use_bias"] else None), ()
    return (), ()


@attrs.frozen(eq=False)
class Layout:
    """Where the parameters of a network lie in a packed buffer; each begins at a cache line.

    Args:
        widths: (L + 1,) numbers in each layer's values, the inputs first.
        weight_at: (L,) where each weight begins.
        bias_at: (L,) where each bias begins; a place of zeros where there is none.
        leaves: (start, shape) of each leaf of the parameters, in the tree's order.
        size: Numbers in the buffer.
    """

    widths: IntArray
    weight_at: IntArray
    bias_at: IntArray
    leaves: tuple[tuple[int, Shape], ...]
    size: int


def layout_of(network: Network, params: Tree) -> Layout:
    """Place a network's parameters in a buffer.

    Args:
        network: From `network_of`.
        params: Parameters of the model.

    Returns:
        The layout.

    Raises:
        ShapeError: The parameters are not those of such a network; the message names the leaf.
        TypeError: A parameter is not an array, or they are not all of float32 or all of float64.

    Example:
        >>> params = (np.zeros((2, 3)), np.zeros(3))
        >>> layout_of(Network((True,), ((), ())), params).leaves
        ((0, (2, 3)), (8, (3,)))
    """
    found = tree_leaves_with_path(params)
    expected = len(network.use_bias) + sum(network.use_bias)
    if len(found) != expected:
        shapes = [np.shape(leaf) for _, leaf in found]
        raise ShapeError(
            f"parameters of shapes {shapes} are not those of {len(network.use_bias)} dense layers in a row"
        )
    dtype = precision_of(params)
    line = CACHE_LINE // dtype.itemsize
    widths: list[int] = []
    weight_at: list[int] = []
    bias_at: list[int] = []
    placed: list[tuple[int, Shape]] = []
    size = 0
    remaining = iter(found)
    for use_bias in network.use_bias:
        path, weight = next(remaining)
        if weight.ndim != 2 or 0 in weight.shape or (widths and widths[-1] != weight.shape[0]):
            before = f"({widths[-1]}, H)" if widths else "(D, H)"
            raise ShapeError(f"dense expected a weight of shape {before}, found {weight.shape}", path)
        widths = [*(widths or [weight.shape[0]]), weight.shape[1]]
        weight_at.append(size)
        placed.append((size, weight.shape))
        size += -(-weight.size // line) * line
        bias_at.append(size)
        if use_bias:
            path, bias = next(remaining)
            if bias.shape != weight.shape[1:]:
                raise ShapeError(f"dense expected a bias of shape {weight.shape[1:]}, found {bias.shape}", path)
            placed.append((size, bias.shape))
        size += -(-weight.shape[1] // line) * line
    if max(widths) > LARGEST:
        raise ShapeError(f"a compiled epoch takes layers of at most {LARGEST} numbers, found {max(widths)}")
    return Layout(np.array(widths), np.array(weight_at), np.array(bias_at), tuple(placed), size)


def precision_of(params: Tree) -> Precision:
    """Find the dtype that all parameters are of.

    Args:
        params: A tree of at least one array.

    Returns:
        float32 or float64.

    Raises:
        TypeError: A leaf is not an array, or the leaves are not all of float32 or all of float64.

    Example:
        >>> precision_of((np.zeros(2, np.float32),))
        dtype('float32')
    """
    leaves: tuple[Any, ...] = tree_leaves(params)
    for number, leaf in enumerate(leaves):
        plain = type(leaf) in (np.ndarray, np.memmap)
        if plain and leaf.dtype in PRECISIONS and leaf.dtype == leaves[0].dtype:
            continue
        paths = [path for path, _ in tree_leaves_with_path(params)]
        if not plain:
            raise TypeError(f"{paths[number]}: parameters of a compiled epoch are arrays, found {type(leaf).__name__}")
        raise TypeError(
            f"{paths[number]}: parameters of a compiled epoch are all of float32 or all of float64, found "
            f"{leaf.dtype}, and {leaves[0].dtype} at {paths[0]}; convert them and the optimiser's state with tree_cast"
        )
    dtype: Precision = leaves[0].dtype
    return dtype


def packed(layout: Layout, trees: Sequence[Tree], dtype: Precision) -> FloatArray:
    """Copy trees into a table.

    Args:
        layout: Where each leaf goes.
        trees: Each like the parameters.
        dtype: Data type of the table.

    Returns:
        (T, P) with one row for each tree; zeros between the leaves.

    Example:
        >>> ones = (np.ones((1, 2)), np.ones(2))
        >>> packed(layout_of(Network((True,), ((), ())), ones), [ones], np.dtype(np.float64)).sum()
        np.float64(4.0)
    """
    table = empty((len(trees), layout.size), dtype)
    table[...] = 0
    for row, tree in zip(table, trees, strict=True):
        for leaf, (start, shape) in zip(tree_leaves(tree), layout.leaves, strict=True):
            row[start : start + leaf.size].reshape(shape)[...] = leaf
    return table


def unpacked(layout: Layout, row: FloatArray) -> list[FloatArray]:
    """View a row of a table as the leaves of a tree.

    Args:
        layout: Where each lies.
        row: (P,); must not be modified afterwards.

    Returns:
        Read-only views, in the tree's order.

    Example:
        >>> layout = layout_of(Network((True,), ((), ())), (np.ones((1, 2)), np.ones(2)))
        >>> [leaf.shape for leaf in unpacked(layout, np.zeros(layout.size))]
        [(1, 2), (2,)]
    """
    fixed = readonly(row)
    return [fixed[start : start + prod(shape)].reshape(shape) for start, shape in layout.leaves]
