"""One training step, looked at from inside: what each operation takes and gives, how large, how much work, how long.

The numbers come from the step that training takes: the same `make_step`, over layers that are watched. Watching keeps
what passes by and changes nothing, so the state after the step has the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import Literal, TypeVar

import attrs
import numpy as np

from bpfunc import Batch, fold_in, make_step
from bpfunc.arrays.types import FloatArray, IntArray, Shape, readonly_arrays
from bpfunc.batches.batch import batches_per_epoch, class_indices
from bpfunc.gradient.modes import GradientFn, Value, value, value_and_grad
from bpfunc.layers import Context, Layer
from bpfunc.losses import Loss, class_rows
from bpfunc.metrics import mean
from bpfunc.ops import softmax
from bpfunc.training.step import TrainState
from bpfunc.transforms.update import updated
from bpfunc.tree import Tree, tree_leaves_with_path
from pipelines.disk.json_text import json_value
from pipelines.inspection.equations import layer_formulas, loss_formulas, update_formulas
from pipelines.spec.run_spec import RunSpec
from pipelines.training.build import build_loss, build_model, build_schedule, build_transform
from pipelines.training.replay import standing

REPEATS = 5
"""How often the step is taken for its times; it is a pure function, so nothing else comes of it."""
BARS = 24
"""Of a histogram."""

Pass = Literal["forward", "backward"]
ResultT = TypeVar("ResultT")


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Spread:
    """How the numbers of an array are spread."""

    low: float
    high: float
    counts: IntArray
    """(BARS,) in bins of equal width from the lowest number to the highest."""


@attrs.frozen
class Gradient:
    """The gradient of one array of parameters."""

    name: str
    shape: Shape
    norm: float


@attrs.frozen(eq=False)
class Operation:
    """One operation of the forward or the backward pass."""

    stage: Pass
    place: str
    """Tree path of the layer, such as ``layers[0]``, or ``loss``."""
    layer: str
    """Name of the layer, or of the loss."""
    formulas: tuple[str, ...]
    takes: Shape
    """Of the array that goes in: of ``x`` forward, of ``dy`` backward."""
    gives: Shape | None
    """Of the array that comes out; None where the input's derivative is not needed."""
    norm: float | None
    """Euclidean norm of what comes out, over the whole batch."""
    spread: Spread | None
    gradients: tuple[Gradient, ...]
    """Of the layer's parameters, backward."""
    flops: int | None
    """Floating-point operations for the whole batch; None where they are not counted."""
    seconds: float
    """Median over the repeats."""


@attrs.frozen
class Update:
    """What happened to one array of parameters."""

    path: str
    shape: Shape
    gradient: float
    """Norms of the gradient, of the step that was taken, and of the parameters before."""
    step: float
    parameters: float


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Explained:
    """A whole step."""

    recipe: str
    seed: int
    step: int
    steps: int
    """Of the whole training."""
    epoch: int
    """From 1."""
    class_names: tuple[str, ...]
    inputs: FloatArray
    """(B, 784) as the network sees them."""
    targets: FloatArray
    """(B, K) before any smoothing."""
    probabilities: FloatArray
    """(B, K) of the network before the update."""
    learning_rate: float
    loss: float
    """Mean over the batch, in nats, before the update."""
    accuracy: float
    loss_after: float
    """Of the same batch, with what is dropped dropped the same, after the update."""
    operations: tuple[Operation, ...]
    """In the order in which they happened."""
    update_formulas: tuple[str, ...]
    updates: tuple[Update, ...]
    update_seconds: float
    seconds: float
    """Of the whole step without watching, median over the repeats."""
    first_gradient: FloatArray
    """(784, H) gradient of the first weights."""
    after: TrainState

    @property
    def flops(self) -> int:
        """Counted floating-point operations of both passes."""
        return sum(operation.flops or 0 for operation in self.operations)


@attrs.define
class _Seen:
    """What went through an operation, and how long each passing took."""

    takes: FloatArray
    gives: FloatArray | None
    gradients: Tree
    times: list[float]


@attrs.define
class _Watch:
    """Watches the layers and the loss of a network; keeps what it saw, by pass and place."""

    seen: dict[tuple[Pass, str], _Seen] = attrs.Factory(dict)
    layers: dict[str, Layer] = attrs.Factory(dict)
    gradient: Tree = ()

    def note(
        self, stage: Pass, place: str, takes: FloatArray, gives: FloatArray | None, grads: Tree, seconds: float
    ) -> None:
        """Keep what passed; the times add up over the repeats."""
        before = self.seen.get((stage, place))
        self.seen[stage, place] = _Seen(takes, gives, grads, [*(before.times if before else []), seconds])

    def layer(self, layer: Layer) -> Layer:
        """Watch a layer: its forward and backward pass do what they did."""
        place = f"layers[{len(self.layers)}]"
        self.layers[place] = layer

        def forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
            result, seconds = _timed(lambda: layer.forward(params, state, x, ctx))
            self.note("forward", place, x, result[0], (), seconds)
            return result

        def backward(params: Tree, residual: Tree, dy: FloatArray) -> tuple[Tree, FloatArray]:
            result, seconds = _timed(lambda: layer.backward(params, residual, dy))
            self.note("backward", place, dy, result[1], result[0], seconds)
            return result

        def backward_params(params: Tree, residual: Tree, dy: FloatArray) -> Tree:
            grads, seconds = _timed(lambda: layer.backward_params(params, residual, dy))
            self.note("backward", place, dy, None, grads, seconds)
            return grads

        return attrs.evolve(layer, forward=forward, backward=backward, backward_params=backward_params)

    def loss(self, loss: Loss) -> Loss:
        """Watch a loss."""

        def forward(outputs: FloatArray, targets: FloatArray | IntArray) -> tuple[FloatArray, Tree]:
            result, seconds = _timed(lambda: loss.forward(outputs, targets))
            self.note("forward", "loss", outputs, result[0], (), seconds)
            return result

        def vjp(residual: Tree, dlosses: FloatArray) -> FloatArray:
            doutputs, seconds = _timed(lambda: loss.vjp(residual, dlosses))
            self.note("backward", "loss", dlosses, doutputs, (), seconds)
            return doutputs

        return attrs.evolve(loss, forward=forward, vjp=vjp)

    def maker(self, model: Layer, loss: Loss) -> GradientFn:
        """Make the gradient as training does, and keep it."""
        inner = value_and_grad(model, loss)

        def gradient(params: Tree, state: Tree, batch: Batch, ctx: Context) -> tuple[Value, Tree]:
            found, self.gradient = inner(params, state, batch, ctx)
            return found, self.gradient

        return gradient


def _timed(function: Callable[[], ResultT]) -> tuple[ResultT, float]:
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def explain(learn: Batch, spec: RunSpec, class_names: tuple[str, ...], *, step: int = 0) -> Explained:
    """Take one step of a training and tell what happened in it.

    Args:
        learn: Rows to learn from, (N, 784) inputs and (N, K) targets.
        spec: Network and training.
        class_names: K names.
        step: Which step, from 0; those before it are trained first.

    Returns:
        The step.

    Raises:
        ValueError: The training has no such step.
    """
    # What overflows shows in the numbers; a warning would say it a second time, and less well.
    with np.errstate(over="ignore", invalid="ignore"):
        return _explained(learn, spec, class_names, step)


def _explained(learn: Batch, spec: RunSpec, class_names: tuple[str, ...], step: int) -> Explained:
    state, batch = standing(learn, spec, step)
    settings, classes = spec.train, learn.targets.shape[1]
    each = batches_per_epoch(len(learn.inputs), settings.batch_size)
    schedule = build_schedule(settings, settings.epochs * each)
    transform, loss = build_transform(settings, schedule), build_loss(settings)
    plain = make_step(build_model(spec.model, classes), loss, transform)
    watch = _Watch()
    watched_model = build_model(spec.model, classes, each=watch.layer)
    watched = make_step(watched_model, watch.loss(loss), transform, gradient=watch.maker)
    watched(state, batch)  # the first passing warms up; its times do not count
    for seen in watch.seen.values():
        seen.times.clear()
    for _ in range(REPEATS):
        after, metrics = watched(state, batch)
    logits = watch.seen["forward", "loss"].takes
    passes = [
        *(_operation("forward", place, layer, watch) for place, layer in watch.layers.items()),
        _loss_operation("forward", loss, spec, watch),
        _loss_operation("backward", loss, spec, watch),
        *(_operation("backward", place, layer, watch) for place, layer in reversed(watch.layers.items())),
    ]
    ctx = Context(train=True, key=fold_in(state.key, state.step))
    later = value(build_model(spec.model, classes), loss, after.params, after.layer_state, batch, ctx)
    first = next(leaf for path, leaf in tree_leaves_with_path(watch.gradient) if path.endswith("weight"))
    return Explained(
        recipe=spec.name,
        seed=settings.seed,
        step=step,
        steps=settings.epochs * each,
        epoch=step // each + 1,
        class_names=class_names,
        inputs=batch.inputs,
        targets=class_rows(logits, batch.targets),
        probabilities=softmax(logits)[0],
        learning_rate=schedule(step),
        loss=mean(metrics.loss),
        accuracy=float((logits.argmax(axis=1) == class_indices(batch.targets)).mean()),
        loss_after=float(later.loss),
        operations=tuple(passes),
        update_formulas=update_formulas(settings),
        updates=_updates(state, after, watch.gradient),
        update_seconds=_median_time(
            lambda: updated(transform, watch.gradient, state.optimizer_state, state.params, state.step)
        ),
        seconds=_median_time(lambda: plain(state, batch)),
        first_gradient=first,
        after=after,
    )


def _median_time(function: Callable[[], object]) -> float:
    function()
    return median(_timed(function)[1] for _ in range(REPEATS))


def _operation(stage: Pass, place: str, layer: Layer, watch: _Watch) -> Operation:
    seen, known = watch.seen[stage, place], layer_formulas(layer.name)
    grads = tuple(Gradient(path, leaf.shape, norm(leaf)) for path, leaf in tree_leaves_with_path(seen.gradients))
    lines = known.forward if stage == "forward" else known.backward
    if seen.gives is None:
        lines = tuple(line for line in lines if not line.startswith("dx"))
    return _seen_operation(stage, place, layer.name, lines, seen, grads, _work(stage, layer, watch, place))


def _loss_operation(stage: Pass, loss: Loss, spec: RunSpec, watch: _Watch) -> Operation:
    known = loss_formulas(spec.train)
    lines = known.forward if stage == "forward" else known.backward
    return _seen_operation(stage, "loss", loss.name, lines, watch.seen[stage, "loss"], (), None)


def _seen_operation(
    stage: Pass,
    place: str,
    name: str,
    lines: tuple[str, ...],
    seen: _Seen,
    grads: tuple[Gradient, ...],
    flops: int | None,
) -> Operation:
    gives = seen.gives
    return Operation(
        stage=stage,
        place=place,
        layer=name,
        formulas=lines,
        takes=seen.takes.shape,
        gives=None if gives is None else gives.shape,
        norm=None if gives is None else norm(gives),
        spread=None if gives is None else spread(gives),
        gradients=grads,
        flops=flops,
        seconds=median(seen.times),
    )


def _work(stage: Pass, layer: Layer, watch: _Watch, place: str) -> int:
    """Count the floating-point operations of a layer over the batch.

    Forward it is the layer's own count. Backward, a dense layer multiplies two matrices of that size, one for the
    weights and one for the input where that is needed, and sums the bias; others multiply once for each number.

    Args:
        stage: Which pass.
        layer: A layer that is no combinator.
        watch: What passed through it.
        place: Of the layer.

    Returns:
        The count.
    """
    takes, gives = watch.seen["forward", place].takes, watch.seen["forward", place].gives
    assert gives is not None
    rows, width_in, width_out = len(takes), takes.shape[1:], gives.shape[1:]
    if stage == "forward":
        return rows * layer.flops(width_in, width_out)
    seen = watch.seen["backward", place]
    product = 2 * rows * math.prod(width_in) * math.prod(width_out)
    if not tree_leaves_with_path(seen.gradients):
        return 0 if seen.gives is None else rows * math.prod(width_in)
    return product + rows * math.prod(width_out) + (0 if seen.gives is None else product)


def norm(array: FloatArray) -> float:
    """Measure an array: the root of the sum of its squares.

    Args:
        array: Any.

    Returns:
        The norm, summed in float64.

    Example:
        >>> norm(np.array([[3.0, 4.0]]))
        5.0
    """
    return float(np.sqrt(np.square(array, dtype=np.float64).sum()))


def spread(array: FloatArray) -> Spread | None:
    """Count how the numbers of an array are spread.

    Args:
        array: Any.

    Returns:
        A histogram, or None where a number is not finite.

    Example:
        >>> spread(np.array([0.0, 1.0, 1.0])).counts[-1]
        np.int64(2)
    """
    if not np.isfinite(array).all():
        return None
    counts, edges = np.histogram(array.astype(np.float64), BARS)
    return Spread(float(edges[0]), float(edges[-1]), counts)


def _updates(before: TrainState, after: TrainState, grads: Tree) -> tuple[Update, ...]:
    found = zip(
        tree_leaves_with_path(before.params),
        tree_leaves_with_path(after.params),
        tree_leaves_with_path(grads),
        strict=True,
    )
    return tuple(
        Update(path, old.shape, norm(gradient), norm(new - old), norm(old))
        for (path, old), (_, new), (_, gradient) in found
    )


def explained_table(found: Explained) -> dict[str, object]:
    """Turn an explanation into plain values.

    Args:
        found: Any step.

    Returns:
        A JSON object; times in seconds, losses in nats, no arrays of the batch; null where a number is not finite.
    """
    table = {
        "recipe": found.recipe,
        "seed": found.seed,
        "step": found.step,
        "steps": found.steps,
        "epoch": found.epoch,
        "batch_size": len(found.inputs),
        "learning_rate": found.learning_rate,
        "loss": found.loss,
        "accuracy": found.accuracy,
        "loss_after": found.loss_after,
        "seconds": found.seconds,
        "flops": found.flops,
        "operations": [
            {
                "pass": one.stage,
                "place": one.place,
                "layer": one.layer,
                "formulas": list(one.formulas),
                "takes": list(one.takes),
                "gives": None if one.gives is None else list(one.gives),
                "norm": one.norm,
                "gradients": [attrs.asdict(gradient) for gradient in one.gradients],
                "flops": one.flops,
                "seconds": one.seconds,
            }
            for one in found.operations
        ],
        "update": {
            "formulas": list(found.update_formulas),
            "seconds": found.update_seconds,
            "parameters": [attrs.asdict(one) for one in found.updates],
        },
    }
    return {name: json_value(value) for name, value in table.items()}
