"""Random ONNX graphs of nodes that are known here, in every way of writing them that is known; and how to run them."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import numpy as np
import onnxruntime
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from bpfunc.interop.onnx import from_onnx
from bpfunc.layers import INFERENCE

SETS = (7, 9, 11, 13, 14, 17, 18, 20, 21, 22, 23)
"""Operator sets that graphs are written in."""


@attrs.define
class Writing:
    """A graph in the making: what is written so far, and what the last value is."""

    draw: Callable[..., object]
    opset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    """Of the last value, batch first."""
    batch: int | str = "batch"
    """What the graph says of the batch axis."""
    value: str = "x"
    by_channel: bool = False
    """Whether it is rows of images that were flattened channel by channel."""
    is_pictures: bool = False
    """Whether there was an operator that takes images with their channels first."""
    nodes: list[NodeProto] = attrs.field(factory=list)
    tensors: dict[str, np.ndarray] = attrs.field(factory=dict)
    random: np.random.Generator = attrs.field(factory=lambda: np.random.default_rng(0))

    def one_of(self, *choices: object) -> object:
        """Draw one of some choices."""
        return self.draw(st.sampled_from(choices))

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        """Write a node; the name of its output."""
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"out of {name}"], name=name, **attributes))
        return f"out of {name}"

    def constant(self, array: object, dtype: object = None) -> str:
        """Write a constant, in one of the ways there are."""
        array = np.asarray(array, self.dtype if dtype is None else dtype)
        name = f"constant {len(self.tensors)}"
        kind = self.one_of("initialiser", "Constant", "Identity", "Transpose", "Cast")
        if kind == "Constant":
            self.tensors[name] = np.zeros(0, np.float32)  # so that names stay distinct
            return self.node("Constant", value=numpy_helper.from_array(array))
        if kind == "Transpose" and array.ndim == 2:
            self.tensors[name] = np.ascontiguousarray(array.T)
            return self.node("Transpose", name, **self.one_of({}, {"perm": [1, 0]}))
        self.tensors[name] = array
        if kind == "Identity":
            return self.node("Identity", name)
        if kind == "Cast" and array.dtype == self.dtype and self.opset >= 9:
            return self.node("Cast", name, to=self.kind)
        return name

    def both(self, op: str, left: str, right: str) -> str:
        """Write a node of two inputs, in either order."""
        return self.node(op, *self.one_of((left, right), (right, left)))

    def numbers(self, *shape: int) -> np.ndarray:
        """Random numbers, of the size of weights."""
        return np.asarray(self.random.normal(size=shape)) / max((1, *shape[:1])) ** 0.5

    @property
    def kind(self) -> int:
        """Type of the numbers, as ONNX has it."""
        return helper.np_dtype_to_tensor_dtype(self.dtype)

    @property
    def features(self) -> int:
        """How many numbers a row has."""
        return self.shape[1]


def gemm(w: Writing) -> None:
    """A dense layer, as torch writes it."""
    w.by_channel = False
    width = int(w.draw(st.integers(1, 5)))
    weight = w.numbers(w.features, width)
    bias = w.one_of((), (1,), (width,), (1, width), (1, 1))
    turned = w.one_of({}, {"transB": 1}, {"transB": 0, "alpha": 1.0, "beta": 1.0, "transA": 0})
    inputs = [w.value, w.constant(weight.T if turned.get("transB") else weight)]
    if w.opset < 11 or w.one_of(True, False):
        inputs.append(w.constant(w.numbers(*bias)))
    w.value, w.shape = w.node("Gemm", *inputs, **turned), (w.shape[0], width)


def matmul(w: Writing) -> None:
    """A dense layer, as everybody else writes it."""
    w.by_channel = False
    width = int(w.draw(st.integers(1, 5)))
    product = w.node("MatMul", w.value, w.constant(w.numbers(w.features, width)))
    shape = w.one_of(None, (), (1,), (width,), (1, width))
    w.value = product if shape is None else w.both("Add", product, w.constant(w.numbers(*shape)))
    w.shape = (w.shape[0], width)


def batch_norm(w: Writing) -> None:
    """Batch normalisation, in inference."""
    d = w.features
    inputs = [w.constant(w.numbers(d)) for _ in range(3)] + [w.constant(1 + np.abs(w.numbers(d)))]
    more = w.one_of({}, {"epsilon": 0.25}, {"momentum": 0.75})
    more |= {"training_mode": 0} if w.opset >= 14 and w.one_of(True, False) else {}
    w.value = w.node("BatchNormalization", w.value, *inputs, **more)


def norm(w: Writing) -> None:
    """Layer or root-mean-square normalisation, as one node where the set has it, or in parts."""
    centred = bool(w.one_of(True, False))
    scale, shift = w.one_of(True, False), w.one_of(True, False)
    op = "LayerNormalization" if centred else "RMSNormalization"
    eps = float(w.one_of(0.125, 0.5))
    if w.opset >= (17 if centred else 23) and w.one_of(True, False):
        if not centred and w.one_of(True, False):
            ones = w.node("ConstantOfShape", w.node("Shape", w.value), value=helper.make_tensor("", w.kind, [1], [1.0]))
            w.value = w.node(op, w.value, ones, axis=-1, epsilon=eps)
            return
        inputs = [w.value, w.constant(w.numbers(w.features)), *([w.constant(w.numbers(w.features))] if shift else [])]
        w.value = w.node(op, *(inputs if centred else inputs[:2]), axis=w.one_of(-1, 1), epsilon=eps)
        return
    x = w.node("Sub", w.value, mean(w, w.value)) if centred else w.value
    square = w.node("Mul", x, x) if w.one_of(True, False) else w.node("Pow", x, w.constant(2.0))
    root = w.node("Sqrt", w.both("Add", mean(w, square), w.constant(eps)))
    if w.one_of(True, False):
        w.value = w.node("Div", x, root)
    else:
        w.value = w.both("Mul", x, w.node("Reciprocal", root))
    if scale:
        w.value = w.both("Mul", w.value, w.constant(w.numbers(w.features)))
        if shift and centred:
            w.value = w.both("Add", w.value, w.constant(w.numbers(w.features)))


def mean(w: Writing, x: str) -> str:
    """The mean over features."""
    axes = [w.one_of(-1, 1)]
    if w.opset < 11:
        axes = [1]  # counted from the end since set 11
    if w.opset < 18:
        return w.node("ReduceMean", x, axes=axes)
    return w.node("ReduceMean", x, w.constant(axes, np.int64), **w.one_of({}, {"keepdims": 1}))


def activation(w: Writing) -> None:
    """An activation that is one node."""
    op, more = w.one_of(
        *(("Relu", {}), ("Tanh", {}), ("Sigmoid", {}), ("Elu", {"alpha": 0.5}), ("Elu", {}), ("LeakyRelu", {})),
        *(("LeakyRelu", {"alpha": 0.3}), ("Selu", {}), ("Softplus", {}), ("Identity", {})),
    )
    w.value = w.node(op, w.value, **more)


def gelu(w: Writing) -> None:
    """Gelu, by erf or tanh, as one node or in parts."""
    by_tanh = w.opset < 9 or bool(w.one_of(True, False))  # Erf came with set 9
    if w.opset >= 20 and w.one_of(True, False):
        w.value = w.node("Gelu", w.value, **({"approximate": "tanh"} if by_tanh else {}))
        return
    x = w.value
    if by_tanh:
        cube = w.one_of("Pow", "Mul")
        cubed = w.node("Pow", x, w.constant(3.0)) if cube == "Pow" else w.both("Mul", x, w.node("Mul", x, x))
        inner = w.both("Add", x, w.both("Mul", cubed, w.constant(0.044715)))
        gate = w.node("Tanh", w.both("Mul", inner, w.constant(math.sqrt(2 / math.pi))))
    elif w.one_of(True, False):
        gate = w.node("Erf", w.node("Div", x, w.constant(math.sqrt(2))))
    else:
        gate = w.node("Erf", w.both("Mul", x, w.constant(math.sqrt(0.5))))
    factors = [x, w.both("Add", gate, w.constant(1.0)), w.constant(0.5)]
    order = w.draw(st.permutations(factors))
    w.value = w.both("Mul", w.both("Mul", order[0], order[1]), order[2])


def silu(w: Writing) -> None:
    """The product with a sigmoid."""
    w.value = w.both("Mul", w.value, w.node("Sigmoid", w.value))


def torch_softplus(w: Writing) -> None:
    """Softplus, and x itself where that is large."""
    if w.opset >= 9:
        large = w.node("Greater", w.value, w.constant(float(w.one_of(20.0, 25.0))))
        w.value = w.node("Where", large, w.value, w.node("Softplus", w.value))


def softmax(w: Writing) -> None:
    """Along the last axis, however that is said."""
    last = len(w.shape) - 1
    axes = [{"axis": last}] + ([{"axis": -1}] if w.opset >= 11 else [])
    if w.opset >= 13 or last == 1:
        axes.append({})
    w.value = w.node(w.one_of("Softmax", "LogSoftmax"), w.value, **w.one_of(*axes))


def dropout(w: Writing) -> None:
    """Nothing, at inference."""
    if w.opset < 12:
        w.value = w.node("Dropout", w.value, **w.one_of({}, {"ratio": 0.25}))
        return
    ratio = np.float32(0.25)
    more = w.one_of([], [ratio], [None, False], [ratio, False])
    inputs = ["" if value is None else w.constant(value, type(value)) for value in more]
    w.value = w.node("Dropout", w.value, *inputs)


def cast(w: Writing) -> None:
    """To the type that it is of."""
    if w.opset >= 9:
        w.value = w.node("Cast", w.value, to=w.kind)


def rows(w: Writing) -> None:
    """Examples as rows."""
    width = math.prod(w.shape[1:])
    w.by_channel |= len(w.shape) == 4 and w.shape[1] > 1 and w.shape[2:] != (1, 1)
    targets = [[-1, width], [0, -1], [0, width]]
    targets += [[w.batch, -1], [w.batch, width]] if isinstance(w.batch, int) else []
    targets += [[-1, 0], [0, 0]] if len(w.shape) == 2 else []
    target = w.one_of(None, *targets)
    if target is None:
        w.value = w.node("Flatten", w.value, **w.one_of({}, {"axis": 1}))
    else:
        zero = w.opset >= 14 and 0 not in target and w.one_of(True, False)
        w.value = w.node("Reshape", w.value, w.constant(target, np.int64), **({"allowzero": 1} if zero else {}))
    w.shape = (w.shape[0], width)


def two_classes(w: Writing) -> None:
    """The two probabilities that skl2onnx makes of one."""
    if w.features == 1:
        p = w.node("Sigmoid", w.value)
        w.value = w.node("Concat", w.node("Sub", w.constant(1.0), p), p, axis=1 if w.opset < 11 else w.one_of(1, -1))
        w.shape = (w.shape[0], 2)


def windows(w: Writing, op: object, kernel: tuple[int, int], dilations: tuple[int, int]) -> dict[str, object] | None:
    """Strides and paddings, however they are said, and the size of what comes out; None where no window fits."""
    strides = [int(w.draw(st.integers(1, 3))) for _ in range(2)]
    long = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    more: dict[str, object] = {} if strides == [1, 1] and w.one_of(True, False) else {"strides": strides}
    same = [-(-n // s) for n, s in zip(w.shape[2:], strides, strict=True)]
    same_too = ("SAME_UPPER", "SAME_LOWER") if dilations == (1, 1) else ()  # as much as onnxruntime can
    kind = w.one_of("NOTSET", "NOTSET", "VALID", *same_too)
    if str(kind).startswith("SAME"):
        reached = [(n - 1) // s * s + k - n for n, k, s in zip(w.shape[2:], kernel, strides, strict=True)]
        if op != "Conv" and min(reached) < 0:
            return None
        return more | {"auto_pad": kind, "out": same}
    pads = [int(w.draw(st.integers(0, k - 1))) for k in (*kernel, *kernel)] if kind == "NOTSET" else [0] * 4
    if kind == "VALID":
        more |= {"auto_pad": kind}
    elif any(pads) or w.one_of(True, False):
        more |= {"pads": pads, **w.one_of({}, {"auto_pad": "NOTSET"})}
    free = [n + pads[i] + pads[i + 2] - k for i, (n, k) in enumerate(zip(w.shape[2:], long, strict=True))]
    more |= {"exact": not any(f % s for f, s in zip(free, strides, strict=True)), "counted": any(pads)}
    return None if min(free) < 0 else more | {"out": [f // s + 1 for f, s in zip(free, strides, strict=True)]}


def conv(w: Writing) -> None:
    """A convolution of images."""
    batch, channels, *_ = w.shape
    group = int(w.one_of(*(g for g in (1, 2, 3) if channels % g == 0)))
    features = group * int(w.draw(st.integers(1, 2)))
    kernel, dilations = ((int(w.draw(st.integers(1, 3))), int(w.draw(st.integers(1, 3)))) for _ in range(2))
    more = windows(w, "Conv", kernel, dilations)
    if more is None:
        return
    out, _, _ = (more.pop(name, None) for name in ("out", "exact", "counted"))
    weight = w.numbers(features, channels // group, *kernel)
    bias = [w.constant(w.numbers(features))] if w.one_of(True, False) else []
    more |= {"dilations": dilations} if dilations != (1, 1) or w.one_of(True, False) else {}
    more |= {"group": group} if group > 1 or w.one_of(True, False) else {}
    more |= w.one_of({}, {"kernel_shape": kernel})
    w.is_pictures = True
    w.value, w.shape = w.node("Conv", w.value, w.constant(weight), *bias, **more), (batch, features, *out)


def pool(w: Writing) -> None:
    """The largest or the mean of windows."""
    op = w.one_of("MaxPool", "AveragePool")
    kernel = (int(w.draw(st.integers(1, 3))), int(w.draw(st.integers(1, 3))))
    more = windows(w, op, kernel, (1, 1))
    if more is None:
        return
    out, exact, counted = (more.pop(name, None) for name in ("out", "exact", "counted"))
    if op == "AveragePool" and counted is False:
        more |= w.one_of({}, {"count_include_pad": 0}, {"count_include_pad": 1})
    if w.opset >= 10 and exact:
        more |= w.one_of({}, {"ceil_mode": 0}, {"ceil_mode": 1})
    if w.opset >= (10 if op == "MaxPool" else 19):
        more |= w.one_of({}, {"dilations": [1, 1]})
    if op == "MaxPool" and w.opset >= 8:
        more |= w.one_of({}, {"storage_order": 0})
    w.is_pictures = True
    w.value, w.shape = w.node(op, w.value, kernel_shape=kernel, **more), (*w.shape[:2], *out)


def global_mean(w: Writing) -> None:
    """The mean over all pixels, with or without their axes."""
    w.is_pictures = True
    kind = w.one_of("GlobalAveragePool", "kept", "dropped")
    if kind == "GlobalAveragePool":
        w.value, w.shape = w.node(kind, w.value), (*w.shape[:2], 1, 1)
        return
    axes = w.one_of([2, 3], [-1, -2]) if w.opset >= 11 else [2, 3]
    keep = {"keepdims": 0} if kind == "dropped" else w.one_of({}, {"keepdims": 1})
    inputs = [w.constant(axes, np.int64)] if w.opset >= 18 else []
    w.value = w.node("ReduceMean", w.value, *inputs, **keep, **({} if inputs else {"axes": axes}))
    w.shape = w.shape[:2] if kind == "dropped" else (*w.shape[:2], 1, 1)


def channel_norm(w: Writing) -> None:
    """Batch normalisation of channels."""
    w.is_pictures = True
    batch_norm(w)


def channel_softmax(w: Writing) -> None:
    """Along the channels."""
    if w.opset >= 13 and w.is_pictures:
        w.value = w.node(w.one_of("Softmax", "LogSoftmax"), w.value, axis=w.one_of(1, -3))


def turned(w: Writing) -> None:
    """Channels last, and then rows, or back again."""
    w.is_pictures = True
    batch, channels, height, width = w.shape
    w.value, w.shape = w.node("Transpose", w.value, perm=[0, 2, 3, 1]), (batch, height, width, channels)
    w.one_of(activation, softmax, dropout)(w)
    if w.one_of(True, False):
        w.value = w.node("Flatten", w.value)
        w.shape = (batch, height * width * channels)
    else:
        w.value, w.shape = w.node("Transpose", w.value, perm=[0, 3, 1, 2]), (batch, channels, height, width)


def image(w: Writing) -> None:
    """Rows as images of one channel."""
    if not w.by_channel and w.features > 3:
        height = next(h for h in (3, 2, 1) if w.features % h == 0)
        sizes = w.one_of([height, w.features // height], [height, -1], [-1, w.features // height])
        target = [w.one_of(0, *([w.batch] if isinstance(w.batch, int) else []), *([-1] if -1 not in sizes else []))]
        w.value = w.node("Reshape", w.value, w.constant([*target, 1, *sizes], np.int64))
        w.shape = (w.shape[0], 1, height, w.features // height)
        conv(w)


ANY_SHAPE = (activation, gelu, silu, torch_softplus, softmax, dropout, cast)
BY_CHANNEL = (*ANY_SHAPE, gemm, gemm, matmul, matmul, batch_norm, rows)
ROWS = (*BY_CHANNEL, norm, norm, two_classes, image)
ELEMENTWISE = (activation, gelu, silu, torch_softplus, dropout, cast)
PICTURES = (*ELEMENTWISE, conv, conv, conv, pool, pool, global_mean, channel_norm, channel_softmax, turned, rows, rows)


@st.composite
def known_models(draw: Callable[..., object], steps: int = 5) -> tuple[ModelProto, np.ndarray]:
    """A model of known nodes, and what to feed it."""
    opset = draw(st.sampled_from(SETS))
    dtype = np.dtype(draw(st.sampled_from(["float32", "float64"])))
    start = draw(st.sampled_from(["rows", "rows", "images", "pictures", "pictures", "categories", "whole"]))
    shapes = {"images": (6, 3, 4), "pictures": (6, *(draw(st.integers(1, most)) for most in (4, 6, 6)))}
    shape = shapes[start] if start in shapes else (6, draw(st.integers(1, 8)))
    w = Writing(draw, opset, dtype, shape, draw(st.sampled_from(["batch", "", 6])))
    w.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = w.random.normal(size=shape).astype(dtype)
    if start == "categories":
        x = w.random.integers(0, 7, shape).astype(w.one_of(np.int32, np.int64))
        w.value, w.shape = w.node("Gather", w.constant(w.numbers(7, 2)), "x", **w.one_of({}, {"axis": 0})), (*shape, 2)
    elif start == "whole" and opset >= 9:
        x = w.random.integers(-5, 5, shape)
        w.value = w.node("Cast", "x", to=w.kind)
    for _ in range(draw(st.integers(1, steps))):
        choices = {2: BY_CHANNEL if w.by_channel else ROWS, 3: (*ANY_SHAPE, rows, rows, rows), 4: PICTURES}
        step = draw(st.sampled_from(choices[len(w.shape)]))
        step(w)
    if w.by_channel:
        gemm(w)
    if w.value == "x":
        activation(w)
    return model_of(w, x), x


def pairs(most: int) -> st.SearchStrategy[list[int]]:
    """Two numbers from 1."""
    return st.lists(st.integers(1, most), min_size=2, max_size=2)


@st.composite
def windows_of_any_kind(draw: Callable[..., object]) -> tuple[ModelProto, np.ndarray]:
    """One convolution or pooling with attributes of every kind, known here or not; and what to feed it."""
    op, opset = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"])), draw(st.sampled_from([12, 19, 22]))
    shape = (2, draw(st.integers(1, 3)), draw(st.integers(2, 7)), draw(st.integers(2, 7)))
    w = Writing(draw, opset, np.dtype(np.float32), shape)
    kernel = draw(pairs(3))
    more: dict[str, object] = {"kernel_shape": kernel, **draw(st.sampled_from([{}, {"strides": draw(pairs(3))}]))}
    pads = st.lists(st.integers(0, 2), min_size=4, max_size=4)
    more |= draw(
        st.one_of(
            st.just({}),
            pads.map(lambda found: {"pads": found}),
            st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]).map(lambda found: {"auto_pad": found}),
        )
    )
    inputs = ["x"]
    if op == "Conv":
        group = draw(st.sampled_from([g for g in (1, 2, 3) if shape[1] % g == 0]))
        w.tensors["w"] = w.numbers(2 * group, shape[1] // group, *kernel)
        inputs.append("w")
        more |= {"group": group, **draw(st.sampled_from([{}, {"dilations": draw(pairs(2))}]))}
    else:
        more |= draw(st.sampled_from([{}, {}, {"ceil_mode": 1}]))
        if op == "MaxPool" or opset >= 19:
            more |= draw(st.sampled_from([{}, {}, {"dilations": draw(pairs(2))}]))
        counts = {"count_include_pad": 1} if op == "AveragePool" else {"storage_order": 1}
        more |= draw(st.sampled_from([{}, {}, counts]))
    w.tensors = {name: array.astype(np.float32) for name, array in w.tensors.items()}
    w.value = w.node(op, *inputs, **more)
    if draw(st.sampled_from([False, False, False, True])):
        w.value = w.node("Flatten", w.node("Relu", w.value))
    x = np.random.default_rng(draw(st.integers(0, 9))).normal(size=shape).astype(np.float32) - 3
    model = model_of(w, x)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    return model, x


def model_of(w: Writing, x: np.ndarray) -> ModelProto:
    """What is written, as a model."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    out = helper.np_dtype_to_tensor_dtype(w.dtype)
    graph = helper.make_graph(
        w.nodes,
        "foreign",
        [helper.make_tensor_value_info("x", kind, [w.batch, *x.shape[1:]])],
        [helper.make_tensor_value_info(w.value, out, [w.batch, *w.shape[1:]])],
        [numpy_helper.from_array(array, name) for name, array in w.tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", w.opset)], ir_version=9)


def run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """What onnxruntime computes; with the same numbers in float32 where it has no kernel for float64."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    # Above that it makes LayerNormalization of nodes that it cannot check.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    for each in (model, in_float32(model)):
        try:
            session = onnxruntime.InferenceSession(each.SerializeToString(), options, ["CPUExecutionProvider"])
        except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
            continue
        fed = x.astype(np.float32) if x.dtype == np.float64 and each is not model else x
        return session.run([each.graph.output[0].name], {session.get_inputs()[0].name: fed})[0]
    raise AssertionError("onnxruntime has no kernel for this model")


def in_float32(model: ModelProto) -> ModelProto:
    """The same model, with float32 for float64."""
    double, single = TensorProto.DOUBLE, TensorProto.FLOAT
    changed = ModelProto.FromString(model.SerializeToString())
    values = [attribute.t for node in changed.graph.node for attribute in node.attribute]
    for tensor in (*changed.graph.initializer, *values):
        if tensor.data_type == double:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for info in (*changed.graph.input, *changed.graph.output):
        if info.type.tensor_type.elem_type == double:
            info.type.tensor_type.elem_type = single
    for attribute in (each for node in changed.graph.node if node.op_type == "Cast" for each in node.attribute):
        attribute.i = single if attribute.i == double else attribute.i
    return changed


def predicted(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """What the network computes that is read from a model; whole numbers that the model casts are cast before."""
    found = from_onnx(model.SerializeToString())
    first = next(iter(found.model.parts), ("", None))[1]
    if x.dtype.kind in "iu" and (first is None or not first.name.startswith("embedding")):
        x = x.astype(
            np.float64 if model.graph.output[0].type.tensor_type.elem_type == TensorProto.DOUBLE else np.float32
        )
    taken, given = found.channels_first
    y = found.model.forward(found.params, found.state, np.moveaxis(x, 1, -1) if taken else x, INFERENCE)[0]
    return np.moveaxis(y, -1, 1) if given else y
