"""What gradients do at the edges: no rows, no weight, dropout, the first layer."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from bpfunc import INFERENCE, Batch, Context, Key, cross_entropy, dense, relu, serial, value_and_grad
from bpfunc.gradcheck import gradcheck
from bpfunc.gradient import accumulated, input_gradient, jvp, value
from bpfunc.keys import normal
from bpfunc.layers import Layer, batch_norm, dropout
from bpfunc.tree import Tree, tree_allclose, tree_cast, tree_leaves, tree_map

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
    one = jvp(model, cross_entropy(), params, params, state, BATCH, INFERENCE)[1]
    two = jvp(model, cross_entropy(), params, tree_map(lambda p: 2 * p, params), state, BATCH, INFERENCE)[1]
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
    with pytest.raises(ValueError, match="at least 1 part"):
        accumulated(0)
