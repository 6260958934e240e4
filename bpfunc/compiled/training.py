"""Whole epochs of a network of dense layers as one program that all cores work on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeAlias

import attrs
import numpy as np
from threadpoolctl import ThreadpoolController

from bpfunc.arrays.aligned import keep_freed_memory
from bpfunc.arrays.ranges import whole
from bpfunc.arrays.types import FloatArray, IntArray, Shape
from bpfunc.batches.augment import AugmentedBatches
from bpfunc.batches.batch import Batch, RowBatches, Sampler, batches_per_epoch, row_count, shuffled, take
from bpfunc.compiled.choice import penalty_of
from bpfunc.compiled.losses import LossForm, loss_of
from bpfunc.compiled.mixture import Mixing, mixing_of
from bpfunc.compiled.network import Network, layout_of, network_of, precision_of, template
from bpfunc.compiled.optimizer import clipped_form, penalised_form
from bpfunc.compiled.work import (
    Lesson,
    Training,
    advance,
    check_fit,
    check_structure,
    finished,
    lesson,
    silence,
    training,
)
from bpfunc.gradient.modes import GradientMaker, value_and_grad
from bpfunc.keys import Key, fold_in
from bpfunc.layers import Layer
from bpfunc.losses import Loss
from bpfunc.metrics import Mean, Metric
from bpfunc.metrics.base import reads_inputs
from bpfunc.metrics.of_loss import metric_for
from bpfunc.training.loop import merge_metrics
from bpfunc.training.step import StepMetrics, TrainState
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.elementwise import Elementwise
from bpfunc.tree import Tree

CHUNK = 2**22
"""Numbers in the outputs that are kept until the metrics have seen them."""
MOST_THREADS = 1024
"""Threads that may share the work; each has memory of its own."""
STEPS = 4096
"""Steps whose constants and keys are made at once."""
GATHERED = 2**21
"""Numbers in the inputs of batches that are learned from together, where they come one by one."""


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


FoldFn: TypeAlias = Callable[[TrainState, Iterable[Batch]], tuple[TrainState, StepMetrics]]
"""``(state, batches) -> (state, metrics)``, as `bpfunc.training.loop.fold_steps` folds a step."""


def compiled_epoch(
    model: Layer,
    loss: Loss,
    transform: GradientTransform,
    *,
    metric: Metric | None = None,
    threads: int | None = None,
) -> EpochFn:
    """Compile a whole epoch: gathering, forward, backward and update of every step in one program.

    ``compiled_epoch(model, loss, transform)(state, ...)`` does what
    ``fold_steps(make_step(model, loss, transform), state, epoch_batches(...))`` does, and its results differ from those
    by rounding alone. A core of each thread is kept busy all the time. While it runs, SciPy's and NumPy's matrix
    library is held to one thread in all of the process. The first call on a computer takes some seconds longer, to
    compile; machine code is kept on disk (see `bpfunc.compiled.kept.directory`). Ctrl-C ends it within a step.

    Args:
        model: `dense` layers, elementwise activations and `dropout`, in `serial`, nested or not, or in
            `mirror_averaged`.
        loss: Any of `bpfunc.losses`, or one made by `bpfunc.losses.elementwise.elementwise_loss`.
        transform: As for `compiled`; `clip_by_global_norm` may be the first link of its chain.
        metric: What else to measure on the outputs; accuracy where None.
        threads: How many share the work, 1 to `MOST_THREADS`; where None, as many as NumPy's matrix library uses.
            The same number gives the same bits.

    Returns:
        The function of an epoch. Before anything runs it raises ValueError where there is no batch or the batch size is
        below 1, IndexError where the sampler names a row that is not there, ShapeError where data, parameters and model
        do not fit, TreeStructureError where parameters or state are not those of this model and optimiser, and
        TypeError where something is not of the parameters' dtype, float32 or float64.

    Raises:
        TypeError: A formula does something that is not compiled, or the number of threads is not a whole number.
        ValueError: The model has another layer, the loss is another one, no formula for single numbers is known of the
            transform, or the number of threads is not one of these; the message says which.

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
    return partial(_epoch, _engine(model, loss, transform, metric, threads))


def _epoch(
    engine: Engine,
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
    order = _row_numbers(sampler(fold_in(key, epoch), row_count(data)))
    start = _whole("start", start)
    batch_size = whole("batches_per_epoch", "batch_size", batch_size, "[1, inf)")
    batches = batches_per_epoch(len(order), batch_size, drop_last=drop_last)
    rows = order[max(start, 0) * batch_size : batches * batch_size]
    if start < 0 or not len(rows):
        raise ValueError(f"there is no batch to learn from: {batches} in the epoch, starting from {start}")
    return engine.through(state, data, rows, batch_size)


def compiled_fold(
    model: Layer,
    loss: Loss,
    transform: GradientTransform,
    *,
    metric: Metric | None = None,
    threads: int | None = None,
) -> FoldFn:
    """Compile the steps over batches that come from anywhere: a stream, an augmentation, a loop of your own.

    ``compiled_fold(model, loss, transform)(state, batches)`` does what
    ``fold_steps(make_step(model, loss, transform), state, batches)`` does, up to rounding. Several batches are taken,
    and then learned from together.

    Args:
        model: As for `compiled_epoch`.
        loss: As there.
        transform: As there.
        metric: As there.
        threads: As there.

    Returns:
        The function of a stretch of steps, which raises what `compiled_epoch` raises.

    Raises:
        TypeError: As `compiled_epoch`.
        ValueError: As `compiled_epoch`.

    Example:
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import squared_error
        >>> from bpfunc.metrics import mean_squared_error
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import init_train_state
        >>> model, optimizer = dense(1), sgd(0.1)
        >>> fold = compiled_fold(model, squared_error(), optimizer, metric=mean_squared_error())
        >>> state = init_train_state(model, optimizer, Key(0), (2,))
        >>> batches = (Batch(np.full((3, 2), n, np.float32), np.full((3, 1), n)) for n in (1, 2))
        >>> fold(state, batches)[0].step
        2

    Reference: Rumelhart, Hinton and Williams (1986); the compiler: Lam, Pitrou and Seibert, "Numba" (2015).
    """
    return compiled_step(model, loss, transform, metric=metric, threads=threads).fold


@attrs.frozen(eq=False)
class CompiledStep:
    """A training step in machine code, as `compiled_step` makes it: a `bpfunc.training.loop.FoldingStep`.

    Args:
        engine: What does the work.
    """

    engine: Engine

    @property
    def threads(self) -> int:
        """How many share the work."""
        return self.engine.threads

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        """Take one step."""
        return self.fold(state, (batch,))

    def fold(self, state: TrainState, batches: Iterable[Batch]) -> tuple[TrainState, StepMetrics]:
        """Take a step for each batch; threads gather the rows of `RowBatches`, mirrored and mixed or not, themselves.

        Args:
            state: Where to start.
            batches: What to learn from, at least one batch; some are taken ahead.

        Returns:
            The last state, and the merged metrics.

        Raises:
            ValueError: There is no batch, or an empty one; for the rest see `compiled_epoch`.
        """
        mixing = None
        if isinstance(batches, AugmentedBatches) and isinstance(batches.batches, RowBatches):
            mixing = self.engine.mixing(state, batches, batches.batches.data)
            batches = batches if mixing is None else batches.batches
        if not isinstance(batches, RowBatches):
            return self.engine.fold(state, batches)
        rows = _row_numbers(batches.take_rows())
        if not len(rows):
            raise ValueError(NO_BATCH)
        return self.engine.through(state, batches.data, rows, batches.batch_size, mixing)


def compiled_step(
    model: Layer,
    loss: Loss,
    transform: GradientTransform,
    *,
    metric: Metric | None = None,
    gradient: GradientMaker = value_and_grad,
    threads: int | None = None,
    listen: Callable[[], None] = silence,
) -> CompiledStep:
    """Compile a training step: what `bpfunc.training.step.make_step` composes, as machine code.

    It stands wherever a composed step does, and its results differ from those by rounding alone. `fold_steps` and
    `train` hand it whole epochs at a time; with batches from `epoch_batches` it is as fast as `compiled_epoch`.

    Args:
        model: As for `compiled_epoch`.
        loss: As there.
        transform: As there.
        metric: As there.
        gradient: `bpfunc.gradient.modes.value_and_grad`, or what `bpfunc.gradient.penalty.penalised` returns.
        threads: As there.
        listen: Called before the threads set to work and about ten times a second while they do, in the thread that
            waits for them; what it raises ends the work within a step.

    Returns:
        The step, which raises what `compiled_epoch` raises.

    Raises:
        TypeError: As `compiled_epoch`.
        ValueError: As `compiled_epoch`.

    Example:
        >>> from bpfunc.batches.batch import epoch_batches
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.loop import train
        >>> from bpfunc.training.step import init_train_state
        >>> model, optimizer = serial(dense(4), relu(), dense(2)), sgd(0.5)
        >>> state = init_train_state(model, optimizer, Key(0), (3,))
        >>> data = Batch(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
        >>> step = compiled_step(model, cross_entropy(), optimizer)
        >>> records = list(train(step, state, lambda epoch: epoch_batches(data, Key(1), epoch, 2), epochs=20))
        >>> records[-1].metrics.metric
        Mean(total=3.0, weight=3.0)

    Reference: Rumelhart, Hinton and Williams (1986); the compiler: Lam, Pitrou and Seibert, "Numba" (2015).
    """
    return CompiledStep(_engine(model, loss, transform, metric, threads, gradient, listen))


NO_BATCH = "there is no batch to learn from; is the data set empty?"


@attrs.frozen(eq=False)
class Portion:
    """What is learned from without a pause.

    Args:
        lesson: For the threads.
        seen: For the metrics: the same rows in order, their inputs only where a metric looks at them.
        batch_size: Rows in a batch.
    """

    lesson: Lesson
    seen: Batch
    batch_size: int


@attrs.frozen(eq=False)
class Engine:
    """What is known of a training before there is a state or data."""

    model: Layer
    made: tuple[Tree, Tree]
    network: Network
    loss: Loss
    form: LossForm
    transform: GradientTransform
    gradient: GradientMaker
    chain: Elementwise
    limit: float
    penalty: float
    metric: Metric
    controller: ThreadpoolController
    threads: int
    listen: Callable[[], None]

    def __reduce__(self) -> tuple[Callable[..., Engine], tuple[object, ...]]:
        """Pickle what it is made of: another process makes its own machine code of that."""
        made_of = (self.model, self.loss, self.transform, self.metric, self.threads, self.gradient, self.listen)
        return _engine, made_of

    def mixing(self, state: TrainState, batches: AugmentedBatches, data: Batch) -> Mixing | None:
        """How threads augment rows of ``data`` while they gather them; None where NumPy has to."""
        return None if reads_inputs(self.metric) else mixing_of(batches, data, precision_of(state.params))

    def through(
        self, state: TrainState, data: Batch, rows: IntArray, batch_size: int, mixing: Mixing | None = None
    ) -> tuple[TrainState, StepMetrics]:
        """Take a step for each batch of some rows of a data set."""
        return self._follow(state, self._of_rows(state, data, rows, min(batch_size, len(rows)), mixing))

    def fold(self, state: TrainState, batches: Iterable[Batch]) -> tuple[TrainState, StepMetrics]:
        """Take a step for each batch, of whatever origin."""
        each = (self._of_rows(state, data, np.arange(row_count(data)), size) for data, size in _joined(batches))
        return self._follow(state, chain.from_iterable(each))

    def _of_rows(
        self, state: TrainState, data: Batch, rows: IntArray, size: int, mixing: Mixing | None = None
    ) -> Iterator[Portion]:
        """Cut rows into as many at a time as memory should hold outputs for."""
        width, dtype = self.outputs(state), precision_of(state.params)
        taught = partial(lesson, self.loss, self.form, data, batch_size=size, outputs=width, dtype=dtype)
        whole = None if mixing else taught(rows=rows)
        self.try_metric(data, width)
        seen = data if reads_inputs(self.metric) else attrs.evolve(data, inputs=np.zeros((row_count(data), 0), dtype))
        at_once = min(max(CHUNK // (size * width), 1), STEPS) * size
        for first in range(0, len(rows), at_once):
            chunk, number = slice(first, first + at_once), first // size
            if mixing:
                drawn = mixing.drawn(seen, rows[chunk], number, size)
                yield Portion(taught(rows=rows[chunk], drawn=drawn), drawn[1], size)
            if whole:
                numbers, totals = whole.rows[chunk], whole.totals[number : number + at_once // size]
                part = attrs.evolve(whole, rows=numbers, answers=numbers, scale=whole.scale[chunk], totals=totals)
                yield Portion(part, take(seen, numbers), size)

    def _follow(self, state: TrainState, portions: Iterable[Portion]) -> tuple[TrainState, StepMetrics]:
        """Learn one portion after the other."""
        begun: Training | None = None
        merged: StepMetrics | None = None
        now = state
        for portion in portions:
            if begun is None or begun.batch_size != portion.batch_size:  # which needs other memory
                now = now if begun is None else self.end(begun, state, now.step - state.step)
                begun = self.begin(now, portion)
            with self.controller.limit(limits=1, user_api="blas"):
                found = advance(begun, portion.lesson, now.step, self.listen)
            measured = self._measured(found.outputs, portion.seen, penalty=found.penalty)
            merged = measured if merged is None else merge_metrics(merged, measured, self.metric)
            now = attrs.evolve(now, step=now.step + batches_per_epoch(len(found.outputs), portion.batch_size))
        if begun is None or merged is None:
            raise ValueError(NO_BATCH)
        return self.end(begun, state, now.step - state.step), merged

    def outputs(self, state: TrainState) -> int:
        """How many outputs the network has, by its parameters, which are checked."""
        check_structure(self.made, state)
        return int(layout_of(self.network, state.params).widths[-1])

    def begin(self, state: TrainState, portion: Portion) -> Training:
        """Prepare a training; what is to be learned first fits the network."""
        check_fit(layout_of(self.network, state.params), portion.lesson, precision_of(state.params))
        size, threads = portion.batch_size, self.threads
        return training(self.network, self.chain, self.limit, self.form, state, size, threads, self.penalty)

    def end(self, begun: Training, state: TrainState, steps: int) -> TrainState:
        """The state after the last step."""
        params, optimizer_state = finished(begun)
        return TrainState(params, state.layer_state, optimizer_state, state.step + steps, state.key)

    def try_metric(self, data: Batch, outputs: int) -> None:
        """Let the metric refuse targets that it is not for before anything runs."""
        self._measured(np.zeros((1, outputs), data.inputs.dtype), take(data, np.zeros(1, np.intp)))

    def _measured(self, outputs: FloatArray, seen: Batch, *, penalty: float = 0.0) -> StepMetrics:
        losses = self.loss.forward(outputs, seen.targets)[0].astype(np.float64)
        if seen.weights is None:
            mean = Mean(penalty + float(losses.sum()), float(len(losses)))
        else:
            counted = seen.weights.astype(np.float64)
            mean = Mean(penalty + float(np.dot(losses, counted)), float(counted.sum()))
        return StepMetrics(mean, self.metric.measure(outputs, seen), self.metric)


def _joined(batches: Iterable[Batch]) -> Iterator[tuple[Batch, int]]:
    """Join batches of one form and size, of which the last may be smaller, into data sets, each with that size."""
    parts, size = list[Batch](), 0
    for batch in batches:
        count = row_count(batch)
        if not count:
            raise ValueError("a compiled step takes a batch of at least 1 row")
        alike = parts and len(parts[-1].inputs) == size >= count and _form(batch) == _form(parts[0]) is not None
        if parts and not (alike and (len(parts) + 1) * batch.inputs.size <= GATHERED):
            yield _whole_of(parts), size
            parts = []
        parts, size = [*parts, batch], size if parts else count
    if parts:
        yield _whole_of(parts), size


def _form(batch: Batch) -> list[tuple[Shape, np.dtype[Any]]] | None:
    """What batches that are joined have in common; None where there is an array that is refused alone."""
    fields = [field for field in (batch.inputs, batch.targets, batch.weights) if field is not None]
    plain = all(type(field) is np.ndarray for field in fields)
    return [(field.shape[1:], field.dtype) for field in fields] if plain else None


def _whole_of(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    targets: Any = np.concatenate([part.targets for part in parts])
    weights = [part.weights for part in parts if part.weights is not None]
    return Batch(np.concatenate([part.inputs for part in parts]), targets, np.concatenate(weights) if weights else None)


def _engine(
    model: Layer,
    loss: Loss,
    transform: GradientTransform,
    metric: Metric | None,
    threads: int | None,
    gradient: GradientMaker = value_and_grad,
    listen: Callable[[], None] = silence,
) -> Engine:
    keep_freed_memory()
    network, form, (limit, plain) = network_of(model), loss_of(loss), clipped_form(transform)
    penalty = penalty_of(gradient)
    chain = penalised_form(penalty, limit, plain)
    controller = ThreadpoolController()
    blas = [library["num_threads"] for library in controller.select(user_api="blas").info()]
    among = max(blas, default=1) if threads is None else _whole("threads", threads)
    if isinstance(threads, bool) or not 1 <= among <= MOST_THREADS:
        raise ValueError(f"a compiled epoch takes 1 to {MOST_THREADS} threads, got {threads}")
    measured = metric_for(loss) if metric is None else metric
    return Engine(
        model=model,
        made=template(model),
        network=network,
        loss=loss,
        form=form,
        transform=transform,
        gradient=gradient,
        chain=chain,
        limit=limit,
        penalty=penalty,
        metric=measured,
        controller=controller,
        threads=among,
        listen=listen,
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
