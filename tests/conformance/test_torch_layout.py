"""torch loads our parameters strictly and predicts the same, and its own come back to us."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

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
