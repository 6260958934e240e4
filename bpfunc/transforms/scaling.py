"""Multiplying by a number, a schedule, or the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.ranges import FINITE, number
from bpfunc.arrays.types import FloatArray
from bpfunc.transforms.base import GradientTransform, elementwise, no_state
from bpfunc.transforms.elementwise import Arrays, Numbers
from bpfunc.transforms.schedules import Schedule, as_schedule


def _scaled(factor: Callable[[int], float]) -> GradientTransform:
    return elementwise(no_state, _multiplied, numbers=partial(_factor, factor))


def _factor(factor: Callable[[int], float], step: int) -> Numbers:
    return (factor(step),)


def _multiplied(
    c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    return np.multiply(g, c[0], out=out)


@recorded
def scale(factor: float) -> GradientTransform:
    """Multiply by a number: ``u = factor * g``.

    Args:
        factor: The number, finite.

    Returns:
        A transform.

    Raises:
        ValueError: It is not a finite number.

    Example:
        >>> scale(0.5).update(4.0, (), 0.0, 0)[0]
        2.0
    """
    return _scaled(partial(_constant, number("scale", "factor", factor, FINITE)))


def _constant(value: float, step: int) -> float:
    return value


@recorded
def scale_by_schedule(schedule: Schedule) -> GradientTransform:
    """Multiply by a function of the step: ``u = schedule(step) * g``.

    Args:
        schedule: ``step -> factor``.

    Returns:
        A transform.

    Example:
        >>> scale_by_schedule(lambda step: 1 / (step + 1)).update(4.0, (), 0.0, 1)[0]
        2.0
    """
    return _scaled(schedule)


@recorded
def scale_by_learning_rate(learning_rate: float | Schedule) -> GradientTransform:
    """Turn a direction of ascent into a step of descent: ``u = -learning_rate * g``. The only minus sign.

    Args:
        learning_rate: A number above 0, or a schedule.

    Returns:
        A transform.

    Raises:
        ValueError: The learning rate is neither.

    Example:
        >>> scale_by_learning_rate(0.5).update(4.0, (), 0.0, 0)[0]
        -2.0
    """
    if not callable(learning_rate):
        learning_rate = number(
            "scale_by_learning_rate",
            "learning_rate",
            learning_rate,
            "(0, inf)",
            words="above 0, or a schedule",
        )
    return _scaled(partial(_negative, as_schedule(learning_rate)))


def _negative(schedule: Schedule, step: int) -> float:
    return -schedule(step)
