"""Layers as ONNX nodes: for each of bpfunc's own what it computes at inference, one function or table row to a kind.

Tensors are called by the path of their layer and the name of their field: ``layers[0].weight``, ``layers[1].mean``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from onnx.helper import make_node
from onnx.onnx_pb import NodeProto

from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.interop.structure import setting
from bpfunc.keys import Key
from bpfunc.layers import Layer, ShapeError
from bpfunc.layers.base import Setting
from bpfunc.layers.recognition import inside, maker_of
from bpfunc.ops.relu import SELU_ALPHA, SELU_SCALE

Attributes: TypeAlias = Mapping[str, object]
NONE: Attributes = {}
INT64_MIN = np.iinfo(np.int64).min
"""Where a slice ends that runs backwards to the very first entry."""


@attrs.frozen(eq=False)
class Graph:
    """Nodes and tensors in the making: the one thing here that is filled while it is passed on.

    Args:
        dtype: What is computed in.
        parameters: All arrays of the network, as `to_tensors` names them.
        categories: Names of values that are whole numbers, for an embedding.
        nodes: So far, in order.
        tensors: Constants so far, by name.
        most: How many nodes there may be.
    """

    dtype: np.dtype[np.floating]
    parameters: Mapping[str, FloatArray] = attrs.field(factory=dict)
    categories: frozenset[str] = frozenset()
    nodes: list[NodeProto] = attrs.field(factory=list)
    tensors: dict[str, NDArray[np.generic]] = attrs.field(factory=dict)
    most: float = math.inf

    def add(self, path: str, op: str, inputs: Sequence[str], attributes: Attributes = NONE) -> str:
        """Append a node, whose name and output's name start with the path of the layer.

        Args:
            path: The layer's.
            op: ONNX' name of the operator.
            inputs: Names of values.
            attributes: The operator's.

        Returns:
            Name of the output.

        Raises:
            ValueError: There would be too many nodes.

        Example:
            >>> graph = Graph(np.dtype(np.float32))
            >>> graph.add("layers[1]", "Relu", ["input"]), graph.add("layers[1]", "Relu", ["input"])
            ('layers[1].Relu', 'layers[1].Relu:2')
        """
        if len(self.nodes) >= self.most:
            raise ValueError(f"{path}: expected at most {self.most} nodes")
        stem = inside(path, op)
        same = sum(node.name == stem or node.name.startswith(f"{stem}:") for node in self.nodes)
        name = f"{stem}:{same + 1}" if same else stem
        make: Any = make_node
        self.nodes.append(make(op, inputs, [name], name=name, **attributes))
        return name

    def name_last(self, name: str) -> str:
        """Rename the last node's output: it is one of the model's.

        Args:
            name: The new one.

        Returns:
            The name.

        Example:
            >>> graph = Graph(np.dtype(np.float32))
            >>> _ = graph.add("layers[1]", "Relu", ["input"])
            >>> graph.name_last("logits"), graph.nodes[0].output
            ('logits', ['logits'])
        """
        self.nodes[-1].output[0] = name
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Keep a constant; a layer that is passed twice has its constants once.

        Args:
            name: Of the tensor.
            value: The tensor.

        Returns:
            The name.

        Example:
            >>> Graph(np.dtype(np.float32)).constant("half", np.float32(0.5))
            'half'
        """
        self.tensors[name] = value
        return name

    def number(self, value: float) -> str:
        """Keep a number of the type that is computed in.

        Args:
            value: The number.

        Returns:
            Its name.

        Example:
            >>> Graph(np.dtype(np.float32)).number(0.5)
            'number 0.5'
        """
        return self.constant(f"number {value}", np.asarray(value, self.dtype))

    def parameter(self, path: str, field: str, shape: Shape) -> str:
        """Keep a parameter of a layer.

        Args:
            path: The layer's.
            field: Of its parameters or state.
            shape: Which it must have.

        Returns:
            The name.

        Raises:
            ValueError: It has another shape or type.

        Example:
            >>> Graph(np.dtype(np.float32), {"layers[0].bias": np.ones(2)}).parameter("layers[0]", "bias", (3,))
            Traceback (most recent call last):
                ...
            ValueError: layers[0].bias: expected float32 (3,), found float64 (2,)
        """
        name = inside(path, field)
        found = self.parameters.get(name)
        if found is None:
            raise ValueError(f"{name}: expected {self.dtype} {shape}, found none")
        if (found.dtype, found.shape) != (self.dtype, shape):
            raise ValueError(f"{name}: expected {self.dtype} {shape}, found {found.dtype} {found.shape}")
        return self.constant(name, found)


@attrs.frozen(eq=False)
class Place:
    """A layer and what it is fed.

    Args:
        layer: The layer.
        path: Where it stands in the network.
        x: Name of its input.
        shape: Of one example of the input.
    """

    layer: Layer
    path: str
    x: str
    shape: Shape


Written: TypeAlias = tuple[str, Shape]
"""Name of a layer's output, and the shape of one example of it."""


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
    if kind in SEVERAL:
        return SEVERAL[kind](graph, at)
    if kind not in SINGLE:
        raise ValueError(f"{at.path or 'the network'}: {at.layer.name} is not known to the ONNX writer")
    op, attributes = SINGLE[kind](dict(maker.settings))
    y = graph.add(at.path, op, [at.x], attributes)
    return y, at.layer.init(Key(0), at.shape)[2]


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


def _batch_norm(graph: Graph, at: Place) -> Written:
    if len(at.shape) != 1:  # ONNX has the channels on axis 1
        raise ShapeError(f"batch_norm is written for examples of shape (H,), found {at.shape}", at.path)
    inputs = _features(graph, at, "scale", "shift", "mean", "variance")
    # ONNX says how much of the old statistics is kept.
    kept = 1 - setting(at.layer, "momentum", float)
    attributes = {"epsilon": setting(at.layer, "eps", float), "momentum": kept}
    return graph.add(at.path, "BatchNormalization", inputs, attributes), at.shape


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
    "batch_norm": _batch_norm,
    "dense": _dense,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "silu": _silu,
}
"""Layers with parameters, or of several nodes."""


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
    return graph.add(at.path, "Add", [at.x, y]), shape


def _parallel(graph: Graph, at: Place) -> Written:
    written = [write(graph, part) for part in _parts(at)]
    ys, shapes = [y for y, _ in written], [shape for _, shape in written]
    if setting(at.layer, "combine", str) == "add":
        if len(set(shapes)) > 1:
            raise ShapeError(f"parallel can add outputs of one shape only, the branches give {shapes}", at.path)
        return graph.add(at.path, "Sum", ys), shapes[0]
    if len({shape[:-1] for shape in shapes}) > 1:
        raise ShapeError(f"parallel can concatenate along the last axis only, the branches give {shapes}", at.path)
    return graph.add(at.path, "Concat", ys, {"axis": -1}), (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


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
