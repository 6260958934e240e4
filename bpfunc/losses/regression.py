"""Losses to regress with: squared, absolute and Huber's, each averaged over an example's outputs."""

from __future__ import annotations

from functools import partial

import numpy as np

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray
from bpfunc.losses.base import Loss, Targets
from bpfunc.losses.elementwise import elementwise_loss, jvp, vjp, vjp_jvp


@elementwise_loss("squared_error", keeps="difference", slope=lambda error: 2 * error, curvature=lambda error: 2.0)
def squared_errors(outputs: FloatArray, targets: Targets) -> FloatArray:
    """Squared error, averaged over an example's outputs: ``l = mean (y - t)^2``.

    Without the half that some put before it.

    Args:
        outputs: (B, ...) ``y``, floating.
        targets: ``t``, the same shape, or (B,) where the outputs are (B, 1).

    Returns:
        Losses (B,), in the outputs' unit squared, and the residual.

    Raises:
        ShapeError: Outputs and targets do not fit.

    Example:
        >>> from bpfunc.losses import squared_errors_vjp
        >>> losses, residual = squared_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> losses, squared_errors_vjp(residual, np.ones(1))
        (array([4.]), array([[4.]]))

    Reference: Legendre, "Nouvelles methodes pour la determination des orbites des cometes" (1805).
    """
    return np.square(outputs - targets)


@recorded
def squared_error() -> Loss:
    """Squared error, averaged over an example's outputs as a `Loss`; see `squared_errors`.

    Returns:
        A loss on outputs and targets of one shape, or (B, 1) and (B,).

    Example:
        >>> squared_error().forward(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([4.])
    """
    return Loss("squared_error", squared_errors, vjp, jvp, vjp_jvp, metric="mean squared error")


@elementwise_loss("absolute_error", keeps="difference", slope=np.sign)
def absolute_errors(outputs: FloatArray, targets: Targets) -> FloatArray:
    """Absolute error, averaged over an example's outputs: ``l = mean |y - t|``.

    At 0 the slope is taken as 0.

    Args:
        outputs: (B, ...) ``y``, floating.
        targets: ``t``, the same shape, or (B,) where the outputs are (B, 1).

    Returns:
        Losses (B,), in the outputs' unit, and the residual.

    Raises:
        ShapeError: Outputs and targets do not fit.

    Example:
        >>> from bpfunc.losses import absolute_errors_vjp
        >>> losses, residual = absolute_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> losses, absolute_errors_vjp(residual, np.ones(1))
        (array([2.]), array([[1.]]))

    Reference: Laplace, "Memoire sur la probabilite des causes" (1774).
    """
    return np.abs(outputs - targets)


@recorded
def absolute_error() -> Loss:
    """Absolute error, averaged over an example's outputs as a `Loss`; see `absolute_errors`.

    Returns:
        A loss on outputs and targets of one shape, or (B, 1) and (B,).

    Example:
        >>> absolute_error().forward(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([2.])
    """
    return Loss("absolute_error", absolute_errors, vjp, jvp, vjp_jvp, metric="mean absolute error")


@elementwise_loss(
    "huber",
    keeps="difference",
    slope=lambda error, delta: error.clip(-delta, delta),
    curvature=lambda error, delta: (np.abs(error) <= delta).astype(error.dtype),
    delta="(0, inf)",
)
def huber_errors(outputs: FloatArray, targets: Targets, *, delta: float = 1.0) -> FloatArray:
    """Huber's loss, averaged over an example's outputs: ``l = mean h(y - t)``.

    ``h(r) = r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``.

    Args:
        outputs: (B, ...) ``y``, floating.
        targets: ``t``, the same shape, or (B,) where the outputs are (B, 1).
        delta: Where the parabola becomes a line, above 0.

    Returns:
        Losses (B,), in the outputs' unit squared, and the residual.

    Raises:
        ShapeError: Outputs and targets do not fit.
        ValueError: delta is not above 0.

    Example:
        >>> from bpfunc.losses import huber_errors_vjp
        >>> losses, residual = huber_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> losses, huber_errors_vjp(residual, np.ones(1))
        (array([1.5]), array([[1.]]))

    Reference: Huber, "Robust estimation of a location parameter" (1964).
    """
    error = outputs - targets
    size = np.abs(error)
    return np.where(size <= delta, np.square(error.clip(-delta, delta)) / 2, delta * (size - delta / 2))


@recorded
def huber(*, delta: float = 1.0) -> Loss:
    """Huber's loss, averaged over an example's outputs as a `Loss`; see `huber_errors`.

    Args:
        delta: Where the parabola becomes a line, above 0.

    Returns:
        A loss on outputs and targets of one shape, or (B, 1) and (B,).

    Raises:
        ValueError: delta is not above 0.

    Example:
        >>> huber().forward(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([1.5])
    """
    return Loss(
        "huber",
        partial(huber_errors, delta=number("huber", "delta", delta, "(0, inf)")),
        vjp,
        jvp,
        vjp_jvp,
        metric="mean absolute error",
    )
