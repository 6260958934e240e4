"""The form of a loss, and of its targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias, cast

import attrs
import numpy as np

from bpfunc.arrays.calls import Call
from bpfunc.arrays.types import FloatArray, IntArray, Shape, readonly
from bpfunc.layers import ShapeError
from bpfunc.tree import Tree

Targets: TypeAlias = FloatArray | IntArray
"""One-hot or soft (B, K) rows, class indices (B,), or numbers to regress on."""


def _no_jvp(name: str, residual: Tree, outputs_dot: FloatArray) -> FloatArray:
    raise NotImplementedError(f"loss {name} has no jvp; give one to Loss(jvp=...)")


def _no_vjp_jvp(
    name: str, residual: Tree, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    raise NotImplementedError(f"loss {name} has no vjp_jvp; give one to Loss(vjp_jvp=...)")


@attrs.frozen
class Loss:
    """A loss as a record of pure functions.

    Only the first three fields are needed to train; a custom loss may leave `jvp` and `vjp_jvp` out, and a caller that
    asks for what it lacks is told so by name.

    Args:
        name: For messages.
        forward: ``(outputs, targets) -> (losses, residual)`` with ``losses`` (B,).
        vjp: ``(residual, dlosses) -> doutputs``.
        jvp: ``(residual, outputs_dot) -> losses_dot``.
        vjp_jvp: ``(residual, outputs_dot, dlosses, dlosses_dot) -> doutputs_dot``.
        metric: Name of the metric that goes with the loss: what a training measures unless it is given another one; see
            `bpfunc.metrics.of_loss.metric_for`.
        call: The call that made it, for `repr`; None where it was made from its functions.

    Example:
        >>> from bpfunc.losses import cross_entropy
        >>> loss = cross_entropy()
        >>> losses, residual = loss.forward(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
        >>> losses.round(3)
        array([0.693])
    """

    name: str
    forward: Callable[[FloatArray, Targets], tuple[FloatArray, Tree]]
    vjp: Callable[[Tree, FloatArray], FloatArray]
    jvp: Callable[[Tree, FloatArray], FloatArray] = attrs.field(
        default=attrs.Factory(lambda self: partial(_no_jvp, self.name), takes_self=True)
    )
    vjp_jvp: Callable[[Tree, FloatArray, FloatArray, FloatArray], FloatArray] = attrs.field(
        default=attrs.Factory(lambda self: partial(_no_vjp_jvp, self.name), takes_self=True)
    )
    metric: str = "accuracy"
    call: Call | None = attrs.field(default=None, init=False, repr=False, eq=False)

    def __repr__(self) -> str:
        """Print as the call that made it."""
        return f"Loss({self.name!r})" if self.call is None else repr(self.call)


def whole_numbers(targets: Targets) -> Targets:
    """Refuse numbers that cannot be class indices, before they are cut down to such or fail as such.

    Args:
        targets: (B,) what is to be class indices.

    Returns:
        The same numbers, read-only.

    Raises:
        TypeError: They are not whole numbers.

    Example:
        >>> whole_numbers(np.array([2, 0]))
        array([2, 0])
    """
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"class indices are whole numbers, found {targets.dtype}; if that is what they stand for, "
            "pass targets.astype(np.intp); for numbers to regress on, use squared_error() or mean_squared_error()"
        )
    return readonly(targets)


def labels_in_range(labels: IntArray, classes: int) -> IntArray:
    """Refuse class indices outside 0..K-1.

    Args:
        labels: (B,) whole numbers.
        classes: K.

    Returns:
        The same numbers as `numpy.intp`.

    Raises:
        ValueError: A class index is outside 0..K-1.

    Example:
        >>> labels_in_range(np.array([2, 0], np.uint8), 3)
        array([2, 0])
    """
    indices = labels.astype(np.intp, copy=False)
    # Without a sign a negative number is a huge one: one pass finds both ends.
    if len(indices) and not indices.view(np.uintp).max() < classes:
        raise ValueError(f"class indices run from 0 to {classes - 1}, found {labels.min()} to {labels.max()}")
    return indices


def class_rows(logits: FloatArray, targets: Targets) -> FloatArray:
    """Bring targets into the form of rows: class indices become one-hot, rows stay.

    Args:
        logits: (B, K); gives shape and dtype.
        targets: (B, K) rows, or (B,) class indices in 0..K-1.

    Returns:
        (B, K) of the logits' dtype.

    Raises:
        ShapeError: The logits are not (B, K), or the targets do not fit them.
        TypeError: The class indices are not whole numbers.
        ValueError: A class index is outside 0..K-1.

    Example:
        >>> class_rows(np.zeros((2, 3)), np.array([2, 0]))
        array([[0., 0., 1.],
               [1., 0., 0.]])
    """
    if logits.ndim != 2 or targets.shape not in (logits.shape, logits.shape[:1]):
        raise ShapeError(
            f"the loss expected logits (B, K) and targets (B, K) or (B,), found {logits.shape} and {targets.shape}"
        )
    if targets.ndim == 2:
        return targets.astype(logits.dtype, copy=False)
    labels = labels_in_range(cast(IntArray, whole_numbers(targets)), logits.shape[1])
    rows = np.zeros(logits.shape, logits.dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def check_derivative(
    name: str, shape: Shape, *, outputs_dot: FloatArray | None = None, dlosses: tuple[FloatArray, ...] = ()
) -> None:
    """Refuse tangents and cotangents of other shapes than the outputs and losses that they belong to.

    Args:
        name: Name of the loss, for the message.
        shape: Shape of the outputs.
        outputs_dot: Tangent of the outputs, of that shape.
        dlosses: Cotangents of the losses, (B,) each.

    Returns:
        None.

    Raises:
        ShapeError: One has another shape.

    Example:
        >>> check_derivative("focal", (5, 2), dlosses=(np.ones(5),))
    """
    if outputs_dot is not None and outputs_dot.shape != shape:
        raise ShapeError(f"{name} expected a tangent of shape {shape}, found {outputs_dot.shape}")
    for cotangent in dlosses:
        if cotangent.shape != shape[:1]:
            raise ShapeError(f"{name} expected a cotangent of shape {shape[:1]}, found {cotangent.shape}")


def weighed(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Multiply numbers by their weights, where a weight of 0 takes an infinite number out.

    A class of probability 0 has an infinite logarithm, and counts nothing where no target asks for it.

    Args:
        weights: Any shape.
        values: The same shape, floating.

    Returns:
        The products; NaN stays NaN.

    Example:
        >>> weighed(np.array([0.0, 2.0, 0.0]), np.array([-np.inf, 3.0, np.nan]))
        array([ 0.,  6., nan])
    """
    products: FloatArray
    try:
        with np.errstate(invalid="raise"):  # the processor notes 0 times infinity: looking for it would cost a pass
            products = weights * values
    except FloatingPointError:
        with np.errstate(invalid="ignore"):
            products = weights * values
        products[(weights == 0) & np.isinf(values)] = 0
    return products


def paired(name: str, outputs: FloatArray, targets: Targets) -> FloatArray:
    """Bring targets into the outputs' shape and dtype; (B,) targets go with (B, 1) outputs.

    Args:
        name: Name of the loss, for the message.
        outputs: (B, ...) floating.
        targets: The same shape, or (B,) where the outputs are (B, 1).

    Returns:
        The targets, in the outputs' shape and dtype.

    Raises:
        ShapeError: They do not fit.

    Example:
        >>> paired("example", np.zeros((2, 1)), np.array([3, 4])).tolist()
        [[3.0], [4.0]]
    """
    if outputs.ndim < 1 or (targets.shape != outputs.shape and outputs.shape != (*targets.shape, 1)):
        raise ShapeError(
            f"{name} expected outputs and targets of one shape, or (B, 1) and (B,), "
            f"found {outputs.shape} and {targets.shape}"
        )
    return targets.reshape(outputs.shape).astype(outputs.dtype, copy=False)
