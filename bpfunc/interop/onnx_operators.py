"""ONNX nodes that can be read: which operators, of which operator sets, with which attributes.

A node is known if everything that it says is known; any other is refused by its name, before anything is read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NoReturn

import attrs
from onnx.defs import OpSchema, SchemaError, get_schema, onnx_opset_version
from onnx.helper import get_attribute_value
from onnx.onnx_pb import AttributeProto, GraphProto, ModelProto, NodeProto

FIRST_SET, LAST_SET = 7, 28
"""Operator sets whose operators were read when this was written; one that a later set changed is not known."""
ML = "ai.onnx.ml"
"""Domain of the operators of classical machine learning."""
ANY = None
"""An attribute whose value is looked at by the reader of the operator, or does not matter at inference."""
WINDOWS: dict[str, tuple[object, ...] | None] = {
    "auto_pad": ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"),
    **dict.fromkeys(("dilations", "kernel_shape", "pads", "strides"), ANY),
}
"""Attributes of the operators whose windows slide over images."""

KNOWN: dict[str, dict[str, tuple[object, ...] | None]] = {
    "Add": {},
    "AveragePool": {**WINDOWS, "ceil_mode": (0, 1), "count_include_pad": (0, 1)},
    "BatchNormalization": {"epsilon": ANY, "momentum": ANY, "spatial": (1,), "training_mode": ANY},
    "Cast": {"to": ANY, "saturate": ANY, "round_mode": ANY},
    "Concat": {"axis": ANY},
    "Constant": {"value": ANY, "value_float": ANY, "value_floats": ANY, "value_int": ANY, "value_ints": ANY},
    "ConstantOfShape": {"value": ANY},
    "Conv": {**WINDOWS, "group": ANY},
    "Div": {},
    "Dropout": {"ratio": ANY, "seed": ANY},
    "Elu": {"alpha": ANY},
    "Erf": {},
    "Flatten": {"axis": ANY},
    "Gather": {"axis": (0,)},
    "Gelu": {"approximate": ("none", "tanh")},
    "Gemm": {"alpha": ANY, "beta": ANY, "transA": ANY, "transB": (0, 1)},
    "GlobalAveragePool": {},
    "Greater": {},
    "Identity": {},
    "LayerNormalization": {"axis": ANY, "epsilon": ANY, "stash_type": ANY},
    "LeakyRelu": {"alpha": ANY},
    "LogSoftmax": {"axis": ANY},
    "MatMul": {},
    "MaxPool": {**WINDOWS, "ceil_mode": (0, 1), "storage_order": (0,)},
    "Mul": {},
    "Pow": {},
    "RMSNormalization": {"axis": ANY, "epsilon": ANY, "stash_type": ANY},
    "Reciprocal": {},
    "ReduceMean": {"axes": ANY, "keepdims": (0, 1), "noop_with_empty_axes": (0,)},
    "Relu": {},
    "Reshape": {"allowzero": (0, 1)},
    "Selu": {"alpha": ANY, "gamma": ANY},
    "Shape": {"start": (0,)},
    "Sigmoid": {},
    "Softmax": {"axis": ANY},
    "Softplus": {},
    "Sqrt": {},
    "Sub": {},
    "Tanh": {},
    "Transpose": {"perm": ANY},
    "Where": {},
    "ZipMap": {"classlabels_int64s": ANY, "classlabels_strings": ANY},
}
"""Each operator's attributes, and the values of each that are known."""


def shown(name: str) -> str:
    """Quote a name that comes from outside, for a message: no control characters, no end of a line, not too long.

    Args:
        name: Any text.

    Returns:
        The name in quotes.

    Example:
        >>> shown("first\\n"), len(shown("x" * 1000))
        ("'first\\\\n'", 82)
    """
    return repr(name if len(name) <= 80 else f"{name[:77]}...")


@attrs.frozen(eq=False)
class Node:
    """A node all of whose parts are known.

    Args:
        name: The node's, or that of its first output where it has none.
        op: Operator.
        inputs: Names of values; empty for those left out at the end, "" for one left out between others.
        attributes: Their values, those that the node leaves out as its operator set has them.
        revision: Operator set that brought the operator in the form that counts here.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, object]
    revision: int

    def input(self, place: int) -> str:
        """Name of an input.

        Args:
            place: Which.

        Returns:
            Its name; "" where the node leaves it out.

        Example:
            >>> Node("first", "Gemm", ("x", "w"), {}, 13).input(2)
            ''
        """
        return self.inputs[place] if place < len(self.inputs) else ""


def refuse(node: Node | NodeProto, why: str) -> NoReturn:
    """Return why a node cannot be read.

    Args:
        node: The node.
        why: What was found, and what is known.

    Returns:
        Nothing, ever.

    Raises:
        ValueError: Always; the message names node and operator.

    Example:
        >>> refuse(Node("first", "Gemm", ("x", "w"), {}, 13), "its alpha is 2.0; known is 1.0")
        Traceback (most recent call last):
            ...
        ValueError: node 'first' (Gemm): its alpha is 2.0; known is 1.0
    """
    why = why if len(why) <= 900 else f"{why[:900]}..."
    if isinstance(node, Node):
        raise ValueError(f"node {shown(node.name)} ({node.op}): {why}")
    name = node.name or next(iter(node.output), "")
    domain = f"{shown(node.domain)[1:-1]}::" if node.domain else ""
    raise ValueError(f"node {shown(name)} ({domain}{shown(node.op_type)[1:-1]}): {why}")


def known_nodes(model: ModelProto, output: str) -> dict[str, Node]:
    """Look at all nodes that an output depends on.

    Args:
        model: A model, not yet checked.
        output: Name of the output.

    Returns:
        Name of a value -> the node that computes it.

    Raises:
        ValueError: A node is not known; the message names it, and says what was found and what is known.

    Example:
        >>> from onnx.helper import make_graph, make_model, make_node, make_opsetid
        >>> graph = make_graph([make_node("Tanh", ["x"], ["h"]), make_node("Relu", ["h"], ["y"])], "example", [], [])
        >>> list(known_nodes(make_model(graph, opset_imports=[make_opsetid("", 20)]), "y"))
        ['y', 'h']
    """
    producers = {name: node for node in model.graph.node for name in node.output if name}
    sets, own = _operator_sets(model), {(function.domain, function.name) for function in model.functions}
    found: dict[str, Node] = {}
    wanted = [output]
    while wanted:
        value = wanted.pop()
        proto = producers.get(value)
        if proto is None or value in found:
            continue
        if (proto.domain, proto.op_type) in own or proto.overload:
            refuse(proto, "it is a function that the model brings along; known are ONNX's own operators")
        outputs = [name for name in proto.output if name]
        if len(outputs) > 1:
            refuse(proto, f"it has {len(outputs)} outputs; known is one")
        found[value] = _known(proto, sets)
        wanted.extend(name for name in proto.input if name)
    return found


def _operator_sets(model: ModelProto) -> dict[str, int]:
    """Domain -> operator set; ONNX's own domain has two names."""
    sets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = _domain(entry.domain)
        if sets.setdefault(domain, entry.version) != entry.version:
            raise ValueError(
                f"the model imports the operator sets {sets[domain]} and {entry.version} of one domain, "
                f"{shown(domain or 'ai.onnx')}; known is one set"
            )
    return sets


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _known(proto: NodeProto, sets: Mapping[str, int]) -> Node:
    domain = _domain(proto.domain)
    if domain not in ("", ML):
        refuse(proto, f"its domain is {shown(domain)}; known is ONNX's own, ''")
    if proto.op_type not in KNOWN or (domain == ML) != (proto.op_type == "ZipMap"):
        refuse(proto, f"no layer computes this; a chain of {', '.join(name for name in KNOWN)} can be read")
    schema = _schema(proto, domain, sets)
    inputs = _inputs(proto, schema)
    return Node(proto.name or proto.output[0], proto.op_type, inputs, _attributes(proto, schema), schema.since_version)


def _schema(proto: NodeProto, domain: str, sets: Mapping[str, int]) -> OpSchema:
    """What ONNX says about an operator in the model's operator set."""
    version = sets.get(domain)
    if version is None:
        refuse(proto, "the model does not say of which operator set it is")
    newest = onnx_opset_version()
    if domain == "" and not FIRST_SET <= version <= newest:
        refuse(proto, f"it is of operator set {version}; known are {FIRST_SET} to {newest} (of the installed onnx)")
    try:
        schema = get_schema(proto.op_type, version, domain)
    except SchemaError:
        refuse(proto, f"there is no such operator in set {version}")
    if schema.deprecated or (domain == "" and schema.since_version > LAST_SET):
        refuse(proto, f"it is as set {schema.since_version} changed it; known is what sets up to {LAST_SET} made of it")
    return schema


def _inputs(proto: NodeProto, schema: OpSchema) -> tuple[str, ...]:
    if not schema.min_input <= len(proto.input) <= schema.max_input:
        known = f"{schema.min_input} to {schema.max_input}" if schema.min_input < schema.max_input else schema.min_input
        refuse(proto, f"it has {len(proto.input)} inputs; known are {known}")
    if not all(proto.input[: schema.min_input]):
        refuse(proto, f"it leaves out one of its first {schema.min_input} inputs, which must all be there")
    return tuple(proto.input)


def _attributes(proto: NodeProto, schema: OpSchema) -> dict[str, object]:
    known = KNOWN[proto.op_type]
    values = {
        name: _value(entry.default_value) for name, entry in schema.attributes.items() if entry.default_value.name
    }
    for attribute in proto.attribute:
        name = attribute.name
        if name not in known or name not in schema.attributes:
            names = [each for each in known if each in schema.attributes]
            refuse(proto, f"it has an attribute {shown(name)}; known are {', '.join(names) or 'none'}")
        kind = schema.attributes[name].type.value  # pyright: ignore[reportAttributeAccessIssue]  # an enum's
        if attribute.ref_attr_name or attribute.type != kind:
            refuse(proto, f"its {name} is not of the type that the operator has")
        values[name] = _value(attribute)
    for name, allowed in known.items():
        if allowed is not None and name in values and values[name] not in allowed:
            refuse(proto, f"its {name} is {values[name]!r}; known is {' or '.join(map(repr, allowed))}")
    return values


def _value(attribute: AttributeProto) -> object:
    value = get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """List a graph and all that stand in its nodes.

    Args:
        graph: The graph.

    Yields:
        It, and the graphs in attributes, to any depth.

    Example:
        >>> [inner.name for inner in graphs(GraphProto(name="main"))]
        ['main']
    """
    waiting = [graph]
    while waiting:
        yield (current := waiting.pop())
        waiting.extend(inner for node in current.node for inner in _inner(node.attribute))


def _inner(attributes: Iterable[AttributeProto]) -> Iterator[GraphProto]:
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
