"""Operators of images in foreign models: each variation is read as ONNX means it, or refused by node."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import helper

from bpfunc.interop.onnx import from_onnx
from bpfunc.keys import Key, normal
from bpfunc.layers import INFERENCE
from tests.bpfunc.interop.test_onnx import graph_of, node

W = normal(Key(1), (6, 1, 3, 2))
CONV = {"w": W, "b": normal(Key(2), (6,))}
ANY: tuple[int | str, ...] = ("batch", 2, "h", "w")
FIXED: tuple[int | str, ...] = ("batch", 2, 6, 5)


def refused(nodes: list[onnx.NodeProto], tensors: dict[str, np.ndarray], shape: tuple[int | str, ...]) -> str:
    """What is said of a model."""
    with pytest.raises(ValueError) as caught:
        from_onnx(graph_of(nodes, tensors, shape))
    return str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "tensors", "message"),
    [
        ({}, CONV | {"w": W[0]}, r"weight is of shape \(1, 3, 2\); known is \(F, C, KH, KW\)"),
        ({"group": 4}, CONV, "its group is 4, into which its 6 features do not fall"),
        ({"group": 0}, CONV, "its group is 0"),
        ({"group": 2}, CONV | {"b": CONV["b"][:2]}, r"bias of shape \(2,\) is none of 6 features"),
        ({"group": 2, "kernel_shape": [2, 3]}, CONV, r"kernel_shape is \[2, 3\], and its weight is \(6, 1, 3, 2\)"),
        ({"group": 3}, CONV, r"it takes images \(batch, 3, H, W\), and is fed float32 \(batch, 2, 6, 5\)"),
        ({"group": 2, "strides": [1]}, CONV, r"its strides is \[1\]; known are two numbers"),
        ({"group": 2, "strides": [0, 1]}, CONV, "known are numbers from 1"),
        ({"group": 2, "pads": [1, 1]}, CONV, r"its pads are \[1, 1\]; known are four numbers from 0"),
        ({"group": 2, "pads": [-1, 0, 0, 0]}, CONV, "known are four numbers from 0"),
        ({"group": 2, "pads": [0, 0, 0, 0], "auto_pad": "VALID"}, CONV, "known is one of both"),
        ({"group": 2, "dilations": [2, 1], "auto_pad": "SAME_UPPER"}, CONV, "known is that with pads"),
        ({"group": 2, "auto_pad": "OTHER"}, CONV, "its auto_pad is 'OTHER'; known is 'NOTSET' or 'VALID'"),
        ({"group": 2, "dilations": [3, 1]}, CONV, r"its kernel of \(3, 2\) does not fit into what it is fed"),
    ],
)
def test_convolutions_that_are_not_known(
    attributes: dict[str, object], tensors: dict[str, object], message: str
) -> None:
    """Weights, groups, geometry."""
    said = refused([node("Conv", "x", "w", "b", **attributes)], tensors, FIXED)
    assert said.startswith("node 'my Conv' (Conv): ")
    assert re.search(message, said), said


@pytest.mark.parametrize(
    ("op", "attributes", "shape", "message"),
    [
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "pads": [1, 0, 0, 0], "count_include_pad": 1},
            FIXED,
            "counts its padding",
        ),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [4, 3], "ceil_mode": 1}, ANY, "of unknown size"),
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "count_include_pad": 1},
            ANY,
            "of unknown size",
        ),
        (
            "MaxPool",
            {"kernel_shape": [2, 2], "strides": [3, 2], "ceil_mode": 1},
            FIXED,
            r"reach \[1, 1\] pixels",
        ),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [3, 3], "auto_pad": "SAME_UPPER"}, ANY, "would be negative"),
        ("MaxPool", {"kernel_shape": [1, 2], "strides": [3, 2], "auto_pad": "SAME_LOWER"}, FIXED, "would be negative"),
        ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}, ANY, "known are images of a known size"),
        ("MaxPool", {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}, FIXED, "takes a padding below its window"),
        ("MaxPool", {"kernel_shape": [2]}, FIXED, "its kernel_shape is"),
        ("MaxPool", {"kernel_shape": [2, 2], "storage_order": 1}, FIXED, "its storage_order is 1; known is 0"),
        ("MaxPool", {"kernel_shape": [2, 2]}, ("batch", 2, 6), r"it takes images \(batch, C, H, W\)"),
        ("GlobalAveragePool", {}, ("batch", "c", 3, 3), "known are images of a known number of channels"),
        ("Flatten", {"axis": 2}, FIXED, "it keeps another axis"),
        ("Transpose", {"perm": [0, 1, 3, 2]}, FIXED, r"its perm is \[0, 1, 3, 2\]; known are"),
        ("Transpose", {"perm": [0, 3, 1, 2]}, ("batch", 4), "known are images"),
        ("ReduceMean", {}, FIXED, "its axes are None; known are"),
    ],
)
def test_pools_and_turns_that_are_not_known(
    op: str, attributes: dict[str, object], shape: tuple[int | str, ...], message: str
) -> None:
    """What counts, where windows end, which axes."""
    said = refused([node(op, "x", **attributes)], {}, shape)
    assert said.startswith(f"node 'my {op}' ({op}): ")
    assert re.search(message, said), said


def test_images_that_would_change_the_order_of_their_numbers_are_refused() -> None:
    """Rows as images of several channels, images as rows that come out, and their layer norm."""
    to_images = helper.make_node("Reshape", ["x", "t"], ["h"], name="first")
    pool = node("MaxPool", "h", kernel_shape=[1, 1])
    said = refused([to_images, pool], {"t": np.array([0, 2, 2, 2])}, ("batch", 8))
    assert said.startswith("node 'my MaxPool' (MaxPool): it takes the channels of images on axis 1")
    pool = node("MaxPool", "x", kernel_shape=[1, 1], to="h")
    said = refused([pool, node("Flatten", "h")], {}, FIXED)
    assert said == "what comes out as y are images flattened channel by channel; here it is pixel by pixel"
    ones = {name: np.ones(60, np.float32) for name in "sb"}
    rows = node("Flatten", "h", to="r")
    said = refused([pool, rows, node("LayerNormalization", "r", "s", "b")], ones, FIXED)
    assert said.startswith("node 'my LayerNormalization' (LayerNormalization): it is fed rows of images of 2 channels")
    said = refused([pool, node("Reshape", "h", "t")], {"t": np.array([0, 3, 4, 5])}, FIXED)
    assert "into rows or examples of another shape: to [0, 3, 4, 5]" in said
    said = refused([pool, node("Softmax", "h", axis=3)], {}, FIXED)
    assert "it is not along the channels of images: its axis is 3" in said


def test_images_of_unknown_size_are_read() -> None:
    """A model may take images of any size; how many channels there are is what matters for the order."""
    nodes = [
        *(
            node("Conv", "x", "w", "b", group=2, auto_pad="SAME_UPPER", strides=[2, 2], to="h"),
            node("Relu", "h", to="a"),
        ),
        *(node("AveragePool", "a", kernel_shape=[2, 2], count_include_pad=1, to="p"), node("Flatten", "p", to="r")),
        node("Gemm", "r", "m"),
    ]
    matrix = normal(Key(3), (6 * 2 * 3, 4))
    found = from_onnx(graph_of(nodes, CONV | {"m": matrix}, ANY))
    assert (found.in_shape, found.channels_first) == (None, (True, False))
    x = normal(Key(4), (3, 2, 6, 8))
    expected = onnx.reference.ReferenceEvaluator(graph_of(nodes, CONV | {"m": matrix}, ANY)).run(None, {"x": x})[0]
    y = found.model.forward(found.params, found.state, np.moveaxis(x, 1, -1), INFERENCE)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    by_pixel = found.params.layers[4].weight
    assert by_pixel[:6].tobytes() == np.ascontiguousarray(matrix.reshape(6, 6, 4)[:, 0]).tobytes()
    assert not by_pixel.flags.writeable


def test_rows_of_one_channel_become_images_by_one_reshape() -> None:
    """The shape that the graph gives, (1, H, W), is not kept in between."""
    nodes = [node("Reshape", "x", "t", to="h"), node("Conv", "h", "w")]
    found = from_onnx(graph_of(nodes, {"t": np.array([-1, 1, 4, 3]), "w": W}, ("batch", 12)))
    assert found.model.name == "serial(reshape(4, 3, 1), conv2d(6, 3 x 2))"
    assert (found.in_shape, found.channels_first) == ((12,), (False, True))
