"""Layers as ONNX nodes: for each of bpfunc's own what it computes at inference, one function or table row to a kind.

Tensors are called by the path of their layer and the name of their field: ``layers[0].weight``, ``layers[1].mean``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs
import numpy as np

from bpfunc.interop.onnx_graph import Attributes, Graph, Place, Written, out_shape
from bpfunc.interop.onnx_image_nodes import write_batch_norm, write_conv, write_global_pool, write_pool, write_reshape
from bpfunc.interop.structure import setting
from bpfunc.layers import ShapeError
from bpfunc.layers.base import Setting
from bpfunc.layers.recognition import inside, maker_of
from bpfunc.ops.relu import SELU_ALPHA, SELU_SCALE

INT64_MIN = np.iinfo(np.int64).min
"""Where a slice ends that runs backwards to the very first entry."""


def write(graph: Graph, at: Place) -> Written:
    """Write a layer, with all its parts, as nodes.

    Args:
        graph: To be filled.
        at: The layer and what it is fed.

    Returns:
        Name of the output, and the shape of one example of it.

    Raises:
        ValueError: It is a custom layer or one without a twin; or parameters do not fit; the message names the path.

    Example:
        >>> from bpfunc.layers import elu
        >>> graph = Graph(np.dtype(np.float32))
        >>> write(graph, Place(elu(), "layers[3]", "input", (2,)))
        ('layers[3].Elu', (2,))
    """
    maker = maker_of(at.layer, at.path)
    kind = maker.name
    if kind in COMBINED:
        return COMBINED[kind](graph, at)
    if (at.x in graph.categories) != (kind == "embedding"):
        found = "categories" if at.x in graph.categories else "numbers that were computed"
        raise ValueError(f"{at.path or 'the network'}: {at.layer.name} is fed {found}, which has no ONNX twin")
    if kind in ON_CHANNELS:
        return ON_CHANNELS[kind](graph, at)
    if kind not in IN_ANY_ORDER:
        at = attrs.evolve(at, x=graph.channels_last(at))
    if kind in SEVERAL:
        y, shape = SEVERAL[kind](graph, at)
    else:
        op, attributes = SINGLE[kind](dict(maker.settings))
        y, shape = graph.add(at.path, op, [at.x], attributes), out_shape(at)
    if at.x in graph.first:
        graph.first.add(y)
    return y, shape


def _dense(graph: Graph, at: Place) -> Written:
    width = setting(at.layer, "width", int)
    if len(at.shape) != 1:
        raise ShapeError(f"dense takes examples of shape (D,), found {at.shape}; put flatten() before it", at.path)
    weight = graph.parameter(at.path, "weight", (*at.shape, width))
    if not setting(at.layer, "use_bias", bool):
        return graph.add(at.path, "MatMul", [at.x, weight]), (width,)
    return graph.add(at.path, "Gemm", [at.x, weight, graph.parameter(at.path, "bias", (width,))]), (width,)


def _embedding(graph: Graph, at: Place) -> Written:
    width = setting(at.layer, "width", int)
    table = graph.parameter(at.path, "table", (setting(at.layer, "categories", int), width))
    return graph.add(at.path, "Gather", [table, at.x]), (*at.shape, width)


def _features(graph: Graph, at: Place, *fields: str) -> list[str]:
    """Input and parameters of a normalisation: one number to a feature."""
    if len(at.shape) != 1:
        raise ShapeError(f"{at.layer.name} takes examples of shape (H,), found {at.shape}", at.path)
    return [at.x, *(graph.parameter(at.path, field, at.shape) for field in fields)]


def _layer_norm(graph: Graph, at: Place) -> Written:
    inputs = _features(graph, at, "scale", "shift")
    attributes = {"axis": -1, "epsilon": setting(at.layer, "eps", float)}
    return graph.add(at.path, "LayerNormalization", inputs, attributes), at.shape


def _rms_norm(graph: Graph, at: Place) -> Written:
    _, scale = _features(graph, at, "scale")
    square = graph.add(at.path, "Mul", [at.x, at.x])
    last = graph.constant("last axis", np.array([-1]))
    mean = graph.add(at.path, "ReduceMean", [square, last], {"keepdims": 1})
    shifted = graph.add(at.path, "Add", [mean, graph.number(setting(at.layer, "eps", float))])
    root = graph.add(at.path, "Sqrt", [shifted])
    return graph.add(at.path, "Mul", [graph.add(at.path, "Div", [at.x, root]), scale]), at.shape


def _silu(graph: Graph, at: Place) -> Written:
    return graph.add(at.path, "Mul", [at.x, graph.add(at.path, "Sigmoid", [at.x])]), at.shape


SINGLE: dict[str, Callable[[Mapping[str, Setting]], tuple[str, Attributes]]] = {
    "channel_dropout": lambda settings: ("Identity", {}),
    "dropout": lambda settings: ("Identity", {}),
    "elu": lambda settings: ("Elu", {"alpha": settings["alpha"]}),
    "flatten": lambda settings: ("Flatten", {"axis": 1}),
    "gelu": lambda settings: ("Gelu", {}),
    "gelu_tanh": lambda settings: ("Gelu", {"approximate": "tanh"}),
    "identity": lambda settings: ("Identity", {}),
    "leaky_relu": lambda settings: ("LeakyRelu", {"alpha": settings["slope"]}),
    "log_softmax": lambda settings: ("LogSoftmax", {"axis": -1}),
    "relu": lambda settings: ("Relu", {}),
    "selu": lambda settings: ("Selu", {"alpha": SELU_ALPHA, "gamma": SELU_SCALE}),
    "sigmoid": lambda settings: ("Sigmoid", {}),
    "softmax": lambda settings: ("Softmax", {"axis": -1}),
    "softplus": lambda settings: ("Softplus", {}),
    "softsign": lambda settings: ("Softsign", {}),
    "tanh": lambda settings: ("Tanh", {}),
}
"""Layers that are one node without parameters: operator and attributes, from the settings."""

SEVERAL: dict[str, Callable[[Graph, Place], Written]] = {
    "dense": _dense,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "reshape": write_reshape,
    "rms_norm": _rms_norm,
    "silu": _silu,
}
"""Layers with parameters or constants, or of several nodes."""

ON_CHANNELS: dict[str, Callable[[Graph, Place], Written]] = {
    "avg_pool2d": write_pool,
    "batch_norm": write_batch_norm,
    "conv2d": write_conv,
    "global_avg_pool": write_global_pool,
    "max_pool2d": write_pool,
}
"""Layers whose operators have the channels on axis 1."""

IN_ANY_ORDER = {*SINGLE.keys() - {"flatten", "log_softmax", "softmax"}, "silu"}
"""Layers that compute the same in whichever order the axes are."""


def _parts(at: Place) -> list[Place]:
    """The parts of a combinator, all fed what it is fed itself."""
    return [Place(layer, inside(at.path, path), at.x, at.shape) for path, layer in at.layer.parts]


def _serial(graph: Graph, at: Place) -> Written:
    x, shape = at.x, at.shape
    for part in _parts(at):
        x, shape = write(graph, attrs.evolve(part, x=x, shape=shape))
    return x, shape


def _residual(graph: Graph, at: Place) -> Written:
    y, shape = write(graph, _parts(at)[0])
    if shape != at.shape:
        raise ShapeError(f"residual needs a layer that keeps the shape {at.shape}, this one gives {shape}", at.path)
    ys, _ = _in_one_order(graph, at, [(at.x, shape), (y, shape)])
    return _joined(graph, at, "Add", ys), shape


def _in_one_order(graph: Graph, at: Place, written: list[Written]) -> tuple[list[str], bool]:
    """Values to be joined, all channels first if one of them is; and whether they are."""
    first = any(y in graph.first for y, _ in written)
    turn = graph.channels_first if first else graph.channels_last
    return [turn(attrs.evolve(at, x=y, shape=shape)) for y, shape in written], first


def _joined(graph: Graph, at: Place, op: str, ys: list[str], attributes: Attributes | None = None) -> str:
    joined = graph.add(at.path, op, ys, attributes or {})
    if ys[0] in graph.first:
        graph.first.add(joined)
    return joined


def _parallel(graph: Graph, at: Place) -> Written:
    written = [write(graph, part) for part in _parts(at)]
    shapes = [shape for _, shape in written]
    ys, first = _in_one_order(graph, at, written)
    if setting(at.layer, "combine", str) == "add":
        if len(set(shapes)) > 1:
            raise ShapeError(f"parallel can add outputs of one shape only, the branches give {shapes}", at.path)
        return _joined(graph, at, "Sum", ys), shapes[0]
    if len({shape[:-1] for shape in shapes}) > 1:
        raise ShapeError(f"parallel can concatenate along the last axis only, the branches give {shapes}", at.path)
    joined = _joined(graph, at, "Concat", ys, {"axis": 1 if first else -1})
    return joined, (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _mirror_averaged(graph: Graph, at: Place) -> Written:
    inner = _parts(at)[0]
    straight, shape = write(graph, inner)
    mirrored, _ = write(graph, attrs.evolve(inner, x=_mirror(graph, at)))
    p, q = (graph.add(at.path, "Softmax", [z], {"axis": -1}) for z in (straight, mirrored))
    mean = graph.add(at.path, "Mul", [graph.add(at.path, "Add", [p, q]), graph.number(0.5)])
    # Never 0, as in `bpfunc.layers.mirror`.
    above = graph.add(at.path, "Max", [mean, graph.number(float(np.finfo(graph.dtype).tiny))])
    return graph.add(at.path, "Log", [above]), shape


def _mirror(graph: Graph, at: Place) -> str:
    """Turn the columns of the images around."""
    at = attrs.evolve(at, x=graph.channels_last(at))
    image_shape = setting(at.layer, "image_shape", tuple)
    if math.prod(image_shape) != math.prod(at.shape):
        raise ShapeError(f"images of {image_shape} do not have the shape {at.shape}", at.path)
    images = graph.constant(inside(at.path, "images"), np.array([-1, *image_shape]))
    rows = graph.constant(inside(at.path, "rows"), np.array([-1, *at.shape]))
    backwards = [
        graph.constant(f"{name} of a mirror image", np.array([value]))
        for name, value in (("start", -1), ("end", INT64_MIN), ("axis", 2), ("step", -1))
    ]
    x = graph.add(at.path, "Reshape", [at.x, images])
    return graph.add(at.path, "Reshape", [graph.add(at.path, "Slice", [x, *backwards]), rows])


COMBINED: dict[str, Callable[[Graph, Place], Written]] = {
    "mirror_averaged": _mirror_averaged,
    "named": _serial,
    "parallel": _parallel,
    "residual": _residual,
    "serial": _serial,
}
"""Layers made of layers."""
