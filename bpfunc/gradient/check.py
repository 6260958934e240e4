"""Checking derivatives against central differences, in float64.

Two checks, as both are needed. The projection check costs two evaluations whatever the size: it compares ``<v, J u>``
from the derivative with ``(<v, f(x + h u)> - <v, f(x - h u)>) / 2h`` along random directions; one wrong entry among
many can hide in it. The full sweep moves every coordinate in turn, finds any wrong entry, and names the worst by its
path; it is for small trees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs
import numpy as np

from bpfunc.arrays.ranges import number
from bpfunc.batches.batch import Batch
from bpfunc.gradient.modes import value, value_and_grad
from bpfunc.keys import Key, fold_in, normal
from bpfunc.layers import Context, Layer
from bpfunc.losses import Loss
from bpfunc.tree import (
    Tree,
    flatten,
    matched_rows,
    ravel,
    tree_dot,
    tree_leaves_with_path,
    tree_map,
    tree_norm,
    tree_size,
    unflatten,
    unravel,
)

STEP = float(np.cbrt(np.finfo(np.float64).eps))
"""Step of the central difference, 6e-6: where its truncation and rounding errors balance, at about 1e-11 relative."""
TOLERANCE = 1e-7
"""Largest error taken for rounding, relative to the size of the derivative (or absolute below size 1)."""

TreeFn = Callable[[Tree], Tree]
Kind = Literal["projection", "sweep"]


@attrs.frozen
class GradCheck:
    """What a check found.

    Args:
        kind: Which check.
        path: Tree path of the worst coordinate; of the sweep alone, empty for a projection.
        index: Its index within that leaf.
        expected: Central difference there.
        found: Derivative there.
        error: ``|found - expected| / max(1, size of the derivative)``.
        tolerance: Largest error that passes, above 0.

    Example:
        >>> GradCheck("sweep", "weight", (0, 1), 2.0, 2.1, 0.05, 1e-7).passed
        False
    """

    kind: Kind
    path: str
    index: tuple[int, ...]
    expected: float
    found: float
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        """Return the result in one line."""
        verdict = "passed" if self.passed else "FAILED"
        place = f" at {self.path or 'the root'}{list(self.index)}" if self.kind == "sweep" else ""
        return (
            f"{self.kind} check {verdict}{place}: expected {self.expected:.9g}, found {self.found:.9g}, "
            f"error {self.error:.2g} (tolerance {self.tolerance:.2g})"
        )


def check_projection(
    f: TreeFn, vjp: TreeFn, x: Tree, key: Key, *, step: float = STEP, tolerance: float = TOLERANCE
) -> GradCheck:
    """Compare a vjp with a central difference along one random direction, for a function from trees to trees.

    Args:
        f: Tree -> tree, smooth near ``x``.
        vjp: Cotangent of ``f(x)`` -> cotangent of ``x``.
        x: Where, in float64.
        key: Names the directions.
        step: Step of the difference, along a direction of norm 1; above 0.
        tolerance: Largest error that passes, above 0.

    Returns:
        The finding.

    Raises:
        ValueError: A number is out of range.

    Example:
        >>> x = np.array([1.0, 2.0])
        >>> check_projection(lambda x: x**2, lambda dy: 2 * x * dy, x, Key(0)).passed
        True
        >>> check_projection(lambda x: x**2, lambda dy: 2.002 * x * dy, x, Key(0)).passed
        False

    Reference: Dennis and Schnabel, "Numerical methods for unconstrained optimization" (1983), section 5.4.
    """
    step, tolerance = _checked("check_projection", step, tolerance)
    direction = _random_like(x, fold_in(key, 0))
    direction = tree_map(lambda leaf: leaf / max(tree_norm(direction), 1e-300), direction)
    cotangent = _random_like(f(x), fold_in(key, 1))
    above, below = f(_moved(x, direction, step)), f(_moved(x, direction, -step))
    expected = tree_dot(cotangent, tree_map(lambda a, b: (a - b) / (2 * step), above, below))
    pulled = vjp(cotangent)
    found = tree_dot(pulled, direction)
    error = abs(found - expected) / max(1.0, tree_norm(pulled))
    return GradCheck("projection", "", (), expected, found, error, tolerance)


def check_sweep(
    f: Callable[[Tree], float], grads: Tree, x: Tree, *, step: float = STEP, tolerance: float = TOLERANCE
) -> GradCheck:
    """Compare a gradient with central differences in every coordinate; twice as many evaluations as coordinates.

    Args:
        f: Tree -> number, smooth near ``x``.
        grads: Its gradient at ``x``; a tree like ``x``.
        x: Where, in float64.
        step: Step of the difference; above 0.
        tolerance: Largest error that passes, above 0.

    Returns:
        The finding at the worst coordinate.

    Raises:
        TreeStructureError: The gradient is not a tree like ``x``.
        ValueError: The tree has no coordinates, or a number is out of range.

    Example:
        >>> x = {"a": np.array([1.0, 2.0])}
        >>> wrong = {"a": np.array([2.0, 4.1])}
        >>> print(check_sweep(lambda x: float((x["a"] ** 2).sum()), wrong, x))
        sweep check FAILED at ['a'][1]: expected 4, found 4.1, error 0.022 (tolerance 1e-07)

    Reference: Dennis and Schnabel, "Numerical methods for unconstrained optimization" (1983), section 5.4.
    """
    step, tolerance = _checked("check_sweep", step, tolerance)
    matched_rows(x, grads)
    if tree_size(x) == 0:
        raise ValueError("there is no coordinate to check")
    flat, size = ravel(x).astype(np.float64), max(1.0, tree_norm(grads))
    found = ravel(grads)
    expected = np.empty_like(flat)
    for index in range(len(flat)):
        moved = flat.copy()
        moved[index] += step
        above = f(unravel(moved, x))
        moved[index] -= 2 * step
        expected[index] = (above - f(unravel(moved, x))) / (2 * step)
    errors = np.abs(found - expected) / size
    # A NaN anywhere is the worst there is.
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    path, place = _coordinate(x, worst)
    return GradCheck("sweep", path, place, float(expected[worst]), float(found[worst]), float(errors[worst]), tolerance)


def gradcheck(
    model: Layer,
    loss: Loss,
    params: Tree,
    state: Tree,
    batch: Batch,
    ctx: Context,
    *,
    kind: Kind = "projection",
    key: Key | None = None,
    tolerance: float = TOLERANCE,
) -> GradCheck:
    """Check the gradient of a model and its loss.

    Args:
        model: Any layer.
        loss: Any loss on its output.
        params: Parameters in float64, away from kinks.
        state: The model's state, in float64.
        batch: In float64.
        ctx: Training or inference; its key makes dropout the same at every evaluation.
        kind: ``projection``, or ``sweep`` over every parameter.
        key: Key of the projection's direction; seed 0 where None.
        tolerance: Largest error that passes, above 0.

    Returns:
        The finding.

    Raises:
        ValueError: The parameters are not float64, whose rounding the tolerance is made for, or the tolerance is out of
            range.
        ShapeError: The batch does not fit the model.

    Example:
        >>> from bpfunc.layers import INFERENCE, dense
        >>> from bpfunc.losses import cross_entropy
        >>> from bpfunc.tree import tree_cast
        >>> model = dense(2)
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> batch = Batch(np.ones((4, 3)), np.array([0, 1, 0, 1]))
        >>> gradcheck(model, cross_entropy(), tree_cast(params, np.float64), state, batch, INFERENCE).passed
        True

    Reference: Bottou, Curtis and Nocedal, "Optimization methods for large-scale machine learning" (2018).
    """
    tolerance = _checked("gradcheck", STEP, tolerance)[1]
    for path, leaf in tree_leaves_with_path(params):
        if leaf.dtype != np.float64:
            raise ValueError(
                f"gradcheck computes in float64, {path} is {leaf.dtype}; use tree_cast(params, np.float64)"
            )

    def objective(p: Tree) -> float:
        return float(value(model, loss, p, state, batch, ctx).loss)

    _, grads = value_and_grad(model, loss)(params, state, batch, ctx)
    if kind == "sweep":
        return check_sweep(objective, grads, params, tolerance=tolerance)
    return check_projection(
        lambda p: np.array(objective(p)),
        lambda dy: tree_map(lambda g: g * float(dy), grads),
        params,
        Key(0) if key is None else key,
        tolerance=tolerance,
    )


def _checked(function: str, step: float, tolerance: float) -> tuple[float, float]:
    return number(function, "step", step, "(0, inf)"), number(function, "tolerance", tolerance, "(0, inf)")


def _random_like(tree: Tree, key: Key) -> Tree:
    leaves, structure = flatten(tree)
    return unflatten(
        structure,
        [normal(fold_in(key, index), np.shape(leaf), dtype=np.float64) for index, leaf in enumerate(leaves)],
    )


def _moved(x: Tree, direction: Tree, amount: float) -> Tree:
    return tree_map(lambda leaf, d: leaf + amount * d, x, direction)


def _coordinate(x: Tree, flat: int) -> tuple[str, tuple[int, ...]]:
    for path, leaf in tree_leaves_with_path(x):
        if flat < np.size(leaf):
            return path, tuple(int(i) for i in np.unravel_index(flat, np.shape(leaf)))
        flat -= np.size(leaf)
    raise IndexError("no such coordinate")
