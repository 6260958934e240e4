"""Data-parallel gradients equal those of one process, whatever the shares, and are the same in every process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import attrs
import numpy as np
import pytest

import bpfunc as bp
from bpfunc.arrays.types import FloatArray
from bpfunc.gradient.data_parallel import Communicator, data_parallel, share_of

ResultT = TypeVar("ResultT")


@attrs.frozen(eq=False)
class Threads:
    """Processes played by threads; sums are taken in the order of the ranks."""

    size: int
    rank: int
    barrier: threading.Barrier
    board: dict[int, FloatArray]

    def allreduce_sum(self, vector: FloatArray) -> FloatArray:
        """Post, wait, add up in order, wait."""
        self.board[self.rank] = vector
        self.barrier.wait()
        total = sum(self.board[rank] for rank in range(1, self.size)) + self.board[0]
        self.barrier.wait()
        return total


def everywhere(size: int, work: Callable[[Communicator], ResultT]) -> list[ResultT]:
    """Run the same work as every rank."""
    barrier, board = threading.Barrier(size, timeout=20), dict[int, FloatArray]()
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(Threads(size, rank, barrier, board)), range(size)))


def a_batch(rows: int, *, weighted: bool = False) -> bp.Batch:
    rng = np.random.default_rng(rows)
    weights = rng.uniform(0, 2, rows) if weighted else None
    return bp.Batch(rng.normal(size=(rows, 5)), np.eye(3)[rng.integers(0, 3, rows)], weights)


MODEL = bp.serial(bp.dense(7), bp.tanh(), bp.dense(3))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("rows", [1, 2, 7, 32])
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_to_one_process(size: int, rows: int, weighted: bool) -> None:
    """Gradient, loss, losses and outputs are the whole batch's, also where shares are unequal or empty."""
    params, state, _ = MODEL.init(bp.Key(0), (5,))
    params, batch = bp.tree_cast(params, np.float64), a_batch(rows, weighted=weighted)
    whole, grads = bp.value_and_grad(MODEL, bp.cross_entropy())(params, state, batch, bp.INFERENCE)

    def work(comm: Communicator) -> tuple[bp.Value, object]:
        return data_parallel(comm)(MODEL, bp.cross_entropy())(params, state, batch, bp.INFERENCE)

    for value, found in everywhere(size, work):
        assert bp.tree_allclose(found, grads, rtol=1e-12, atol=1e-15)
        assert value.loss == pytest.approx(whole.loss, rel=1e-13)
        np.testing.assert_allclose(value.losses, whole.losses, rtol=1e-12)
        np.testing.assert_allclose(value.outputs, whole.outputs, rtol=1e-12)


def test_means_of_means_would_be_found() -> None:
    """The check above can fail: shares of 2 and 1 rows combined as means give another gradient."""
    params, state, _ = MODEL.init(bp.Key(0), (5,))
    batch, gradient = a_batch(3), bp.value_and_grad(MODEL, bp.cross_entropy())
    _, grads = gradient(params, state, batch, bp.INFERENCE)
    parts = [gradient(params, state, bp.take(batch, np.array(rows)), bp.INFERENCE)[1] for rows in ([0, 1], [2])]
    assert not bp.tree_allclose(bp.tree_scale(0.5, bp.tree_add(*parts)), grads, rtol=1e-3)


def test_training_is_the_same_everywhere_and_close_to_one_process() -> None:
    """With dropout-free float32 training, three processes agree bit for bit, and with one process to 1e-6."""
    data, transform = a_batch(40), bp.sgd(0.1, momentum=0.9)
    data = bp.Batch(data.inputs.astype(np.float32), data.targets.astype(np.float32))

    def trained(gradient: bp.GradientMaker) -> bp.Epoch:
        step = bp.make_step(MODEL, bp.cross_entropy(), transform, gradient=gradient)
        state = bp.init_train_state(MODEL, transform, bp.Key(0), (5,))
        return list(bp.train(step, state, lambda n: bp.epoch_batches(data, bp.Key(1), n, 16), epochs=3))[-1]

    alone = trained(bp.value_and_grad)
    first, *others = everywhere(3, lambda comm: trained(data_parallel(comm)))
    again = everywhere(3, lambda comm: trained(data_parallel(comm)))[1]
    for other in (*others, again):
        assert bp.ravel(other.state.params).tobytes() == bp.ravel(first.state.params).tobytes()
        assert other.metrics == first.metrics or bp.tree_allclose(other.metrics, first.metrics, rtol=0, atol=0)
    assert bp.tree_allclose(first.state.params, alone.state.params, rtol=1e-5, atol=1e-6)
    assert bp.mean(first.metrics.loss) == pytest.approx(bp.mean(alone.metrics.loss), rel=1e-6)
    assert first.metrics.metric.weight == alone.metrics.metric.weight == 120 / 3


def test_what_is_not_finite_is_seen_by_all() -> None:
    """A row that overflows in one share stops every process at the same step."""
    params, state, _ = MODEL.init(bp.Key(0), (5,))
    inputs = np.ones((4, 5))
    inputs[3] = np.nan
    batch = bp.Batch(inputs, np.array([0, 1, 2, 0]))

    def work(comm: Communicator) -> str:
        gradient = bp.finite_gradient(data_parallel(comm))(MODEL, bp.cross_entropy())
        with pytest.raises(bp.NotFiniteError) as problem:
            gradient(params, state, batch, bp.INFERENCE)
        return problem.value.place

    assert everywhere(2, work) == ["loss", "loss"]


def test_running_statistics_are_averaged() -> None:
    """With batch normalisation all processes hold the same state after a step: the mean of what each saw."""
    model = bp.serial(bp.dense(4), bp.batch_norm(), bp.dense(3))
    params, state, _ = model.init(bp.Key(0), (5,))
    ctx = bp.Context(train=True, key=bp.Key(2))
    gradient = bp.value_and_grad(model, bp.cross_entropy())
    halves = [gradient(params, state, bp.take(a_batch(8), np.arange(i, i + 4)), ctx)[0].state for i in (0, 4)]
    first, second = everywhere(
        2, lambda comm: data_parallel(comm)(model, bp.cross_entropy())(params, state, a_batch(8), ctx)[0]
    )
    assert bp.ravel(first.state).tobytes() == bp.ravel(second.state).tobytes()
    assert bp.tree_allclose(first.state, bp.tree_scale(0.5, bp.tree_add(*halves)), rtol=1e-6)


def test_shares_make_the_whole() -> None:
    """Every row is in exactly one share, and shares differ by one row at most."""
    for rows in range(8):
        for size in range(1, 6):
            shares = [share_of(rows, Threads(size, rank, threading.Barrier(1), {})) for rank in range(size)]
            assert [i for share in shares for i in range(rows)[share]] == list(range(rows))
            lengths = [share.stop - share.start for share in shares]
            assert max(lengths) - min(lengths) <= 1
