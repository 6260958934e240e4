"""Images on a page: tiles with what is said of them, sheets of tiles, and the galleries behind a matrix's cells.

A cell's link leads to its gallery, which the style sheet hides until then: that works without a script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.artifacts import IMAGE_SIDE, Evaluation
from pipelines.report.drawing.bitmaps import data_uri, grey_png
from pipelines.report.drawing.charts import cell_anchor
from pipelines.report.drawing.layout import paragraph
from pipelines.report.drawing.markup import Html, element, text
from pipelines.report.drawing.wording import percent, plural
from pipelines.report.findings import Sample, behind, spread

TILE: Final = str(2 * IMAGE_SIDE)
HITS_SHOWN: Final = 24
"""Of the images of a cell on the diagonal; off it all are shown."""


def picture(source: bytes, alt: str) -> Html:
    """Place a small picture, its pixels left square.

    Args:
        source: A PNG file.
        alt: What it shows.

    Returns:
        An ``img`` element that holds the file.

    Example:
        >>> picture(b"png", "A bag")
        '<img class="pixels" src="data:image/png;base64,cG5n" alt="A bag" width="56" height="56">'
    """
    return element("img", {"class": "pixels", "src": data_uri(source), "alt": alt, "width": TILE, "height": TILE})


def tile(image: NDArray[np.uint8], alt: str, *lines: Html, facts: Mapping[str, str] | None = None) -> Html:
    """Show one image and what is said of it.

    Args:
        image: (784,) uint8.
        alt: What it shows.
        *lines: Markup under it, a line each.
        facts: Data attributes of the tile, for those who script against the page.

    Returns:
        A list item.

    Example:
        >>> tile(np.zeros(784, np.uint8), "A bag", text("row 3")).count("<figcaption>row 3</figcaption>")
        1
    """
    drawn = picture(grey_png(image.reshape(IMAGE_SIDE, IMAGE_SIDE)), alt)
    return element("li", facts or {}, element("figure", {}, drawn, element("figcaption", {}, *lines)))


def said_of(sample: Sample, names: Sequence[str]) -> Html:
    """Show a test image with its class, what the network says with what probability, and its row in the file.

    Args:
        sample: The image.
        names: Names of the classes.

    Returns:
        A list item.

    Example:
        >>> item = said_of(Sample(7, 0, 1, 0.75, 0.25, np.zeros(784, np.uint8)), ("Bag", "Coat"))
        >>> 'alt="Test image 7: Bag, taken for Coat"' in item, 'data-row="7"' in item
        (True, True)
    """
    true, predicted = names[sample.true], names[sample.predicted]
    wrong = sample.true != sample.predicted
    lines = [
        _line(element("span", {"class": "arrow"}, text("→ ")), text(predicted), sample.probability, "strong"),
        element("span", {"class": "soft"}, text(f"row {sample.source_index}")),
    ]
    if wrong:
        lines.insert(0, _line(text(""), text(true), sample.probability_of_truth, "span"))
    alt = f"Test image {sample.source_index}: {true}, " + (f"taken for {predicted}" if wrong else "named right")
    return tile(sample.image, alt, *lines, facts={"data-row": str(sample.source_index)})


def _line(mark: Html, name: Html, probability: float, tag: str) -> Html:
    share = element("span", {"class": "soft"}, text(percent(probability, digits=1)))
    return element("span", {}, element(tag, {}, mark, name), text(" "), share)


def sheet(tiles: Sequence[Html], *, style: str = "sheet") -> Html:
    """Lay tiles out as a grid.

    Args:
        tiles: List items.
        style: Class names of the style sheet.

    Returns:
        A list.

    Example:
        >>> sheet([element("li", {}, text("a"))])
        '<ul class="sheet"><li>a</li></ul>'
    """
    return element("ul", {"class": style}, *tiles)


def cell_link(true: int, predicted: int, images: int, names: Sequence[str], said: Html) -> Html:
    """Make a cell of the matrix a link to the images behind it.

    Args:
        true: Index of the true class.
        predicted: Index of the class that the network says.
        images: How many there are.
        names: Names of the classes.
        said: What the cell shows.

    Returns:
        A link that says where it leads.

    Example:
        >>> 'aria-label="Bag taken for Coat, 3 images: show them"' in cell_link(0, 1, 3, ("Bag", "Coat"), text("3"))
        True
    """
    words = f"{_heading(true, predicted, images, names)}: show them"
    return element("a", {"href": f"#{cell_anchor(true, predicted)}", "data-gallery": "", "aria-label": words}, said)


def _heading(true: int, predicted: int, images: int, names: Sequence[str]) -> str:
    how = "named right" if true == predicted else f"taken for {names[predicted]}"
    return f"{names[true]} {how}, {plural(images, 'image', 'images')}"


def galleries(evaluation: Evaluation, *, back: str) -> Html:
    """Lay out the images behind every cell of a confusion matrix.

    Args:
        evaluation: What the network says of every test row.
        back: Anchor of the matrix.

    Returns:
        One gallery for each cell that has images: all of them off the diagonal, `HITS_SHOWN` at most on it.

    Example:
        >>> blank = np.zeros((2, 784), np.uint8)
        >>> says = np.array([[0.9, 0.1], [0.7, 0.3]])
        >>> right, wrong = np.array([[1, 0], [1, 0]]), np.array([0, 1])
        >>> e = Evaluation(("Bag", "Coat"), says, wrong, np.array([5, 8]), blank, right, 0.5, 0.6)
        >>> galleries(e, back="confusion").count('class="gallery"')
        2
    """
    size = len(evaluation.class_names)
    parts = [_gallery(evaluation, i, j, back) for i in range(size) for j in range(size)]
    return element("div", {}, *parts)


def _gallery(evaluation: Evaluation, true: int, predicted: int, back: str) -> Html:
    names, found = evaluation.class_names, behind(evaluation, true, predicted)
    if not found:
        return text("")
    shown = found if true != predicted else spread(found, HITS_SHOWN)
    anchor = cell_anchor(true, predicted)
    words = "All of them, the one it was surest of first."
    if len(shown) < len(found):
        words = f"{len(shown)} of them, evenly from the one it was surest of to the one it was least sure of."
    return element(
        "div",
        {
            "class": "gallery",
            "id": anchor,
            "role": "region",
            "aria-labelledby": f"{anchor}-heading",
            "tabindex": "-1",
            "data-back": back,
        },
        element("h3", {"id": f"{anchor}-heading"}, text(_heading(true, predicted, len(found), names))),
        paragraph(words),
        sheet([said_of(sample, names) for sample in shown]),
        element("p", {}, element("a", {"class": "back", "href": f"#{back}"}, text("Back to the matrix"))),
    )
