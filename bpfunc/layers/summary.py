"""A network as a table: shapes, parameters, floating-point operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bpfunc.arrays.types import Shape
from bpfunc.keys import Key
from bpfunc.layers import Layer
from bpfunc.tree import tree_size


class Row(NamedTuple):
    """One layer of a summary."""

    path: str
    name: str
    out_shape: Shape
    parameters: int
    flops: int
    """Floating-point operations of one example's forward pass."""


def summary_rows(model: Layer, in_shape: Shape) -> tuple[Row, ...]:
    """List the layers of a network that are not made of others.

    Args:
        model: Any layer.
        in_shape: Shape of one example.

    Returns:
        A row for each, in the order of the data.

    Raises:
        ShapeError: The model cannot take such examples.

    Example:
        >>> from bpfunc.layers import dense
        >>> summary_rows(dense(3), (4,))[0].parameters
        15
    """
    return tuple(_rows(model, in_shape, ""))


def _rows(layer: Layer, in_shape: Shape, path: str) -> Iterator[Row]:
    if not layer.parts:
        params, _, out_shape = layer.init(Key(0), in_shape)
        yield Row(path or "model", layer.name, out_shape, tree_size(params), layer.flops(in_shape, out_shape))
    shape = in_shape
    for name, part in layer.parts:
        yield from _rows(part, shape, f"{path}.{name}" if path else name)
        if layer.chained:
            shape = part.init(Key(0), shape)[2]


def summary(model: Layer, in_shape: Shape) -> str:
    """Lay a network out as a table.

    Args:
        model: Any layer.
        in_shape: Shape of one example, such as ``(784,)``.

    Returns:
        Text: a line for each layer with path, name, output shape, parameters and FLOPs, and one with the totals.

    Raises:
        ShapeError: The model cannot take such examples.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> print(summary(serial(dense(4), relu(), dense(3)), (2,)))
        path       layer     output  parameters  FLOPs
        layers[0]  dense(4)  (4,)            12     20
        layers[1]  relu      (4,)             0      4
        layers[2]  dense(3)  (3,)            15     27
        total                                27     51
    """
    rows = summary_rows(model, in_shape)
    lines = [("path", "layer", "output", "parameters", "FLOPs")]
    lines += [(r.path, r.name, str(r.out_shape), f"{r.parameters:,}", f"{r.flops:,}") for r in rows]
    lines.append(("total", "", "", f"{sum(r.parameters for r in rows):,}", f"{sum(r.flops for r in rows):,}"))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
