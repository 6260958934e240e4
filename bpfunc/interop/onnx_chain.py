"""The graph of a foreign ONNX model, to look up where values come from, and which constants they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from onnx.numpy_helper import to_array
from onnx.onnx_pb import TensorProto

from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.interop.onnx_links import DTYPES, decimal, type_name
from bpfunc.interop.onnx_operators import Node, refuse, shown

Array: TypeAlias = NDArray[np.generic]
LAYERS_LIMIT = 4096
"""Most layers of a network that is read."""
ROOM = 1 << 20
"""Bytes that parameters may take beyond `GROWTH` times the model."""
GROWTH = 8
"""How often the bytes of a model its parameters may take: a bias can be one number for all outputs."""
READABLE = (*DTYPES, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)
"""Types of constants that are read."""


@attrs.frozen(eq=False)
class Chain:
    """A graph, to look up where values come from; parameters are kept in it, so that each is made once.

    Args:
        nodes: Node of each computed value.
        tensors: Initialisers by name.
        sparse: Names of those that are sparse.
        room: Bytes that parameters may take together.
        stacked: Name of the output where skl2onnx wrote the model: it puts the outputs of an MLPRegressor below each
            other, (B * K, 1), which are (B, K) in scikit-learn and here.
        kept: Parameters so far.
        used: Each constant that was looked at, and by which node.
    """

    nodes: Mapping[str, Node]
    tensors: Mapping[str, TensorProto] = attrs.field(factory=dict)
    sparse: frozenset[str] = frozenset()
    room: int = ROOM
    stacked: str = ""
    kept: dict[Hashable, FloatArray] = attrs.field(factory=dict)
    used: list[tuple[Node, str, np.dtype[np.generic]]] = attrs.field(factory=list)

    def made_by(self, value: str, op: str) -> Node | None:
        """Find the node that computes a value.

        Args:
            value: Name of the value.
            op: Which operator it must be.

        Returns:
            The node; None where the value comes from elsewhere.

        Example:
            >>> chain = Chain({"y": Node("first", "Relu", ("x",), {}, 14)})
            >>> chain.made_by("y", "Relu").inputs, chain.made_by("y", "Tanh"), chain.made_by("x", "Relu")
            (('x',), None, None)
        """
        node = self.nodes.get(value)
        return node if node is not None and node.op == op else None

    def constant(self, node: Node, value: str) -> Array | None:
        """Read a constant: an initialiser or Constant, perhaps under another name, turned, or cast to its own type.

        Args:
            node: Whose input it is, for messages.
            value: Name of the value.

        Returns:
            An array that must not be written to; None where the value is computed.

        Raises:
            ValueError: It is sparse, or of a type that is not known.

        Example:
            >>> from onnx.numpy_helper import from_array
            >>> node = Node("first", "Gemm", ("x", "w"), {}, 13)
            >>> Chain({}, {"w": from_array(np.ones(2))}).constant(node, "w")
            array([1., 1.])
        """
        steps: list[Node] = []
        while value not in self.tensors:
            step = self.nodes.get(value)
            if value in self.sparse or (step is not None and "sparse_value" in step.attributes):
                refuse(node, f"its input {shown(value)} is a sparse tensor; known are dense ones")
            if step is None or step.op not in ("Constant", "Identity", "Transpose", "Cast"):
                return None
            if step.op == "Constant":
                array = _constant(node, step)
                break
            steps.append(step)
            value = step.inputs[0]
        else:
            array = _tensor(node, self.tensors[value])
        for step in reversed(steps):
            array = _stepped(step, array)
        return array

    def numbers(self, node: Node, place: int) -> FloatArray | None:
        """Read an input that must be a constant of floating numbers.

        Args:
            node: The node.
            place: Which of its inputs.

        Returns:
            A read-only copy; None where the node has no such input.

        Raises:
            ValueError: It is computed, or of another type.

        Example:
            >>> from onnx.numpy_helper import from_array
            >>> chain = Chain({}, {"w": from_array(np.ones(2))})
            >>> chain.numbers(Node("first", "Gemm", ("x", "w"), {}, 13), 1)
            array([1., 1.])
        """
        name = node.input(place)
        if not name:
            return None
        found = self.constant(node, name)
        if found is None:
            refuse(node, f"its input {shown(name)} is computed, and a layer's parameters are constants")
        if found.dtype not in (np.float32, np.float64):
            refuse(node, f"its input {shown(name)} is {found.dtype}, neither float32 nor float64")
        self.used.append((node, name, found.dtype))
        return self.keep(node, name, found.size, lambda: found)

    def keep(self, node: Node, key: Hashable, size: int, make: Callable[[], Array]) -> FloatArray:
        """Make a parameter, once; how much memory all of them take is counted before.

        Args:
            node: Whose it is, for messages.
            key: Which it is.
            size: Numbers in it.
            make: Makes it, perhaps as a view of another.

        Returns:
            A read-only array of its own, in row-major order.

        Raises:
            ValueError: The room is used up.

        Example:
            >>> chain = Chain({}, room=100)
            >>> chain.keep(Node("first", "Gemm", (), {}, 13), "ones", 2, lambda: np.ones(2))
            array([1., 1.])
        """
        if key not in self.kept:
            taken = sum(array.nbytes for array in self.kept.values())
            if taken + 8 * size > self.room:
                refuse(node, f"parameters of more than {self.room} bytes are more than a file of this size can hold")
            array = np.array(make(), order="C")
            self.kept[key] = readonly(array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False))
        return self.kept[key]

    def is_number(self, node: Node, value: str, number: float) -> bool:
        """Whether a value is a constant number, up to rounding.

        Args:
            node: Whose input it is.
            value: Name of the value.
            number: Which number.

        Returns:
            Whether it is.

        Example:
            >>> from onnx.numpy_helper import from_array
            >>> node = Node("first", "Mul", ("x", "half"), {}, 14)
            >>> Chain({}, {"half": from_array(np.array(0.5, np.float32))}).is_number(node, "half", 0.5)
            True
        """
        found = self.number(node, value)
        return found is not None and math.isclose(found, number, rel_tol=1e-6)

    def number(self, node: Node, value: str) -> float | None:
        """Read a constant that is one number, for each element of what it meets.

        Args:
            node: Whose input it is.
            value: Name of the value.

        Returns:
            The number; None where the value is something else.

        Example:
            >>> from onnx.numpy_helper import from_array
            >>> node = Node("first", "Mul", ("x", "half"), {}, 14)
            >>> Chain({}, {"half": from_array(np.array([0.5], np.float32))}).number(node, "half")
            0.5
        """
        found = self.constant(node, value) if value else None
        # Of more than one axis it could add an axis to what it meets.
        if found is None or found.size != 1 or found.ndim > 1 or found.dtype not in (np.float32, np.float64):
            return None
        self.used.append((node, value, found.dtype))
        return decimal(found.ravel()[0])


def array_of(tensor: TensorProto) -> Array:
    """Read a tensor.

    Args:
        tensor: With its data in it.

    Returns:
        An array, perhaps a read-only one that shares the tensor's memory.

    Raises:
        ValueError: Its data are not what its type and shape say, or lie in another file.

    Example:
        >>> from onnx.numpy_helper import from_array
        >>> array_of(from_array(np.ones(2)))
        array([1., 1.])
    """
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError(f"tensor {shown(tensor.name)[1:-1]} lies in another file, and only the model itself is read")
    try:
        array: Array = to_array(tensor)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"tensor {shown(tensor.name)} cannot be read: {type(error).__name__}: {error}") from None
    return array


def _tensor(node: Node, tensor: TensorProto) -> Array:
    if tensor.data_type not in READABLE:
        found = type_name(tensor.data_type)
        refuse(node, f"tensor {shown(tensor.name)} cannot be read: it is {found}, neither float32 nor float64")
    return array_of(tensor)


def _constant(node: Node, constant: Node) -> Array:
    name, value = next(iter(constant.attributes.items()), ("value", None))
    if isinstance(value, TensorProto):
        return _tensor(node, value)
    if not name.startswith(("value_float", "value_int")):
        refuse(constant, "it has no value")
    return np.asarray(value, np.float32 if name.startswith("value_float") else np.int64)


def _stepped(step: Node, array: Array) -> Array:
    """Turn or rename a constant."""
    if step.op == "Transpose":
        axes = step.attributes.get("perm", list(reversed(range(array.ndim))))
        if not isinstance(axes, list) or sorted(axes) != list(range(array.ndim)):
            refuse(step, f"its perm is {axes}; known is an order of {array.ndim} axes")
        return array.transpose(axes)
    if step.op == "Cast" and DTYPES.get(_whole(step, "to")) != array.dtype.name:
        refuse(step, f"it makes {type_name(_whole(step, 'to'))} of {array.dtype}; known is a cast to the same type")
    return array


def _whole(node: Node, name: str) -> int:
    found = node.attributes.get(name)
    return found if isinstance(found, int) else 0


def orders(node: Node) -> tuple[tuple[str, str], tuple[str, str]]:
    """List both orders of a node's two inputs.

    Args:
        node: A node whose operator has two inputs.

    Returns:
        Its inputs as they are, and the other way round.

    Example:
        >>> orders(Node("first", "Add", ("x", "b"), {}, 14))
        (('x', 'b'), ('b', 'x'))
    """
    left, right = node.inputs
    return (left, right), (right, left)
