"""A compiled epoch gives what the composed steps give, and leaves everything else as it was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import attrs
import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("scipy")

from threadpoolctl import threadpool_info, threadpool_limits

from bpfunc.arrays.types import FloatDType
from bpfunc.batches.batch import Batch, epoch_batches, in_order, weighted
from bpfunc.compiled.loops import source_in_place
from bpfunc.interop.numba import compiled_epoch, compiled_fold, compiled_step
from bpfunc.keys import Key
from bpfunc.layers import Layer, ShapeError, batch_norm, dense, identity, leaky_relu, relu, sigmoid, softmax, tanh
from bpfunc.layers.combinators import named, residual, serial
from bpfunc.losses import Loss, cross_entropy, squared_error
from bpfunc.optimizers import adam, lamb, sgd, weights_only
from bpfunc.training.loop import fold_steps, steps, train
from bpfunc.training.step import StepMetrics, TrainState, init_train_state, make_step
from bpfunc.transforms import (
    GradientTransform,
    chain,
    clip_by_global_norm,
    clip_by_norm,
    masked,
    scale,
    scale_by_learning_rate,
)
from bpfunc.transforms.formula import Formula
from bpfunc.tree import Tree, tree_cast, tree_leaves
from tests.bpfunc.test_elementwise import CHAINS

ROWS, FEATURES, CLASSES = 23, 11, 4
NETWORKS: dict[str, Callable[[], Layer]] = {
    "rectified": lambda: serial(dense(9), relu(), dense(6), relu(), dense(CLASSES)),
    "one layer": lambda: dense(CLASSES),
    "narrow": lambda: serial(dense(1), tanh(), dense(CLASSES)),
    "without biases": lambda: serial(dense(5, use_bias=False), leaky_relu(slope=0.2), dense(CLASSES, use_bias=False)),
    "nested": lambda: serial(serial(dense(40), sigmoid()), serial(dense(7), identity()), dense(5), dense(CLASSES)),
}


def examples(targets: str = "indices", *, weights: bool = False) -> Batch:
    """Rows with their classes in one of the forms that a batch may have."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    soft = rng.random((ROWS, CLASSES))
    forms = {
        "indices": labels,
        "one-hot": np.eye(CLASSES)[labels],
        "soft": soft / soft.sum(axis=1, keepdims=True),
        "two at once": (soft > 0.5).astype(np.float64),
    }
    counts = rng.integers(0, 3, ROWS).astype(np.float64) if weights else None
    return Batch(rng.standard_normal((ROWS, FEATURES)), forms[targets], counts)


def both(
    model: Layer,
    transform: GradientTransform,
    data: Batch,
    *,
    loss: Loss | None = None,
    batch_size: int = 5,
    threads: int | None = 2,
    epochs: int = 3,
) -> tuple[tuple[TrainState, StepMetrics], tuple[TrainState, StepMetrics]]:
    """Train by compiled epochs and by composed steps, in float64."""
    loss = loss or cross_entropy()
    start = init_train_state(model, transform, Key(3), data.inputs.shape[1:])
    params = tree_cast(start.params, np.float64)
    ours = theirs = TrainState(params, start.layer_state, transform.init(params), 0, start.key)
    epoch, step = compiled_epoch(model, loss, transform, threads=threads), make_step(model, loss, transform)
    for number in range(epochs):
        ours, found = epoch(ours, data, Key(1), number, batch_size)
        theirs, expected = fold_steps(step, theirs, epoch_batches(data, Key(1), number, batch_size))
    return (ours, found), (theirs, expected)


def assert_close(ours: tuple[TrainState, StepMetrics], theirs: tuple[TrainState, StepMetrics], rtol: float) -> None:
    """State, step count and metrics agree."""
    (state, metrics), (other, expected) = ours, theirs
    assert state.step == other.step
    assert state.key == other.key
    mine, its = tree_leaves((state.params, state.optimizer_state)), tree_leaves((other.params, other.optimizer_state))
    for one, two in zip(mine, its, strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol)
    assert metrics.metric == expected.metric
    assert metrics.loss.weight == expected.loss.weight
    np.testing.assert_allclose(metrics.loss.total, expected.loss.total, rtol=rtol)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, threads: int) -> None:
    """Every network that is taken, shared by any number of threads, the last batch not full."""
    assert_close(*both(NETWORKS[name](), sgd(0.05, momentum=0.9), examples(), threads=threads), 1e-10)


SCALED_WEIGHTS = chain(masked(scale(3.0), weights_only), scale_by_learning_rate(0.1))
"""Weights and biases have formulas of their own here, whose constants stand in other places."""


@pytest.mark.parametrize("name", [*CHAINS, "scaled weights"])
def test_optimisers(name: str) -> None:
    """Every chain that a loop can be made of, masks included: the numbers of each step, and the state."""
    assert_close(*both(NETWORKS["rectified"](), (CHAINS | {"scaled weights": SCALED_WEIGHTS})[name], examples()), 1e-8)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("targets", ["indices", "one-hot", "soft", "two at once"])
def test_targets_and_weights(targets: str, weights: bool) -> None:
    """Targets in every form, rows that count differently, some not at all."""
    assert_close(*both(NETWORKS["rectified"](), sgd(0.3), examples(targets, weights=weights)), 1e-10)


@pytest.mark.parametrize("targets", ["indices", "one-hot", "soft", "two at once"])
@pytest.mark.parametrize(
    "loss", [cross_entropy(label_smoothing=0.2), cross_entropy(class_weights=[1.0, 2.0, 0.5, 0.0])]
)
def test_settings_of_the_loss(loss: Loss, targets: str) -> None:
    """What the loss makes of the targets is what is learned."""
    assert_close(*both(NETWORKS["rectified"](), sgd(0.3), examples(targets), loss=loss), 1e-10)


@pytest.mark.parametrize("batch_size", [1, 23, 100])
def test_batch_sizes(batch_size: int) -> None:
    """A row at a time, all at once, and more than there are."""
    assert_close(*both(NETWORKS["rectified"](), adam(0.01), examples(), batch_size=batch_size), 1e-8)


def test_options_are_those_of_epoch_batches() -> None:
    """Sampler, start and drop_last choose the same batches; steps that were passed over are not counted."""
    model, transform, data = NETWORKS["rectified"](), sgd(0.3), examples("one-hot")
    data = Batch(data.inputs.astype(np.float32), data.targets.astype(np.float32))
    state = init_train_state(model, transform, Key(3), (FEATURES,))
    step, epoch = make_step(model, cross_entropy(), transform), compiled_epoch(model, cross_entropy(), transform)
    for sampler in (in_order, weighted(np.arange(ROWS)), lambda key, count: np.array([-1, 2, 2, 0, -ROWS, 5, 7])):
        for drop_last in (False, True):
            batches = epoch_batches(data, Key(1), 4, 3, sampler=sampler, drop_last=drop_last, start=1)
            expected = fold_steps(step, state, batches)
            found = epoch(state, data, Key(1), 4, 3, sampler=sampler, drop_last=drop_last, start=1)
            assert_close(found, expected, 2e-6)


def test_single_precision() -> None:
    """In float32, too, the two differ by rounding alone."""
    model, transform = NETWORKS["rectified"](), sgd(0.3)
    data = Batch(examples().inputs.astype(np.float32), examples().targets)
    state = init_train_state(model, transform, Key(3), (FEATURES,))
    step = make_step(model, cross_entropy(), transform)
    expected = fold_steps(step, state, epoch_batches(data, Key(1), 0, 8))
    found = compiled_epoch(model, cross_entropy(), transform, threads=2)(state, data, Key(1), 0, 8)
    assert_close(found, expected, 1e-6)
    assert {leaf.dtype for leaf in tree_leaves(found[0].params)} == {np.dtype(np.float32)}


def prepared(dtype: FloatDType = np.float32) -> tuple[Layer, GradientTransform, Batch, TrainState]:
    model, transform = NETWORKS["rectified"](), adam(0.01)
    data = Batch(examples().inputs.astype(dtype), examples().targets)
    return model, transform, data, init_train_state(model, transform, Key(3), (FEATURES,))


def arrays(*trees: Tree) -> list[np.ndarray]:
    return [leaf for tree in trees for leaf in tree_leaves(tree) if isinstance(leaf, np.ndarray)]


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e300])
def test_weights_of_any_size(size: float) -> None:
    """A row's share of its batch is the same, whatever the weights sum to."""
    data = examples()
    weights = np.arange(1.0, 1 + len(data.inputs))
    (ours, _), (theirs, _) = both(dense(CLASSES), sgd(0.1), Batch(data.inputs, data.targets, weights * size), epochs=1)
    for one, two in zip(tree_leaves(ours.params), tree_leaves(theirs.params), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2 if size < 1e-310 else 1e-9)


def test_it_is_pure() -> None:
    """Arguments keep their bytes, a second call gives the same bits, and results are read-only and their own."""
    model, transform, data, state = prepared()
    epoch = compiled_epoch(model, cross_entropy(), transform, threads=2)
    given = arrays(state, (data.inputs, data.targets))
    before = [array.tobytes() for array in given]
    first, _ = epoch(state, data, Key(1), 0, 5)
    second, _ = epoch(state, data, Key(1), 0, 5)
    assert [array.tobytes() for array in given] == before
    assert [a.tobytes() for a in arrays(first)] == [a.tobytes() for a in arrays(second)]
    for result in arrays(first):
        assert not result.flags.writeable
        assert not any(np.shares_memory(result, array) for array in given)


def test_the_machine_is_left_as_it_was() -> None:
    """Denormal numbers are numbers again afterwards, and matrix libraries have the threads that they had."""
    model, transform, data, state = prepared()
    epoch = compiled_epoch(model, cross_entropy(), transform, threads=2)
    with threadpool_limits(2, user_api="blas"):
        threads = [library["num_threads"] for library in threadpool_info()]
        epoch(state, data, Key(1), 0, 5)
        assert [library["num_threads"] for library in threadpool_info()] == threads
    assert (np.full(100, 1e-40, np.float32) * np.float32(1)).all()


def test_averages_do_not_linger_among_denormal_numbers() -> None:
    """An input that falls silent leaves an average that reaches zero, where it would stay just above without care."""
    inputs = np.zeros((400, FEATURES), np.float32)
    inputs[0] = 1e-30
    data, model, transform = Batch(inputs, np.zeros(400, np.intp)), dense(CLASSES), adam(lambda step: 0.0)
    state = init_train_state(model, transform, Key(3), (FEATURES,))
    epoch = compiled_epoch(model, cross_entropy(), transform, threads=2)
    for number in range(2):
        state, _ = epoch(state, data, Key(1), number, 1, sampler=in_order)
    mean = next(leaf for leaf in tree_leaves(state.optimizer_state) if leaf.shape == (FEATURES, CLASSES))
    assert (mean == 0).all() or (np.abs(mean) >= np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (serial(dense(3), batch_norm(), dense(2)), r"found batch_norm.* at layers\[1\]"),
        (serial(dense(3), serial(softmax())), r"found softmax at layers\[1\]\.layers\[0\]"),
        (residual(dense(3)), "found residual"),
        (named(("head", dense(3))), "found named"),
        (serial(), "at least one dense layer"),
    ],
)
def test_other_networks_are_refused(model: Layer, told: str) -> None:
    """The message names the layer and its place."""
    with pytest.raises(ValueError, match=told):
        compiled_epoch(model, cross_entropy(), sgd(0.1))


def test_other_parts_are_refused() -> None:
    """Another loss, a transform that is no single formula, a norm in another place, and no threads."""
    own = attrs.evolve(squared_error(), name="own", vjp=lambda residual, dlosses: residual)
    with pytest.raises(ValueError, match="found the loss own"):
        compiled_epoch(dense(1), own, sgd(0.1))
    for late in (chain(sgd(0.1), clip_by_global_norm(1.0)), clip_by_global_norm(1.0), chain(clip_by_norm(1.0))):
        with pytest.raises(ValueError, match="more than one number at a time"):
            compiled_epoch(dense(1), cross_entropy(), late)
    with pytest.raises(ValueError, match="more than one number at a time"):
        compiled_epoch(dense(1), cross_entropy(), lamb(0.1))
    with pytest.raises(ValueError, match="1 to 1024 threads, got 0"):
        compiled_epoch(dense(1), cross_entropy(), sgd(0.1), threads=0)


def test_data_that_does_not_fit_is_refused() -> None:
    """Wrong width, shape, dtype, classes, rows or parameters: one message, before any thread starts."""
    model, transform, data, state = prepared()
    epoch = compiled_epoch(model, cross_entropy(), transform)
    wide = Batch(np.zeros((3, FEATURES + 1), np.float32), np.zeros(3, np.intp))
    with pytest.raises(ShapeError, match=rf"expected an input of shape \(B, {FEATURES}\)"):
        epoch(state, wide, Key(1), 0, 2)
    with pytest.raises(ShapeError, match=r"inputs of shape \(N, D\)"):
        epoch(state, Batch(np.zeros((3, 2, 2), np.float32), np.zeros(3, np.intp)), Key(1), 0, 2)
    with pytest.raises(TypeError, match=r"found float64 and float32; convert them once"):
        epoch(state, examples(), Key(1), 0, 2)
    with pytest.raises(ValueError, match="class indices run from 0 to 3, found 0 to 9"):
        epoch(state, Batch(data.inputs, np.array([9] + [0] * (ROWS - 1))), Key(1), 0, 2)
    with pytest.raises(TypeError, match="class indices are whole numbers"):
        epoch(state, Batch(data.inputs, np.zeros(ROWS)), Key(1), 0, 2)
    with pytest.raises(IndexError):
        epoch(state, data, Key(1), 0, 2, sampler=lambda key, count: np.array([ROWS]))
    with pytest.raises(ValueError, match="no batch to learn from"):
        epoch(state, data, Key(1), 0, 2, start=99)
    with pytest.raises(ValueError, match="batch_size of at least 1"):
        epoch(state, data, Key(1), 0, 0)
    other = init_train_state(serial(dense(9), relu(), dense(CLASSES)), transform, Key(3), (FEATURES,))
    with pytest.raises(ShapeError, match="not those of 3 dense layers"):
        epoch(other, data, Key(1), 0, 2)


def test_compiled_and_composed_epochs_mix() -> None:
    """A state from one goes on in the other."""
    model, transform, data, state = prepared()
    step, epoch = make_step(model, cross_entropy(), transform), compiled_epoch(model, cross_entropy(), transform)
    mixed, _ = fold_steps(step, epoch(state, data, Key(1), 0, 5)[0], epoch_batches(data, Key(1), 1, 5))
    other, _ = epoch(fold_steps(step, state, epoch_batches(data, Key(1), 0, 5))[0], data, Key(1), 1, 5)
    for one, two in zip(arrays(mixed.params), arrays(other.params), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)


def test_all_is_read_before_it_is_written() -> None:
    """In place, a result that is an old state or parameter is kept before something takes its place."""
    swap = Formula((), "old[0]", ("p",))
    lines = source_in_place([swap]).splitlines()
    first = next(index for index, line in enumerate(lines) if "[i] =" in line)
    assert len(lines) == first + 2
    assert not any("[i]" in line.partition("=")[2] for line in lines[first:])


def test_ctrl_c_is_heard_within_an_epoch() -> None:
    """An epoch that would take a minute ends at once, its threads with it, and the state is what it was."""
    model, transform = serial(dense(512), relu(), dense(512), relu(), dense(CLASSES)), sgd(1e-30)
    data = Batch(np.ones((256, 512), np.float32), np.zeros(256, np.intp))
    state = init_train_state(model, transform, Key(3), (512,))
    epoch, before = compiled_epoch(model, cross_entropy(), transform, threads=2), threading.active_count()
    epoch(state, data, Key(1), 0, 256)
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.5, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        epoch(state, data, Key(1), 0, 256, sampler=lambda key, count: np.tile(np.arange(count), 3000))
    assert time.monotonic() - pressed[0] < 10  # a second, on a machine that has nothing else to do
    timer.join()
    assert threading.active_count() == before
    epoch(state, data, Key(1), 0, 256)


def test_a_compiled_step_stands_where_a_step_does() -> None:
    """`train` and `fold_steps` take it, from gathered rows and from any iterator, with the bits of a compiled epoch."""
    model, transform, data, state = prepared()
    step = compiled_step(model, cross_entropy(), transform, threads=2)
    epoch = compiled_epoch(model, cross_entropy(), transform, threads=2)
    expected = state
    for number in range(2):
        expected, seen = epoch(expected, data, Key(1), number, 5)
    records = list(train(step, state, lambda number: epoch_batches(data, Key(1), number, 5), epochs=2))
    listed = list(train(step, state, lambda number: list(epoch_batches(data, Key(1), number, 5)), epochs=2))
    *_, (single, _) = steps(step, state, epoch_batches(data, Key(1), 0, 5))
    assert [a.tobytes() for a in arrays(single)] == [a.tobytes() for a in arrays(records[0].state)]
    for found in (records[-1], listed[-1]):
        assert found.state.step == expected.step == 10
        assert found.metrics.metric == seen.metric
        assert found.metrics.loss.total == pytest.approx(seen.loss.total, rel=1e-12)
        assert [a.tobytes() for a in arrays(found.state)] == [a.tobytes() for a in arrays(expected)]


def test_batches_that_are_left_are_learned_from() -> None:
    """A fold takes what is left of gathered batches, and leaves none; no batch at all is refused."""
    model, transform, data, state = prepared()
    fold = compiled_fold(model, cross_entropy(), transform, threads=1)
    begun = epoch_batches(data, Key(1), 0, 5)
    next(begun)
    found, _ = fold(state, begun)
    expected, _ = compiled_epoch(model, cross_entropy(), transform, threads=1)(state, data, Key(1), 0, 5, start=1)
    assert found.step == 4
    assert [a.tobytes() for a in arrays(found)] == [a.tobytes() for a in arrays(expected)]
    for empty in (begun, [], iter(())):
        with pytest.raises(ValueError, match="there is no batch to learn from"):
            fold(state, empty)


def test_what_listens_may_end_the_work() -> None:
    """It is asked before the first step and during a long epoch; its error ends the threads, and the state stays."""
    model, transform = serial(dense(512), relu(), dense(512), relu(), dense(CLASSES)), sgd(1e-30)
    data = Batch(np.ones((256, 512), np.float32), np.zeros(256, np.intp))
    state, asked = init_train_state(model, transform, Key(3), (512,)), 0

    def listen() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise LookupError("enough")

    step, before = compiled_step(model, cross_entropy(), transform, threads=2, listen=listen), threading.active_count()
    step.fold(state, epoch_batches(data, Key(1), 0, 256))
    assert asked
    asked = 0
    long = epoch_batches(data, Key(1), 0, 256, sampler=lambda key, count: np.tile(np.arange(count), 3000))
    with pytest.raises(LookupError, match="enough"):
        fold_steps(step, state, long)
    assert asked == 4
    assert threading.active_count() == before
