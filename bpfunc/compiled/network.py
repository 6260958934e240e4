"""Which networks a compiled epoch knows, and how their parameters lie in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import attrs
import numpy as np

from bpfunc.arrays.aligned import CACHE_LINE, empty
from bpfunc.arrays.types import FloatArray, IntArray, Shape, readonly
from bpfunc.compiled.epoch import IDENTITY, LEAKY, RELU, SIGMOID, TANH
from bpfunc.compiled.machine import LARGEST, PRECISIONS, Precision
from bpfunc.layers import DenseParams, Layer, Maker, ShapeError
from bpfunc.layers.combinators import SerialParams
from bpfunc.layers.recognition import inside, maker_of
from bpfunc.tree import Tree, tree_leaves, tree_leaves_with_path

KINDS = {"relu": RELU, "leaky_relu": LEAKY, "tanh": TANH, "sigmoid": SIGMOID, "identity": IDENTITY}
"""Makers of activations whose derivatives can be told from their outputs."""


@attrs.frozen
class Stage:
    """A dense layer and what follows it.

    Args:
        use_bias: Whether the dense layer has one.
        kind: Of the activation; see `bpfunc.compiled.epoch`.
        slope: Of `leaky_relu` below 0.
    """

    use_bias: bool
    kind: int = IDENTITY
    slope: float = 0.0


def network_of(model: Layer) -> tuple[Stage, ...]:
    """Read a network as a row of stages.

    Args:
        model: Dense layers and activations in `serial`, nested or not.

    Returns:
        A stage for each dense layer.

    Raises:
        ValueError: There is another layer, or one of these with other functions, or none that is dense, or an
            activation follows no dense layer.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> network_of(serial(dense(4), relu(), dense(3, use_bias=False)))
        (Stage(use_bias=True, kind=0, slope=0.0), Stage(use_bias=False, kind=4, slope=0.0))
    """
    stages: list[Stage] = []
    follows_dense = False
    for path, layer, maker in _flat(model, ""):
        settings = dict(maker.settings)
        slope = settings.get("slope", 0.0)
        if maker.name == "dense":
            stages.append(Stage(bool(settings["use_bias"])))
            follows_dense = True
        elif maker.name in KINDS and follows_dense and isinstance(slope, float) and slope >= 0:
            stages[-1] = attrs.evolve(stages[-1], kind=KINDS[maker.name], slope=slope)
            follows_dense = False
        else:
            raise _unknown(layer, path)
    if not stages:
        raise ValueError("a compiled epoch takes a network with at least one dense layer")
    return tuple(stages)


def _unknown(layer: Layer, path: str) -> ValueError:
    return ValueError(
        f"a compiled epoch takes dense layers, each followed by at most one of {', '.join(KINDS)}; found "
        f"{layer.name}{f' at {path}' if path else ''}; compose the step for other networks"
    )


def _flat(layer: Layer, path: str) -> list[tuple[str, Layer, Maker]]:
    try:
        maker = maker_of(layer, path)
    except ValueError:
        raise _unknown(layer, path) from None
    if maker.name != "serial":
        return [(path, layer, maker)]
    return [found for label, part in layer.parts for found in _flat(part, inside(path, label))]


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


def layout_of(network: tuple[Stage, ...], params: Tree) -> Layout:
    """Place a network's parameters in a buffer.

    Args:
        network: From `network_of`.
        params: Of the model.

    Returns:
        The layout.

    Raises:
        ShapeError: The parameters are not those of such a network; the message names the leaf.
        TypeError: A parameter is not an array, or they are not all of float32 or all of float64.

    Example:
        >>> params = (np.zeros((2, 3)), np.zeros(3))
        >>> layout_of((Stage(True),), params).leaves
        ((0, (2, 3)), (8, (3,)))
    """
    found = tree_leaves_with_path(params)
    expected = sum(1 + stage.use_bias for stage in network)
    if len(found) != expected:
        shapes = [np.shape(leaf) for _, leaf in found]
        raise ShapeError(f"parameters of shapes {shapes} are not those of {len(network)} dense layers in a row")
    dtype = precision_of(params)
    line = CACHE_LINE // dtype.itemsize
    widths: list[int] = []
    weight_at: list[int] = []
    bias_at: list[int] = []
    placed: list[tuple[int, Shape]] = []
    size = 0
    remaining = iter(found)
    for stage in network:
        path, weight = next(remaining)
        if weight.ndim != 2 or 0 in weight.shape or (widths and widths[-1] != weight.shape[0]):
            before = f"({widths[-1]}, H)" if widths else "(D, H)"
            raise ShapeError(f"dense expected a weight of shape {before}, found {weight.shape}", path)
        widths = [*(widths or [weight.shape[0]]), weight.shape[1]]
        weight_at.append(size)
        placed.append((size, weight.shape))
        size += -(-weight.size // line) * line
        bias_at.append(size)
        if stage.use_bias:
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
    leaves = tree_leaves_with_path(params)
    for path, leaf in leaves:
        if type(leaf) not in (np.ndarray, np.memmap):
            raise TypeError(f"{path}: parameters of a compiled epoch are arrays, found {type(leaf).__name__}")
        if leaf.dtype not in PRECISIONS or leaf.dtype != leaves[0][1].dtype:
            raise TypeError(
                f"{path}: parameters of a compiled epoch are all of float32 or all of float64, found {leaf.dtype}, and "
                f"{leaves[0][1].dtype} at {leaves[0][0]}; convert them and the optimiser's state with tree_cast"
            )
    dtype: Precision = leaves[0][1].dtype
    return dtype


def packed(layout: Layout, trees: Sequence[Tree], dtype: Precision) -> FloatArray:
    """Copy trees into a table.

    Args:
        layout: Where each leaf goes.
        trees: Each like the parameters.
        dtype: Of the table.

    Returns:
        (T, P) with one row for each tree; zeros between the leaves.

    Example:
        >>> ones = (np.ones((1, 2)), np.ones(2))
        >>> packed(layout_of((Stage(True),), ones), [ones], np.dtype(np.float64)).sum()
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
        row: (P,), which nobody changes any more.

    Returns:
        Read-only views, in the tree's order.

    Example:
        >>> layout = layout_of((Stage(True),), (np.ones((1, 2)), np.ones(2)))
        >>> [leaf.shape for leaf in unpacked(layout, np.zeros(layout.size))]
        [(1, 2), (2,)]
    """
    fixed = readonly(row)
    return [fixed[start : start + prod(shape)].reshape(shape) for start, shape in layout.leaves]
