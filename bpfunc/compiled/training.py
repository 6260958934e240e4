"""A whole epoch of a network of dense layers as one program that all cores work on."""

from __future__ import annotations

import operator
from typing import Protocol

import numpy as np
from threadpoolctl import ThreadpoolController

from bpfunc.arrays.aligned import keep_freed_memory
from bpfunc.arrays.types import IntArray
from bpfunc.batches.batch import Batch, Sampler, batches_per_epoch, row_count, shuffled
from bpfunc.compiled.network import layout_of, network_of, precision_of
from bpfunc.compiled.optimizer import elementwise_form
from bpfunc.compiled.work import check_structure, learn, lesson
from bpfunc.keys import Key, fold_in
from bpfunc.layers import Layer
from bpfunc.losses import Loss, cross_entropy
from bpfunc.metrics import Mean
from bpfunc.training.step import StepMetrics, TrainState
from bpfunc.transforms import GradientTransform


class EpochFn(Protocol):
    """``(state, data, key, epoch, batch_size) -> (state, metrics)``: one epoch, as `compiled_epoch` makes it."""

    def __call__(
        self,
        state: TrainState,
        data: Batch,
        key: Key,
        epoch: int,
        batch_size: int,
        *,
        sampler: Sampler = shuffled,
        drop_last: bool = False,
        start: int = 0,
    ) -> tuple[TrainState, StepMetrics]:
        """Train one epoch; all arguments but the first are those of `bpfunc.batches.batch.epoch_batches`."""
        ...


def compiled_epoch(model: Layer, loss: Loss, transform: GradientTransform, *, threads: int | None = None) -> EpochFn:
    """Compile a whole epoch: gathering, forward, backward and update of every step in one program.

    ``compiled_epoch(model, loss, transform)(state, ...)`` does what
    ``fold_steps(make_step(model, loss, transform), state, epoch_batches(...))`` does, and its results differ from those
    by rounding alone. A core of each thread is kept busy all the time. While it runs, SciPy's and NumPy's matrix
    library is held to one thread in all of the process. The first call takes some seconds longer, to compile.

    Args:
        model: `dense` layers in a `serial` (or several, nested), each, the last one too, followed by nothing or by
            `relu`, `leaky_relu`, `tanh`, `sigmoid` or `identity`.
        loss: `cross_entropy`, with any of its settings.
        transform: As for `compiled`.
        threads: How many share the work, at least 1; where None, as many as NumPy's matrix library uses. The same
            number gives the same bits.

    Returns:
        The function of an epoch. Its metric is accuracy. Before anything runs it raises ValueError where there is no
        batch or the batch size is below 1, IndexError where the sampler names a row that is not there, ShapeError where
        data, parameters and model do not fit, TreeStructureError where parameters or state are not those of this model
        and optimiser, and TypeError where something is not of the parameters' dtype, float32 or float64.

    Raises:
        TypeError: A formula does something that is not compiled, or the number of threads is not a whole number.
        ValueError: The model has another layer, the loss is another one, no formula for single numbers is known of the
            transform, or the number of threads is below 1; the message says which.

    Example:
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.layers.combinators import serial
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import init_train_state
        >>> model, optimizer = serial(dense(4), relu(), dense(2)), sgd(0.5)
        >>> epoch = compiled_epoch(model, cross_entropy(), optimizer)
        >>> state = init_train_state(model, optimizer, Key(0), (3,))
        >>> data = Batch(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
        >>> for number in range(20):
        ...     state, metrics = epoch(state, data, Key(1), number, 2)
        >>> state.step, metrics.metric
        (40, Mean(total=3.0, weight=3.0))

    Reference: Rumelhart, Hinton and Williams (1986); the compiler: Lam, Pitrou and Seibert, "Numba" (2015).
    """
    keep_freed_memory()
    network, chain = network_of(model), elementwise_form(transform)
    _check_loss(loss)
    controller = ThreadpoolController()
    blas = [library["num_threads"] for library in controller.select(user_api="blas").info()]
    among = max(blas, default=1) if threads is None else _whole("threads", threads)
    if among < 1:
        raise ValueError(f"a compiled epoch takes at least 1 thread, got {threads}")

    def epoch(
        state: TrainState,
        data: Batch,
        key: Key,
        epoch: int,
        batch_size: int,
        *,
        sampler: Sampler = shuffled,
        drop_last: bool = False,
        start: int = 0,
    ) -> tuple[TrainState, StepMetrics]:
        check_structure(model, state)
        width = int(layout_of(network, state.params).widths[-1])
        order = _row_numbers(sampler(fold_in(key, epoch), row_count(data)))
        batch_size, start = _whole("batch_size", batch_size), _whole("start", start)
        batches = batches_per_epoch(len(order), batch_size, drop_last=drop_last)
        rows = order[max(start, 0) * batch_size : batches * batch_size]
        if start < 0 or not len(rows):
            raise ValueError(f"there is no batch to learn from: {batches} in the epoch, starting from {start}")
        size = min(batch_size, len(rows))
        taught = lesson(loss, data, rows, size, width, precision_of(state.params))
        with controller.limit(limits=1, user_api="blas"):
            found = learn(network, chain, state, taught, size, among)
        weight = float(taught.weights.sum())
        metrics = StepMetrics(Mean(found.loss, weight), Mean(found.hits, weight))
        done = state.step + batches - start
        return TrainState(found.params, state.layer_state, found.optimizer_state, done, state.key), metrics

    return epoch


def _check_loss(loss: Loss) -> None:
    """All functions of the loss are those of `cross_entropy`; its settings, which `forward` encloses, are free."""
    known = cross_entropy()
    same_code = getattr(loss.forward, "__code__", None) is getattr(known.forward, "__code__", loss)
    if not same_code or (loss.vjp, loss.jvp, loss.vjp_jvp) != (known.vjp, known.jvp, known.vjp_jvp):
        raise ValueError(
            f"a compiled epoch takes cross_entropy with its own functions, found the loss {loss.name}; "
            "compose the step for others"
        )


def _whole(name: str, number: int) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{name} is a whole number, got {number!r}") from None


def _row_numbers(rows: IntArray) -> IntArray:
    order = np.asarray(rows)
    if order.ndim != 1 or (order.size and order.dtype.kind not in "iu"):
        raise TypeError(f"a sampler gives row numbers (n,), found shape {order.shape} and dtype {order.dtype}")
    return order
