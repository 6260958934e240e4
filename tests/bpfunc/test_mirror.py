"""Averaging over the mirror image: only at inference, symmetric, and with a right gradient."""

from __future__ import annotations

import numpy as np
import pytest

from bpfunc import INFERENCE, Batch, Context, Key, cross_entropy, dense, gradcheck, mirror_averaged, serial, tanh
from bpfunc.keys import normal
from bpfunc.layers import Layer
from bpfunc.ops import softmax
from bpfunc.tree import Tree, tree_allclose, tree_cast

X = normal(Key(1), (5, 6), dtype=np.float64)
MIRRORED = X.reshape(5, 2, 3)[:, :, ::-1].reshape(5, 6)


def net() -> tuple[Layer, Layer, Tree, Tree]:
    """The inner network, the averaged one, parameters and state in float64."""
    inner = serial(dense(4), tanh(), dense(3))
    model = mirror_averaged(inner, image_shape=(2, 3))
    params, state, out_shape = model.init(Key(0), (6,))
    assert out_shape == (3,)
    return inner, model, tree_cast(params, np.float64), state


def test_inference_averages_probabilities() -> None:
    """The output is the logarithm of the mean of both images' probabilities, the same for either image."""
    inner, model, params, state = net()
    log_p, _, _ = model.forward(params, state, X, INFERENCE)
    both = [softmax(inner.forward(params, state, x, INFERENCE)[0])[0] for x in (X, MIRRORED)]
    np.testing.assert_allclose(np.exp(log_p), (both[0] + both[1]) / 2, rtol=1e-12)
    np.testing.assert_allclose(model.forward(params, state, MIRRORED, INFERENCE)[0], log_p, rtol=1e-12)


def test_training_is_the_inner_network() -> None:
    """In training outputs and gradients are the inner network's own."""
    inner, model, params, state = net()
    ctx, dy = Context(train=True), np.ones((5, 3))
    y, _, residual = model.forward(params, state, X, ctx)
    inner_y, _, inner_residual = inner.forward(params, state, X, ctx)
    np.testing.assert_array_equal(y, inner_y)
    assert tree_allclose(model.backward(params, residual, dy), inner.backward(params, inner_residual, dy), rtol=0)
    assert tree_allclose(
        model.backward_params(params, residual, dy), inner.backward_params(params, inner_residual, dy), rtol=0
    )


@pytest.mark.parametrize("ctx", [INFERENCE, Context(train=True)], ids=["inference", "training"])
def test_gradient_is_right(ctx: Context) -> None:
    """The full sweep over every parameter passes, through the average too."""
    _, model, params, state = net()
    batch = Batch(X, np.arange(5) % 3)
    assert gradcheck(model, cross_entropy(), params, state, batch, ctx, kind="sweep").passed


def test_gradient_of_the_input_at_inference() -> None:
    """The cotangent of the image is the sum of both passes', by central differences."""
    _, model, params, state = net()
    dy, direction, h = normal(Key(2), (5, 3), dtype=np.float64), np.cos(X), 1e-6
    _, _, residual = model.forward(params, state, X, INFERENCE)
    up, down = (model.forward(params, state, X + s * h * direction, INFERENCE)[0] for s in (1, -1))
    _, dx = model.backward(params, residual, dy)
    assert np.vdot(dx, direction) == pytest.approx(np.vdot(dy, up - down) / (2 * h), rel=1e-7)


def test_impossible_classes_stay_finite() -> None:
    """A probability of 0 in both passes gives a finite log-probability."""
    model = mirror_averaged(dense(2, use_bias=False), image_shape=(1, 1))
    params = tree_cast(model.init(Key(0), (1,))[0], np.float64)
    log_p, _, _ = model.forward(params, (), np.array([[1e6], [-1e6]]), INFERENCE)
    assert np.isfinite(log_p).all()
