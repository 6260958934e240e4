"""A confusion matrix as a picture and as a table, side by side where there is room."""

from __future__ import annotations

from typing import Final

from bpfunc.arrays.types import FloatArray, IntArray
from pipelines.report.drawing.charts import confusion_svg
from pipelines.report.drawing.gallery import cell_link
from pipelines.report.drawing.layout import head_cell, row, scroll
from pipelines.report.drawing.markup import Html, element, text
from pipelines.report.drawing.wording import count, percent, plural
from pipelines.report.findings import row_shares, worst_confusion

_NAMES_SIDE_BY_SIDE: Final = 28
"""Letters of all class names together up to which picture and table share a row."""


def confusion_figure(
    confusion: IntArray | FloatArray, names: tuple[str, ...], *, linked: bool, words: str = ""
) -> Html:
    """Show a confusion matrix.

    Args:
        confusion: (K, K) counts, or mean counts as floats; row = true class, column = predicted class.
        names: K class names.
        linked: Whether the page has a gallery behind each cell.
        words: Whose matrix it is, where a page has several.

    Returns:
        Picture and table.

    Example:
        >>> import numpy as np
        >>> figure = confusion_figure(np.array([[3, 1], [0, 4]]), ("Bag", "Coat"), linked=True)
        >>> figure.count("<a href="), figure.count("<rect")
        (3, 4)
    """
    name = f"Confusion matrix{words and ', ' + words}"
    figure = element(
        "figure",
        {},
        scroll(f"{name}, picture", confusion_svg(confusion, names, linked=linked)),
        element("figcaption", {}, text(_said(confusion, names))),
    )
    numbers = scroll(f"{name}, table", _table(confusion, names, linked=linked))
    layout = "pair" if sum(map(len, names)) <= _NAMES_SIDE_BY_SIDE else "stack"
    return element("div", {"class": layout}, figure, numbers)


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
    shares = row_shares(confusion)
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j, images in enumerate(confusion[i].tolist()):
            style = "hit" if i == j else "miss" if images else "none"
            share = element("small", {}, text(percent(float(shares[i, j]), digits=1)))
            number = cell_link(i, j, images, names) if linked else text(count(images))
            cells.append(element("td", {"class": style}, number, text(" "), share))
        total = element("td", {"class": "total"}, text(count(confusion[i].sum().item())))
        rows.append(row(head_cell(name, scope="row"), *cells, total))
    heads = [head_cell("True class"), *(head_cell(name) for name in names), head_cell("Images", style="total")]
    caption = element(
        "caption",
        {},
        element("span", {}, text("Rows: true class. Columns: predicted class. Percentages are of the row.")),
    )
    body = (caption, element("thead", {}, row(*heads)), element("tbody", {}, *rows))
    return element("table", {"class": "confusion"}, *body)
