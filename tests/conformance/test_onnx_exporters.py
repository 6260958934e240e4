"""What the exporters of scikit-learn and torch write is read, where it has a twin here, and computes the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime
from onnx import ModelProto

from bpfunc.interop.onnx import from_onnx
from bpfunc.layers import INFERENCE

ROWS = 40
CLASSES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "two classes": lambda random: random.integers(0, 2, ROWS),
    "two names": lambda random: np.array(["no", "yes"])[random.integers(0, 2, ROWS)],
    "three classes": lambda random: random.integers(0, 3, ROWS),
    "three names": lambda random: np.array(["a", "b", "c"])[random.integers(0, 3, ROWS)],
    "several labels": lambda random: random.integers(0, 2, (ROWS, 3)),
    "two labels": lambda random: random.integers(0, 2, (ROWS, 2)),
}
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
DTYPES = (np.float32, np.float64, np.int64)
SETS = (9, 13, 21)


def inputs(dtype: type) -> np.ndarray:
    """Rows; whole numbers for int64."""
    return (3 * np.random.default_rng(1).normal(size=(ROWS, 4))).astype(dtype)


def expected(model: ModelProto, x: np.ndarray, place: int) -> np.ndarray:
    """One of the outputs, by onnxruntime; numbers that carry names without these."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x})[place]
    return np.array([list(row.values()) for row in found]) if isinstance(found, list) else found


def agree(model: ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """The network gives what onnxruntime gives."""
    found = from_onnx(model.SerializeToString())
    fed = x.astype(y.dtype) if x.dtype.kind == "i" else x
    np.testing.assert_allclose(
        found.model.forward(found.params, found.state, fed, INFERENCE)[0], y, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("named", [True, False], ids=["ZipMap", "array"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", CLASSES)
def test_classifiers_by_skl2onnx(kind: str, activation: str, dtype: type, named: bool) -> None:
    """Classes, names, labels; probabilities as an array and under the names of the classes."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier

    x = inputs(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MLPClassifier((5, 4), activation=activation, max_iter=3, random_state=0)
        theirs.fit(x, CLASSES[kind](np.random.default_rng(0)))
        models = [
            skl2onnx.to_onnx(theirs, x[:1], options={"zipmap": named}, target_opset={"": opset, "ai.onnx.ml": 1})
            for opset in SETS
        ]
    for model in models:
        if named and kind == "two labels":  # four probabilities, two names
            with pytest.raises(ValueError, match=r"\(ZipMap\): it names 2 classes, and is fed float\d\d \(batch, 4\)"):
                from_onnx(model)
        elif dtype == np.float64 and (named or "labels" in kind):  # for which onnxruntime has no kernel
            y = theirs.predict_proba(x)
            agree(model, x, np.concatenate([1 - y, y], axis=1) if kind == "two labels" else y)
        else:
            agree(model, x, expected(model, x, 1))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_regressors_by_skl2onnx(activation: str, dtype: type, outputs: int) -> None:
    """One output, and several, which skl2onnx puts below each other."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPRegressor

    x = inputs(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MLPRegressor(hidden_layer_sizes=(5,), activation=activation, max_iter=3, random_state=0)
        theirs.fit(x, np.sin(x[:, 0] if outputs == 1 else x[:, :outputs]))
        models = [skl2onnx.to_onnx(theirs, x[:1], target_opset={"": opset, "ai.onnx.ml": 1}) for opset in SETS]
    for model in models:
        agree(model, x, expected(model, x, 0).reshape(ROWS, outputs))


def test_outputs_below_each_other_are_read_of_skl2onnx_alone() -> None:
    """The same graph by another tool is what it says: a batch of another size."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPRegressor

    x = inputs(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MLPRegressor(hidden_layer_sizes=(5,), max_iter=3).fit(x, x[:, :2])
        model = skl2onnx.to_onnx(theirs, x[:1])
    model.producer_name = "another"
    with pytest.raises(ValueError, match=r"^node 'Reshape' \(Reshape\): it does not turn examples into rows"):
        from_onnx(model)


def modules() -> dict[str, object]:
    """Modules of torch that are layers here."""
    from torch import nn

    return {
        "Linear": nn.Linear(4, 3),
        "Linear without bias": nn.Linear(4, 3, bias=False),
        "BatchNorm1d": nn.BatchNorm1d(4, eps=1e-3, momentum=0.2),
        "BatchNorm1d, plain": nn.BatchNorm1d(4, affine=False),
        "LayerNorm": nn.LayerNorm(4, eps=1e-3),
        "LayerNorm without bias": nn.LayerNorm(4, bias=False),
        "LayerNorm, plain": nn.LayerNorm(4, elementwise_affine=False),
        "RMSNorm": nn.RMSNorm(4),
        "RMSNorm, eps": nn.RMSNorm(4, eps=1e-3),
        "RMSNorm, plain": nn.RMSNorm(4, elementwise_affine=False),
        "ReLU": nn.ReLU(),
        "LeakyReLU": nn.LeakyReLU(0.2),
        "ELU": nn.ELU(0.5),
        "SELU": nn.SELU(),
        "GELU": nn.GELU(),
        "GELU by tanh": nn.GELU(approximate="tanh"),
        "SiLU": nn.SiLU(),
        "Softplus": nn.Softplus(),
        "Tanh": nn.Tanh(),
        "Sigmoid": nn.Sigmoid(),
        "Softmax": nn.Softmax(dim=1),
        "LogSoftmax": nn.LogSoftmax(dim=-1),
        "Dropout": nn.Dropout(0.2),
        "Identity": nn.Identity(),
        "perceptron": nn.Sequential(
            *(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(), nn.Linear(8, 8), nn.RMSNorm(8)),
            *(nn.SiLU(), nn.Linear(8, 3), nn.Softplus(), nn.LayerNorm(3), nn.LogSoftmax(dim=1)),
        ),
    }


MODULES = tuple(modules()) if find_spec("torch") and find_spec("onnxscript") else ()


def exported(module: object, x: object, *, opset: int, free: bool) -> ModelProto:
    """A module by torch's new exporter, with a batch of any size or of this one."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim("batch")},) if free else None
        program = torch.onnx.export(
            module.eval(), (x,), dynamo=True, verbose=False, opset_version=opset, dynamic_shapes=shapes
        )
    return program.model_proto


@pytest.mark.parametrize("opset", [18, 23])
@pytest.mark.parametrize("name", MODULES)
def test_modules_by_torchs_new_exporter(name: str, opset: int) -> None:
    """Each module that is a layer here, on its own, and a whole perceptron."""
    import torch

    torch.manual_seed(0)
    module, x = modules()[name], torch.randn(7, 4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    module.train()(x)
    for free in (True, False) if name in ("perceptron", "RMSNorm, plain") else (True,):
        model = exported(module, x, opset=opset, free=free)
        agree(model, x.numpy(), expected(model, x.numpy(), 0))


def test_images_and_categories_by_torchs_new_exporter() -> None:
    """Flatten and Embedding, which are fed something else than rows."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    nn = torch.nn
    for module, x in (
        (nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), torch.randn(5, 3, 4)),
        (nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2)), torch.randint(0, 7, (5, 2))),
    ):
        for free in (True, False):
            model = exported(module, x, opset=20, free=free)
            found = from_onnx(model)
            y = found.model.forward(found.params, found.state, x.numpy(), INFERENCE)[0]
            np.testing.assert_allclose(y, expected(model, x.numpy(), 0), rtol=1e-5, atol=1e-6)


def test_modules_that_are_no_layers_are_refused() -> None:
    """Softplus of another slope, a norm over several axes, activations that are none here."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    nn = torch.nn
    rows, images = torch.randn(5, 4), torch.randn(5, 3, 4)
    for module, x in (
        *((nn.Softplus(beta=2), rows), (nn.Mish(), rows), (nn.Hardtanh(), rows), (nn.LogSigmoid(), rows)),
        *(
            (nn.LayerNorm(4), images),
            (nn.LayerNorm((3, 4)), images),
            (nn.RMSNorm(4), images),
            (nn.Linear(4, 2), images),
        ),
        *((nn.Softmax(dim=1), images), (nn.LogSoftmax(dim=0), rows), (nn.Softmin(dim=1), rows), (nn.GLU(), rows)),
    ):
        with pytest.raises(ValueError, match=r"^node '"):
            from_onnx(exported(module, x, opset=20, free=False))
