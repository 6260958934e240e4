"""Absolute error."""

from __future__ import annotations

import math

import attrs
import numpy as np

from bpfunc.losses.base import Loss, Targets, paired
from bpfunc.types import FloatArray, readonly_arrays


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class AbsoluteErrorsResidual:
    """What the derivatives of `absolute_errors` need.

    Args:
        error: ``y - t``.
    """

    error: FloatArray


def absolute_errors(outputs: FloatArray, targets: Targets) -> tuple[FloatArray, AbsoluteErrorsResidual]:
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
        >>> absolute_errors(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([2.])

    Reference: Laplace, "Memoire sur la probabilite des causes" (1774).
    """
    error = outputs - paired("absolute_error", outputs, targets)
    losses = _example_sums(np.abs(error)) / _count(error)
    return losses, AbsoluteErrorsResidual(error)


def absolute_errors_vjp(residual: AbsoluteErrorsResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the outputs: ``dy = l'(y) dl``.

    Args:
        residual: From `absolute_errors`.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dy``, the outputs' shape and dtype.

    Example:
        >>> _, residual = absolute_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> absolute_errors_vjp(residual, np.ones(1)).round(4)
        array([[1.]])
    """
    doutputs: FloatArray = _slope(residual) * _column(dlosses, residual.error)
    return doutputs


def absolute_errors_jvp(residual: AbsoluteErrorsResidual, outputs_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum l'(y) y_dot``.

    Args:
        residual: From `absolute_errors`.
        outputs_dot: Tangent of the outputs, same shape.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> _, residual = absolute_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> absolute_errors_jvp(residual, np.array([[1.0]])).round(4)
        array([1.])
    """
    return _example_sums(_slope(residual) * outputs_dot)


def absolute_errors_vjp_jvp(
    residual: AbsoluteErrorsResidual, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `absolute_errors_vjp`: ``dy_dot = l''(y) y_dot dl + l'(y) dl_dot``.

    Args:
        residual: From `absolute_errors`.
        outputs_dot: Tangent of the outputs, same shape.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dy_dot``, the outputs' shape and dtype.

    Example:
        >>> _, residual = absolute_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> absolute_errors_vjp_jvp(residual, np.array([[1.0]]), np.ones(1), np.zeros(1)).round(4)
        array([[0.]])
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


def _slope(residual: AbsoluteErrorsResidual) -> FloatArray:
    error = residual.error
    slope: FloatArray = np.sign(error) / _count(error)
    return slope


def _curvature(residual: AbsoluteErrorsResidual) -> FloatArray:
    error = residual.error
    curvature: FloatArray = np.zeros_like(error) / _count(error)
    return curvature


def absolute_error() -> Loss:
    """Absolute error, averaged over an example's outputs as a `Loss`; see `absolute_errors`.

    Returns:
        A loss on outputs and targets of one shape, or (B, 1) and (B,).

    Example:
        >>> absolute_error().forward(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([2.])
    """
    return Loss("absolute_error", absolute_errors, absolute_errors_vjp, absolute_errors_jvp, absolute_errors_vjp_jvp)
