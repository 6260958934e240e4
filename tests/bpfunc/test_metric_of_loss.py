"""A training measures what goes with its loss, tells it by its name, and takes the targets that the loss takes."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import pytest

import bpfunc as bp
from bpfunc.metrics.of_loss import metric_for
from tests.bpfunc.members import makers

LOSSES = {name: maker for name, maker in makers("Loss").items() if name != "scaled"}  # that one is made of others
ON_CLASSES = {"cross_entropy", "focal", "kl_divergence"}
ONE_OUTPUT = LOSSES.keys() - ON_CLASSES - {"multilabel_cross_entropy"}
INPUTS = np.linspace(-1, 1, 12).reshape(6, 2)
COLUMN = (INPUTS[:, :1] > 0).astype(np.float64)
EXPECTED = {
    "squared_error": "mean squared error",
    "absolute_error": "mean absolute error",
    "huber": "mean absolute error",
}


def trained(loss: bp.Loss, targets: np.ndarray, **options: object) -> Iterator[bp.ValidatedEpoch]:
    """Two validated epochs of three batches each."""
    width = 1 if loss.name in ONE_OUTPUT else 3
    model, transform, data = bp.dense(width), bp.sgd(0.1), bp.Batch(INPUTS, targets)
    step = bp.make_step(model, loss, transform, **options)
    state = bp.init_train_state(model, transform, bp.Key(0), (2,))
    records = bp.train(step, state, lambda epoch: bp.epoch_batches(data, bp.Key(1), epoch, 2), epochs=2)
    return bp.validated(records, model, loss, data)


@pytest.mark.parametrize("name", LOSSES)
def test_metric_goes_with_the_loss(name: str) -> None:
    """Accuracy for classes, binary accuracy for yes or no, an error for numbers; told by its name."""
    loss = LOSSES[name]()
    expected = "accuracy" if name in ON_CLASSES else EXPECTED.get(name, "binary accuracy")
    targets = COLUMN if name in ONE_OUTPUT else np.eye(3)[np.arange(6) % 3]
    lines: list[str] = []
    *_, last = bp.logged(trained(loss, targets), lines.append)
    for seen in (last.metrics, last.validation):
        assert seen.measured_by is not None
        assert seen.measured_by.name == expected == metric_for(loss).name
    assert len(lines) == 2
    assert all(line.count(f" {expected} ") == 2 for line in lines)
    assert expected == "accuracy" or not any(" accuracy " in line.replace("binary accuracy", "") for line in lines)


@pytest.mark.parametrize("name", ["squared_error", "absolute_error"])
def test_figure_is_the_loss_itself(name: str) -> None:
    """Of a loss that is its own metric the two figures agree, whatever the targets' shape."""
    for targets in (COLUMN, COLUMN[:, 0]):
        for record in trained(LOSSES[name](), targets):
            assert bp.mean(record.validation.metric) == pytest.approx(bp.mean(record.validation.loss), rel=1e-6)


@pytest.mark.parametrize("name", sorted(ONE_OUTPUT))
def test_flat_targets_mean_a_column(name: str) -> None:
    """Targets (B,) and (B, 1) train and measure the same."""
    flat, column = (list(trained(LOSSES[name](), targets)) for targets in (COLUMN[:, 0], COLUMN))
    for one, other in zip(flat, column, strict=True):
        assert one.metrics.metric == other.metrics.metric
        assert one.validation.metric == other.validation.metric
        np.testing.assert_array_equal(one.state.params.weight, other.state.params.weight)


def test_another_metric_is_told_once() -> None:
    """A metric that the step is given takes the place of the loss's, and comes out of the training under its name."""
    record = next(iter(trained(bp.squared_error(), COLUMN, metric=bp.mean_absolute_error())))
    assert bp.describe(record).startswith("epoch 1: loss ")
    assert " mean absolute error " in bp.describe(record).partition(";")[0]


def test_steps_left_out_need_no_metric() -> None:
    """A regression whose bad batches are skipped is measured on the others."""
    model, transform = bp.dense(1), bp.sgd(0.1)
    step = bp.finite_step(
        bp.make_step(model, bp.squared_error(), transform, gradient=bp.finite_gradient()), on_nan="skip"
    )
    state = bp.init_train_state(model, transform, bp.Key(0), (2,))
    good, bad = bp.Batch(INPUTS, COLUMN[:, 0]), bp.Batch(np.full((6, 2), np.nan), COLUMN[:, 0])
    _, alone = bp.fold_steps(step, state, [good])
    for batches in ([bad, good], [good, bad], [bad, bad, good, bad]):
        _, found = bp.fold_steps(step, state, batches)
        assert found.measured_by is not None
        assert found.measured_by.name == "mean squared error"
        assert found.metric.weight == alone.metric.weight == 6


def test_steps_left_out_merge_with_any_metric() -> None:
    """A state that is no mean is taken over as it is."""
    model, transform = bp.dense(3), bp.sgd(0.1)
    gradient = bp.finite_gradient()
    made = bp.make_step(model, bp.cross_entropy(), transform, gradient=gradient, metric=bp.confusion(3))
    step = bp.finite_step(made, on_nan="skip")
    state = bp.init_train_state(model, transform, bp.Key(0), (2,))
    good, bad = (bp.Batch(inputs, np.arange(6) % 3) for inputs in (INPUTS, np.full((6, 2), np.nan)))
    for batches in ([bad, good], [good, bad], [bad, bad, good, bad]):
        assert bp.fold_steps(step, state, batches)[1].metric.counts.sum() == 6


def test_numbers_are_no_classes() -> None:
    """A loss of one's own that names no metric is measured by accuracy, which refuses a column of numbers."""
    own = attrs.evolve(bp.squared_error(), metric="accuracy")
    with pytest.raises(bp.ShapeError, match="targets that are numbers; pass another metric, such as mean_squared"):
        list(trained(own, COLUMN + 0.5))
    with pytest.raises(ValueError, match=r"names 'R2' as its metric, which is none of accuracy, .*; pass metric"):
        bp.make_step(bp.dense(1), attrs.evolve(own, metric="R2"), bp.sgd(0.1))
    with pytest.raises(TypeError, match=r"for numbers to regress on, use squared_error\(\)"):
        list(trained(bp.cross_entropy(), COLUMN[:, 0]))


@pytest.mark.parametrize("name", ["squared_error", "absolute_error", "huber"])
def test_messages_speak_of_the_regression(name: str) -> None:
    """Targets that do not fit a regression are not told to become classes."""
    with pytest.raises(bp.ShapeError, match=rf"^{name} expected outputs and targets of one shape") as caught:
        list(trained(LOSSES[name](), np.zeros((6, 2))))
    assert "class" not in str(caught.value)
