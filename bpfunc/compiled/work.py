"""The arrays of one compiled epoch: what goes in, what threads share, and what comes out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from bpfunc.arrays.aligned import empty
from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.batches.batch import Batch, class_indices
from bpfunc.compiled.epoch import thread_of_epoch
from bpfunc.compiled.loops import counted, traced_once, update_of
from bpfunc.compiled.machine import LARGEST, PRECISIONS, Precision, njit
from bpfunc.compiled.network import (
    Layout,
    Stage,
    layout_of,
    network_of,
    packed,
    precision_of,
    template,
    unpacked,
)
from bpfunc.layers import Layer, ShapeError
from bpfunc.losses import Loss
from bpfunc.losses.base import Targets
from bpfunc.training.step import TrainState
from bpfunc.transforms.elementwise import Elementwise, acting, fitting_rows, slots_of
from bpfunc.transforms.formula import constants
from bpfunc.tree import Tree, TreeStructureError, tree_fill, tree_leaves, tree_rows

OPEN = 2**62
"""More than threads ever meet at a barrier."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Lesson:
    """What an epoch learns from, in the form that the threads read. It cannot be made of arrays that do not fit.

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

    def __attrs_post_init__(self) -> None:
        """Check everything that machine code takes for granted."""
        (count, _), dtype = self.data.shape, self.data.dtype
        classes, chosen = self.targets.shape[-1], self.rows.shape[0]
        for name, shape, expected in (
            ("data", self.data.shape, dtype),
            ("targets", (count, classes), dtype),
            ("labels", (count,), np.dtype(np.intp)),
            ("rows", (chosen,), np.dtype(np.intp)),
            ("scale", (chosen,), dtype),
            ("weights", (chosen,), np.dtype(np.float64)),
        ):
            array: Any = getattr(self, name)
            if array.shape != shape or array.dtype != expected:
                raise ShapeError(f"{name} of shape {shape} and {expected}, found {array.shape} and {array.dtype}")
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"{name} of a lesson is aligned and C-contiguous")
        if dtype not in PRECISIONS:
            raise TypeError(f"a compiled epoch computes in float32 or float64, found {dtype}")
        if not chosen or self.rows.min() < 0 or self.rows.max() >= count:
            raise IndexError(f"row numbers run from 0 to {count - 1}, and there is at least one")


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
        ShapeError: Inputs are not (N, D), or weights not (N,), or the targets do not fit K classes.
        TypeError: The inputs are of another dtype, or something is not a plain array of numbers.

    Example:
        >>> from bpfunc.losses import cross_entropy
        >>> data = Batch(np.zeros((3, 2)), np.array([0, 1, 1]))
        >>> lesson(cross_entropy(), data, np.array([2, 0, 1]), 2, 2, np.dtype(np.float64)).scale
        array([0.5, 0.5, 1. ])
    """
    _check_plain(data)
    if data.inputs.ndim != 2:
        raise ShapeError(f"a compiled epoch takes inputs of shape (N, D), found {data.inputs.shape}")
    if data.inputs.dtype != dtype:
        raise TypeError(
            f"a compiled epoch takes inputs of the parameters' dtype, found {data.inputs.dtype} and {dtype}; "
            f"convert them once, with inputs.astype(np.{dtype})"
        )
    targets, labels = _targets(loss, data.targets, len(data.inputs), classes, dtype)
    if rows.min(initial=0) < -len(data.inputs) or rows.max(initial=0) >= len(data.inputs):
        raise IndexError(f"the sampler names rows {rows.min()} to {rows.max()}, the data has {len(data.inputs)} rows")
    order = np.arange(len(data.inputs), dtype=np.intp)[rows]
    starts = np.arange(0, len(order), batch_size)
    weights = np.ones(len(order)) if data.weights is None else data.weights[order].astype(np.float64)
    totals = np.add.reduceat(weights, starts)
    each = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals != 0)
    return Lesson(
        _in_rows(data.inputs, dtype),
        targets,
        labels,
        order,
        (weights * np.repeat(each, np.diff(starts, append=len(order)))).astype(dtype),
        weights,
    )


def _in_rows(array: Any, dtype: np.dtype[Any]) -> Any:
    return np.require(array, dtype, ["C", "A", "E"])


def _check_plain(data: Batch) -> None:
    """Refuse what is not a plain array of real numbers."""
    for name in ("inputs", "targets", "weights"):
        value = getattr(data, name)
        if value is None and name == "weights":
            continue
        if type(value) not in (np.ndarray, np.memmap) or value.dtype.kind not in "fiub":
            found = value.dtype if type(value) is np.ndarray else type(value).__name__
            raise TypeError(f"a compiled epoch takes {name} as a plain array of numbers, found {found}")
    if data.weights is not None and data.weights.shape != (len(data.inputs),):
        raise ShapeError(f"weights of rows have shape ({len(data.inputs)},), found {data.weights.shape}")


def _targets(loss: Loss, targets: Targets, rows: int, classes: int, dtype: Precision) -> tuple[FloatArray, IntArray]:
    """The rows that the loss makes of targets, and the right classes."""
    try:
        loss.forward(np.zeros((1, classes), dtype), np.ones((1, classes), dtype))
    except ValueError as error:
        raise ShapeError(f"the class weights of the loss do not fit {classes} classes: {error}") from None
    if targets.shape == (rows, classes):
        labels, plain = np.empty(rows, np.intp), _in_rows(targets, dtype)
        if _one_hot(plain, labels):  # as most are; then there are but as many different rows as classes
            residual = loss.forward(np.zeros((classes, classes), dtype), np.eye(classes, dtype=dtype))[1]
            return residual.targets[labels], labels
    residual = loss.forward(np.zeros((rows, classes), dtype), targets)[1]
    return _in_rows(residual.targets, dtype), _in_rows(class_indices(targets), np.dtype(np.intp))


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


def check_structure(model: Layer, state: TrainState) -> TrainState:
    """Check that parameters and layer state are trees as the model's `init` makes them.

    Args:
        model: One that `bpfunc.compiled.network.network_of` takes.
        state: The state before an epoch.

    Returns:
        The same state.

    Raises:
        ShapeError: The parameters are other trees; the message names the place.
        TreeStructureError: The layer state is another tree.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense
        >>> check_structure(dense(2), TrainState(dense(2).init(Key(0), (3,))[0], (), (), 0, Key(1))).step
        0
    """
    params, layer_state = template(model)
    try:
        tree_rows(params, state.params)
    except TreeStructureError as error:
        count = len(network_of(model))
        raise ShapeError(f"the parameters are not those of {count} dense layers: {error}") from None
    tree_rows(layer_state, state.layer_state)
    return state


def learn(
    network: tuple[Stage, ...], chain: Elementwise, state: TrainState, lesson: Lesson, batch_size: int, threads: int
) -> Outcome:
    """Run an epoch.

    Args:
        network: From `bpfunc.compiled.network.network_of`.
        chain: The optimiser.
        state: Where to start; it stays as it is.
        lesson: What to learn from.
        batch_size: Rows in a batch.
        threads: How many work.

    Returns:
        The outcome, in arrays of its own.

    Raises:
        ShapeError: The parameters are not the network's, or inputs or targets have another width.
        TreeStructureError: The optimiser's state is not one of these parameters; the message names the leaf.
        TypeError: Parameters, state and inputs are not of one dtype, float32 or float64.
        ValueError: The batch size or the number of threads is below 1, or the batch size above the number of rows.

    Example:
        >>> from bpfunc.compiled.network import network_of
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
    layout, dtype = layout_of(network, state.params), lesson.data.dtype
    _check_fit(layout, lesson, precision_of(state.params))
    if not (1 <= batch_size <= min(len(lesson.rows), LARGEST) and threads >= 1):
        raise ValueError(f"batches of {batch_size} of {len(lesson.rows)} rows by {threads} threads are not possible")
    steps = -(-len(lesson.rows) // batch_size)
    trees = (state.params, *slots_of(chain, state.optimizer_state))
    tree_rows(chain.close(trees[1:]), state.optimizer_state)
    fitting_rows(PRECISIONS, state.params, *trees)
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
    _together(lambda number: work(number, threads, numbers), threads, met)
    params, *slots = [tree_fill(tree, unpacked(layout, row)) for tree, row in zip(trees, table, strict=True)]
    total = sums.sum(axis=0)
    return Outcome(params, chain.close(tuple(slots)), float(total[0]), float(total[1]))


def _check_fit(layout: Layout, lesson: Lesson, dtype: Precision) -> None:
    if layout.widths[0] != lesson.data.shape[1]:
        raise ShapeError(f"dense expected an input of shape (B, {layout.widths[0]}), found {lesson.data.shape}")
    if layout.widths[-1] != lesson.targets.shape[1]:
        raise ShapeError(f"the network has {layout.widths[-1]} outputs, the targets {lesson.targets.shape[1]} classes")
    if lesson.data.dtype != dtype:
        raise TypeError(f"inputs are of {lesson.data.dtype}, parameters of {dtype}")


def _together(work: Callable[[int], None], threads: int, met: IntArray) -> None:
    """Run ``work(number)`` in this thread and in new ones, or, where they cannot all be started, in none.

    Where one of them fails, the barrier, which ``met`` counts for, is opened for all others.
    """
    ready, complete, errors = threading.Event(), False, list[BaseException]()

    def wait_and_work(number: int) -> None:
        ready.wait()
        if not complete:  # a thread that worked without all others would wait for them for ever
            return
        try:
            work(number)
        except BaseException as error:
            met[0] = OPEN
            errors.append(error)

    others = [threading.Thread(target=wait_and_work, args=(number,)) for number in range(1, threads)]
    try:
        for other in others:
            other.start()
        complete = True
    finally:
        ready.set()
    wait_and_work(0)
    for other in others:
        other.join()
    for error in errors:
        raise error


def _rules(chain: Elementwise, state: TrainState, steps: int, dtype: Precision) -> tuple[list[int], Any, FloatArray]:
    """For each leaf the number of its formula; the update by all formulas; and (steps, C) their constants."""
    acts = acting(chain.parts, state.params, len(tree_leaves(state.params)))
    distinct = list(dict.fromkeys(acts))
    formulas, settings = zip(*[traced_once(parts, True) for parts in distinct], strict=True)
    table = [
        [
            number
            for parts, formula, fixed in zip(distinct, formulas, settings, strict=True)
            for number in counted(constants(parts, fixed, step), formula)
        ]
        for step in range(state.step, state.step + steps)
    ]
    told = sum(formula.constants for formula in formulas)
    return (
        [distinct.index(parts) for parts in acts],
        update_of(formulas, dtype),
        np.array(table, dtype).reshape(-1, told),
    )
