"""Convolutional models as torch's exporters write them are read and compute the same; what is not known is refused."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

import torch

from bpfunc.interop.onnx import Imported, from_onnx
from bpfunc.layers import INFERENCE

nn = torch.nn


class Separable(nn.Module):
    """Depthwise and pointwise convolutions, and the mean over all pixels as a method of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.pointwise = nn.Conv2d(8, 12, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, x: object) -> object:
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.silu(self.pointwise(self.depthwise(x)))
        return self.head(x.mean((2, 3)))


def lenet() -> object:
    """Mean pools, tanh, several dense layers after the flattened pixels of 16 channels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 5 * 4, 30), nn.Tanh(), nn.Linear(30, 10), nn.LogSoftmax(dim=1)),
    )


def blocks() -> object:
    """Normalised convolutions and largest pixels, then an adaptive mean; normalisation before the first convolution."""
    return nn.Sequential(
        *(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Dropout2d(0.2), nn.Conv2d(8, 12, (3, 2), padding=(1, 0), stride=(1, 2)), nn.BatchNorm2d(12), nn.GELU()),
        *(nn.MaxPool2d(3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)),
    )


def normed_rows() -> object:
    """Batch normalisation and an activation between flattened images and the dense layer."""
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2), nn.ELU(), nn.Flatten(), nn.BatchNorm1d(32), nn.Dropout(0.1)),
        *(nn.Linear(32, 6, bias=False), nn.ReLU(), nn.Linear(6, 3), nn.Softmax(dim=1)),
    )


MODELS: dict[str, tuple[Callable[[], object], tuple[int, int, int]]] = {
    "lenet": (lenet, (1, 28, 25)),
    "blocks": (blocks, (3, 16, 15)),
    "separable": (Separable, (3, 13, 14)),
    "normed rows": (normed_rows, (2, 9, 6)),
}


def exported(theirs: object, x: object, opset: int, *, dynamo: bool) -> bytes:
    """What one of torch's exporters writes."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(theirs, (x,), file, opset_version=opset, dynamo=dynamo, verbose=False)
    return file.getvalue()


def predicted(found: Imported, x: object) -> np.ndarray:
    """What the network makes of torch's images."""
    images = np.ascontiguousarray(np.moveaxis(x.numpy(), 1, -1))
    assert found.channels_first == (True, False)
    assert found.in_shape == images.shape[1:]
    return found.model.forward(found.params, found.state, images, INFERENCE)[0]


@pytest.mark.parametrize(
    ("opset", "dynamo"), [(11, False), (13, False), (17, False), (20, False), (18, True), (20, True)]
)
@pytest.mark.parametrize("name", MODELS)
def test_models_by_torch_are_read(name: str, opset: int, dynamo: bool) -> None:
    """Both exporters, several operator sets: the same logits from the same images."""
    if dynamo:
        pytest.importorskip("onnxscript")
    make, shape = MODELS[name]
    torch.manual_seed(0)
    theirs = make()
    x = torch.randn(7, *shape)
    theirs.train()(3 * x + 1)  # so that the running statistics are not those of a beginner
    theirs.eval()
    found = from_onnx(exported(theirs, x, opset, dynamo=dynamo))
    expected = theirs(x).detach().numpy()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(predicted(found, x), expected, rtol=1e-5, atol=1e-5)


CONV = nn.Conv2d(2, 3, 3)
VARIATIONS: dict[str, tuple[object, str]] = {
    "mean that counts padding": (nn.AvgPool2d(3, padding=1), "counts its padding|Pad|no layer computes"),
    "largest pixel with dilation": (nn.MaxPool2d(2, dilation=2), r"\(MaxPool\): its dilations are \[2, 2\]"),
    "windows beyond the image": (nn.MaxPool2d(2, ceil_mode=True), r"\(MaxPool\): with ceil_mode its last windows"),
    "transposed convolution": (nn.ConvTranspose2d(2, 3, 3), r"\(ConvTranspose\): no layer computes this"),
    "reflected padding": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), r"\(Pad\): no layer computes this"),
    "upsampling": (nn.Upsample(scale_factor=2), r"\(Resize\): no layer computes this"),
    "pixel shuffle": (nn.Sequential(nn.Conv2d(2, 4, 1), nn.PixelShuffle(2)), r"\(DepthToSpace\): no layer"),
    "norm of groups": (nn.GroupNorm(1, 2), "no layer computes this|orders|does not turn examples"),
    "instance norm": (nn.InstanceNorm2d(2, affine=True), r"\(InstanceNormalization\): no layer computes this"),
    "adaptive mean of rows": (nn.AdaptiveAvgPool2d((5, 1)), ""),
    "rows in torch's order": (nn.Sequential(CONV, nn.Flatten()), "flattened channel by channel"),
    "layer norm of such rows": (
        nn.Sequential(CONV, nn.Flatten(), nn.LayerNorm(3 * 3 * 3), nn.Linear(27, 2)),
        r"rows of images of 3 channels, flattened channel by channel|it takes",
    ),
    "images made of rows": (
        nn.Sequential(CONV, nn.Flatten(), nn.Linear(27, 8), nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 1, 2)),
        "no layer computes this",
    ),
    "softmax over the columns": (nn.Sequential(CONV, nn.Softmax(dim=3)), "not along the channels"),
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_variations_that_are_not_known_are_refused(name: str) -> None:
    """By node, with what was found; or read, and then right."""
    module, message = VARIATIONS[name]
    theirs, x = module.eval(), torch.randn(4, 2, 5, 5)
    data = exported(theirs, x, 17, dynamo=False)
    if not message:
        found = from_onnx(data)
        y = found.model.forward(found.params, found.state, np.moveaxis(x.numpy(), 1, -1), INFERENCE)[0]
        np.testing.assert_allclose(np.moveaxis(y, -1, 1), theirs(x).detach().numpy(), rtol=1e-5, atol=1e-6)
        return
    with pytest.raises(ValueError, match=message) as caught:
        from_onnx(data)
    assert str(caught.value).startswith(("node '", "what comes out as "))
