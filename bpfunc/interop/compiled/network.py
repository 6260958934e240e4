"""Which networks a compiled epoch knows, and how their parameters lie in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import attrs
import numpy as np

from bpfunc.arrays.aligned import CACHE_LINE, empty
from bpfunc.arrays.types import FloatArray, IntArray, Shape, readonly
from bpfunc.interop.compiled.epoch import IDENTITY, RECTIFIED, SIGMOID, TANH
from bpfunc.interop.compiled.machine import Precision
from bpfunc.layers import Layer, ShapeError
from bpfunc.tree import Tree, tree_leaves

KINDS = {"relu": RECTIFIED, "leaky_relu": RECTIFIED, "tanh": TANH, "sigmoid": SIGMOID, "identity": IDENTITY}
"""Makers of activations whose derivatives can be told from their outputs."""


@attrs.frozen
class Stage:
    """A dense layer and what follows it.

    Args:
        use_bias: Whether the dense layer has one.
        kind: Of the activation; see `bpfunc.interop.compiled.epoch`.
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
        ValueError: There is another layer, or none that is dense, or an activation follows no dense layer.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> network_of(serial(dense(4), relu(), dense(3, use_bias=False)))
        (Stage(use_bias=True, kind=0, slope=0.0), Stage(use_bias=False, kind=3, slope=0.0))
    """
    stages: list[Stage] = []
    follows_dense = False
    for path, layer in _flat(model, ""):
        name = None if layer.maker is None else layer.maker.name
        settings = {} if layer.maker is None else dict(layer.maker.settings)
        slope = settings.get("slope", 0.0)
        if name == "dense":
            stages.append(Stage(bool(settings["use_bias"])))
            follows_dense = True
        elif name in KINDS and follows_dense and isinstance(slope, float) and slope >= 0:
            stages[-1] = attrs.evolve(stages[-1], kind=KINDS[name], slope=slope)
            follows_dense = False
        else:
            raise ValueError(
                f"a compiled epoch takes dense layers, each followed by at most one of {', '.join(KINDS)}; found "
                f"{layer.name}{f' at {path}' if path else ''}; compose the step for other networks"
            )
    if not stages:
        raise ValueError("a compiled epoch takes a network with at least one dense layer")
    return tuple(stages)


def _flat(layer: Layer, path: str) -> list[tuple[str, Layer]]:
    if layer.maker is None or layer.maker.name != "serial":
        return [(path, layer)]
    return [found for label, part in layer.parts for found in _flat(part, f"{path}.{label}" if path else label)]


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


def layout_of(network: tuple[Stage, ...], params: Tree, dtype: Precision) -> Layout:
    """Place a network's parameters in a buffer.

    Args:
        network: From `network_of`.
        params: Of the model.
        dtype: What all parameters must be of.

    Returns:
        The layout.

    Raises:
        ShapeError: The parameters are not those of such a network.
        TypeError: A parameter is of another dtype.

    Example:
        >>> params = (np.zeros((2, 3)), np.zeros(3))
        >>> layout_of((Stage(True),), params, np.dtype(np.float64)).leaves
        ((0, (2, 3)), (8, (3,)))
    """
    line = CACHE_LINE // dtype.itemsize
    leaves = tree_leaves(params)
    if wrong := {leaf.dtype for leaf in leaves if leaf.dtype != dtype}:
        raise TypeError(f"parameters of a compiled epoch are all of one dtype, found {dtype} and {wrong.pop()}")
    shapes = [leaf.shape for leaf in leaves]
    widths: list[int] = []
    weight_at: list[int] = []
    bias_at: list[int] = []
    placed: list[tuple[int, Shape]] = []
    size = 0
    remaining = iter(shapes)
    for stage in network:
        weight: Shape = next(remaining, ())
        if len(weight) != 2 or (widths and widths[-1] != weight[0]):
            raise ShapeError(f"parameters of shapes {shapes} are not those of {len(network)} dense layers in a row")
        widths = widths or [weight[0]]
        widths.append(weight[1])
        weight_at.append(size)
        placed.append((size, weight))
        size += -(-weight[0] * weight[1] // line) * line
        bias_at.append(size)
        if stage.use_bias:
            placed.append((size, next(remaining, ())))
        size += -(-weight[1] // line) * line
    if next(remaining, None) is not None:
        raise ShapeError(f"parameters of shapes {shapes} are more than those of {len(network)} dense layers")
    return Layout(np.array(widths), np.array(weight_at), np.array(bias_at), tuple(placed), size)


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
        >>> packed(layout_of((Stage(True),), ones, np.dtype(np.float64)), [ones], np.dtype(np.float64)).sum()
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
        >>> layout = layout_of((Stage(True),), (np.ones((1, 2)), np.ones(2)), np.dtype(np.float64))
        >>> [leaf.shape for leaf in unpacked(layout, np.zeros(layout.size))]
        [(1, 2), (2,)]
    """
    fixed = readonly(row)
    return [fixed[start : start + prod(shape)].reshape(shape) for start, shape in layout.leaves]
