"""Training as a fold: lazy, resumable bit for bit between and within epochs, and metrics those of all rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import numpy as np
import pytest

from bpfunc.batches.augment import augmented, noise
from bpfunc.batches.batch import Batch, batches_per_epoch, epoch_batches, in_order
from bpfunc.keys import Key, fold_in
from bpfunc.layers import dense, relu
from bpfunc.layers.combinators import serial
from bpfunc.losses import cross_entropy
from bpfunc.metrics import Mean, Metric, accuracy, confusion, mean, roc_auc
from bpfunc.optimizers import sgd
from bpfunc.training.loop import Epoch, evaluate, fold_steps, merge_metrics, predict, steps, train
from bpfunc.training.step import StepMetrics, TrainState, init_train_state, make_step
from bpfunc.tree import tree_leaves

MODEL = serial(dense(6), relu(), dense(3))
SGD = sgd(0.05, momentum=0.9)
STEP = make_step(MODEL, cross_entropy(), SGD)
ROWS, SIZE = 23, 5


def data() -> Batch:
    """Rows that can be learnt."""
    rng = np.random.default_rng(0)
    label = np.arange(ROWS) % 3
    return Batch((rng.normal(size=(ROWS, 4)) + label[:, None]).astype(np.float32), label)


def start() -> TrainState:
    """A fresh start."""
    return init_train_state(MODEL, SGD, Key(0), (4,))


def batches(epoch: int, first: int = 0) -> Iterator[Batch]:
    """Shuffled and noisy batches, from the ``first`` on."""
    rows = epoch_batches(data(), Key(1), epoch, SIZE, start=first)
    return augmented(rows, fold_in(Key(2), epoch), noise(0.1), start=first)


def plain(epoch: int) -> Iterator[Batch]:
    """The rows as they stand."""
    return epoch_batches(data(), Key(1), epoch, SIZE, sampler=in_order)


def bits(tree: object) -> list[bytes]:
    """The bytes of every leaf."""
    return [np.asarray(leaf).tobytes() for leaf in tree_leaves(tree)]


def test_fold_is_step_after_step() -> None:
    """Folding does nothing but call the step and merge what it saw."""
    now, parts = start(), []
    for batch in batches(0):
        now, metrics = STEP(now, batch)
        parts.append(metrics)
    folded, merged = fold_steps(STEP, start(), batches(0))
    assert bits(folded) == bits(now)
    assert merged.loss.total == pytest.approx(sum(part.loss.total for part in parts), rel=1e-14)
    assert merged.metric.weight == ROWS


def test_steps_are_taken_when_asked_for() -> None:
    """The iterator of steps trains one step at a time and ends where the fold ends."""
    taken: list[int] = []

    def counting() -> Iterator[Batch]:
        for number, batch in enumerate(batches(0)):
            taken.append(number)
            yield batch

    walk = steps(STEP, start(), counting())
    assert taken == []
    first, _ = next(walk)
    assert (taken, first.step) == ([0], 1)
    *_, (last, _) = walk
    assert bits(last) == bits(fold_steps(STEP, start(), batches(0))[0])


def test_training_is_lazy() -> None:
    """An epoch is trained when its record is asked for, not before."""
    asked: list[int] = []

    def watched(epoch: int) -> Iterable[Batch]:
        asked.append(epoch)
        return batches(epoch)

    records = train(STEP, start(), watched, epochs=100)
    assert asked == []
    assert next(records).number == 1
    assert next(records).number == 2
    assert asked == [0, 1]


def test_training_again_gives_the_same_bits() -> None:
    """Nothing but the keys decides."""
    one, two = (list(train(STEP, start(), batches, epochs=3)) for _ in range(2))
    assert bits([(r.state, r.metrics) for r in one][-1]) == bits([(r.state, r.metrics) for r in two][-1])
    assert [record.number for record in one] == [1, 2, 3]


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_resuming_between_epochs_gives_the_same_bits(done: int) -> None:
    """A state is all there is to save: going on from it is never having stopped."""
    whole = list(train(STEP, start(), batches, epochs=4))
    saved = whole[done - 1].state if done else start()
    rest = list(train(STEP, saved, batches, epochs=4, start=done))
    assert [bits((r.state, r.metrics)) for r in rest] == [bits((r.state, r.metrics)) for r in whole[done:]]
    assert [record.number for record in rest] == [record.number for record in whole[done:]]


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 12])
def test_resuming_within_an_epoch_gives_the_same_bits(stop: int) -> None:
    """After any number of steps, the state and the functions of the keys are enough to go on."""
    whole = list(train(STEP, start(), batches, epochs=3))
    every_step = (batch for epoch in range(3) for batch in batches(epoch))
    saved = next(state for state, _ in steps(STEP, start(), every_step) if state.step == stop)
    done, first = divmod(saved.step, batches_per_epoch(ROWS, SIZE))
    rest = list(train(STEP, saved, lambda epoch: batches(epoch, first if epoch == done else 0), epochs=3, start=done))
    assert [bits(record.state) for record in rest] == [bits(record.state) for record in whole[done:]]


def test_training_learns() -> None:
    """The loss falls to less than half and the rows are nearly all found."""
    first, *_, last = train(STEP, start(), batches, epochs=60)
    assert mean(last.metrics.loss) < mean(first.metrics.loss) / 2
    assert mean(last.metrics.metric) > 0.85


@pytest.mark.parametrize("size", [1, 4, 23, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_evaluation_does_not_depend_on_the_batch_size(size: int, weighted: bool) -> None:
    """However the rows are cut, loss and metric are those of all rows."""
    state = start()
    rows = attrs.evolve(data(), weights=np.linspace(0, 2, ROWS).astype(np.float32) if weighted else None)
    whole, cut = (
        evaluate(MODEL, cross_entropy(), state.params, state.layer_state, rows, batch_size=size)
        for size in (ROWS, size)
    )
    assert mean(cut.loss) == pytest.approx(mean(whole.loss), rel=1e-6)
    assert mean(cut.metric) == pytest.approx(mean(whole.metric), rel=1e-12)
    assert cut.loss.weight == pytest.approx(ROWS)


def test_evaluation_is_inference() -> None:
    """Nothing random happens and the layers are told so; a prediction is the same pass."""
    state = start()
    outputs = predict(MODEL, state.params, state.layer_state, data().inputs)
    found = evaluate(MODEL, cross_entropy(), state.params, state.layer_state, data())
    losses, _ = cross_entropy().forward(outputs, data().targets)
    assert mean(found.loss) == pytest.approx(losses.mean(), rel=1e-6)
    assert found.metric == accuracy().measure(outputs, data())


def test_metrics_that_do_not_add_up_merge_in_training() -> None:
    """A metric that merges by concatenation is measured over an epoch as over one batch."""
    metric = roc_auc()
    step = make_step(MODEL, cross_entropy(), sgd(lambda step: 0.0), metric=metric)
    begin = init_train_state(MODEL, sgd(lambda step: 0.0), Key(0), (4,))
    (record,) = train(step, begin, plain, epochs=1, metric=metric)
    outputs = predict(MODEL, begin.params, begin.layer_state, data().inputs)
    assert metric.value(record.metrics.metric) == pytest.approx(metric.value(metric.measure(outputs, data())), rel=1e-6)


@pytest.mark.parametrize("metric", [confusion(3), roc_auc()])
def test_metric_is_told_once(metric: Metric) -> None:
    """The step's metrics carry their metric along: the fold, the training and the log need not be told it again."""
    step = make_step(MODEL, cross_entropy(), SGD, metric=metric)
    _, told = fold_steps(step, start(), batches(0), metric=metric)
    _, found = fold_steps(step, start(), batches(0))
    assert found.measured_by is metric
    np.testing.assert_array_equal(metric.value(found.metric), metric.value(told.metric))
    (record,) = train(step, start(), batches, epochs=1)
    np.testing.assert_array_equal(metric.value(record.metrics.metric), metric.value(told.metric))


def test_metric_of_another_name_is_refused() -> None:
    """Merging by the wrong rule would be silent nonsense; so would telling a figure by another's name."""
    step = make_step(MODEL, cross_entropy(), SGD)
    with pytest.raises(ValueError, match="different metrics: accuracy, accuracy, confusion"):
        fold_steps(step, start(), batches(0), metric=confusion(3))
    state = confusion(2).measure(np.eye(2), Batch(np.eye(2), np.array([0, 1])))
    of_ones_own = StepMetrics(Mean(1.0, 1.0), state)
    with pytest.raises(ValueError, match="pass metric"):
        merge_metrics(of_ones_own, of_ones_own)
    assert merge_metrics(of_ones_own, of_ones_own, confusion(2)).metric.counts.sum() == 4


def test_no_batch_is_an_error() -> None:
    """An epoch or an evaluation of nothing has no figures."""
    with pytest.raises(ValueError, match="no batch"):
        fold_steps(STEP, start(), [])
    nothing = Batch(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="no batch"):
        evaluate(MODEL, cross_entropy(), start().params, start().layer_state, nothing)


def test_merging_metrics_is_associative() -> None:
    """Stretches of steps merge in any grouping."""
    a, b, c = (metrics for _, metrics in list(steps(STEP, start(), batches(0)))[:3])
    left = merge_metrics(merge_metrics(a, b, accuracy()), c, accuracy())
    right = merge_metrics(a, merge_metrics(b, c, accuracy()), accuracy())
    assert left.metric == right.metric
    assert left.loss.total == pytest.approx(right.loss.total, rel=1e-14)
    assert left.loss.weight == right.loss.weight


def test_record_holds_what_the_fold_gave() -> None:
    """An epoch's record is its number, the state after it and its metrics."""
    (record,) = train(STEP, start(), batches, epochs=1)
    state, metrics = fold_steps(STEP, start(), batches(0))
    assert isinstance(record, Epoch)
    assert bits(record.state) == bits(state)
    assert (record.metrics.loss, record.metrics.metric) == (metrics.loss, metrics.metric)
    assert isinstance(record.metrics.loss, Mean)
