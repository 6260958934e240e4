"""Networks survive ONNX as they are, ordinary models of others are read, and what is neither is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bpfunc import layers
from bpfunc.interop import onnx as ours
from bpfunc.interop.onnx import Imported, from_onnx, to_onnx
from bpfunc.keys import Key, normal
from bpfunc.layers import INFERENCE, Layer
from bpfunc.layers.combinators import ParallelParams, SerialParams, named, parallel, residual, serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.tree import Tree, flatten, tree_cast
from tests.bpfunc.interop.stacks import STACKS, lively
from tests.bpfunc.interop.test_structure import OWN, made
from tests.conftest import ROOT

X = normal(Key(9), (5, 784))


def identical(left: Tree, right: Tree) -> bool:
    """One structure, and the same bits in every leaf."""
    (old, structure), (new, same) = flatten(left), flatten(right)
    return structure == same and all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(old, new, strict=True)
    )


def returned(model: Layer, params: Tree, state: Tree, found: Imported, x: np.ndarray) -> None:
    """Layers, numbers and predictions are the very ones that were written."""
    assert made(found.model) == made(model)
    assert identical((params, state), (found.params, found.state))
    y = model.forward(params, state, x, INFERENCE)[0]
    assert y.tobytes() == found.model.forward(found.params, found.state, x, INFERENCE)[0].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STACKS)
def test_round_trip_is_the_identity(name: str, dtype: type) -> None:
    """What comes back is what was written: names, settings, bits of parameters, of statistics and of predictions."""
    params, state = tree_cast(lively(STACKS[name], (784,)), dtype)
    written = to_onnx(STACKS[name], params, state, in_shape=(784,))
    onnx.checker.check_model(written, full_check=True)
    found = from_onnx(written.SerializeToString())
    returned(STACKS[name], params, state, found, X.astype(dtype))
    assert (found.in_shape, found.mean, found.scale) == ((784,), None, None)


WIDTHS = st.integers(1, 6)
LEAVES = st.sampled_from([layers.tanh(), layers.silu(), layers.rms_norm(), layers.batch_norm(), layers.dropout(0.1)])


def combined(inner: st.SearchStrategy[Layer]) -> st.SearchStrategy[Layer]:
    """Some combinator of some layers."""
    some = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        some.map(lambda parts: serial(*parts)),
        some.map(lambda parts: parallel(*parts, combine="concatenate")),
        st.dictionaries(st.text(max_size=3) | st.just("a:b"), inner, min_size=1, max_size=3).map(
            lambda parts: named(*parts.items())
        ),
        inner.map(lambda part: serial(layers.dense(4), residual(serial(part, layers.dense(4))))),
        inner.map(lambda part: serial(layers.dense(6), mirror_averaged(part, image_shape=(2, 3)))),
    )


@given(st.recursive(LEAVES | WIDTHS.map(layers.dense), combined, max_leaves=6))
def test_any_nest_returns(network: Layer) -> None:
    """Combinators nest to any depth, in any order."""
    params, state = lively(network, (7,))
    written = to_onnx(network, params, state, in_shape=(7,), mean=0.5, probabilities=True)
    onnx.checker.check_model(written, full_check=True)
    found = from_onnx(written)
    returned(network, params, state, found, normal(Key(1), (3, 7)))
    assert (float(found.mean), float(found.scale)) == (0.5, 1.0)


def test_names_with_colons_do_not_meet() -> None:
    """A name may hold what numbers the nodes of a layer that is passed twice."""
    network = mirror_averaged(named(("a:b", layers.dense(2)), ("a", layers.dense(2))), image_shape=(1, 2))
    nodes = to_onnx(network, lively(network, (2,))[0], in_shape=(2,)).graph.node
    assert len({node.name for node in nodes}) == len({node.output[0] for node in nodes}) == len(nodes)


def test_normalisation_returns_bit_for_bit() -> None:
    """Mean and scale of each pixel come back as they were."""
    mean, scale = np.linspace(0, 1, 784), np.linspace(1e-9, 3, 784)
    network = STACKS["relu"]
    params, state = lively(network, (784,))
    found = from_onnx(to_onnx(network, params, state, in_shape=(784,), mean=mean, scale=scale))
    assert (found.mean.tobytes(), found.scale.tobytes()) == (mean.tobytes(), scale.tobytes())


def test_embedding_returns() -> None:
    """Categories go in as whole numbers, and the table comes back."""
    network = serial(layers.embedding(9, 4), layers.flatten(), layers.dense(2))
    params, state = lively(network, (3,))
    written = to_onnx(network, params, state, in_shape=(3,))
    assert written.graph.input[0].type.tensor_type.elem_type == TensorProto.INT64
    onnx.checker.check_model(written, full_check=True)
    returned(network, params, state, from_onnx(written), np.array([[0, 8, 3]]))


def test_the_same_network_gives_the_same_bytes() -> None:
    """Nothing of time, machine or order gets into the file."""
    network = STACKS["everything nested"]
    params, state = lively(network, (784,))
    first, second = (to_onnx(network, params, state, in_shape=(784,), mean=0.3).SerializeToString() for _ in range(2))
    assert first == second


def test_arguments_are_untouched_and_not_shared() -> None:
    """What is read lies in memory of its own, read-only."""
    network = layers.dense(3)
    params, _ = lively(network, (2,))
    before = params.weight.tobytes()
    found = from_onnx(to_onnx(network, params, in_shape=(2,)))
    assert params.weight.tobytes() == before
    assert not found.params.weight.flags.writeable
    assert not np.shares_memory(found.params.weight, params.weight)


TWO = layers.DenseParams(np.ones((2, 2), np.float32), np.ones(2, np.float32))
TABLE = layers.EmbeddingParams(np.ones((3, 2), np.float32))
LOOKUP = layers.embedding(3, 2)


@pytest.mark.parametrize(
    ("network", "params", "message"),
    [
        (serial(layers.dense(2), OWN), SerialParams((TWO, ())), r"^layers\[1\]: layer own is none of"),
        (
            serial(layers.dense(2), LOOKUP),
            SerialParams((TWO, TABLE)),
            r"^layers\[1\]: embedding\(3, 2\) is fed numbers",
        ),
        (parallel(LOOKUP, layers.tanh()), ParallelParams((TABLE, ())), r"^branches\[1\]: tanh is fed categories"),
    ],
)
def test_networks_without_a_twin_are_refused(network: Layer, params: Tree, message: str) -> None:
    """The message leads to the layer."""
    with pytest.raises(ValueError, match=message):
        to_onnx(network, params, in_shape=(2,))


def test_arguments_that_do_not_fit_are_refused() -> None:
    """Shapes, types and statistics are checked before anything is written."""
    network = serial(layers.dense(3))
    params, _ = lively(network, (2,))
    with pytest.raises(ValueError, match=r"layers\[0\]\.weight: expected float32 \(4, 3\), found float32 \(2, 3\)"):
        to_onnx(network, params, in_shape=(4,))
    with pytest.raises(layers.ShapeError, match=r"layers\[0\]: dense takes examples of shape \(D,\)"):
        to_onnx(network, params, in_shape=(1, 2))
    with pytest.raises(ValueError, match="all float32 or all float64, found float16"):
        to_onnx(network, tree_cast(params, np.float16), in_shape=(2,))
    with pytest.raises(ValueError, match=r"mean: expected a number or shape \(2,\), found \(3,\)"):
        to_onnx(network, params, in_shape=(2,), mean=np.zeros(3))
    with pytest.raises(ValueError, match="scale: expected finite numbers, none of them 0"):
        to_onnx(network, params, in_shape=(2,), scale=[1.0, 0.0])
    with pytest.raises(ValueError, match="mean: expected finite numbers"):
        to_onnx(network, params, in_shape=(2,), mean=np.nan)
    for bad in (residual(network), serial(layers.dense(3), layers.dense(2, use_bias=False))):
        with pytest.raises(ValueError, match=r"residual needs|expected parameters"):
            to_onnx(bad, params, in_shape=(2,))


def graph_of(
    nodes: list[onnx.NodeProto],
    tensors: dict[str, np.ndarray],
    shape: tuple[int | str, ...] = ("batch", 4),
    outputs: tuple[str, ...] = ("y",),
    opset: int = 20,
) -> onnx.ModelProto:
    """A model as another tool would write it."""
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "any"]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def node(op: str, *inputs: str, to: str = "y", **attributes: object) -> onnx.NodeProto:
    """A node called after its operator."""
    return helper.make_node(op, list(inputs), [to], name=f"my {op}", **attributes)


def erf(x: str) -> list[onnx.NodeProto]:
    """``s = 1 + Erf(x / sqrt(2))``."""
    return [node("Div", x, "root", to="d"), node("Erf", "d", to="e"), node("Add", "e", "one", to="s")]


NUMBERS = {"root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
W, B = normal(Key(1), (4, 3)), normal(Key(2), (3,))
FEATURES = {
    "s": normal(Key(3), (4,)),
    "b": normal(Key(4), (4,)),
    "m": normal(Key(5), (4,)),
    "v": np.float32([1, 2, 3, 4]),
}
FOREIGN: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray], str]] = {
    "torch's Gemm": ([node("Gemm", "x", "w", "b", transB=1)], {"w": W.T.copy(), "b": B}, "dense(3)"),
    "Gemm with a row": ([node("Gemm", "x", "w", "b")], {"w": W, "b": B[None]}, "dense(3)"),
    "Gemm with a number": ([node("Gemm", "x", "w", "b")], {"w": W, "b": B[0]}, "dense(3)"),
    "Gemm without bias": ([node("Gemm", "x", "w")], {"w": W}, "dense(3)"),
    "MatMul": ([node("MatMul", "x", "w")], {"w": W}, "dense(3)"),
    "MatMul, Add": ([node("MatMul", "x", "w", to="h"), node("Add", "h", "b")], {"w": W, "b": B}, "dense(3)"),
    "MatMul, Add turned": ([node("MatMul", "x", "w", to="h"), node("Add", "b", "h")], {"w": W, "b": B}, "dense(3)"),
    "Relu": ([node("Relu", "x")], {}, "relu"),
    "LeakyRelu": ([node("LeakyRelu", "x", alpha=0.2)], {}, "leaky_relu(0.2)"),
    "LeakyRelu by default": ([node("LeakyRelu", "x")], {}, "leaky_relu(0.01)"),
    "Elu": ([node("Elu", "x", alpha=0.7)], {}, "elu(0.7)"),
    "Selu": ([node("Selu", "x")], {}, "selu"),
    "Gelu": ([node("Gelu", "x")], {}, "gelu"),
    "Gelu by tanh": ([node("Gelu", "x", approximate="tanh")], {}, "gelu_tanh"),
    "Sigmoid": ([node("Sigmoid", "x")], {}, "sigmoid"),
    "Tanh": ([node("Tanh", "x")], {}, "tanh"),
    "Softplus": ([node("Softplus", "x")], {}, "softplus"),
    "x Sigmoid(x)": ([node("Sigmoid", "x", to="g"), node("Mul", "x", "g")], {}, "silu"),
    "Sigmoid(x) x": ([node("Sigmoid", "x", to="g"), node("Mul", "g", "x")], {}, "silu"),
    "Gelu in torch's order": (
        [*erf("x"), node("Mul", "x", "s", to="p"), node("Mul", "p", "half")],
        NUMBERS,
        "gelu",
    ),
    "Gelu in TensorFlow's order": (
        [*erf("x"), node("Mul", "half", "x", to="h"), node("Mul", "h", "s")],
        NUMBERS,
        "gelu",
    ),
    "Gelu of a product": (
        [
            *(node("Sigmoid", "x", to="g"), node("Mul", "x", "g", to="z")),
            *(*erf("z"), node("Mul", "s", "z", to="p"), node("Mul", "half", "p")),
        ],
        NUMBERS,
        "silu, gelu",
    ),
    "Softmax": ([node("Softmax", "x", axis=1)], {}, "softmax"),
    "LogSoftmax": ([node("LogSoftmax", "x")], {}, "log_softmax"),
    "Identity": ([node("Identity", "x")], {}, "identity"),
    "Dropout": ([node("Dropout", "x", "r")], {"r": np.float32(0.2)}, "dropout(0.2)"),
    "Dropout by default": ([node("Dropout", "x")], {}, "dropout(0.5)"),
    "Dropout, not training": ([node("Dropout", "x", "", "t")], {"t": np.array(False)}, "dropout(0.5)"),
    "BatchNormalization": (
        [node("BatchNormalization", "x", "s", "b", "m", "v", epsilon=0.001)],
        FEATURES,
        "batch_norm",
    ),
    "LayerNormalization": ([node("LayerNormalization", "x", "s", "b", axis=1)], FEATURES, "layer_norm"),
    "Flatten": ([node("Flatten", "x")], {}, "flatten"),
    "Reshape": ([node("Reshape", "x", "t")], {"t": np.array([-1, 4])}, "flatten"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_operators_of_others_are_read(name: str) -> None:
    """Each operator is the layer that computes the same, by ONNX' own reference evaluation."""
    nodes, tensors, layer = FOREIGN[name]
    model = graph_of(nodes, tensors)
    found = from_onnx(model.SerializeToString())
    assert found.model.name == f"serial({layer})"
    x = normal(Key(7), (6, 4))
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    y = found.model.forward(found.params, found.state, x, INFERENCE)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_rms_normalization_is_read() -> None:
    """The operator of set 23."""
    found = from_onnx(graph_of([node("RMSNormalization", "x", "s", epsilon=0.5)], FEATURES, opset=23))
    assert dict(found.model.parts[0][1].maker.settings) == {"eps": 0.5}
    assert found.params.layers[0].scale.tobytes() == FEATURES["s"].tobytes()


def test_settings_are_read_as_they_were_meant() -> None:
    """Attributes are float32: 0.1 comes back as 0.1, and the momentum is ONNX' kept part turned round."""
    nodes = [
        node("BatchNormalization", "x", "s", "b", "m", "v", momentum=0.9, epsilon=1e-5, to="h"),
        node("LeakyRelu", "h", alpha=0.1),
    ]
    first, second = (dict(part.maker.settings) for _, part in from_onnx(graph_of(nodes, FEATURES)).model.parts)
    assert (first, second) == ({"momentum": 0.1, "eps": 1e-5}, {"slope": 0.1})


def test_one_of_several_outputs_is_chosen() -> None:
    """As converters of classifiers write them: a label beside the probabilities."""
    nodes = [
        node("MatMul", "x", "w", to="h"),
        node("Add", "h", "b", to="z"),
        node("Softmax", "z", to="probabilities"),
        node("ArgMax", "probabilities", to="label", axis=1),
    ]
    model = graph_of(nodes, {"w": W, "b": B}, outputs=("label", "probabilities"))
    with pytest.raises(ValueError, match=r"the model has the outputs label, probabilities; say which with output="):
        from_onnx(model)
    assert from_onnx(model, output="probabilities").model.name == "serial(dense(3), softmax)"
    with pytest.raises(ValueError, match=r"^node 'my ArgMax' \(ArgMax\): no layer computes this"):
        from_onnx(model, output="label")
    with pytest.raises(ValueError, match="the model has no output 'z', but label, probabilities"):
        from_onnx(model, output="z")


def test_constants_may_be_nodes() -> None:
    """Weights as Constant nodes, and one under two names by Identity."""
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(W)),
        helper.make_node("Identity", ["w"], ["v"]),
        node("MatMul", "x", "v"),
    ]
    assert from_onnx(graph_of(nodes, {})).params.layers[0].weight.tobytes() == W.tobytes()


REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray], str]] = {
    "unknown": ([node("Cos", "x")], {}, r"^node 'my Cos' \(Cos\): no layer computes this; a chain of Add, "),
    "nameless": ([helper.make_node("Cos", ["x"], ["y"])], {}, r"^node 'y' \(Cos\)"),
    "Add of no bias": ([node("Add", "x", "b")], {"b": B}, r"\(Add\): it is not a bias after a MatMul"),
    "Mul of two": ([node("Mul", "x", "x")], {}, r"\(Mul\): it is neither x Sigmoid"),
    "Sigmoid of another": (
        [node("Tanh", "x", to="h"), node("Sigmoid", "h", to="g"), node("Mul", "x", "g")],
        {},
        r"\(Mul\): it is neither x Sigmoid",
    ),
    "Erf of another": (
        [*erf("x"), node("Tanh", "x", to="h"), node("Mul", "h", "s", to="p"), node("Mul", "p", "half")],
        NUMBERS,
        r"\(Mul\): it is neither x Sigmoid",
    ),
    "half of another": (
        [*erf("x"), node("Tanh", "x", to="h"), node("Mul", "half", "h", to="p"), node("Mul", "p", "s")],
        NUMBERS,
        r"\(Mul\): it is neither x Sigmoid",
    ),
    "Erf of one over x": (
        [
            *(node("Div", "root", "x", to="d"), node("Erf", "d", to="e"), node("Add", "e", "one", to="s")),
            *(node("Mul", "x", "s", to="p"), node("Mul", "p", "half")),
        ],
        NUMBERS,
        r"\(Mul\): it is neither x Sigmoid",
    ),
    "Erf with another root": (
        [*erf("x"), node("Mul", "x", "s", to="p"), node("Mul", "p", "half")],
        NUMBERS | {"root": np.float32(2)},
        r"\(Mul\): it is neither x Sigmoid",
    ),
    "computed weight": ([node("Identity", "x", to="w"), node("Gemm", "x", "w")], {}, "'w' is computed"),
    "whole weight": ([node("MatMul", "x", "w")], {"w": np.ones((4, 3), np.int64)}, "is int64, neither float32 nor"),
    "weight of three axes": ([node("MatMul", "x", "w")], {"w": np.ones((2, 4, 3), np.float32)}, "is not a matrix"),
    "wrong bias": ([node("Gemm", "x", "w", "b")], {"w": W, "b": B[:2]}, r"bias of shape \(2,\) is none of 3"),
    "bias column": ([node("Gemm", "x", "w", "b")], {"w": W, "b": B[:, None]}, r"bias of shape \(3, 1\)"),
    "wrong input": ([node("Gemm", "x", "w")], {"w": W[:3]}, r"takes examples of shape \(3,\), and is fed \(4,\)"),
    "Gemm alpha": ([node("Gemm", "x", "w", alpha=2.0)], {"w": W}, "transA, alpha or beta"),
    "Softmax over the batch": ([node("Softmax", "x", axis=0)], {}, "not along the last axis"),
    "Flatten of all": ([node("Flatten", "x", axis=0)], {}, "keeps another axis"),
    "Reshape to columns": ([node("Reshape", "x", "t")], {"t": np.array([4, 5])}, "does not turn examples into rows"),
    "Dropout in training": ([node("Dropout", "x", "", "t")], {"t": np.array(True)}, "training mode"),
    "norm of few": ([node("LayerNormalization", "x", "s", "b")], FEATURES | {"b": B}, "scale and shift"),
    "norm of three": ([node("LayerNormalization", "x", "s")], {"s": B}, r"shape \(3,\), and is fed \(4,\)"),
    "statistics of few": ([node("BatchNormalization", "x", "s", "b", "m", "v")], FEATURES | {"m": B}, "statistics"),
    "other selu": ([node("Selu", "x", alpha=2.0)], {}, "not those of selu"),
    "constant output": ([node("Identity", "w")], {"w": W}, "does not depend on any input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_twin_are_refused(name: str) -> None:
    """One clear error that names node and operator."""
    nodes, tensors, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        from_onnx(graph_of(nodes, tensors))


def written(**changes: object) -> onnx.ModelProto:
    """A small model of our own."""
    network = serial(layers.dense(3), layers.relu(), layers.dropout(0.3))
    return to_onnx(network, lively(network, (4,))[0], in_shape=(4,), **changes)


def test_a_changed_graph_counts_more_than_its_description() -> None:
    """A tool that rewrites nodes leaves the metadata behind: what is read is what the graph computes."""
    model = written()
    model.graph.node[1].op_type = "Tanh"
    assert from_onnx(model).model.name == "serial(dense(3), tanh, identity)"


def test_a_lying_description_is_worth_nothing() -> None:
    """Structures that the graph does not have are not believed, however large, deep or odd."""
    honest = written()
    about = json.loads(honest.metadata_props[0].value)
    huge = {"maker": "dense", "settings": {"width": 10**15, "use_bias": True}, "parts": []}
    lies = [
        about | {"network": huge},
        about | {"in_shape": [10**15]},
        about | {"in_shape": 7},
        about | {"format": 2},
        {name: value for name, value in about.items() if name != "format"},
        about | {"network": {}},
        {},
        [],
        None,
    ]
    for text in [*map(json.dumps, lies), "{", "[" * 100_000, ""]:
        model = written()
        helper.set_model_props(model, {"bpfunc": text})
        assert from_onnx(model).model.name == "serial(dense(3), relu, identity)"


def test_other_metadata_does_no_harm() -> None:
    """Somebody may add an author."""
    model = written()
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", "me"
    assert from_onnx(model).model.name == "serial(dense(3), relu, dropout(0.3))"


def test_tensors_in_other_files_are_refused(tmp_path: object) -> None:
    """Nothing is read from the disk, whatever path a model names."""
    model = written()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    for data in (model, model.SerializeToString()):
        with pytest.raises(ValueError, match=r"tensor layers\[0\]\.weight lies in another file"):
            from_onnx(data)
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    with pytest.raises(ValueError, match="lies in another file"):
        from_onnx(graph_of([constant, node("MatMul", "x", "w")], {}))


@pytest.mark.parametrize("data", [b"", b"no model", b"\x00" * 50, b"\xff" * 50])
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    """One clear error."""
    with pytest.raises(ValueError, match=r"^no (valid )?ONNX model: "):
        from_onnx(data)


def test_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is looked at before anything else."""
    data = written().SerializeToString()
    monkeypatch.setattr(ours, "SIZE_LIMIT", len(data) - 1)
    with pytest.raises(ValueError, match=f"no ONNX model: {len(data)} bytes are more than the {len(data) - 1}"):
        from_onnx(data)


@given(st.data())
def test_damaged_bytes_are_a_model_or_a_clear_error(data: st.DataObject) -> None:
    """A file cut short or with a byte changed never fails in any other way."""
    whole = written(mean=0.2).SerializeToString()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from([whole[:place], whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]])
    )
    try:
        from_onnx(damaged)
    except ValueError as error:
        assert str(error)


def test_tensors_of_unknown_types_are_refused() -> None:
    """A type of number that ONNX does not have."""
    model = graph_of([node("MatMul", "x", "w")], {"w": W})
    model.graph.initializer[0].data_type = 99
    with pytest.raises(ValueError, match=r"tensor 'w' cannot be read|no valid ONNX model"):
        from_onnx(model)


def test_tensors_smaller_than_their_shape_are_refused() -> None:
    """A shape that the data does not fill."""
    model = graph_of([node("MatMul", "x", "w")], {"w": W})
    model.graph.initializer[0].dims[0] = 10**12
    with pytest.raises(ValueError, match="no valid ONNX model"):
        from_onnx(model)


def test_missing_extra_is_named() -> None:
    """Without onnx the import says what to install, in one line."""
    code = "import sys; sys.modules['onnx'] = None; import bpfunc.interop.onnx"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: bpfunc.interop.onnx needs onnx: pip install 'bpfunc[onnx]'"
    )
