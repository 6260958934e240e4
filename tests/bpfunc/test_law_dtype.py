"""The law of dtypes: float32 in gives float32 out, float64 float64; parameters and state keep theirs.

Members are found by looking: every layer, loss and transform that the library makes (`members`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import bpfunc as bp
from bpfunc import layers
from bpfunc.gradient.data_parallel import Alone
from bpfunc.layers import inputs_for
from bpfunc.training.step import TrainState
from bpfunc.transforms.update import apply_updates, updated
from bpfunc.tree import float_dtype, tree_cast, tree_leaves, tree_leaves_with_path, tree_map
from tests.bpfunc.members import makers

LAYERS, LOSSES, TRANSFORMS, GRADIENTS = map(makers, ("Layer", "Loss", "GradientTransform", "GradientMaker"))
DTYPES = [np.float32, np.float64]
OTHERS = [np.float16, np.float32, np.float64, np.longdouble, np.int64, np.uint8, np.bool_]
ROWS, WIDTH = 6, 4


def dtypes(tree: Any) -> list[tuple[str, np.dtype[Any]]]:
    """Path and dtype of every leaf."""
    return [(path, np.asarray(leaf).dtype) for path, leaf in tree_leaves_with_path(tree)]


def network(layer: bp.Layer, key: bp.Key) -> tuple[bp.Layer, Any, Any]:
    """A network with the layer in its middle, or at its start where it takes categories."""
    model = (
        bp.serial(layer, layers.flatten(), bp.dense(3))
        if layer.looks_up
        else bp.serial(bp.dense(WIDTH), layer, layers.flatten(), bp.dense(3))
    )
    params, state, _ = model.init(key, (WIDTH,))
    return model, params, state


def batch(dtype: Any, *, categories: bool = False) -> bp.Batch:
    """Inputs of a dtype, and what goes with them in float64."""
    inputs = np.arange(ROWS * WIDTH).reshape(ROWS, WIDTH) % 2
    if not categories:
        inputs = inputs.astype(dtype)
    return bp.Batch(inputs, np.eye(3)[np.arange(ROWS) % 3], np.linspace(0.5, 1.5, ROWS))


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, dtype: Any, other: Any) -> None:
    """Loss, outputs, gradients and layer state have the parameters' dtype, whatever that of the batch is."""
    model, params, state = network(LAYERS[name](), bp.Key(0))
    params, state = tree_cast(params, dtype), tree_cast(state, dtype)
    data = batch(other, categories=model.looks_up is True)
    ctx = bp.Context(train=True, key=bp.Key(1))
    value, grads = bp.value_and_grad(model, bp.cross_entropy())(params, state, data, ctx)
    assert (value.loss.dtype, value.losses.dtype, value.outputs.dtype) == (dtype, dtype, dtype)
    assert dtypes(grads) == dtypes(params)
    assert dtypes(value.state) == dtypes(state)
    assert bp.predict(model, params, state, data.inputs).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_other_modes(name: str, dtype: Any) -> None:
    """Forward mode, products with the Hessian and gradients of single examples keep the parameters' dtype too."""
    model, params, state = network(LAYERS[name](), bp.Key(0))
    params, state = tree_cast(params, dtype), tree_cast(state, dtype)
    data = batch(np.float64 if dtype == np.float32 else np.float32, categories=model.looks_up is True)
    arguments = (params, state, data, bp.INFERENCE)
    loss = bp.cross_entropy()
    assert bp.input_gradient(model, loss, *arguments)[1].dtype == dtype
    try:
        slopes = bp.jvp(model, loss, params, state, data, bp.INFERENCE, params)
        products = bp.hvp(model, loss, params, state, data, bp.INFERENCE, params)
        losses, grads = bp.example_grads(model, loss, *arguments)
        _, norms = bp.example_grad_norms(model, loss, *arguments)
    except NotImplementedError:
        assert name == "mirror_averaged"
        return
    assert {part.dtype for part in (*slopes, losses, norms, *map(np.asarray, tree_leaves((products, grads))))} == {
        np.dtype(dtype)
    }


@pytest.mark.parametrize("target", [np.int8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, dtype: Any, target: Any) -> None:
    """A loss and its derivatives have the outputs' dtype, whatever that of the targets is."""
    loss = LOSSES[name]()
    outputs = np.linspace(-1, 1, 4).reshape(-1, 1 if name.startswith("binary") else 2).astype(dtype)
    losses, residual = loss.forward(outputs, (outputs > 0).astype(target))
    one, dot = np.ones(len(outputs), dtype), np.ones_like(outputs)
    derivatives = loss.vjp(residual, one), loss.jvp(residual, dot), loss.vjp_jvp(residual, dot, one, one)
    assert {part.dtype for part in (losses, *derivatives)} == {np.dtype(dtype)}


@pytest.mark.parametrize("other", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str, dtype: Any, other: Any) -> None:
    """Parameters and state keep their dtype through three updates with gradients of any."""
    transform = TRANSFORMS[name]()
    params: Any = {"weight": np.ones((3, 2), dtype), "bias": np.full(2, 0.5, dtype)}
    state, start = transform.init(params), params
    before = dtypes(state)
    grads = {"weight": np.full((3, 2), 0.25, other), "bias": np.full(2, 2.0, other)}
    for step in range(3):
        params, state = updated(transform, grads, state, params, step)
    assert dtypes(params) == dtypes(start)
    assert dtypes(state) == before
    updates, state = transform.update(grads, state, params, 3)
    assert dtypes(state) == before
    assert dtypes(apply_updates(params, updates)) == dtypes(start)
    if other is dtype:
        assert dtypes(updates) == dtypes(start)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_small_gradients_are_brought_up_first(name: str) -> None:
    """A float16 gradient whose square float16 cannot hold gives what the same numbers give in float32."""
    transform, params = TRANSFORMS[name](), (np.ones(3, np.float32),)
    small = np.array([1e-4, 3e-3, 500.0], np.float16)
    found = [updated(transform, (g,), transform.init(params), params, 0)[0] for g in (small, small.astype(np.float32))]
    np.testing.assert_array_equal(*[leaf for (leaf,) in found])


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", GRADIENTS)
def test_steps(name: str, other: Any) -> None:
    """Nothing in a training state changes its dtype, with any way to take gradients."""
    given = {"comm": Alone(), "parts": 2}
    model = bp.serial(bp.dense(4), bp.batch_norm(), bp.dropout(0.5), bp.dense(3))
    transform = bp.chain(bp.clip_by_global_norm(1.0), bp.adam(0.1), bp.ema_of_params(0.5))
    step = bp.make_step(model, bp.cross_entropy(), transform, gradient=GRADIENTS[name](**given))
    start = state = bp.init_train_state(model, transform, bp.Key(0), (WIDTH,))
    for _ in range(2):
        state, _ = step(state, batch(other))
    whole: tuple[TrainState, ...] = (start, state)
    before, after = (dtypes((s.params, s.layer_state, s.optimizer_state)) for s in whole)
    assert before == after
    assert {dtype for _, dtype in after} == {np.dtype(np.float32)}


@given(st.sampled_from([np.float16, np.float32, np.float64]), st.sampled_from(OTHERS), st.booleans())
def test_inputs(dtype: Any, other: Any, bare: bool) -> None:
    """Numbers take the parameters' dtype; categories, and inputs of a custom layer, stay as they are."""
    inputs = np.ones((2, WIDTH), other)
    dense = bp.dense(2) if bare else bp.serial(layers.flatten(), bp.dense(2))
    params = tree_cast(dense.init(bp.Key(0), (WIDTH,))[0], dtype)
    assert inputs_for(dense, params, inputs).dtype == dtype
    assert float_dtype(params) == dtype
    table = bp.serial(layers.flatten(), bp.embedding(5, 2), layers.flatten())
    whole = inputs.dtype.kind in "iu"
    assert inputs_for(table, params, inputs).dtype == (other if inputs.dtype.kind != "f" else dtype)
    branches = bp.parallel(table, dense)
    if whole:
        branch_params, state, _ = branches.init(bp.Key(0), (WIDTH,))
        branch_params = tree_cast(branch_params, dtype)
        assert bp.predict(branches, branch_params, state, inputs).dtype == dtype
    own = bp.Layer("own", dense.init, dense.forward, dense.backward)
    assert inputs_for(own, params, inputs).dtype == (other if inputs.dtype.kind != "f" else dtype)


def test_planted_violation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transform that averages in float64 is caught."""
    planted = bp.GradientTransform(
        lambda params: tree_map(np.zeros_like, params),
        lambda grads, state, params, step: (grads, tree_map(lambda s, g: np.float64(0.5) * s + g, state, grads)),
    )
    monkeypatch.setitem(TRANSFORMS, "planted", lambda: planted)
    with pytest.raises(AssertionError):
        test_transforms("planted", np.float32, np.float32)
