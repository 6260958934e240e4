"""Gradients of a whole network against JAX in float64: reverse, forward, both, and example by example."""

from __future__ import annotations

import numpy as np
import pytest

from bpfunc import (
    INFERENCE,
    Batch,
    Key,
    cross_entropy,
    dense,
    example_grad_norms,
    example_grads,
    hvp,
    jvp,
    relu,
    serial,
    value_and_grad,
)
from bpfunc.gradient.microbatches import accumulated
from bpfunc.gradient.modes import input_gradient
from bpfunc.keys import normal, uniform
from bpfunc.layers import tanh
from bpfunc.tree import Tree, tree_cast, tree_leaves, tree_map

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

MODEL, LOSS = serial(dense(7), tanh(), dense(5), relu(), dense(3)), cross_entropy()
X = normal(Key(1), (6, 4), dtype=np.float64)
T = np.eye(3)[np.arange(6) % 3]
WEIGHTS = uniform(Key(2), (6,), low=0.5, high=2.0, dtype=np.float64)


def params() -> Tree:
    """Parameters in float64, biases included."""
    drawn = tree_cast(MODEL.init(Key(0), (4,))[0], np.float64)
    return tree_map(lambda leaf: leaf + 0.1 * normal(Key(9), leaf.shape, dtype=np.float64), drawn)


def theirs(leaves: list[object], x: object, t: object) -> object:
    """Losses of the examples, in JAX."""
    w1, b1, w2, b2, w3, b3 = leaves
    z = jax.nn.relu(jnp.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3
    return -(t * jax.nn.log_softmax(z)).sum(-1)


def mean(leaves: list[object]) -> object:
    """The weighted mean loss, in JAX."""
    return (theirs(leaves, X, T) * WEIGHTS).sum() / WEIGHTS.sum()


BATCH = Batch(X, T, WEIGHTS)
STATE = ((),) * 5


def agree(mine: object, expected: object) -> None:
    """Agreement to 1e-10 of the array's size."""
    other = np.asarray(expected)
    np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-10 * np.abs(other).max(initial=0) + 1e-15)


def test_value_and_gradient() -> None:
    """The weighted mean loss and its gradient."""
    value, grads = value_and_grad(MODEL, LOSS)(params(), STATE, BATCH, INFERENCE)
    loss, expected = jax.value_and_grad(mean)([jnp.asarray(leaf) for leaf in tree_leaves(params())])
    agree(value.loss, loss)
    for leaf, other in zip(tree_leaves(grads), expected, strict=True):
        agree(leaf, other)


def test_forward_mode_and_hessian_vector_product() -> None:
    """The directional derivative, and the Hessian times the direction."""
    direction = tree_map(lambda leaf: normal(Key(5), leaf.shape, dtype=np.float64), params())
    primals, tangents = ([jnp.asarray(leaf) for leaf in tree_leaves(tree)] for tree in (params(), direction))
    loss, slope = jax.jvp(mean, (primals,), (tangents,))
    mine = jvp(MODEL, LOSS, params(), STATE, BATCH, INFERENCE, direction)
    agree(mine[0], loss)
    agree(mine[1], slope)
    _, product = hvp(MODEL, LOSS, params(), STATE, BATCH, INFERENCE, direction)
    _, expected = jax.jvp(jax.grad(mean), (primals,), (tangents,))
    for leaf, other in zip(tree_leaves(product), expected, strict=True):
        agree(leaf, other)


def test_gradients_of_single_examples() -> None:
    """Each example's gradient, and its norm without forming it."""
    primals = [jnp.asarray(leaf) for leaf in tree_leaves(params())]
    per = jax.vmap(jax.grad(lambda leaves, x, t: theirs(leaves, x[None], t[None])[0]), (None, 0, 0))(primals, X, T)
    losses, grads = example_grads(MODEL, LOSS, params(), STATE, BATCH, INFERENCE)
    agree(losses, theirs(primals, X, T))
    for leaf, other in zip(tree_leaves(grads), per, strict=True):
        agree(leaf, other)
    _, norms = example_grad_norms(MODEL, LOSS, params(), STATE, BATCH, INFERENCE)
    agree(norms, jnp.sqrt(sum((leaf.reshape(6, -1) ** 2).sum(1) for leaf in per)))


def test_gradient_of_the_input() -> None:
    """What each input does to the mean loss."""
    primals = [jnp.asarray(leaf) for leaf in tree_leaves(params())]
    expected = jax.grad(lambda x: (theirs(primals, x, T) * WEIGHTS).sum() / WEIGHTS.sum())(jnp.asarray(X))
    agree(input_gradient(MODEL, LOSS, params(), STATE, BATCH, INFERENCE)[1], expected)


@pytest.mark.parametrize("parts", [1, 2, 4, 6, 9])
def test_parts_equal_the_whole(parts: int) -> None:
    """A batch in parts, of unequal size and weight too, has the whole batch's loss and gradient."""
    whole_value, whole = value_and_grad(MODEL, LOSS)(params(), STATE, BATCH, INFERENCE)
    value, grads = accumulated(parts)(MODEL, LOSS)(params(), STATE, BATCH, INFERENCE)
    agree(value.loss, whole_value.loss)
    agree(value.losses, whole_value.losses)
    agree(value.outputs, whole_value.outputs)
    for leaf, other in zip(tree_leaves(grads), tree_leaves(whole), strict=True):
        agree(leaf, other)
