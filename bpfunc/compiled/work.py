"""The arrays of one compiled epoch: what goes in, what threads share, and what comes out."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import attrs
import numpy as np

from bpfunc.arrays.aligned import empty
from bpfunc.arrays.types import FloatArray, IntArray, readonly_arrays
from bpfunc.batches.batch import Batch, row_count
from bpfunc.compiled.epoch import Code, Memory, Mixture, Own, Plan, Rows, Steps, thread_of_epoch
from bpfunc.compiled.loops import activate_of, counted, derive_of, traced_once, update_of
from bpfunc.compiled.losses import LossForm, in_rows, target_rows
from bpfunc.compiled.machine import LARGEST, OPEN, PRECISIONS, Precision, product_address
from bpfunc.compiled.mixture import unmixed
from bpfunc.compiled.network import (
    Dropout,
    Layout,
    Network,
    formula_of,
    layout_of,
    packed,
    precision_of,
    unpacked,
)
from bpfunc.gradient.modes import WRONG_WEIGHTS
from bpfunc.gradient.penalty import PULL, Penalised
from bpfunc.keys import fold_in, philox_key
from bpfunc.layers import ShapeError
from bpfunc.losses import Loss
from bpfunc.training.step import TrainState
from bpfunc.transforms.elementwise import Elementwise, Part, acting, fitting_rows, slots_of
from bpfunc.transforms.formula import Formula, constants, traced_function
from bpfunc.tree import Tree, TreeStructureError, tree_fill, tree_leaves, tree_leaves_with_path, tree_rows

LISTEN = 0.1
"""Seconds after which a thread that waits looks whether it was interrupted."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Lesson:
    """What an epoch learns from, in the form that the threads read. It cannot be made of arrays that do not fit.

    Args:
        data: (N, D).
        targets: (N, K) or (n, K) rows, as the loss sees them.
        rows: (n,) of the data, in their order.
        scale: (n,) what each of them counts in the mean of its batch, times the factor of the loss.
        totals: (S,) float64, the weight of all rows of each batch; only a penalty asks for it.
        answers: (n,) the rows of the targets, in the same order.
        mixture: How rows are mirrored and mixed.
    """

    data: FloatArray
    targets: FloatArray
    rows: IntArray
    scale: FloatArray
    totals: FloatArray = attrs.field(factory=partial(np.zeros, 0))
    answers: IntArray = attrs.field(default=attrs.Factory(lambda self: self.rows, takes_self=True))
    mixture: Mixture = attrs.field(
        default=attrs.Factory(lambda self: unmixed(self.data.shape[1], self.data.dtype), takes_self=True)
    )

    def __attrs_post_init__(self) -> None:
        """Check everything that machine code takes for granted."""
        (count, width), dtype = self.data.shape, self.data.dtype
        chosen, (places, ways, partner, shares) = len(self.rows), self.mixture
        taught = chosen if len(self.targets) == chosen else count
        turned, mixed = chosen * (len(places) > 1), chosen * (len(partner) > 0)
        for name, array, shape, expected in (
            ("data", self.data, self.data.shape, dtype),
            ("targets", self.targets, (taught, self.targets.shape[-1]), dtype),
            ("rows", self.rows, (chosen,), np.intp),
            ("answers", self.answers, (chosen,), np.intp),
            ("scale", self.scale, (chosen,), dtype),
            ("places", places, (len(places), width), np.intp),
            ("ways", ways, (2, turned), np.uint8),
            ("partners", partner, (mixed,), np.intp),
            ("shares", shares, (2, mixed), dtype),
        ):
            if array.shape != shape or array.dtype != expected:
                raise ShapeError(f"{name} of shape {shape} and {expected}, found {array.shape} and {array.dtype}")
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"{name} of a lesson is aligned and C-contiguous")
        if dtype not in PRECISIONS:
            raise TypeError(f"a compiled epoch computes in float32 or float64, found {dtype}")
        if not chosen:
            raise IndexError("a lesson has at least one row")
        for name, numbers, count in (
            ("row", self.rows, len(self.data)),
            ("row of the targets", self.answers, len(self.targets)),
            ("partner", partner, chosen),
            ("way", ways, len(places)),
            ("place", places, width),
        ):
            if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= count:
                raise IndexError(f"{name} numbers run from 0 to {count - 1}")


def lesson(
    loss: Loss,
    form: LossForm,
    data: Batch,
    rows: IntArray,
    batch_size: int,
    outputs: int,
    dtype: Precision,
    drawn: tuple[Mixture, Batch] | None = None,
) -> Lesson:
    """Prepare what an epoch learns from.

    Args:
        loss: The loss.
        form: Form of the loss.
        data: The whole data set.
        rows: (n,) in their order.
        batch_size: Rows in a batch.
        outputs: K, of the network.
        dtype: Data type of the parameters.
        drawn: How rows are mirrored and mixed, and the targets and weights that this gives, in order; None for neither.

    Returns:
        The lesson.

    Raises:
        IndexError: A row is not there.
        ShapeError: Inputs are not (N, D), or weights not (N,), or the targets do not fit K outputs.
        TypeError: The inputs are of another dtype, or something is not a plain array of numbers.
        ValueError: A weight is negative or not finite.

    Example:
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.compiled.losses import loss_of
        >>> loss, data = cross_entropy(), Batch(np.zeros((3, 2)), np.array([0, 1, 1]))
        >>> lesson(loss, loss_of(loss), data, np.array([2, 0, 1]), 2, 2, np.dtype(np.float64)).scale
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
    row_count(data)
    if rows.min(initial=0) < -len(data.inputs) or rows.max(initial=0) >= len(data.inputs):
        raise IndexError(f"the sampler names rows {rows.min()} to {rows.max()}, the data has {len(data.inputs)} rows")
    order = np.arange(len(data.inputs), dtype=np.intp)[rows]
    mixture, asked = drawn or (unmixed(data.inputs.shape[1], dtype), data)
    answers = np.arange(len(order)) if drawn else order
    targets = target_rows(loss, form, asked.targets, outputs, dtype)
    starts = np.arange(0, len(order), batch_size)
    weights = np.ones(len(order)) if asked.weights is None else asked.weights[answers].astype(np.float64)
    totals = np.add.reduceat(weights, starts)
    if not (weights.min(initial=0) >= 0 and totals.max(initial=0) < math.inf):
        raise ValueError(WRONG_WEIGHTS)
    share = np.repeat(np.where(totals == 0, 1.0, totals), np.diff(starts, append=len(order)))
    return Lesson(
        in_rows(data.inputs, dtype),
        targets,
        order,
        (form.factor * (weights / share)).astype(dtype),
        totals,
        answers,
        mixture,
    )


def _check_plain(data: Batch) -> None:
    """Refuse what is not a plain array of real numbers."""
    for name in ("inputs", "targets", "weights"):
        value: Any = getattr(data, name)
        if value is None and name == "weights":
            continue
        if value is None or type(value) not in (np.ndarray, np.memmap) or value.dtype.kind not in "fiub":
            found = value.dtype if type(value) is np.ndarray else type(value).__name__
            raise TypeError(f"a compiled epoch takes {name} as a plain array of numbers, found {found}")
    if data.weights is not None and data.weights.shape != (len(data.inputs),):
        raise ShapeError(f"weights of rows have shape ({len(data.inputs)},), found {data.weights.shape}")


def check_structure(made: tuple[Tree, Tree], state: TrainState) -> TrainState:
    """Check that parameters and layer state are trees as a model's `init` makes them.

    Args:
        made: From `bpfunc.compiled.network.template`.
        state: The state before an epoch.

    Returns:
        The same state.

    Raises:
        ShapeError: The parameters are other trees; the message names the place.
        TreeStructureError: The layer state is another tree.

    Example:
        >>> from bpfunc.compiled.network import template
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense
        >>> state = TrainState(dense(2).init(Key(0), (3,))[0], (), (), 0, Key(1))
        >>> check_structure(template(dense(2)), state) is state
        True
    """
    params, layer_state = made
    try:
        tree_rows(params, state.params)
    except TreeStructureError as error:
        count = sum(path.endswith("weight") for path, _ in tree_leaves_with_path(params))
        raise ShapeError(f"the parameters are not those of {count} dense layers: {error}") from None
    tree_rows(layer_state, state.layer_state)
    return state


@attrs.frozen(eq=False)
class Rules:
    """How an optimiser's formulas are told of a step.

    Args:
        of_leaves: For each leaf of the parameters, which formula is for it.
        parts: Parts of each formula.
        formulas: All that differ.
        settings: Settings of each.
    """

    of_leaves: tuple[int, ...]
    parts: tuple[tuple[Part, ...], ...]
    formulas: tuple[Formula, ...]
    settings: tuple[tuple[float, ...], ...]


def rules_of(chain: Elementwise, params: Tree) -> Rules:
    """Find the formula for each leaf.

    Args:
        chain: The optimiser.
        params: The parameters.

    Returns:
        The rules.

    Example:
        >>> from bpfunc.optimizers import sgd
        >>> rules_of(sgd(0.1).elementwise, (np.ones(2), np.ones(3))).of_leaves
        (0, 0)
    """
    acts = acting(chain.parts, params, len(tree_leaves(params)))
    distinct = tuple(dict.fromkeys(acts))
    formulas, settings = zip(*[traced_once(parts, True) for parts in distinct], strict=True)
    return Rules(tuple(distinct.index(parts) for parts in acts), distinct, formulas, settings)


@attrs.frozen(eq=False)
class Training:
    """A training under way: its parameters and state in one buffer, which `advance` changes.

    Args:
        network: What is trained.
        layout: Layout of the parameters.
        chain: The optimiser.
        rules: Of it.
        start: The state before the first step.
        batch_size: Rows in a batch.
        among: Threads.
        plan: For the threads.
        memory: Theirs; `outputs` is made anew by each call.
        table: (1 + slots, P) parameters and state.
        code: Functions by address.
        own: For each thread.
        met: (1,) the counter of the barrier.
    """

    network: Network
    layout: Layout
    chain: Elementwise
    rules: Rules
    start: TrainState
    batch_size: int
    among: int
    plan: Plan
    memory: Memory
    table: FloatArray
    code: Code
    own: tuple[Own, ...]
    met: IntArray


def training(
    network: Network,
    chain: Elementwise,
    limit: float,
    form: LossForm,
    state: TrainState,
    batch_size: int,
    threads: int,
    penalty: float = 0.0,
) -> Training:
    """Prepare a training: check everything but the data, and copy parameters and state into buffers.

    Args:
        network: From `bpfunc.compiled.network.network_of`.
        chain: The optimiser.
        limit: Norm that the whole gradient is brought to where it is larger; 0 for none.
        form: Form of the loss.
        state: Where to start; it stays as it is.
        batch_size: Rows in a batch, at least 1.
        threads: How many work, at least 1.
        penalty: ``alpha`` of the penalty whose gradient is the first part of the chain; 0 for none.

    Returns:
        The training.

    Raises:
        ShapeError: The parameters are not the network's.
        TreeStructureError: The optimiser's state is not one of these parameters; the message names the leaf.
        TypeError: Parameters and state are not all of float32 or all of float64.
        ValueError: The batch size or the number of threads is below 1.

    Example:
        >>> from bpfunc.compiled.losses import loss_of
        >>> from bpfunc.compiled.network import network_of
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import init_train_state
        >>> model, optimizer, loss = dense(2), sgd(0.5), cross_entropy()
        >>> state = init_train_state(model, optimizer, Key(0), (2,))
        >>> begun = training(network_of(model), optimizer.elementwise, 0.0, loss_of(loss), state, 1, threads=1)
        >>> data = Batch(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> taught = lesson(loss, loss_of(loss), data, np.arange(2), 1, 2, np.dtype(np.float32))
        >>> advance(begun, taught, state.step).outputs.shape
        (2, 2)
    """
    if not 1 <= batch_size <= LARGEST or threads < 1:
        raise ValueError(f"batches of {batch_size} rows by {threads} threads are not possible")
    layout, dtype = layout_of(network, state.params), precision_of(state.params)
    slots = slots_of(chain, state.optimizer_state)
    fitting_rows(PRECISIONS, state.params, state.params, *slots)
    tree_rows(chain.close(slots), state.optimizer_state)
    table, rules = packed(layout, [state.params, *slots], dtype), rules_of(chain, state.params)
    plan, activations = _plan(network, layout, rules, (limit, penalty), form, batch_size, dtype)
    derivative, _ = traced_function(form.derivative(int(layout.widths[-1])), 3, dtype)
    code = Code(
        update_of(rules.formulas, dtype),
        activate_of(activations, dtype),
        derive_of(derivative, dtype),
        product_address(dtype),
        form.kind,
    )
    values = int(plan.value_at[-1])
    outputs = int(layout.widths[-1])
    memory = Memory(
        params=table[0],
        grads=empty((layout.size,), dtype),
        state=table[1:],
        values=empty((values,), dtype),
        cotangents=empty((values,), dtype),
        slopes=empty((values,), dtype),
        parts=empty((threads * values,), dtype),
        masks=empty((int(plan.mask_at[-1]),), dtype),
        outputs=empty((0, outputs), dtype),
        probabilities=empty((batch_size * outputs,), dtype),
        norms=np.zeros(threads),
        squares=np.zeros((0, threads)),
    )
    own = tuple(
        Own(np.zeros(16, np.int32), np.array([1, 0], dtype), np.frombuffer(b"NT", np.uint8)) for _ in range(threads)
    )
    met = np.zeros(1, np.int64)
    return Training(network, layout, chain, rules, state, batch_size, threads, plan, memory, table, code, own, met)


def _plan(
    network: Network,
    layout: Layout,
    rules: Rules,
    settings: tuple[float, float],
    form: LossForm,
    batch_size: int,
    dtype: Precision,
) -> tuple[Plan, tuple[Formula, ...]]:
    """The plan, and the formulas of its activations."""
    traced = {links: formula_of(links, dtype) for links in network.links if links}
    known = list(traced)
    drops = [[link for link in links if isinstance(link, Dropout)] for links in network.links]
    sizes = layout.widths * batch_size
    remaining = iter(rules.of_leaves)
    of_layers = [(next(remaining), next(remaining) if use_bias else -1) for use_bias in network.use_bias]
    weight_rule, bias_rule = np.array(of_layers).T.copy()
    rates = [link.rate for position in drops for link in position]
    told = [number for _, numbers in traced.values() for number in numbers]
    _, of_loss = traced_function(form.derivative(int(layout.widths[-1])), 3, dtype)
    plan = Plan(
        layout.widths,
        layout.weight_at,
        layout.bias_at,
        _starts(sizes),
        weight_rule,
        bias_rule,
        np.array([known.index(links) if links else -1 for links in network.links]),
        _starts(np.array([len(position) for position in drops])),
        _starts(np.array([len(position) for position in drops]) * sizes),
        np.array(rates, np.float32),
        np.array([1 / (1 - rate) for rate in rates], dtype),
        np.array(told, np.float64),
        np.array(of_loss, np.float64),
        *(np.array([setting], np.float64) for setting in settings),
    )
    return plan, tuple(formula for formula, _ in traced.values())


def _starts(sizes: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def silence() -> None:
    """Hear nothing: what a training listens to unless told otherwise.

    Returns:
        None.

    Example:
        >>> silence()
    """


@attrs.frozen(eq=False)
class Found:
    """What some steps found.

    Args:
        outputs: (n, K) the network's outputs for the rows of the lesson.
        penalty: Sum over the steps of the penalty times the weight of the batch.
    """

    outputs: FloatArray
    penalty: float


def advance(training: Training, lesson: Lesson, step: int, listen: Callable[[], None] = silence) -> Found:
    """Make one step for each batch of the lesson.

    Args:
        training: It goes on.
        lesson: What to learn from.
        step: Updates made so far.
        listen: Called before the threads set to work and about ten times a second while they do; what it raises stops
            them, and the training is of no more use.

    Returns:
        What was found before the update of each batch.

    Raises:
        ShapeError: Inputs or targets have another width than the network.
        TypeError: Inputs are of another dtype than the parameters.
        KeyboardInterrupt: Ctrl-C: the threads are stopped, and the training is of no more use.

    Example:
        >>> from bpfunc.compiled.losses import loss_of
        >>> from bpfunc.compiled.network import network_of
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import init_train_state
        >>> model, optimizer, loss = dense(2), sgd(0.5), cross_entropy()
        >>> state = init_train_state(model, optimizer, Key(0), (2,))
        >>> begun = training(network_of(model), optimizer.elementwise, 0.0, loss_of(loss), state, 1, threads=1)
        >>> data = Batch(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> taught = lesson(loss, loss_of(loss), data, np.arange(2), 1, 2, np.dtype(np.float32))
        >>> advance(begun, taught, state.step).outputs.dtype
        dtype('float32')
    """
    dtype = training.table.dtype
    check_fit(training.layout, lesson, dtype)
    listen()
    steps = -(-len(lesson.rows) // training.batch_size)
    alpha = float(training.plan.penalty[0])
    strengths = [Penalised(alpha).strength(total) for total in lesson.totals.tolist()]
    told = Steps(_constants(training.rules, step, steps, dtype, strengths), _keys(training, step, steps))
    outputs = empty((len(lesson.rows), lesson.targets.shape[1]), dtype)
    squares = np.zeros((steps if alpha else 0, training.among))
    memory, met = training.memory._replace(outputs=outputs, squares=squares), training.met
    met[0] = 0
    rows = Rows(lesson.data, lesson.targets, lesson.rows, lesson.answers, lesson.scale, lesson.mixture)

    def work(number: int, among: int, told: Steps) -> None:
        thread_of_epoch(
            number, among, met.ctypes.data, training.batch_size, training.plan, rows, memory, told, training.code,
            training.own[number],
        )  # fmt: skip

    work(0, 1, Steps(told.constants[:0], told.keys[:0]))  # compiles, before anybody waits for anybody
    _together(lambda number: work(number, training.among, told), training.among, met, listen)
    counted = squares.sum(axis=1)[lesson.totals != 0] if alpha else squares
    return Found(outputs, alpha / 2 * float(counted.sum()))


def _keys(training: Training, step: int, steps: int) -> Any:
    """(steps, M, 2) uint64: what the generators of the masks are keyed by."""
    paths = [link.path for links in training.network.links for link in links if isinstance(link, Dropout)]
    found = np.zeros((steps, len(paths), 2), np.uint64)
    for index in range(steps if paths else 0):
        of_step = fold_in(training.start.key, step + index)
        for number, path in enumerate(paths):
            word = philox_key(reduce(fold_in, path, of_step))
            found[index, number] = word & 0xFFFFFFFFFFFFFFFF, word >> 64
    return found


def _constants(rules: Rules, step: int, steps: int, dtype: Precision, strengths: Sequence[float]) -> FloatArray:
    pulling = attrs.evolve(PULL, numbers=lambda now: (strengths[now - step],))
    told = [tuple([pulling if part is PULL else part for part in parts]) for parts in rules.parts]
    ofs = list(zip(told, rules.formulas, rules.settings, strict=True))
    table = [
        [number for parts, formula, fixed in ofs for number in counted(constants(parts, fixed, now), formula)]
        for now in range(step, step + steps)
    ]
    return np.array(table, dtype).reshape(steps, sum(formula.constants for formula in rules.formulas))


def finished(training: Training) -> tuple[Tree, Tree]:
    """Take parameters and optimiser state out of a training.

    Args:
        training: It must not go on.

    Returns:
        The trees, read-only.

    Example:
        >>> from bpfunc.compiled.losses import loss_of
        >>> from bpfunc.compiled.network import network_of
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import init_train_state
        >>> model, optimizer, loss = dense(2), sgd(0.5), cross_entropy()
        >>> state = init_train_state(model, optimizer, Key(0), (2,))
        >>> begun = training(network_of(model), optimizer.elementwise, 0.0, loss_of(loss), state, 1, threads=1)
        >>> finished(begun)[0].weight.shape
        (2, 2)
    """
    trees = (training.start.params, *slots_of(training.chain, training.start.optimizer_state))
    rows = zip(trees, training.table, strict=True)
    params, *slots = [tree_fill(tree, unpacked(training.layout, row)) for tree, row in rows]
    return params, training.chain.close(tuple(slots))


def check_fit(layout: Layout, lesson: Lesson, dtype: Precision) -> Lesson:
    """Check that a lesson is one for a network.

    Args:
        layout: Layout of the network's parameters.
        lesson: Any.
        dtype: Data type of the parameters.

    Returns:
        The lesson.

    Raises:
        ShapeError: Inputs or targets have another width.
        TypeError: Inputs are of another dtype.

    Example:
        >>> layout = layout_of(Network((True,), ((), ())), (np.zeros((2, 3)), np.zeros(3)))
        >>> taught = Lesson(np.zeros((4, 2)), np.zeros((4, 3)), np.arange(4), np.ones(4))
        >>> check_fit(layout, taught, np.dtype(np.float64)) is taught
        True
    """
    if layout.widths[0] != lesson.data.shape[1]:
        raise ShapeError(f"dense expected an input of shape (B, {layout.widths[0]}), found {lesson.data.shape}")
    if layout.widths[-1] != lesson.targets.shape[1]:
        raise ShapeError(f"the network has {layout.widths[-1]} outputs, the targets {lesson.targets.shape[1]} classes")
    if lesson.data.dtype != dtype:
        raise TypeError(f"inputs are of {lesson.data.dtype}, parameters of {dtype}")
    return lesson


def _together(work: Callable[[int], None], threads: int, met: IntArray, listen: Callable[[], None]) -> None:
    """Run ``work(number)`` in new threads, or, where they cannot all be started, in none.

    This thread waits in Python, where it hears Ctrl-C, and where ``listen`` may raise. Where either happens, or one of
    the others fails, the barrier, which ``met`` counts for, is opened for good, and all others end their work.
    """
    ready, complete, errors = threading.Event(), False, list[BaseException]()

    def wait_and_work(number: int) -> None:
        ready.wait()
        try:
            if complete:  # a thread that worked without all others would wait for them for ever
                work(number)
        except BaseException as error:
            met[0] = OPEN
            errors.append(error)
        finally:
            done[number].set()

    # A join that Ctrl-C interrupts takes its thread for ended (CPython 3.11); the wait for an event does not.
    done = [threading.Event() for _ in range(threads)]
    workers = [threading.Thread(target=wait_and_work, args=(number,), daemon=True) for number in range(threads)]
    try:
        for worker in workers:
            worker.start()
        complete = True
        ready.set()
        for event in done:
            while not event.wait(LISTEN):
                listen()
    except BaseException:
        met[0] = OPEN
        raise
    finally:
        ready.set()
        for worker, event in zip(workers, done, strict=True):
            if worker.ident is not None:
                event.wait()
                worker.join()
    for error in errors:
        raise error
