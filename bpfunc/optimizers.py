"""Optimisers: recipes over `bpfunc.transforms`, each a chain whose order its docstring states."""

from __future__ import annotations

from bpfunc.schedules import Schedule
from bpfunc.transforms import GradientTransform, chain, momentum, scale_by_learning_rate


def sgd(learning_rate: float | Schedule, *, decay: float = 0.0, nesterov: bool = False) -> GradientTransform:
    """Stochastic gradient descent, with momentum where ``decay`` is not 0: momentum, then the learning rate.

    Args:
        learning_rate: A number above 0, or a schedule.
        decay: Of the momentum, in [0, 1).
        nesterov: Whether the momentum looks one step ahead.

    Returns:
        A transform.

    Raises:
        ValueError: The decay is outside [0, 1).

    Example:
        >>> sgd(0.1).update(2.0, ((),), 0.0, 0)[0]
        -0.2

    Reference: Robbins and Monro, "A stochastic approximation method" (1951).
    """
    if decay == 0:
        return chain(scale_by_learning_rate(learning_rate))
    return chain(momentum(decay, nesterov=nesterov), scale_by_learning_rate(learning_rate))
