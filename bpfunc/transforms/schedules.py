"""Schedules: a learning rate as a pure function of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias

from bpfunc.arrays import ranges
from bpfunc.arrays.arguments import expected_function
from bpfunc.arrays.calls import hands_out

Schedule: TypeAlias = Callable[[int], float]
"""``step -> value``, steps counted from 0."""


def constant(value: float) -> Schedule:
    """Make the schedule that never changes.

    Args:
        value: The value at every step, finite.

    Returns:
        A schedule.

    Raises:
        ValueError: The value is not a finite number.

    Example:
        >>> constant(0.1)(1000)
        0.1
    """
    return partial(_constant, ranges.number("constant", "value", value, ranges.FINITE))


def _constant(value: float, step: int) -> float:
    return value


def as_schedule(value: float | Schedule) -> Schedule:
    """Take a number for the schedule that never changes; leave a schedule as it is.

    Args:
        value: A finite number, or a schedule.

    Returns:
        A schedule.

    Raises:
        TypeError: It is a function that makes a schedule.
        ValueError: It is neither.

    Example:
        >>> as_schedule(0.5)(0), as_schedule(lambda step: 1 / (step + 1))(1)
        (0.5, 0.5)
    """
    return expected_function("an optimiser", "rate", value, "Schedule") if callable(value) else constant(value)


def linear(start: float, end: float, steps: int) -> Schedule:
    """Go from one value to another in equal steps, and stay: ``start + (end - start) min(t / steps, 1)``.

    Args:
        start: Value at step 0, finite.
        end: Value from step ``steps`` on, finite.
        steps: At least 1.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> [linear(0.0, 1.0, 4)(step) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """
    steps = ranges.whole("linear", "steps", steps, "[1, inf)")
    start, end = _ends("linear", start, end)
    return polynomial(start, end, steps, power=1.0)


def polynomial(start: float, end: float, steps: int, *, power: float) -> Schedule:
    """Go from one value to another along a power: ``end + (start - end) (1 - min(t / steps, 1))^power``.

    Args:
        start: Value at step 0, finite.
        end: Value from step ``steps`` on, finite.
        steps: At least 1.
        power: Above 0; 1 is a straight line.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> polynomial(1.0, 0.0, 10, power=2.0)(5)
        0.25
    """
    steps = ranges.whole("polynomial", "steps", steps, "[1, inf)")
    power = ranges.number("polynomial", "power", power, "(0, inf)")
    start, end = _ends("polynomial", start, end)
    return partial(_polynomial, start, end, steps, power)


def _polynomial(start: float, end: float, steps: int, power: float, step: int) -> float:
    return _between(end, start, (1 - min(step, steps) / steps) ** power)


def _ends(function: str, start: object, end: object) -> tuple[float, float]:
    return (
        ranges.number(function, "start", start, ranges.FINITE),
        ranges.number(function, "end", end, ranges.FINITE),
    )


def _between(low: float, high: float, part: float) -> float:
    """The number a part of the way from ``low`` to ``high``, also where these are too far apart to subtract."""
    value = low + (high - low) * part
    return value if math.isfinite(value) else low * (1 - part) + high * part


def step_decay(value: float, factor: float, every: int) -> Schedule:
    """Multiply by a factor at regular steps: ``value * factor^floor(t / every)``.

    Args:
        value: Value at step 0, finite.
        factor: What it is multiplied by, finite, such as 0.1.
        every: Steps between two drops, at least 1.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> [step_decay(1.0, 0.5, 10)(step) for step in (0, 9, 10, 20)]
        [1.0, 1.0, 0.5, 0.25]
    """
    every = ranges.whole("step_decay", "every", every, "[1, inf)")
    value = ranges.number("step_decay", "value", value, ranges.FINITE)
    factor = ranges.number("step_decay", "factor", factor, ranges.FINITE)
    return partial(_step_decay, value, factor, every)


def _step_decay(value: float, factor: float, every: int, step: int) -> float:
    return ranges.times_power(value, factor, step // every)


def exponential(value: float, factor: float, steps: int) -> Schedule:
    """Fall smoothly by a factor in so many steps: ``value * factor^(t / steps)``.

    Args:
        value: Value at step 0, finite.
        factor: Above 0; what the value is multiplied by in ``steps`` steps.
        steps: At least 1.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> exponential(1.0, 0.25, 10)(5)
        0.5
    """
    steps = ranges.whole("exponential", "steps", steps, "[1, inf)")
    factor = ranges.number("exponential", "factor", factor, "(0, inf)")
    value = ranges.number("exponential", "value", value, ranges.FINITE)
    return partial(_exponential, value, factor, steps)


def _exponential(value: float, factor: float, steps: int, step: int) -> float:
    return ranges.times_power(value, factor, step / steps)


def piecewise(values: Sequence[float], boundaries: Sequence[int]) -> Schedule:
    """Hold one value after another: ``values[i]`` from step ``boundaries[i - 1]`` on.

    Args:
        values: One more than there are boundaries.
        boundaries: Steps, rising.

    Returns:
        A schedule.

    Raises:
        ValueError: The lengths do not fit, or the boundaries do not rise.

    Example:
        >>> [piecewise([1.0, 0.5], [10])(step) for step in (9, 10)]
        [1.0, 0.5]
    """
    held = [constant(value) for value in values]
    return join(held, boundaries)


def cosine(start: float, steps: int, *, end: float = 0.0) -> Schedule:
    """Fall along half a cosine and stay: ``end + (start - end) (1 + cos(pi min(t / steps, 1))) / 2``.

    Args:
        start: Value at step 0, finite.
        steps: At least 1.
        end: Value from step ``steps`` on, finite.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> [round(cosine(1.0, 10)(step), 3) for step in (0, 5, 10, 99)]
        [1.0, 0.5, 0.0, 0.0]

    Reference: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017).
    """
    steps = ranges.whole("cosine", "steps", steps, "[1, inf)")
    start, end = _ends("cosine", start, end)
    return partial(_cosine, start, steps, end)


def _cosine(start: float, steps: int, end: float, step: int) -> float:
    return _between(end, start, (1 + math.cos(math.pi * (min(step, steps) / steps))) / 2)


def warm_restarts(start: float, steps: int, *, growth: int = 1, end: float = 0.0) -> Schedule:
    """Fall along half a cosine again and again, each time ``growth`` times as long.

    Args:
        start: Value at each restart, finite.
        steps: Length of the first fall, at least 1.
        growth: Whole number of at least 1.
        end: Value that each fall goes to, finite.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> [round(warm_restarts(1.0, 10, growth=2)(step), 3) for step in (0, 5, 10, 20)]
        [1.0, 0.5, 1.0, 0.5]

    Reference: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017).
    """
    steps = ranges.whole("warm_restarts", "steps", steps, "[1, inf)")
    growth = ranges.whole("warm_restarts", "growth", growth, "[1, inf)")
    start, end = _ends("warm_restarts", start, end)
    return partial(_warm_restarts, start, steps, growth, end)


def _warm_restarts(start: float, steps: int, growth: int, end: float, step: int) -> float:
    length = steps
    while step >= length:
        step -= length
        length *= growth
        if growth == 1:
            step %= length
    return _cosine(start, length, end, step)


def warm_up(schedule: float | Schedule, steps: int, *, start: float = 0.0) -> Schedule:
    """Rise in a straight line to a schedule's first value, then follow it from its own step 0.

    Args:
        schedule: A number or a schedule.
        steps: Length of the rise, at least 1.
        start: Value at step 0, finite.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> [warm_up(1.0, 4)(step) for step in (0, 2, 4, 9)]
        [0.0, 0.5, 1.0, 1.0]

    Reference: Goyal et al., "Accurate, large minibatch SGD" (2017).
    """
    steps = ranges.whole("warm_up", "steps", steps, "[1, inf)")
    start = ranges.number("warm_up", "start", start, ranges.FINITE)
    then = as_schedule(schedule)
    return join([linear(start, then(0), steps), then], [steps])


def one_cycle(peak: float, steps: int, *, warm: float = 0.3, divide: float = 25.0, final: float = 1e4) -> Schedule:
    """Rise along half a cosine to a peak, then fall along another to almost nothing.

    From ``peak / divide`` at step 0 to ``peak`` at step ``warm * steps``, to ``peak / (divide * final)`` at step
    ``steps``. torch's ``OneCycleLR(max_lr=peak, total_steps=steps + 1)`` ends where this does, and has its peak at
    step ``warm * (steps + 1) - 1``.

    Args:
        peak: Largest value, above 0.
        steps: Length of the whole cycle, at least 1.
        warm: Part of it that rises, in (0, 1).
        divide: Peak over start, above 0.
        final: Start over end, above 0.

    Returns:
        A schedule.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> [round(one_cycle(1.0, 100)(step), 4) for step in (0, 30, 100)]
        [0.04, 1.0, 0.0]

    Reference: Smith and Topin, "Super-convergence: very fast training of neural networks" (2019).
    """
    steps = ranges.whole("one_cycle", "steps", steps, "[1, inf)")
    warm = ranges.number("one_cycle", "warm", warm, "(0, 1)")
    peak, divide, final = (
        ranges.number("one_cycle", name, value, "(0, inf)")
        for name, value in (("peak", peak), ("divide", divide), ("final", final))
    )
    start, turn = peak / divide, warm * steps
    return partial(_one_cycle, peak, steps, final, turn, start)


def _one_cycle(peak: float, steps: int, final: float, turn: float, start: float, step: int) -> float:
    if step <= turn:
        return _between(peak, start, (1 + math.cos(math.pi * step / turn)) / 2)
    past = (min(step, steps) - turn) / (steps - turn)
    return _between(start / final, peak, (1 + math.cos(math.pi * past)) / 2)


def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Follow one schedule after another; each starts at its own step 0.

    Args:
        schedules: One more than there are boundaries.
        boundaries: Steps at which the next one takes over, rising.

    Returns:
        A schedule.

    Raises:
        ValueError: The lengths do not fit, or the boundaries do not rise.

    Example:
        >>> both = join([constant(1.0), linear(0.0, 1.0, 10)], [5])
        >>> both(4), both(5), both(10)
        (1.0, 0.0, 0.5)
    """
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(f"{len(schedules)} schedules need {len(schedules) - 1} boundaries, got {len(boundaries)}")
    if any(later <= earlier for earlier, later in pairwise((0, *boundaries))):
        raise ValueError(f"boundaries rise from above 0, got {tuple(boundaries)}")
    parts, starts = tuple(schedules), (0, *boundaries)
    return partial(_joined, starts, parts)


def _joined(starts: tuple[int, ...], parts: tuple[Schedule, ...], step: int) -> float:
    index = bisect_right(starts, step) - 1
    return parts[index](step - starts[index])


hands_out(constant, schedule=_constant)
hands_out(polynomial, schedule=_polynomial)
hands_out(step_decay, schedule=_step_decay)
hands_out(exponential, schedule=_exponential)
hands_out(cosine, schedule=_cosine)
hands_out(warm_restarts, schedule=_warm_restarts)
hands_out(one_cycle, schedule=_one_cycle)
hands_out(join, schedule=_joined)
