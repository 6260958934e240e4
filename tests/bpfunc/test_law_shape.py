"""The law of shapes: what takes two trees or two arrays of one shape refuses others by name, before anything runs.

Shapes that happen to broadcast are the dangerous ones: (1, 3) beside (3,) goes through NumPy without a word. Members
are found by looking: every layer, loss, metric, transform and gradient function that the library makes (`members`),
and every function whose docstring asks for trees of one shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest

import bpfunc as bp
from bpfunc.gradient.check import check_sweep
from bpfunc.gradient.data_parallel import Alone
from bpfunc.metrics.base import Mean
from bpfunc.training.step import TrainState
from bpfunc.transforms.update import apply_updates, updated
from bpfunc.tree import TreeStructureError, replace_leaf, tree_leaves, tree_leaves_with_path
from tests.bpfunc.members import makers, public_functions

LAYERS, LOSSES, TRANSFORMS, METRICS = map(makers, ("Layer", "Loss", "GradientTransform", "Metric"))
REFUSED = (TreeStructureError, bp.ShapeError)
PARAMS = {"weight": np.ones((3, 2)), "bias": np.ones(2)}
GRADS = {"weight": np.full((3, 2), 0.5), "bias": np.full(2, 0.5)}
RESHAPED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "an axis more": lambda leaf: leaf[None],
    "one number": lambda leaf: leaf.reshape(-1)[:1],
    "no axis": lambda leaf: leaf.reshape(-1)[0].copy(),
    "another size": lambda leaf: np.concatenate([leaf, leaf]),
}


def spoiled(tree: Any) -> Iterator[tuple[str, Any]]:
    """The tree with one leaf in another shape, for each leaf and each other shape."""
    for path, leaf in tree_leaves_with_path(tree):
        for how, reshaped in RESHAPED.items():
            other = np.array(reshaped(np.asarray(leaf)))
            if other.shape != np.shape(leaf):
                yield f"{path} with {how}", replace_leaf(tree, path, other)


def assert_refused(calls: Iterator[tuple[str, Callable[[], object]]], *, least: int = 1) -> None:
    """Each call raises an error of the library that names the shapes."""
    count = 0
    for name, call in calls:
        count += 1
        try:
            result = call()
        except REFUSED as error:
            assert set(str(error)) & set("(0123456789"), name
        except Exception as error:
            raise AssertionError(f"{name}: a raw {type(error).__name__}: {error}") from error
        else:
            raise AssertionError(f"{name} passed: {result}")
    assert count >= least


TREE_FUNCTIONS = {
    name: function
    for name, function in public_functions().items()
    if "same structure and shapes" in (inspect.getdoc(function) or "")
}


@pytest.mark.parametrize("name", TREE_FUNCTIONS)
def test_functions_of_two_trees(name: str) -> None:
    """Whatever says that it takes trees of the same structure and shapes refuses others."""
    function = TREE_FUNCTIONS[name]
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    first = (np.add,) if needed[0].name == "function" else ()
    assert_refused(
        ((path, lambda other=other: function(*first, PARAMS, other)) for path, other in spoiled(GRADS)), least=8
    )
    assert function(*first, PARAMS, GRADS) is not None


def test_functions_of_two_trees_are_found() -> None:
    """Were the docstrings' words to change, the law would find nothing and pass."""
    names = {name.rpartition(".")[2] for name in TREE_FUNCTIONS}
    assert names >= {"tree_add", "tree_dot", "tree_combine", "tree_cast_like", "matched_rows", "apply_updates"}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    """Gradients, state and parameters of different shapes are refused, one leaf at a time."""
    transform = TRANSFORMS[name]()
    state = transform.init(PARAMS)
    _, state = transform.update(GRADS, state, PARAMS, 0)
    for run in (partial(updated, transform), transform.update):
        assert_refused((f"gradient {p}", partial(run, t, state, PARAMS, 1)) for p, t in spoiled(GRADS))
        assert_refused((f"parameter {p}", partial(run, GRADS, state, t, 1)) for p, t in spoiled(PARAMS))
        least = 1 if tree_leaves(state) else 0
        assert_refused(((f"state {p}", partial(run, GRADS, t, PARAMS, 1)) for p, t in spoiled(state)), least=least)


def targets_of(name: str, rows: int = 4) -> tuple[np.ndarray, list[np.ndarray]]:
    """Outputs of a loss, and the targets that go with them."""
    if name == "binary_cross_entropy":
        return np.zeros((rows, 1)), [np.ones((rows, 1)), np.ones(rows)]
    whole = np.eye(3)[np.arange(rows) % 3]
    on_classes = name in ("cross_entropy", "focal", "kl_divergence")
    return np.zeros((rows, 3)), [whole, whole.argmax(axis=1)] if on_classes else [whole]


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    """Outputs and targets, and what its derivatives are given, have the shapes that the docstring says."""
    loss = LOSSES[name]()
    outputs, all_targets = targets_of(name)
    for targets in all_targets:
        wrong = [targets[:-1], targets[:1], targets[None], targets[..., None, None], outputs[:, None]]
        assert_refused((f"targets {t.shape}", partial(loss.forward, outputs, t)) for t in wrong)
        _, residual = loss.forward(outputs, targets)
        one = np.ones(4)
        dots = [d for d in (outputs[:1], outputs[:, :1], outputs[None], outputs[0]) if d.shape != outputs.shape]
        assert_refused((f"tangent {d.shape}", partial(loss.jvp, residual, d)) for d in dots)
        assert_refused((f"tangent {d.shape}", partial(loss.vjp_jvp, residual, d, one, one)) for d in dots)
        others = [one[:1], one[:, None], np.array(1.0), one[None]]
        assert_refused((f"cotangent {d.shape}", partial(loss.vjp, residual, d)) for d in others)
        assert_refused((f"cotangent {d.shape}", partial(loss.vjp_jvp, residual, outputs, d, one)) for d in others)
        assert_refused((f"cotangent {d.shape}", partial(loss.vjp_jvp, residual, outputs, one, d)) for d in others)


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name: str) -> None:
    """Outputs, targets and weights go row by row, and states of other classes do not merge."""
    metric = METRICS[name]()
    outputs, targets = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 1, 2, 1]]
    inputs, weights = np.zeros((4, 1)), np.ones(4)
    if name not in ("mean_metric", "mean_metric_of_targets"):  # what is given to them checks its targets, or does not
        wrong = [targets[:-1], targets[:1], targets[:, :1], targets[None]]
        assert_refused((f"targets {t.shape}", lambda t=t: metric.measure(outputs, bp.Batch(inputs, t))) for t in wrong)
    if name not in ("confusion", "precision", "recall", "f1"):  # these count rows
        others = [weights[:1], weights[:-1], weights[:, None], weights[None]]
        assert_refused(
            (f"weights {w.shape}", lambda w=w: metric.measure(outputs, bp.Batch(inputs, targets, w))) for w in others
        )
    state = metric.measure(outputs, bp.Batch(inputs, targets))
    parts = state if isinstance(state, tuple) else (state,)
    if all(isinstance(part, Mean) for part in parts):
        return
    small = METRICS[name](**({"classes": 1} if "classes" in inspect.signature(getattr(bp, name)).parameters else {}))
    one = small.measure(outputs[:1, :1], bp.Batch(inputs[:1], targets[:1, :1]))
    if [np.shape(a) for a in tree_leaves(one)] != [np.shape(a) for a in tree_leaves(state)]:
        assert_refused(
            iter([("states", lambda: metric.merge(state, one)), ("states", lambda: metric.merge(one, state))])
        )


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    """Parameters and state that do not fit together are refused, and so are cotangents of layers with parameters."""
    layer = LAYERS[name]()
    x = np.arange(20).reshape(5, 4) % 2 if layer.looks_up else np.arange(20.0).reshape(5, 4)
    params, state, _ = layer.init(bp.Key(0), (4,))
    ctx = bp.Context(train=True, key=bp.Key(1))
    y, _, residual = layer.forward(params, state, x, ctx)
    some = 1 if tree_leaves(params) else 0
    assert_refused(((p, lambda t=t: layer.forward(t, state, x, ctx)) for p, t in spoiled(params)), least=some)
    least = 1 if tree_leaves(state) else 0
    assert_refused(((p, lambda t=t: layer.forward(params, t, x, ctx)) for p, t in spoiled(state)), least=least)
    if tree_leaves(params):
        cotangents = [np.ones_like(y)[:1], np.ones_like(y)[None], np.ones_like(y)[..., :1]]
        for run in (layer.backward, layer.backward_params):
            assert_refused((f"dy {dy.shape}", partial(run, params, residual, dy)) for dy in cotangents)


@pytest.mark.parametrize("function", [bp.jvp, bp.hvp])
def test_directions(function: Callable[..., object]) -> None:
    """A direction is a tree like the parameters."""
    model = bp.serial(bp.dense(4), bp.layer_norm(), bp.tanh(), bp.dense(3))
    params, state, _ = model.init(bp.Key(0), (2,))
    batch = bp.Batch(np.ones((5, 2)), np.arange(5) % 3)
    calls = (
        (path, lambda d=d: function(model, bp.cross_entropy(), params, state, batch, bp.INFERENCE, d))
        for path, d in spoiled(params)
    )
    assert_refused(calls, least=12)


@pytest.mark.parametrize("name", makers("GradientMaker"))
def test_steps(name: str) -> None:
    """A training state or a batch whose parts do not fit is refused, with every way to take gradients."""
    given = {"comm": Alone(), "parts": 2}
    model = bp.serial(bp.dense(4), bp.batch_norm(), bp.dense(3))
    transform = bp.adam(0.1)
    gradient = makers("GradientMaker")[name](**given)
    step = bp.make_step(model, bp.cross_entropy(), transform, gradient=gradient)
    state = bp.init_train_state(model, transform, bp.Key(0), (2,))
    batch = bp.Batch(np.arange(10.0).reshape(5, 2), np.arange(5) % 3, np.ones(5))
    step(state, batch)

    def states() -> Iterator[tuple[str, TrainState]]:
        for field in ("params", "optimizer_state", "layer_state"):
            for path, tree in spoiled(getattr(state, field)):
                yield f"{field}{path}", attrs.evolve(state, **{field: tree})

    assert_refused(((path, lambda s=s: step(s, batch)) for path, s in states()), least=40)
    wrong = [attrs.evolve(batch, weights=w) for w in (np.ones((5, 1)), np.ones(())[None])]
    assert_refused(((f"weights {b.weights.shape}", lambda b=b: step(state, b)) for b in wrong), least=2)


def test_gradients_to_check() -> None:
    """A gradient is checked against its own parameters."""
    assert_refused((p, lambda g=g: check_sweep(lambda x: 0.0, g, PARAMS)) for p, g in spoiled(GRADS))
    assert_refused((p, lambda u=u: apply_updates(PARAMS, u)) for p, u in spoiled(GRADS))


def test_planted_violation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transform that lets NumPy broadcast is caught."""
    planted = bp.GradientTransform(
        lambda params: bp.tree_map(np.zeros_like, params),
        lambda grads, state, params, step: (grads, bp.tree_map(lambda s, g: s + g, state, grads)),
    )
    monkeypatch.setitem(TRANSFORMS, "planted", lambda: planted)
    with pytest.raises(AssertionError, match=r"passed|raw"):
        test_transforms("planted")
