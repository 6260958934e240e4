"""An ONNX graph in the making: its nodes, its constants, and in which order the axes of each value are.

Images are (B, H, W, C) here, and (B, C, H, W) in ONNX. A value is turned where an operator needs the other order, and
elementwise operators take either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from onnx.helper import make_node
from onnx.onnx_pb import NodeProto

from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.interop.channels_first import kernels_first
from bpfunc.keys import Key
from bpfunc.layers import Layer, ShapeError
from bpfunc.layers.recognition import inside

Attributes: TypeAlias = Mapping[str, object]
NONE: Attributes = {}


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
        first: Names of values whose channels come first, (B, C, ...).
        turned: Name of a value -> name of the same with its axes in the other order.
    """

    dtype: np.dtype[np.floating]
    parameters: Mapping[str, FloatArray] = attrs.field(factory=dict)
    categories: frozenset[str] = frozenset()
    nodes: list[NodeProto] = attrs.field(factory=list)
    tensors: dict[str, NDArray[np.generic]] = attrs.field(factory=dict)
    most: float = math.inf
    first: set[str] = attrs.field(factory=set)
    turned: dict[str, str] = attrs.field(factory=dict)

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
            name: Name of the tensor.
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
            field: Field of its parameters or state.
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
        return self.constant(name, kernels_first(found) if found.ndim == 4 else found)

    def channels_first(self, at: Place) -> str:
        """Turn a layer's input to the order of ONNX, unless it is in that order, or was turned before.

        Args:
            at: The layer and what it is fed.

        Returns:
            Name of the value, (B, C, ...).

        Example:
            >>> from bpfunc.layers import identity
            >>> graph = Graph(np.dtype(np.float32))
            >>> graph.channels_first(Place(identity(), "", "input", (28, 28, 1))), graph.nodes[0].attribute[0].ints
            ('Transpose', [0, 3, 1, 2])
        """
        axes = len(at.shape)
        return at.x if at.x in self.first or axes < 2 else self._turned(at, [0, axes, *range(1, axes)])

    def channels_last(self, at: Place) -> str:
        """Turn a layer's input to the order of bpfunc, unless it is in that order, or was turned before.

        Args:
            at: The layer and what it is fed.

        Returns:
            Name of the value, (B, ..., C).

        Example:
            >>> from bpfunc.layers import identity
            >>> graph = Graph(np.dtype(np.float32), first={"x"})
            >>> graph.channels_last(Place(identity(), "", "x", (28, 28, 1))), graph.nodes[0].attribute[0].ints
            ('Transpose', [0, 2, 3, 1])
        """
        return self._turned(at, [0, *range(2, len(at.shape) + 1), 1]) if at.x in self.first else at.x

    def _turned(self, at: Place, order: list[int]) -> str:
        if at.x not in self.turned:
            y = self.add(at.path, "Transpose", [at.x], {"perm": order})
            self.turned.update({at.x: y, y: at.x})
            if at.x not in self.first:
                self.first.add(y)
        return self.turned[at.x]


@attrs.frozen(eq=False)
class Place:
    """A layer and what it is fed.

    Args:
        layer: The layer.
        path: Where it stands in the network.
        x: Name of its input.
        shape: Shape of one example of the input.
    """

    layer: Layer
    path: str
    x: str
    shape: Shape


Written: TypeAlias = tuple[str, Shape]
"""Name of a layer's output, and the shape of one example of it."""


def out_shape(at: Place) -> Shape:
    """Find the shape of an example of a layer's output.

    Args:
        at: A layer without parameters, and what it is fed.

    Returns:
        The shape.

    Raises:
        ShapeError: The input does not fit; the message names the path.

    Example:
        >>> from bpfunc.layers import flatten
        >>> out_shape(Place(flatten(), "layers[0]", "input", (28, 28)))
        (784,)
    """
    try:
        return at.layer.init(Key(0), at.shape)[2]
    except ShapeError as error:
        raise error.inside(at.path) if at.path else error from None
