"""The arrays of one compiled epoch: what goes in, what threads share, and what comes out."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import numpy as np

from bpfunc.arrays.aligned import empty
from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.batches.batch import Batch, class_indices
from bpfunc.interop.compiled.epoch import thread_of_epoch
from bpfunc.interop.compiled.loops import traced_once, update_of
from bpfunc.interop.compiled.machine import Precision, njit
from bpfunc.interop.compiled.network import Stage, layout_of, packed, unpacked
from bpfunc.layers import ShapeError
from bpfunc.losses import Loss
from bpfunc.losses.base import Targets
from bpfunc.training.step import TrainState
from bpfunc.transforms.elementwise import Elementwise, acting
from bpfunc.transforms.formula import constants
from bpfunc.tree import Tree, tree_fill, tree_leaves


@attrs.frozen(eq=False)
class Lesson:
    """What an epoch learns from, in the form that the threads read.

    Args:
        data: (N, D).
        targets: (N, K) rows of weights on the classes, as the loss sees them.
        labels: (N,) the right classes.
        rows: (n,) in their order.
        scale: (n,) what each of them counts in the mean of its batch.
        weights: (n,) what each counts in the metrics.
    """

    data: FloatArray
    targets: FloatArray
    labels: IntArray
    rows: IntArray
    scale: FloatArray
    weights: FloatArray


def lesson(loss: Loss, data: Batch, rows: IntArray, batch_size: int, classes: int, dtype: Precision) -> Lesson:
    """Prepare what an epoch learns from.

    Args:
        loss: Softmax cross-entropy in any setting.
        data: The whole data set.
        rows: (n,) in their order.
        batch_size: Rows in a batch.
        classes: K, outputs of the network.
        dtype: Of the parameters.

    Returns:
        The lesson.

    Raises:
        IndexError: A row is not there.
        ShapeError: Inputs are not (N, D), or the targets do not fit K classes.
        TypeError: The inputs are of another dtype.

    Example:
        >>> from bpfunc.losses import cross_entropy
        >>> data = Batch(np.zeros((3, 2)), np.array([0, 1, 1]))
        >>> lesson(cross_entropy(), data, np.array([2, 0, 1]), 2, 2, np.dtype(np.float64)).scale
        array([0.5, 0.5, 1. ])
    """
    if data.inputs.ndim != 2:
        raise ShapeError(f"a compiled epoch takes inputs of shape (N, D), found {data.inputs.shape}")
    if data.inputs.dtype != dtype:
        raise TypeError(
            f"a compiled epoch takes inputs of the parameters' dtype, found {data.inputs.dtype} and {dtype}; "
            f"convert them once, with inputs.astype(np.{dtype})"
        )
    targets, labels = _targets(loss, data.targets, len(data.inputs), classes, dtype)
    order = np.arange(len(data.inputs))[rows]
    starts = np.arange(0, len(order), batch_size)
    weights = np.ones(len(order)) if data.weights is None else data.weights[order].astype(np.float64)
    totals = np.add.reduceat(weights, starts)
    each = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals != 0)
    return Lesson(
        np.ascontiguousarray(data.inputs),
        targets,
        labels,
        order,
        (weights * np.repeat(each, np.diff(starts, append=len(order)))).astype(dtype),
        weights,
    )


def _targets(loss: Loss, targets: Targets, rows: int, classes: int, dtype: Precision) -> tuple[FloatArray, IntArray]:
    """The rows that the loss makes of targets, and the right classes."""
    if targets.shape == (rows, classes):
        labels = np.empty(rows, np.intp)
        if _one_hot(targets, labels):  # as most are; then there are but as many different rows as classes
            residual = loss.forward(np.zeros((classes, classes), dtype), np.eye(classes, dtype=dtype))[1]
            return residual.targets[labels], labels
    residual = loss.forward(np.zeros((rows, classes), dtype), targets)[1]
    return np.ascontiguousarray(residual.targets), class_indices(targets)


@njit(nogil=True)  # numba has no types
def _one_hot(targets, labels):  # compiled for what it is called with
    """Fill in the class of each row; whether every row is one 1 among zeros."""
    for r in range(len(targets)):
        ones, others = 0, 0
        for k in range(targets.shape[1]):
            if targets[r, k] == 1:
                ones += 1
                labels[r] = k
            elif targets[r, k] != 0:
                others += 1
        if ones != 1 or others > 0:
            return False
    return True


@attrs.frozen(eq=False)
class Outcome:
    """What an epoch leaves.

    Args:
        params: New parameters.
        optimizer_state: New state of the transform.
        loss: Weighted sum of the losses.
        hits: Weighted sum of the rows that were right.
    """

    params: Tree
    optimizer_state: Tree
    loss: float
    hits: float


def learn(
    network: tuple[Stage, ...], chain: Elementwise, state: TrainState, lesson: Lesson, batch_size: int, threads: int
) -> Outcome:
    """Run an epoch.

    Args:
        network: From `bpfunc.interop.compiled.network.network_of`.
        chain: The optimiser.
        state: Where to start; it stays as it is.
        lesson: What to learn from.
        batch_size: Rows in a batch.
        threads: How many work.

    Returns:
        The outcome, in arrays of its own.

    Raises:
        ShapeError: The parameters are not the network's, or the inputs have another width.

    Example:
        >>> from bpfunc.interop.compiled.network import network_of
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import init_train_state
        >>> model, optimizer = dense(2), sgd(0.5)
        >>> state = init_train_state(model, optimizer, Key(0), (2,))
        >>> data = Batch(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> taught = lesson(cross_entropy(), data, np.arange(2), 1, 2, np.dtype(np.float32))
        >>> learn(network_of(model), optimizer.elementwise, state, taught, 1, threads=1).params.weight.shape
        (2, 2)
    """
    dtype = lesson.data.dtype
    layout = layout_of(network, state.params, dtype)
    if layout.widths[0] != lesson.data.shape[1]:
        raise ShapeError(f"dense expected an input of shape (B, {layout.widths[0]}), found {lesson.data.shape}")
    steps = -(-len(lesson.rows) // batch_size)
    trees = (state.params, *chain.open(state.optimizer_state))
    table, grads = packed(layout, trees, dtype), empty((layout.size,), dtype)
    rules, update, numbers = _rules(chain, state, steps, dtype)
    value_at = np.concatenate([[0], np.cumsum(layout.widths * batch_size)])
    values, cotangents = empty((value_at[-1],), dtype), empty((value_at[-1],), dtype)
    parts = empty((threads * value_at[-1],), dtype)
    remaining = iter(rules)
    of_layers = [(next(remaining), next(remaining) if stage.use_bias else -1) for stage in network]
    weight_rule, bias_rule = np.array(of_layers).T.copy()
    sums, met = np.zeros((threads, 8)), np.zeros(1, np.int64)
    whole = np.zeros((threads, 16), np.int32)
    one_and_zero, letters = np.array([1, 0], dtype), np.frombuffer(b"NT", np.uint8)
    kinds = np.array([stage.kind for stage in network])
    slopes = np.array([stage.slope for stage in network], dtype)

    def work(number: int, among: int, numbers: FloatArray) -> None:
        thread_of_epoch(dtype)(
            number, among, met.ctypes.data, lesson.data, lesson.targets, lesson.labels, lesson.rows, lesson.scale,
            lesson.weights, batch_size, layout.widths, layout.weight_at, layout.bias_at, weight_rule, bias_rule, kinds,
            slopes, value_at, table[0], grads, table[1:], numbers, update, values, cotangents, parts, sums[number],
            whole[number], one_and_zero, letters,
        )  # fmt: skip

    work(0, 1, numbers[:0])  # compiles where that is still to be done, before anybody waits for anybody
    others = [threading.Thread(target=work, args=(number, threads, numbers)) for number in range(1, threads)]
    for other in others:
        other.start()
    work(0, threads, numbers)
    for other in others:
        other.join()
    params, *slots = [tree_fill(tree, unpacked(layout, row)) for tree, row in zip(trees, table, strict=True)]
    total = sums.sum(axis=0)
    return Outcome(params, chain.close(tuple(slots)), float(total[0]), float(total[1]))


def _rules(chain: Elementwise, state: TrainState, steps: int, dtype: Precision) -> tuple[list[int], Any, FloatArray]:
    """For each leaf the number of its formula; the update by all formulas; and (steps, C) their constants."""
    acts = acting(chain.parts, state.params, len(tree_leaves(state.params)))
    distinct = list(dict.fromkeys(acts))
    formulas, settings = zip(*[traced_once(parts, True) for parts in distinct], strict=True)
    table = [
        [number for parts, fixed in zip(distinct, settings, strict=True) for number in constants(parts, fixed, step)]
        for step in range(state.step, state.step + steps)
    ]
    return [distinct.index(parts) for parts in acts], update_of(formulas, dtype), np.array(table, dtype)
