"""Custom layers: what they return is checked where they stand in a network, and what is wrong is named by layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import numpy as np

from bpfunc.arrays.arguments import described
from bpfunc.arrays.calls import one_line
from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.layers.base import BackwardFn, Context, Layer, ShapeError
from bpfunc.tree import STATIC, Tree, flatten, tree_leaves_with_path


@attrs.frozen(eq=False)
class CustomResidual:
    """Residual of a custom layer in a network, with the shapes that its derivatives must have.

    Args:
        residual: The layer's own.
        in_shape: Shape of the inputs, the batch axis included.
        out_shape: Shape of the outputs.
    """

    residual: Tree
    in_shape: Shape = attrs.field(metadata=STATIC)
    out_shape: Shape = attrs.field(metadata=STATIC)

    __repr__ = one_line


def checked(layer: Layer) -> Layer:
    """Check what a custom layer returns: a gradient of the wrong shape may broadcast, and train to something else.

    Args:
        layer: Any layer.

    Returns:
        The layer itself where a function of this library made it; else one whose functions raise a `ShapeError` that
        names function, what was expected and what was found.

    Example:
        >>> from bpfunc.layers import relu
        >>> layer = relu()
        >>> checked(layer) is layer, checked(attrs.evolve(layer, maker=None)) is layer
        (True, False)
    """
    if layer.maker is not None or layer.parts:
        return layer
    return attrs.evolve(
        layer,
        forward=partial(_forward, layer),
        backward=partial(_backward, layer.name, "backward", layer.backward, False),
        backward_params=partial(_backward_params, layer),
        jvp=partial(_jvp, layer),
        backward_jvp=partial(_backward_jvp, layer),
        example_grads=partial(_backward, layer.name, "example_grads", layer.example_grads, True),
        example_norms=partial(_example_norms, layer),
    )


def _forward(layer: Layer, params: Tree, state: Tree, x: FloatArray, ctx: Context) -> tuple[FloatArray, Tree, Tree]:
    y, new_state, residual = _several(layer.name, "forward", layer.forward(params, state, x, ctx), "y, state, residual")
    if not isinstance(y, np.ndarray):
        raise ShapeError(f"{layer.name}: forward returned {described(y)} as y, expected an array")
    return y, new_state, CustomResidual(residual, x.shape, y.shape)


def _backward(
    name: str, function: str, backward: BackwardFn, each: bool, params: Tree, kept: CustomResidual, dy: FloatArray
) -> tuple[Tree, FloatArray]:
    grads, dx = _several(name, function, backward(params, kept.residual, dy), "dparams, dx")
    _check_like(name, function, params, grads, dy.shape[:1] if each else ())
    _check_shape(name, function, "an input gradient", dx, kept.in_shape)
    return grads, dx


def _backward_params(layer: Layer, params: Tree, kept: CustomResidual, dy: FloatArray) -> Tree:
    grads = layer.backward_params(params, kept.residual, dy)
    _check_like(layer.name, "backward_params", params, grads, ())
    return grads


def _jvp(layer: Layer, params: Tree, kept: CustomResidual, params_dot: Tree, x_dot: FloatArray) -> FloatArray:
    y_dot = layer.jvp(params, kept.residual, params_dot, x_dot)
    _check_shape(layer.name, "jvp", "a tangent", y_dot, kept.out_shape)
    return y_dot


def _backward_jvp(
    layer: Layer,
    params: Tree,
    kept: CustomResidual,
    params_dot: Tree,
    x_dot: FloatArray,
    dy: FloatArray,
    dy_dot: FloatArray,
) -> tuple[Tree, FloatArray]:
    made = layer.backward_jvp(params, kept.residual, params_dot, x_dot, dy, dy_dot)
    grads_dot, dx_dot = _several(layer.name, "backward_jvp", made, "dparams_dot, dx_dot")
    _check_like(layer.name, "backward_jvp", params, grads_dot, ())
    _check_shape(layer.name, "backward_jvp", "an input tangent", dx_dot, kept.in_shape)
    return grads_dot, dx_dot


def _example_norms(layer: Layer, params: Tree, kept: CustomResidual, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
    norms, dx = _several(layer.name, "example_norms", layer.example_norms(params, kept.residual, dy), "norms, dx")
    _check_shape(layer.name, "example_norms", "norms", norms, dy.shape[:1])
    _check_shape(layer.name, "example_norms", "an input gradient", dx, kept.in_shape)
    return norms, dx


def _several(name: str, function: str, made: Any, names: str) -> tuple[Any, ...]:
    count = names.count(",") + 1
    if not isinstance(made, tuple) or len(made) != count:
        found = f"a tuple of {len(made)}" if isinstance(made, tuple) else described(made)
        raise ShapeError(f"{name}: {function} returned {found}, expected ({names})")
    return made


def _check_shape(name: str, function: str, what: str, found: object, expected: Shape) -> None:
    if not isinstance(found, np.ndarray) or found.shape != expected:
        shape = f"{what} of shape {found.shape}" if isinstance(found, np.ndarray) else f"{described(found)} as {what}"
        raise ShapeError(f"{name}: {function} returned {shape}, expected {expected}")


def _check_like(name: str, function: str, params: Tree, grads: Tree, rows: Shape) -> None:
    """Refuse gradients that are not like the parameters, each with the axes of ``rows`` in front."""
    structures = flatten(grads)[1], flatten(params)[1]
    if structures[0] != structures[1]:
        raise ShapeError(
            f"{name}: {function} returned gradients {structures[0]}, expected a tree like the parameters, "
            f"{structures[1]}"
        )
    for (path, grad), (_, leaf) in zip(tree_leaves_with_path(grads), tree_leaves_with_path(params), strict=True):
        if np.shape(grad) != (*rows, *np.shape(leaf)):
            raise ShapeError(
                f"{name}: {function} returned a gradient of shape {np.shape(grad)} for {path or 'the parameter'}, "
                f"expected {(*rows, *np.shape(leaf))}"
            )
