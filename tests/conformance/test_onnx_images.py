"""What onnxruntime computes from our networks of images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from bpfunc.interop.onnx import from_onnx, to_onnx
from bpfunc.keys import Key, normal
from bpfunc.layers import INFERENCE, Layer
from bpfunc.tree import tree_cast
from tests.bpfunc.interop.random_images import image_networks
from tests.bpfunc.interop.stacks import lively
from tests.bpfunc.interop.test_onnx import returned
from tests.conformance.foreign_graphs import run


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(image_networks() | image_networks(head=False), st.integers(0, 3))
def test_logits_of_any_network_of_images_are_ours(drawn: tuple[Layer, tuple[int, ...]], rows: int) -> None:
    """Random strides, paddings, dilations, groups, pools, blocks; to 1e-5; and it returns as it was."""
    network, in_shape = drawn
    params, state = lively(network, in_shape)
    written = to_onnx(network, params, state, in_shape=in_shape)
    onnx.checker.check_model(written, full_check=True)
    x = normal(Key(5), (rows, *in_shape))
    expected = network.forward(params, state, x, INFERENCE)[0]
    found = run(written, x)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-5)
    returned(network, params, state, from_onnx(written.SerializeToString()), x)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(image_networks())
def test_double_precision_is_written(drawn: tuple[Layer, tuple[int, ...]]) -> None:
    """Every constant is float64; onnxruntime, which has no such convolution, is given the same graph in float32."""
    network, in_shape = drawn
    params, state = tree_cast(lively(network, in_shape), np.float64)
    x = normal(Key(5), (2, *in_shape), dtype=float)
    written = to_onnx(network, params, state, in_shape=in_shape)
    kinds = {tensor.data_type for tensor in written.graph.initializer}
    assert kinds <= {onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64}
    expected = network.forward(params, state, x, INFERENCE)[0]
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(run(written, x) / scale, expected / scale, rtol=0, atol=1e-5)


def test_each_value_is_turned_once() -> None:
    """A convolutional network with rows before and after it has two nodes that turn axes."""
    from tests.bpfunc.interop.stacks import IMAGES

    network = IMAGES["conv2d"]
    params, state = lively(network, (784,))
    nodes = [node.op_type for node in to_onnx(network, params, state, in_shape=(784,)).graph.node]
    assert nodes == ["Reshape", "Transpose", "MaxPool", "Conv", "Relu", "Transpose", "Flatten", "Gemm"]
