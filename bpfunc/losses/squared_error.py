"""Squared error."""

from __future__ import annotations

import math

import attrs
import numpy as np

from bpfunc.losses.base import Loss, Targets, paired
from bpfunc.types import FloatArray, readonly_arrays


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class SquaredErrorsResidual:
    """What the derivatives of `squared_errors` need.

    Args:
        error: ``y - t``.
    """

    error: FloatArray


def squared_errors(outputs: FloatArray, targets: Targets) -> tuple[FloatArray, SquaredErrorsResidual]:
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
        >>> squared_errors(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([4.])

    Reference: Legendre, "Nouvelles methodes pour la determination des orbites des cometes" (1805).
    """
    error = outputs - paired("squared_error", outputs, targets)
    losses = _example_sums(np.square(error)) / _count(error)
    return losses, SquaredErrorsResidual(error)


def squared_errors_vjp(residual: SquaredErrorsResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the outputs: ``dy = l'(y) dl``.

    Args:
        residual: From `squared_errors`.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dy``, the outputs' shape and dtype.

    Example:
        >>> _, residual = squared_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> squared_errors_vjp(residual, np.ones(1)).round(4)
        array([[4.]])
    """
    doutputs: FloatArray = _slope(residual) * _column(dlosses, residual.error)
    return doutputs


def squared_errors_jvp(residual: SquaredErrorsResidual, outputs_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum l'(y) y_dot``.

    Args:
        residual: From `squared_errors`.
        outputs_dot: Tangent of the outputs, same shape.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> _, residual = squared_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> squared_errors_jvp(residual, np.array([[1.0]])).round(4)
        array([4.])
    """
    return _example_sums(_slope(residual) * outputs_dot)


def squared_errors_vjp_jvp(
    residual: SquaredErrorsResidual, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `squared_errors_vjp`: ``dy_dot = l''(y) y_dot dl + l'(y) dl_dot``.

    Args:
        residual: From `squared_errors`.
        outputs_dot: Tangent of the outputs, same shape.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dy_dot``, the outputs' shape and dtype.

    Example:
        >>> _, residual = squared_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> squared_errors_vjp_jvp(residual, np.array([[1.0]]), np.ones(1), np.zeros(1)).round(4)
        array([[2.]])
    """
    second = _curvature(residual) * outputs_dot * _column(dlosses, residual.error)
    doutputs_dot: FloatArray = second + _slope(residual) * _column(dlosses_dot, residual.error)
    return doutputs_dot


def _example_sums(values: FloatArray) -> FloatArray:
    sums: FloatArray = values.sum(axis=tuple(range(1, values.ndim)))
    return sums


def _count(error: FloatArray) -> int:
    """Outputs of one example."""
    return max(math.prod(error.shape[1:]), 1)


def _column(per_example: FloatArray, error: FloatArray) -> FloatArray:
    return per_example.reshape(-1, *([1] * (error.ndim - 1)))


def _slope(residual: SquaredErrorsResidual) -> FloatArray:
    error = residual.error
    slope: FloatArray = 2 * error / _count(error)
    return slope


def _curvature(residual: SquaredErrorsResidual) -> FloatArray:
    error = residual.error
    curvature: FloatArray = np.full_like(error, 2) / _count(error)
    return curvature


def squared_error() -> Loss:
    """Squared error, averaged over an example's outputs as a `Loss`; see `squared_errors`.

    Returns:
        A loss on outputs and targets of one shape, or (B, 1) and (B,).

    Example:
        >>> squared_error().forward(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([4.])
    """
    return Loss("squared_error", squared_errors, squared_errors_vjp, squared_errors_jvp, squared_errors_vjp_jvp)
