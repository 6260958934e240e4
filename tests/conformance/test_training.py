"""A whole training against torch: the same start, the same batches, 200 steps in float64."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpfunc.arrays.types import FloatArray  # noqa: E402
from bpfunc.batches.batch import Batch, epoch_batches  # noqa: E402
from bpfunc.keys import Key  # noqa: E402
from bpfunc.layers import dense, relu  # noqa: E402
from bpfunc.layers.combinators import SerialParams, serial  # noqa: E402
from bpfunc.losses import cross_entropy  # noqa: E402
from bpfunc.metrics import mean  # noqa: E402
from bpfunc.optimizers import sgd  # noqa: E402
from bpfunc.training.loop import steps  # noqa: E402
from bpfunc.training.step import TrainState, make_step  # noqa: E402
from bpfunc.tree import tree_cast  # noqa: E402

D, K, ROWS, SIZE, RATE = 12, 3, 160, 16, 0.05
MODEL = serial(dense(16), relu(), dense(8), relu(), dense(K))
ROUNDS = 20


def batches() -> list[Batch]:
    """The batches of 20 epochs in their order: 200."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, K, ROWS)
    data = Batch(rng.normal(size=(ROWS, D)) + 0.7 * label[:, None], label)
    return [batch for epoch in range(ROUNDS) for batch in epoch_batches(data, Key(1), epoch, SIZE)]


def initial() -> SerialParams:
    """Where both start."""
    params, _, _ = MODEL.init(Key(0), (D,))
    return tree_cast(params, np.float64)


def ours(order: list[Batch], decay: float, nesterov: bool) -> tuple[list[float], SerialParams]:
    """Losses before each step, and the last parameters."""
    transform, params = sgd(RATE, momentum=decay, nesterov=nesterov), initial()
    state = TrainState(params, ((),) * 5, transform.init(params), 0, Key(2))
    walk = list(steps(make_step(MODEL, cross_entropy(), transform), state, order))
    return [mean(metrics.loss) for _, metrics in walk], walk[-1][0].params


def theirs(order: list[Batch], decay: float, nesterov: bool) -> tuple[list[float], list[FloatArray]]:
    """The same by torch; weights transposed to our (D, H)."""
    layers = [torch.nn.Linear(D, 16), torch.nn.Linear(16, 8), torch.nn.Linear(8, K)]
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2]).double()
    with torch.no_grad():
        for layer, params in zip(layers, initial().layers[::2], strict=True):
            layer.weight.copy_(torch.from_numpy(params.weight.T.copy()))
            layer.bias.copy_(torch.from_numpy(params.bias.copy()))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=decay, nesterov=nesterov)
    losses = []
    for batch in order:
        inputs, targets = torch.from_numpy(batch.inputs.copy()), torch.from_numpy(batch.targets.copy())
        loss = torch.nn.functional.cross_entropy(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [array.detach().numpy() for layer in layers for array in (layer.weight.T, layer.bias)]


@pytest.mark.parametrize(("decay", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_training_is_torchs_training(decay: float, nesterov: bool) -> None:
    """All 200 losses agree to 1e-8, the last parameters to 1e-8, and something was learnt on the way."""
    order = batches()
    assert len(order) == 200
    losses, params = ours(order, decay, nesterov)
    expected, arrays = theirs(order, decay, nesterov)
    np.testing.assert_allclose(losses, expected, rtol=1e-8, atol=0)
    found = [array for layer in params.layers[::2] for array in (layer.weight, layer.bias)]
    for array, wanted in zip(found, arrays, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-8, atol=1e-10)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
