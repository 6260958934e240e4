"""Charts as inline SVG that takes its colours from the page's style sheet, so that it follows light and dark.

Lengths are in the units of the view box, which the page shows at about one CSS pixel each.
"""

from __future__ import annotations

import math

import attrs
from matplotlib.ticker import MaxNLocator

from bpfunc.types import IntArray
from pipelines.report.findings import Curve, Panel, largest_wrong_share, row_shares
from pipelines.report.markup import Html, element, join, text
from pipelines.report.wording import count, percent, tick_labels

_WIDTH, _HEIGHT = 360.0, 226.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 74.0, 10.0, 34.0
_PLOT_RIGHT, _PLOT_BOTTOM = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
_LABEL_GAP = 14.0
"""Least distance between the base lines of two labels."""

_CELL_MAX, _CELL_MIN = 92.0, 46.0
_GRID_WIDTH = 276.0
_NAME_LIMIT = 12
"""Letters of a class name that fit beside the matrix; the tables have room for the rest."""


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _label(x: float, y: float, value: str, style: str, anchor: str = "start") -> Html:
    place = {"x": _number(x), "y": _number(y), "class": style, "text-anchor": anchor}
    return element("text", place, text(value))


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    ends = {"x1": _number(x1), "y1": _number(y1), "x2": _number(x2), "y2": _number(y2)}
    return element("line", ends | {"class": style})


def _svg(width: float, height: float, label: str, *children: Html) -> Html:
    box = f"0 0 {_number(width)} {_number(height)}"
    # The style sheet derives the least legible width from the natural one.
    style = f"--natural:{_number(width)}px"
    return element("svg", {"viewBox": box, "style": style, "role": "img", "aria-label": label}, *children)


@attrs.frozen
class Axis:
    """A range of values and the ticks inside it."""

    low: float
    high: float
    ticks: tuple[float, ...]


def value_axis(panel: Panel) -> Axis:
    """Choose the vertical axis of a panel.

    Args:
        panel: Curves with at least one finite value between them, or none at all.

    Returns:
        Loss begins at zero; accuracy at a round percentage below its lowest value. Both end on a tick.

    Example:
        >>> value_axis(Panel("Accuracy", True, (1, 2), (Curve("training", (91.0, 97.5)),)))
        Axis(low=90.0, high=98.0, ticks=(90.0, 92.0, 94.0, 96.0, 98.0))
    """
    values = [v for c in panel.curves for v in c.values if math.isfinite(v)] or [0.0, 1.0]
    low, high = (min(values) if panel.percent else min(0.0, *values)), max(values)
    if high - low < 1e-9:
        low, high = (low - 1, high) if high >= 1 else (0.0, 1.0)
    locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
    ticks = tuple(float(tick) for tick in locator.tick_values(low, high))
    return Axis(ticks[0], ticks[-1], ticks)


def epoch_axis(epochs: tuple[int, ...]) -> Axis:
    """Choose the horizontal axis of a panel.

    Args:
        epochs: Epoch numbers in order.

    Returns:
        The first and last epoch, whole numbers between them.

    Example:
        >>> epoch_axis(tuple(range(1, 41))).ticks
        (1, 10, 20, 30, 40)
        >>> epoch_axis((1,)).ticks
        (1,)
    """
    first, last = epochs[0], epochs[-1]
    rounds = MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]).tick_values(first, last)
    inside = [round(tick) for tick in rounds if first < tick <= last]
    return Axis(first, last, (first, *inside))


@attrs.frozen
class _Frame:
    """The plot area of a panel, between its axes."""

    rows: Axis
    columns: Axis

    def x(self, epoch: float) -> float:
        span = self.columns.high - self.columns.low
        return _LEFT + (_PLOT_RIGHT - _LEFT) * ((epoch - self.columns.low) / span if span else 0.5)

    def y(self, value: float) -> float:
        return _PLOT_BOTTOM - (_PLOT_BOTTOM - _TOP) * (value - self.rows.low) / (self.rows.high - self.rows.low)

    def path(self, curve: Curve, epochs: tuple[int, ...]) -> str:
        """Draw a polyline that lifts its pen over gaps."""
        steps, drawing = [], False
        for epoch, value in zip(epochs, curve.values, strict=True):
            if math.isnan(value):
                drawing = False
                continue
            steps.append(f"{'L' if drawing else 'M'}{_number(self.x(epoch))} {_number(self.y(value))}")
            drawing = True
        return " ".join(steps)

    def end(self, curve: Curve, epochs: tuple[int, ...]) -> tuple[float, float]:
        """Find where a curve has its last value."""
        last = max(i for i, value in enumerate(curve.values) if not math.isnan(value))
        return self.x(epochs[last]), self.y(curve.values[last])


def _spread(heights: list[float], floor: float) -> list[float]:
    """Move the labels of two line ends apart, each by half of what is missing, and keep both above the axis."""
    if len(heights) == 2:
        first, second = heights
        missing = max(0.0, _LABEL_GAP - abs(second - first)) / 2
        down = 1 if first > second else -1
        heights = [first + down * missing, second - down * missing]
    below = max(0.0, max(heights) - floor)
    return [height - below for height in heights]


def curves_svg(panel: Panel) -> Html:
    """Draw one panel of training curves, its lines named at their ends.

    Args:
        panel: Loss or accuracy over the epochs.

    Returns:
        An ``svg`` element; a sentence instead of lines where there is nothing to draw.

    Example:
        >>> panel = Panel("Loss", False, (1, 2), (Curve("training", (0.5, 0.25)),))
        >>> picture = curves_svg(panel)
        >>> picture.count("<path"), picture.count('class="line training"')
        (1, 1)
    """
    if not panel.curves:
        note = _label(_WIDTH / 2, _HEIGHT / 2, "No values were recorded.", "tick", "middle")
        return _svg(_WIDTH, _HEIGHT, f"{panel.title}: no values", note)
    frame = _Frame(value_axis(panel), epoch_axis(panel.epochs))
    ends = [frame.end(curve, panel.epochs) for curve in panel.curves]
    heights = _spread([height for _, height in ends], _PLOT_BOTTOM - 5)
    lines = [_curve(frame, curve, panel.epochs) for curve in panel.curves]
    names = [
        _label(end[0] + 7, height + 4, curve.name, f"name {curve.name}")
        for curve, end, height in zip(panel.curves, ends, heights, strict=True)
    ]
    named = " and ".join(curve.name for curve in panel.curves)
    label = f"{panel.title}, {named}, epochs {panel.epochs[0]} to {panel.epochs[-1]}"
    return _svg(_WIDTH, _HEIGHT, label, *_axes(frame, " %" if panel.percent else ""), *lines, *names)


def _axes(frame: _Frame, unit: str) -> list[Html]:
    rows, columns = frame.rows, frame.columns
    grid = [_line(_LEFT, frame.y(t), _PLOT_RIGHT, frame.y(t), "base" if t == rows.low else "grid") for t in rows.ticks]
    values = [
        _label(_LEFT - 7, frame.y(t) + 4, label + unit, "tick", "end")
        for t, label in zip(rows.ticks, tick_labels(rows.ticks), strict=True)
    ]
    epochs = [_label(frame.x(t), _PLOT_BOTTOM + 16, f"{t:g}", "tick", "middle") for t in columns.ticks]
    return [*grid, *values, *epochs, _label((_LEFT + _PLOT_RIGHT) / 2, _PLOT_BOTTOM + 31, "epochs", "tick", "middle")]


def _curve(frame: _Frame, curve: Curve, epochs: tuple[int, ...]) -> Html:
    x, y = frame.end(curve, epochs)
    path = {"class": f"line {curve.name}", "d": frame.path(curve, epochs)}
    dot = {"class": f"dot {curve.name}", "cx": _number(x), "cy": _number(y), "r": "2.75"}
    return join([element("path", path), element("circle", dot)])


def tint(share: float, largest: float) -> str:
    """Choose the opacity of a mistake's cell: deeper where it is commoner, never so deep as to hide ink.

    Args:
        share: Fraction of the row, 0..1.
        largest: The largest such fraction off the diagonal.

    Returns:
        A CSS number, ``0.08 + 0.42 share / largest``; 0 for an empty cell.

    Example:
        >>> tint(0.02, 0.02), tint(0.01, 0.02), tint(0.0, 0.02)
        ('0.5', '0.29', '0')
    """
    return _number(0.08 + 0.42 * share / largest) if share else "0"


def shortened(name: str) -> str:
    """Cut a class name to what fits beside the matrix.

    Args:
        name: Any text.

    Returns:
        The name, or its beginning with an ellipsis.

    Example:
        >>> shortened("T-shirt/top"), shortened("Three-quarter sleeve")
        ('T-shirt/top', 'Three-quart…')
    """
    return name if len(name) <= _NAME_LIMIT else name[: _NAME_LIMIT - 1] + "…"


def _cell(x: float, y: float, side: float, cell: tuple[int, float, float, bool]) -> Html:
    """Draw one cell of (count, share of the row, largest share off the diagonal, whether it is a hit)."""
    number, share, largest, hit = cell
    box = {"x": _number(x + 1), "y": _number(y + 1), "width": _number(side - 2), "height": _number(side - 2)}
    style = {"class": "hit"} if hit else {"class": "miss", "style": f"--tint:{tint(share, largest)}"}
    middle = x + side / 2
    muted = "" if number else " none"
    return join(
        [
            element("rect", box | style),
            _label(middle, y + side / 2 - 1, count(number), f"count{muted}", "middle"),
            _label(middle, y + side / 2 + 13, percent(share, digits=1), f"share{muted}", "middle"),
        ]
    )


def confusion_svg(confusion: IntArray, class_names: tuple[str, ...]) -> Html:
    """Draw a confusion matrix: hits in grey, mistakes in the accent colour, deeper where commoner.

    Args:
        confusion: (K, K) counts; row = true class, column = predicted class.
        class_names: K names.

    Returns:
        An ``svg`` element.

    Example:
        >>> import numpy as np
        >>> picture = confusion_svg(np.array([[3, 1], [0, 4]]), ("Bag", "Coat"))
        >>> picture.count("<rect"), "75.0" in picture
        (4, True)
    """
    size = len(class_names)
    shares = row_shares(confusion)
    largest = largest_wrong_share(confusion)
    side = min(_CELL_MAX, max(_CELL_MIN, _GRID_WIDTH / size))
    names = [shortened(name) for name in class_names]
    longest = max(len(name) for name in names)
    left, turned = 22.0 + 6.6 * longest, longest * 6.6 > side
    top = 24.0 + (5.0 * longest if turned else 12.0)
    cells = [
        _cell(
            left + j * side,
            top + i * side,
            side,
            (int(confusion[i, j]), float(shares[i, j]), largest, i == j),
        )
        for i in range(size)
        for j in range(size)
    ]
    # Slanted heads lean over the last column.
    width = left + size * side + (5.6 * longest - side / 2 if turned and 5.6 * longest > side / 2 else 2)
    label = "Confusion matrix; the table beside it holds the numbers"
    return _svg(width, top + size * side + 2, label, *_headings(names, left, top, side, turned=turned), *cells)


def _headings(names: list[str], left: float, top: float, side: float, *, turned: bool) -> list[Html]:
    middle = len(names) * side / 2
    upright = {"transform": f"rotate(-90 12 {_number(top + middle)})"}
    parts = [
        _label(left + middle, 12, "predicted", "axis", "middle"),
        element("g", upright, _label(12, top + middle, "true", "axis", "middle")),
    ]
    for i, name in enumerate(names):
        x, y = left + (i + 0.5) * side, top - 7
        slant = {"transform": f"rotate(-40 {_number(x)} {_number(y)})"} if turned else {}
        head = _label(x, y, name, "tick", "start" if turned else "middle")
        parts += [_label(left - 7, top + (i + 0.5) * side + 4, name, "tick", "end"), element("g", slant, head)]
    return parts
