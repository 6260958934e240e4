"""Mini-batches: which rows a step sees, as a pure function of (key, epoch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.keys import Key, fold_in, permutation
from bpfunc.types import FloatArray, IntArray, readonly_arrays


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Batch:
    """Examples to learn from: a mini-batch, or a whole data set.

    Args:
        inputs: (B, ...) floating, or whole numbers for an embedding.
        targets: (B, K) one-hot or soft, (B,) class indices, or numbers to regress on.
        weights: (B,) how much each example counts, at least 0; None where all count the same.

    Example:
        >>> batch = Batch(np.zeros((2, 3)), np.eye(2))
        >>> len(batch.inputs)
        2
    """

    inputs: FloatArray
    targets: FloatArray | IntArray
    weights: FloatArray | None = None


Sampler: TypeAlias = Callable[[Key, int], IntArray]
"""``(key, count) -> rows``: the rows of an epoch in their order, out of ``count``."""


def shuffled(key: Key, count: int) -> IntArray:
    """Sample without replacement: every row once, in random order. The default `Sampler`.

    Args:
        key: Names the order.
        count: Number of rows.

    Returns:
        (count,) int64.

    Example:
        >>> sorted(shuffled(Key(0), 3).tolist())
        [0, 1, 2]
    """
    return permutation(key, count)


def in_order(key: Key, count: int) -> IntArray:
    """Sample every row once, in the order in which the rows stand. A `Sampler`.

    Args:
        key: Not used.
        count: Number of rows.

    Returns:
        (count,) int64.

    Example:
        >>> in_order(Key(0), 3).tolist()
        [0, 1, 2]
    """
    return np.arange(count)


def take(data: Batch, rows: IntArray | NDArray[np.bool_]) -> Batch:
    """Gather some rows.

    Args:
        data: Where to take from.
        rows: Row numbers, or a mask.

    Returns:
        A batch of fresh arrays.

    Example:
        >>> take(Batch(np.arange(3.0), np.arange(3)), np.array([2, 0])).inputs
        array([2., 0.])
    """
    weights = None if data.weights is None else data.weights[rows]
    return Batch(data.inputs[rows], data.targets[rows], weights)


def epoch_batches(
    data: Batch, key: Key, epoch: int, batch_size: int, *, sampler: Sampler = shuffled, drop_last: bool = False
) -> Iterator[Batch]:
    """Cut one epoch into mini-batches; the order depends on (key, epoch) alone.

    Args:
        data: The whole data set.
        key: Names the order of all epochs.
        epoch: Number of the epoch, from 0.
        batch_size: Rows in a batch, at least 1; the last batch takes what is left.
        sampler: Which rows, in which order.
        drop_last: Whether to leave out a last batch that is not full.

    Yields:
        Batches.

    Raises:
        ValueError: The batch size is below 1.

    Example:
        >>> data = Batch(np.arange(5.0), np.arange(5))
        >>> [batch.inputs.tolist() for batch in epoch_batches(data, Key(0), 0, 2, sampler=in_order)]
        [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least 1 row, got batch_size={batch_size}")
    rows = sampler(fold_in(key, epoch), len(data.inputs))
    stop = len(rows) - len(rows) % batch_size if drop_last else len(rows)
    for start in range(0, stop, batch_size):
        yield take(data, rows[start : start + batch_size])
