"""Data-parallel steps: every process takes its share of each batch, and all make the same update.

How processes communicate is not decided here: the caller passes a `Communicator`, such as one over MPI.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray
from bpfunc.batches.batch import Batch, row_count, take
from bpfunc.gradient.modes import GradientFn, GradientMaker, Value, value_and_grad
from bpfunc.keys import fold_in
from bpfunc.layers import Context, Layer
from bpfunc.losses import Loss
from bpfunc.tree import Tree, ravel, tree_scale, tree_size, unravel


class Communicator(Protocol):
    """Processes that work on the same step, one of which is this one."""

    @property
    def size(self) -> int:
        """How many there are, at least 1."""
        ...

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""
        ...

    def allreduce_sum(self, vector: FloatArray) -> FloatArray:
        """Add up the vectors of all, and give everyone the same sum, bit for bit."""
        ...


@attrs.frozen
class Alone:
    """A `Communicator` of one process.

    Example:
        >>> Alone().allreduce_sum(np.array([1.0, 2.0]))
        array([1., 2.])
    """

    size: int = attrs.field(default=1, init=False)
    rank: int = attrs.field(default=0, init=False)

    def allreduce_sum(self, vector: FloatArray) -> FloatArray:
        """Return the vector."""
        return vector


def share_of(rows: int, comm: Communicator) -> slice:
    """Return the rows of a batch that a process takes: neighbours, as many as any other process to within one.

    Args:
        rows: B, at least 0.
        comm: Gives size and rank.

    Returns:
        A slice of 0..B; those of all ranks make the whole.

    Raises:
        ValueError: The rows are negative, or not a whole number.

    Example:
        >>> share_of(5, Alone())
        slice(0, 5, None)
    """
    rows = whole("share_of", "rows", rows, "[0, inf)")
    return slice(rows * comm.rank // comm.size, rows * (comm.rank + 1) // comm.size)


def data_parallel(comm: Communicator, *, gradient: GradientMaker = value_and_grad) -> GradientMaker:
    """Make a gradient maker that shares each batch out among processes.

    All processes must be given the same parameters and the same batches. Each takes its share of the rows. One sum over
    all carries gradient sums, loss sum and weights, never means, so shares of unequal size are exact: the result is the
    whole batch's except for rounding. Losses and outputs of all rows come along, so metrics are those of the whole
    batch, and what comes out is the same in every process, bit for bit. The same number of processes gives the same
    bits again; another number is as close as float addition allows.

    Dropout draws anew for each share. A layer that looks across the batch (batch_norm) sees its share, which must then
    have the rows that the layer needs, and its running statistics are averaged over the shares by their weights.

    Args:
        comm: The processes.
        gradient: How to get the gradient of a share.

    Returns:
        A maker for `bpfunc.training.step.make_step`. A check of the result, such as
        `bpfunc.training.not_finite.finite_gradient`, goes around it, never inside: all processes then see the same and
        decide the same.

    Raises:
        ShapeError: From the gradient function, where the batch does not fit the model.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model, loss = dense(2), cross_entropy()
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.ones((4, 3), np.float32), np.array([0, 0, 0, 1]))
        >>> value, grads = data_parallel(Alone())(model, loss)(params, state, batch, INFERENCE)
        >>> len(value.losses)
        4

    Reference: Goyal et al., "Accurate, large minibatch SGD" (2017).
    """
    return partial(_data_parallel, comm, gradient)


def _data_parallel(comm: Communicator, gradient: GradientMaker, model: Layer, loss: Loss) -> GradientFn:
    inner = gradient(model, loss)
    if comm.size == 1:
        return inner
    return partial(_together, comm, inner)


def _together(
    comm: Communicator, inner: GradientFn, params: Tree, state: Tree, batch: Batch, ctx: Context
) -> tuple[Value, Tree]:
    rows = row_count(batch)
    share = share_of(rows, comm)
    own_ctx = ctx if ctx.key is None else Context(ctx.train, fold_in(ctx.key, comm.rank))
    value, grads = inner(params, state, _share(batch, share), own_ctx)
    summed = comm.allreduce_sum(_packed(value, grads, batch, share))
    return _unpacked(summed, value, grads, rows)


def _share(batch: Batch, share: slice) -> Batch:
    if share.start < share.stop:
        return take(batch, np.arange(share.start, share.stop))
    # Fewer rows than processes: a row without weight stands in, so that shapes are known and nothing is added.
    return attrs.evolve(take(batch, np.arange(1)), weights=np.zeros(1, batch.inputs.dtype))


def _packed(value: Value, grads: Tree, batch: Batch, share: slice) -> FloatArray:
    """Gradient sum, state times weight, loss sum, weight, and the losses and outputs in their rows of the batch."""
    taken = share.stop - share.start
    weight = float(taken if batch.weights is None else batch.weights[share].sum())
    losses = np.zeros(len(batch.inputs), value.losses.dtype)
    outputs = np.zeros((len(batch.inputs), *value.outputs.shape[1:]), value.outputs.dtype)
    losses[share], outputs[share] = value.losses[:taken], value.outputs[:taken]
    scalars = np.array([float(value.loss) * weight, weight], losses.dtype)
    parts = (ravel(tree_scale(weight, grads)), ravel(tree_scale(weight, value.state)), scalars, losses, outputs.ravel())
    return np.concatenate(parts)


def _unpacked(summed: FloatArray, own: Value, grads: Tree, rows: int) -> tuple[Value, Tree]:
    counts = (tree_size(grads), tree_size(own.state), 2, rows)
    gradient_sum, state_sum, (loss_sum, weight), losses, outputs = np.split(summed, np.cumsum(counts))
    scale = 1 / float(weight) if weight else 0.0
    state = unravel(state_sum * scale, own.state) if weight else own.state
    kind = own.losses.dtype
    value = Value(
        kind.type(loss_sum * scale),
        losses.astype(kind),
        outputs.astype(own.outputs.dtype).reshape(rows, *own.outputs.shape[1:]),
        state,
    )
    return value, unravel(gradient_sum * scale, grads)


hands_out(data_parallel, maker=_data_parallel, gradient=_together)
