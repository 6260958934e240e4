"""Layers of images as ONNX nodes: convolution, pooling, batch normalisation of channels, other shapes."""

from __future__ import annotations

import numpy as np

from bpfunc.interop.onnx_graph import Graph, Place, Written, out_shape
from bpfunc.interop.structure import FIELDS, setting
from bpfunc.layers import Layer, ShapeError
from bpfunc.layers.image_windows import out_shape_of
from bpfunc.layers.recognition import inside, maker_of
from bpfunc.ops.windows import Windows


def write_conv(graph: Graph, at: Place) -> Written:
    """Write `conv2d` as Conv.

    Args:
        graph: To be filled.
        at: The layer and what it is fed.

    Returns:
        Name of the output, channels first, and the shape of one example of it.

    Raises:
        ValueError: Input or parameters do not fit; the message names the path.

    Example:
        >>> from bpfunc import conv2d
        >>> graph = Graph(np.dtype(np.float32), {"weight": np.ones((3, 3, 1, 8), np.float32)}, first={"x"})
        >>> write_conv(graph, Place(conv2d(8, 3, use_bias=False), "", "x", (28, 28, 1)))
        ('Conv', (28, 28, 8))
    """
    features, groups = setting(at.layer, "features", int), setting(at.layer, "groups", int)
    how = _windows(at.layer, "kernel")
    try:
        shape = *out_shape_of("conv2d", how, at.shape), features
    except ShapeError as error:
        raise error.inside(at.path) if at.path else error from None
    inputs = [
        graph.channels_first(at),
        graph.parameter(at.path, "weight", (*how.kernel, at.shape[2] // groups, features)),
    ]
    if setting(at.layer, "use_bias", bool):
        inputs.append(graph.parameter(at.path, "bias", (features,)))
    more = {"dilations": how.dilation, "group": groups}
    return _first(graph, graph.add(at.path, "Conv", inputs, _geometry(how, at) | more)), shape


def write_pool(graph: Graph, at: Place) -> Written:
    """Write `max_pool2d` or `avg_pool2d` as MaxPool or AveragePool.

    Args:
        graph: To be filled.
        at: The layer and what it is fed.

    Returns:
        Name of the output, channels first, and the shape of one example of it.

    Raises:
        ShapeError: The input does not fit; the message names the path.

    Example:
        >>> from bpfunc import max_pool2d
        >>> write_pool(Graph(np.dtype(np.float32), first={"x"}), Place(max_pool2d(2), "", "x", (28, 28, 1)))
        ('MaxPool', (14, 14, 1))
    """
    shape = out_shape(at)
    largest = maker_of(at.layer).name == "max_pool2d"
    attributes = _geometry(_windows(at.layer, "window"), at) | ({} if largest else {"count_include_pad": 0})
    op = "MaxPool" if largest else "AveragePool"
    return _first(graph, graph.add(at.path, op, [graph.channels_first(at)], attributes)), shape


def write_global_pool(graph: Graph, at: Place) -> Written:
    """Write `global_avg_pool` as GlobalAveragePool and Flatten.

    Args:
        graph: To be filled.
        at: The layer and what it is fed.

    Returns:
        Name of the output, and the shape of one example of it.

    Raises:
        ShapeError: The input does not fit; the message names the path.

    Example:
        >>> from bpfunc import global_avg_pool
        >>> write_global_pool(Graph(np.dtype(np.float32)), Place(global_avg_pool(), "", "x", (7, 7, 8)))
        ('Flatten', (8,))
    """
    shape = out_shape(at)
    means = graph.add(at.path, "GlobalAveragePool", [graph.channels_first(at)])
    return graph.add(at.path, "Flatten", [means], {"axis": 1}), shape


def write_batch_norm(graph: Graph, at: Place) -> Written:
    """Write `batch_norm`, of features or channels, as BatchNormalization.

    Args:
        graph: To be filled.
        at: The layer and what it is fed.

    Returns:
        Name of the output, channels first, and the shape of one example of it.

    Raises:
        ValueError: Input or parameters do not fit; the message names the path.

    Example:
        >>> from bpfunc import batch_norm
        >>> arrays = {name: np.ones(8, np.float32) for name in ("scale", "shift", "mean", "variance")}
        >>> write_batch_norm(Graph(np.dtype(np.float32), arrays), Place(batch_norm(), "", "x", (8,)))
        ('BatchNormalization', (8,))
    """
    shape = at.shape
    inputs = [graph.channels_first(at)]
    inputs += [graph.parameter(at.path, field, shape[-1:]) for field in FIELDS["batch_norm"]]
    # ONNX's momentum is the part of the old statistics that is kept.
    kept = 1 - setting(at.layer, "momentum", float)
    attributes = {"epsilon": setting(at.layer, "eps", float), "momentum": kept}
    y = graph.add(at.path, "BatchNormalization", inputs, attributes)
    return _first(graph, y) if len(shape) > 1 else y, shape


def write_reshape(graph: Graph, at: Place) -> Written:
    """Write `reshape` as Reshape.

    Args:
        graph: To be filled.
        at: The layer and what it is fed, channels last.

    Returns:
        Name of the output, and the shape of one example of it.

    Raises:
        ShapeError: The input does not fit; the message names the path.

    Example:
        >>> from bpfunc import reshape
        >>> graph = Graph(np.dtype(np.float32))
        >>> write_reshape(graph, Place(reshape((28, 28, 1)), "", "x", (784,))), graph.tensors["shape"]
        (('Reshape', (28, 28, 1)), array([ 0, 28, 28,  1]))
    """
    shape = out_shape(at)
    target = graph.constant(inside(at.path, "shape"), np.array([0, *shape]))  # 0: as many examples as there are
    return graph.add(at.path, "Reshape", [at.x, target]), shape


def _windows(layer: Layer, name: str) -> Windows:
    settings = dict(maker_of(layer).settings)
    kernel, stride = setting(layer, name, tuple), setting(layer, "stride", tuple)
    padding = "same" if settings["padding"] == "same" else setting(layer, "padding", tuple)
    return Windows(kernel, stride, padding, setting(layer, "dilation", tuple) if "dilation" in settings else (1, 1))


def _geometry(how: Windows, at: Place) -> dict[str, object]:
    (top, bottom), (left, right) = how.pads((at.shape[0], at.shape[1]))
    return {"kernel_shape": how.kernel, "strides": how.stride, "pads": (top, left, bottom, right)}


def _first(graph: Graph, y: str) -> str:
    graph.first.add(y)
    return y
