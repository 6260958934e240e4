"""Mini-batches: which rows a step sees, as a pure function of (key, epoch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias, TypeVar, cast

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.arguments import described, expected
from bpfunc.arrays.calls import hands_out, one_line
from bpfunc.arrays.numbers import plain_numbers
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, IntArray, readonly, readonly_arrays
from bpfunc.keys import Key, fold_in, permutation, split, uniform
from bpfunc.layers import ShapeError

ArrayT = TypeVar("ArrayT", bound=FloatArray | IntArray)


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Batch:
    """Examples to learn from: a mini-batch, or a whole data set.

    Args:
        inputs: (B, ...) floating, or whole numbers for an embedding.
        targets: (B, K) one-hot or soft, (B,) class indices, or numbers to regress on.
        weights: (B,) how much each example counts, at least 0; None where all count the same.

    Raises:
        TypeError: An array is masked, not of real numbers, or has no rows' axis.

    Example:
        >>> batch = Batch(np.zeros((2, 3)), np.eye(2))
        >>> len(batch.inputs)
        2
    """

    inputs: FloatArray
    targets: FloatArray | IntArray
    weights: FloatArray | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse arrays that a training would take wrongly."""
        for name in ("inputs", "targets", "weights"):
            array = getattr(self, name)
            plain_numbers(name, array)
            if np.ndim(array) == 0 and not (array is None and name == "weights"):
                raise TypeError(f"Batch takes {name} of one row for each example, got {described(array)}")

    __repr__ = one_line


def row_count(data: Batch) -> int:
    """Count the rows, and check that inputs, targets and weights have the same number of them.

    Args:
        data: Any batch.

    Returns:
        B.

    Raises:
        ShapeError: The fields differ in length.

    Example:
        >>> row_count(Batch(np.zeros((2, 3)), np.array([0, 1])))
        2
    """
    expected("a data set", "data", data, Batch)
    lengths = {"inputs": len(data.inputs), "targets": len(data.targets)}
    if data.weights is not None:
        lengths["weights"] = len(data.weights)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise ShapeError(f"a batch has one row of each kind for each example, found {found}")
    return lengths["inputs"]


def class_indices(targets: FloatArray | IntArray) -> IntArray:
    """Bring targets into the form of class indices.

    Args:
        targets: (B, K) one-hot or soft rows, or (B,) indices.

    Returns:
        (B,) whole numbers; the largest entry of each row.

    Example:
        >>> class_indices(np.eye(3)[[2, 0]])
        array([2, 0])
    """
    return targets.argmax(axis=-1) if targets.ndim == 2 else targets.astype(np.intp, copy=False)


def take(data: Batch, rows: IntArray | NDArray[np.bool_]) -> Batch:
    """Gather some rows.

    Args:
        data: Where to take from.
        rows: Row numbers, or a mask.

    Returns:
        A batch of fresh arrays.

    Raises:
        IndexError: There is no such row.

    Example:
        >>> take(Batch(np.arange(3.0), np.arange(3)), np.array([2, 0])).inputs
        array([2., 0.])
    """
    weights = None if data.weights is None else data.weights[rows]
    return Batch(_rows_of(data.inputs, rows), _rows_of(data.targets, rows), weights)


def _rows_of(array: ArrayT, rows: IntArray | NDArray[np.bool_]) -> ArrayT:
    numbered = isinstance(rows, np.ndarray) and rows.dtype.kind == "i"
    if numbered and type(array) is np.ndarray and array.ndim > 1 and array.flags.c_contiguous:
        return cast(ArrayT, array.take(rows, axis=0))  # faster than indexing; another layout it would copy whole
    return cast(ArrayT, array[rows])


Sampler: TypeAlias = Callable[[Key, int], IntArray]
"""``(key, count) -> rows``: the rows of an epoch in their order, out of ``count``; any number of them."""


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


def weighted(weights: FloatArray | IntArray) -> Sampler:
    """Sample with replacement, each row in proportion to its weight.

    Args:
        weights: (N,) at least 0, not all 0; they do not have to sum to 1.

    Returns:
        A `Sampler` that draws N of the N rows.

    Raises:
        ValueError: The weights are no such vector; or, from the sampler, their number is not the number of rows.

    Example:
        >>> weighted(np.array([0.0, 1.0, 0.0]))(Key(0), 3).tolist()
        [1, 1, 1]
    """
    if weights.ndim != 1 or not np.isfinite(weights).all() or not (weights >= 0).all() or not weights.any():
        raise ValueError("weights are a vector of finite numbers of at least 0 that are not all 0")
    cumulative = np.cumsum(_scaled(weights), dtype=np.float64)
    cumulative /= cumulative[-1]
    return partial(_weighted, cumulative)


def _weighted(cumulative: FloatArray, key: Key, count: int) -> IntArray:
    _check_count(count, len(cumulative), "weights")
    return np.searchsorted(cumulative, uniform(key, (count,), dtype=np.float64), side="right")


def _scaled(weights: FloatArray | IntArray) -> FloatArray | IntArray:
    """Weights whose sums neither overflow nor vanish: only their proportions matter."""
    largest = float(weights.max())
    return weights if 1e-100 < largest < 1e100 else weights.astype(np.float64) / largest


def class_balanced(targets: FloatArray | IntArray) -> Sampler:
    """Sample so that each class that occurs comes equally often, to within one row.

    The rows of a class come in random order; one comes again only when all others of its class have come as often.

    Args:
        targets: (N, K) one-hot rows, or (N,) class indices; at least one.

    Returns:
        A `Sampler` that draws N of the N rows, in random order.

    Raises:
        ValueError: There is no row; or, from the sampler, the number of targets is not the number of rows.

    Example:
        >>> label = np.array([0, 0, 0, 0, 0, 1])
        >>> np.bincount(label[class_balanced(label)(Key(0), 6)]).tolist()
        [3, 3]
    """
    label = readonly(np.array(class_indices(targets)))  # a copy: the caller may write to the targets
    classes = np.unique(label)
    if not len(classes):
        raise ValueError("class_balanced takes at least one target")
    return partial(_class_balanced, label, classes)


def _class_balanced(label: IntArray, classes: IntArray, key: Key, count: int) -> IntArray:
    _check_count(count, len(label), "targets")
    row_key, class_key, order_key = split(key, 3)
    rows = permutation(row_key, count)
    # The classes that get a row more, where the rows do not divide evenly, are drawn too.
    quotas = count // len(classes) + (permutation(class_key, len(classes)) < count % len(classes))
    drawn = [np.resize(rows[label[rows] == c], quota) for c, quota in zip(classes, quotas, strict=True)]
    return np.concatenate(drawn)[permutation(order_key, count)]


def _check_count(rows: int, expected: int, name: str) -> None:
    if rows != expected:
        raise ValueError(f"the sampler was made from {expected} {name}, the data has {rows} rows")


def batches_per_epoch(rows: int, batch_size: int, *, drop_last: bool = False) -> int:
    """How many batches `epoch_batches` cuts: ``ceil(rows / batch_size)``, or the floor with ``drop_last``.

    With it a step count says where a training stands: ``epoch, start = divmod(state.step, batches_per_epoch(...))``.

    Args:
        rows: Rows that the sampler draws, at least 0.
        batch_size: Rows in a batch, at least 1.
        drop_last: Whether a last batch that is not full is left out.

    Returns:
        The number of batches.

    Raises:
        ValueError: The batch size is below 1, or the rows below 0.

    Example:
        >>> batches_per_epoch(5, 2), batches_per_epoch(5, 2, drop_last=True)
        (3, 2)
    """
    rows = whole("batches_per_epoch", "rows", rows, "[0, inf)")
    batch_size = whole("batches_per_epoch", "batch_size", batch_size, "[1, inf)")
    return rows // batch_size if drop_last else -(-rows // batch_size)


class RowBatches(Iterator[Batch]):
    """Batches of a data set, gathered one by one; a caller that gathers by itself takes row numbers instead.

    Args:
        data: The whole data set.
        rows: (n,) rows in the order of the batches.
        batch_size: Rows in a batch, at least 1; the last batch takes what is left.

    Example:
        >>> batches = RowBatches(Batch(np.arange(3.0), np.arange(3)), np.array([2, 0, 1]), 2)
        >>> next(batches).inputs
        array([2., 0.])
        >>> batches.take_rows(), list(batches)
        (array([1]), [])
    """

    def __init__(self, data: Batch, rows: IntArray, batch_size: int) -> None:
        """Stand before the first batch."""
        self.data = data
        self.batch_size = batch_size
        self._rows = rows

    def __next__(self) -> Batch:
        """Gather the next batch."""
        if not len(self._rows):
            raise StopIteration
        rows, self._rows = self._rows[: self.batch_size], self._rows[self.batch_size :]
        return take(self.data, rows)

    def take_rows(self) -> IntArray:
        """Take the rows of all batches that are left; then none is.

        Returns:
            (n,) row numbers.
        """
        rows, self._rows = self._rows, self._rows[:0]
        return rows


def epoch_batches(
    data: Batch,
    key: Key,
    epoch: int,
    batch_size: int,
    *,
    sampler: Sampler = shuffled,
    drop_last: bool = False,
    start: int = 0,
) -> Iterator[Batch]:
    """Cut one epoch into mini-batches; the order depends on (key, epoch) alone.

    Args:
        data: The whole data set.
        key: Names the order of all epochs.
        epoch: Number of the epoch, at least 0.
        batch_size: Rows in a batch, at least 1; the last batch takes what is left.
        sampler: Which rows, in which order.
        drop_last: Whether to leave out a last batch that is not full.
        start: Batches to pass over, at least 0: those seen before an interruption.

    Returns:
        An iterator of batches, each gathered when it is asked for.

    Raises:
        ValueError: The batch size is below 1, the epoch or the start below 0, or the data's fields differ in length.

    Example:
        >>> data = Batch(np.arange(5.0), np.arange(5))
        >>> [batch.inputs.tolist() for batch in epoch_batches(data, Key(0), 0, 2, sampler=in_order)]
        [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """
    start = whole("epoch_batches", "start", start, "[0, inf)")
    epoch = whole("epoch_batches", "epoch", epoch, "[0, inf)")
    batch_size = whole("epoch_batches", "batch_size", batch_size, "[1, inf)")
    rows = sampler(fold_in(key, epoch), row_count(data))
    count = batches_per_epoch(len(rows), batch_size, drop_last=drop_last)
    return RowBatches(data, rows[start * batch_size : count * batch_size], batch_size)


hands_out(weighted, sampler=_weighted)
hands_out(class_balanced, sampler=_class_balanced)
