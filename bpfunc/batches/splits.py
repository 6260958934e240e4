"""Setting rows aside: a validation split, and the folds of a cross-validation, stratified by class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bpfunc.arrays.ranges import number, whole
from bpfunc.arrays.types import BoolArray, IntArray
from bpfunc.batches.batch import Batch, class_indices, row_count, take
from bpfunc.keys import Key, permutation


def train_validation_split(data: Batch, key: Key, fraction: float, *, stratify: bool = True) -> tuple[Batch, Batch]:
    """Set a random part of the rows aside to choose by.

    Args:
        data: All rows; rows keep their order.
        key: Names the choice.
        fraction: Part of the rows to set aside, in (0, 1), rounded to whole rows.
        stratify: Whether each class gives its share, to within one row, and keeps at least one row; what a small class
            cannot give, the others give. The targets must be classes.

    Returns:
        The rows to learn from, and those set aside.

    Raises:
        ValueError: The fraction is outside (0, 1) or leaves one of the two empty, or a class without a row to learn
            from, or the targets are not classes to stratify by.

    Example:
        >>> data = Batch(np.zeros((10, 1)), np.array([0] * 8 + [1] * 2))
        >>> learn, choose = train_validation_split(data, Key(0), 0.5)
        >>> choose.targets.tolist()
        [0, 0, 0, 0, 1]
    """
    fraction = number("train_validation_split", "fraction", fraction, "(0, 1)")
    order = _drawn(data, key, stratify=stratify)
    aside = round(fraction * len(order))
    if not 0 < aside < len(order):
        raise ValueError(f"a fraction of {fraction} of {len(order)} rows leaves one side of the split empty")
    # Evenly spaced places in an order that is sorted by class meet each class in proportion.
    places = np.zeros(len(order), np.bool_)
    places[np.arange(aside) * len(order) // aside] = True
    if stratify:
        places = _with_a_row_of_each_class_left(places, class_indices(data.targets)[order], fraction)
    chosen = np.empty_like(places)
    chosen[order] = places
    return take(data, ~chosen), take(data, chosen)


def _with_a_row_of_each_class_left(places: BoolArray, label: IntArray, fraction: float) -> BoolArray:
    """Let the classes of which all rows are chosen keep their last one, and choose rows of others in their place.

    Args:
        places: (N,) whether each place is chosen.
        label: (N,) class of each place, ascending.
        fraction: For the message.
    """
    _, first, sizes = np.unique(label, return_index=True, return_counts=True)
    counts = np.add.reduceat(places, first, dtype=np.intp)
    lost = np.flatnonzero(counts == sizes)
    if len(places) - counts.sum() < len(sizes):
        raise ValueError(
            f"a fraction of {fraction} of {len(places)} rows leaves one of {len(sizes)} classes without a row to learn"
            " from"
        )
    places, share = places.copy(), sizes * counts.sum() / len(places)
    places[first[lost] + sizes[lost] - 1] = False
    counts[lost] -= 1
    for _ in lost:
        behind = int(np.where(counts < sizes - 1, share - counts, -np.inf).argmax())
        of_class = slice(first[behind], first[behind] + sizes[behind])
        places[first[behind] + int(places[of_class].argmin())] = True
        counts[behind] += 1
    return places


def k_fold(data: Batch, key: Key, folds: int, *, stratify: bool = True) -> Iterator[tuple[Batch, Batch]]:
    """Split for cross-validation: each row is set aside in exactly one of the folds.

    So the only row of a class is not learned from in the fold that sets it aside; of two rows or more, one is always.

    Args:
        data: All rows; rows keep their order.
        key: Names the choice.
        folds: How many, from 2 to the number of rows; their sizes differ by one row at most.
        stratify: Whether each fold has its share of each class, to within one row; the targets must be classes.

    Returns:
        An iterator of (rows to learn from, rows set aside), made when asked for.

    Raises:
        ValueError: The number of folds is out of range, or the targets are not classes to stratify by.

    Example:
        >>> data = Batch(np.zeros((6, 1)), np.array([0, 0, 0, 0, 1, 1]))
        >>> [aside.targets.tolist() for _, aside in k_fold(data, Key(0), 2)]
        [[0, 0, 1], [0, 0, 1]]

    Reference: Kohavi, "A study of cross-validation and bootstrap for accuracy estimation and model selection" (1995).
    """
    folds = whole("k_fold", "folds", folds, f"[2, {row_count(data)}]")
    order = _drawn(data, key, stratify=stratify)
    fold_of = np.empty(len(order), np.intp)
    fold_of[order] = np.arange(len(order)) % folds
    return ((take(data, fold_of != fold), take(data, fold_of == fold)) for fold in range(folds))


def _drawn(data: Batch, key: Key, *, stratify: bool) -> IntArray:
    """All rows in random order; sorted by class where stratified, in random order within each."""
    order = permutation(key, row_count(data))
    if not stratify:
        return order
    if data.targets.ndim == 1 and np.issubdtype(data.targets.dtype, np.floating):
        raise ValueError("targets that are numbers are not classes to stratify by; pass stratify=False")
    return order[np.argsort(class_indices(data.targets)[order], kind="stable")]
