"""Huber's loss."""

from __future__ import annotations

import math
from functools import partial

import attrs
import numpy as np

from bpfunc.losses.base import Loss, Targets, paired
from bpfunc.tree import STATIC
from bpfunc.types import FloatArray, readonly_arrays


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
    doutputs: FloatArray = _slope(residual) * _column(dlosses, residual.error)
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
    return _example_sums(_slope(residual) * outputs_dot)


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


def _slope(residual: HuberErrorsResidual) -> FloatArray:
    error = residual.error
    slope: FloatArray = np.clip(error, -residual.delta, residual.delta) / _count(error)
    return slope


def _curvature(residual: HuberErrorsResidual) -> FloatArray:
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
    if delta <= 0:
        raise ValueError(f"huber takes a delta above 0, got {delta}")
    forward = partial(huber_errors, delta=delta)
    return Loss("huber", forward, huber_errors_vjp, huber_errors_jvp, huber_errors_vjp_jvp)
