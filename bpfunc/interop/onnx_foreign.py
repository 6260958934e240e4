"""ONNX models of other tools as networks, if every operator on the way from the input to the output is known.

The chain of operators is followed from the output backwards to the input, so that other outputs, such as labels, do not
matter. Then the layers are made from the input onwards, since only what an operator is fed says whether a layer
computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from onnx.checker import ValidationError, check_model
from onnx.onnx_pb import GraphProto, ModelProto, TensorProto, TypeProto, ValueInfoProto

from bpfunc.arrays.types import Shape
from bpfunc.interop.onnx_chain import GROWTH, LAYERS_LIMIT, ROOM, Chain
from bpfunc.interop.onnx_image_layers import in_order
from bpfunc.interop.onnx_layers import read
from bpfunc.interop.onnx_links import DTYPES, Link, Made, Seen, type_name
from bpfunc.interop.onnx_operators import Node, graphs, known_nodes, refuse, shown
from bpfunc.layers import Layer
from bpfunc.layers.combinators import SerialParams, serial
from bpfunc.layers.recognition import maker_of
from bpfunc.tree import Tree


def read_foreign(model: ModelProto, output: str | None) -> tuple[Layer, Tree, Tree, Shape | None, tuple[bool, bool]]:
    """Read a chain of known operators as a network.

    Args:
        model: Any model.
        output: Which output is wanted; None where there is only one of floating numbers.

    Returns:
        `serial` of the layers, parameters, state, the shape of one example if the graph gives it, and whether the
        model's input and output are images with their channels first; in the network they are last.

    Raises:
        ValueError: It is not a valid model, or not a chain of known operators; the message names node and operator.

    Example:
        >>> from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
        >>> x, y = (make_tensor_value_info(name, 1, ["batch", 2]) for name in "xy")
        >>> graph = make_graph([make_node("Tanh", ["x"], ["y"])], "example", [x], [y])
        >>> layer, _, _, in_shape, _ = read_foreign(make_model(graph, opset_imports=[make_opsetid("", 20)]), None)
        >>> layer.name, in_shape
        ('serial(tanh)', (2,))
    """
    wanted = _wanted(model.graph, output)
    nodes = known_nodes(model, wanted)
    checked(model)
    chain = Chain(
        nodes,
        {tensor.name: tensor for tensor in model.graph.initializer},
        frozenset(tensor.values.name for tensor in model.graph.sparse_initializer),
        ROOM + GROWTH * model.ByteSize(),
        wanted if model.producer_name == "skl2onnx" else "",
    )
    inputs = {info.name: info for info in model.graph.input if info.name not in chain.tensors}
    links = _links(chain, wanted, inputs)
    value = links[-1][1].x if links else wanted
    seen = _input_order(_fed(inputs[value]), links)
    sizes = (*seen.example[1:], seen.example[0]) if seen.first else seen.example
    in_shape = tuple(size for size in sizes if size is not None)
    first = seen.first
    made: list[Made] = []
    for node, link in reversed(links):
        turned = in_order(node, link, seen)
        if turned is not None:
            if made and made[-1].layer is not None and maker_of(made[-1].layer).name == "reshape":
                made.pop()  # the numbers stay in their order: the last shape counts
            made.append(turned)
            seen = turned.seen
        made.append(link.make(seen))
        seen = made[-1].seen
    _check_out(chain, seen, next(info for info in model.graph.output if info.name == wanted))
    kept = [each for each in made if each.layer is not None]
    network = serial(*(each.layer for each in kept if each.layer is not None))
    params, state = SerialParams(tuple(each.params for each in kept)), tuple(each.state for each in kept)
    return network, params, state, in_shape if len(in_shape) == len(sizes) else None, (first, seen.first)


def _input_order(seen: Seen, links: list[tuple[Node, Link]]) -> Seen:
    """An input is images with their channels first, if the first operator that sees a difference takes such."""
    decides = next((link.order for _, link in reversed(links) if link.order != "any"), "any")
    return attrs.evolve(seen, first=decides == "first" and len(seen.example) > 1)


def checked(model: ModelProto) -> ModelProto:
    """Check a model by the rules of ONNX; nothing is read from the disk.

    Args:
        model: Any model.

    Returns:
        The model.

    Raises:
        ValueError: It is not valid.

    Example:
        >>> checked(ModelProto())
        Traceback (most recent call last):
            ...
        ValueError: no valid ONNX model: The model does not have an ir_version set properly.
    """
    try:
        check_model(model)
    except (ValidationError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"no valid ONNX model: {shown(lines[0])[1:-1]}") from None
    return model


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """List all tensors of a model, wherever they stand.

    Args:
        model: Any model.

    Yields:
        Those of initialisers, dense and sparse, and of attributes; also in inner graphs and in functions.

    Example:
        >>> list(tensors(ModelProto()))
        []
    """
    for graph in graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    inner = (graph for function in model.functions for graph in graphs(GraphProto(node=function.node)))
    for graph in (*graphs(model.graph), *inner):
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def _wanted(graph: GraphProto, output: str | None) -> str:
    names = [str(info.name) for info in graph.output]
    if not names:
        raise ValueError("no ONNX model: it has no output")
    listed = ", ".join(shown(name)[1:-1] for name in names)
    if output is not None:
        if output not in names:
            raise ValueError(f"the model has no output {shown(output)}, but {listed}")
        return output
    floating = [str(info.name) for info in graph.output if _is_floating(info.type)]
    if len(names) > 1 and len(floating) != 1:
        raise ValueError(f"the model has the outputs {listed}; say which with output=...")
    return names[0] if len(names) == 1 else floating[0]


def _is_floating(kind: TypeProto) -> bool:
    """Whether an output may be a network's: floating numbers, as an array or under the names of classes."""
    return kind.HasField("sequence_type") or kind.tensor_type.elem_type in DTYPES


def _links(chain: Chain, value: str, inputs: dict[str, ValueInfoProto]) -> list[tuple[Node, Link]]:
    """The links from an output back to an input, the last one first."""
    found: list[tuple[Node, Link]] = []
    while value not in inputs:
        node = chain.nodes.get(value)
        if node is None or (not found and chain.constant(node, value) is not None) or node.op == "Constant":
            raise ValueError(f"{shown(value)} is a constant: the output does not depend on any input")
        if len(found) == LAYERS_LIMIT:
            refuse(node, f"the chain is longer than {LAYERS_LIMIT} layers")
        link = read(chain, node)
        found.append((node, link))
        value = link.x
    return found


def _fed(info: ValueInfoProto) -> Seen:
    """What is known of an input."""
    if not info.type.HasField("tensor_type"):
        raise ValueError(f"input {shown(info.name)} is not a tensor, but a {info.type.WhichOneof('value')}")
    axes = info.type.tensor_type.shape.dim
    if not axes:
        raise ValueError(f"input {shown(info.name)} has no axes; the first one is that of a batch")
    sizes = [axis.dim_value if axis.dim_value > 0 else None for axis in axes]
    return Seen(type_name(info.type.tensor_type.elem_type), tuple(sizes))


def _check_out(chain: Chain, last: Seen, output: ValueInfoProto) -> None:
    """All constants are of the type that is computed with, which is the type of what comes out, in a known order."""
    name, kind = shown(output.name)[1:-1], output.type.tensor_type.elem_type
    if last.channels != 1:
        raise ValueError(f"what comes out as {name} are images flattened channel by channel; here it is pixel by pixel")
    if last.dtype not in DTYPES.values():
        raise ValueError(f"what comes out as {name} is {last.dtype}; known are float32 and float64")
    if output.type.HasField("tensor_type") and type_name(kind) != last.dtype:
        raise ValueError(f"what comes out as {name} is {last.dtype}, and the graph says {type_name(kind)}")
    for node, constant, dtype in chain.used:
        if dtype.name != last.dtype:
            refuse(node, f"its input {shown(constant)} is {dtype}, and the other {last.dtype}")
