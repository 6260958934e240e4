"""Normalisations among foreign ONNX nodes: as one node, or the end of several."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.onnx_pb import TensorProto

from bpfunc import layers
from bpfunc.arrays.types import FloatArray
from bpfunc.interop.channels_first import rows_last
from bpfunc.interop.onnx_chain import Chain, array_of, orders
from bpfunc.interop.onnx_links import (
    Link,
    Made,
    Seen,
    check_floating,
    check_last,
    check_rows,
    made_layer,
    number_of,
    type_name,
)
from bpfunc.interop.onnx_operators import Node, refuse, shown
from bpfunc.interop.onnx_products import Standardized, standardized
from bpfunc.layers import BatchStatistics, NormParams


def scaled_norm(chain: Chain, node: Node) -> tuple[Standardized, FloatArray | None] | None:
    """Read a product that scales what is standardised, feature by feature.

    Args:
        chain: The graph.
        node: A Mul.

    Returns:
        What is standardised, and the scale; None where the product is another.

    Example:
        >>> scaled_norm(Chain({}), Node("first", "Mul", ("x", "y"), {}, 14)) is None
        True
    """
    for value, scale in orders(node):
        inner = chain.made_by(value, "Div") or chain.made_by(value, "Mul")
        found = None if inner is None or chain.constant(node, scale) is None else standardized(chain, inner)
        if found is not None:
            return found, chain.numbers(node, node.inputs.index(scale))
    return None


def norm_link(chain: Chain, node: Node, norm: Standardized, scale: FloatArray | None, shift: FloatArray | None) -> Link:
    """Make a link of a normalisation of rows.

    Args:
        chain: The graph.
        node: The node that it ends in.
        norm: What is standardised, and how.
        scale: (H,); None for 1.
        shift: (H,); None for 0.

    Returns:
        The link.

    Raises:
        ValueError: Scale and shift are not one number for each feature; the message names the node.

    Example:
        >>> node = Node("last", "Div", ("x", "root"), {}, 14)
        >>> link = norm_link(Chain({}), node, Standardized("x", 0.5, centred=False), None, None)
        >>> link.make(Seen("float32", (None, 3))).params.scale
        array([1., 1., 1.], dtype=float32)
    """
    if (scale is not None and scale.ndim != 1) or (
        shift is not None and scale is not None and shift.shape != scale.shape
    ):
        refuse(node, "its scale and shift are not one number for each feature")
    layer = made_layer(node, layers.layer_norm if norm.centred else layers.rms_norm, eps=norm.eps)

    def make(seen: Seen) -> Made:
        size = seen.example[0] if scale is None and len(seen.example) == 1 else None if scale is None else scale.size
        if not size:
            refuse(node, f"it is fed {seen}; known are rows of a known number of features")
        check_rows(node, seen, size)
        if shift is not None and shift.shape != (size,):
            refuse(node, f"its shift of shape {shift.shape} is not one number for each of {size} features")

        def constant(value: float) -> FloatArray:
            full = np.broadcast_to(np.array(value, seen.dtype), (size,))
            return chain.keep(node, (value, size), size, lambda: full)

        scaled = constant(1.0) if scale is None else scale
        shifted = constant(0.0) if shift is None and norm.centred else shift
        return Made(layer, NormParams(scaled, shifted), (), seen)

    return Link(norm.x, make)


def read_batch_norm(chain: Chain, node: Node) -> Link:
    """Read a BatchNormalization, with its statistics.

    Args:
        chain: The graph.
        node: The node.

    Returns:
        The link.

    Raises:
        ValueError: It is in training mode, or has not one number for each feature.

    Example:
        >>> read_batch_norm(Chain({}), Node("first", "BatchNormalization", ("x",), {"training_mode": 1}, 15))
        Traceback (most recent call last):
            ...
        ValueError: node 'first' (BatchNormalization): it is in training mode; export the model for inference
    """
    if node.attributes.get("training_mode", 0):
        refuse(node, "it is in training mode; export the model for inference")
    scale, shift, mean, variance = (chain.numbers(node, place) for place in range(1, 5))
    if scale is None or scale.ndim != 1 or shift is None or shift.shape != scale.shape:
        refuse(node, "its scale and shift are not one number for each feature")
    if mean is None or variance is None or not mean.shape == variance.shape == scale.shape:
        refuse(node, "its statistics are not one number for each feature")
    # ONNX says how much of the old statistics is kept.
    momentum = round(1 - number_of(node, "momentum"), 7)
    layer = made_layer(node, layers.batch_norm, momentum=momentum, eps=number_of(node, "epsilon"))

    def make(seen: Seen) -> Made:
        if not seen.first:
            check_rows(node, seen, scale.size)
        elif seen.example[0] not in (None, scale.size):
            refuse(node, f"it takes images of {scale.size} channels, and is fed {seen}")
        check_floating(node, seen)
        ordered = [by_pixel(chain, node, array, seen) for array in (scale, shift, mean, variance)]
        after = Seen(seen.dtype, (seen.shape[0], scale.size, *seen.shape[2:]), seen.first, seen.channels)
        return Made(layer, NormParams(*ordered[:2]), BatchStatistics(*ordered[2:]), after)

    return Link(node.inputs[0], make, "first")


def by_pixel(chain: Chain, node: Node, array: FloatArray, seen: Seen) -> FloatArray:
    """Reorder a parameter whose first axis runs over rows of flattened images.

    Args:
        chain: The graph.
        node: Whose parameter it is.
        array: The parameter, kept in the graph.
        seen: The rows.

    Returns:
        The parameter in the order of the network.

    Raises:
        ValueError: The rows are not those of images of so many channels; the message names the node.

    Example:
        >>> node = Node("first", "Gemm", ("x", "w"), {}, 13)
        >>> by_pixel(Chain({}), node, np.array([1.0, 2.0, 10.0, 20.0]), Seen("float64", (None, 4), channels=2))
        array([ 1., 10.,  2., 20.])
    """
    channels = seen.channels
    if len(array) % channels:
        refuse(node, f"it takes {len(array)} numbers, and is fed rows of images of {channels} channels")
    if channels == 1:
        return array
    return chain.keep(node, ("by pixel", id(array), channels), array.size, lambda: rows_last(array, channels))


def read_feature_norm(chain: Chain, node: Node, *, centred: bool) -> Link:
    """Read a LayerNormalization or RMSNormalization.

    Args:
        chain: The graph.
        node: The node.
        centred: Whether the mean is taken off.

    Returns:
        The link.

    Raises:
        ValueError: It is not over the only axis of an example, or scale and shift are not one number for each feature.

    Example:
        >>> from onnx.numpy_helper import from_array
        >>> settings = {"axis": -1, "epsilon": 0.5, "stash_type": 1}
        >>> chain = Chain({}, {"s": from_array(np.ones(3, np.float32))})
        >>> link = read_feature_norm(chain, Node("first", "RMSNormalization", ("x", "s"), settings, 23), centred=False)
        >>> link.make(Seen("float32", (None, 3))).layer.name
        'rms_norm'
    """
    # How precisely mean and variance are computed; both are as precise as float32 at least.
    if node.attributes["stash_type"] not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        refuse(node, f"its stash_type is {node.attributes['stash_type']}; known are 1 and 11")
    norm = Standardized(node.inputs[0], number_of(node, "epsilon"), centred)
    ones = chain.made_by(node.input(1), "ConstantOfShape")
    scale = chain.numbers(node, 1) if ones is None else None
    found = norm_link(chain, node, norm, scale, chain.numbers(node, 2))

    def make(seen: Seen) -> Made:
        check_last(node, seen)
        if ones is not None:
            _check_ones(chain, ones, node.inputs[0], seen)
        return found.make(seen)

    return Link(found.x, make)


def _check_ones(chain: Chain, node: Node, x: str, seen: Seen) -> None:
    """A 1 for each number that a normalisation is fed, instead of a scale."""
    shape = chain.made_by(node.inputs[0], "Shape")
    value: Any = node.attributes.get("value")
    sizes = None if shape is not None else chain.constant(node, node.inputs[0])
    if not (shape is not None and shape.inputs[0] == x) and (sizes is None or sizes.tolist() != list(seen.shape)):
        refuse(node, f"it fills another shape than that of {shown(x)}, {seen}")
    if (
        not isinstance(value, TensorProto)
        or type_name(value.data_type) != seen.dtype
        or array_of(value).tolist() != [1]
    ):
        refuse(node, f"it fills a shape with something else than a 1 of {seen.dtype}")
