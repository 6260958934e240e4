"""Layers that other tools write as several ONNX nodes: silu, both forms of gelu, the normalisations.

Each function looks at the value that such nodes end in, and finds what they begin with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations

import attrs

from bpfunc import layers
from bpfunc.interop.onnx_chain import Chain, orders
from bpfunc.interop.onnx_operators import Node
from bpfunc.layers import Layer


@attrs.frozen
class Standardized:
    """A value that is ``x / sqrt(mean(x^2) + eps)``, or ``(x - mean) / sqrt(variance + eps)``.

    Args:
        x: Name of what is standardised.
        eps: Added to the mean square.
        centred: Whether the mean is taken off.
    """

    x: str
    eps: float
    centred: bool


def product_of(chain: Chain, node: Node) -> tuple[str, Layer] | None:
    """Read a product that ends an activation.

    Args:
        chain: The graph.
        node: A Mul.

    Returns:
        Name of what the activation is fed, and the activation; None where the product is another.

    Example:
        >>> gate = Node("gate", "Sigmoid", ("x",), {}, 13)
        >>> product = Node("end", "Mul", ("x", "g"), {}, 14)
        >>> x, layer = product_of(Chain({"g": gate, "y": product}), product)
        >>> x, layer.name
        ('x', 'silu')
    """
    for x, factor in orders(node):
        gate = chain.made_by(factor, "Sigmoid")
        if gate is not None and gate.inputs[0] == x:
            return x, layers.silu()
    for x, half, factor in _three_factors(chain, node):
        if x == _erf_gate(chain, factor) and chain.is_number(node, half, 0.5):
            return x, layers.gelu()
        if x == _tanh_gate(chain, factor) and chain.is_number(node, half, 0.5):
            return x, layers.gelu_tanh()
    return None


def _three_factors(chain: Chain, node: Node) -> Iterator[tuple[str, ...]]:
    """The factors of a product of three, whichever two are multiplied first, in every order."""
    for whole, other in orders(node):
        inner = chain.made_by(whole, "Mul")
        if inner is not None:
            yield from permutations((other, *inner.inputs))


def _sums_with(chain: Chain, value: str, op: str, number: float) -> Iterator[str]:
    """The ``x`` of a value that is ``x op number``, or ``number op x`` unless it is a quotient."""
    node = chain.made_by(value, op)
    if node is not None:
        for x, other in orders(node)[: 1 if op in ("Div", "Pow") else 2]:
            if chain.is_number(node, other, number):
                yield x


def _erf_gate(chain: Chain, value: str) -> str | None:
    """The ``x`` of a value that is ``1 + Erf(x / sqrt(2))``."""
    for erf in _sums_with(chain, value, "Add", 1.0):
        node = chain.made_by(erf, "Erf")
        if node is not None:
            found = (
                *_sums_with(chain, node.inputs[0], "Div", math.sqrt(2)),
                *_sums_with(chain, node.inputs[0], "Mul", math.sqrt(0.5)),
            )
            return next(iter(found), None)
    return None


def _tanh_gate(chain: Chain, value: str) -> str | None:
    """The ``x`` of a value that is ``1 + Tanh(sqrt(2 / pi) (x + 0.044715 x^3))``."""
    for tanh in _sums_with(chain, value, "Add", 1.0):
        node = chain.made_by(tanh, "Tanh")
        for inner in _sums_with(chain, node.inputs[0], "Mul", math.sqrt(2 / math.pi)) if node is not None else ():
            sum_ = chain.made_by(inner, "Add")
            for x, cubic in orders(sum_) if sum_ is not None else ():
                if any(_is_cube(chain, cube, x) for cube in _sums_with(chain, cubic, "Mul", 0.044715)):
                    return x
    return None


def _is_cube(chain: Chain, value: str, x: str) -> bool:
    if x in _sums_with(chain, value, "Pow", 3.0):
        return True
    product = chain.made_by(value, "Mul")
    return product is not None and any(left == x and _is_square(chain, right, x) for left, right in orders(product))


def _is_square(chain: Chain, value: str, x: str) -> bool:
    product = chain.made_by(value, "Mul")
    return x in _sums_with(chain, value, "Pow", 2.0) or (product is not None and set(product.inputs) == {x})


def standardized(chain: Chain, node: Node) -> Standardized | None:
    """Read a quotient, or a product with a reciprocal, that standardises examples of one axis.

    Args:
        chain: The graph.
        node: A Div or a Mul.

    Returns:
        What is standardised; None where the value is another.

    Example:
        >>> standardized(Chain({}), Node("first", "Mul", ("x", "y"), {}, 14)) is None
        True
    """
    if node.op == "Div":
        quotients = [node.inputs]
    else:
        inverted = ((x, chain.made_by(inverse, "Reciprocal")) for x, inverse in orders(node))
        quotients = [(x, inverse.inputs[0]) for x, inverse in inverted if inverse is not None]
    for above, below in quotients:
        eps = _eps_below(chain, below, above)
        if eps is not None:
            taken = chain.made_by(above, "Sub")
            if taken is not None and _is_mean_of(chain, taken.inputs[1], taken.inputs[0]):
                return Standardized(taken.inputs[0], eps, centred=True)
            return Standardized(above, eps, centred=False)
    return None


def _eps_below(chain: Chain, value: str, x: str) -> float | None:
    """The ``eps`` of a value that is ``Sqrt(mean(x^2) + eps)``."""
    root = chain.made_by(value, "Sqrt")
    total = None if root is None else chain.made_by(root.inputs[0], "Add")
    for mean, eps in orders(total) if total is not None else ():
        averaged = chain.made_by(mean, "ReduceMean")
        if averaged is not None and _is_square(chain, averaged.inputs[0], x) and _over_features(chain, averaged):
            return chain.number(averaged, eps)
    return None


def _is_mean_of(chain: Chain, value: str, x: str) -> bool:
    averaged = chain.made_by(value, "ReduceMean")
    return averaged is not None and averaged.inputs[0] == x and _over_features(chain, averaged)


def _over_features(chain: Chain, node: Node) -> bool:
    """Whether a mean is over the only axis of an example, and keeps it."""
    if not node.attributes.get("keepdims", 1):
        return False
    axes = node.attributes.get("axes")
    if node.input(1):
        found = chain.constant(node, node.input(1))
        axes = None if found is None else found.tolist()
    return axes == [1] or (axes == [-1] and node.revision >= 11)
