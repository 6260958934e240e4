"""Every derivative that a recipe's training depends on, checked against central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import attrs
import numpy as np

from bpfunc import Batch, Context, Key, fold_in, losses, ops
from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.gradient.check import TOLERANCE, GradCheck, check_projection, gradcheck
from bpfunc.keys import normal
from bpfunc.layers import INFERENCE, Layer
from bpfunc.losses import Loss
from bpfunc.tree import Tree, replace_leaf, tree_cast, tree_leaves, tree_leaves_with_path, tree_map
from pipelines.artifacts import PIXELS
from pipelines.spec.blocks import block_shapes
from pipelines.spec.run_spec import ModelSpec, RunSpec
from pipelines.training.build import build_model, build_training

Subject = Literal["op", "loss", "layer", "model"]

ROWS = 4
NARROW = 4
"""Widest hidden layer of the network whose every parameter is moved in turn."""
NARROW_FILTERS = 2
"""Most filters of a convolution of that network."""
DRAWS = 20
KINK_DISTANCE = 1e-3
"""How far the inputs of an activation keep from zero, where some have a kink: central differences step over less."""
LOSS_FACTORIES: dict[str, Callable[[], Loss]] = {
    "binary_cross_entropy": losses.binary_cross_entropy,
    "cross_entropy": lambda: losses.cross_entropy(label_smoothing=0.1),
    "focal": losses.focal,
    "huber": losses.huber,
    "absolute_error": losses.absolute_error,
    "kl_divergence": losses.kl_divergence,
    "multilabel_cross_entropy": losses.multilabel_cross_entropy,
    "squared_error": losses.squared_error,
}


@attrs.frozen
class Checked:
    """One derivative, and what the check found."""

    subject: Subject
    name: str
    derivative: str
    """``vjp``, ``jvp``, ``vjp_jvp``, or for a model ``gradient``."""
    found: GradCheck


def check_derivatives(spec: RunSpec) -> Iterator[Checked]:
    """Check every op, every loss, each layer of a recipe's network, and the gradient of the whole.

    Args:
        spec: Network, loss, and the seed of the points and directions.

    Yields:
        A finding for each derivative, in that order.
    """
    key = Key(spec.train.seed)
    for index, name in enumerate(op_names()):
        yield from check_op(name, fold_in(key, index))
    for index, (name, factory) in enumerate(LOSS_FACTORIES.items()):
        yield from check_loss(name, factory(), fold_in(key, 100 + index))
    model = build_model(spec.model, len(spec.dataset.classes))
    for index, (path, layer, in_shape) in enumerate(leaf_layers(model, (PIXELS,))):
        yield from check_layer(f"{path} {layer.name}", layer, in_shape, fold_in(key, 200 + index))
    yield from check_model(spec, fold_in(key, 300))
    yield from check_model(attrs.evolve(spec, model=_narrow(spec.model)), fold_in(key, 400), sweep=True)


def _narrow(spec: ModelSpec) -> ModelSpec:
    """The same network with few units and filters."""
    blocks = [
        f"conv {min(block.filters, NARROW_FILTERS)} {block.size} {block.stride}" if block.kind == "conv" else text
        for text, (block, _, _) in zip(spec.blocks, block_shapes(spec.blocks), strict=True)
    ]
    return attrs.evolve(spec, hidden=tuple(min(width, NARROW) for width in spec.hidden), blocks=tuple(blocks))


def op_names() -> tuple[str, ...]:
    """Name every op that has derivatives.

    Returns:
        In the order of `bpfunc.ops`.

    Example:
        >>> op_names()[0]
        'relu'
    """
    return tuple(name for name in ops.__all__ if f"{name}_vjp" in ops.__all__ and f"{name}_jvp" in ops.__all__)


def check_op(name: str, key: Key) -> Iterator[Checked]:
    """Check the three derivatives of an op.

    Args:
        name: One of `op_names`.
        key: Key of the point and the directions.

    Yields:
        A finding for each.
    """
    f, f_vjp, f_jvp, f_vjp_jvp = (getattr(ops, name + suffix) for suffix in ("", "_vjp", "_jvp", "_vjp_jvp"))
    x = _numbers(fold_in(key, 0), (ROWS, 6))
    yield from _checked_function("op", name, lambda x: f(x)[0], lambda x: f(x)[1], f_vjp, f_jvp, f_vjp_jvp, x, key)


def check_loss(name: str, loss: Loss, key: Key) -> Iterator[Checked]:
    """Check the three derivatives of a loss, with respect to the outputs.

    Args:
        name: Name of the loss.
        loss: Any loss on (B, 1) or (B, K) outputs.
        key: Key of the point and the directions.

    Yields:
        A finding for each.
    """
    width = 1 if name == "binary_cross_entropy" else 3
    outputs = _numbers(fold_in(key, 0), (ROWS, width))
    targets = np.abs(_numbers(fold_in(key, 1), (ROWS, width)))
    targets = targets / targets.sum(axis=1, keepdims=True) if width > 1 else np.minimum(targets, 0.9)
    yield from _checked_function(
        "loss",
        name,
        lambda z: loss.forward(z, targets)[0],
        lambda z: loss.forward(z, targets)[1],
        loss.vjp,
        loss.jvp,
        loss.vjp_jvp,
        outputs,
        key,
    )


def _checked_function(
    subject: Subject,
    name: str,
    f: Callable[[FloatArray], FloatArray],
    residual: Callable[[FloatArray], Tree],
    f_vjp: Callable[[Tree, FloatArray], FloatArray],
    f_jvp: Callable[[Tree, FloatArray], FloatArray],
    f_vjp_jvp: Callable[[Tree, FloatArray, FloatArray, FloatArray], FloatArray],
    x: FloatArray,
    key: Key,
) -> Iterator[Checked]:
    y, kept = f(x), residual(x)
    yield Checked(subject, name, "vjp", check_projection(f, lambda dy: f_vjp(kept, dy), x, fold_in(key, 10)))
    x_dot, dy, dy_dot = _numbers(fold_in(key, 11), x.shape), *(_numbers(fold_in(key, n), y.shape) for n in (12, 13))
    yield Checked(subject, name, "jvp", _along(lambda t: f(x + t * x_dot), f_jvp(kept, x_dot)))
    second = _along(lambda t: f_vjp(residual(x + t * x_dot), dy + t * dy_dot), f_vjp_jvp(kept, x_dot, dy, dy_dot))
    yield Checked(subject, name, "vjp_jvp", second)


def _along(f: Callable[[float], Tree], slope: Tree) -> GradCheck:
    """Compare a tangent, number by number, with a central difference along its direction."""
    step = float(np.cbrt(np.finfo(np.float64).eps))
    expected = tree_map(lambda above, below: (above - below) / (2 * step), f(step), f(-step))
    pairs = [
        (path, np.atleast_1d(a), np.atleast_1d(b))
        for (path, a), b in zip(tree_leaves_with_path(expected), tree_leaves(slope), strict=True)
    ]
    size = max(1.0, float(np.sqrt(sum(float(np.square(b).sum()) for _, _, b in pairs))))
    worst: GradCheck | None = None
    for path, wanted, given in pairs:
        errors = np.abs(given - wanted) / size
        place = np.unravel_index(int(np.argmax(np.where(np.isnan(errors), np.inf, errors))), errors.shape)
        one = GradCheck(
            "sweep",
            path,
            tuple(map(int, place)),
            float(wanted[place]),
            float(given[place]),
            float(errors[place]),
            TOLERANCE,
        )
        if worst is None or not one.error <= worst.error:
            worst = one
    assert worst is not None, "a tangent has at least one number"
    return worst


def leaf_layers(model: Layer, in_shape: Shape, path: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """Walk the layers that are not made of others, with the shapes that they see.

    Args:
        model: Any layer.
        in_shape: Shape of one example.
        path: Path of the layer within the whole.

    Yields:
        Path, layer, shape of one example of its input.
    """
    if not model.parts:
        yield path or "model", model, in_shape
    shape = in_shape
    for name, part in model.parts:
        yield from leaf_layers(part, shape, f"{path}.{name}" if path else name)
        if model.chained:
            shape = part.init(Key(0), shape)[2]


def check_layer(name: str, layer: Layer, in_shape: Shape, key: Key) -> Iterator[Checked]:
    """Check the derivatives of a layer by itself, those of its parameters among them.

    Args:
        name: Name of the layer.
        layer: One without parts.
        in_shape: Shape of one example.
        key: Key of the point, the directions, and what the layer draws.

    Yields:
        A finding for each.
    """
    init_params, state, _ = layer.init(fold_in(key, 0), in_shape)
    params, ctx = tree_cast(init_params, np.float64), Context(train=True, key=fold_in(key, 1))
    x = _numbers(fold_in(key, 2), (ROWS, *in_shape))
    point = (params, x)
    y, _, kept = layer.forward(params, state, x, ctx)

    def f(at: Tree) -> FloatArray:
        return layer.forward(at[0], state, at[1], ctx)[0]

    yield Checked(
        "layer", name, "vjp", check_projection(f, lambda dy: layer.backward(params, kept, dy), point, fold_in(key, 3))
    )
    if tree_leaves(params):
        yield Checked(
            "layer",
            name,
            "vjp of parameters",
            check_projection(
                lambda p: f((p, x)), lambda dy: layer.backward_params(params, kept, dy), params, fold_in(key, 4)
            ),
        )
    params_dot, x_dot = tree_map(lambda leaf: normal(fold_in(key, 5), leaf.shape, dtype=np.float64), point)
    dy, dy_dot = (_numbers(fold_in(key, n), y.shape) for n in (6, 7))

    def moved(t: float) -> Tree:
        return tree_map(lambda leaf, dot: leaf + t * dot, point, (params_dot, x_dot))

    yield Checked("layer", name, "jvp", _along(lambda t: f(moved(t)), layer.jvp(params, kept, params_dot, x_dot)))

    def pulled(t: float) -> Tree:
        at = moved(t)
        residual = layer.forward(at[0], state, at[1], ctx)[2]
        return layer.backward(at[0], residual, dy + t * dy_dot)

    second = layer.backward_jvp(params, kept, params_dot, x_dot, dy, dy_dot)
    yield Checked("layer", name, "vjp_jvp", _along(pulled, second))


def check_model(spec: RunSpec, key: Key, *, sweep: bool = False) -> Iterator[Checked]:
    """Check the gradient of a recipe's model and loss, array by array, in training and at inference.

    A projection can hide one wrong number among many; a sweep moves each in turn and finds it, but is slow.

    Args:
        spec: Network and loss.
        key: Key of the parameters, the batch and the directions.
        sweep: Whether to move every number in turn, in training alone.

    Yields:
        A finding for each array and mode.
    """
    training, classes = build_training(spec), len(spec.dataset.classes)
    model, loss = training.model, training.loss
    init_params, state, _ = model.init(fold_in(key, 0), (PIXELS,))
    params, ctx = tree_cast(init_params, np.float64), Context(train=True, key=fold_in(key, 1))
    targets = np.abs(_numbers(fold_in(key, 2), (ROWS, classes)))
    batch = Batch(_smooth_inputs(spec, params, state, ctx, fold_in(key, 3)), targets / targets.sum(1, keepdims=True))
    modes = {"every number": ctx} if sweep else {"training": ctx, "inference": INFERENCE}
    for mode, context in modes.items():
        for path, leaf in tree_leaves_with_path(params):
            found = gradcheck(
                only(model, path, params),
                loss,
                (leaf,),
                state,
                batch,
                context,
                kind="sweep" if sweep else "projection",
                key=fold_in(key, 4),
            )
            yield Checked("model", f"{path}, {mode}", "gradient", found)


def only(model: Layer, path: str, params: Tree) -> Layer:
    """Look at a model as a function of one array of its parameters, the others staying as they are.

    Args:
        model: Any layer.
        path: Path of the array.
        params: All parameters.

    Returns:
        A layer whose parameters are that array, in a tuple of one.
    """

    def whole(leaf: Tree) -> Tree:
        return replace_leaf(params, path, leaf[0])

    def chosen(grads: Tree) -> Tree:
        return (dict(tree_leaves_with_path(grads))[path],)

    return attrs.evolve(
        model,
        forward=lambda p, state, x, ctx: model.forward(whole(p), state, x, ctx),
        backward_params=lambda p, residual, dy: chosen(model.backward_params(whole(p), residual, dy)),
    )


def _smooth_inputs(spec: RunSpec, params: Tree, state: Tree, ctx: Context, key: Key) -> FloatArray:
    """Draw inputs at which every activation is away from its kink, or the farthest of many draws."""
    nearest: list[float] = []

    def watched(layer: Layer) -> Layer:
        def forward(p: Tree, s: Tree, z: FloatArray, c: Context) -> tuple[FloatArray, Tree, Tree]:
            nearest.append(float(np.abs(z).min()))
            return layer.forward(p, s, z, c)

        return layer if layer.name != spec.model.activation else attrs.evolve(layer, forward=forward)

    model = build_model(spec.model, len(spec.dataset.classes), each=watched)

    def distance(x: FloatArray) -> float:
        nearest[:] = [KINK_DISTANCE]
        for context in (ctx, INFERENCE):
            model.forward(params, state, x, context)
        return min(nearest)

    return max((_numbers(fold_in(key, n), (ROWS, PIXELS)) for n in range(DRAWS)), key=distance)


def _numbers(key: Key, shape: Iterable[int]) -> FloatArray:
    """Normal numbers that keep from zero."""
    drawn = normal(key, tuple(shape), dtype=np.float64)
    return drawn + 0.1 * np.sign(drawn)
