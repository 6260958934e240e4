"""How each known ONNX operator is read as a layer, with what it must be fed for the layer to compute the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from onnx.onnx_pb import TensorProto

from bpfunc import layers
from bpfunc.arrays.types import FloatArray
from bpfunc.interop.onnx_chain import DTYPES, WHOLE, Chain, Link, Made, Seen, array_of, decimal, orders, type_name
from bpfunc.interop.onnx_operators import Node, refuse, shown
from bpfunc.interop.onnx_products import Standardized, product_of, standardized
from bpfunc.layers import BatchStatistics, DenseParams, EmbeddingParams, Layer, NormParams
from bpfunc.layers.combinators import SerialParams, serial
from bpfunc.ops.relu import SELU_ALPHA, SELU_SCALE

Reader: TypeAlias = Callable[[Chain, Node], Link]
"""How a node, perhaps with those before it, is read as a layer."""
NOT_LAST = "it is not along the last axis"


def _layer(node: Node, make: Callable[..., Layer], **settings: float) -> Layer:
    """Make a layer; settings that it does not take are refused by node."""
    try:
        return make(**settings)
    except ValueError as error:
        refuse(node, str(error))


def _elementwise(node: Node, x: str, layer: Layer) -> Link:
    """A link without parameters that keeps shapes."""

    def make(seen: Seen) -> Made:
        _check_floating(node, seen)
        return Made(layer, (), (), seen)

    return Link(x, make)


def _check_floating(node: Node, seen: Seen) -> None:
    if seen.dtype not in DTYPES.values():
        refuse(node, f"it is fed {seen}; known are float32 and float64")


def _check_rows(node: Node, seen: Seen, features: int) -> None:
    """A layer of rows is fed rows."""
    _check_floating(node, seen)
    if len(seen.example) != 1 or seen.example[0] not in (None, features):
        refuse(node, f"it takes examples of shape ({features},), and is fed {_tuple(seen)}")


def _tuple(seen: Seen) -> str:
    return repr(tuple("any" if size is None else size for size in seen.example)).replace("'", "")


def _plain(make: Callable[[], Layer]) -> Reader:
    return lambda chain, node: _elementwise(node, node.inputs[0], make())


def _unchanged(chain: Chain, node: Node) -> Link:
    return Link(node.inputs[0], lambda seen: Made(layers.identity(), (), (), seen))


def _last_axis(make: Callable[[], Layer]) -> Reader:
    def read(chain: Chain, node: Node) -> Link:
        def made(seen: Seen) -> Made:
            _check_floating(node, seen)
            _check_last(node, seen)
            return Made(make(), (), (), seen)

        return Link(node.inputs[0], made)

    return read


def _is_axis(node: Node, seen: Seen, axis: int) -> bool:
    """Whether a node is along an axis; axes are counted from the end, as negative numbers, since set 11."""
    ways = (axis, axis - len(seen.shape)) if node.revision >= 11 else (axis,)
    return axis < len(seen.shape) and node.attributes.get("axis") in ways


def _check_last(node: Node, seen: Seen) -> None:
    last = len(seen.shape) - 1
    if not last or not _is_axis(node, seen, last):
        axis = node.attributes.get("axis")
        refuse(node, f"{NOT_LAST}: its axis is {axis}, and it is fed {seen}; known is {max(last, 1)}")


def _number(node: Node, name: str) -> float:
    found = node.attributes[name]
    if not isinstance(found, float) or not math.isfinite(found):
        refuse(node, f"its {name} is {found}; known are finite numbers")
    return decimal(np.float32(found))


def _dense(chain: Chain, node: Node, x: str, weight: FloatArray | None, bias: FloatArray | None) -> Link:
    if weight is None or weight.ndim != 2 or not weight.size:
        refuse(node, f"its weight is no matrix, but {None if weight is None else weight.shape}")
    features, width = weight.shape
    if bias is not None:
        if bias.size not in (1, width) or bias.ndim > 2 or bias.shape[-1:] not in ((), (bias.size,)):
            refuse(node, f"its bias of shape {bias.shape} is none of {width} outputs")
        row = bias.reshape(-1)
        key = ("row", id(bias), width)
        bias = row if row.size == width else chain.keep(node, key, width, lambda: np.broadcast_to(row, (width,)))
    params = DenseParams(weight, bias)

    def make(seen: Seen) -> Made:
        _check_rows(node, seen, features)
        layer = layers.dense(width, use_bias=bias is not None)
        return Made(layer, params, (), Seen(seen.dtype, (seen.shape[0], width)))

    return Link(x, make)


def _gemm(chain: Chain, node: Node) -> Link:
    for name, known in (("transA", 0), ("alpha", 1.0), ("beta", 1.0)):
        if node.attributes[name] != known:
            refuse(node, f"its {name} is {node.attributes[name]}, and no dense layer has transA, alpha or beta")
    weight = chain.numbers(node, 1)
    if weight is not None and node.attributes["transB"]:
        turned = weight.T
        weight = chain.keep(node, ("turned", node.inputs[1]), weight.size, lambda: turned)
    return _dense(chain, node, node.inputs[0], weight, chain.numbers(node, 2))


def _matmul(chain: Chain, node: Node) -> Link:
    return _dense(chain, node, node.inputs[0], chain.numbers(node, 1), None)


def _add(chain: Chain, node: Node) -> Link:
    """A bias, after the product that it belongs to; or the shift of a normalisation."""
    for value, bias in orders(node):
        product = chain.made_by(value, "MatMul")
        if product is not None:
            weight = chain.numbers(product, 1)
            return _dense(chain, node, product.inputs[0], weight, chain.numbers(node, node.inputs.index(bias)))
    for value, shift in orders(node):
        scaled = chain.made_by(value, "Mul")
        norm = None if scaled is None else _scaled(chain, scaled)
        if norm is not None and norm[0].centred:
            return _norm(chain, node, norm[0], norm[1], chain.numbers(node, node.inputs.index(shift)))
    return refuse(node, "it is no bias after a MatMul")


def _scaled(chain: Chain, node: Node) -> tuple[Standardized, FloatArray | None] | None:
    """What a product scales, feature by feature, and by what."""
    for value, scale in orders(node):
        inner = chain.made_by(value, "Div") or chain.made_by(value, "Mul")
        found = None if inner is None or chain.constant(node, scale) is None else standardized(chain, inner)
        if found is not None:
            return found, chain.numbers(node, node.inputs.index(scale))
    return None


def _mul(chain: Chain, node: Node) -> Link:
    """The product that ends an activation or a normalisation of several nodes."""
    activation = product_of(chain, node)
    if activation is not None:
        return _elementwise(node, *activation)
    norm = _scaled(chain, node)
    if norm is not None:
        return _norm(chain, node, *norm, None)
    return _quotient(chain, node, "it is neither x Sigmoid(x) nor x (1 + Erf(x / sqrt(2))) / 2, nor a normalisation")


def _div(chain: Chain, node: Node) -> Link:
    return _quotient(chain, node, "it is no x / Sqrt(mean(x^2) + eps)")


def _quotient(chain: Chain, node: Node, otherwise: str) -> Link:
    found = standardized(chain, node)
    if found is None:
        refuse(node, otherwise)
    return _norm(chain, node, found, None, None)


def _norm(chain: Chain, node: Node, norm: Standardized, scale: FloatArray | None, shift: FloatArray | None) -> Link:
    """A normalisation of rows; scale 1 and shift 0 where there is none."""
    if (scale is not None and scale.ndim != 1) or (
        shift is not None and scale is not None and shift.shape != scale.shape
    ):
        refuse(node, "its scale and shift are not one number for each feature")
    layer = _layer(node, layers.layer_norm if norm.centred else layers.rms_norm, eps=norm.eps)

    def make(seen: Seen) -> Made:
        size = seen.example[0] if scale is None and len(seen.example) == 1 else None if scale is None else scale.size
        if not size:
            refuse(node, f"it is fed {seen}; known are rows of a known number of features")
        _check_rows(node, seen, size)

        def constant(value: float) -> FloatArray:
            full = np.broadcast_to(np.array(value, seen.dtype), (size,))
            return chain.keep(node, (value, size), size, lambda: full)

        scaled = constant(1.0) if scale is None else scale
        shifted = constant(0.0) if shift is None and norm.centred else shift
        return Made(layer, NormParams(scaled, shifted), (), seen)

    return Link(norm.x, make)


def _batch_norm(chain: Chain, node: Node) -> Link:
    if node.attributes.get("training_mode", 0):
        refuse(node, "it is in training mode; export the model for inference")
    scale, shift, mean, variance = (chain.numbers(node, place) for place in range(1, 5))
    if scale is None or scale.ndim != 1 or shift is None or shift.shape != scale.shape:
        refuse(node, "its scale and shift are not one number for each feature")
    if mean is None or variance is None or not mean.shape == variance.shape == scale.shape:
        refuse(node, "its statistics are not one number for each feature")
    # ONNX says how much of the old statistics is kept.
    momentum = round(1 - _number(node, "momentum"), 7)
    layer = _layer(node, layers.batch_norm, momentum=momentum, eps=_number(node, "epsilon"))
    made = NormParams(scale, shift), BatchStatistics(mean, variance)

    def make(seen: Seen) -> Made:
        _check_rows(node, seen, scale.size)
        return Made(layer, *made, seen)

    return Link(node.inputs[0], make)


def _feature_norm(*, centred: bool) -> Reader:
    def read(chain: Chain, node: Node) -> Link:
        # How precisely mean and variance are computed; both are as precise as float32 at least.
        if node.attributes["stash_type"] not in (TensorProto.FLOAT, TensorProto.DOUBLE):
            refuse(node, f"its stash_type is {node.attributes['stash_type']}; known are 1 and 11")
        norm = Standardized(node.inputs[0], _number(node, "epsilon"), centred)
        ones = chain.made_by(node.input(1), "ConstantOfShape")
        scale = chain.numbers(node, 1) if ones is None else None
        found = _norm(chain, node, norm, scale, chain.numbers(node, 2))

        def make(seen: Seen) -> Made:
            _check_last(node, seen)
            if ones is not None:
                _check_ones(chain, ones, node.inputs[0], seen)
            return found.make(seen)

        return Link(found.x, make)

    return read


def _check_ones(chain: Chain, node: Node, x: str, seen: Seen) -> None:
    """A 1 for each number that a normalisation is fed, in place of a scale."""
    shape, value = chain.made_by(node.inputs[0], "Shape"), node.attributes.get("value")
    sizes = None if shape is not None else chain.constant(node, node.inputs[0])
    if not (shape is not None and shape.inputs[0] == x) and (sizes is None or sizes.tolist() != list(seen.shape)):
        refuse(node, f"it fills another shape than that of {shown(x)}, {seen}")
    if (
        not isinstance(value, TensorProto)
        or type_name(value.data_type) != seen.dtype
        or array_of(value).tolist() != [1]
    ):
        refuse(node, f"it fills a shape with something else than a 1 of {seen.dtype}")


def _flatten(chain: Chain, node: Node) -> Link:
    def make(seen: Seen) -> Made:
        axis = node.attributes["axis"]
        if not (axis == 1 or _is_axis(node, seen, 1)):
            refuse(node, f"it keeps another axis than the first: its axis is {axis}, and it is fed {seen}; known is 1")
        return _flat(seen)

    return Link(node.inputs[0], make)


def _flat(seen: Seen) -> Made:
    sizes = [size for size in seen.example if size is not None]
    width = math.prod(sizes) if len(sizes) == len(seen.example) else None
    return Made(layers.flatten(), (), (), Seen(seen.dtype, (seen.shape[0], width)))


def _reshape(chain: Chain, node: Node) -> Link:
    target = chain.constant(node, node.inputs[1])

    def make(seen: Seen) -> Made:
        made = _flat(seen)
        if node is chain.nodes.get(chain.stacked) and target is not None and target.tolist() == [-1, 1]:
            return made
        sizes = None if target is None or target.shape != (2,) else target.tolist()
        if sizes is None or not _makes_rows(sizes, seen, made.seen.shape[1], zero=not node.attributes.get("allowzero")):
            found = "a shape that is computed" if target is None else target.tolist()
            refuse(node, f"it does not turn examples into rows: to {found}, and it is fed {seen}")
        return made

    return Link(node.inputs[0], make)


def _makes_rows(target: list[int], seen: Seen, width: int | None, *, zero: bool) -> bool:
    """Whether a shape is (batch, width) for every batch; ``zero`` says that 0 stands for the axis as it is."""
    rows, columns = target
    copied = zero and columns == 0 and len(seen.shape) == 2
    kept = (zero and rows == 0) or (rows > 0 and rows == seen.shape[0])
    if columns == -1:
        return kept
    return (kept or rows == -1) and bool(width) and (copied or columns == width)


def _dropout(chain: Chain, node: Node) -> Link:
    training = chain.constant(node, node.input(2)) if node.input(2) else np.False_
    if training is None or np.any(training):
        refuse(node, "it is in training mode; export the model for inference")
    if not node.input(1):
        rate = _number(node, "ratio") if "ratio" in node.attributes else 0.5
    else:
        ratio = chain.constant(node, node.input(1))
        if ratio is None or ratio.size != 1 or ratio.dtype not in (np.float32, np.float64):
            refuse(node, "its ratio is not one number")
        rate = decimal(ratio.ravel()[0])
    layer = _layer(node, layers.dropout, rate=rate)
    return Link(node.inputs[0], lambda seen: Made(layer, (), (), seen))


def _gather(chain: Chain, node: Node) -> Link:
    table = chain.numbers(node, 0)
    if table is None or table.ndim != 2 or not table.size:
        refuse(node, "it looks nothing up in a table")

    def make(seen: Seen) -> Made:
        if seen.dtype not in WHOLE or len(seen.shape) not in (1, 2):
            refuse(node, f"it is fed {seen}; known are {' and '.join(WHOLE)}, (batch,) or (batch, any)")
        after = Seen(table.dtype.name, (*seen.shape, table.shape[1]))
        return Made(layers.embedding(*table.shape), EmbeddingParams(table), (), after)

    return Link(node.inputs[1], make)


def _cast(chain: Chain, node: Node) -> Link:
    """A cast to the type that is there, or of whole numbers, which only come as inputs, to floating ones."""
    to = node.attributes["to"]

    def make(seen: Seen) -> Made:
        made = type_name(to) if isinstance(to, int) else ""
        if made != seen.dtype and not (seen.dtype in (*WHOLE, "bool") and made in DTYPES.values()):
            refuse(node, f"it makes {made} of {seen}; known is a cast to the same type")
        return Made(None, (), (), Seen(made, seen.shape))

    return Link(node.inputs[0], make)


def _where(chain: Chain, node: Node) -> Link:
    """Softplus as torch has it, which is x above some number: 20, where the two differ by 2e-9."""
    greater, soft = chain.made_by(node.inputs[0], "Greater"), chain.made_by(node.inputs[2], "Softplus")
    x = node.inputs[1]
    limit = None if greater is None or greater.inputs[0] != x else chain.number(greater, greater.inputs[1])
    if soft is None or soft.inputs[0] != x or limit is None or not limit >= 20:
        refuse(node, "it is no softplus: neither Softplus(x) nor, where x is greater than 20, x")
    return _elementwise(node, x, layers.softplus())


def _concat(chain: Chain, node: Node) -> Link:
    """The probabilities of not and of yes, (1 - p, p) with p = Sigmoid(z), which are Sigmoid of (-z, z)."""
    rest = chain.made_by(node.inputs[0], "Sub") if len(node.inputs) == 2 else None
    gate = None if rest is None else chain.made_by(node.inputs[1], "Sigmoid")
    if rest is None or gate is None or rest.inputs[1] != node.inputs[1] or not chain.is_number(rest, rest.inputs[0], 1):
        refuse(node, "it does not join 1 - Sigmoid(x) and Sigmoid(x)")

    def make(seen: Seen) -> Made:
        _check_last(node, seen)
        size = seen.example[0] if len(seen.example) == 1 else None
        if size is None:
            refuse(node, f"it is fed {seen}; known are rows of a known number of features")
        _check_rows(node, seen, size)

        def both_signs() -> FloatArray:
            positive = np.eye(size, dtype=seen.dtype)
            return np.concatenate([-positive, positive], axis=1)

        weight = chain.keep(node, ("both signs", size), 2 * size * size, both_signs)
        params = SerialParams((DenseParams(weight, None), ()))
        layer = serial(layers.dense(2 * size, use_bias=False), layers.sigmoid())
        return Made(layer, params, ((), ()), Seen(seen.dtype, (seen.shape[0], 2 * size)))

    return Link(gate.inputs[0], make)


def _zip_map(chain: Chain, node: Node) -> Link:
    """Numbers under the names of their classes: the numbers are read."""
    names = [value for value in node.attributes.values() if isinstance(value, list)]

    def make(seen: Seen) -> Made:
        if len(names) != 1 or len(seen.shape) != 2 or seen.example[0] != len(names[0]):
            refuse(node, f"it names {sum(map(len, names))} classes, and is fed {seen}")
        return Made(None, (), (), seen)

    return Link(node.inputs[0], make)


def _elu(chain: Chain, node: Node) -> Link:
    return _elementwise(node, node.inputs[0], _layer(node, layers.elu, alpha=_number(node, "alpha")))


def _leaky_relu(chain: Chain, node: Node) -> Link:
    return _elementwise(node, node.inputs[0], _layer(node, layers.leaky_relu, slope=_number(node, "alpha")))


def _gelu(chain: Chain, node: Node) -> Link:
    by_tanh = node.attributes["approximate"] == "tanh"
    return _elementwise(node, node.inputs[0], layers.gelu_tanh() if by_tanh else layers.gelu())


def _selu(chain: Chain, node: Node) -> Link:
    found = _number(node, "alpha"), _number(node, "gamma")
    if not np.allclose(found, (SELU_ALPHA, SELU_SCALE), rtol=1e-6, atol=0):
        refuse(node, f"its alpha and gamma are {found}, not those of selu, {(SELU_ALPHA, SELU_SCALE)}")
    return _elementwise(node, node.inputs[0], layers.selu())


READERS: dict[str, Reader] = {
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _concat,
    "Div": _div,
    "Dropout": _dropout,
    "Elu": _elu,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Identity": _unchanged,
    "LayerNormalization": _feature_norm(centred=True),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _last_axis(layers.log_softmax),
    "MatMul": _matmul,
    "Mul": _mul,
    "RMSNormalization": _feature_norm(centred=False),
    "Relu": _plain(layers.relu),
    "Reshape": _reshape,
    "Selu": _selu,
    "Sigmoid": _plain(layers.sigmoid),
    "Softmax": _last_axis(layers.softmax),
    "Softplus": _plain(layers.softplus),
    "Tanh": _plain(layers.tanh),
    "Where": _where,
    "ZipMap": _zip_map,
}
"""How each operator that is a layer, or ends one, is read."""


def read(chain: Chain, node: Node) -> Link:
    """Read a node, perhaps with those before it.

    Args:
        chain: The graph.
        node: A known node.

    Returns:
        The link that ends in it.

    Raises:
        ValueError: No layer computes the same; the message names the node.

    Example:
        >>> link = read(Chain({}), Node("first", "Tanh", ("x",), {}, 13))
        >>> link.x, link.make(Seen("float32", (None, 4))).layer.name
        ('x', 'tanh')
    """
    if node.op not in READERS:
        refuse(node, f"no layer computes this; a chain of {', '.join(READERS)} can be read")
    return READERS[node.op](chain, node)
