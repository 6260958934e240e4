"""The law of foreign models: a node is read as what onnxruntime computes, or refused by name; never read wrongly."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings, strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from bpfunc.interop.onnx import from_onnx
from bpfunc.interop.onnx_operators import KNOWN
from tests.conformance.foreign_graphs import known_models, predicted, run, windows_of_any_kind

OPERATORS = sorted(KNOWN.keys() - {"ZipMap"})
"""All that are known; ZipMap, whose output is no array, is tried with scikit-learn's files."""
UNABLE = tuple(
    getattr(onnxruntime.capi.onnxruntime_pybind11_state, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "NotImplemented", "RuntimeException", "InvalidProtobuf")
)
"""What onnxruntime raises where it cannot run a model."""


def agree(model: ModelProto, x: np.ndarray) -> None:
    """The network computes what onnxruntime computes."""
    expected, found = run(model, x), predicted(model, x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(known_models())
def test_random_graphs_of_known_nodes_agree_with_onnxruntime(drawn: tuple[ModelProto, np.ndarray]) -> None:
    """Whatever is known, in every set and way of writing it, one after the other."""
    agree(*drawn)


@cache
def smallest(op: str) -> tuple[ModelProto, np.ndarray]:
    """A small model with an operator in it."""
    return find(
        known_models(steps=3),
        lambda drawn: any(node.op_type == op for node in drawn[0].graph.node),
        settings=settings(
            max_examples=20_000, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        ),
    )


def copied(model: ModelProto) -> ModelProto:
    """A model to be changed."""
    return ModelProto.FromString(model.SerializeToString())


def node_of(model: ModelProto, op: str) -> NodeProto:
    """The first node of an operator."""
    return next(node for node in model.graph.node if node.op_type == op)


def refused(model: ModelProto, name: str = "") -> str:
    """A model is refused, by the name of a node; what was said."""
    with pytest.raises(ValueError, match=r"^node '|^tensor |^input |^the model |^what comes out |^no valid") as caught:
        from_onnx(model.SerializeToString())
    assert name in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def refused_or_right(model: ModelProto, x: np.ndarray) -> bool:
    """A model is refused, or read as what onnxruntime computes; whether it is read."""
    try:
        found = predicted(model, x)
    except ValueError as error:
        assert str(error)
        return False
    expected = run(model, x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    return True


def other_domain(model: ModelProto, node: NodeProto) -> None:
    node.domain = "my.ops"
    model.opset_import.append(helper.make_opsetid("my.ops", 1))


def own_function(model: ModelProto, node: NodeProto) -> None:
    other_domain(model, node)
    override(model, node, "my.ops")


def override(model: ModelProto, node: NodeProto, domain: str = "") -> None:
    inner = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(
        helper.make_function(domain, node.op_type, ["a"], ["b"], [inner], [helper.make_opsetid("", 20)])
    )


def overload(model: ModelProto, node: NodeProto) -> None:
    node.overload = "other"


def unknown_attribute(model: ModelProto, node: NodeProto) -> None:
    node.attribute.append(helper.make_attribute("mode", 3))


def referred_attribute(model: ModelProto, node: NodeProto) -> None:
    node.attribute.append(helper.make_attribute("axis", 3))
    node.attribute[-1].ref_attr_name = "outer"


def more_inputs(model: ModelProto, node: NodeProto) -> None:
    node.input.extend(["x"] * 4)


def no_input(model: ModelProto, node: NodeProto) -> None:
    node.input[:] = [""] * max(1, len(node.input))


def more_outputs(model: ModelProto, node: NodeProto) -> None:
    node.output.append("another")


def old_set(model: ModelProto, node: NodeProto) -> None:
    model.opset_import[0].version = 6


def new_set(model: ModelProto, node: NodeProto) -> None:
    model.opset_import[0].version = defs.onnx_opset_version() + 1


def two_sets(model: ModelProto, node: NodeProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", model.opset_import[0].version + 1))


def no_set(model: ModelProto, node: NodeProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("my.ops", 1))


def unknown_operator(model: ModelProto, node: NodeProto) -> None:
    node.op_type = "Cos"


def machine_learning(model: ModelProto, node: NodeProto) -> None:
    node.domain = "ai.onnx.ml"
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))


CHANGES: tuple[Callable[[ModelProto, NodeProto], None], ...] = (
    *(other_domain, machine_learning, own_function, override, overload, unknown_attribute, referred_attribute),
    *(more_inputs, no_input, more_outputs, old_set, new_set, two_sets, no_set, unknown_operator),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("op", OPERATORS)
def test_unknown_variations_of_every_operator_are_refused(op: str, change: Callable[..., None]) -> None:
    """Whatever a node says that is not known, the model is not read."""
    model = copied(smallest(op)[0])
    node = node_of(model, op)
    change(model, node)
    if op == "Constant" and change is no_input:
        more_inputs(model, node)
    of_all = change in (two_sets, old_set, new_set, no_set)
    refused(model, "" if of_all else f"({op})" if change is override else f"node '{node.name}' (")


IMAGE_VALUES = (
    *([1, 1], [2, 1], [1, 2], [2, 2], [3, 3], [0, 0], [1, 1, 1], [2, 3], [1, 2, 3], [-2, -1], [2, 3, 1]),
    *([0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 1], [0, 2, 1, 0], [-1, 0, 0, 0], [4, 4, 4, 4]),
    *([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 2, 3], [0, 1, 3, 2], [1, 0, 2, 3], [3, 2, 1, 0]),
)
"""Values of the attributes of operators on images: pairs, pads, orders of four axes."""
VALUES: dict[int, tuple[object, ...]] = {
    defs.OpSchema.AttrType.INT.value: (-3, -2, -1, 0, 1, 2, 3, 10, 11, 16, 2**40),
    defs.OpSchema.AttrType.FLOAT.value: (-1.0, 0.0, 0.3, 1.0, 2.0, float("inf"), float("nan")),
    defs.OpSchema.AttrType.STRING.value: ("none", "tanh", "other", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"),
    defs.OpSchema.AttrType.INTS.value: ([], [0], [1], [-1], [0, 1], [1, 0], [-1, -2], [2], *IMAGE_VALUES),
}


def attributes() -> Iterator[tuple[str, str, object]]:
    """Every attribute of every known operator, with values of its type."""
    for op in OPERATORS:
        if op not in ("Constant", "ConstantOfShape"):
            for name, entry in defs.get_schema(op, 23).attributes.items():
                yield from ((op, name, value) for value in VALUES[entry.type.value])


@pytest.mark.parametrize(("op", "name", "value"), list(attributes()), ids=str)
def test_every_value_of_an_attribute_is_right_or_refused(op: str, name: str, value: object) -> None:
    """A model with another attribute is read as what onnxruntime computes, or not at all."""
    model, x = copied(smallest(op)[0]), smallest(op)[1]
    node = node_of(model, op)
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value, attr_type=attribute_type(op, name))])
    try:
        run(model, x)
    except UNABLE:
        refused_by_someone(model, x)
        return
    refused_or_right(model, x)


def attribute_type(op: str, name: str) -> int:
    return defs.get_schema(op, 23).attributes[name].type.value


OTHER_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT32, TensorProto.INT8, TensorProto.BOOL)


@pytest.mark.parametrize("kind", [*OTHER_TYPES, TensorProto.DOUBLE, TensorProto.FLOAT], ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("op", OPERATORS)
def test_numbers_of_other_types_are_refused(op: str, kind: int) -> None:
    """An input of another type than the constants, or than any that is known."""
    model, x = copied(smallest(op)[0]), smallest(op)[1]
    tensor = model.graph.input[0].type.tensor_type
    if tensor.elem_type == kind or op in ("Cast", "Gather"):
        kind = TensorProto.FLOAT16 if kind != TensorProto.FLOAT16 else TensorProto.BFLOAT16
    tensor.elem_type = kind
    try:
        found = from_onnx(model)
    except ValueError:
        return
    # Nothing but the input has a type: then the other one is right.
    assert not any(t.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE) for t in model.graph.initializer)
    assert kind in (TensorProto.FLOAT, TensorProto.DOUBLE)
    agree(model, x.astype(np.float32 if kind == TensorProto.FLOAT else np.float64))
    assert found.model.parts


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(known_models(steps=3), st.data())
def test_other_shapes_are_right_or_refused(drawn: tuple[ModelProto, np.ndarray], data: st.DataObject) -> None:
    """A constant with another shape, or an input with another number of axes."""
    model, x = copied(drawn[0]), drawn[1]
    floating = [t for t in model.graph.initializer if t.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE)]
    places = [*range(len(floating)), "input"]
    place = data.draw(st.sampled_from(places))
    turned = data.draw(
        st.sampled_from([lambda a: a[None], lambda a: a[..., None], lambda a: a.T, lambda a: a[None, None, None]])
    )
    if place == "input":
        x = turned(x) if data.draw(st.booleans()) else x[:, None]
        shape = model.graph.input[0].type.tensor_type.shape
        del shape.dim[:]
        for size in x.shape:
            shape.dim.add().dim_value = size
        del model.graph.output[0].type.tensor_type.shape.dim[:]
    else:
        tensor = floating[place]
        other = np.ascontiguousarray(turned(numpy_helper.to_array(tensor)))
        tensor.CopyFrom(numpy_helper.from_array(other, tensor.name))
    try:
        run(model, x)
    except UNABLE:
        refused_by_someone(model, x)
        return
    refused_or_right(model, x)


@settings(max_examples=600, suppress_health_check=list(HealthCheck))
@given(windows_of_any_kind())
def test_windows_of_any_kind_are_right_or_refused(drawn: tuple[ModelProto, np.ndarray]) -> None:
    """Padding that counts, windows beyond the padding, dilation, every auto_pad, uneven pads; not a wrong value."""
    model, x = drawn
    try:
        run(model, x)
    except UNABLE:
        refused_by_someone(model, x)
        return
    refused_or_right(model, x)


def test_windows_of_both_kinds_are_drawn() -> None:
    """Of each operator some are read and some refused, by its own name."""
    for op in ("Conv", "MaxPool", "AveragePool"):
        for read in (True, False):
            model, x = find(
                windows_of_any_kind(),
                lambda drawn, op=op, read=read: (
                    drawn[0].graph.node[0].op_type == op and len(drawn[0].graph.node) == 1 and is_read(*drawn) == read
                ),
                settings=settings(max_examples=2000, derandomize=True, database=None),
            )
            if read:
                agree(model, x)
            else:
                assert op in refused(model, f"({op})")


def is_read(model: ModelProto, x: np.ndarray) -> bool:
    """Whether a model is read."""
    try:
        predicted(model, x)
    except ValueError:
        return False
    return True


def refused_by_someone(model: ModelProto, x: np.ndarray) -> None:
    """What onnxruntime cannot run is not read, or cannot be run here."""
    with pytest.raises(ValueError):
        predicted(model, x)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(known_models(steps=3), st.sampled_from(["Add", "Mul", "Sub", "Div", "Max", "Concat"]), st.data())
def test_graphs_that_branch_are_right_or_refused(
    drawn: tuple[ModelProto, np.ndarray], op: str, data: st.DataObject
) -> None:
    """Several nodes that take one value: only as what is known to stand for one layer."""
    model, x = copied(drawn[0]), drawn[1]
    values = ["x", *(node.output[0] for node in model.graph.node)]
    last = model.graph.output[0].name
    more = {"axis": 1} if op == "Concat" else {}
    inputs = data.draw(st.permutations([last, data.draw(st.sampled_from(values))]))
    model.graph.node.append(helper.make_node(op, inputs, ["joined"], name="joins", **more))
    model.graph.output[0].name = "joined"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    try:
        run(model, x)
    except UNABLE:
        refused_by_someone(model, x)
        return
    refused_or_right(model, x)


@pytest.mark.parametrize("op", OPERATORS)
def test_constants_that_are_sparse_or_elsewhere_are_refused(op: str) -> None:
    """Each initialiser that matters, as a sparse tensor, and in another file."""
    model = smallest(op)[0]
    used = {name for node in model.graph.node for name in node.input}
    for place, tensor in enumerate(model.graph.initializer):
        if tensor.name not in used:
            continue
        outside = copied(model)
        outside.graph.initializer[place].ClearField("raw_data")
        outside.graph.initializer[place].data_location = TensorProto.EXTERNAL
        entry = outside.graph.initializer[place].external_data.add()
        entry.key, entry.value = "location", "weights.bin"
        refused(outside, f"tensor {tensor.name} lies in another file")
        thin = copied(model)
        values = numpy_helper.from_array(numpy_helper.to_array(tensor).ravel(), tensor.name)
        places = numpy_helper.from_array(np.arange(max(1, numpy_helper.to_array(tensor).size)))
        thin.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, list(tensor.dims) or [1]))
        del thin.graph.initializer[place]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            refused(thin)


@pytest.mark.parametrize("op", OPERATORS)
def test_graphs_in_nodes_are_refused(op: str) -> None:
    """A branch that is always taken is a branch all the same."""
    model = copied(smallest(op)[0])
    inner = helper.make_graph(list(model.graph.node), "inner", [], list(model.graph.output))
    condition = helper.make_tensor("condition", TensorProto.BOOL, [], [True])
    model.graph.initializer.append(condition)
    del model.graph.node[:]
    model.graph.node.append(
        helper.make_node("If", ["condition"], ["out"], name="chooses", then_branch=inner, else_branch=inner)
    )
    model.graph.output[0].name = "out"
    assert "no layer computes this" in refused(model, "node 'chooses' (If)")


def test_a_name_from_outside_cannot_forge_a_message() -> None:
    """Names of nodes, operators and domains are quoted: no control characters, no second line, no end."""
    node = helper.make_node("Re\x1b[2Jlu", ["x"], ["y"], name="a\nnode 'b'" + "c" * 10_000, domain="my\nops")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    graph = helper.make_graph([node], "forged", value[:1], value[1:])
    with pytest.raises(ValueError) as caught:
        from_onnx(helper.make_model(graph))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
