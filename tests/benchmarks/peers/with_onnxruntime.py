"""onnxruntime: the network as a graph of Gemm and Relu, in a session with all optimisations."""

from __future__ import annotations

from collections.abc import Callable

import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.benchmarks.problem import Floats, Layers


def predictor(layers: Layers, threads: int) -> Callable[[Floats], Floats]:
    """A session's ``run``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        _graph(layers).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda inputs: session.run(["y"], {"x": inputs})[0]


def _graph(layers: Layers) -> ModelProto:
    nodes, constants, name = [], [], "x"
    for index, (weight, bias) in enumerate(layers):
        last = index == len(layers) - 1
        constants += [numpy_helper.from_array(weight, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
        output = "y" if last else f"z{index}"
        nodes.append(helper.make_node("Gemm", [name, f"w{index}", f"b{index}"], [output]))
        if not last:
            name = f"a{index}"
            nodes.append(helper.make_node("Relu", [output], [name]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", len(layers[0][0])])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", len(layers[-1][1])])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
