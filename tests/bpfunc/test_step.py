"""One training step: the update of the textbook, pure, and its metrics those of the outputs before the update."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from bpfunc.arrays.types import FloatArray, FloatDType
from bpfunc.batches.batch import Batch
from bpfunc.gradient.modes import GradientFn, value_and_grad
from bpfunc.keys import Key, fold_in
from bpfunc.layers import Context, DenseParams, Layer, ShapeError, dense, relu
from bpfunc.layers.combinators import serial
from bpfunc.losses import Loss, cross_entropy
from bpfunc.metrics import Mean, mean, top_k
from bpfunc.optimizers import sgd
from bpfunc.training.step import TrainState, init_train_state, make_step
from bpfunc.transforms import GradientTransform
from bpfunc.tree import tree_allclose, tree_cast, tree_leaves, tree_map

MODEL = serial(dense(5), relu(), dense(3))
SGD = sgd(0.1, momentum=0.9)


def batch(dtype: FloatDType = np.float32, *, weights: FloatArray | None = None) -> Batch:
    """Eight rows of random inputs with classes."""
    rng = np.random.default_rng(0)
    return Batch(rng.normal(size=(8, 4)).astype(dtype), np.arange(8) % 3, weights)


def state(seed: int = 0) -> TrainState:
    """A fresh start."""
    return init_train_state(MODEL, SGD, Key(seed), (4,))


def bits(tree: object) -> list[bytes]:
    """The bytes of every leaf."""
    return [np.asarray(leaf).tobytes() for leaf in tree_leaves(tree)]


def test_step_by_hand() -> None:
    """Logistic regression from zero: p = (1/2, 1/2), so W moves by rate * x^T (t - p), worked out by hand."""
    model, transform = dense(2), sgd(0.5)
    zero = DenseParams(np.zeros((2, 2)), np.zeros(2))
    start = TrainState(zero, (), transform.init(zero), 0, Key(0))
    rows = Batch(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([0, 1]))
    end, metrics = make_step(model, cross_entropy(), transform)(start, rows)
    np.testing.assert_allclose(end.params.weight, 0.125 * np.array([[-2.0, 2.0], [2.0, -2.0]]))
    np.testing.assert_allclose(end.params.bias, 0.0)
    assert mean(metrics.loss) == pytest.approx(np.log(2))
    assert metrics.metric == Mean(1.0, 2.0)
    assert end.step == 1


def test_step_is_pure() -> None:
    """The same state and batch give the same bits, and neither changes."""
    step, start, rows = make_step(MODEL, cross_entropy(), SGD), state(), batch()
    before = bits((start, rows))
    one, two = (step(start, rows) for _ in range(2))
    assert bits(one) == bits(two)
    assert bits((start, rows)) == before


def test_what_a_step_hands_out_is_read_only_and_fresh() -> None:
    """Nobody can write to the new parameters, and the old ones lie elsewhere."""
    start = state()
    end, _ = make_step(MODEL, cross_entropy(), SGD)(start, batch())
    for old, new in zip(tree_leaves(start.params), tree_leaves(end.params), strict=True):
        assert not new.flags.writeable
        assert not np.shares_memory(old, new)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_step_keeps_the_dtype(dtype: FloatDType, weighted: bool) -> None:
    """float32 parameters stay float32, float64 ones float64, over two steps."""
    start = tree_map(lambda leaf: leaf, state())
    params = tree_cast(start.params, dtype)
    now = attrs.evolve(start, params=params, optimizer_state=SGD.init(params))
    weights = np.linspace(0.5, 1, 8).astype(dtype) if weighted else None
    for _ in range(2):
        now, _ = make_step(MODEL, cross_entropy(), SGD)(now, batch(dtype, weights=weights))
    assert {leaf.dtype for leaf in tree_leaves(now.params)} == {np.dtype(dtype)}


def test_step_randomness_depends_on_key_and_step_alone() -> None:
    """The context's key is fold_in(key, step), and training is said to be on."""
    seen: list[Context] = []

    def forward(params: object, layer_state: object, x: FloatArray, ctx: Context) -> tuple[FloatArray, object, object]:
        seen.append(ctx)
        return x, layer_state, ()

    watcher = Layer("watcher", lambda key, shape: ((), (), shape), forward, lambda params, residual, dy: ((), dy))
    start = TrainState((), (), SGD.init(()), 7, Key(3))
    end, _ = make_step(watcher, cross_entropy(), SGD)(start, Batch(np.zeros((1, 2)), np.array([0])))
    assert seen == [Context(train=True, key=fold_in(Key(3), 7))]
    assert (end.step, end.key) == (8, Key(3))


def test_layer_state_travels() -> None:
    """What a layer hands back as its state is the next step's state."""
    counter = Layer(
        "counter",
        lambda key, shape: ((), 0, shape),
        lambda params, count, x, ctx: (x, count + 1, ()),
        lambda params, residual, dy: ((), dy),
    )
    now, step = init_train_state(counter, SGD, Key(0), (2,)), make_step(counter, cross_entropy(), SGD)
    for _ in range(3):
        now, _ = step(now, Batch(np.zeros((1, 2)), np.array([0])))
    assert now.layer_state == 3


def test_weights_weigh_loss_and_metric() -> None:
    """A row of weight 0 is not seen: not by the update, the loss or the metric."""
    step, rows = make_step(MODEL, cross_entropy(), SGD), batch()
    without = Batch(rows.inputs[:5], rows.targets[:5])
    masked = attrs.evolve(rows, weights=np.array([1, 1, 1, 1, 1, 0, 0, 0], np.float32))
    (one, seen), (two, all_seen) = step(state(), without), step(state(), masked)
    assert tree_allclose(one.params, two.params, rtol=1e-5, atol=1e-7)
    assert tree_allclose(seen, all_seen, rtol=1e-6)


def test_batch_that_weighs_nothing_teaches_nothing() -> None:
    """With all weights 0 the gradient is 0 and nothing is counted."""
    weightless = batch(weights=np.zeros(8, np.float32))
    start = state()
    end, metrics = make_step(MODEL, cross_entropy(), sgd(0.1))(attrs.evolve(start, optimizer_state=((),)), weightless)
    assert bits(end.params) == bits(start.params)
    assert (metrics.loss, metrics.metric) == (Mean(0.0, 0.0), Mean(0.0, 0.0))


def test_parts_can_be_replaced() -> None:
    """Another metric and another way to get gradients snap in."""

    def doubled(model: Layer, loss: Loss) -> GradientFn:
        plain = value_and_grad(model, loss)

        def gradient(*arguments: object) -> tuple[object, object]:
            value, grads = plain(*arguments)
            return value, tree_map(lambda g: 2 * g, grads)

        return gradient

    plain, _ = make_step(MODEL, cross_entropy(), sgd(0.2))(attrs.evolve(state(), optimizer_state=((),)), batch())
    twice, metrics = make_step(MODEL, cross_entropy(), sgd(0.1), metric=top_k(3), gradient=doubled)(
        attrs.evolve(state(), optimizer_state=((),)), batch()
    )
    assert tree_allclose(plain.params, twice.params, rtol=1e-5, atol=1e-7)
    assert mean(metrics.metric) == 1.0


def test_transform_sees_params_and_step() -> None:
    """A transform gets the parameters before the update and the count of steps before this one."""
    seen: list[int] = []

    def update(grads: object, kept: object, params: object, step: int) -> tuple[object, object]:
        seen.append(step)
        return tree_map(lambda p: -p, params), kept

    zeroing = GradientTransform(lambda params: (), update)
    now = init_train_state(MODEL, zeroing, Key(0), (4,))
    now, _ = make_step(MODEL, cross_entropy(), zeroing)(now, batch())
    assert seen == [0]
    assert not any(leaf.any() for leaf in tree_leaves(now.params))


def test_start_depends_on_the_seed_alone() -> None:
    """Equal keys start alike, others do not, and training randomness is not the start's."""
    assert bits(state(0)) == bits(state(0)) != bits(state(1))
    assert state(0).key != Key(0)


def test_batch_that_does_not_fit_names_the_layer() -> None:
    """The message says where, what was expected and what was found."""
    with pytest.raises(ShapeError, match=r"layers\[0\].*expected.*\(B, 4\), found \(8, 6\)"):
        make_step(MODEL, cross_entropy(), SGD)(state(), Batch(np.zeros((8, 6), np.float32), np.arange(8) % 3))


def test_default_metric_on_numbers_says_to_choose_another() -> None:
    """Accuracy of a regression would be nonsense; the error says what to do."""
    model = dense(1)
    vector = Batch(np.zeros((4, 2), np.float32), np.zeros((4, 1, 1), np.float32))
    from_nothing = Loss(
        "none",
        lambda outputs, targets: (outputs[:, 0], ()),
        lambda residual, dlosses: dlosses[:, None],
        lambda residual, outputs_dot: outputs_dot[:, 0],
        lambda residual, outputs_dot, dlosses, dlosses_dot: dlosses_dot[:, None],
    )
    with pytest.raises(ShapeError, match="pass another metric"):
        make_step(model, from_nothing, SGD)(init_train_state(model, SGD, Key(0), (2,)), vector)
