"""A loss times a number."""

from __future__ import annotations

from functools import partial

import attrs

from bpfunc.arrays.calls import hands_out, recorded
from bpfunc.arrays.ranges import FINITE, number
from bpfunc.arrays.types import FloatArray
from bpfunc.losses.base import Loss, Targets
from bpfunc.tree import Tree


@recorded
def scaled(loss: Loss, factor: float) -> Loss:
    """Multiply a loss, and so all its derivatives, by a number.

    Args:
        loss: Any loss.
        factor: Any finite number, such as 1/2 before a square.

    Returns:
        A loss on the same outputs and targets.

    Raises:
        ValueError: The factor is not a finite number.

    Example:
        >>> import numpy as np
        >>> from bpfunc.losses import squared_error
        >>> scaled(squared_error(), 0.5).forward(np.array([[3.0]]), np.array([[1.0]]))[0]
        array([2.])

    Reference: the losses of Pedregosa et al., "Scikit-learn: machine learning in Python" (2011), have such factors.
    """
    factor = number("scaled", "factor", factor, FINITE)
    return attrs.evolve(
        loss,
        forward=partial(_forward, loss, factor),
        vjp=partial(_vjp, loss, factor),
        jvp=partial(_jvp, loss, factor),
        vjp_jvp=partial(_vjp_jvp, loss, factor),
    )


def unscaled(loss: Loss) -> tuple[Loss, float]:
    """Find what a scaled loss was made of; see `scaled`.

    Args:
        loss: Any loss, scaled any number of times.

    Returns:
        The loss without factors, and their product; the loss itself and 1.0 where it has none, or where one of its
        functions was replaced since.

    Example:
        >>> from bpfunc.losses import huber
        >>> inner, factor = unscaled(scaled(scaled(huber(), 2.0), 0.25))
        >>> inner.name, factor
        ('huber', 0.5)
    """
    product = 1.0
    while isinstance(loss.forward, partial) and loss.forward.func is _forward:
        inner, factor = loss.forward.args
        found = ((loss.forward, _forward), (loss.vjp, _vjp), (loss.jvp, _jvp), (loss.vjp_jvp, _vjp_jvp))
        if not all(_binds(function, own, inner, factor) for function, own in found):
            break
        loss, product = inner, product * factor
    return loss, product


def _binds(found: object, function: object, loss: Loss, factor: float) -> bool:
    """Whether a function is the one that `scaled` made of this loss and factor."""
    if not isinstance(found, partial) or found.func is not function or found.keywords:
        return False
    return found.args[0] is loss and found.args[1] == factor


def _forward(loss: Loss, factor: float, outputs: FloatArray, targets: Targets) -> tuple[FloatArray, Tree]:
    losses, residual = loss.forward(outputs, targets)
    return factor * losses, residual


def _vjp(loss: Loss, factor: float, residual: Tree, dlosses: FloatArray) -> FloatArray:
    return loss.vjp(residual, factor * dlosses)


def _jvp(loss: Loss, factor: float, residual: Tree, outputs_dot: FloatArray) -> FloatArray:
    return factor * loss.jvp(residual, outputs_dot)


def _vjp_jvp(
    loss: Loss, factor: float, residual: Tree, outputs_dot: FloatArray, dlosses: FloatArray, dlosses_dot: FloatArray
) -> FloatArray:
    return loss.vjp_jvp(residual, outputs_dot, factor * dlosses, factor * dlosses_dot)


hands_out(scaled, forward=_forward, vjp=_vjp, jvp=_jvp, vjp_jvp=_vjp_jvp)
