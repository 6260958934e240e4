"""Batches: the order of an epoch is a pure function of (key, epoch), and every row is where it should be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bpfunc.arrays.types import IntArray
from bpfunc.batches.batch import (
    Batch,
    Sampler,
    batches_per_epoch,
    class_balanced,
    class_indices,
    epoch_batches,
    in_order,
    row_count,
    shuffled,
    take,
    weighted,
)
from bpfunc.keys import Key


def numbered(rows: int) -> Batch:
    """Rows that carry their own number, as inputs, targets and weights."""
    return Batch(np.arange(rows, dtype=np.float32)[:, None], np.arange(rows), np.arange(rows, dtype=np.float32))


def rows_of(batches: object) -> list[list[int]]:
    """The row numbers in each batch."""
    return [batch.targets.tolist() for batch in batches]


def flat(lists: list[list[int]]) -> list[int]:
    """All row numbers in their order."""
    return list(itertools.chain.from_iterable(lists))


@given(rows=st.integers(0, 30), size=st.integers(1, 12), epoch=st.integers(0, 3))
def test_epoch_holds_every_row_exactly_once(rows: int, size: int, epoch: int) -> None:
    """Shuffling loses nothing and repeats nothing, and rows stay whole."""
    batches = list(epoch_batches(numbered(rows), Key(3), epoch, size))
    assert sorted(flat(rows_of(batches))) == list(range(rows))
    assert all(np.array_equal(batch.inputs[:, 0], batch.targets) for batch in batches)
    assert all(np.array_equal(batch.weights, batch.targets) for batch in batches)


TABLE = np.arange(24.0).reshape(6, 4)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([2, 0, 2]),
        np.array([-1, 1]),
        np.array([], np.int64),
        np.array([3, 1], np.uint64),
        np.array([3, 1], np.int8),
        np.array([True, False, True, False, False, True]),
    ],
    ids=str,
)
@pytest.mark.parametrize("inputs", [TABLE, np.asfortranarray(TABLE), TABLE[:, ::2], TABLE.reshape(6, 2, 2)])
def test_rows_are_gathered_as_by_indexing(rows: IntArray, inputs: np.ndarray) -> None:
    """Whatever numbers them, in the same layout, into memory of the batch's own."""
    found = take(Batch(inputs, np.arange(6)), rows).inputs
    np.testing.assert_array_equal(found, inputs[rows], strict=True)
    assert (found.strides, found.flags.writeable) == (inputs[rows].strides, False)
    assert not np.shares_memory(found, inputs)


@pytest.mark.parametrize("row", [6, -7])
def test_a_row_that_is_not_there_is_refused(row: int) -> None:
    """No row is taken for another one."""
    with pytest.raises(IndexError, match="out of bounds"):
        take(Batch(TABLE, np.arange(6)), np.array([0, row]))


@given(rows=st.integers(0, 30), size=st.integers(1, 12), drop_last=st.booleans())
def test_batches_are_as_many_as_foretold(rows: int, size: int, drop_last: bool) -> None:
    """`batches_per_epoch` counts what `epoch_batches` gives, and with drop_last all are full."""
    lengths = [len(rows) for rows in rows_of(epoch_batches(numbered(rows), Key(0), 0, size, drop_last=drop_last))]
    assert len(lengths) == batches_per_epoch(rows, size, drop_last=drop_last)
    assert all(length == size for length in (lengths if drop_last else lengths[:-1]))


@pytest.mark.parametrize("sampler", [shuffled, in_order, weighted(np.ones(20)), class_balanced(np.arange(20) % 3)])
def test_same_key_and_epoch_give_the_same_batches(sampler: Sampler) -> None:
    """Nothing but (key, epoch) decides the order."""
    one, two = (rows_of(epoch_batches(numbered(20), Key(1), 4, 6, sampler=sampler)) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("sampler", [shuffled, weighted(np.ones(20)), class_balanced(np.arange(20) % 3)])
def test_other_epochs_and_keys_differ(sampler: Sampler) -> None:
    """No two epochs and no two keys share an order."""
    orders = [
        tuple(flat(rows_of(epoch_batches(numbered(20), Key(seed), epoch, 6, sampler=sampler))))
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]
    ]
    assert len(set(orders)) == 4


@given(start=st.integers(0, 6))
def test_start_passes_over_batches_and_changes_no_other(start: int) -> None:
    """Going on within an epoch sees exactly the batches that were not seen."""
    whole = rows_of(epoch_batches(numbered(20), Key(1), 2, 6))
    assert rows_of(epoch_batches(numbered(20), Key(1), 2, 6, start=start)) == whole[start:]


def test_batches_are_gathered_when_asked_for() -> None:
    """An epoch never holds a second copy of the data."""
    data = numbered(4)
    batch = next(iter(epoch_batches(data, Key(0), 0, 2)))
    assert not np.shares_memory(batch.inputs, data.inputs)
    assert not batch.inputs.flags.writeable


def test_a_sampler_of_ones_own_may_draw_any_number_of_rows() -> None:
    """A sampler is a function; half an epoch is a valid one."""

    def half(key: Key, count: int) -> IntArray:
        return shuffled(key, count)[: count // 2]

    drawn = flat(rows_of(epoch_batches(numbered(10), Key(0), 0, 3, sampler=half)))
    assert len(drawn) == len(set(drawn)) == 5


def test_take_by_mask_and_by_number_agree() -> None:
    """Both ways to name rows give the same batch."""
    data, mask = numbered(5), np.array([True, False, True, False, True])
    by_mask, by_number = take(data, mask), take(data, np.flatnonzero(mask))
    assert np.array_equal(by_mask.inputs, by_number.inputs)
    assert take(Batch(data.inputs, data.targets), mask).weights is None


def test_weighted_draws_in_proportion() -> None:
    """Rows of weight 0 never come; the others come as often as their weights say (within 5 standard deviations)."""
    count = 20_000
    weights = np.tile([0.0, 1.0, 3.0, 0.0], count // 4)
    kinds = weighted(weights)(Key(5), count) % 4
    drawn = np.bincount(kinds, minlength=4)
    assert drawn[[0, 3]].tolist() == [0, 0]
    assert abs(drawn[2] / count - 0.75) < 5 * np.sqrt(0.75 * 0.25 / count)


@given(label=st.lists(st.integers(0, 4), min_size=1, max_size=40), seed=st.integers(0, 50))
def test_class_balanced_draws_each_class_equally_often(label: list[int], seed: int) -> None:
    """No class that occurs comes more than once more often than another, and no row than another of its class."""
    targets = np.array(label)
    rows = class_balanced(targets)(Key(seed), len(targets))
    drawn = np.bincount(targets[rows], minlength=5)[np.unique(targets)]
    assert drawn.sum() == len(targets)
    assert np.ptp(drawn) <= 1
    for c in np.unique(targets):
        assert np.ptp(np.bincount(rows, minlength=len(targets))[targets == c]) <= 1


def test_class_balanced_takes_one_hot_rows() -> None:
    """Both forms of targets give one sampler."""
    label = np.array([0, 0, 0, 1])
    indices, rows = (class_balanced(targets)(Key(0), 4) for targets in (label, np.eye(2)[label]))
    assert np.array_equal(indices, rows)


def test_class_indices_of_both_forms() -> None:
    """One-hot rows, soft rows and indices of any integer type become the same indices."""
    label = np.array([2, 0, 1], np.uint8)
    for targets in (label, np.eye(3)[label], 0.8 * np.eye(3)[label] + 0.1):
        assert class_indices(targets).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "data",
    [
        Batch(np.zeros((3, 1)), np.zeros(2)),
        Batch(np.zeros((3, 1)), np.zeros(3), np.zeros(4)),
    ],
)
def test_fields_of_different_length_are_refused(data: Batch) -> None:
    """Rows that do not belong together are an error before any training."""
    with pytest.raises(ValueError, match="3 inputs"):
        row_count(data)
    with pytest.raises(ValueError, match="3 inputs"):
        epoch_batches(data, Key(0), 0, 2)


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"batch_size": 2, "start": -1}])
def test_bad_settings_are_refused_at_the_call(settings: dict[str, int]) -> None:
    """The error comes where the mistake is, not where the first batch is asked for."""
    with pytest.raises(ValueError, match="got"):
        epoch_batches(numbered(4), Key(0), 0, **settings)


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [[1.0]], []])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    """Weights must be able to say how often."""
    with pytest.raises(ValueError, match="finite numbers"):
        weighted(np.array(weights))


@pytest.mark.parametrize("sampler", [weighted(np.ones(3)), class_balanced(np.zeros(3, np.int64))])
def test_sampler_of_other_data_is_refused(sampler: Sampler) -> None:
    """A sampler made from 3 rows does not fit 4."""
    with pytest.raises(ValueError, match=r"made from 3 .* 4 rows"):
        epoch_batches(numbered(4), Key(0), 0, 2, sampler=sampler)


def test_class_balanced_of_nothing_is_refused() -> None:
    """There is no class to balance."""
    with pytest.raises(ValueError, match="at least one target"):
        class_balanced(np.zeros(0, np.int64))


ROWS = np.ones(2)


@pytest.mark.parametrize(("inputs", "targets", "weights"), [(1.0, ROWS, None), (ROWS, None, None), (ROWS, ROWS, 2)])
def test_arrays_without_rows_are_refused(inputs: Any, targets: Any, weights: Any) -> None:
    """A number, or nothing, in place of an array is named when the batch is made."""
    with pytest.raises(TypeError, match=r"Batch takes (inputs|targets|weights) of one row for each example, got"):
        Batch(inputs, targets, weights)
