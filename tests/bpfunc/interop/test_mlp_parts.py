"""The parts that scikit-learn's rules are made of do what they say, by hand-made numbers."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import pytest

from bpfunc.batches.batch import Batch
from bpfunc.gradient.penalty import penalised
from bpfunc.interop.mlp_parts import falling, network, until_converged
from bpfunc.keys import Key
from bpfunc.layers import INFERENCE, layer_norm
from bpfunc.losses import cross_entropy
from bpfunc.losses.scaled import scaled
from bpfunc.metrics import Mean
from bpfunc.training.loop import Epoch
from bpfunc.training.step import StepMetrics, TrainState
from bpfunc.transforms.schedules import Schedule, constant
from bpfunc.tree import ravel, tree_cast, unravel

START = TrainState((), (), (), 0, Key(0))


def settled_after(losses: list[float], rates: list[Schedule], patience: float, tol: float) -> list[int]:
    """Epochs that are trained where these are the losses."""

    def stage(rate: Schedule, state: TrainState, done: int) -> Iterator[Epoch]:
        for number in range(done, len(losses)):
            metrics = StepMetrics(Mean(losses[number], 1.0), Mean(rate(0), 1.0))
            state = attrs.evolve(state, step=state.step + 1)
            yield Epoch(number + 1, state, metrics)

    records = list(until_converged(stage, rates, START, lambda r: r.metrics.loss.total, patience=patience, tol=tol))
    assert [record.state.step for record in records] == list(range(1, len(records) + 1))
    return [record.metrics.metric.total for record in records]


def test_small_steps_do_not_count() -> None:
    """Each loss is smaller than the one before, but never by the tolerance: the patience runs out."""
    assert settled_after([1 - i / 100 for i in range(50)], [constant(1.0)], 3, 0.05) == [1.0] * 5


def test_no_number_is_never_better_and_never_best() -> None:
    """After a loss that is no number, a good one still counts."""
    nan = float("nan")
    assert settled_after([1.0, nan, 0.5, nan, nan, nan, 0.1], [constant(1.0)], 2, 0.1) == [1.0] * 6


def test_next_rate_goes_on_where_the_last_stopped() -> None:
    """The state, the epoch's number and the best loss go on with the next rate; at the end it is over."""
    assert settled_after([1.0, 2.0, 2.0, 2.0, 2.0, 0.5, 1.0, 1.0], [constant(4.0), constant(3.0)], 1, 0.1) == [
        4.0, 4.0, 4.0, 3.0, 3.0,
    ]  # fmt: skip


def test_endless_patience_trains_to_the_end() -> None:
    """n_iter_no_change may be infinite."""
    assert len(settled_after([1.0] * 30, [constant(1.0)], float("inf"), 0.1)) == 30


def test_falling_ends_at_the_smallest() -> None:
    """A rate that starts below the smallest is used all the same, and no other."""
    assert [rate(0) for rate in falling(1e-9)] == [1e-9]
    assert len(list(falling(0.1))) == 9


@pytest.mark.parametrize("activation", ["tanh", layer_norm()])
def test_penalised_gradient_is_that_of_the_penalised_loss(activation: object) -> None:
    """Every entry against a central difference; what is no weight of a dense layer is not pulled."""
    model = network((3, 4, 2), activation, dtype=np.float64)
    params, state, _ = model.init(Key(0), (3,))
    rng = np.random.default_rng(0)
    batch = Batch(rng.normal(size=(5, 3)), np.eye(2)[rng.integers(0, 2, 5)], rng.uniform(size=5))
    gradient = penalised(1.7)(model, scaled(cross_entropy(), 3.0))
    params = tree_cast(params, np.float64)  # layer_norm starts in float32
    flat = ravel(params)

    def loss(vector: np.ndarray) -> float:
        return float(gradient(unravel(vector, params), state, batch, INFERENCE)[0].loss)

    found = ravel(gradient(params, state, batch, INFERENCE)[1])
    unit = 1e-6 * np.eye(len(flat))
    wanted = [(loss(flat + step) - loss(flat - step)) / 2e-6 for step in unit]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)
