"""A network as a table: shapes, parameters, floating-point operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bpfunc.arrays.calls import html_table
from bpfunc.arrays.types import Shape
from bpfunc.keys import Key
from bpfunc.layers import Layer, ShapeError
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


def layer_table(model: Layer) -> str:
    """Lay a network out as a table in HTML, before the shape of its inputs is known: what a notebook shows.

    Args:
        model: Any layer.

    Returns:
        A table with a row for each layer: path, layer, and the output's shape where it follows from the layers.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> "<td>layers[1]</td><td>relu()</td><td>(4,)</td>" in layer_table(serial(dense(4), relu()))
        True
    """
    rows, _ = _outline(model, None, "")
    return html_table(("path", "layer", "output"), rows)


def _outline(layer: Layer, in_shape: Shape | None, path: str) -> tuple[list[tuple[str, str, str]], Shape | None]:
    """The rows of a layer's parts, and its output's shape; None where that depends on what is not known."""
    if not layer.parts:
        out_shape = _out_shape(layer, in_shape)
        return [(path or "model", repr(layer), "" if out_shape is None else str(out_shape))], out_shape
    rows: list[tuple[str, str, str]] = []
    shapes: list[Shape | None] = []
    for name, part in layer.parts:
        given = shapes[-1] if layer.chained and shapes else in_shape
        part_rows, shape = _outline(part, given, f"{path}.{name}" if path else name)
        rows += part_rows
        shapes.append(shape)
    return rows, shapes[-1] if layer.chained else _out_shape(layer, in_shape)


def _out_shape(layer: Layer, in_shape: Shape | None) -> Shape | None:
    if layer.maker is not None and layer.maker.name == "dense":
        width = dict(layer.maker.settings)["width"]
        return (width,) if isinstance(width, int) else None
    if layer.op is not None or in_shape is None:  # an op keeps the shape
        return in_shape
    try:
        return layer.init(Key(0), in_shape)[2]
    except ShapeError:
        return None
