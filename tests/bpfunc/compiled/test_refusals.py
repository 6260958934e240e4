"""What compiled code takes, it computes right; everything else is refused by name before machine code runs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import attrs
import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("scipy")

from hypothesis import given, settings, strategies as st

from bpfunc.batches.batch import Batch, epoch_batches
from bpfunc.compiled import optimizer, work
from bpfunc.compiled.epoch import Mixture, thread_of_epoch
from bpfunc.compiled.loops import loop_of
from bpfunc.compiled.work import Lesson
from bpfunc.interop.numba import compiled, compiled_epoch
from bpfunc.keys import Key
from bpfunc.layers import (
    Layer,
    Maker,
    batch_norm,
    dense,
    dropout,
    elu,
    gelu,
    gelu_tanh,
    identity,
    leaky_relu,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from bpfunc.layers.combinators import named, residual, serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.losses import Loss, cross_entropy, focal, huber, kl_divergence, squared_error
from bpfunc.losses.elementwise import elementwise_loss
from bpfunc.optimizers import adam, adamw, lamb, sgd
from bpfunc.training.loop import fold_steps
from bpfunc.training.step import TrainState, init_train_state, make_step
from bpfunc.transforms import GradientTransform, chain, ema_of_params, masked, momentum, scale
from bpfunc.transforms.base import elementwise
from bpfunc.transforms.elementwise import Elementwise, Part
from bpfunc.transforms.formula import traced
from bpfunc.transforms.update import apply_updates, updated
from bpfunc.tree import Tree, TreeStructureError, replace_leaf, tree_cast, tree_leaves, tree_leaves_with_path

ROWS, FEATURES, CLASSES = 13, 5, 3
KNOWN: dict[str, Callable[[], Layer]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "steep": lambda: leaky_relu(slope=0.4),
    "tanh": tanh,
    "sigmoid": sigmoid,
    "identity": identity,
    "falling": lambda: leaky_relu(slope=-0.1),
    "elu": lambda: elu(alpha=1.7),
    "selu": selu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "softplus": softplus,
    "dropout": lambda: dropout(0.5),
    "mirrored": lambda: mirror_averaged(tanh(), image_shape=(1, 1)),
}
"""Layers that a compiled epoch computes, wherever they stand."""
UNKNOWN: dict[str, Callable[[], Layer]] = {
    "softmax": softmax,
    "batch_norm": batch_norm,
    "residual": lambda: residual(tanh()),
    "named": lambda: named(("inner", dense(CLASSES))),
    "own forward": lambda: attrs.evolve(tanh(), forward=relu().forward),
    "own backward": lambda: attrs.evolve(relu(), backward=tanh().backward),
    "own dense": lambda: attrs.evolve(dense(4), backward_params=lambda params, residual, dy: params),
    "own settings": lambda: attrs.evolve(leaky_relu(slope=0.4), maker=Maker("leaky_relu", (("slope", 0.1),))),
    "own maker": lambda: attrs.evolve(elu(), maker=Maker("relu")),
    "no maker": lambda: attrs.evolve(relu(), maker=None),
    "own parts": lambda: attrs.evolve(serial(tanh()), parts=(("layers[0]", relu()),)),
    "own serial": lambda: attrs.evolve(serial(dense(4)), forward=serial(dense(4), relu()).forward),
}
"""Layers that it refuses, wherever they stand."""


def examples(dtype: Any = np.float64) -> Batch:
    rng = np.random.default_rng(1)
    return Batch(rng.standard_normal((ROWS, FEATURES)).astype(dtype), rng.integers(0, CLASSES, ROWS))


def start(model: Layer, transform: GradientTransform, dtype: Any = np.float64) -> TrainState:
    state = init_train_state(model, transform, Key(2), (FEATURES,))
    params = tree_cast(state.params, dtype)
    return TrainState(params, state.layer_state, transform.init(params), 0, state.key)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[str], bool]:
    """Names of layers in a row, most often ones that are known, and whether to nest them."""
    names = []
    for _ in range(draw(st.integers(1, 4))):
        names.append("dense")
        names += draw(st.lists(st.sampled_from(sorted(KNOWN)), max_size=1))
    if draw(st.booleans()):
        odd = draw(st.sampled_from([*sorted(KNOWN), *sorted(UNKNOWN)]))
        names.insert(draw(st.integers(0, len(names))), odd)
    return names, draw(st.booleans())


def built(names: list[str], nest: bool, last: int) -> Layer:
    """The network; its last dense layer has one output for each class."""
    layers = []
    for index, name in enumerate(names):
        if name == "dense":
            layers.append(dense(CLASSES if index == last else 2 + index, use_bias=index % 3 != 1))
        else:
            layers.append((KNOWN | UNKNOWN)[name]())
    if nest:
        middle = len(layers) // 2
        return serial(serial(*layers[:middle]), serial(serial(*layers[middle:])))
    return serial(*layers)


@given(stacks(), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_random_stacks_are_computed_or_refused(stack: tuple[list[str], bool], threads: int) -> None:
    """Exactly the networks of dense layers, activations and dropout are taken, and those equal the composed steps."""
    names, nest = stack
    model = built(names, nest, max(index for index, name in enumerate(names) if name == "dense"))
    fits = all(name == "dense" or name in KNOWN for name in names)
    transform, data = sgd(0.1, momentum=0.5), examples()
    if not fits:
        with pytest.raises(ValueError, match="a compiled epoch takes dense layers"):
            compiled_epoch(model, cross_entropy(), transform)
        return
    ours = theirs = start(model, transform)
    epoch = compiled_epoch(model, cross_entropy(), transform, threads=threads)
    step = make_step(model, cross_entropy(), transform)
    for number in range(2):
        ours, found = epoch(ours, data, Key(3), number, 4)
        theirs, expected = fold_steps(step, theirs, epoch_batches(data, Key(3), number, 4))
    for one, other in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.loss.total, expected.loss.total, rtol=1e-10)
    assert found.metric == expected.metric


@pytest.mark.parametrize("activation", KNOWN)
def test_last_activation_is_differentiated(activation: str) -> None:
    """The network of the fault report: what follows the last dense layer counts in the gradient."""
    model, transform, data = serial(dense(CLASSES), KNOWN[activation]()), sgd(1.0), examples()
    state = start(model, transform)
    ours, _ = compiled_epoch(model, cross_entropy(), transform)(state, data, Key(3), 0, ROWS)
    theirs, _ = fold_steps(make_step(model, cross_entropy(), transform), state, epoch_batches(data, Key(3), 0, ROWS))
    for one, other in zip(tree_leaves(ours.params), tree_leaves(theirs.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


SHAPES: dict[str, Callable[[np.ndarray], Any]] = {
    "longer": lambda leaf: np.ones((leaf.shape[0] + 1, *leaf.shape[1:]), leaf.dtype),
    "shorter": lambda leaf: leaf[:-1],
    "much longer": lambda leaf: np.ones((100_000, *leaf.shape[1:]), leaf.dtype),
    "one": lambda leaf: np.ones((1,) * leaf.ndim, leaf.dtype),
    "another axis": lambda leaf: leaf[None],
    "empty": lambda leaf: leaf[:0],
    "a scalar": lambda leaf: np.array(1.0, leaf.dtype),
}
DTYPES: dict[str, Callable[[np.ndarray], Any]] = {
    "float32": lambda leaf: leaf.astype(np.float32),
    "float16": lambda leaf: leaf.astype(np.float16),
    "int64": lambda leaf: leaf.astype(np.int64),
    "complex": lambda leaf: leaf.astype(np.complex128),
    "object": lambda leaf: leaf.astype(object),
    "other bytes first": lambda leaf: leaf.astype(">f8"),
    "masked": lambda leaf: np.ma.masked_array(leaf),  # type: ignore[no-untyped-call]
}
STRUCTURES: dict[str, Callable[[np.ndarray], Any]] = {
    "none": lambda leaf: None,
    "wrapped": lambda leaf: (leaf,),
    "two": lambda leaf: {"a": leaf, "b": leaf},
    "a text": lambda leaf: "numbers",
}
LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "columns first": np.asfortranarray,
    "every other": lambda leaf: np.repeat(leaf, 2, axis=0)[::2],
    "backwards": lambda leaf: np.ascontiguousarray(leaf[::-1])[::-1],
    "not aligned": lambda leaf: _not_aligned(leaf),
    "read-only": lambda leaf: np.frombuffer(leaf.tobytes(), leaf.dtype).reshape(leaf.shape),
}
FAULTS = SHAPES | DTYPES | STRUCTURES


def _not_aligned(leaf: np.ndarray) -> np.ndarray:
    moved = np.zeros(leaf.nbytes + 1, np.uint8)[1:].view(leaf.dtype).reshape(leaf.shape)
    moved[...] = leaf
    assert not moved.flags.aligned
    return moved


REFUSALS = (TreeStructureError, TypeError, ValueError)
TRANSFORM = chain(adamw(0.1), ema_of_params(0.9))
MODEL = serial(dense(4), tanh(), dense(CLASSES))


@given(st.data(), st.sampled_from(["gradients", "params", "state"]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_compiled_optimiser_refuses_what_does_not_fit(data: st.DataObject, where: str, add: bool) -> None:
    """One leaf of another size, dtype or structure, anywhere: one error that names it."""
    params = start(MODEL, TRANSFORM).params
    trees: dict[str, Tree] = {"gradients": params, "params": params, "state": TRANSFORM.init(params)}
    path, leaf = data.draw(st.sampled_from(tree_leaves_with_path(trees[where])))
    fault = data.draw(st.sampled_from(sorted(FAULTS)))
    trees[where] = replace_leaf(trees[where], path, FAULTS[fault](leaf))
    fast = compiled(TRANSFORM)
    within = re.escape(path[path.index("layers") :])
    with pytest.raises(REFUSALS, match=within) as caught:
        if add:
            updated(fast, trees["gradients"], trees["state"], trees["params"], 0)
        else:
            fast.update(trees["gradients"], trees["state"], trees["params"], 0)
    if fault in SHAPES:
        assert str(leaf.shape) in str(caught.value)
        assert str(FAULTS[fault](leaf).shape) in str(caught.value)


@given(st.data(), st.sampled_from(["gradients", "params", "state"]))
@settings(max_examples=40, deadline=None)
def test_compiled_optimiser_takes_every_layout(data: st.DataObject, where: str) -> None:
    """How the numbers of a leaf lie in memory changes nothing."""
    params = start(MODEL, TRANSFORM).params
    trees: dict[str, Tree] = {"gradients": params, "params": params, "state": TRANSFORM.init(params)}
    fast = compiled(TRANSFORM)
    plain = updated(fast, trees["gradients"], trees["state"], trees["params"], 0)
    path, leaf = data.draw(st.sampled_from(tree_leaves_with_path(trees[where])))
    layout = data.draw(st.sampled_from(sorted(LAYOUTS)))
    trees[where] = replace_leaf(trees[where], path, LAYOUTS[layout](leaf))
    found = updated(fast, trees["gradients"], trees["state"], trees["params"], 0)
    for one, other in zip(tree_leaves(found), tree_leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)


def test_loops_are_handed_aligned_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba does not look, so arrays that begin between two numbers are copied."""
    seen: list[np.ndarray] = []
    monkeypatch.setattr(optimizer, "loop_of", lambda formula: lambda *arrays: seen.extend(arrays))
    odd = (_not_aligned(np.ones(5)),)
    compiled(adam(0.1)).update(odd, adam(0.1).init(odd), odd, 0)
    assert len(seen) == 8
    assert all(array.flags.aligned for array in seen)


EPOCH = compiled_epoch(MODEL, cross_entropy(), TRANSFORM, threads=2)


@given(st.data(), st.sampled_from(["params", "optimizer_state"]))
@settings(max_examples=150, deadline=None)
def test_epoch_refuses_a_state_that_does_not_fit(data: st.DataObject, where: str) -> None:
    """One leaf of parameters or state of another size, dtype or structure: one error that names it."""
    state = start(MODEL, TRANSFORM)
    tree = getattr(state, where)
    path, leaf = data.draw(st.sampled_from(tree_leaves_with_path(tree)))
    fault = data.draw(st.sampled_from(sorted(FAULTS)))
    broken = attrs.evolve(state, **{where: replace_leaf(tree, path, FAULTS[fault](leaf))})
    place = path[path.index("layers") :]
    if where == "params" and fault in SHAPES and place.startswith("layers[0].weight"):
        place = "layers"  # a first weight of another shape is right by itself: what follows, or the data, does not fit
        if fault in ("longer", "shorter", "much longer"):
            place = "dense expected an input"
    with pytest.raises(REFUSALS, match=re.escape(place)):
        EPOCH(broken, examples(), Key(3), 0, 4)


@given(st.data(), st.sampled_from(["params", "optimizer_state", "inputs", "targets", "weights"]))
@settings(max_examples=40, deadline=None)
def test_epoch_takes_every_layout(data: st.DataObject, where: str) -> None:
    """How parameters, state and data lie in memory changes nothing."""
    state = start(MODEL, TRANSFORM)
    batch = attrs.evolve(examples(), targets=np.eye(CLASSES)[examples().targets], weights=np.ones(ROWS))
    plain, _ = EPOCH(state, batch, Key(3), 0, 4)
    move = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))]
    if where in ("params", "optimizer_state"):
        tree = getattr(state, where)
        path, leaf = data.draw(st.sampled_from(tree_leaves_with_path(tree)))
        state = attrs.evolve(state, **{where: replace_leaf(tree, path, move(leaf))})
    else:
        batch = attrs.evolve(batch, **{where: move(getattr(batch, where))})
    found, _ = EPOCH(state, batch, Key(3), 0, 4)
    for one, other in zip(tree_leaves(found), tree_leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)


BATCHES: dict[str, Callable[[Batch], Batch]] = {
    "inputs: another width": lambda b: attrs.evolve(b, inputs=np.ones((ROWS, FEATURES + 1))),
    "inputs: one axis": lambda b: attrs.evolve(b, inputs=np.ones(ROWS)),
    "inputs: three axes": lambda b: attrs.evolve(b, inputs=b.inputs[:, :, None]),
    "inputs: rows missing": lambda b: attrs.evolve(b, inputs=b.inputs[:-1]),
    "inputs: float16": lambda b: attrs.evolve(b, inputs=b.inputs.astype(np.float16)),
    "inputs: float32": lambda b: attrs.evolve(b, inputs=b.inputs.astype(np.float32)),
    "inputs: whole": lambda b: attrs.evolve(b, inputs=b.inputs.astype(np.int8)),
    "inputs: complex": lambda b: attrs.evolve(b, inputs=b.inputs.astype(complex)),
    "inputs: objects": lambda b: attrs.evolve(b, inputs=b.inputs.astype(object)),
    "inputs: masked": lambda b: attrs.evolve(b, inputs=np.ma.masked_array(b.inputs)),  # type: ignore[no-untyped-call]
    "targets: too large": lambda b: attrs.evolve(b, targets=np.full(ROWS, CLASSES)),
    "targets: huge": lambda b: attrs.evolve(b, targets=np.full(ROWS, 2**62)),
    "targets: negative": lambda b: attrs.evolve(b, targets=np.full(ROWS, -1)),
    "targets: fractions": lambda b: attrs.evolve(b, targets=np.zeros(ROWS)),
    "targets: too many classes": lambda b: attrs.evolve(b, targets=np.eye(CLASSES + 1)[b.targets]),
    "targets: too few classes": lambda b: attrs.evolve(b, targets=np.ones((ROWS, CLASSES - 1))),
    "targets: rows missing": lambda b: attrs.evolve(b, targets=b.targets[1:]),
    "targets: three axes": lambda b: attrs.evolve(b, targets=np.ones((ROWS, CLASSES, 1))),
    "targets: texts": lambda b: attrs.evolve(b, targets=np.array(["a"] * ROWS)),
    "targets: complex": lambda b: attrs.evolve(b, targets=np.eye(CLASSES, dtype=complex)[b.targets]),
    "weights: rows missing": lambda b: attrs.evolve(b, weights=np.ones(ROWS - 1)),
    "weights: two axes": lambda b: attrs.evolve(b, weights=np.ones((ROWS, 1))),
    "weights: complex": lambda b: attrs.evolve(b, weights=np.ones(ROWS, complex)),
    "weights: texts": lambda b: attrs.evolve(b, weights=np.array(["1"] * ROWS)),
    "weights: negative": lambda b: attrs.evolve(b, weights=np.linspace(1, -0.1, ROWS)),
    "weights: NaN": lambda b: attrs.evolve(b, weights=np.r_[np.nan, np.ones(ROWS - 1)]),
    "weights: infinite": lambda b: attrs.evolve(b, weights=np.r_[np.ones(ROWS - 1), np.inf]),
}


@pytest.mark.parametrize("fault", BATCHES)
def test_epoch_refuses_data_that_does_not_fit(fault: str) -> None:
    """Inputs, targets and weights of another shape or dtype; the message says which."""
    what = {"inputs": "input", "targets": "target|class ind", "weights": "weights"}[fault.partition(":")[0]]
    with pytest.raises((TypeError, ValueError), match=what):
        EPOCH(start(MODEL, TRANSFORM), BATCHES[fault](examples()), Key(3), 0, 4)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([ROWS], IndexError),
        ([-ROWS - 1], IndexError),
        ([2**62], IndexError),
        (np.array([2**64 - 1], np.uint64), IndexError),
        ([0.0, 1.0], TypeError),
        (np.ones(ROWS, bool), TypeError),
        ([[0, 1], [2, 3]], TypeError),
        (["0"], TypeError),
        ([], ValueError),
    ],
)
def test_epoch_refuses_rows_that_are_not_there(rows: Any, error: type[Exception]) -> None:
    """A sampler names rows of the data by whole numbers."""
    with pytest.raises(error, match=r"sampler|batch"):
        EPOCH(start(MODEL, TRANSFORM), examples(), Key(3), 0, 4, sampler=lambda key, count: np.asarray(rows))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"batch_size": 2.5}, ValueError),
        ({"batch_size": True}, ValueError),
        ({"batch_size": -3}, ValueError),
        ({"batch_size": 0}, ValueError),
        ({"start": -1}, ValueError),
        ({"start": 0.5}, TypeError),
        ({"start": 2**70}, ValueError),
    ],
)
def test_epoch_refuses_odd_batches(given: dict[str, Any], error: type[Exception]) -> None:
    """Batch sizes and starts are whole numbers in their range."""
    with pytest.raises(error, match=r"batch|start"):
        EPOCH(start(MODEL, TRANSFORM), examples(), Key(3), 0, **{"batch_size": 4, **given})


@pytest.mark.parametrize("batch_size", [2**31, 2**62, 10**30])
def test_huge_batches_are_whole_epochs(batch_size: int) -> None:
    """A batch takes what rows there are, and memory for no more."""
    state = start(MODEL, TRANSFORM)
    ours, _ = EPOCH(state, examples(), Key(3), 0, batch_size)
    theirs, _ = EPOCH(state, examples(), Key(3), 0, ROWS)
    for one, other in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_precision_is_refused_by_name() -> None:
    """float16 parameters: a message that says what to do."""
    params = (np.ones(2, np.float16),)
    with pytest.raises(TypeError, match=r"\[0\]: the gradient has dtype float16, compiled code expected float32 or"):
        compiled(sgd(0.1)).update(params, sgd(0.1).init(params), params, 0)
    model = serial(dense(CLASSES))
    with pytest.raises(TypeError, match=r"layers\[0\]\.weight: .* float16 .*tree_cast"):
        compiled_epoch(model, cross_entropy(), sgd(0.1))(
            start(model, sgd(0.1), np.float16), examples(np.float16), Key(3), 0, 4
        )


def _own(loss: Loss, **changes: Any) -> Loss:
    return attrs.evolve(loss, **changes)


@pytest.mark.parametrize(
    "loss",
    [
        _own(cross_entropy(), forward=focal().forward),
        _own(cross_entropy(), forward=lambda outputs, targets: cross_entropy().forward(2 * outputs, targets)),
        _own(cross_entropy(), vjp=lambda residual, dlosses: np.zeros((len(dlosses), CLASSES))),
        _own(cross_entropy(), jvp=focal().jvp),
        _own(cross_entropy(), vjp_jvp=focal().vjp_jvp),
        _own(squared_error(), forward=huber().forward, vjp=focal().vjp),
        _own(squared_error(), forward=wraps(squared_error().forward)(lambda *given: huber().forward(*given))),
        _own(huber(), forward=partial(huber().forward, np.zeros((1, 1)))),
        _own(focal(), forward=partial(focal().forward, odd=1)),
        _own(kl_divergence(), forward=cross_entropy().forward, vjp=cross_entropy().vjp),
    ],
)
def test_loss_is_known_by_all_its_functions(loss: Loss) -> None:
    """A record with one other function is another loss."""
    with pytest.raises(
        ValueError, match=f"takes the losses of bpfunc.losses with their own functions, found the loss {loss.name}"
    ):
        compiled_epoch(MODEL, loss, sgd(0.1))


@pytest.mark.parametrize("slope", [lambda y, t: np.sort(y), lambda y, t: (y - t).sum(), lambda y, t: y[..., ::-1]])
def test_slopes_that_cannot_be_compiled_are_refused(slope: Any) -> None:
    """A loss of one's own whose slope looks at more than one number is told apart before there is data."""
    forward: Any = elementwise_loss("odd", slope=slope)(lambda outputs, targets: outputs - targets)
    with pytest.raises(TypeError, match="slope of the loss odd cannot be compiled"):
        compiled_epoch(MODEL, _own(squared_error(), name="odd", forward=forward), sgd(0.1))


def test_class_weights_of_another_length_are_refused() -> None:
    """One message, not one of broadcasting alone."""
    epoch = compiled_epoch(MODEL, cross_entropy(class_weights=[1.0] * (CLASSES + 1)), TRANSFORM)
    with pytest.raises(ValueError, match=r"cross_entropy has 4 class weights, found logits \(1, 3\)"):
        epoch(start(MODEL, TRANSFORM), examples(), Key(3), 0, 4)


@pytest.mark.parametrize("field", ["init", "update"])
def test_transform_is_known_by_all_its_functions(field: str) -> None:
    """A replaced function takes the formula with it: composed steps use the new one, compiled code refuses."""
    other = attrs.evolve(sgd(1.0), **{field: getattr(scale(3.0), field)})
    assert other.elementwise is None
    for make in (compiled, lambda transform: compiled_epoch(MODEL, cross_entropy(), transform)):
        with pytest.raises(ValueError, match="no formula for single numbers is known"):
            make(other)
        with pytest.raises(ValueError, match="no formula for single numbers is known"):
            make(chain(adam(0.1), other))
    if field == "update":
        (result,), _ = updated(other, (np.ones(2),), other.init((np.ones(2),)), (np.ones(2),), 0)
        np.testing.assert_array_equal(result, [4, 4])


@pytest.mark.parametrize("transform", [lamb(0.1), masked(momentum(0.9), lambda path: True)])
def test_what_has_no_formula_is_refused_truly(transform: GradientTransform) -> None:
    """The message names all reasons there are."""
    with pytest.raises(ValueError, match="more than one number at a time, or keeps state for some leaves alone"):
        compiled(transform)


def test_formulas_that_change_are_refused() -> None:
    """A step with fewer numbers than the first one: its loop would read behind them."""
    odd = elementwise(
        lambda params: (),
        lambda c, g, p, old, new, out, work: np.multiply(g, c[1], out=out),
        numbers=lambda step: (1.0, 2.0)[: 2 - step],
    )
    params = (np.ones(3),)
    fast = compiled(odd)
    assert fast.update(params, (), params, 0)[0][0].tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="always as many"):
        fast.update(params, (), params, 1)
    with pytest.raises(ValueError, match="always as many"):
        compiled_epoch(MODEL, cross_entropy(), odd)(start(MODEL, odd), examples(), Key(3), 0, 4)


def test_forms_that_do_not_fit_are_refused() -> None:
    """A part with state and holes, a form that opens fewer trees than its parts fill, a state of another kind."""
    with pytest.raises(ValueError, match="a part with state acts on all leaves"):
        Part(lambda c, g, p, old, new, out, work: g, slots=1, applies=lambda path: True)
    part = adam(0.1).elementwise
    assert part is not None
    form = Elementwise(part.parts, lambda state: (state,), lambda trees: trees[0])
    params = (np.ones(3),)
    with pytest.raises(TreeStructureError, match="holds 1 trees, expected 2"):
        compiled(GradientTransform(lambda params: params, lambda *_: (), form)).update(params, params, params, 0)
    for state in ((), adam(0.1).init(params)[:1], sgd(0.1).init(params), params, None):
        with pytest.raises(TreeStructureError):
            compiled(adam(0.1)).update(params, state, params, 0)
        with pytest.raises(TreeStructureError):
            compiled_epoch(MODEL, cross_entropy(), adam(0.1))(
                attrs.evolve(start(MODEL, adam(0.1)), optimizer_state=state), examples(), Key(3), 0, 4
            )


@pytest.mark.parametrize("transform", [sgd(0.1), adam(0.1), TRANSFORM])
@pytest.mark.parametrize("fault", SHAPES)
@pytest.mark.parametrize("path", ["layers[0].bias", "layers[2].bias", "layers[2].weight"])
def test_parameters_that_do_not_fit_one_another_are_refused(
    path: str, fault: str, transform: GradientTransform
) -> None:
    """Also where the state was made for them, or there is none."""
    params = start(MODEL, transform).params
    broken = replace_leaf(params, path, SHAPES[fault](dict(tree_leaves_with_path(params))[path]))
    state = attrs.evolve(start(MODEL, transform), params=broken, optimizer_state=transform.init(broken))
    # A last weight with other columns is right by itself; then its bias does not fit, which stands before it.
    with pytest.raises(ValueError, match=r"layers\[2\]" if "2" in path else re.escape(path)):
        compiled_epoch(MODEL, cross_entropy(), transform)(state, examples(), Key(3), 0, 4)


def test_state_where_there_is_none_is_refused() -> None:
    """What no part of the optimiser made is not dropped in silence."""
    state = start(MODEL, adam(0.1))
    (kept, _) = state.optimizer_state
    for odd in ((kept, np.ones(3)), (kept, (np.ones(3),)), (kept, None)):
        with pytest.raises(TreeStructureError, match="trees differ"):
            compiled_epoch(MODEL, cross_entropy(), adam(0.1))(
                attrs.evolve(state, optimizer_state=odd), examples(), Key(3), 0, 4
            )


def test_layer_state_of_another_network_is_refused() -> None:
    """It is handed on, and so must be that of the network."""
    for state in ((), ((), (), (), ()), ((), (), np.ones(2))):
        with pytest.raises(TreeStructureError):
            EPOCH(attrs.evolve(start(MODEL, TRANSFORM), layer_state=state), examples(), Key(3), 0, 4)


@pytest.mark.parametrize("threads", [0, -1, 2.5, "two", True, 1025, 10**9])
def test_odd_numbers_of_threads_are_refused(threads: Any) -> None:
    """At least one, whole, and not so many that their memory is the first thing to fail."""
    with pytest.raises((TypeError, ValueError), match="thread"):
        compiled_epoch(MODEL, cross_entropy(), TRANSFORM, threads=threads)


def test_threads_that_cannot_start_leave_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no more threads, those that were started end, and the error is the system's."""
    begin, started = threading.Thread.start, []

    def reluctant(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", reluctant)
    with pytest.raises(RuntimeError, match="can't start"):
        compiled_epoch(MODEL, cross_entropy(), TRANSFORM, threads=4)(start(MODEL, TRANSFORM), examples(), Key(3), 0, 4)
    started[0].join(10)
    assert not started[0].is_alive()


def test_a_thread_that_fails_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is that of the epoch, and the others end."""

    def failing(number: int, *arguments: Any) -> None:
        if number == 1:
            raise IndexError("planted")
        thread_of_epoch(number, *arguments)

    monkeypatch.setattr(work, "thread_of_epoch", failing)
    before = threading.active_count()
    with pytest.raises(IndexError, match="planted"):
        EPOCH(start(MODEL, TRANSFORM), examples(), Key(3), 0, 2)
    assert threading.active_count() == before


def test_more_threads_than_numbers() -> None:
    """Threads that own nothing change nothing."""
    model = serial(dense(1), relu(), dense(CLASSES))
    state = start(model, TRANSFORM)
    ours, _ = compiled_epoch(model, cross_entropy(), TRANSFORM, threads=7)(state, examples(), Key(3), 0, 2)
    theirs, _ = fold_steps(make_step(model, cross_entropy(), TRANSFORM), state, epoch_batches(examples(), Key(3), 0, 2))
    for one, other in zip(tree_leaves(ours.params), tree_leaves(theirs.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_loops_look_at_sizes_themselves() -> None:
    """Also called past all checks, a loop neither reads nor writes outside its arrays."""
    part = sgd(0.1).elementwise
    assert part is not None
    loop = loop_of(traced(part.parts, True)[0])
    one, two, many = np.ones(1), np.ones(2), np.ones(100_000)
    for arguments in ((one, two, two, one), (one, two, many, two), (one[:0], two, two, two), (two, two, two, two)):
        with pytest.raises(ValueError, match="arrays of one size and all its constants"):
            loop(*arguments)


@pytest.mark.parametrize("field", ["data", "targets", "rows", "scale"])
def test_a_lesson_holds_what_fits(field: str) -> None:
    """What threads read cannot be made of arrays that do not fit."""
    whole = {
        "data": np.zeros((4, 2)),
        "targets": np.zeros((4, 3)),
        "rows": np.zeros(5, np.intp),
        "scale": np.zeros(5),
    }
    Lesson(**whole)
    for change in (lambda a: a[:-1], lambda a: a.astype(np.int8), lambda a: np.repeat(a, 2, 0)[::2], _not_aligned):
        changed = change(whole[field])
        if (field == "rows" and len(changed) == 4) or (field, changed.dtype) == ("data", np.int8):
            continue  # the others no longer fit it, tested there
        with pytest.raises((TypeError, ValueError)):
            Lesson(**{**whole, field: changed})
    with pytest.raises(IndexError):
        Lesson(**{**whole, "rows": np.full(5, 4)})


def test_a_lesson_is_mixed_from_what_is_there() -> None:
    """Places, ways, partners and answers outside their arrays are refused, and so are arrays that do not fit."""
    plain = {"data": np.zeros((4, 2)), "targets": np.zeros((4, 3)), "rows": np.zeros(5, np.intp), "scale": np.zeros(5)}
    places, partner = np.array([[0, 1], [1, 0]]), np.arange(5)
    mixture = Mixture(places, np.ones((2, 5), np.uint8), partner, np.ones((2, 5)))
    Lesson(**plain, mixture=mixture, answers=partner[:5] % 4)
    for field in mixture._fields:
        changed = getattr(mixture, field).copy()
        for change in (lambda a: a[..., :-1].copy(), lambda a: a.astype(np.int8), lambda a: np.repeat(a, 2, 0)[::2]):
            with pytest.raises((IndexError, TypeError, ValueError)):
                Lesson(**plain, mixture=mixture._replace(**{field: change(changed)}))
        if field != "shares":
            changed[-1] = 5
            with pytest.raises(IndexError):
                Lesson(**plain, mixture=mixture._replace(**{field: changed}))
    with pytest.raises(IndexError):
        Lesson(**plain, answers=partner)


def test_infinite_numbers_are_those_of_the_definition() -> None:
    """relu of minus infinity is 0, and a class that is impossible and not asked for costs nothing."""
    model, transform = serial(dense(2), relu(), dense(CLASSES)), sgd(1e-30)
    state = start(model, transform)
    params = replace_leaf(state.params, "layers[0].bias", np.array([-np.inf, 0.5]))
    _, found = compiled_epoch(model, cross_entropy(), transform)(
        attrs.evolve(state, params=params), examples(), Key(3), 0, 4
    )
    assert np.isfinite(found.loss.total)
    last = serial(dense(CLASSES))
    state = start(last, transform)
    params = replace_leaf(state.params, "layers[0].bias", np.array([0.0, 1.0, -np.inf]))
    data = Batch(np.zeros((1, FEATURES)), np.array([0]))
    _, found = compiled_epoch(last, cross_entropy(), transform)(attrs.evolve(state, params=params), data, Key(3), 0, 4)
    np.testing.assert_allclose(found.loss.total, 1.3132616875182228)


def test_updates_added_later_are_the_same() -> None:
    """`updated` and `update` of a compiled transform agree."""
    params = start(MODEL, TRANSFORM).params
    fast, state = compiled(TRANSFORM), TRANSFORM.init(params)
    at_once, _ = updated(fast, params, state, params, 0)
    later = apply_updates(params, fast.update(params, state, params, 0)[0])
    for one, other in zip(tree_leaves(at_once), tree_leaves(later), strict=True):
        np.testing.assert_array_equal(one, other)
