"""Schedules: a learning rate as a pure function of the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], float]
"""``step -> value``, steps counted from 0."""


def constant(value: float) -> Schedule:
    """Make the schedule that never changes.

    Args:
        value: The value at every step.

    Returns:
        A schedule.

    Example:
        >>> constant(0.1)(1000)
        0.1
    """
    return lambda step: value


def as_schedule(value: float | Schedule) -> Schedule:
    """Take a number for the schedule that never changes; leave a schedule as it is.

    Args:
        value: A number or a schedule.

    Returns:
        A schedule.

    Example:
        >>> as_schedule(0.5)(0), as_schedule(lambda step: 1 / (step + 1))(1)
        (0.5, 0.5)
    """
    return value if callable(value) else constant(value)
