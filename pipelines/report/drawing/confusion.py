"""A confusion matrix: one table whose cells are coloured, and links to the images behind them."""

from __future__ import annotations

from bpfunc.arrays.types import FloatArray, IntArray
from pipelines.report.drawing.charts import tint
from pipelines.report.drawing.gallery import cell_link
from pipelines.report.drawing.layout import head_cell, row, scroll
from pipelines.report.drawing.markup import Html, element, join, text
from pipelines.report.drawing.wording import count, percent, plural
from pipelines.report.findings import largest_wrong_share, row_shares, worst_confusion


def confusion_figure(confusion: IntArray | FloatArray, names: tuple[str, ...], *, linked: bool) -> Html:
    """Show a confusion matrix.

    Args:
        confusion: (K, K) counts, or mean counts as floats; row = true class, column = predicted class.
        names: K class names.
        linked: Whether the page has a gallery behind each cell.

    Returns:
        A table and what is to be seen in it.

    Example:
        >>> import numpy as np
        >>> figure = confusion_figure(np.array([[3, 1], [0, 4]]), ("Bag", "Coat"), linked=True)
        >>> figure.count("<a href="), figure.count("<td class=")
        (3, 6)
    """
    return element(
        "figure",
        {},
        scroll("Confusion matrix, table", _table(confusion, names, linked=linked)),
        element("figcaption", {}, text(_said(confusion, names))),
    )


def matrix_kind(classes: int) -> dict[str, str]:
    """Attributes of a table that shows a matrix over classes, for the style sheet.

    Args:
        classes: How many there are.

    Returns:
        Attribute name -> value.

    Example:
        >>> matrix_kind(3)
        {'class': 'confusion', 'style': '--classes:3'}
    """
    return {"class": "confusion", "style": f"--classes:{classes}"}


def _said(confusion: IntArray | FloatArray, names: tuple[str, ...]) -> str:
    worst = worst_confusion(confusion)
    if worst is None:
        return "Every image lies on the diagonal: there is no mistake to show."
    share = float(row_shares(confusion)[worst.true, worst.predicted])
    return (
        f"Commonest mistake: {names[worst.true]} taken for {names[worst.predicted]}, "
        f"{plural(worst.count, 'time', 'times')} ({percent(share, digits=1)} of all {names[worst.true]} images). "
        "Grey cells are right; the deeper the colour, the larger the part of its row that went wrong there."
    )


def _table(confusion: IntArray | FloatArray, names: tuple[str, ...], *, linked: bool) -> Html:
    shares, largest = row_shares(confusion), largest_wrong_share(confusion)
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j, images in enumerate(confusion[i].tolist()):
            kind = {"class": "hit" if i == j else "miss" if images else "none"}
            if kind["class"] == "miss":
                kind["style"] = f"--tint:{tint(float(shares[i, j]), largest)}"
            share = element("small", {}, text(percent(float(shares[i, j]), digits=1)))
            said = join([element("span", {}, text(count(images))), text(" "), share])
            cell = cell_link(i, j, images, names, said) if linked and images else element("span", {}, said)
            cells.append(element("td", kind, cell))
        total = element("td", {"class": "total"}, text(count(confusion[i].sum().item())))
        rows.append(row(head_cell(name, scope="row"), *cells, total))
    heads = [head_cell("True class"), *(head_cell(name) for name in names), head_cell("Images", style="total")]
    caption = element(
        "caption",
        {},
        element("span", {}, text("Rows: true class. Columns: predicted class. Percentages are of the row.")),
    )
    body = (caption, element("thead", {}, row(*heads)), element("tbody", {}, *rows))
    return element("table", matrix_kind(len(names)), *body)
