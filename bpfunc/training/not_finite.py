"""Steps that notice NaN and infinity before these reach the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import attrs
import numpy as np

from bpfunc.arrays.calls import hands_out
from bpfunc.arrays.types import FloatArray
from bpfunc.batches.batch import Batch
from bpfunc.gradient.modes import GradientFn, GradientMaker, Value, value_and_grad
from bpfunc.layers import Context, Layer
from bpfunc.losses import Loss
from bpfunc.metrics import Mean, Metric
from bpfunc.training.loop import fold_steps
from bpfunc.training.step import StepFn, StepMetrics, TrainState
from bpfunc.tree import Tree, tree_leaves, tree_leaves_with_path

STATE_PLACES = ("parameter ", "layer state ", "optimiser state ")
"""How places begin that are not gradients."""


class NotFiniteError(ArithmeticError):
    """A loss, a gradient, a parameter or an optimiser's number is NaN or infinite.

    Args:
        place: ``loss``, the tree path of the first leaf of the gradient that is not finite, or one of
            `STATE_PLACES` and a tree path.
        step: Updates made before; None where it is not known yet.
    """

    def __init__(self, place: str, step: int | None = None) -> None:
        """Keep the parts."""
        what = f"the {place}" if place == "loss" or place.startswith(STATE_PLACES) else f"the gradient of {place}"
        super().__init__(f"{what} is not finite" + ("" if step is None else f" at step {step}"))
        self.place = place
        self.step = step


def first_not_finite(tree: Tree) -> str | None:
    """Find the first leaf that holds NaN or infinity.

    Args:
        tree: Any tree of arrays.

    Returns:
        Its path, or None where every number is finite.

    Example:
        >>> first_not_finite({"w": np.array([1.0, np.inf]), "b": np.array([0.0])})
        "['w']"
    """
    # Sums of squares are much cheaper than masks. They overflow for huge numbers; those are then looked at one by one.
    with np.errstate(over="ignore"):
        if math.isfinite(sum(_squares(leaf) for leaf in tree_leaves(tree))):
            return None
    return next((path for path, leaf in tree_leaves_with_path(tree) if not np.isfinite(leaf).all()), None)


def _squares(leaf: FloatArray | float) -> float:
    flat = np.asarray(leaf).ravel(order="K")
    return float(flat.dot(flat))


def finite_gradient(gradient: GradientMaker = value_and_grad) -> GradientMaker:
    """Make a gradient maker that raises where the loss or the gradient is not finite.

    Args:
        gradient: How to get the gradient.

    Returns:
        A maker for `bpfunc.training.step.make_step`.

    Raises:
        NotFiniteError: From the gradient function; it names the place.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> model, loss = dense(2), cross_entropy()
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.full((1, 3), np.nan, np.float32), np.array([0]))
        >>> finite_gradient()(model, loss)(params, state, batch, INFERENCE)
        Traceback (most recent call last):
            ...
        bpfunc.training.not_finite.NotFiniteError: the loss is not finite
    """
    return partial(_finite_gradient, gradient)


def _finite_gradient(gradient: GradientMaker, model: Layer, loss: Loss) -> GradientFn:
    inner = gradient(model, loss)
    return partial(_checked, inner)


def _checked(inner: GradientFn, params: Tree, state: Tree, batch: Batch, ctx: Context) -> tuple[Value, Tree]:
    value, grads = inner(params, state, batch, ctx)
    place = "loss" if not np.isfinite(value.loss) else first_not_finite(grads)
    if place is not None:
        raise NotFiniteError(place)
    return value, grads


def finite_step(step: StepFn, *, on_nan: Literal["stop", "skip"] = "stop", metric: Metric | None = None) -> StepFn:
    """Wrap a step whose gradient comes from `finite_gradient`: stop with the step's number, or leave the update out.

    A step that is skipped changes nothing but the step count, and its metrics have no weight.

    Args:
        step: From `bpfunc.training.step.make_step` with ``gradient=finite_gradient()``.
        on_nan: Whether to raise, or to go on without that update.
        metric: The step's metric, where its metrics do not carry it, as those of `bpfunc.training.step.make_step` do.

    Returns:
        ``(state, batch) -> (state, metrics)``.

    Raises:
        NotFiniteError: From the step, where it is to stop; it names place and step.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.optimizers import sgd
        >>> from bpfunc.training.step import init_train_state, make_step
        >>> model, transform = dense(2), sgd(0.1)
        >>> step = make_step(model, cross_entropy(), transform, gradient=finite_gradient())
        >>> state = init_train_state(model, transform, Key(0), (3,))
        >>> bad = Batch(np.full((1, 3), np.nan, np.float32), np.array([0]))
        >>> after, seen = finite_step(step, on_nan="skip")(state, bad)
        >>> after.step, seen.loss.weight
        (1, 0.0)
    """
    return partial(_careful, step, on_nan, metric)


def _careful(
    step: StepFn, on_nan: Literal["stop", "skip"], metric: Metric | None, state: TrainState, batch: Batch
) -> tuple[TrainState, StepMetrics]:
    try:
        return step(state, batch)
    except NotFiniteError as problem:
        if on_nan == "stop":
            raise NotFiniteError(problem.place, state.step) from None
        return attrs.evolve(state, step=state.step + 1), _nothing_seen(metric, batch)


def fold_finite_steps(
    step: StepFn,
    careful: StepFn,
    state: TrainState,
    batches: Callable[[], Iterable[Batch]],
    *,
    metric: Metric | None = None,
) -> tuple[TrainState, StepMetrics]:
    """Fold a step over batches and look once, at the end; only where that is not finite, look at every step.

    NaN and infinity stay: they show in the summed loss, the parameters or the optimiser's state. Steps are pure, so
    taking them again from where they began, with the careful step, meets the same numbers and finds the place. That
    costs next to nothing where all is well, and one more pass where it is not.

    Args:
        step: From `bpfunc.training.step.make_step`.
        careful: From `finite_step`, of the same model, loss and transform.
        state: Where to start.
        batches: Called for the batches, at least one; the same ones each time.
        metric: The steps' metric, where their metrics do not carry it.

    Returns:
        The last state, and the merged metrics.

    Raises:
        NotFiniteError: From the careful step; or parameters or optimiser state are not finite although every loss and
            gradient was, as an update may overflow: later steps cannot repair that.
        ValueError: There is no batch, or the steps' metric is another one.

    Example:
        >>> from bpfunc.keys import Key
        >>> def add(state, number):
        ...     after = attrs.evolve(state, params=state.params + number, step=state.step + 1)
        ...     return after, StepMetrics(Mean(number, 1.0), Mean(1.0, 1.0))
        >>> def leave_out(state, number):
        ...     return attrs.evolve(state, step=state.step + 1), StepMetrics(Mean(0.0, 0.0), Mean(0.0, 0.0))
        >>> def careful(state, number):
        ...     return add(state, number) if math.isfinite(number) else leave_out(state, number)
        >>> start = TrainState(0.0, (), (), 0, Key(0))
        >>> after, seen = fold_finite_steps(add, careful, start, lambda: [1.0, math.inf, 2.0])
        >>> after.params, after.step, seen.loss
        (3.0, 3, Mean(total=3.0, weight=2.0))
    """
    after, seen = fold_steps(step, state, batches(), metric=metric)
    if math.isfinite(seen.loss.total) and _poisoned(after) is None:
        return after, seen
    after, seen = fold_steps(careful, state, batches(), metric=metric)
    place = _poisoned(after)
    if place is not None:
        raise NotFiniteError(place, after.step)
    return after, seen


def _poisoned(state: TrainState) -> str | None:
    parts = {"parameter": state.params, "layer state": state.layer_state, "optimiser state": state.optimizer_state}
    places = ((kind, first_not_finite(part)) for kind, part in parts.items())
    return next((f"{kind} {place}" for kind, place in places if place is not None), None)


def _nothing_seen(metric: Metric | None, batch: Batch) -> StepMetrics:
    """Metrics without weight, which change no others that they are merged with."""
    if metric is None:
        return StepMetrics(Mean(0.0, 0.0), Mean(0.0, 0.0))
    empty = Batch(batch.inputs[:0], batch.targets[:0], None if batch.weights is None else batch.weights[:0])
    classes = batch.targets.shape[1] if batch.targets.ndim == 2 else 1
    return StepMetrics(Mean(0.0, 0.0), metric.measure(np.zeros((0, classes)), empty), metric)


hands_out(finite_gradient, maker=_finite_gradient, gradient=_checked)
hands_out(finite_step, step=_careful)
