"""Gradients of networks of images in parts, in shares and example by example are those of the whole batch."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bpfunc import layers
from bpfunc.batches.batch import Batch, take
from bpfunc.gradient.data_parallel import Communicator, data_parallel
from bpfunc.gradient.microbatches import accumulated
from bpfunc.gradient.modes import Value, value_and_grad
from bpfunc.gradient.per_example import example_grad_norms, example_grads
from bpfunc.keys import Key, normal
from bpfunc.layers import INFERENCE, Context, Layer, conv2d, dense
from bpfunc.layers.combinators import serial
from bpfunc.losses import cross_entropy
from bpfunc.tree import Tree, tree_add, tree_allclose, tree_cast, tree_map, tree_norm, tree_scale
from tests.bpfunc.interop.random_images import image_networks
from tests.bpfunc.interop.stacks import lively
from tests.bpfunc.test_parallel_step import everywhere

SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
Drawn = tuple[Layer, tuple[int, ...]]


def begun(drawn: Drawn, rows: int) -> tuple[Layer, Tree, Tree, Batch]:
    """A network in float64, and a weighted batch for it."""
    network, in_shape = drawn
    params, state = tree_cast(lively(network, in_shape), np.float64)
    inputs = normal(Key(1), (rows, *in_shape), dtype=np.float64)
    weights = np.linspace(0.5, 2, rows)
    return network, params, state, Batch(inputs, np.arange(rows) % 3, weights)


@SOME
@given(image_networks(), st.integers(1, 5), st.integers(1, 6))
def test_parts_equal_the_whole(drawn: Drawn, rows: int, parts: int) -> None:
    """Any network, statistics fixed: parts of unequal size and weight."""
    model, params, state, batch = begun(drawn, rows)
    whole, grads = value_and_grad(model, cross_entropy())(params, state, batch, INFERENCE)
    found, summed = accumulated(parts)(model, cross_entropy())(params, state, batch, INFERENCE)
    assert tree_allclose(summed, grads, rtol=1e-9, atol=1e-11)
    assert found.loss == pytest.approx(whole.loss, rel=1e-11)
    np.testing.assert_allclose(found.outputs, whole.outputs, rtol=1e-9, atol=1e-11)


@SOME
@given(image_networks(), st.integers(1, 4))
def test_single_examples_equal_a_loop(drawn: Drawn, rows: int) -> None:
    """Gradients and norms of single examples are those of batches of one."""
    model, params, state, batch = begun(drawn, rows)
    _, grads = example_grads(model, cross_entropy(), params, state, batch, INFERENCE)
    _, norms = example_grad_norms(model, cross_entropy(), params, state, batch, INFERENCE)
    for row in range(rows):
        one = attrs.evolve(take(batch, np.array([row])), weights=None)
        _, single = value_and_grad(model, cross_entropy())(params, state, one, INFERENCE)
        assert tree_allclose(tree_map(lambda leaf, row=row: leaf[row], grads), single, rtol=1e-9, atol=1e-11)
        assert norms[row] == pytest.approx(tree_norm(single), rel=1e-9)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(image_networks(), st.sampled_from([2, 3]))
def test_shares_equal_one_process(drawn: Drawn, size: int) -> None:
    """Data-parallel, also where shares are unequal."""
    model, params, state, batch = begun(drawn, 5)
    whole, grads = value_and_grad(model, cross_entropy())(params, state, batch, INFERENCE)

    def work(comm: Communicator) -> tuple[Value, Tree]:
        return data_parallel(comm)(model, cross_entropy())(params, state, batch, INFERENCE)

    for value, found in everywhere(size, work):
        assert tree_allclose(found, grads, rtol=1e-9, atol=1e-11)
        assert value.loss == pytest.approx(whole.loss, rel=1e-11)


NORMALISED = serial(conv2d(4, 3), layers.batch_norm(momentum=0.5), layers.relu(), layers.global_avg_pool(), dense(3))


def test_statistics_of_channels_follow_part_by_part() -> None:
    """In training, each part is normalised by its own pixels, and hands its running statistics on."""
    model, params, state, batch = begun((NORMALISED, (6, 5, 2)), 7)
    batch, ctx = attrs.evolve(batch, weights=None), Context(train=True)
    found, grads = accumulated(2)(model, cross_entropy())(params, state, batch, ctx)
    total, losses = None, []
    for rows in (np.arange(4), np.arange(4, 7)):
        value, part = value_and_grad(model, cross_entropy())(params, state, take(batch, rows), ctx)
        state = value.state
        losses.append(value.losses)
        part = tree_scale(len(rows) / 7, part)
        total = part if total is None else tree_add(total, part)
    assert tree_allclose(grads, total, rtol=1e-12, atol=1e-14)
    assert tree_allclose(found.state, state, rtol=1e-12)
    np.testing.assert_allclose(found.losses, np.concatenate(losses), rtol=1e-12)


def test_a_part_of_one_image_has_statistics_and_one_pixel_has_none() -> None:
    """The pixels of one image are enough for a variance; one pixel is not, and the message counts."""
    model, params, state, batch = begun((NORMALISED, (6, 5, 2)), 2)
    found, _ = accumulated(2)(model, cross_entropy())(params, state, batch, Context(train=True))
    assert np.isfinite(found.loss)
    model, params, state, batch = begun((NORMALISED, (1, 1, 2)), 2)
    with pytest.raises(ValueError, match="at least 2 rows to take a variance of, got 1"):
        accumulated(2)(model, cross_entropy())(params, state, batch, Context(train=True))


def test_single_examples_of_a_normalised_batch_are_refused_by_name() -> None:
    """They share the statistics of all pixels: no silent answer, in training; at inference there is one."""
    model, params, state, batch = begun((NORMALISED, (6, 5, 2)), 3)
    with pytest.raises(NotImplementedError, match="batch_norm in training has no gradients of single examples"):
        example_grads(model, cross_entropy(), params, state, batch, Context(train=True))
    example_grads(model, cross_entropy(), params, state, batch, INFERENCE)


def test_half_precision_statistics_of_many_pixels_do_not_overflow() -> None:
    """Means are taken in float32: the sum of 100,000 pixels is beyond float16."""
    layer = layers.batch_norm(momentum=1.0)
    params, state, _ = layer.init(Key(0), (100, 100, 1))
    x = (5 + normal(Key(1), (10, 100, 100, 1))).astype(np.float16)
    y, state, _ = layer.forward(tree_cast(params, np.float16), tree_cast(state, np.float16), x, Context(train=True))
    assert np.isfinite(y).all()
    assert float(state.mean[0]) == pytest.approx(5, rel=0.01)
    assert float(state.variance[0]) == pytest.approx(1, rel=0.02)
