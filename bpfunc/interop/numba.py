"""Machine code, made by numba: optimisers as one loop, and whole epochs. Needs the extra ``fast``.

`compiled` does an optimiser's work in one loop, bit for bit as NumPy does it. `compiled_epoch` makes a whole epoch of a
network of dense layers one program that all cores work on, with the results of the composed steps up to rounding.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import numpy as np

from bpfunc.arrays.aligned import keep_freed_memory
from bpfunc.arrays.types import FloatArray
from bpfunc.batches.batch import Batch, Sampler, batches_per_epoch, row_count, shuffled
from bpfunc.keys import Key, fold_in
from bpfunc.layers import Layer
from bpfunc.losses import Loss
from bpfunc.losses.softmax_cross_entropy import softmax_cross_entropy_vjp
from bpfunc.metrics import Mean
from bpfunc.training.step import StepMetrics, TrainState
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.base import fused
from bpfunc.transforms.elementwise import Arrays, Elementwise, FillFn, Part
from bpfunc.transforms.formula import constants
from bpfunc.tree import tree_leaves

try:
    from threadpoolctl import ThreadpoolController

    from bpfunc.interop.compiled.loops import loop_of, traced_once
    from bpfunc.interop.compiled.network import network_of
    from bpfunc.interop.compiled.work import learn, lesson
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"bpfunc.interop.numba needs {missing.name}; add it with: pip install 'bpfunc[fast]'", name=missing.name
    ) from None


def compiled(transform: GradientTransform) -> GradientTransform:
    """Compile an optimiser. Same records, same numbers, less time.

    The first step takes about a second longer: that is when the loop is made.

    Args:
        transform: Any chain of transforms that treat each number by itself (its `elementwise` is not None): `sgd`,
            `adam`, `adamw` with all their settings, averages of the parameters, masks. Where a chain has other links
            (a norm to clip by), compile those that can be: ``chain(clip_by_global_norm(1), compiled(adam()))``.

    Returns:
        A transform with the same states and results.

    Raises:
        ValueError: The transform looks at more than one number at a time.

    Example:
        >>> from bpfunc.optimizers import adam
        >>> fast, params = compiled(adam(0.1)), (np.ones(3, np.float32),)
        >>> updates, state = fast.update((np.ones(3, np.float32),), fast.init(params), params, 0)
        >>> updates[0]
        array([-0.09999999, -0.09999999, -0.09999999], dtype=float32)

    Reference: Lam, Pitrou and Seibert, "Numba: a LLVM-based Python JIT compiler" (2015).
    """
    return fused(transform.init, attrs.evolve(_elementwise(transform), engine=_compiled))


def _elementwise(transform: GradientTransform) -> Elementwise:
    if transform.elementwise is None:
        raise ValueError("this transform looks at more than one number at a time; compile the links that do not")
    return transform.elementwise


def _compiled(parts: tuple[Part, ...], step: int, add: bool) -> FillFn:
    """The `Engine`: hand the numbers of the step to the loop of the parts' formula."""
    formula, settings = traced_once(parts, add)
    numbers, loop = constants(parts, settings, step), loop_of(formula)

    def fill(g: FloatArray, p: FloatArray, old: Arrays, out: FloatArray, new: Arrays) -> None:
        loop(np.array(numbers, out.dtype), g, p, *old, out, *new)

    return fill


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
        model: `dense` layers in a `serial` (or several, nested), each followed by nothing or by `relu`, `leaky_relu`,
            `tanh`, `sigmoid` or `identity`.
        loss: `cross_entropy`, with any of its settings.
        transform: As for `compiled`.
        threads: How many share the work, at least 1; where None, as many as NumPy's matrix library uses. The same
            number gives the same bits.

    Returns:
        The function of an epoch. Its metric is accuracy. It raises ValueError where there is no batch or the batch size
        is below 1, IndexError where the sampler names a row that is not there, ShapeError where data and model do not
        fit, and TypeError where the inputs are not of the parameters' dtype.

    Raises:
        ValueError: The model has another layer, the loss is another one, the transform looks at more than one number at
            a time, or the number of threads is below 1; the message says which.

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
    network, chain = network_of(model), _elementwise(transform)
    if loss.vjp is not softmax_cross_entropy_vjp:
        raise ValueError(
            f"a compiled epoch takes cross_entropy, found the loss {loss.name}; compose the step for others"
        )
    if threads is not None and threads < 1:
        raise ValueError(f"a compiled epoch takes at least 1 thread, got {threads}")
    controller = ThreadpoolController()
    among = threads or max([library["num_threads"] for library in controller.select(user_api="blas").info()], default=1)

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
        rows = sampler(fold_in(key, epoch), row_count(data))
        batches = batches_per_epoch(len(rows), batch_size, drop_last=drop_last)
        rows = rows[start * batch_size : batches * batch_size]
        if start < 0 or not len(rows):
            raise ValueError(f"there is no batch to learn from: {batches} in the epoch, starting from {start}")
        leaves = tree_leaves(state.params)
        taught = lesson(loss, data, rows, batch_size, leaves[-1].shape[-1], leaves[-1].dtype)
        with controller.limit(limits=1, user_api="blas"):
            found = learn(network, chain, state, taught, batch_size, among)
        weight = float(taught.weights.sum())
        metrics = StepMetrics(Mean(found.loss, weight), Mean(found.hits, weight))
        done = state.step + batches - start
        return TrainState(found.params, state.layer_state, found.optimizer_state, done, state.key), metrics

    return epoch
