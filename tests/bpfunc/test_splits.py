"""Splits: nothing lost, nothing in both, and each class in proportion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from bpfunc.batches.batch import Batch
from bpfunc.batches.splits import k_fold, train_validation_split
from bpfunc.keys import Key, permutation

LABELS = st.lists(st.integers(0, 3), min_size=4, max_size=60)


def numbered(label: list[int]) -> Batch:
    """Rows that carry their own number as input."""
    return Batch(np.arange(len(label), dtype=np.float32), np.array(label))


@given(label=LABELS, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 20), stratify=st.booleans())
def test_split_parts_the_rows(label: list[int], fraction: float, seed: int, stratify: bool) -> None:
    """Each row is on exactly one side, in its old order, and the side has the size asked for."""
    assume(0 < round(fraction * len(label)) <= len(label) - (len(set(label)) if stratify else 1))
    data = numbered(label)
    learn, choose = train_validation_split(data, Key(seed), fraction, stratify=stratify)
    assert sorted([*learn.inputs, *choose.inputs]) == data.inputs.tolist()
    assert len(choose.inputs) == round(fraction * len(label))
    assert all(np.all(np.diff(side.inputs) > 0) for side in (learn, choose))
    assert all(np.array_equal(side.targets, data.targets[side.inputs.astype(int)]) for side in (learn, choose))


@given(label=LABELS, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 20))
def test_stratified_split_takes_each_class_in_proportion(label: list[int], fraction: float, seed: int) -> None:
    """Each class keeps a row; none is off its share by a whole row or more, but for those that give for a small one."""
    assume(0 < round(fraction * len(label)) <= len(label) - len(set(label)))
    learn, choose = train_validation_split(numbered(label), Key(seed), fraction)
    assert set(learn.targets) == set(label)
    sizes, given_up = np.bincount(label, minlength=4), np.bincount(choose.targets, minlength=4)
    share = sizes * len(choose.targets) / len(label)
    capped = (given_up == sizes - 1) & (given_up < share)
    assert np.all(given_up - share < 1 + capped.sum())
    assert np.all(share - given_up < 1)


@given(label=LABELS, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 20))
def test_a_split_that_cannot_keep_a_row_of_each_class_is_refused(label: list[int], fraction: float, seed: int) -> None:
    """There is nothing to learn a class from that has no row."""
    assume(len(label) - len(set(label)) < round(fraction * len(label)) < len(label))
    with pytest.raises(ValueError, match=r"leaves one of \d classes without a row to learn from"):
        train_validation_split(numbered(label), Key(seed), fraction)


@given(sizes=st.lists(st.integers(20, 60), min_size=1, max_size=4), fraction=st.floats(0.05, 0.9))
def test_splits_of_ordinary_data_are_what_they_were(sizes: list[int], fraction: float) -> None:
    """Where each class keeps a row anyway, the rows set aside are the evenly spaced ones of the order by class."""
    label = np.repeat(np.arange(len(sizes)), sizes)
    order = permutation(Key(3), len(label))
    order = order[np.argsort(label[order], kind="stable")]
    aside = round(fraction * len(label))
    _, choose = train_validation_split(numbered(label.tolist()), Key(3), fraction)
    assert sorted(order[np.arange(aside) * len(label) // aside]) == choose.inputs.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_the_only_row_of_a_class_is_learned_from(seed: int) -> None:
    """Whatever the key; as many rows are set aside as without that class."""
    learn, choose = train_validation_split(numbered([0, *[1] * 50, 2, *[3] * 50, 4]), Key(seed), 0.5)
    assert {0, 2, 4} <= set(learn.targets)
    assert len(choose.targets) == 52


@given(label=LABELS, folds=st.integers(2, 4), seed=st.integers(0, 20), stratify=st.booleans())
def test_folds_part_the_rows(label: list[int], folds: int, seed: int, stratify: bool) -> None:
    """Each row is set aside once, and learnt from in all other folds."""
    data = numbered(label)
    pairs = list(k_fold(data, Key(seed), folds, stratify=stratify))
    assert sorted(row for _, aside in pairs for row in aside.inputs) == data.inputs.tolist()
    assert np.ptp([len(aside.inputs) for _, aside in pairs]) <= 1
    for learn, aside in pairs:
        assert sorted([*learn.inputs, *aside.inputs]) == data.inputs.tolist()


@given(label=LABELS, folds=st.integers(2, 4), seed=st.integers(0, 20))
def test_stratified_folds_share_each_class(label: list[int], folds: int, seed: int) -> None:
    """The folds' counts of a class differ by one at most."""
    counts = [np.bincount(aside.targets, minlength=4) for _, aside in k_fold(numbered(label), Key(seed), folds)]
    assert np.ptp(counts, axis=0).max() <= 1


def test_split_and_folds_depend_on_the_key_alone() -> None:
    """One key, one choice; another key, another."""
    data = numbered([0, 1] * 20)
    same, again, other = (train_validation_split(data, Key(s), 0.3)[1].inputs.tolist() for s in (0, 0, 1))
    assert same == again != other
    same, again, other = (next(k_fold(data, Key(s), 4))[1].inputs.tolist() for s in (0, 0, 1))
    assert same == again != other


def test_split_of_numbers_is_refused_unless_plain() -> None:
    """Regression targets are no classes; rounding them to classes would be silent nonsense."""
    data = Batch(np.zeros((4, 1)), np.array([0.1, 0.2, 0.3, 0.4]))
    with pytest.raises(ValueError, match="stratify=False"):
        train_validation_split(data, Key(0), 0.5)
    assert len(train_validation_split(data, Key(0), 0.5, stratify=False)[1].targets) == 2


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 0.01, float("nan")])
def test_split_with_an_empty_side_is_refused(fraction: float) -> None:
    """A side without rows cannot teach or tell anything."""
    with pytest.raises(ValueError, match=r"of 10 rows leaves one side|fraction in \(0, 1\)"):
        train_validation_split(numbered([0] * 10), Key(0), fraction)


@pytest.mark.parametrize("folds", [0, 1, 5])
def test_folds_out_of_range_are_refused(folds: int) -> None:
    """There are at least two folds, and a row for each."""
    with pytest.raises(ValueError, match=r"folds in \[2, 4\]"):
        k_fold(numbered([0] * 4), Key(0), folds)
