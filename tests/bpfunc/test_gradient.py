"""What gradients do at the edges: no rows, no weight, dropout, the first layer."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from bpfunc import INFERENCE, Batch, Context, Key, cross_entropy, dense, relu, serial, take, value_and_grad
from bpfunc.gradient.check import gradcheck
from bpfunc.gradient.microbatches import accumulated
from bpfunc.gradient.modes import hvp, input_gradient, jvp, mean_weights, value
from bpfunc.gradient.per_example import example_grad_norms, example_grads
from bpfunc.keys import normal
from bpfunc.layers import Layer, batch_norm, dropout, tanh
from bpfunc.tree import Tree, tree_allclose, tree_cast, tree_leaves, tree_map, tree_norm

BATCH = Batch(normal(Key(1), (5, 4)), np.array([0, 1, 2, 0, 1]))


def net() -> tuple[Layer, Tree, Tree]:
    """A small network, its parameters and state."""
    model = serial(dense(6), relu(), dropout(0.3), dense(3))
    params, state, _ = model.init(Key(0), (4,))
    return model, params, state


def test_input_gradient_of_the_first_layer_is_never_computed() -> None:
    """The first layer's `backward`, which computes it, is not called; its `backward_params` is."""

    def forbidden(*_: object) -> tuple[Tree, np.ndarray]:
        raise AssertionError("the input's gradient was computed")

    model, params, state = net()
    watched = serial(attrs.evolve(dense(6), backward=forbidden), relu(), dropout(0.3), dense(3))
    _, grads = value_and_grad(watched, cross_entropy())(params, state, BATCH, INFERENCE)
    _, plain = value_and_grad(model, cross_entropy())(params, state, BATCH, INFERENCE)
    assert tree_allclose(grads, plain, rtol=0, atol=0)
    with pytest.raises(AssertionError, match="input's gradient"):
        input_gradient(watched, cross_entropy(), params, state, BATCH, INFERENCE)


def test_empty_batch_and_zero_weights_teach_nothing() -> None:
    """No rows, or rows that all weigh 0, give loss 0 and gradient 0, not NaN."""
    model, params, state = net()
    empty = Batch(BATCH.inputs[:0], BATCH.targets[:0])
    weightless = Batch(BATCH.inputs, BATCH.targets, np.zeros(5, np.float32))
    for batch in (empty, weightless):
        found, grads = value_and_grad(model, cross_entropy())(params, state, batch, INFERENCE)
        assert found.loss == 0
        assert not any(leaf.any() for leaf in tree_leaves(grads))


def test_weights_are_counts() -> None:
    """A row of weight 2 counts as two rows."""
    model, params, state = net()
    doubled = Batch(
        np.concatenate([BATCH.inputs, BATCH.inputs[:2]]), np.concatenate([BATCH.targets, BATCH.targets[:2]])
    )
    weighted = Batch(BATCH.inputs, BATCH.targets, np.array([2, 2, 1, 1, 1], np.float32))
    one, one_grads = value_and_grad(model, cross_entropy())(params, state, doubled, INFERENCE)
    two, two_grads = value_and_grad(model, cross_entropy())(params, state, weighted, INFERENCE)
    assert one.loss == pytest.approx(two.loss, rel=1e-6)
    assert tree_allclose(one_grads, two_grads, rtol=1e-4, atol=1e-6)


def test_float32_stays_float32() -> None:
    """Loss, gradients and single values keep the dtype of the data."""
    model, params, state = net()
    found, grads = value_and_grad(model, cross_entropy())(params, state, BATCH, INFERENCE)
    assert found.loss.dtype == found.losses.dtype == np.float32
    assert {leaf.dtype for leaf in tree_leaves(grads)} == {np.dtype(np.float32)}


def test_a_second_call_gives_the_same() -> None:
    """Nothing is left over from a first backward pass, dropout included, as long as the key is the same."""
    model, params, state = net()
    ctx = Context(train=True, key=Key(3))
    step = value_and_grad(model, cross_entropy())
    assert tree_allclose(step(params, state, BATCH, ctx)[1], step(params, state, BATCH, ctx)[1], rtol=0, atol=0)
    other = step(params, state, BATCH, Context(train=True, key=Key(4)))[1]
    assert not tree_allclose(step(params, state, BATCH, ctx)[1], other)


@pytest.mark.parametrize("kind", ["projection", "sweep"])
def test_gradcheck_passes_on_what_is_right(kind: str) -> None:
    """The whole network, dropout and batch norm in training included, passes both checks in float64."""
    model = serial(dense(5), batch_norm(), dropout(0.4), dense(3))
    params, state, _ = model.init(Key(0), (4,))
    params, state = tree_cast(params, np.float64), tree_cast(state, np.float64)
    batch = Batch(normal(Key(1), (8, 4), dtype=np.float64), np.arange(8) % 3)
    ctx = Context(train=True, key=Key(5))
    assert gradcheck(model, cross_entropy(), params, state, batch, ctx, kind=kind).passed


def test_value_agrees_with_value_and_grad() -> None:
    """The forward pass alone finds the same loss."""
    model, params, state = net()
    alone = value(model, cross_entropy(), params, state, BATCH, INFERENCE)
    assert alone.loss == value_and_grad(model, cross_entropy())(params, state, BATCH, INFERENCE)[0].loss


def test_slope_is_linear_in_the_direction() -> None:
    """Twice the direction, twice the derivative."""
    model, params, state = net()
    one = jvp(model, cross_entropy(), params, state, BATCH, INFERENCE, params)[1]
    two = jvp(model, cross_entropy(), params, state, BATCH, INFERENCE, tree_map(lambda p: 2 * p, params))[1]
    assert two == pytest.approx(2 * one, rel=1e-6)


def test_parts_thread_the_state_through() -> None:
    """In parts, batch norm's running statistics follow part by part, and each part draws its own dropout."""
    model = serial(batch_norm(momentum=0.5), dropout(0.5), dense(3))
    params, state, _ = model.init(Key(0), (4,))
    batch = Batch(normal(Key(1), (8, 4)), np.arange(8) % 3)
    ctx = Context(train=True, key=Key(5))
    found, _ = accumulated(2)(model, cross_entropy())(params, state, batch, ctx)
    first = batch_norm(momentum=0.5).forward(params.layers[0], state[0], batch.inputs[:4], ctx)[1]
    second = batch_norm(momentum=0.5).forward(params.layers[0], first, batch.inputs[4:], ctx)[1]
    np.testing.assert_allclose(found.state[0].mean, second.mean, rtol=1e-6)
    with pytest.raises(ValueError, match="parts of at least 1"):
        accumulated(0)


def smooth() -> tuple[Layer, Tree, Tree, Batch]:
    """A network without kinks, in float64, and a weighted batch."""
    model = serial(dense(5), tanh(), dense(3))
    params, state, _ = model.init(Key(0), (4,))
    inputs, weights = normal(Key(1), (6, 4), dtype=np.float64), np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])
    return model, tree_cast(params, np.float64), state, Batch(inputs, np.arange(6) % 3, weights)


def test_forward_and_second_derivatives_by_central_differences() -> None:
    """The slope, the Hessian-vector product and the input's gradient, without any outside oracle."""
    model, params, state, batch = smooth()
    loss, step = cross_entropy(), value_and_grad(model, cross_entropy())
    direction = tree_map(np.cos, params)
    h = 1e-6
    above, below = (tree_map(lambda p, d, s=s: p + s * h * d, params, direction) for s in (1, -1))
    (up, up_grads), (down, down_grads) = (step(p, state, batch, INFERENCE) for p in (above, below))
    found, slope = jvp(model, loss, params, state, batch, INFERENCE, direction)
    plain, plain_grads = step(params, state, batch, INFERENCE)
    assert found == plain.loss
    assert slope == pytest.approx((up.loss - down.loss) / (2 * h), rel=1e-7)
    grads, product = hvp(model, loss, params, state, batch, INFERENCE, direction)
    assert tree_allclose(grads, plain_grads, rtol=1e-12)
    assert tree_allclose(product, tree_map(lambda a, b: (a - b) / (2 * h), up_grads, down_grads), rtol=1e-6, atol=1e-9)
    there, dinputs = input_gradient(model, loss, params, state, batch, INFERENCE)
    for name in ("loss", "losses", "outputs"):
        np.testing.assert_array_equal(getattr(there, name), getattr(plain, name))
    assert there.state == plain.state
    moved = np.sin(batch.inputs)
    up, down = (
        step(params, state, attrs.evolve(batch, inputs=batch.inputs + s * h * moved), INFERENCE)[0].loss
        for s in (1, -1)
    )
    assert np.vdot(dinputs, moved) == pytest.approx((up - down) / (2 * h), rel=1e-7)


def test_single_examples_equal_a_loop() -> None:
    """Losses, gradients and norms of single examples are those of batches of one."""
    model, params, state, batch = smooth()
    losses, grads = example_grads(model, cross_entropy(), params, state, batch, INFERENCE)
    same, norms = example_grad_norms(model, cross_entropy(), params, state, batch, INFERENCE)
    np.testing.assert_array_equal(losses, same)
    for row in range(6):
        one = attrs.evolve(take(batch, np.array([row])), weights=None)
        found, single = value_and_grad(model, cross_entropy())(params, state, one, INFERENCE)
        assert losses[row] == pytest.approx(found.loss, rel=1e-12)
        assert tree_allclose(tree_map(lambda leaf, row=row: leaf[row], grads), single, rtol=1e-10, atol=1e-13)
        assert norms[row] == pytest.approx(tree_norm(single), rel=1e-10)


@pytest.mark.parametrize("parts", [1, 2, 4, 6, 9])
@pytest.mark.parametrize("weighted", [True, False])
def test_parts_equal_the_whole(parts: int, weighted: bool) -> None:
    """Parts of unequal size and weight give the whole batch's value and gradient."""
    model, params, state, batch = smooth()
    batch = batch if weighted else attrs.evolve(batch, weights=None)
    whole, whole_grads = value_and_grad(model, cross_entropy())(params, state, batch, INFERENCE)
    found, grads = accumulated(parts)(model, cross_entropy())(params, state, batch, INFERENCE)
    assert tree_allclose(grads, whole_grads, rtol=1e-10, atol=1e-14)
    assert found.loss == pytest.approx(whole.loss, rel=1e-12)
    assert found.loss.dtype == np.float64
    np.testing.assert_allclose(found.losses, whole.losses, rtol=1e-12)
    np.testing.assert_allclose(found.outputs, whole.outputs, rtol=1e-12)


def test_parts_of_nothing_are_nothing() -> None:
    """An empty batch, and one that weighs nothing, in parts: loss 0, gradient 0."""
    model, params, state, batch = smooth()
    for nothing in (take(batch, np.arange(0)), attrs.evolve(batch, weights=np.zeros(6))):
        found, grads = accumulated(3)(model, cross_entropy())(params, state, nothing, INFERENCE)
        assert found.loss == 0
        assert not any(leaf.any() for leaf in tree_leaves(grads))


def test_parts_draw_their_own_randomness() -> None:
    """With a key each part has another mask; the same parts give the same bits twice."""
    model = dropout(0.5)
    batch = Batch(np.ones((8, 3), np.float32), np.zeros(8, int))
    ctx = Context(train=True, key=Key(1))
    found, _ = accumulated(2)(model, cross_entropy())((), (), batch, ctx)
    again, _ = accumulated(2)(model, cross_entropy())((), (), batch, ctx)
    np.testing.assert_array_equal(found.outputs, again.outputs)
    assert not np.array_equal(found.outputs[:4], found.outputs[4:])
    assert set(np.unique(found.outputs)) == {0.0, 2.0}


def test_mean_weights() -> None:
    """One over B, or each weight's share; zeros where there is nothing; the dtype of the losses."""
    np.testing.assert_array_equal(mean_weights(np.zeros(4, np.float32), None), np.full(4, 0.25, np.float32))
    shares = mean_weights(np.zeros(2, np.float32), np.array([1.0, 3.0]))
    assert shares.dtype == np.float32
    np.testing.assert_array_equal(shares, [0.25, 0.75])
    assert mean_weights(np.zeros(0), None).shape == (0,)
    np.testing.assert_array_equal(mean_weights(np.zeros(2), np.zeros(2)), [0, 0])


def test_value_carries_everything() -> None:
    """The forward pass alone brings losses, outputs and the new state, weighted as asked."""
    model = serial(batch_norm(), dense(3))
    params, state, _ = model.init(Key(0), (4,))
    batch = Batch(normal(Key(1), (5, 4)), np.arange(5) % 3, np.array([1, 0, 0, 0, 3], np.float32))
    ctx = Context(train=True)
    found = value(model, cross_entropy(), params, state, batch, ctx)
    outputs, new_state, _ = model.forward(params, state, batch.inputs, ctx)
    np.testing.assert_array_equal(found.outputs, outputs)
    np.testing.assert_array_equal(found.state[0].mean, new_state[0].mean)
    assert found.loss == pytest.approx((found.losses[0] + 3 * found.losses[4]) / 4, rel=1e-6)


def test_a_row_without_weight_may_have_an_infinite_loss() -> None:
    """It adds nothing to the mean or the gradient; NaN stays NaN."""
    bias = np.array([0.0, 1.0, -np.inf])
    model = dense(3)
    params = attrs.evolve(model.init(Key(0), (2,))[0], weight=np.zeros((2, 3)), bias=bias)
    batch = Batch(np.ones((2, 2)), np.array([0, 2]), np.array([1.0, 0.0]))
    found, grads = value_and_grad(model, cross_entropy())(params, (), batch, INFERENCE)
    assert found.losses[1] == np.inf
    assert found.loss == pytest.approx(1.3132616875182228)
    np.testing.assert_allclose(grads.bias, [-0.7310585786300049, 0.7310585786300049, 0.0])
    broken = attrs.evolve(batch, inputs=np.array([[1.0, 1.0], [np.nan, 1.0]]))
    assert np.isnan(value_and_grad(model, cross_entropy())(params, (), broken, INFERENCE)[0].loss)
