"""How each known ONNX operator is read as a layer, with what it must be fed for the layer to compute the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import attrs
import numpy as np

from bpfunc import layers
from bpfunc.arrays.types import FloatArray
from bpfunc.interop.onnx_chain import Chain, orders
from bpfunc.interop.onnx_image_layers import read_conv, read_global_mean, read_mean, read_pool, read_transpose, to_rows
from bpfunc.interop.onnx_links import (
    DTYPES,
    WHOLE,
    Link,
    Made,
    Seen,
    check_floating,
    check_last,
    check_rows,
    decimal,
    is_axis,
    made_layer,
    number_of,
    type_name,
)
from bpfunc.interop.onnx_norms import by_pixel, norm_link, read_batch_norm, read_feature_norm, scaled_norm
from bpfunc.interop.onnx_operators import Node, refuse
from bpfunc.interop.onnx_products import product_of, standardized
from bpfunc.layers import DenseParams, EmbeddingParams, Layer
from bpfunc.layers.combinators import SerialParams, serial
from bpfunc.ops.relu import SELU_ALPHA, SELU_SCALE

Reader: TypeAlias = Callable[[Chain, Node], Link]
"""How a node, perhaps with those before it, is read as a layer."""


def _elementwise(node: Node, x: str, layer: Layer) -> Link:
    """A link without parameters that keeps shapes."""

    def make(seen: Seen) -> Made:
        check_floating(node, seen)
        return Made(layer, (), (), seen)

    return Link(x, make, "any")


def _plain(make: Callable[[], Layer]) -> Reader:
    return lambda chain, node: _elementwise(node, node.inputs[0], make())


def _unchanged(chain: Chain, node: Node) -> Link:
    return Link(node.inputs[0], lambda seen: Made(layers.identity(), (), (), seen), "any")


def _last_axis(make: Callable[[], Layer]) -> Reader:
    def read(chain: Chain, node: Node) -> Link:
        def made(seen: Seen) -> Made:
            check_floating(node, seen)
            if not (seen.first and node.revision >= 13 and is_axis(node, seen, 1)):
                check_last(node, seen)
            if seen.first and not is_axis(node, seen, 1):
                refuse(node, f"it is not along the channels of images: its axis is {node.attributes['axis']}")
            return Made(make(), (), (), seen)

        return Link(node.inputs[0], made, "own")

    return read


def _dense(chain: Chain, node: Node, x: str, weight: FloatArray | None, bias: FloatArray | None) -> Link:
    if weight is None or weight.ndim != 2 or not weight.size:
        refuse(node, f"its weight is not a matrix, but {None if weight is None else weight.shape}")
    features, width = weight.shape
    if bias is not None:
        if bias.size not in (1, width) or bias.ndim > 2 or bias.shape[-1:] not in ((), (bias.size,)):
            refuse(node, f"its bias of shape {bias.shape} is none of {width} outputs")
        row = bias.reshape(-1)
        key = ("row", id(bias), width)
        bias = row if row.size == width else chain.keep(node, key, width, lambda: np.broadcast_to(row, (width,)))

    def make(seen: Seen) -> Made:
        check_rows(node, seen, features)
        layer = layers.dense(width, use_bias=bias is not None)
        params = DenseParams(by_pixel(chain, node, weight, seen), bias)
        return Made(layer, params, (), Seen(seen.dtype, (seen.shape[0], width)))

    return Link(x, make, "own")


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
        norm = None if scaled is None else scaled_norm(chain, scaled)
        if norm is not None and norm[0].centred:
            return norm_link(chain, node, norm[0], norm[1], chain.numbers(node, node.inputs.index(shift)))
    return refuse(node, "it is not a bias after a MatMul")


def _mul(chain: Chain, node: Node) -> Link:
    """The product that ends an activation or a normalisation of several nodes."""
    activation = product_of(chain, node)
    if activation is not None:
        return _elementwise(node, *activation)
    norm = scaled_norm(chain, node)
    if norm is not None:
        return norm_link(chain, node, *norm, None)
    return _quotient(chain, node, "it is neither x Sigmoid(x) nor x (1 + Erf(x / sqrt(2))) / 2, nor a normalisation")


def _div(chain: Chain, node: Node) -> Link:
    return _quotient(chain, node, "it is not x / Sqrt(mean(x^2) + eps)")


def _quotient(chain: Chain, node: Node, otherwise: str) -> Link:
    found = standardized(chain, node)
    if found is None:
        refuse(node, otherwise)
    return norm_link(chain, node, found, None, None)


def _flatten(chain: Chain, node: Node) -> Link:
    def make(seen: Seen) -> Made:
        axis = node.attributes["axis"]
        if not (axis == 1 or is_axis(node, seen, 1)):
            refuse(node, f"it keeps another axis than the first: its axis is {axis}, and it is fed {seen}; known is 1")
        return _flat(node, seen)

    return to_rows(chain, node, make)


def _flat(node: Node, seen: Seen) -> Made:
    sizes = [size for size in seen.example if size is not None]
    width = math.prod(sizes) if len(sizes) == len(seen.example) else None
    channels = seen.channels
    if seen.first and not all(size == 1 for size in seen.example[1:]):
        if seen.example[0] is None:
            refuse(node, f"it is fed {seen}; known are images of a known number of channels")
        channels = seen.example[0]
    return Made(layers.flatten(), (), (), Seen(seen.dtype, (seen.shape[0], width), channels=channels))


def _reshape(chain: Chain, node: Node) -> Link:
    target = chain.constant(node, node.inputs[1])

    def make(seen: Seen) -> Made:
        if target is not None and target.ndim == 1 and target.size > 2:
            return _other_shape(node, seen, target.tolist())
        made = _flat(node, seen)
        if node is chain.nodes.get(chain.stacked) and target is not None and target.tolist() == [-1, 1]:
            return made
        sizes = None if target is None or target.shape != (2,) else target.tolist()
        if sizes is None or not _makes_rows(sizes, seen, made.seen.shape[1], zero=not node.attributes.get("allowzero")):
            found = "a shape that is computed" if target is None else target.tolist()
            refuse(node, f"it does not turn examples into rows: to {found}, and it is fed {seen}")
        return made

    return to_rows(chain, node, make)


def _other_shape(node: Node, seen: Seen, target: list[int]) -> Made:
    """Examples of another shape, where their numbers stay in their order."""
    zero, known = not node.attributes.get("allowzero"), [size for size in seen.example if size is not None]
    copied = [
        seen.shape[place] if size == 0 and zero and place < len(seen.shape) else size
        for place, size in enumerate(target)
    ]
    batch = target[0] in (-1, seen.shape[0]) or (zero and target[0] == 0)
    lengths, total = [size or 0 for size in copied[1:]], math.prod(known)
    if lengths.count(-1) == 1 and target[0] != -1:
        others = -math.prod(lengths)
        lengths = [total // others if size == -1 and others else size for size in lengths]
    fits = len(known) == len(seen.example) and min(lengths) > 0 and math.prod(lengths) == total
    if not batch or not fits or seen.first or seen.channels != 1:
        refuse(
            node, f"it does not turn examples into rows or examples of another shape: to {target}, and it is fed {seen}"
        )
    return Made(layers.reshape(lengths), (), (), Seen(seen.dtype, (seen.shape[0], *lengths)))


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
    if training is None or training.shape or training:
        refuse(node, "it is in training mode; export the model for inference")
    if not node.input(1):
        rate = number_of(node, "ratio") if "ratio" in node.attributes else 0.5
    else:
        ratio = chain.constant(node, node.input(1))
        if ratio is None or ratio.shape or ratio.dtype not in (np.float32, np.float64):
            refuse(node, "its ratio is not one number")
        rate = decimal(ratio.ravel()[0])
    layer = made_layer(node, layers.dropout, rate=rate)
    return Link(node.inputs[0], lambda seen: Made(layer, (), (), seen), "any")


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
        return Made(None, (), (), attrs.evolve(seen, dtype=made))

    return Link(node.inputs[0], make, "any")


def _where(chain: Chain, node: Node) -> Link:
    """Softplus as torch has it, which is x above some number: 20, where the two differ by 2e-9."""
    greater, soft = chain.made_by(node.inputs[0], "Greater"), chain.made_by(node.inputs[2], "Softplus")
    x = node.inputs[1]
    limit = None if greater is None or greater.inputs[0] != x else chain.number(greater, greater.inputs[1])
    if soft is None or soft.inputs[0] != x or limit is None or not limit >= 20:
        refuse(node, "it is not a softplus: neither Softplus(x) nor, where x is greater than 20, x")
    return _elementwise(node, x, layers.softplus())


def _concat(chain: Chain, node: Node) -> Link:
    """The probabilities of not and of yes, (1 - p, p) with p = Sigmoid(z), which are Sigmoid of (-z, z)."""
    rest = chain.made_by(node.inputs[0], "Sub") if len(node.inputs) == 2 else None
    gate = None if rest is None else chain.made_by(node.inputs[1], "Sigmoid")
    if rest is None or gate is None or rest.inputs[1] != node.inputs[1] or not chain.is_number(rest, rest.inputs[0], 1):
        refuse(node, "it does not join 1 - Sigmoid(x) and Sigmoid(x)")

    def make(seen: Seen) -> Made:
        check_last(node, seen)
        size = seen.example[0] if len(seen.example) == 1 else None
        if size is None:
            refuse(node, f"it is fed {seen}; known are rows of a known number of features")
        check_rows(node, seen, size)

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
    return _elementwise(node, node.inputs[0], made_layer(node, layers.elu, alpha=number_of(node, "alpha")))


def _leaky_relu(chain: Chain, node: Node) -> Link:
    return _elementwise(node, node.inputs[0], made_layer(node, layers.leaky_relu, slope=number_of(node, "alpha")))


def _gelu(chain: Chain, node: Node) -> Link:
    by_tanh = node.attributes["approximate"] == "tanh"
    return _elementwise(node, node.inputs[0], layers.gelu_tanh() if by_tanh else layers.gelu())


def _selu(chain: Chain, node: Node) -> Link:
    found = number_of(node, "alpha"), number_of(node, "gamma")
    if not np.allclose(found, (SELU_ALPHA, SELU_SCALE), rtol=1e-6, atol=0):
        refuse(node, f"its alpha and gamma are {found}, not those of selu, {(SELU_ALPHA, SELU_SCALE)}")
    return _elementwise(node, node.inputs[0], layers.selu())


READERS: dict[str, Reader] = {
    "Add": _add,
    "AveragePool": read_pool,
    "BatchNormalization": read_batch_norm,
    "Cast": _cast,
    "Concat": _concat,
    "Conv": read_conv,
    "Div": _div,
    "Dropout": _dropout,
    "Elu": _elu,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": read_global_mean,
    "Identity": _unchanged,
    "LayerNormalization": partial(read_feature_norm, centred=True),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _last_axis(layers.log_softmax),
    "MatMul": _matmul,
    "MaxPool": read_pool,
    "Mul": _mul,
    "RMSNormalization": partial(read_feature_norm, centred=False),
    "ReduceMean": read_mean,
    "Relu": _plain(layers.relu),
    "Reshape": _reshape,
    "Selu": _selu,
    "Sigmoid": _plain(layers.sigmoid),
    "Softmax": _last_axis(layers.softmax),
    "Softplus": _plain(layers.softplus),
    "Softsign": _plain(layers.softsign),
    "Tanh": _plain(layers.tanh),
    "Transpose": read_transpose,
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
