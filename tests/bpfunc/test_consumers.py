"""Consumers of a training: lazy, composable, and exact about when to stop and what to keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bpfunc.batches.batch import Batch, epoch_batches
from bpfunc.keys import Key
from bpfunc.layers import dense
from bpfunc.losses import cross_entropy
from bpfunc.metrics import Mean, accuracy, all_of, confusion, mean, top_k
from bpfunc.optimizers import sgd
from bpfunc.training.consumers import (
    ValidatedEpoch,
    best,
    describe,
    early_stopping,
    every,
    logged,
    validated,
    validation_loss,
)
from bpfunc.training.loop import Epoch, evaluate, train
from bpfunc.training.step import StepMetrics, TrainState, init_train_state, make_step
from bpfunc.tree import tree_map, tree_zeros_like

SCORES = st.lists(st.sampled_from([math.nan, math.inf, -1.0, 0.0, 0.5, 1.0, 2.0]), max_size=20)


def itself(score: float) -> float:
    """A record that is its own score."""
    return score


def epochs(count: int) -> Iterator[Epoch]:
    """Records without a training."""
    for number in range(1, count + 1):
        yield Epoch(number, TrainState((), (), (), number, Key(0)), StepMetrics(Mean(number, 1.0), Mean(1.0, 2.0)))


def counted(records: Iterator[object], taken: list[object]) -> Iterator[object]:
    """Note which records were asked for."""
    for record in records:
        taken.append(record)
        yield record


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "expected"),
    [
        ([3.0, 2.0, 1.0], 1, 0.0, 3),
        ([3.0, 3.0, 1.0], 1, 0.0, 2),
        ([3.0, 4.0, 4.0, 1.0], 2, 0.0, 3),
        ([3.0, 4.0, 2.0, 4.0, 4.0, 4.0, 1.0], 3, 0.0, 6),
        ([3.0, 2.9, 2.8, 2.7, 2.6], 3, 0.25, 5),
        ([3.0, 2.9, 2.8, 2.9, 2.6], 2, 0.5, 3),
        ([math.nan, math.nan, 1.0], 2, 0.0, 2),
        ([math.nan, 1.0, math.nan, 2.0], 2, 0.0, 4),
        ([], 1, 0.0, 0),
    ],
)
def test_early_stopping_by_hand(scores: list[float], patience: int, min_delta: float, expected: int) -> None:
    """It ends with the record that exhausts the patience; small gains do not count, and NaN is no gain."""
    assert len(list(early_stopping(scores, itself, patience=patience, min_delta=min_delta))) == expected


def test_early_stopping_trains_no_epoch_too_many() -> None:
    """Once stopped, no further record is asked for."""
    taken: list[object] = []
    list(early_stopping(counted(iter([1.0, 2.0, 3.0]), taken), itself, patience=1))
    assert taken == [1.0, 2.0]


@given(scores=SCORES, patience=st.integers(1, 4))
def test_largest_is_smallest_of_the_negative(scores: list[float], patience: int) -> None:
    """Mode max is mode min of the scores' negatives."""
    up = list(early_stopping(scores, itself, patience=patience, mode="max"))
    down = list(early_stopping(scores, lambda score: -score, patience=patience))
    assert str(up) == str(down)


@given(scores=SCORES)
def test_best_is_the_first_of_the_smallest(scores: list[float]) -> None:
    """Of all records the first with the best score, NaN aside."""
    numbers = [(score, index) for index, score in enumerate(scores) if not math.isnan(score)]
    records = list(enumerate(scores))
    if numbers:
        assert best(records, lambda record: record[1])[0] == min(numbers)[1]
    else:
        with pytest.raises(ValueError, match="none is the best"):
            best(records, lambda record: record[1])


def test_best_in_mode_max() -> None:
    """The largest, where that is asked for."""
    assert best([1.0, 3.0, 2.0], itself, mode="max") == 3.0


def test_best_keeps_the_state_of_its_epoch() -> None:
    """What comes back is the whole record, so its state is the one to keep."""
    kept = best(epochs(5), lambda record: abs(record.state.step - 3))
    assert (kept.number, kept.state.step) == (3, 3)


def test_validation_measures_the_state_of_each_epoch() -> None:
    """A validated record has the epoch's own fields and what `evaluate` says of its state."""
    model, transform = dense(2), sgd(0.3)
    rows = Batch(np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32), np.arange(30) % 2)
    step = make_step(model, cross_entropy(), transform)
    state = init_train_state(model, transform, Key(0), (3,))
    plain = list(train(step, state, lambda epoch: epoch_batches(rows, Key(1), epoch, 8), epochs=3))
    records = list(validated(plain, model, cross_entropy(), rows, batch_size=7))
    assert len(records) == 3
    for epoch, record in zip(plain, records, strict=True):
        assert (record.number, record.state, record.metrics) == (epoch.number, epoch.state, epoch.metrics)
        expected = evaluate(model, cross_entropy(), epoch.state.params, (), rows, batch_size=7)
        assert (record.validation.loss, record.validation.metric) == (expected.loss, expected.metric)
        assert validation_loss(record) == mean(expected.loss)


def test_validation_may_look_at_other_parameters() -> None:
    """Averaged weights, which live in the optimiser's state, can be the ones that are measured."""
    model, transform = dense(2), sgd(0.3)
    rows = Batch(np.ones((4, 3), np.float32), np.array([0, 0, 0, 1]))
    state = init_train_state(model, transform, Key(0), (3,))
    nothing = StepMetrics(Mean(0.0, 1.0), Mean(0.0, 1.0))
    record = next(
        validated(
            [Epoch(1, state, nothing)],
            model,
            cross_entropy(),
            rows,
            metric=top_k(2),
            params=lambda state: tree_zeros_like(state.params),
        )
    )
    assert validation_loss(record) == pytest.approx(np.log(2))
    assert mean(record.validation.metric) == 1.0


def test_every_acts_by_epoch_number() -> None:
    """A resumed training keeps the rhythm, and every record comes through, after the action."""
    acted: list[int] = []
    late = (record for record in epochs(9) if record.number > 4)
    seen = [(record.number, tuple(acted)) for record in every(late, 3, lambda record: acted.append(record.number))]
    assert seen == [(5, ()), (6, (6,)), (7, (6,)), (8, (6,)), (9, (6, 9))]


def test_logged_writes_a_line_for_each_epoch() -> None:
    """The records pass unchanged and each has its line."""
    lines: list[str] = []
    records = list(logged(epochs(2), lines.append))
    assert [record.number for record in records] == [1, 2]
    assert lines == ["epoch 1: loss 1.0000, accuracy 0.5000", "epoch 2: loss 2.0000, accuracy 0.5000"]


def test_description_tells_single_numbers_only() -> None:
    """Of several metrics those that are numbers are told, matrices are not."""
    metric = all_of(accuracy(), confusion(2))
    figures = StepMetrics(Mean(1.0, 2.0), metric.measure(np.eye(2), Batch(np.eye(2), np.array([0, 1]))))
    record = ValidatedEpoch(1, TrainState((), (), (), 0, Key(0)), figures, figures)
    assert describe(record, metric=metric) == (
        "epoch 1: loss 0.5000, accuracy 1.0000; validation loss 0.5000, accuracy 1.0000"
    )


@pytest.mark.parametrize(
    "consumer",
    [
        lambda records: early_stopping(records, lambda record: 0.0, patience=5),
        lambda records: every(records, 1, lambda record: None),
        lambda records: logged(records, lambda line: None),
        lambda records: validated(records, dense(1), cross_entropy(), Batch(np.zeros((1, 1)), np.zeros((1, 1)))),
    ],
)
def test_consumers_are_lazy(consumer: Callable[[Iterator[Epoch]], Iterator[object]]) -> None:
    """Nothing is trained before a record is asked for, and then no more than that one."""
    taken: list[object] = []
    params, _, _ = dense(1).init(Key(0), (1,))
    ready = (Epoch(e.number, TrainState(tree_map(np.copy, params), (), (), 0, Key(0)), e.metrics) for e in epochs(3))
    records = consumer(counted(ready, taken))
    assert taken == []
    next(records)
    assert len(taken) == 1


def test_consumers_nest() -> None:
    """Stopping, logging and keeping the best are calls around one another."""
    lines: list[str] = []
    kept = best(
        early_stopping(logged(epochs(20), lines.append), lambda record: abs(record.number - 4), patience=2),
        lambda record: abs(record.number - 4),
    )
    assert kept.number == 4
    assert len(lines) == 6


@pytest.mark.parametrize(
    "make",
    [
        lambda: early_stopping([1.0], itself, patience=0),
        lambda: early_stopping([1.0], itself, patience=1, min_delta=-1.0),
        lambda: early_stopping([1.0], itself, patience=1, mode="low"),
        lambda: best([1.0], itself, mode="high"),
        lambda: every(epochs(1), 0, lambda record: None),
    ],
)
def test_consumer_settings_out_of_range_are_refused(make: Callable[[], object]) -> None:
    """The error comes at the call, before any epoch is trained."""
    with pytest.raises(ValueError, match="got"):
        make()
