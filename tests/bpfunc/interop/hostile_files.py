"""A corpus of small files that claim to be large, deep, long, or something else than they are: by reader and name."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from bpfunc import layers
from bpfunc.interop.network_file import network_entry, probabilities, read_network
from bpfunc.interop.onnx import from_onnx, to_onnx
from bpfunc.interop.safetensors import from_safetensors, safetensors_metadata, save_tensors, to_safetensors
from bpfunc.interop.sklearn import BackpropClassifier, BackpropRegressor
from bpfunc.keys import Key
from bpfunc.layers.combinators import serial
from bpfunc.tree import tree_leaves_with_path

HUGE = 10**9
LIKE = {"w": np.zeros(2), "n": 3}


def onnx_of(nodes: list[object], tensors: list[object] = (), shape: tuple[object, ...] = ("batch", 4)) -> bytes:
    """A model of some nodes."""
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "any"])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()


def empty(name: str, *dims: int) -> TensorProto:
    """A tensor of some shape without numbers in it."""
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, raw_data=b"")


def number(name: str, value: float = 1.0) -> TensorProto:
    """A tensor of one number."""
    return numpy_helper.from_array(np.array(value, np.float32), name)


def node(op: str, *inputs: str, to: str = "y", **attributes: object) -> object:
    """A node."""
    return helper.make_node(op, list(inputs), [to], name=op, **attributes)


def described(description: object, in_shape: object = (4,)) -> bytes:
    """A model whose metadata tell of another network than the graph has."""
    model = ModelProto.FromString(onnx_of([node("Relu", "x")]))
    about = {"format": 1, "in_shape": in_shape, "probabilities": False, "network": "..."}
    text = description if isinstance(description, str) else json.dumps(description)
    helper.set_model_props(model, {"bpfunc": json.dumps(about).replace('"..."', text)})
    model.graph.node[0].op_type = "Cos"  # not to be read node by node
    return model.SerializeToString()


def part(maker: str, *parts: object, **settings: object) -> dict[str, object]:
    """The description of a layer."""
    return {"maker": maker, "settings": settings, "parts": list(parts)}


def nested(depth: int, maker: str = "mirror_averaged", settings: str = '{"image_shape": [2, 2]}') -> str:
    """The text of a combinator in a combinator, and so on."""
    start, end = f'{{"maker": "{maker}", "settings": {settings}, "parts": [', "]}"
    return start * depth + json.dumps(part("serial")) + end * depth


def amplified(count: int = 400, width: int = 1000) -> bytes:
    """Biases of one number each, for many outputs."""
    wide, narrow = np.ones((1, width), np.float32), np.ones((width, 1), np.float32)
    tensors = [numpy_helper.from_array(wide, "wide"), numpy_helper.from_array(narrow, "narrow")]
    nodes, value = [], "x"
    for place in range(2 * count):
        tensors.append(number(f"b{place}"))
        after = f"v{place}" if place < 2 * count - 1 else "y"
        nodes.append(helper.make_node("Gemm", [value, ("wide", "narrow")[place % 2], f"b{place}"], [after]))
        value = after
    return onnx_of(nodes, tensors, ("batch", 1))


def chain(op: str, count: int) -> bytes:
    """One operator very often."""
    values = ["x", *(f"v{place}" for place in range(count - 1)), "y"]
    return onnx_of([helper.make_node(op, [before], [after]) for before, after in pairwise(values)])


def onnx_files() -> dict[str, bytes]:
    """Models."""
    ones = node("ConstantOfShape", "s", to="w", value=number("", 1.0))
    shape = numpy_helper.from_array(np.array([4, HUGE]), "s")
    lonely = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "w"), numpy_helper.from_array(np.array([0]), "i"), [HUGE, HUGE]
    )
    thin = ModelProto.FromString(onnx_of([node("MatMul", "x", "w")], shape=("batch", HUGE)))
    thin.graph.sparse_initializer.append(lonely)
    return {
        "no rows, many outputs": onnx_of([node("Gemm", "x", "w", "b")], [empty("w", 0, HUGE), number("b")], ("b", 0)),
        "no rows, no bias": onnx_of([node("MatMul", "x", "w")], [empty("w", 0, HUGE)], ("b", 0)),
        "many rows, no outputs": onnx_of([node("MatMul", "x", "w")], [empty("w", HUGE, 0)], ("b", HUGE)),
        "no numbers": onnx_of([node("MatMul", "x", "w")], [empty("w", 4, HUGE)]),
        "overflowing shape": onnx_of([node("MatMul", "x", "w")], [empty("w", 2**62, 2**62)]),
        "empty table": onnx_of([node("Gather", "w", "x")], [empty("w", HUGE, 0)]),
        "filled by node": onnx_of([ones, node("MatMul", "x", "w")], [shape]),
        "scale of a shape": onnx_of(
            [ones, node("LayerNormalization", "x", "w")], [numpy_helper.from_array(np.array([HUGE]), "s")], ("b", HUGE)
        ),
        "norm of many": onnx_of(
            [
                *(node("Mul", "x", "x", to="q"), node("ReduceMean", "q", "a", to="m"), node("Add", "m", "e", to="p")),
                *(node("Sqrt", "p", to="r"), node("Div", "x", "r")),
            ],
            [numpy_helper.from_array(np.array([-1]), "a"), number("e", 0.5)],
            ("batch", HUGE),
        ),
        "both signs of many": onnx_of(
            [node("Sigmoid", "x", to="p"), node("Sub", "one", "p", to="q"), node("Concat", "q", "p", axis=1)],
            [number("one")],
            ("batch", 10**6),
        ),
        "biases of one number": amplified(),
        "very long": chain("Relu", 20_000),
        "very long, of names": chain("Identity", 20_000),
        "sparse": thin.SerializeToString(),
        "long list": onnx_of(
            [node("Transpose", "w", to="t", perm=[3] * 100_000), node("MatMul", "x", "t")], [number("w")]
        ),
        "long name": onnx_of([node("x" * 100_000, "x")]),
        "text": onnx_of(
            [node("MatMul", "x", "w")],
            [TensorProto(name="w", data_type=TensorProto.STRING, dims=[100_000], string_data=[b""] * 100_000)],
        ),
        "halves of bytes": onnx_of(
            [node("MatMul", "x", "w")],
            [TensorProto(name="w", data_type=TensorProto.INT4, dims=[4, HUGE], raw_data=b"")],
        ),
        "described as wide": described(part("dense", width=HUGE, use_bias=True)),
        "described as doubled": described(nested(40)),
        "described as doubled often": described(nested(150)),
        "described as deep": described(nested(150, "residual", "{}")),
        "described as too deep": described(nested(3000, "residual", "{}")),
        "described as many": described(part("serial", *[part("relu")] * 2000)),
        "described shape": described(part("relu"), [HUGE, HUGE]),
        "no model": b"\x3a" * 1000,
        "empty": b"",
    }


def tensors_of(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    """A safetensors file of some header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def safetensors_files() -> dict[str, bytes]:
    """Files of tensors."""

    def one(**entry: object) -> dict[str, object]:
        return {"['w']": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]} | entry}

    rest = {"['n']": {"dtype": "I64", "shape": [], "data_offsets": [16, 24]}}
    return {
        "no size": b"\x01",
        "size that lies": tensors_of({}, size=2**63),
        "size of the limit": tensors_of({}, size=8_000_000),
        "no JSON": tensors_of(b"{" * 1000),
        "deep": tensors_of(b"[" * 100_000),
        "no object": tensors_of([]),
        "huge and empty": tensors_of(one(shape=[0, 10**18], data_offsets=[0, 0]) | rest, b"0" * 24),
        "overflowing shape": tensors_of(one(shape=[2**63, 2**63]) | rest, b"0" * 24),
        "negative shape": tensors_of(one(shape=[-1]) | rest, b"0" * 24),
        "unknown type": tensors_of(one(dtype="F8_E4M3", shape=[16]) | rest, b"0" * 24),
        "type of no library": tensors_of(one(dtype="X9") | rest, b"0" * 24),
        "outside": tensors_of(one(data_offsets=[0, 10**12]) | rest, b"0" * 24),
        "overlapping": tensors_of(one() | {"['n']": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}}, b"0" * 16),
        "many names": tensors_of(
            {f"n{place}": {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]} for place in range(5000)}
        ),
        "metadata of numbers": tensors_of({"__metadata__": {"a": 1}} | one() | rest, b"0" * 24),
    }


def networks() -> dict[str, bytes]:
    """Files of a trained network, none of which is one."""
    weight = np.ones((4, 3), np.float32)
    scaling = {"scaling.mean": np.zeros(4), "scaling.scale": np.ones(4)}

    def file(network: object, tensors: dict[str, np.ndarray], names: object = ("a", "b", "c")) -> bytes:
        inner = network if isinstance(network, str) else json.dumps(network)
        text = f'{{"class_names": {json.dumps(names)}, "layers": {inner}}}'
        return save_tensors({**scaling, **tensors}, metadata={"network": text})

    dense, whole = part("dense", width=3, use_bias=False), {"params.weight": weight}
    return {
        "no description": save_tensors(whole, metadata={"class_names": "a"}),
        "no JSON": file("{" * 1000, whole),
        "deep": file("[" * 100_000, whole),
        "no layer": file([], whole),
        "wide": file(part("dense", width=HUGE, use_bias=False), whole),
        "another shape": file(dense, {"params.weight": np.ones((5, 3), np.float32)}),
        "not a matrix": file(dense, {"params.weight": np.ones(4, np.float32)}),
        "nothing": file(dense, {}),
        "too much": file(dense, {**whole, "params.bias": np.ones(3, np.float32)}),
        "whole numbers": file(dense, {"params.weight": np.ones((4, 3), np.int64)}),
        "other names": file(dense, whole, ["a", "b"]),
        "numbers as names": file(dense, whole, [1, 2, 3]),
        "no names": file(dense, whole, None),
        "division by zero": file(dense, {**whole, "scaling.scale": np.zeros(4)}),
        "no pixels": file(dense, {**whole, "scaling.scale": np.ones(5)}),
        "doubled often": file(nested(150), whole),
        "too deep": file(nested(3000, "residual", "{}"), whole),
    }


def network_used(data: bytes) -> None:
    """Read a network, and predict with it."""
    read = read_network(data)
    probabilities(read, np.zeros((2, len(read.mean)), np.uint8))


def fitted() -> Iterator[object]:
    """Estimators to be spoilt."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield BackpropClassifier((4,), max_iter=2, random_state=0, class_weight={"a": 1.0, "b": 2.0}).fit(
            X, np.array(["a", "b"] * 10)
        )
        yield BackpropRegressor((4, 3), max_iter=2, random_state=0).fit(X, X[:, 0])


SPOILT: tuple[object, ...] = (
    *(None, True, 0, -1, 10**18, 10**400, 0.5, -0.5, "", "nonsense", "<U200000000", "O", "f4,f4", [], [1], ["a", "b"]),
    *({}, {"pairs": 3}, {"pairs": [[[], 1]]}, {"pairs": [1]}, {"list": 3}, {"number": "x"}, {"floating": "O"}, [[]]),
    *(["<U200000000", ["a", "b"]], ["|O", ["a", []]], ["<i8", [1.5, 2.5]], ["<U1", ["aa", "b"]], [10**6] * 3),
    *([1] * 20_000, {"list": [10**9]}),
)


def places(facts: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Every place in a nest of dicts and lists."""
    if path:
        yield path
    for name, inner in facts.items() if isinstance(facts, dict) else ():
        yield from places(inner, (*path, name))


def spoilt(facts: dict[str, object], path: tuple[object, ...], value: object) -> dict[str, object]:
    """The same facts with another value at a place."""
    changed = json.loads(json.dumps(facts))
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return changed


def estimator_files() -> Iterator[tuple[str, str, bytes]]:
    """Estimators with one fact changed, or missing, or of another kind."""
    for estimator in fitted():
        data = estimator.to_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        facts = json.loads(safetensors_metadata(data)["bpfunc"])
        name = type(estimator).__name__
        for text in ("", "null", "[]", "{}", "3", "[" * 100_000, '{"params": ' * 1000, '"' + "a" * 100_000 + '"'):
            yield name, f"text {text[:12]}", file_of(header, text, data[8 + size :])
        for path in places(facts):
            for value in SPOILT:
                changed = json.dumps(spoilt(facts, path, value))
                yield name, f"{path} {str(value)[:40]}", file_of(header, changed, data[8 + size :])
            less = json.loads(json.dumps(facts))
            inner = less
            for step in path[:-1]:
                inner = inner[step]
            del inner[path[-1]]
            yield name, f"{path} missing", file_of(header, json.dumps(less), data[8 + size :])


def file_of(header: dict[str, object], facts: str, data: bytes) -> bytes:
    """A file of tensors with other facts."""
    return tensors_of(header | {"__metadata__": {"bpfunc": facts}}, data)


def estimator_used(cls: type, data: bytes) -> None:
    """Read an estimator, and predict with it: what is read must work."""
    cls.from_bytes(data).predict(np.zeros((2, 3)))


def corpus() -> Iterator[tuple[str, str, Callable[[], object], int]]:
    """Reader, name, what to call, and how many bytes it is given."""
    for name, data in onnx_files().items():
        yield "from_onnx", name, lambda data=data: from_onnx(data), len(data)
    for name, data in safetensors_files().items():
        yield "from_safetensors", name, lambda data=data: from_safetensors(data, LIKE), len(data)
        if name in ("no size", "size that lies", "no JSON", "deep"):
            yield "safetensors_metadata", name, lambda data=data: safetensors_metadata(data), len(data)
    for name, data in [*safetensors_files().items(), *networks().items()]:
        yield "read_network", name, lambda data=data: network_used(data), len(data)
    for name, what, data in estimator_files():
        cls = {"BackpropClassifier": BackpropClassifier, "BackpropRegressor": BackpropRegressor}[name]
        yield name, what, lambda cls=cls, data=data: estimator_used(cls, data), len(data)


def honest() -> Iterator[Callable[[], object]]:
    """What must go well under the same limit, so that the limit is known not to be what refuses the others."""
    network = serial(layers.dense(64), layers.relu(), layers.dense(3))
    params, state, _ = network.init(Key(0), (784,))
    model = to_onnx(network, params, state, in_shape=(784,)).SerializeToString()
    yield lambda: from_onnx(model)
    arrays = {f"params.{path}": leaf for path, leaf in tree_leaves_with_path(params)}
    statistics = {"scaling.mean": np.zeros(784), "scaling.scale": np.ones(784)}
    saved = save_tensors(arrays | statistics, metadata=network_entry(network, ["a", "b", "c"]))
    yield lambda: network_used(saved)
    tensors = to_safetensors(LIKE)
    yield lambda: from_safetensors(tensors, LIKE)
    for estimator in fitted():
        data = estimator.to_bytes()
        yield lambda estimator=estimator, data=data: estimator_used(type(estimator), data)
