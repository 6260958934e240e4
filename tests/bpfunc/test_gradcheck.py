"""The checker is checked: it passes what is right, finds what is wrong, and names where."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from bpfunc import INFERENCE, Batch, Key, cross_entropy, dense, serial
from bpfunc.gradient.check import GradCheck, check_projection, check_sweep, gradcheck
from bpfunc.keys import normal
from bpfunc.layers import DenseParams, tanh
from bpfunc.tree import Tree, replace_leaf, tree_cast

X = {"a": np.array([[1.0, -2.0], [0.5, 3.0]]), "b": (np.array([2.0]), None)}


def cubes(x: Tree) -> float:
    """Sum of cubes, a third of each."""
    return float((x["a"] ** 3).sum() + (x["b"][0] ** 3).sum()) / 3


def slopes(x: Tree) -> Tree:
    """Its gradient."""
    return {"a": x["a"] ** 2, "b": (x["b"][0] ** 2, None)}


def test_right_gradients_pass() -> None:
    """Both checks pass the true gradient, over many directions."""
    assert check_sweep(cubes, slopes(X), X).passed
    for seed in range(20):
        found = check_projection(lambda x: np.array(cubes(x)), lambda dy: _times(slopes(X), dy), X, Key(seed))
        assert found.passed, found


def _times(tree: Tree, factor: np.ndarray) -> Tree:
    return {"a": tree["a"] * factor, "b": (tree["b"][0] * factor, None)}


def test_scaled_gradient_fails_the_projection() -> None:
    """A gradient scaled by 1.001 fails along every direction tried."""
    for seed in range(20):
        wrong = check_projection(lambda x: np.array(cubes(x)), lambda dy: _times(slopes(X), 1.001 * dy), X, Key(seed))
        assert not wrong.passed


@pytest.mark.parametrize(("path", "index"), [("['a']", (1, 0)), ("['b'][0]", (0,))])
def test_one_wrong_entry_is_named_by_the_sweep(path: str, index: tuple[int, ...]) -> None:
    """One entry off by 1e-4 fails the sweep, which says which."""
    leaf = {"['a']": slopes(X)["a"], "['b'][0]": slopes(X)["b"][0]}[path].copy()
    leaf[index] += 1e-4
    found = check_sweep(cubes, replace_leaf(slopes(X), path, leaf), X)
    assert (found.passed, found.path, found.index) == (False, path, index)
    assert str(found).startswith(f"sweep check FAILED at {path}{list(index)}: expected ")


def test_nan_never_passes() -> None:
    """A gradient with a NaN fails, and is named."""
    bad = slopes(X)["a"].copy()
    bad[0, 1] = np.nan
    found = check_sweep(cubes, replace_leaf(slopes(X), "['a']", bad), X)
    assert (found.passed, found.index) == (False, (0, 1))


@pytest.mark.parametrize("kind", ["projection", "sweep"])
@pytest.mark.parametrize("plant", ["scaled", "one entry"])
def test_planted_wrong_layer_is_found(kind: str, plant: str) -> None:
    """A dense layer whose weight gradient is scaled, or wrong in one entry, fails where that check can see it."""

    def wrong(params: DenseParams, residual: np.ndarray, dy: np.ndarray) -> DenseParams:
        grads = dense(3).backward_params(params, residual, dy)
        weight = grads.weight * 1.001 if plant == "scaled" else grads.weight.copy()
        if plant == "one entry":
            weight[1, 2] += 1e-3
        return DenseParams(weight, grads.bias)

    model = serial(attrs.evolve(dense(3), backward_params=wrong), tanh(), dense(3))
    params = tree_cast(model.init(Key(0), (4,))[0], np.float64)
    batch = Batch(normal(Key(1), (6, 4), dtype=np.float64), np.arange(6) % 3)
    found = gradcheck(model, cross_entropy(), params, ((),) * 3, batch, INFERENCE, kind=kind)
    assert not found.passed
    if kind == "sweep" and plant == "one entry":
        assert (found.path, found.index) == ("layers[0].weight", (1, 2))


def test_float32_is_refused() -> None:
    """The tolerance is made for float64, and the message says how to get there."""
    model = dense(3)
    params, state, _ = model.init(Key(0), (4,))
    with pytest.raises(ValueError, match=r"weight is float32; use tree_cast"):
        gradcheck(model, cross_entropy(), params, state, Batch(np.ones((2, 4)), np.array([0, 1])), INFERENCE)
    with pytest.raises(ValueError, match="no coordinate"):
        check_sweep(lambda x: 0.0, (), ())


def test_tolerance_is_the_border() -> None:
    """Errors up to the tolerance pass, larger ones and NaN do not."""
    for error, passed in ((1e-7, True), (1.1e-7, False), (float("nan"), False)):
        assert GradCheck("sweep", "", (), 0.0, 0.0, error, 1e-7).passed is passed
