"""The two pictures that lie beside the page, for slides and papers: PNG, drawn with matplotlib.

Only matplotlib's objects are used (no pyplot, no settings changed), so nothing leaks between two reports, and
the files carry no date and no version: equal results give equal bytes.
"""

from __future__ import annotations

import io
import math
import warnings
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from bpfunc.arrays.types import IntArray
from pipelines.report.drawing.charts import epoch_axis, shortened, tint, value_axis
from pipelines.report.drawing.wording import count, percent, tick_labels
from pipelines.report.findings import Panel, largest_wrong_share, row_shares

# The light theme of style.css; a test holds the two together.
PAPER: Final = "#ffffff"
INK: Final = "#1b1b1a"
SOFT: Final = "#63625e"
RULE: Final = "#dddcd7"
ACCENT: Final = "#b93c0f"
HIT: Final = "#ecebe6"

_DPI = 160


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes; the page beside it has the letters.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), facecolor=PAPER, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def _over_paper(opacity: float) -> tuple[float, float, float]:
    """Mix the accent colour with white, as a browser does with a translucent cell."""
    red, green, blue = to_rgb(ACCENT)
    return (
        1 - opacity * (1 - red),
        1 - opacity * (1 - green),
        1 - opacity * (1 - blue),
    )


def _confusion_cells(axes: Axes, confusion: IntArray) -> None:
    shares = row_shares(confusion)
    size = len(confusion)
    largest = largest_wrong_share(confusion)
    for i in range(size):
        for j in range(size):
            share, number = float(shares[i, j]), int(confusion[i, j])
            colour = HIT if i == j else _over_paper(float(tint(share, largest)))
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, edgecolor=PAPER, linewidth=2))
            ink = INK if number else SOFT
            axes.text(j, i - 0.03, count(number), ha="center", va="bottom", color=ink, fontsize=11)
            axes.text(j, i + 0.07, percent(share, digits=1), ha="center", va="top", color=ink, fontsize=8)


def confusion_png(confusion: IntArray, class_names: tuple[str, ...]) -> bytes:
    r"""Draw a confusion matrix with counts, row percentages and class names.

    Args:
        confusion: (K, K) counts; row = true class, column = predicted class.
        class_names: K names, shown as they are (no mathematics in dollar signs).

    Returns:
        The PNG file; its size depends on K and on the names.

    Example:
        >>> import numpy as np
        >>> confusion_png(np.array([[3, 1], [0, 4]]), ("Bag", "Coat"))[:8]
        b'\x89PNG\r\n\x1a\n'
    """
    size = len(class_names)
    names = [shortened(name) for name in class_names]
    turned = max(len(name) for name in names) > 8 or size > 5
    figure = _figure(1.7 + 0.85 * size, 1.2 + 0.85 * size)
    axes = figure.add_subplot()
    _confusion_cells(axes, confusion)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
    rotation, anchor = (40.0, "left") if turned else (0.0, "center")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(size), names, parse_math=False, rotation=rotation, ha=anchor)
    axes.set_yticks(range(size), names, parse_math=False)
    axes.set_xlabel("predicted", color=SOFT, labelpad=8)
    axes.set_ylabel("true", color=SOFT, labelpad=8)
    axes.tick_params(length=0, colors=INK, labelsize=10)
    axes.spines[:].set_visible(False)
    return _png(figure)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", color=INK, fontsize=11)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(length=0, colors=SOFT, labelsize=9)
    axes.set_xlabel("epochs", color=SOFT, fontsize=9)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    if not panel.curves:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "No values were recorded.", ha="center", color=SOFT, transform=axes.transAxes)
        return
    rows, columns = value_axis(panel), epoch_axis(panel.epochs)
    room = 0.03 * (columns.high - columns.low) or 0.5
    axes.set(xlim=(columns.low - room, columns.high + room), ylim=(rows.low, rows.high))
    axes.set(xticks=columns.ticks)
    axes.set_yticks(rows.ticks, tick_labels(rows.ticks))
    if panel.kept is not None:
        name = f"kept: epoch {panel.kept}"
        axes.axvline(panel.kept, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label=name, zorder=1)
    for curve in panel.curves:
        style = (ACCENT, 2.0) if curve.name == "validation" else (SOFT, 1.4)
        last = max(i for i, v in enumerate(curve.values) if not math.isnan(v))
        axes.plot(
            panel.epochs,
            curve.values,
            color=style[0],
            linewidth=style[1],
            label=curve.name,
            markevery=[last],
            marker="o",
            markersize=4,
            clip_on=False,
        )
        if panel.kept is not None:
            value = curve.values[panel.epochs.index(panel.kept)]
            ring = axes.plot([panel.kept], [value], "o", color=style[0], clip_on=False, zorder=3)
            ring[0].set(markersize=7, markerfacecolor=PAPER, markeredgewidth=1.8)


def curves_png(panels: tuple[Panel, Panel]) -> bytes:
    r"""Draw loss and accuracy over the epochs, training in grey, validation in colour, the kept epoch marked.

    Args:
        panels: Loss and accuracy, from `pipelines.report.findings.panels`.

    Returns:
        The PNG file, 1440 x 528 pixels.

    Example:
        >>> curves_png((Panel("Loss", False, (), ()), Panel("Accuracy", True, (), ())))[:8]
        b'\x89PNG\r\n\x1a\n'
    """
    figure = _figure(9.0, 3.3)
    left, right = figure.subplots(1, 2)
    _draw_panel(left, panels[0])
    _draw_panel(right, panels[1])
    lines, names = left.get_legend_handles_labels()
    if lines:
        figure.legend(
            lines, names, loc="outside upper right", ncols=len(lines), frameon=False, fontsize=9, labelcolor=INK
        )
    return _png(figure)
