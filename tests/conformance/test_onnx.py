"""What onnxruntime computes from our models, and we from torch's, on the real test images."""

from __future__ import annotations

import io
import warnings

import attrs
import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime

from bpfunc import layers
from bpfunc.interop.onnx import from_onnx, to_onnx
from bpfunc.layers import INFERENCE, Layer
from bpfunc.layers.combinators import SerialParams, parallel, serial
from bpfunc.ops import softmax
from bpfunc.tree import Tree
from pipelines.artifacts import PIXELS, Encoded, Selected
from pipelines.spec.recipes import recipe_names
from pipelines.spec.run_spec import DatasetSpec
from pipelines.spec.toml import load_recipe
from pipelines.stages.acquire import acquire
from pipelines.stages.decode import decode
from pipelines.stages.encode import encode
from pipelines.stages.select import select
from pipelines.training.build import build_model
from tests.bpfunc.interop.stacks import STACKS, lively

SPEC = DatasetSpec(scaling="mirrored", scaling_offset=0.1)


@pytest.fixture(scope="module")
def selected() -> Selected:
    """The 3,000 test images, and those that their scaling comes from."""
    return select(decode(acquire(SPEC)), SPEC)


@pytest.fixture(scope="module")
def encoded(selected: Selected) -> Encoded:
    """The same as inputs."""
    return encode(selected, SPEC)


def run(model: object, x: np.ndarray) -> list[np.ndarray]:
    """Every output, by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def check_against_runtime(network: Layer, params: Tree, state: Tree, encoded: Encoded, raw: np.ndarray) -> None:
    """Raw pixels in, our logits and probabilities out."""
    scaling = encoded.scaling
    model = to_onnx(
        *(network, params, state), in_shape=(PIXELS,), mean=scaling.mean, scale=scaling.scale, probabilities=True
    )
    logits, probabilities = run(model, raw)
    y = network.forward(params, state, encoded.test.pixels, INFERENCE)[0]
    assert raw.dtype == np.uint8
    assert logits.shape == y.shape and len(raw) == 3000
    np.testing.assert_allclose(logits, y, rtol=0, atol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(y)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", STACKS)
def test_logits_are_ours(name: str, encoded: Encoded, selected: Selected) -> None:
    """Every layer and combinator, on 3,000 images, to 1e-5."""
    params, state = lively(STACKS[name], (PIXELS,))
    check_against_runtime(STACKS[name], params, state, encoded, selected.test.images)


@pytest.mark.parametrize("name", recipe_names())
def test_logits_of_recipes_are_ours(name: str, selected: Selected) -> None:
    """The network and the scaling of every recipe, on the images that are at hand."""
    recipe = load_recipe(name)
    spec = attrs.evolve(recipe.dataset, classes=SPEC.classes)
    network = build_model(recipe.model, len(recipe.dataset.classes))
    params, state = lively(network, (PIXELS,))
    check_against_runtime(network, params, state, encode(selected, spec), selected.test.images)


def test_normalised_pixels_are_the_pipelines_bit_for_bit(encoded: Encoded, selected: Selected) -> None:
    """The normalisation in the graph alone, for pixels that hardly ever vary too."""
    for offset in (0.0, 0.1):
        spec = attrs.evolve(SPEC, scaling_offset=offset)
        expected = encode(selected, spec)
        model = to_onnx(
            serial(), SerialParams(()), in_shape=(PIXELS,), mean=expected.scaling.mean, scale=expected.scaling.scale
        )
        assert run(model, selected.test.images)[0].tobytes() == expected.test.pixels.tobytes()


def test_embedding_is_ours() -> None:
    """Categories, alone and beside each other."""
    network = serial(parallel(layers.embedding(9, 4), layers.embedding(9, 2)), layers.flatten(), layers.dense(2))
    params, state = lively(network, (3,))
    x = np.random.default_rng(0).integers(0, 9, (50, 3))
    expected = network.forward(params, state, x, INFERENCE)[0]
    np.testing.assert_allclose(run(to_onnx(network, params, state, in_shape=(3,)), x)[0], expected, atol=1e-6)


def test_one_row_and_none() -> None:
    """The batch axis is free."""
    network = STACKS["everything nested"]
    params, state = lively(network, (PIXELS,))
    model = to_onnx(network, params, state, in_shape=(PIXELS,), scale=2.0)
    for rows in (1, 7, 0):
        assert run(model, np.zeros((rows, PIXELS), np.uint8))[0].shape == (rows, 3)


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_models_by_torch_are_read(opset: int) -> None:
    """What torch's exporter writes computes the same here."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    theirs = nn.Sequential(
        *(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8, eps=1e-3), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Linear(8, 6, bias=False), nn.SiLU(), nn.ELU(0.5), nn.LeakyReLU(0.2), nn.SELU(), nn.Softplus()),
        *((nn.LayerNorm(6), nn.Tanh()) if opset >= 17 else (nn.Tanh(),)),
        *((nn.GELU(), nn.GELU(approximate="tanh")) if opset >= 20 else (nn.GELU(),)),
        *(nn.Linear(6, 3), nn.LogSoftmax(dim=1)),
    )
    x = torch.randn(40, 3, 4)
    theirs.train()(x)  # so that the running statistics are not those of a beginner
    theirs.eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(theirs, x, file, opset_version=opset, dynamo=False)
    found = from_onnx(file.getvalue())
    y = found.model.forward(found.params, found.state, x.numpy(), INFERENCE)[0]
    np.testing.assert_allclose(y, theirs(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert found.params.layers[1].weight.tobytes() == theirs[1].weight.detach().numpy().T.tobytes() or opset < 17
