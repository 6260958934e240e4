"""Charts as inline SVG that takes its colours from the page's style sheet, so that it follows light and dark.

Lengths are in the units of the view box, which the page shows at about one CSS pixel each.
"""

from __future__ import annotations

import math

import attrs
from matplotlib.ticker import MaxNLocator

from bpfunc.arrays.types import FloatArray, IntArray
from pipelines.artifacts import Reliability
from pipelines.disk.untrusted.printable import printable
from pipelines.report.drawing.markup import Html, element, join
from pipelines.report.drawing.svg import dot, label, line, number, picture
from pipelines.report.drawing.wording import count, percent, tick_labels
from pipelines.report.findings import Curve, Panel, largest_wrong_share, row_shares

_WIDTH, _HEIGHT = 360.0, 226.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 74.0, 10.0, 34.0
_PLOT_RIGHT, _PLOT_BOTTOM = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
_LABEL_GAP = 14.0
"""Least distance between the base lines of two labels."""

_CELL_MAX, _CELL_MIN = 92.0, 46.0
_GRID_WIDTH = 276.0
_NAME_LIMIT = 12
"""Letters of a class name that fit beside the matrix; the tables have room for the rest."""


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
    return picture(_WIDTH, _HEIGHT, words, *_axes(frame, " %" if panel.percent else "", "epochs"), *lines, *names)


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
        name: Of the picture, for those who cannot see it.

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


def _cell(x: float, y: float, side: float, anchor: str, cell: tuple[float, float, float, bool]) -> Html:
    """Draw one cell of (count, share of the row, largest share off the diagonal, whether it is a hit)."""
    images, share, largest, hit = cell
    box = {"x": number(x + 1), "y": number(y + 1), "width": number(side - 2), "height": number(side - 2)}
    style = {"class": "hit"} if hit else {"class": "miss", "style": f"--tint:{tint(share, largest)}"}
    middle = x + side / 2
    muted = "" if images else " none"
    return element(
        "g",
        # A pointer may click the picture; a keyboard finds the same links in the table.
        {"data-cell": anchor} if anchor else {},
        element("rect", box | style),
        label(middle, y + side / 2 - 1, count(images), f"count{muted}", "middle"),
        label(middle, y + side / 2 + 13, percent(share, digits=1), f"share{muted}", "middle"),
    )


def confusion_svg(confusion: IntArray | FloatArray, class_names: tuple[str, ...], *, linked: bool = False) -> Html:
    """Draw a confusion matrix: hits in grey, mistakes in the accent colour, deeper where commoner.

    Args:
        confusion: (K, K) counts, or mean counts as floats; row = true class, column = predicted class.
        class_names: K names.
        linked: Whether a click on a cell leads to the images behind it.

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
            cell_anchor(i, j) if linked and confusion[i, j] else "",
            (confusion[i, j].item(), float(shares[i, j]), largest, i == j),
        )
        for i in range(size)
        for j in range(size)
    ]
    # Slanted heads lean over the last column.
    width = left + size * side + (5.6 * longest - side / 2 if turned and 5.6 * longest > side / 2 else 2)
    words = "Confusion matrix; the table beside it holds the numbers"
    return picture(width, top + size * side + 2, words, *_headings(names, left, top, side, turned=turned), *cells)


def _headings(names: list[str], left: float, top: float, side: float, *, turned: bool) -> list[Html]:
    middle = len(names) * side / 2
    upright = {"transform": f"rotate(-90 12 {number(top + middle)})"}
    parts = [
        label(left + middle, 12, "predicted", "axis", "middle"),
        element("g", upright, label(12, top + middle, "true", "axis", "middle")),
    ]
    for i, name in enumerate(names):
        x, y = left + (i + 0.5) * side, top - 7
        slant = {"transform": f"rotate(-40 {number(x)} {number(y)})"} if turned else {}
        head = label(x, y, name, "tick", "start" if turned else "middle")
        parts += [label(left - 7, top + (i + 0.5) * side + 4, name, "tick", "end"), element("g", slant, head)]
    return parts
