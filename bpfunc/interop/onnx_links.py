"""Links of a chain of operators: each reads one operator, or several, as a layer, once it is known what it is fed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import attrs
import numpy as np
from onnx.onnx_pb import TensorProto

from bpfunc.interop.onnx_operators import Node, refuse
from bpfunc.layers import Layer
from bpfunc.tree import Tree

DTYPES: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
"""Types of numbers that are computed with."""
WHOLE = ("int32", "int64")
"""Types of categories, and of inputs that the model itself turns into floating numbers."""
NOT_LAST = "it is not along the last axis"


def type_name(number: int) -> str:
    """Name a type of numbers as NumPy does.

    Args:
        number: ONNX' number of it.

    Returns:
        The name.

    Example:
        >>> type_name(TensorProto.FLOAT), type_name(TensorProto.INT64), type_name(99)
        ('float32', 'int64', 'type 99')
    """
    if number not in TensorProto.DataType.values():
        return f"type {number}"
    return DTYPES.get(number) or str(TensorProto.DataType.Name(number)).lower()


def decimal(value: np.generic) -> float:
    """Find the short decimal that was rounded to a number.

    Args:
        value: Of any floating type.

    Returns:
        The number that it was before.

    Example:
        >>> decimal(np.float32(0.01)), float(np.float32(0.01))
        (0.01, 0.009999999776482582)
    """
    return float(str(value))


@attrs.frozen
class Seen:
    """What is known of a value: its type of numbers, and its shape.

    Args:
        dtype: As `type_name` has it.
        shape: Batch first; None for an axis of any length.
        first: Whether it is images whose channels are on axis 1; those of the network have them last.
        channels: Channels of the images that were flattened to these rows, channel by channel; those of the network are
            flattened pixel by pixel. 1 where that is the same.
    """

    dtype: str
    shape: tuple[int | None, ...]
    first: bool = False
    channels: int = 1

    @property
    def example(self) -> tuple[int | None, ...]:
        """The shape of one example."""
        return self.shape[1:]

    def __str__(self) -> str:
        """Print as ``float32 (batch, 4)``."""
        axes = ["any" if size is None else str(size) for size in self.example]
        return f"{self.dtype} ({', '.join(['batch', *axes])}{',' if not axes else ''})"


@attrs.frozen(eq=False)
class Made:
    """A layer of a chain.

    Args:
        layer: The layer; None where an operator changes nothing.
        params: Its parameters.
        state: Its state.
        seen: What it gives.
    """

    layer: Layer | None
    params: Tree
    state: Tree
    seen: Seen


@attrs.frozen(eq=False)
class Link:
    """What reads one operator, or several.

    Args:
        x: Name of the value that it is fed.
        make: Makes the layer, once it is known what it is fed.
        order: In which order of axes it takes images: channels ``first`` or ``last``; ``any``, which it keeps; or
            ``own``: it looks at the order by itself.
    """

    x: str
    make: Callable[[Seen], Made]
    order: Literal["first", "last", "any", "own"] = "last"


def made_layer(node: Node, make: Callable[..., Layer], **settings: object) -> Layer:
    """Make a layer; settings that it does not take are refused by node.

    Args:
        node: The node that is read, for messages.
        make: Makes the layer.
        settings: Its arguments.

    Returns:
        The layer.

    Raises:
        ValueError: The layer has no such settings; the message names the node.

    Example:
        >>> from bpfunc import elu
        >>> made_layer(Node("first", "Elu", ("x",), {}, 6), elu, alpha=0.5).name
        'elu(0.5)'
    """
    try:
        return make(**settings)
    except ValueError as error:
        refuse(node, str(error))


def check_floating(node: Node, seen: Seen) -> None:
    """Check that a node is fed floating numbers.

    Args:
        node: The node.
        seen: What it is fed.

    Returns:
        Nothing.

    Raises:
        ValueError: It is fed other numbers.

    Example:
        >>> check_floating(Node("first", "Relu", ("x",), {}, 14), Seen("int64", (None, 2)))
        Traceback (most recent call last):
            ...
        ValueError: node 'first' (Relu): it is fed int64 (batch, 2); known are float32 and float64
    """
    if seen.dtype not in DTYPES.values():
        refuse(node, f"it is fed {seen}; known are float32 and float64")


def check_rows(node: Node, seen: Seen, features: int) -> None:
    """Check that a node is fed rows of floating numbers.

    Args:
        node: The node.
        seen: What it is fed.
        features: Numbers in a row.

    Returns:
        Nothing.

    Raises:
        ValueError: It is fed something else.

    Example:
        >>> check_rows(Node("first", "Gemm", ("x", "w"), {}, 13), Seen("float32", (None, 3, 2)), 3)
        Traceback (most recent call last):
            ...
        ValueError: node 'first' (Gemm): it takes examples of shape (3,), and is fed (3, 2)
    """
    check_floating(node, seen)
    if len(seen.example) != 1 or seen.example[0] not in (None, features):
        refuse(node, f"it takes examples of shape ({features},), and is fed {_tuple(seen)}")


def _tuple(seen: Seen) -> str:
    return repr(tuple("any" if size is None else size for size in seen.example)).replace("'", "")


def is_axis(node: Node, seen: Seen, axis: int) -> bool:
    """Whether a node is along an axis; axes are counted from the end, as negative numbers, since set 11.

    Args:
        node: A node with an axis.
        seen: What it is fed.
        axis: The axis, counted from the start.

    Returns:
        Whether it is.

    Example:
        >>> is_axis(Node("first", "Softmax", ("x",), {"axis": -1}, 13), Seen("float32", (None, 2)), 1)
        True
    """
    ways = (axis, axis - len(seen.shape)) if node.revision >= 11 else (axis,)
    return axis < len(seen.shape) and node.attributes.get("axis") in ways


def check_last(node: Node, seen: Seen) -> None:
    """Check that a node is along the last axis, which is not that of the batch.

    Args:
        node: A node with an axis.
        seen: What it is fed.

    Returns:
        Nothing.

    Raises:
        ValueError: It is along another one.

    Example:
        >>> check_last(Node("first", "Softmax", ("x",), {"axis": -1}, 13), Seen("float32", (None, 2)))
    """
    last = len(seen.shape) - 1
    if not last or not is_axis(node, seen, last):
        axis = node.attributes.get("axis")
        refuse(node, f"{NOT_LAST}: its axis is {axis}, and it is fed {seen}; known is {max(last, 1)}")


def number_of(node: Node, name: str) -> float:
    """Read an attribute that is a number.

    Args:
        node: The node.
        name: Name of the attribute.

    Returns:
        The short decimal that was rounded to float32.

    Raises:
        ValueError: It is not finite.

    Example:
        >>> number_of(Node("first", "LeakyRelu", ("x",), {"alpha": float(np.float32(0.01))}, 16), "alpha")
        0.01
    """
    found = node.attributes[name]
    if not isinstance(found, float) or not math.isfinite(found):
        refuse(node, f"its {name} is {found}; known are finite numbers")
    return decimal(np.float32(found))
