"""torch loads our parameters strictly and predicts the same, and its own come back to us."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bpfunc import layers
from bpfunc.interop.torch_layout import from_torch_state_dict, to_torch_state_dict
from bpfunc.keys import Key, normal
from bpfunc.layers import INFERENCE, Layer, dense
from bpfunc.layers.combinators import named, serial
from tests.bpfunc.interop.stacks import lively

torch = pytest.importorskip("torch")
nn = torch.nn

PAIRS: dict[str, tuple[Layer, object]] = {
    "perceptron": (
        serial(dense(8), layers.relu(), dense(6), layers.silu(), dense(3)),
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.SiLU(), nn.Linear(6, 3)),
    ),
    "without bias": (dense(3, use_bias=False), lambda: nn.Linear(5, 3, bias=False)),
    "norms": (
        serial(dense(8), layers.batch_norm(), layers.gelu(), dense(6), layers.layer_norm(), layers.rms_norm(eps=1e-3)),
        lambda: nn.Sequential(
            *(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 6), nn.LayerNorm(6), nn.RMSNorm(6, eps=1e-3))
        ),
    ),
    "nested and named": (
        named(("body", serial(dense(8), layers.dropout(0.3), serial(dense(4)))), ("head", dense(2))),
        lambda: nn.Sequential(
            OrderedDict(
                body=nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Sequential(nn.Linear(8, 4))),
                head=nn.Linear(4, 2),
            )
        ),
    ),
}


def predicted(module: object, x: np.ndarray) -> np.ndarray:
    """What torch makes of some rows."""
    with torch.no_grad():
        return module.eval()(torch.tensor(x)).numpy()


@pytest.mark.parametrize("name", PAIRS)
def test_torch_loads_ours_strictly(name: str) -> None:
    """Every name and shape is torch's, and so is the prediction."""
    network, make = PAIRS[name]
    params, state = lively(network, (5,))
    theirs = make()
    arrays = to_torch_state_dict(network, params, state)
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()}, strict=True)
    assert list(arrays) == list(theirs.state_dict())
    x = normal(Key(4), (20, 5))
    expected = network.forward(params, state, x, INFERENCE)[0]
    np.testing.assert_allclose(predicted(theirs, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
def test_we_load_torchs_own(name: str) -> None:
    """Tensors with gradients, as `state_dict` and `named_parameters` give them, predict the same here."""
    network, make = PAIRS[name]
    torch.manual_seed(0)
    theirs = make()
    x = normal(Key(5), (20, 5))
    theirs.train()(torch.tensor(x))  # so that the running statistics are not those of a beginner
    tensors = dict(theirs.state_dict()) | dict(theirs.named_parameters())
    assert any(tensor.requires_grad for tensor in tensors.values())
    params, state = from_torch_state_dict(network, tensors, in_shape=(5,))
    y = network.forward(params, state, x, INFERENCE)[0]
    np.testing.assert_allclose(y, predicted(theirs, x), rtol=1e-5, atol=1e-5)


def test_embedding_both_ways() -> None:
    """The table is torch's weight."""
    network = serial(layers.embedding(9, 4), layers.flatten(), dense(2))
    params, state = lively(network, (3,))
    theirs = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    arrays = to_torch_state_dict(network, params, state)
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()}, strict=True)
    x = np.random.default_rng(0).integers(0, 9, (20, 3))
    np.testing.assert_allclose(
        predicted(theirs, x), network.forward(params, state, x, INFERENCE)[0], rtol=1e-5, atol=1e-5
    )
    again, _ = from_torch_state_dict(network, theirs.state_dict(), in_shape=(3,))
    assert again.layers[0].table.tobytes() == params.layers[0].table.tobytes()


def test_modules_of_ones_own_by_a_mapping() -> None:
    """A network whose layers are attributes, as tutorials write it."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(5, 8), nn.Linear(8, 3)

        def forward(self, x: object) -> object:
            return self.fc2(torch.relu(self.fc1(x)))

    network, theirs, x = serial(dense(8), layers.relu(), dense(3)), Net(), normal(Key(6), (20, 5))
    params, state = from_torch_state_dict(network, theirs.state_dict(), in_shape=(5,), names={"0": "fc1", "2": "fc2"})
    np.testing.assert_allclose(
        network.forward(params, state, x, INFERENCE)[0], predicted(theirs, x), rtol=1e-5, atol=1e-6
    )


def test_numbers_that_numpy_does_not_have_are_refused() -> None:
    """One clear error, which names the tensor."""
    tensors = {"weight": torch.ones(3, 5, dtype=torch.bfloat16)}
    with pytest.raises(ValueError, match=r"^weight: .*BFloat16"):
        from_torch_state_dict(dense(3, use_bias=False), tensors, in_shape=(5,))


IMAGES: dict[str, tuple[Layer, object]] = {
    "flattened": (
        serial(
            *(layers.conv2d(6, 3, stride=2, padding=1), layers.batch_norm(), layers.relu(), layers.max_pool2d(2)),
            *(layers.conv2d(4, (1, 2), padding="valid", groups=2, use_bias=False), layers.flatten(), dense(5)),
            *(layers.batch_norm(), dense(3)),
        ),
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 4, (1, 2), groups=2, bias=False), nn.Flatten(), nn.Linear(8, 5), nn.BatchNorm1d(5)),
            nn.Linear(5, 3),
        ),
    ),
    "norms between flatten and dense": (
        serial(
            *(layers.conv2d(4, 3, padding="valid", dilation=(2, 1)), layers.channel_dropout(0.2), layers.tanh()),
            *(layers.avg_pool2d(2), layers.flatten(), layers.dropout(0.2), layers.batch_norm(), layers.layer_norm()),
            *(layers.rms_norm(eps=1e-3), layers.softmax(), dense(3)),
        ),
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 4, 3, dilation=(2, 1)), nn.Dropout2d(0.2), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
            *(nn.Dropout(0.2), nn.BatchNorm1d(16), nn.LayerNorm(16), nn.RMSNorm(16, eps=1e-3), nn.Softmax(dim=1)),
            nn.Linear(16, 3),
        ),
    ),
    "global mean": (
        serial(layers.batch_norm(), layers.conv2d(5), layers.global_avg_pool(), dense(4), layers.relu(), dense(3)),
        lambda: nn.Sequential(
            nn.BatchNorm2d(3),
            nn.Conv2d(3, 5, 3, padding="same"),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
        ),
    ),
    "nested": (
        named(
            ("body", serial(layers.max_pool2d(2), serial(layers.flatten()))), ("head", serial(layers.relu(), dense(2)))
        ),
        lambda: nn.Sequential(
            OrderedDict(
                body=nn.Sequential(nn.MaxPool2d(2), nn.Sequential(nn.Flatten())),
                head=nn.Sequential(nn.ReLU(), nn.Linear(36, 2)),
            )
        ),
    ),
}
"""From (B, 8, 7, 3)."""


def check_images(network: Layer, theirs: object, images: np.ndarray) -> None:
    """Ours there, and theirs here, predict the same of the same images."""
    in_shape, first = images.shape[1:], np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    params, state = lively(network, in_shape)
    theirs.train()(torch.tensor(first))  # so that the running statistics are not those of a beginner
    before = predicted(theirs, first)
    own, statistics = from_torch_state_dict(network, theirs.state_dict(), in_shape=in_shape)
    y = network.forward(own, statistics, images, INFERENCE)[0]
    np.testing.assert_allclose(y, before, rtol=1e-5, atol=1e-5)
    arrays = to_torch_state_dict(network, params, state, in_shape=in_shape)
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()}, strict=True)
    assert list(arrays) == list(theirs.state_dict())
    expected = network.forward(params, state, images, INFERENCE)[0]
    assert not np.allclose(expected, before, atol=1e-3)
    np.testing.assert_allclose(predicted(theirs, first), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", IMAGES)
def test_networks_of_images_both_ways(name: str) -> None:
    """Kernels, statistics of channels, and whatever comes after flatten."""
    network, make = IMAGES[name]
    torch.manual_seed(0)
    check_images(network, make(), normal(Key(6), (9, 8, 7, 3)))


@settings(max_examples=60, deadline=None)
@given(
    *(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    *(st.integers(1, 2), st.integers(0, 2), st.integers(1, 2), st.booleans()),
)
def test_any_convolution_both_ways(
    groups: int,
    channels: int,
    features: int,
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int,
    bias: bool,
) -> None:
    """Random geometry, then the pixels of all channels in a row."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    conv = layers.conv2d(features * groups, kernel, **geometry, use_bias=bias)
    out = conv.init(Key(0), (6, 5, channels * groups))[2]
    theirs = nn.Sequential(
        nn.Conv2d(channels * groups, features * groups, kernel, **geometry, bias=bias),
        *(nn.Flatten(), nn.Linear(int(np.prod(out)), 3)),
    )
    images = normal(Key(6), (4, 6, 5, channels * groups))
    check_images(serial(conv, layers.flatten(), dense(3)), theirs, images)
