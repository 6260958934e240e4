"""Sharpness-aware gradients are those of the neighbour uphill."""

from __future__ import annotations

import numpy as np
import pytest

from bpfunc import INFERENCE, Batch, Key, cross_entropy, dense, sgd, value_and_grad
from bpfunc.gradient.sharpness import sharpness_aware
from bpfunc.keys import normal
from bpfunc.training.step import init_train_state, make_step
from bpfunc.tree import tree_allclose, tree_cast, tree_map, tree_norm

BATCH = Batch(normal(Key(1), (6, 4), dtype=np.float64), np.array([0, 1, 2, 0, 1, 2]))


def test_gradient_is_taken_uphill() -> None:
    """The gradient equals the plain one at p + rho g / |g|, and the value is that at p."""
    model, loss = dense(3), cross_entropy()
    params = tree_cast(model.init(Key(0), (4,))[0], np.float64)
    plain_value, plain = value_and_grad(model, loss)(params, (), BATCH, INFERENCE)
    value, sharp = sharpness_aware(0.1)(model, loss)(params, (), BATCH, INFERENCE)
    uphill = tree_map(lambda p, g: p + 0.1 * g / tree_norm(plain), params, plain)
    _, expected = value_and_grad(model, loss)(uphill, (), BATCH, INFERENCE)
    assert tree_allclose(sharp, expected, rtol=1e-12)
    assert not tree_allclose(sharp, plain, rtol=1e-4)
    assert value.loss == plain_value.loss


def test_rho_zero_is_plain() -> None:
    """Looking nowhere changes nothing, and a negative distance is refused."""
    model, loss, transform = dense(3), cross_entropy(), sgd(0.1)
    state = init_train_state(model, transform, Key(0), (4,))
    plain, _ = make_step(model, loss, transform)(state, BATCH)
    aware, _ = make_step(model, loss, transform, gradient=sharpness_aware(0.0))(state, BATCH)
    assert tree_allclose(plain.params, aware.params, rtol=0, atol=0)
    with pytest.raises(ValueError, match="a rho of at least 0"):
        sharpness_aware(-1.0)
