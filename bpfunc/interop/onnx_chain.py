"""Foreign ONNX models as networks: a chain of operators, each of which is a layer here.

The chain is followed from the output backwards to the input, so that other outputs, such as labels, do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from onnx.helper import get_attribute_value
from onnx.numpy_helper import to_array
from onnx.onnx_pb import GraphProto, NodeProto, TensorProto, ValueInfoProto

from bpfunc import layers
from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.layers import BatchStatistics, DenseParams, EmbeddingParams, Layer, NormParams
from bpfunc.layers.combinators import SerialParams, serial
from bpfunc.ops.relu import SELU_ALPHA, SELU_SCALE
from bpfunc.tree import Tree

Array: TypeAlias = NDArray[np.generic]


@attrs.frozen(eq=False)
class Link:
    """One layer of a chain.

    Args:
        layer: The layer.
        params: Its parameters.
        state: Its state.
        x: Name of the value that it is fed.
    """

    layer: Layer
    params: Tree
    state: Tree
    x: str


@attrs.frozen(eq=False)
class Chain:
    """A graph, to look up where values come from.

    Args:
        constants: Tensors by name.
        producers: Node of each computed value.
    """

    constants: Mapping[str, Array]
    producers: Mapping[str, NodeProto]

    def numbers(self, node: NodeProto, place: int) -> FloatArray | None:
        """Read an input that must be a constant of floating numbers.

        Args:
            node: The node.
            place: Which of its inputs.

        Returns:
            A copy of the constant; None where the node has no such input.

        Raises:
            ValueError: It is computed, or of another type.

        Example:
            >>> from onnx.helper import make_node
            >>> Chain({"w": np.ones(2)}, {}).numbers(make_node("Gemm", ["x", "w"], ["y"]), 1)
            array([1., 1.])
        """
        if len(node.input) <= place or not node.input[place]:
            return None
        found = self.constants.get(node.input[place])
        if found is None:
            refuse(node, f"its input {node.input[place]!r} is computed, and a layer's parameters are constants")
        if found.dtype not in (np.float32, np.float64):
            refuse(node, f"its input {node.input[place]!r} is {found.dtype}, neither float32 nor float64")
        return np.array(found, np.float32 if found.dtype == np.float32 else np.float64)


Reader: TypeAlias = Callable[[Chain, NodeProto], Link]
"""How a node, perhaps with those before it, is read as a layer."""


def read_chain(graph: GraphProto, output: str | None) -> tuple[Layer, Tree, Tree, Shape | None]:
    """Read a chain of operators as a network.

    Args:
        graph: A checked one, without tensors in other files.
        output: Which output is wanted; None where there is only one.

    Returns:
        `serial` of the layers, parameters, state, and the shape of one example if the graph gives it.

    Raises:
        ValueError: It is no chain of known operators; the message names node and operator.

    Example:
        >>> from onnx.helper import make_graph, make_node, make_tensor_value_info
        >>> x, y = (make_tensor_value_info(name, 1, ["batch", 2]) for name in "xy")
        >>> graph = make_graph([make_node("Tanh", ["x"], ["y"])], "example", [x], [y])
        >>> layer, _, _, in_shape = read_chain(graph, None)
        >>> layer.name, in_shape
        ('serial(tanh)', (2,))
    """
    chain = Chain(_constants(graph), {name: node for node in graph.node for name in node.output})
    inputs = {info.name: info for info in graph.input if info.name not in chain.constants}
    value = _wanted(graph, output)
    found: list[tuple[NodeProto, Link]] = []
    while value not in inputs:
        node = chain.producers.get(value)
        if node is None:
            raise ValueError(f"{value!r} is a constant: the output does not depend on any input")
        link = READERS.get(node.op_type, _unknown)(chain, node)
        found.append((node, link))
        value = link.x
    in_shape = _example_shape(inputs[value])
    shape = in_shape
    for node, link in reversed(found):
        shape = _shape_after(node, link, shape)
    links = [link for _, link in reversed(found)]
    params = SerialParams(tuple(link.params for link in links))
    return serial(*(link.layer for link in links)), params, tuple(link.state for link in links), in_shape


def array_of(tensor: TensorProto) -> Array:
    """Read a tensor.

    Args:
        tensor: With its data in it.

    Returns:
        An array, perhaps a read-only one that shares the tensor's memory.

    Raises:
        ValueError: Its data are not what its type and shape say.

    Example:
        >>> from onnx.numpy_helper import from_array
        >>> array_of(from_array(np.ones(2)))
        array([1., 1.])
    """
    try:
        array: Array = to_array(tensor)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"tensor {tensor.name!r} cannot be read: {type(error).__name__}: {error}") from None
    return array


def refuse(node: NodeProto, why: str) -> NoReturn:
    """Say why a node cannot be read.

    Args:
        node: The node.
        why: The reason.

    Returns:
        Nothing, ever.

    Raises:
        ValueError: Always; the message names node and operator.

    Example:
        >>> from onnx.helper import make_node
        >>> refuse(make_node("Conv", ["x", "w"], ["y"], name="first"), "it is no layer here")
        Traceback (most recent call last):
            ...
        ValueError: node 'first' (Conv): it is no layer here
    """
    raise ValueError(f"node {node.name or node.output[0]!r} ({node.op_type}): {why}")


def _unknown(chain: Chain, node: NodeProto) -> Link:
    refuse(node, f"no layer computes this; a chain of {', '.join(sorted(READERS))} can be read")


def _wanted(graph: GraphProto, output: str | None) -> str:
    names = [info.name for info in graph.output]
    if output is None and len(names) != 1:
        raise ValueError(f"the model has the outputs {', '.join(names)}; say which with output=...")
    if output is not None and output not in names:
        raise ValueError(f"the model has no output {output!r}, but {', '.join(names)}")
    return names[0] if output is None else output


def _constants(graph: GraphProto) -> dict[str, Array]:
    found = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    for node in graph.node:
        values = _attributes(node)
        if node.op_type == "Constant" and "value" in values:
            found[node.output[0]] = array_of(values["value"])
        elif node.op_type == "Constant":
            found[node.output[0]] = np.asarray(next(iter(values.values()), None))
        elif node.op_type == "Identity" and node.input[0] in found:  # one constant under two names
            found[node.output[0]] = found[node.input[0]]
    return found


def _example_shape(info: ValueInfoProto) -> Shape | None:
    """The shape of one example; None if any of its axes, batch apart, is free."""
    dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
    return tuple(dims[1:]) if dims and all(dims[1:]) else None


def _shape_after(node: NodeProto, link: Link, shape: Shape | None) -> Shape | None:
    """Check that a layer takes what it is fed, and say what it gives."""
    params = link.params
    if isinstance(params, DenseParams | NormParams):
        first = params.weight.shape[0] if isinstance(params, DenseParams) else params.scale.shape[0]
        if shape not in (None, (first,)):
            refuse(node, f"it takes examples of shape ({first},), and is fed {shape}")
        return params.weight.shape[1:] if isinstance(params, DenseParams) else (first,)
    if shape is None:
        return None
    if isinstance(params, EmbeddingParams):
        return (*shape, params.table.shape[1])
    return (math.prod(shape),) if link.layer.name == "flatten" else shape


def _attributes(node: NodeProto) -> dict[str, object]:
    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


def _number(node: NodeProto, name: str, default: float) -> float:
    found = next((attribute.f for attribute in node.attribute if attribute.name == name), default)
    return _decimal(np.float32(found))


def _decimal(value: np.floating) -> float:
    """The short decimal that was rounded to a number: 0.01, not 0.009999999776482582."""
    return float(str(value))


def _plain(make: Callable[[], Layer]) -> Reader:
    return lambda chain, node: Link(make(), (), (), node.input[0])


def _last_axis(make: Callable[[], Layer]) -> Reader:
    def read(chain: Chain, node: NodeProto) -> Link:
        if _attributes(node).get("axis", -1) not in (-1, 1):
            refuse(node, "it is not along the last axis")
        return Link(make(), (), (), node.input[0])

    return read


def _dense(node: NodeProto, x: str, weight: FloatArray | None, bias: FloatArray | None) -> Link:
    if weight is None or weight.ndim != 2 or not weight.shape[1]:
        refuse(node, "its weight is no matrix")
    width = weight.shape[1]
    if bias is not None:
        if bias.size not in (1, width) or bias.shape[-1:] not in ((), (bias.size,)):
            refuse(node, f"its bias of shape {bias.shape} is none of {width} outputs")
        bias = np.array(np.broadcast_to(bias.ravel(), (width,)))
        if bias.dtype != weight.dtype:
            refuse(node, f"its bias is {bias.dtype}, its weight {weight.dtype}")
    return Link(layers.dense(width, use_bias=bias is not None), DenseParams(weight, bias), (), x)


def _gemm(chain: Chain, node: NodeProto) -> Link:
    attributes = _attributes(node)
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        refuse(node, "it has transA, alpha or beta, which no dense layer has")
    weight = chain.numbers(node, 1)
    if weight is not None and attributes.get("transB", 0):
        weight = np.ascontiguousarray(weight.T)
    return _dense(node, node.input[0], weight, chain.numbers(node, 2))


def _matmul(chain: Chain, node: NodeProto) -> Link:
    return _dense(node, node.input[0], chain.numbers(node, 1), None)


def _add(chain: Chain, node: NodeProto) -> Link:
    """A bias, after the product it belongs to."""
    product, place = next(
        ((chain.producers[name], 1 - i) for i, name in enumerate(node.input) if name in chain.producers), (None, 0)
    )
    if product is None or product.op_type != "MatMul":
        refuse(node, "it is no bias after a MatMul")
    return _dense(node, product.input[0], chain.numbers(product, 1), chain.numbers(node, place))


def _mul(chain: Chain, node: NodeProto) -> Link:
    """The product that ends an activation of several nodes."""
    for left, right in _both_ways(node):
        gate = chain.producers.get(right)
        if gate is not None and gate.op_type == "Sigmoid" and gate.input[0] == left:
            return Link(layers.silu(), (), (), left)
        x = _gelu_of(chain, left, right)
        if x is not None:
            return Link(layers.gelu(), (), (), x)
    refuse(node, "it is neither x Sigmoid(x) nor x (1 + Erf(x / sqrt(2))) / 2")


def _both_ways(node: NodeProto) -> tuple[list[str], list[str]]:
    return list(node.input), list(reversed(node.input))


def _gelu_of(chain: Chain, left: str, right: str) -> str | None:
    """The ``x`` of a product that is ``(x / 2) (1 + Erf(x / sqrt(2)))``, or ``(x (1 + Erf(x / sqrt(2)))) / 2``."""
    half = _with_number(chain, left, "Mul", 0.5)
    if half is not None and half == _erf_of(chain, right):
        return half
    product = chain.producers.get(left)
    if product is None or product.op_type != "Mul" or not _is_number(chain, right, 0.5):
        return None
    return next((x for x, factor in _both_ways(product) if x == _erf_of(chain, factor)), None)


def _is_number(chain: Chain, name: str, number: float) -> bool:
    found = chain.constants.get(name)
    if found is None or found.size != 1 or found.dtype not in (np.float32, np.float64):
        return False
    return math.isclose(found.item(), number, rel_tol=1e-5)


def _with_number(chain: Chain, name: str, op: str, number: float) -> str | None:
    """The ``x`` of a value that is ``x op number``."""
    node = chain.producers.get(name)
    if node is None or node.op_type != op:
        return None
    orders = _both_ways(node)[: 1 if op == "Div" else 2]
    return next((x for x, other in orders if _is_number(chain, other, number)), None)


def _erf_of(chain: Chain, name: str) -> str | None:
    """The ``x`` of a value that is ``1 + Erf(x / sqrt(2))``."""
    erf = chain.producers.get(_with_number(chain, name, "Add", 1.0) or "")
    if erf is None or erf.op_type != "Erf":
        return None
    return _with_number(chain, erf.input[0], "Div", math.sqrt(2)) or _with_number(
        chain, erf.input[0], "Mul", math.sqrt(0.5)
    )


def _norm_params(chain: Chain, node: NodeProto, *, shift: bool) -> NormParams:
    scale, found = chain.numbers(node, 1), chain.numbers(node, 2) if shift else None
    if scale is None or scale.ndim != 1 or (found is not None and found.shape != scale.shape):
        refuse(node, "its scale and shift are not one number for each feature")
    return NormParams(scale, found)


def _batch_norm(chain: Chain, node: NodeProto) -> Link:
    params = _norm_params(chain, node, shift=True)
    mean, variance = chain.numbers(node, 3), chain.numbers(node, 4)
    if mean is None or variance is None or not mean.shape == variance.shape == params.scale.shape:
        refuse(node, "its statistics are not one number for each feature")
    if _attributes(node).get("training_mode", 0):
        refuse(node, "it is in training mode; export the model for inference")
    # ONNX says how much of the old statistics is kept.
    layer = layers.batch_norm(momentum=round(1 - _number(node, "momentum", 0.9), 7), eps=_number(node, "epsilon", 1e-5))
    return Link(layer, params, BatchStatistics(mean, variance), node.input[0])


def _feature_norm(make: Callable[..., Layer], *, shift: bool) -> Reader:
    def read(chain: Chain, node: NodeProto) -> Link:
        if _attributes(node).get("axis", -1) not in (-1, 1):
            refuse(node, "it is not along the last axis")
        params = _norm_params(chain, node, shift=shift)
        return Link(make(eps=_number(node, "epsilon", 1e-5)), params, (), node.input[0])

    return read


def _flatten(chain: Chain, node: NodeProto) -> Link:
    if _attributes(node).get("axis", 1) != 1:
        refuse(node, "it keeps another axis than the first")
    return Link(layers.flatten(), (), (), node.input[0])


def _reshape(chain: Chain, node: NodeProto) -> Link:
    target = chain.constants.get(node.input[1])
    if target is None or target.shape != (2,) or not (target[0] in (-1, 0) or target[1] == -1):
        refuse(node, "it does not turn examples into rows")
    return Link(layers.flatten(), (), (), node.input[0])


def _dropout(chain: Chain, node: NodeProto) -> Link:
    training = chain.constants.get(node.input[2], np.True_) if len(node.input) > 2 and node.input[2] else np.False_
    if np.any(training):
        refuse(node, "it is in training mode; export the model for inference")
    ratio = chain.numbers(node, 1)
    if ratio is not None and ratio.size != 1:
        refuse(node, "its ratio is not one number")
    rate = _number(node, "ratio", 0.5) if ratio is None else _decimal(ratio.ravel()[0])
    return Link(layers.dropout(rate), (), (), node.input[0])


def _gather(chain: Chain, node: NodeProto) -> Link:
    table = chain.numbers(node, 0)
    if table is None or table.ndim != 2 or _attributes(node).get("axis", 0):
        refuse(node, "it looks nothing up in a table")
    return Link(layers.embedding(*table.shape), EmbeddingParams(table), (), node.input[1])


def _elu(chain: Chain, node: NodeProto) -> Link:
    return Link(layers.elu(alpha=_number(node, "alpha", 1.0)), (), (), node.input[0])


def _leaky_relu(chain: Chain, node: NodeProto) -> Link:
    return Link(layers.leaky_relu(slope=_number(node, "alpha", 0.01)), (), (), node.input[0])


def _gelu(chain: Chain, node: NodeProto) -> Link:
    by_tanh = _attributes(node).get("approximate", b"none") == b"tanh"
    return Link(layers.gelu_tanh() if by_tanh else layers.gelu(), (), (), node.input[0])


def _selu(chain: Chain, node: NodeProto) -> Link:
    found = _number(node, "alpha", SELU_ALPHA), _number(node, "gamma", SELU_SCALE)
    if not np.allclose(found, (SELU_ALPHA, SELU_SCALE), rtol=1e-5):
        refuse(node, "its alpha and gamma are not those of selu")
    return Link(layers.selu(), (), (), node.input[0])


READERS: dict[str, Reader] = {
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Dropout": _dropout,
    "Elu": _elu,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Identity": _plain(layers.identity),
    "LayerNormalization": _feature_norm(layers.layer_norm, shift=True),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _last_axis(layers.log_softmax),
    "MatMul": _matmul,
    "Mul": _mul,
    "RMSNormalization": _feature_norm(layers.rms_norm, shift=False),
    "Relu": _plain(layers.relu),
    "Reshape": _reshape,
    "Selu": _selu,
    "Sigmoid": _plain(layers.sigmoid),
    "Softmax": _last_axis(layers.softmax),
    "Softplus": _plain(layers.softplus),
    "Tanh": _plain(layers.tanh),
}
"""How each operator that is a layer, or ends one, is read."""
