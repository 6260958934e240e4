"""Losses to regress with: squared, absolute and Huber's, each averaged over an example's outputs."""

from __future__ import annotations

import math
from functools import partial

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray, readonly_arrays
from bpfunc.losses.base import Loss, Targets, paired
from bpfunc.tree import STATIC


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
    doutputs: FloatArray = _squared_error_slope(residual) * _column(dlosses, residual.error)
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
    return _example_sums(_squared_error_slope(residual) * outputs_dot)


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
    second = _squared_error_curvature(residual) * outputs_dot * _column(dlosses, residual.error)
    doutputs_dot: FloatArray = second + _squared_error_slope(residual) * _column(dlosses_dot, residual.error)
    return doutputs_dot


def _squared_error_slope(residual: SquaredErrorsResidual) -> FloatArray:
    error = residual.error
    slope: FloatArray = 2 * error / _count(error)
    return slope


def _squared_error_curvature(residual: SquaredErrorsResidual) -> FloatArray:
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
    doutputs: FloatArray = _absolute_error_slope(residual) * _column(dlosses, residual.error)
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
    return _example_sums(_absolute_error_slope(residual) * outputs_dot)


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
    second = _absolute_error_curvature(residual) * outputs_dot * _column(dlosses, residual.error)
    doutputs_dot: FloatArray = second + _absolute_error_slope(residual) * _column(dlosses_dot, residual.error)
    return doutputs_dot


def _absolute_error_slope(residual: AbsoluteErrorsResidual) -> FloatArray:
    error = residual.error
    slope: FloatArray = np.sign(error) / _count(error)
    return slope


def _absolute_error_curvature(residual: AbsoluteErrorsResidual) -> FloatArray:
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


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class HuberErrorsResidual:
    """What the derivatives of `huber_errors` need.

    Args:
        error: ``y - t``.
        delta: As given.
    """

    error: FloatArray
    delta: float = attrs.field(metadata=STATIC)


def huber_errors(
    outputs: FloatArray, targets: Targets, *, delta: float = 1.0
) -> tuple[FloatArray, HuberErrorsResidual]:
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

    Example:
        >>> huber_errors(np.array([[3.0]]), np.array([[1.0]]))[0].round(4)
        array([1.5])

    Reference: Huber, "Robust estimation of a location parameter" (1964).
    """
    error = outputs - paired("huber", outputs, targets)
    losses = _example_sums(
        np.where(
            np.abs(error) <= delta, np.square(np.clip(error, -delta, delta)) / 2, delta * (np.abs(error) - delta / 2)
        )
    ) / _count(error)
    return losses, HuberErrorsResidual(error, delta)


def huber_errors_vjp(residual: HuberErrorsResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the outputs: ``dy = l'(y) dl``.

    Args:
        residual: From `huber_errors`.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dy``, the outputs' shape and dtype.

    Example:
        >>> _, residual = huber_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> huber_errors_vjp(residual, np.ones(1)).round(4)
        array([[1.]])
    """
    doutputs: FloatArray = _huber_slope(residual) * _column(dlosses, residual.error)
    return doutputs


def huber_errors_jvp(residual: HuberErrorsResidual, outputs_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum l'(y) y_dot``.

    Args:
        residual: From `huber_errors`.
        outputs_dot: Tangent of the outputs, same shape.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> _, residual = huber_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> huber_errors_jvp(residual, np.array([[1.0]])).round(4)
        array([1.])
    """
    return _example_sums(_huber_slope(residual) * outputs_dot)


def huber_errors_vjp_jvp(
    residual: HuberErrorsResidual, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `huber_errors_vjp`: ``dy_dot = l''(y) y_dot dl + l'(y) dl_dot``.

    Args:
        residual: From `huber_errors`.
        outputs_dot: Tangent of the outputs, same shape.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dy_dot``, the outputs' shape and dtype.

    Example:
        >>> _, residual = huber_errors(np.array([[3.0]]), np.array([[1.0]]))
        >>> huber_errors_vjp_jvp(residual, np.array([[1.0]]), np.ones(1), np.zeros(1)).round(4)
        array([[0.]])
    """
    second = _huber_curvature(residual) * outputs_dot * _column(dlosses, residual.error)
    doutputs_dot: FloatArray = second + _huber_slope(residual) * _column(dlosses_dot, residual.error)
    return doutputs_dot


def _huber_slope(residual: HuberErrorsResidual) -> FloatArray:
    error = residual.error
    slope: FloatArray = np.clip(error, -residual.delta, residual.delta) / _count(error)
    return slope


def _huber_curvature(residual: HuberErrorsResidual) -> FloatArray:
    error = residual.error
    curvature: FloatArray = (np.abs(error) <= residual.delta).astype(error.dtype) / _count(error)
    return curvature


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
    if not delta > 0:
        raise ValueError(f"huber takes a delta above 0, got {delta}")
    forward = partial(huber_errors, delta=float(delta))
    return Loss("huber", forward, huber_errors_vjp, huber_errors_jvp, huber_errors_vjp_jvp)


def _example_sums(values: FloatArray) -> FloatArray:
    sums: FloatArray = values.sum(axis=tuple(range(1, values.ndim)))
    return sums


def _count(error: FloatArray) -> int:
    """Outputs of one example."""
    return max(math.prod(error.shape[1:]), 1)


def _column(per_example: FloatArray, error: FloatArray) -> FloatArray:
    return per_example.reshape(-1, *([1] * (error.ndim - 1)))
