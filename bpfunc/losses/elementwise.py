"""Losses that take each output by itself, and average over the outputs of an example: made from formulas, as the ops.

See `bpfunc.ops.elementwise`. The derivatives of all of them are the three functions below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from bpfunc.arrays.ranges import number
from bpfunc.arrays.types import FloatArray
from bpfunc.losses.base import Targets, check_derivative, paired
from bpfunc.ops.elementwise import ElementwiseResidual, Formula, Keeps, elementwise

ArgumentsT = ParamSpec("ArgumentsT")


def elementwise_loss(
    name: str, *, keeps: Keeps, slope: Formula, curvature: Formula | None = None, **intervals: str
) -> Callable[[Callable[ArgumentsT, FloatArray]], Callable[ArgumentsT, tuple[FloatArray, ElementwiseResidual]]]:
    """Make a loss from a function of outputs and targets, number by number: a decorator.

    Args:
        name: Name of the loss, for messages.
        keeps: Inputs, ``x``, or their ``difference``, outputs less targets; see `bpfunc.ops.elementwise.Elementwise`.
        slope: ``(*kept, *settings)``, by the outputs.
        curvature: The same for the second derivative; None if it is 0 wherever it exists.
        intervals: Setting -> where it lies, such as ``(0, inf)``.

    Returns:
        A decorator. The loss returns ``(losses, residual)``, with losses (B,).

    Example:
        >>> @elementwise_loss("quartic", keeps="difference", slope=lambda e: 4 * e**3, curvature=lambda e: 12 * e**2)
        ... def quartic_errors(outputs, targets):
        ...     return (outputs - targets) ** 4
        >>> losses, residual = quartic_errors(np.array([[3.0]]), np.array([1.0]))
        >>> losses, vjp(residual, np.ones(1))
        (array([16.]), array([[32.]]))

    Reference: Griewank and Walther, "Evaluating derivatives" (2008).
    """

    def made(function: Any) -> Any:
        op: Any = elementwise(keeps=keeps, slope=slope, curvature=curvature)(function)

        @wraps(op)
        def losses(outputs: FloatArray, targets: Targets, **settings: float) -> tuple[FloatArray, ElementwiseResidual]:
            settings = {key: number(function.__name__, key, x, intervals[key]) for key, x in settings.items()}
            # Outputs belong to the caller, who may write to them before the derivatives are asked for.
            own = outputs.copy() if keeps == "x" else outputs
            each, residual = op(own, paired(name, outputs, targets), **settings)
            return _shared(_example_sums(each), each), residual

        return losses

    return made


def vjp(residual: ElementwiseResidual, dlosses: FloatArray) -> FloatArray:
    """Cotangent of the outputs: ``dy = l'(y) dl``, with ``l`` the mean over an example's outputs.

    Args:
        residual: From the loss.
        dlosses: (B,) cotangent of the losses.

    Returns:
        ``dy``, the outputs' shape and dtype.

    Example:
        >>> from bpfunc.losses import huber_errors, huber_errors_vjp
        >>> huber_errors_vjp(huber_errors(np.array([[3.0, 1.5]]), np.array([[1.0, 1.0]]))[1], np.ones(1))
        array([[0.5 , 0.25]])

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    _check(residual, dlosses=(dlosses,))
    return _slope(residual) * _column(dlosses, residual)


def jvp(residual: ElementwiseResidual, outputs_dot: FloatArray) -> FloatArray:
    """Tangent of the losses: ``l_dot = sum l'(y) y_dot``.

    Args:
        residual: From the loss.
        outputs_dot: Tangent of the outputs, same shape.

    Returns:
        ``l_dot`` (B,).

    Example:
        >>> from bpfunc.losses import huber_errors, huber_errors_jvp
        >>> huber_errors_jvp(huber_errors(np.array([[3.0, 1.5]]), np.array([[1.0, 1.0]]))[1], np.ones((1, 2)))
        array([0.75])

    Reference: Griewank and Walther, "Evaluating derivatives" (2008).
    """
    _check(residual, outputs_dot=outputs_dot)
    return _example_sums(_slope(residual) * outputs_dot)


def vjp_jvp(
    residual: ElementwiseResidual, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    """Tangent of `vjp`: ``dy_dot = l''(y) y_dot dl + l'(y) dl_dot``.

    Args:
        residual: From the loss.
        outputs_dot: Tangent of the outputs, same shape.
        dlosses: (B,) cotangent of the losses.
        dlosses_dot: (B,) its tangent.

    Returns:
        ``dy_dot``, the outputs' shape and dtype.

    Example:
        >>> from bpfunc.losses import huber_errors, huber_errors_vjp_jvp
        >>> residual = huber_errors(np.array([[3.0, 1.5]]), np.array([[1.0, 1.0]]))[1]
        >>> huber_errors_vjp_jvp(residual, np.ones((1, 2)), np.ones(1), np.zeros(1))
        array([[0. , 0.5]])

    Reference: Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    _check(residual, outputs_dot=outputs_dot, dlosses=(dlosses,))
    first = vjp(residual, dlosses_dot)
    if residual.formulas.curvature is None:
        return first
    second = _shared(residual.formulas.curvature(*residual.arguments), outputs_dot) * outputs_dot
    doutputs_dot: FloatArray = second * _column(dlosses, residual) + first
    return doutputs_dot


def _check(
    residual: ElementwiseResidual, *, outputs_dot: FloatArray | None = None, dlosses: tuple[FloatArray, ...] = ()
) -> None:
    name = residual.formulas.function.__name__
    check_derivative(name, residual.arguments[0].shape, outputs_dot=outputs_dot, dlosses=dlosses)


def _slope(residual: ElementwiseResidual) -> FloatArray:
    slope: FloatArray = _shared(residual.formulas.slope(*residual.arguments), residual.arguments[0])
    return slope


def _example_sums(values: FloatArray) -> FloatArray:
    sums: FloatArray = values.sum(axis=1 if values.ndim == 2 else tuple(range(1, values.ndim)))
    return sums


def _shared(values: Any, outputs: FloatArray) -> Any:
    """Divide by the number of outputs of an example."""
    count = math.prod(outputs.shape[1:])
    return values / count if count > 1 else values


def _column(per_example: FloatArray, residual: ElementwiseResidual) -> FloatArray:
    return per_example.reshape(-1, *([1] * (residual.arguments[0].ndim - 1)))
