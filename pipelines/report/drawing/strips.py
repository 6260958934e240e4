"""Dots along a line, strip above strip: seeds, differences with their intervals, sizes of gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
from matplotlib.ticker import MaxNLocator

from pipelines.report.drawing.charts import Axis
from pipelines.report.drawing.markup import Html
from pipelines.report.drawing.svg import dot, label, line, picture
from pipelines.report.drawing.wording import tick_labels

_WIDTH, _RIGHT, _TOP, _BOTTOM = 420.0, 14.0, 6.0, 34.0
_RADIUS, _PITCH = 3.5, 8.0
_LINE, _LETTER = 26.0, 6.8


@attrs.frozen
class Dot:
    """One value on a strip."""

    value: float
    style: str = "seed"
    """Class name of the style sheet."""


@attrs.frozen
class Strip:
    """One line of the chart. What is not finite is left out."""

    name: str
    dots: tuple[Dot, ...]
    middle: float | None = None
    """Such as a mean: drawn as a mark across."""
    interval: tuple[float, float] | None = None
    """Drawn as a bar along."""

    @property
    def values(self) -> list[float]:
        """All that the axis has to hold."""
        found = [
            *(d.value for d in self.dots),
            *(self.interval or ()),
            *(() if self.middle is None else (self.middle,)),
        ]
        return [value for value in found if math.isfinite(value)]


def scaled(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Turn an interval of fractions into one of percent.

    Args:
        interval: Both ends, or None.

    Returns:
        The same times 100.

    Example:
        >>> scaled((0.25, 0.5)), scaled(None)
        ((25.0, 50.0), None)
    """
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def linear_axis(strips: Sequence[Strip], *, include: tuple[float, ...] = (), ticks: int = 5) -> Axis:
    """Choose an axis that holds every value, its ends on round numbers.

    Args:
        strips: What is to be drawn.
        include: Values that must be on it, such as zero.
        ticks: About how many.

    Returns:
        The axis.

    Example:
        >>> linear_axis([Strip("", (Dot(98.2), Dot(98.9)))])
        Axis(low=98.2, high=99.0, ticks=(98.2, 98.4, 98.6, 98.8, 99.0))
    """
    values = [value for strip in strips for value in strip.values] + list(include) or [0.0, 1.0]
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    found = MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    places = tuple(round(float(tick), 12) for tick in found)
    return Axis(places[0], places[-1], places)


def decades(strips: Sequence[Strip]) -> Axis:
    """Choose an axis of powers of ten for values that are logarithms.

    Args:
        strips: Logarithms to base ten.

    Returns:
        The axis, from a whole power to another.

    Example:
        >>> decades([Strip("", (Dot(-2.3), Dot(-0.1)))]).ticks
        (-3.0, -2.0, -1.0, 0.0)
    """
    values = [value for strip in strips for value in strip.values] or [0.0]
    low, high = math.floor(min(values)), math.ceil(max(values))
    high += low == high
    every = math.ceil((high - low) / 6)
    ticks = tuple(float(tick) for tick in range(low, high + every, every))
    return Axis(ticks[0], ticks[-1], ticks)


def levels(places: Sequence[float], pitch: float) -> list[int]:
    """Stack dots that would overlap: each takes the lowest level where it touches no other.

    Args:
        places: Along the line, in any order.
        pitch: Least distance of two dots of a level.

    Returns:
        Level of each, from 0.

    Example:
        >>> levels([5.0, 0.0, 6.0, 20.0], 8.0)
        [1, 0, 2, 0]
    """
    ends: list[float] = []
    found = [0] * len(places)
    for i in sorted(range(len(places)), key=lambda i: (places[i], i)):
        level = next((k for k, end in enumerate(ends) if places[i] - end >= pitch), len(ends))
        ends[level : level + 1] = [places[i]]
        found[i] = level
    return found


def strips_svg(strips: Sequence[Strip], axis: Axis, *, words: str, below: str, powers: bool = False) -> Html:
    """Draw strips one above the other on one axis, a line at zero where the axis passes it.

    Args:
        strips: In order, from the top.
        axis: Holds every value.
        words: What the picture shows, for those who cannot see it.
        below: What the axis measures.
        powers: Whether the values are logarithms to base ten.

    Returns:
        An ``svg`` element.

    Example:
        >>> strips = [Strip("seeds", (Dot(98.2), Dot(98.9)), middle=98.5, interval=(98.1, 98.9))]
        >>> picture = strips_svg(strips, linear_axis(strips), words="Two seeds", below="accuracy in %")
        >>> picture.count("<circle"), picture.count('class="interval"'), picture.count('class="middle"')
        (2, 1, 1)
    """
    left = 10 + max(_LETTER * max((len(strip.name) for strip in strips), default=0), 14)

    def x(value: float) -> float:
        return left + (_WIDTH - _RIGHT - left) * (value - axis.low) / (axis.high - axis.low)

    drawn: list[Html] = []
    top = _TOP
    for strip in strips:
        dots = [d for d in strip.dots if math.isfinite(d.value)]
        stacked = levels([x(d.value) for d in dots], _PITCH)
        top += _LINE + _PITCH * max(stacked, default=0)
        ground = top - _LINE / 2
        drawn.append(line(left, ground, _WIDTH - _RIGHT, ground, "grid"))
        if strip.interval is not None:
            drawn.append(line(x(strip.interval[0]), ground, x(strip.interval[1]), ground, "interval"))
        drawn += [
            dot(x(d.value), ground - _PITCH * k, _RADIUS, f"dot {d.style}") for d, k in zip(dots, stacked, strict=True)
        ]
        if strip.middle is not None and math.isfinite(strip.middle):
            drawn.append(line(x(strip.middle), ground - 8, x(strip.middle), ground + 8, "middle"))
        drawn.append(label(left - 10, ground + 4, strip.name, "tick", "end"))
    zero = [line(x(0), _TOP, x(0), top, "base")] if axis.low < 0 < axis.high and not powers else []
    written = tuple(f"{10.0**t:g}" for t in axis.ticks) if powers else tick_labels(axis.ticks)
    scale = [label(x(t), top + 16, w, "tick", "middle") for t, w in zip(axis.ticks, written, strict=True)]
    marks = [line(x(t), top, x(t), top + 4, "base") for t in axis.ticks]
    ground_line = line(left, top, _WIDTH - _RIGHT, top, "base")
    title = label((left + _WIDTH - _RIGHT) / 2, top + 31, below, "tick", "middle")
    return picture(_WIDTH, top + _BOTTOM, words, *zero, *drawn, ground_line, *marks, *scale, title, style="strips")
