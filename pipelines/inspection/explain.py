"""One training step, looked at from inside: what each operation takes and gives, how large, how much work, how long.

The numbers come from the step that training takes: the same `make_step`, over layers that are watched. Watching keeps
what passes by and changes nothing, so the state after the step has the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal, TypeVar

import attrs
import numpy as np

from bpfunc import Batch, fold_in, make_step
from bpfunc.arrays.types import FloatArray, IntArray, Shape, readonly_arrays
from bpfunc.batches.batch import class_indices
from bpfunc.gradient.modes import GradientFn, Value, value, value_and_grad
from bpfunc.layers import Context, ConvParams, Layer
from bpfunc.layers.combinators import named, serial
from bpfunc.layers.dense import DenseParams
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.losses import CrossEntropyResidual, Loss, class_rows
from bpfunc.metrics import Mean, Metric, mean
from bpfunc.training.step import StepFn, TrainState
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.update import updated
from bpfunc.tree import Tree, tree_leaves, tree_leaves_with_path
from pipelines.artifacts import IMAGE_SIDE
from pipelines.disk.json_text import json_value
from pipelines.inspection.equations import Formulas, layer_formulas, loss_formulas, update_formulas
from pipelines.spec.run_spec import RunSpec
from pipelines.training.replay import standings, training_on

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


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class DenseArrays:
    """Parameters of a dense layer in the step: before it, their gradients over the whole batch, and after it."""

    weight: FloatArray
    """(D, H)."""
    weight_gradient: FloatArray
    weight_after: FloatArray
    bias: FloatArray | None
    """(H,), or None for a layer without."""
    bias_gradient: FloatArray | None
    bias_after: FloatArray | None


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class LayerArrays:
    """What passed through a layer, one row for each example; more than one axis is laid out as one."""

    place: str
    layer: str
    x: FloatArray
    """(B, D) that goes in."""
    y: FloatArray
    """(B, H) that comes out."""
    dy: FloatArray
    """(B, H) derivative of the mean loss by ``y``."""
    slope: FloatArray | None
    """(B, H) derivative of each output by its input; None where an output depends on more than one."""
    dense: DenseArrays | None
    """Of a dense layer."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class LossArrays:
    """What passed through the loss."""

    outputs: FloatArray
    """(B, K) of the network."""
    targets: FloatArray | None
    """(B, K) as the loss uses them, smoothed where it smooths; None where they are not of the outputs' shape."""
    probabilities: FloatArray | None
    """(B, K) softmax of the outputs, for the cross-entropy of whole targets."""
    losses: FloatArray
    """(B,)."""
    weights: FloatArray
    """(B,) part of each example in the mean: 1 / B, or its weight over the sum of the weights."""
    gradient: FloatArray
    """(B, K) derivative of the mean loss by the outputs."""


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
    """Name of the training."""
    seed: int | None
    step: int
    steps: int | None
    """Of the whole training; None where it is not known, as for the epoch and the seed."""
    epoch: int | None
    """From 1."""
    class_names: tuple[str, ...]
    """K names, or none."""
    image_shape: tuple[int, int] | None
    """(height, width) of an input that is an image."""
    inputs: FloatArray
    """(B, ...) as the network sees them."""
    learning_rate: float | None
    loss: float
    """Mean over the batch, in nats, before the update."""
    accuracy: float | None
    """Of a classification."""
    loss_after: float
    """Of the same batch, with what is dropped dropped the same, after the update."""
    operations: tuple[Operation, ...]
    """In the order in which they happened."""
    layers: tuple[LayerArrays, ...]
    """Forward."""
    loss_arrays: LossArrays
    update_formulas: tuple[str, ...]
    updates: tuple[Update, ...]
    update_seconds: float
    seconds: float
    """Of the whole step without watching, median over the repeats."""
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
    params: Tree
    kept: Tree
    """Forward the residual, backward the gradients of the parameters."""
    times: list[float]


@attrs.define
class _Watch:
    """Watches the layers and the loss of a network; keeps what it saw, by pass and place."""

    seen: dict[tuple[Pass, str], _Seen] = attrs.Factory(dict)
    layers: dict[str, Layer] = attrs.Factory(dict)
    gradient: Tree = ()

    def note(
        self, stage: Pass, place: str, takes: FloatArray, gives: FloatArray | None, params: Tree, kept: Tree,
        seconds: float,
    ) -> None:  # fmt: skip
        """Keep what passed; the times add up over the repeats."""
        before = self.seen.get((stage, place))
        self.seen[stage, place] = _Seen(takes, gives, params, kept, [*(before.times if before else []), seconds])

    def model(self, model: Layer, path: str = "") -> Layer:
        """Watch each layer of a chain of layers; any other combinator is watched as one layer.

        The chain is composed again by its own combinator, so that the keys of its layers stay the same.
        """
        maker = "" if model.maker is None else model.maker.name
        if maker == "mirror_averaged" and model.maker is not None:
            shape = dict(model.maker.settings)["image_shape"]
            assert isinstance(shape, tuple)
            height, width = map(int, shape)
            return mirror_averaged(self.model(model.parts[0][1], path), image_shape=(height, width))
        if maker not in {"serial", "named"} or not model.parts:
            return self.layer(model, path)
        inner = [self.model(layer, f"{path}.{name}" if path else name) for name, layer in model.parts]
        if maker == "serial":
            return serial(*inner)
        return named(
            *((name[len("parts['") : -len("']")], layer) for (name, _), layer in zip(model.parts, inner, strict=True))
        )

    def complete(self) -> None:
        """Take the cotangents that a chain leaves out, of layers before the first one with parameters, to show them."""
        for place, after in reversed(list(pairwise([*self.layers, "loss"]))):
            if ("backward", place) in self.seen:
                continue
            back, forward = self.seen["backward", after], self.seen["forward", after]
            dy = (
                back.gives
                if after == "loss"
                else self.layers[after].backward(forward.params, forward.kept, back.takes)[1]
            )
            assert dy is not None
            self.seen["backward", place] = _Seen(dy, None, self.seen["forward", place].params, (), [0.0])

    def layer(self, layer: Layer, place: str) -> Layer:
        """Watch a layer: its forward and backward pass do what they did."""
        self.layers[place] = layer

        def forward(params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
            result, seconds = _timed(lambda: layer.forward(params, state, x, ctx))
            self.note("forward", place, x, result[0], params, result[2], seconds)
            return result

        def backward(params: Tree, residual: Tree, dy: FloatArray) -> tuple[Tree, FloatArray]:
            result, seconds = _timed(lambda: layer.backward(params, residual, dy))
            self.note("backward", place, dy, result[1], params, result[0], seconds)
            return result

        def backward_params(params: Tree, residual: Tree, dy: FloatArray) -> Tree:
            grads, seconds = _timed(lambda: layer.backward_params(params, residual, dy))
            self.note("backward", place, dy, None, params, grads, seconds)
            return grads

        return attrs.evolve(layer, forward=forward, backward=backward, backward_params=backward_params)

    def loss(self, loss: Loss) -> Loss:
        """Watch a loss."""

        def forward(outputs: FloatArray, targets: FloatArray | IntArray) -> tuple[FloatArray, Tree]:
            result, seconds = _timed(lambda: loss.forward(outputs, targets))
            self.note("forward", "loss", outputs, result[0], (), result[1], seconds)
            return result

        def vjp(residual: Tree, dlosses: FloatArray) -> FloatArray:
            doutputs, seconds = _timed(lambda: loss.vjp(residual, dlosses))
            self.note("backward", "loss", dlosses, doutputs, (), (), seconds)
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
    return next(explain_moments(learn, spec, class_names, (step,)))


def explain_moments(
    learn: Batch, spec: RunSpec, class_names: tuple[str, ...], steps: Sequence[int]
) -> Iterator[Explained]:
    """Take several steps of one training, which is run once, and tell what happened in each.

    Args:
        learn: Rows to learn from, (N, 784) inputs and (N, K) targets.
        spec: Network and training.
        class_names: K names.
        steps: Which steps, from 0, in rising order.

    Yields:
        Each step.

    Raises:
        ValueError: The training does not have such a step, or the order is another.
    """
    settings, training = spec.train, training_on(learn, spec)
    each = training.epoch_steps
    for state, batch in standings(learn, training, steps):
        found = explain_step(
            training.model, training.loss, training.transform, state, batch,
            name=spec.name, class_names=class_names, image_shape=(IMAGE_SIDE, IMAGE_SIDE),
            update_formulas=update_formulas(settings), learning_rate=training.schedule(state.step),
            loss_formulas=loss_formulas(settings),
        )  # fmt: skip
        yield attrs.evolve(found, seed=settings.seed, steps=training.steps, epoch=state.step // each + 1)


def last_step(learn: Batch, spec: RunSpec) -> int:
    """Return the number of the last step of a training.

    Args:
        learn: Rows to learn from.
        spec: Network and training.

    Returns:
        Its number, from 0.

    Example:
        >>> last_step(Batch(np.zeros((40, 784)), np.zeros((40, 3))), RunSpec())
        39
    """
    return training_on(learn, spec).steps - 1


def explain_step(
    model: Layer,
    loss: Loss,
    transform: GradientTransform,
    state: TrainState,
    batch: Batch,
    *,
    name: str = "your network",
    class_names: Sequence[str] = (),
    image_shape: tuple[int, int] | None = None,
    learning_rate: float | None = None,
    update_formulas: Sequence[str] = (),
    loss_formulas: Formulas | None = None,
) -> Explained:
    """Take one training step of any network and tell what happened in it.

    Args:
        model: Any layer. The layers of `serial` and `named` are looked at one by one; another combinator counts as one.
        loss: Any loss on its outputs.
        transform: The optimiser.
        state: Before the step.
        batch: What the step learns from, at least one row.
        name: Name of the network, for the title.
        class_names: A name for each output.
        image_shape: (height, width) where each input is an image.
        learning_rate: Learning rate of this step, to be shown.
        update_formulas: What the optimiser computes, as lines such as ``w <- w - r g``.
        loss_formulas: What the loss computes; by default what is known of the loss's name.

    Returns:
        The step, which `pipelines.inspection.explain_page.explain_page` makes a page of.

    Raises:
        ShapeError: The batch does not fit the model.
        ValueError: The batch is empty.

    Example:
        >>> import bpfunc as bp
        >>> model, transform = bp.serial(bp.dense(3), bp.tanh(), bp.dense(2)), bp.sgd(0.5)
        >>> state = bp.init_train_state(model, transform, bp.Key(0), (2,))
        >>> xor = bp.Batch(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0]))
        >>> found = explain_step(model, bp.cross_entropy(), transform, state, xor)
        >>> [layer.layer for layer in found.layers], found.loss_after < found.loss
        (['dense(3)', 'tanh', 'dense(2)'], True)
    """
    if not len(batch.inputs):
        raise ValueError("the batch is empty: a step to look at needs at least one example")
    plain = make_step(model, loss, transform, metric=_NO_METRIC)
    # What overflows shows in the numbers; a warning would say it a second time, and less well.
    with np.errstate(over="ignore", invalid="ignore"):
        watch, watched = _watching(model, loss, transform, state, batch)
        for _ in range(REPEATS):
            after, metrics = watched(state, batch)
        watch.complete()
        ctx = Context(train=True, key=fold_in(state.key, state.step))
        later = value(model, loss, after.params, after.layer_state, batch, ctx)
        known = _known_loss(loss) if loss_formulas is None else loss_formulas
        arrays = _loss_arrays(watch, batch)
        return Explained(
            recipe=name,
            seed=None,
            step=state.step,
            steps=None,
            epoch=None,
            class_names=tuple(class_names),
            image_shape=image_shape,
            inputs=batch.inputs,
            learning_rate=learning_rate,
            loss=mean(metrics.loss),
            accuracy=_share_right(arrays),
            loss_after=float(later.loss),
            operations=_passes(
                watch, loss, known if arrays.probabilities is not None else attrs.evolve(known, forward=(), backward=())
            ),
            layers=tuple(_layer_arrays(place, layer, watch, after) for place, layer in watch.layers.items()),
            loss_arrays=arrays,
            update_formulas=tuple(update_formulas),
            updates=_updates(state, after, watch.gradient),
            update_seconds=_median_time(
                lambda: updated(transform, watch.gradient, state.optimizer_state, state.params, state.step)
            ),
            seconds=_median_time(lambda: plain(state, batch)),
            after=after,
        )


def _watching(
    model: Layer, loss: Loss, transform: GradientTransform, state: TrainState, batch: Batch
) -> tuple[_Watch, StepFn]:
    """Find the watched step that has the bits of the plain one, and take it once to warm up.

    A chain one of whose functions was replaced is not what its layers make of it; then it is watched as one layer.
    """
    expected, _ = make_step(model, loss, transform, metric=_NO_METRIC)(state, batch)
    for whole in (False, True):
        watch = _Watch()
        inner = watch.layer(model, "") if whole else watch.model(model)
        watched = make_step(inner, watch.loss(loss), transform, metric=_NO_METRIC, gradient=watch.maker)
        after, _ = watched(state, batch)
        pairs = zip(tree_leaves(expected.params), tree_leaves(after.params), strict=True)
        if whole or all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
            break
    for seen in watch.seen.values():
        seen.times.clear()
    return watch, watched


_NO_METRIC = Metric("rows", lambda outputs, batch: Mean(0.0, float(len(outputs))), mean)
"""What a step measures beside its loss where nothing is wanted."""


def _known_loss(loss: Loss) -> Formulas:
    return loss_formulas(None, loss.name)


def _share_right(arrays: LossArrays) -> float | None:
    if arrays.probabilities is None or arrays.targets is None:
        return None
    return float((arrays.outputs.argmax(axis=1) == class_indices(arrays.targets)).mean())


def _passes(watch: _Watch, loss: Loss, known: Formulas) -> tuple[Operation, ...]:
    return (
        *(_operation("forward", place, layer, watch) for place, layer in watch.layers.items()),
        _loss_operation("forward", loss, known, watch),
        _loss_operation("backward", loss, known, watch),
        *(_operation("backward", place, layer, watch) for place, layer in reversed(watch.layers.items())),
    )


def _flat(array: FloatArray) -> FloatArray:
    return array.reshape(len(array), -1)


def _layer_arrays(place: str, layer: Layer, watch: _Watch, after: TrainState) -> LayerArrays:
    forward, backward = watch.seen["forward", place], watch.seen["backward", place]
    gives = forward.gives
    assert gives is not None
    slope = None
    if layer_formulas(layer.name).elementwise:
        # The slope of each number is what the layer makes of ones that come back.
        slope = _flat(layer.backward(forward.params, forward.kept, np.ones_like(backward.takes))[1])
    dense = None
    if isinstance(forward.params, DenseParams) and forward.takes.ndim == 2:
        new = dict(tree_leaves_with_path(after.params))
        before, grads, start = forward.params, backward.kept, f"{place}." if place else ""
        dense = DenseArrays(
            before.weight, grads.weight, new[f"{start}weight"],
            before.bias, grads.bias, None if before.bias is None else new[f"{start}bias"],
        )  # fmt: skip
    return LayerArrays(place, layer.name, _flat(forward.takes), _flat(gives), _flat(backward.takes), slope, dense)


def _loss_arrays(watch: _Watch, batch: Batch) -> LossArrays:
    forward, backward = watch.seen["forward", "loss"], watch.seen["backward", "loss"]
    outputs, residual, targets = _flat(forward.takes), forward.kept, batch.targets
    assert forward.gives is not None
    assert backward.gives is not None
    probabilities = None
    rows: FloatArray | None = None
    if isinstance(residual, CrossEntropyResidual) and np.allclose(residual.mass, 1):
        probabilities, rows = residual.probabilities, residual.targets
    elif targets.size == outputs.size:
        rows = targets.reshape(outputs.shape).astype(outputs.dtype)
    elif targets.ndim == 1 and targets.dtype.kind in "iu":
        rows = class_rows(outputs, targets)
    return LossArrays(outputs, rows, probabilities, forward.gives, backward.takes, _flat(backward.gives))


def _median_time(function: Callable[[], object]) -> float:
    function()
    return median(_timed(function)[1] for _ in range(REPEATS))


def _operation(stage: Pass, place: str, layer: Layer, watch: _Watch) -> Operation:
    seen, known = watch.seen[stage, place], layer_formulas(layer.name)
    grads = tuple(
        Gradient(path, leaf.shape, norm(leaf))
        for path, leaf in tree_leaves_with_path(seen.kept if stage == "backward" else ())
    )
    lines = known.forward if stage == "forward" else known.backward
    if seen.gives is None:
        lines = tuple(line for line in lines if not line.startswith("dx"))
    if isinstance(seen.params, DenseParams | ConvParams) and seen.params.bias is None:
        lines = tuple(line.replace(" + b", "") for line in lines if not line.startswith("db"))
    return _seen_operation(stage, place, layer.name, lines, seen, grads, _work(stage, layer, watch, place))


def _loss_operation(stage: Pass, loss: Loss, known: Formulas, watch: _Watch) -> Operation:
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

    Forward it is the layer's own count. Backward, a layer of products, dense or a convolution, takes as many for the
    weights, as many for the input where that is needed, and sums the bias; others multiply once for each number.

    Args:
        stage: Which pass.
        layer: A layer that is not a combinator.
        watch: What passed through it.
        place: Place of the layer.

    Returns:
        The count.
    """
    takes, gives = watch.seen["forward", place].takes, watch.seen["forward", place].gives
    assert gives is not None
    rows, width_in, width_out = len(takes), takes.shape[1:], gives.shape[1:]
    forward = rows * layer.flops(width_in, width_out)
    if stage == "forward":
        return forward
    seen = watch.seen["backward", place]
    if not isinstance(seen.params, DenseParams | ConvParams):
        return 0 if seen.gives is None else rows * math.prod(width_in)
    bias = rows * math.prod(width_out)
    product = forward - (0 if seen.params.bias is None else bias)
    return product + bias + (0 if seen.gives is None else product)


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
    facts = ("learning_rate", "loss", "accuracy", "loss_after", "seconds", "flops")
    table = {
        **{name: getattr(found, name) for name in ("recipe", "seed", "step", "steps", "epoch")},
        "batch_size": len(found.inputs),
        **{name: getattr(found, name) for name in facts},
        "operations": [
            {"pass": one.stage} | attrs.asdict(one, filter=lambda field, _: field.name not in ("stage", "spread"))
            for one in found.operations
        ],
        "update": {
            "formulas": found.update_formulas,
            "seconds": found.update_seconds,
            "parameters": [attrs.asdict(one) for one in found.updates],
        },
    }
    return {name: json_value(value) for name, value in table.items()}
