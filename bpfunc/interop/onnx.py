"""Networks as ONNX models, and ONNX models of ordinary perceptrons as networks.

A model that was written here says in its metadata which layers it is made of, and comes back as it was. Any other is
read node by node, if it is a chain of operators that are layers here.

Format: Open Neural Network Exchange, operator set 20 (2023), intermediate representation 9.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import cast

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfunc.arrays.types import FloatArray, Shape, readonly_arrays
from bpfunc.interop.channels_first import kernels_last
from bpfunc.interop.structure import build, describe, from_tensors, to_tensors
from bpfunc.layers import Layer
from bpfunc.tree import Tree

try:
    from google.protobuf.message import DecodeError
    from onnx.helper import (
        make_graph,
        make_model,
        make_opsetid,
        make_tensor_value_info,
        np_dtype_to_tensor_dtype,
        set_model_props,
    )
    from onnx.numpy_helper import from_array
    from onnx.onnx_pb import ModelProto, TensorProto

    from bpfunc.interop.onnx_chain import array_of
    from bpfunc.interop.onnx_foreign import checked, read_foreign, tensors
    from bpfunc.interop.onnx_graph import Graph, Place
    from bpfunc.interop.onnx_nodes import write
    from bpfunc.interop.onnx_operators import shown
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError("bpfunc.interop.onnx needs onnx: pip install 'bpfunc[onnx]'", name=missing.name) from None

OPSET = 20
"""Of ONNX' own operators; the first with Gelu."""
IR_VERSION = 9
"""Which belongs to the operator set; onnxruntime reads it since 1.17."""
FORMAT = 1
"""Of the description in the metadata, and of the nodes that are written for it."""
MEAN, SCALE = "input.mean", "input.scale"
"""Names of the tensors that pixels are normalised by."""
SIZE_LIMIT = 2**31 - 1
"""Most bytes of a model: what a protocol buffer can be."""
DESCRIPTION_LIMIT = 1_000_000
"""Most characters of the description in the metadata."""


def to_onnx(
    model: Layer,
    params: Tree,
    state: Tree = (),
    *,
    in_shape: Shape,
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    probabilities: bool = False,
) -> ModelProto:
    """Write a network, as it predicts, as an ONNX model.

    The model takes ``input``, ``(B, *in_shape)`` with B free, and gives ``logits``: the network's forward pass.
    With ``mean`` or ``scale`` the input is raw pixels, uint8, and ``(x / 255 - mean) / scale`` is part of the model,
    computed in float64 and then rounded, as the pipeline does. Otherwise it is of the parameters' type, or int64 where
    the network begins with an embedding.

    Args:
        model: A network of bpfunc's own layers.
        params: Its parameters, all float32 or all float64.
        state: Its layer state; ``()`` where it has none.
        in_shape: Shape of one example.
        mean: Mean of pixels in 0..1: a number or an array of ``in_shape``; 0 if only ``scale`` is given.
        scale: By which they are divided then, not 0: as ``mean``; 1 if only ``mean`` is given.
        probabilities: Whether there is a second output, ``probabilities``, the softmax of the logits.

    Returns:
        The model, the same bytes for the same arguments; `onnx.save` writes it to a file.

    Raises:
        ValueError: Part of the network is a custom layer, or parameters or statistics do not fit; the message
            names the path. Or the network has so many layers that `from_onnx` would not read their description.

    Example:
        >>> from bpfunc import Key, dense, relu, serial
        >>> network = serial(dense(4), relu(), dense(3))
        >>> params, state, _ = network.init(Key(0), (2,))
        >>> [node.op_type for node in to_onnx(network, params, state, in_shape=(2,)).graph.node]
        ['Gemm', 'Relu', 'Gemm']

    Reference: https://github.com/onnx/onnx/blob/main/docs/Operators.md
    """
    written = _written(*(model, params, state), in_shape=in_shape, mean=mean, scale=scale, probabilities=probabilities)
    about = {"format": FORMAT, "in_shape": in_shape, "probabilities": probabilities, "network": describe(model)}
    text = json.dumps(about, allow_nan=False)
    if len(text) > DESCRIPTION_LIMIT:
        raise ValueError(
            f"the description of the network has {len(text)} characters, at most {DESCRIPTION_LIMIT} are read"
        )
    set_model_props(written, {"bpfunc": text})
    return written


def _written(
    model: Layer,
    params: Tree,
    state: Tree,
    *,
    in_shape: Shape,
    mean: ArrayLike | None,
    scale: ArrayLike | None,
    probabilities: bool,
    most: float = math.inf,
) -> ModelProto:
    """Write a model of at most so many nodes, without its description."""
    raw = mean is not None or scale is not None
    categories = frozenset({"input"} if _takes_categories(model) and not raw else ())
    parameters = to_tensors(model, params, state)
    graph = Graph(_dtype(parameters.values()), parameters, categories, most=most)
    x = _normalised(graph, in_shape, mean, scale) if raw else "input"
    y, out_shape = write(graph, Place(model, "", x, in_shape))
    y = graph.channels_last(Place(model, "", y, out_shape))
    if y == x:  # a network of no layers
        graph.add("", "Identity", [x])
    outputs = [graph.name_last("logits")]
    if probabilities:
        graph.add("", "Softmax", ["logits"], {"axis": -1})
        outputs.append(graph.name_last("probabilities"))
    number = np_dtype_to_tensor_dtype(graph.dtype)
    kind = TensorProto.UINT8 if raw else TensorProto.INT64 if categories else number
    written = make_graph(
        graph.nodes,
        "bpfunc",
        [make_tensor_value_info("input", kind, ["batch", *in_shape])],
        [make_tensor_value_info(name, number, ["batch", *out_shape]) for name in outputs],
        [from_array(np.array(value, order="C"), name) for name, value in graph.tensors.items()],
    )
    return make_model(written, producer_name="bpfunc", opset_imports=[make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _takes_categories(layer: Layer) -> bool:
    seeing = layer.parts[:1] if layer.chained else layer.parts
    lookup = layer.maker is not None and layer.maker.name == "embedding"
    return lookup or any(_takes_categories(part) for _, part in seeing)


def _dtype(parameters: Iterable[FloatArray]) -> np.dtype[np.floating]:
    """In which a network computes: its parameters' type, float32 where there are none."""
    found = {parameter.dtype for parameter in parameters} or {np.dtype(np.float32)}
    if len(found) > 1 or not found <= {np.dtype(np.float32), np.dtype(np.float64)}:
        raise ValueError(
            f"expected parameters all float32 or all float64, found {', '.join(sorted(map(str, found)))}; "
            "see bpfunc.tree.tree_cast"
        )
    return found.pop()


def _normalised(graph: Graph, in_shape: Shape, mean: ArrayLike | None, scale: ArrayLike | None) -> str:
    """Write what makes inputs of pixels, in float64, since pixels that hardly vary have small scales."""
    x = graph.add("input", "Cast", ["input"], {"to": TensorProto.DOUBLE})
    x = graph.add("input", "Div", [x, graph.constant("input.most", np.array(255.0))])
    x = graph.add("input", "Sub", [x, graph.constant(MEAN, _statistic("mean", mean, 0.0, in_shape))])
    x = graph.add("input", "Div", [x, graph.constant(SCALE, _statistic("scale", scale, 1.0, in_shape))])
    return graph.add("input", "Cast", [x], {"to": np_dtype_to_tensor_dtype(graph.dtype)})


def _statistic(name: str, value: ArrayLike | None, default: float, in_shape: Shape) -> NDArray[np.float64]:
    array = np.array(default if value is None else value, np.float64)
    if array.shape not in ((), in_shape):
        raise ValueError(f"{name}: expected a number or shape {in_shape}, found {array.shape}")
    if not np.isfinite(array).all() or (name == "scale" and not array.all()):
        raise ValueError(f"{name}: expected finite numbers{', none of them 0' if name == 'scale' else ''}")
    return array


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Imported:
    """A network that was read from an ONNX model.

    Args:
        model: The network.
        params: Its parameters.
        state: Its layer state.
        in_shape: Shape of one example; None where the model does not say.
        mean: As given to `to_onnx`: pixels are ``(x / 255 - mean) / scale`` for this network; None where the model
            has no such part.
        scale: As ``mean``.
        channels_first: Whether the model's input and its output are images (B, C, H, W); those of the network are
            (B, H, W, C) always, and so is ``in_shape``.
    """

    model: Layer
    params: Tree
    state: Tree
    in_shape: Shape | None
    mean: FloatArray | None = None
    scale: FloatArray | None = None
    channels_first: tuple[bool, bool] = (False, False)


def from_onnx(data: ModelProto | bytes, *, output: str | None = None) -> Imported:
    """Read a network from an ONNX model: one of `to_onnx` as it was, any other if it is a chain of known operators.

    Known are Gemm, MatMul and Add, Conv, MaxPool, AveragePool and GlobalAveragePool of images, BatchNormalization,
    LayerNormalization, RMSNormalization, Flatten, Reshape, Transpose between the two orders of images, Dropout,
    Identity, Softmax, LogSoftmax, Relu, LeakyRelu, Elu, Selu, Gelu, Softplus, Tanh, Sigmoid, Gather from a table; and
    what stands for some of them elsewhere: the products that are silu and gelu, the quotients that are normalisations,
    softplus with a threshold, the two probabilities made of one. A node is read only if its operator set, domain, axis,
    attributes, and the types and shapes that it is fed, are known. Nothing is read but the bytes: tensors in other
    files are refused. Parameters take at most a few times the memory that the bytes take.

    A model that takes images (B, C, H, W) becomes a network that takes (B, H, W, C): see `Imported.channels_first`.

    Args:
        data: A model, or the bytes of a file, at most `SIZE_LIMIT`.
        output: Which of the model's outputs is wanted; only where it has several of floating numbers.

    Returns:
        Network, parameters (copies, bit for bit), state, and how pixels are normalised where the model does that. A
        network of `to_onnx` has its layers' names and settings, but the default initialisers.

    Raises:
        TypeError: The data is neither a model nor bytes.
        ValueError: It is not an ONNX model, or one that has no twin here; the message names node and operator, what was
            found and what is known.

    Example:
        >>> from bpfunc import Key, dense, relu, serial
        >>> network = serial(dense(4), relu(), dense(3))
        >>> params, state, _ = network.init(Key(0), (2,))
        >>> from_onnx(to_onnx(network, params, in_shape=(2,))).model.name
        'serial(dense(4), relu, dense(3))'
    """
    proto = _parsed(data)
    for tensor in tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            name = shown(tensor.name)[1:-1]
            raise ValueError(f"tensor {name} lies in another file, and only the model itself is read")
    found = _described(proto)
    if found is None:
        model, params, state, in_shape, channels_first = read_foreign(proto, output)
        return Imported(model, params, state, in_shape, channels_first=channels_first)
    checked(proto)
    return found


def _parsed(data: ModelProto | bytes) -> ModelProto:
    if isinstance(data, ModelProto):
        return data
    if not isinstance(data, bytes):
        raise TypeError(f"expected an ONNX model or the bytes of one, found {type(data).__name__}")
    if len(data) > SIZE_LIMIT:
        raise ValueError(f"no ONNX model: {len(data)} bytes are more than the {SIZE_LIMIT} that one can have")
    try:
        return ModelProto.FromString(data)
    except DecodeError as error:
        raise ValueError(f"no ONNX model: {error}") from None


def _as_written(array: FloatArray) -> FloatArray:
    """A copy of a tensor in the order in which the layer has it."""
    return np.array(kernels_last(array) if array.ndim == 4 else array, order="C")


def _described(proto: ModelProto) -> Imported | None:
    """Read a model of `to_onnx`; None if the description is missing, or the model is not what it describes.

    What counts is the graph: a description that was copied, or left behind when a tool changed the graph, is worth
    nothing. Hence the model is written once more, and compared.
    """
    texts = [entry.value for entry in proto.metadata_props if entry.key == "bpfunc"]
    if len(texts) != 1 or len(texts[0]) > DESCRIPTION_LIMIT or proto.functions:
        return None
    try:
        about = json.loads(texts[0])
        if about["format"] != FORMAT:
            return None
        model, in_shape = build(about["network"]), tuple(about["in_shape"])
        arrays = {tensor.name: _as_written(cast("FloatArray", array_of(tensor))) for tensor in proto.graph.initializer}
        params, state = from_tensors(model, arrays)
        found = Imported(model, params, state, in_shape, arrays.get(MEAN), arrays.get(SCALE))
        again = _written(
            *(model, params, state),
            in_shape=in_shape,
            mean=found.mean,
            scale=found.scale,
            probabilities=about["probabilities"],
            most=len(proto.graph.node),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    same = again.graph == proto.graph and list(again.opset_import) == list(proto.opset_import)
    return found if same else None
