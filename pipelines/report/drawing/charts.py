"""Charts as inline SVG that takes its colours from the page's style sheet, so that it follows light and dark.

Lengths are in the units of the view box, which the page shows at about one CSS pixel each.
"""

from __future__ import annotations

import math
from itertools import pairwise

import attrs
from matplotlib.ticker import MaxNLocator

from pipelines.artifacts import Reliability
from pipelines.disk.untrusted.printable import printable
from pipelines.report.drawing.markup import Html, element, join
from pipelines.report.drawing.svg import dot, label, line, number, picture
from pipelines.report.drawing.wording import nats, percent, tick_labels
from pipelines.report.findings import Curve, Panel, told_epochs

_WIDTH, _HEIGHT = 360.0, 226.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 74.0, 10.0, 34.0
_PLOT_RIGHT, _PLOT_BOTTOM = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
_LABEL_GAP = 14.0
"""Least distance between the base lines of two labels."""

_HEAD = 34.0
"""Room above the curves for the values of an epoch and the mark of the kept one."""
_NAME_LIMIT = 12
"""Letters of a class name that fit beside a drawn matrix; the tables have room for the rest."""


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
            steps.append(f"{'L' if drawing else 'M'}{number(self.x(epoch))} {number(self.y(value))}")
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
    """Draw one panel of training curves, its lines named at their ends, the kept epoch marked.

    A pointer over an epoch shows its values, by the style sheet alone; without one those of the kept epoch, or of the
    last, are shown. The page's script moves along the epochs by keys.

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
        note = label(_WIDTH / 2, _HEIGHT / 2, "No values were recorded.", "tick", "middle")
        return picture(_WIDTH, _HEIGHT, f"{panel.title}: no values", note)
    frame = _Frame(value_axis(panel), epoch_axis(panel.epochs))
    ends = [frame.end(curve, panel.epochs) for curve in panel.curves]
    heights = _spread([height for _, height in ends], _PLOT_BOTTOM - 5)
    lines = [_curve(frame, curve, panel.epochs) for curve in panel.curves]
    names = [
        label(end[0] + 7, height + 4, curve.name, f"name {curve.name}")
        for curve, end, height in zip(panel.curves, ends, heights, strict=True)
    ]
    named = " and ".join(curve.name for curve in panel.curves)
    words = f"{panel.title}, {named}, epochs {panel.epochs[0]} to {panel.epochs[-1]}"
    axes = _axes(frame, " %" if panel.percent else "", "epochs")
    parts = (*axes, *_kept(frame, panel), *lines, *names, *_epochs(frame, panel))
    moved = element("g", {"transform": f"translate(0 {number(_HEAD)})"}, *parts)
    return picture(_WIDTH, _HEIGHT + _HEAD, words, moved, style="curves")


def _kept(frame: _Frame, panel: Panel) -> list[Html]:
    if panel.kept is None:
        return []
    x, at = frame.x(panel.kept), panel.epochs.index(panel.kept)
    rings = [
        dot(x, frame.y(curve.values[at]), 4.5, f"ring {curve.name}")
        for curve in panel.curves
        if not math.isnan(curve.values[at])
    ]
    return [line(x, _TOP - 8, x, _PLOT_BOTTOM, "kept"), label(x, _TOP - 12, "kept", "kept", "middle"), *rings]


def values_of(panel: Panel, place: int) -> str:
    """Write out the values of an epoch.

    Args:
        panel: Curves over epochs.
        place: Place of the epoch in ``panel.epochs``.

    Returns:
        A line of text.

    Example:
        >>> values_of(Panel("Loss", False, (1, 2), (Curve("training", (0.5, 0.25)),), kept=2), 1)
        'epoch 2, kept: training 0.250'
    """
    epoch = panel.epochs[place]
    write = (lambda value: percent(value / 100)) if panel.percent else nats
    told = ", ".join(f"{curve.name} {write(curve.values[place])}" for curve in panel.curves)
    return f"epoch {epoch}{', kept' * (epoch == panel.kept)}: {told}"


def _epochs(frame: _Frame, panel: Panel) -> list[Html]:
    """A column for each epoch that is written out, which shows its values while it is pointed at or chosen."""
    places = told_epochs(panel)
    chosen = places[-1] if panel.kept is None else panel.epochs.index(panel.kept)
    at = [frame.x(panel.epochs[place]) for place in places]
    between = [(left + right) / 2 for left, right in pairwise(at)]
    edges = [min(_LEFT, at[0] - 8), *between, max(_PLOT_RIGHT, at[-1] + 8)]
    found = []
    for place, x, left, right in zip(places, at, edges[:-1], edges[1:], strict=True):
        box = {"x": number(left), "y": number(_TOP), "width": number(right - left)}
        dots = [
            dot(x, frame.y(curve.values[place]), 3, f"dot {curve.name}")
            for curve in panel.curves
            if not math.isnan(curve.values[place])
        ]
        parts = (
            element("rect", box | {"height": number(_PLOT_BOTTOM - _TOP)}),
            line(x, _TOP, x, _PLOT_BOTTOM, "cursor"),
            *dots,
            label(0, 11 - _HEAD, values_of(panel, place), "value"),
        )
        found.append(element("g", {"class": "epoch on" if place == chosen else "epoch"}, *parts))
    return found


def _axes(frame: _Frame, unit: str, below: str) -> list[Html]:
    rows, columns = frame.rows, frame.columns
    grid = [line(_LEFT, frame.y(t), _PLOT_RIGHT, frame.y(t), "base" if t == rows.low else "grid") for t in rows.ticks]
    values = [
        label(_LEFT - 7, frame.y(t) + 4, written + unit, "tick", "end")
        for t, written in zip(rows.ticks, tick_labels(rows.ticks), strict=True)
    ]
    along = [label(frame.x(t), _PLOT_BOTTOM + 16, f"{t:g}", "tick", "middle") for t in columns.ticks]
    return [*grid, *values, *along, label((_LEFT + _PLOT_RIGHT) / 2, _PLOT_BOTTOM + 31, below, "tick", "middle")]


def _curve(frame: _Frame, curve: Curve, epochs: tuple[int, ...]) -> Html:
    path = {"class": f"line {curve.name}", "d": frame.path(curve, epochs)}
    return join([element("path", path), dot(*frame.end(curve, epochs), 2.75, f"dot {curve.name}")])


def reliability_svg(found: Reliability, name: str) -> Html:
    """Draw how often the network is right against how sure it is: on the diagonal, as often as it claims.

    Args:
        found: Rows, confidence and accuracy of each bin; a bin without rows is left out.
        name: Name of the picture, for those who cannot see it.

    Returns:
        An ``svg`` element: a dot for each bin, its area growing with its rows, and a line from it to the diagonal.

    Example:
        >>> import numpy as np
        >>> half = np.array([np.nan, 0.5])
        >>> reliability_svg(Reliability(np.array([0, 4]), half + 0.1, half, 0.1, 0.7), "As trained").count("<circle")
        1
    """
    whole = Axis(0, 100, (0, 20, 40, 60, 80, 100))
    frame = _Frame(whole, whole)
    most = int(found.rows.max())
    gaps, dots = [], []
    for rows, confidence, accuracy in zip(
        found.rows.tolist(), (100 * found.confidence).tolist(), (100 * found.accuracy).tolist(), strict=True
    ):
        if rows and math.isfinite(confidence):
            x, y = frame.x(confidence), frame.y(accuracy)
            gaps.append(line(x, frame.y(confidence), x, y, "gap"))
            dots.append(dot(x, y, 2 + 6 * math.sqrt(rows / most), "bin"))
    ideal = line(frame.x(0), frame.y(0), frame.x(100), frame.y(100), "ideal")
    words = f"{name}: accuracy against confidence; the table below holds the numbers"
    return picture(_WIDTH, _HEIGHT, words, *_axes(frame, " %", "how sure it is, in %"), ideal, *gaps, *dots)


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
    return number(0.08 + 0.42 * share / largest) if share else "0"


def shortened(name: str) -> str:
    """Cut a class name to what fits beside the matrix, in the page and in the picture beside it.

    Args:
        name: Any text.

    Returns:
        The name, or its beginning with an ellipsis.

    Example:
        >>> shortened("T-shirt/top"), shortened("Three-quarter sleeve")
        ('T-shirt/top', 'Three-quart…')
    """
    shown = printable(name)
    return shown if len(shown) <= _NAME_LIMIT else shown[: _NAME_LIMIT - 1] + "…"


def cell_anchor(true: int, predicted: int) -> str:
    """Name the place on the page where the images behind a cell are.

    Args:
        true: Index of the true class.
        predicted: Index of the class that the network says.

    Returns:
        The id of an element.

    Example:
        >>> cell_anchor(0, 2)
        'cell-0-2'
    """
    return f"cell-{true}-{predicted}"
