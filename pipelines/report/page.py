"""The page: one self-contained HTML file, section by section in the order that a reader meets them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Final

import numpy as np

from bpfunc.types import FloatArray
from pipelines.artifacts import IMAGE_SIDE, EpochRecord, Evaluation, ReportInputs
from pipelines.report.bitmaps import data_uri, diverging_png, grey_png
from pipelines.report.charts import confusion_svg, curves_svg
from pipelines.report.findings import (
    Mistake,
    Panel,
    mistakes,
    panels,
    per_class,
    row_shares,
    strongest_units,
    worst_confusion,
)
from pipelines.report.markup import Html, element, join, text, trusted
from pipelines.report.wording import count, nats, percent, plural

MISTAKES_SHOWN: Final = 24
UNITS_SHOWN: Final = 48

_TILE = str(2 * IMAGE_SIDE)
_NAMES_SIDE_BY_SIDE: Final = 28
"""Letters of all class names together up to which picture and table of the confusion matrix share a row."""

# The browser itself then holds the promise that the page fetches nothing.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def _section(anchor: str, heading: str, *children: Html) -> Html:
    return element(
        "section",
        {"id": anchor, "aria-labelledby": f"{anchor}-heading"},
        element("h2", {"id": f"{anchor}-heading"}, text(heading)),
        *children,
    )


def _scroll(label: str, content: Html) -> Html:
    """Let wide content scroll by itself, by keyboard too, so that the page never does."""
    return element("div", {"class": "scroll", "role": "region", "aria-label": label, "tabindex": "0"}, content)


def _row(*cells: Html) -> Html:
    return element("tr", {}, *cells)


def _head(label: str, *, scope: str = "col", style: str = "") -> Html:
    return element("th", {"scope": scope} | ({"class": style} if style else {}), text(label))


def _summary(inputs: ReportInputs) -> Html:
    evaluation = inputs.evaluation
    rows = len(evaluation.label)
    hits = int(evaluation.confusion_matrix.trace())
    said = (
        f"accuracy: {count(hits)} of {plural(rows, 'test image', 'test images')} named right, "
        f"{count(rows - hits)} named wrong. Mean loss {nats(evaluation.loss)} nats."
    )
    contents = [
        ("classes", "Classes"),
        ("confusion", "Confusion"),
        ("curves", "Curves"),
        ("mistakes", "Mistakes"),
        ("weights", "Weights"),
        ("facts", "Facts"),
        ("lineage", "Lineage"),
        ("again", "Run it again"),
    ]
    links = [element("li", {}, element("a", {"href": f"#{anchor}"}, text(name))) for anchor, name in contents]
    return element(
        "header",
        {},
        element("p", {"class": "kicker"}, text("bpfunc training report")),
        element("h1", {}, text(inputs.title)),
        element(
            "p",
            {"class": "headline"},
            element("strong", {}, text(percent(evaluation.accuracy))),
            element("span", {}, text(said)),
        ),
        element("p", {"class": "classes"}, text(", ".join(evaluation.class_names))),
        element("nav", {"aria-label": "Contents"}, element("ul", {}, *links)),
    )


def _classes(evaluation: Evaluation) -> Html:
    figures = per_class(evaluation.confusion_matrix)
    rows = [
        _row(
            _head(name, scope="row"),
            *(element("td", {}, text(percent(ratio))) for ratio in (f.precision, f.recall, f.f1)),
            element("td", {}, text(count(f.support))),
        )
        for name, f in zip(evaluation.class_names, figures, strict=True)
    ]
    head = _row(*(_head(label) for label in ("Class", "Precision", "Recall", "F1", "Images")))
    table = element("table", {}, element("thead", {}, head), element("tbody", {}, *rows))
    note = (
        "Precision: of the images given a class, the part that belongs to it. Recall: of the images that belong "
        "to a class, the part given it. F1: their harmonic mean. A dash: nothing to divide by."
    )
    return _section("classes", "Class by class", _scroll("Figures per class", table), _note(note))


def _note(words: str) -> Html:
    return element("p", {"class": "note"}, text(words))


def _confusion_table(evaluation: Evaluation) -> Html:
    confusion, names = evaluation.confusion_matrix, evaluation.class_names
    shares = row_shares(confusion)
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j in range(len(names)):
            style = "hit" if i == j else "miss" if confusion[i, j] else "none"
            share = element("small", {}, text(percent(float(shares[i, j]), digits=1)))
            cells.append(element("td", {"class": style}, text(count(int(confusion[i, j])) + " "), share))
        total = element("td", {"class": "total"}, text(count(int(confusion[i].sum()))))
        rows.append(_row(_head(name, scope="row"), *cells, total))
    heads = [_head("True class"), *(_head(name) for name in names), _head("Images", style="total")]
    caption = element(
        "caption",
        {},
        element("span", {}, text("Rows: true class. Columns: predicted class. Percentages are of the row.")),
    )
    return element(
        "table",
        {"class": "confusion"},
        caption,
        element("thead", {}, _row(*heads)),
        element("tbody", {}, *rows),
    )


def _confusion(evaluation: Evaluation) -> Html:
    names = evaluation.class_names
    worst = worst_confusion(evaluation.confusion_matrix)
    if worst is None:
        said = "Every image lies on the diagonal: there is no mistake to show."
    else:
        share = float(row_shares(evaluation.confusion_matrix)[worst.true, worst.predicted])
        said = (
            f"Commonest mistake: {names[worst.true]} taken for {names[worst.predicted]}, "
            f"{plural(worst.count, 'time', 'times')} ({percent(share, digits=1)} of all {names[worst.true]} images). "
            "Grey cells are right; the deeper the colour, the larger the part of its row that went wrong there."
        )
    figure = element(
        "figure",
        {},
        _scroll("Confusion matrix, picture", confusion_svg(evaluation.confusion_matrix, names)),
        element("figcaption", {}, text(said)),
    )
    table = _scroll("Confusion matrix, table", _confusion_table(evaluation))
    layout = "pair" if sum(map(len, names)) <= _NAMES_SIDE_BY_SIDE else "stack"
    return _section("confusion", "What is taken for what", element("div", {"class": layout}, figure, table))


def _curves_said(history: tuple[EpochRecord, ...]) -> str:
    if not history:
        return "No epoch was run, so there is nothing to draw."
    last = history[-1]
    said = (
        f"After {plural(last.epoch, 'epoch', 'epochs')} the training loss is {nats(last.train_loss)} nats and the "
        f"training accuracy {percent(last.train_accuracy)}"
    )
    if last.validation_loss is None:
        return f"{said}. No validation images were held out."
    said += (
        f"; on validation images, held out from training, they are {nats(last.validation_loss)} nats and "
        f"{percent(last.validation_accuracy)}."
    )
    losses = [np.inf if r.validation_loss is None else r.validation_loss for r in history]
    best = history[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]
    if len(history) > 1 and best.validation_loss is not None and np.isfinite(best.validation_loss):
        said += f" The validation loss is lowest after epoch {best.epoch}, at {nats(best.validation_loss)} nats."
    return said


def _panel(panel: Panel) -> Html:
    return element("div", {}, element("h3", {}, text(panel.title)), curves_svg(panel))


def _curves(history: tuple[EpochRecord, ...]) -> Html:
    charts = element("div", {"class": "pair"}, *(_panel(panel) for panel in panels(history)))
    figure = element("figure", {}, charts, element("figcaption", {}, text(_curves_said(history))))
    return _section("curves", "How it learned", figure)


def _mistake(mistake: Mistake, names: tuple[str, ...]) -> Html:
    true, predicted = names[mistake.true], names[mistake.predicted]
    picture = {
        "class": "pixels",
        "src": data_uri(grey_png(mistake.image.reshape(IMAGE_SIDE, IMAGE_SIDE))),
        "alt": f"Test image {mistake.source_index}: {true}, taken for {predicted}",
        "width": _TILE,
        "height": _TILE,
    }
    return element(
        "li",
        {},
        element(
            "figure",
            {},
            element("img", picture),
            element(
                "figcaption",
                {},
                element("span", {}, text(true)),
                element("strong", {}, element("span", {"class": "arrow"}, text("→ ")), text(predicted)),
                element("span", {"class": "soft"}, text(percent(mistake.probability, digits=1))),
                element("span", {"class": "soft"}, text(f"row {mistake.source_index}")),
            ),
        ),
    )


def _mistakes(evaluation: Evaluation) -> Html:
    found = mistakes(evaluation)
    rows = plural(len(evaluation.label), "test image", "test images")
    if not found:
        return _section(
            "mistakes",
            "Its most confident mistakes",
            element("p", {}, text(f"None: all of the {rows} are named right.")),
        )
    shown = found[:MISTAKES_SHOWN]
    which = "all of them" if len(shown) == len(found) else f"the {len(shown)} it was surest of"
    said = (
        f"{plural(len(found), 'mistake', 'mistakes')} in {rows}; here {which}, the surest first. Under each image: "
        "what it is, → what the network says, the probability it gave, and the row of the image in the original "
        "test file (the first is row 0)."
    )
    sheet = element("ul", {"class": "sheet"}, *(_mistake(m, evaluation.class_names) for m in shown))
    return _section("mistakes", "Its most confident mistakes", element("p", {}, text(said)), sheet)


def _weights(first_layer: FloatArray) -> Html:
    units = strongest_units(first_layer, most=UNITS_SHOWN)
    tiles = [
        element(
            "li",
            {},
            element(
                "img",
                {
                    "class": "pixels",
                    "src": data_uri(diverging_png(weight.reshape(IMAGE_SIDE, IMAGE_SIDE), limit=units.limit)),
                    "alt": f"Weights of unit {index}",
                    "width": _TILE,
                    "height": _TILE,
                },
            ),
            element("span", {"class": "soft", "aria-hidden": "true"}, text(str(index))),
        )
        for index, weight in zip(units.index, units.weight, strict=True)
    ]
    shown = len(units.index)
    which = "The only unit"
    if 1 < shown == units.total:
        which = f"All {shown} units, the strongest first"
    elif shown < units.total:
        which = f"The {shown} strongest of {count(units.total)} units (by the Euclidean norm of their weights)"
    said = (
        f"{which}. Each image is one unit's weights, laid out as its input is: a blue pixel excites the unit where "
        "the garment is bright, an orange one holds it back, a blank one has no say. All share one scale."
    )
    ends = [f"\N{MINUS SIGN}{units.limit:.2g} or less", "0", f"+{units.limit:.2g} or more"]
    scale = element(
        "div",
        {"class": "scale"},
        element("span", {"class": "bar", "aria-hidden": "true"}),
        *(element("span", {}, text(end)) for end in ends),
    )
    return _section(
        "weights",
        "What the first layer looks for",
        element("p", {}, text(said)),
        scale,
        element("ul", {"class": "units"}, *tiles),
    )


def _facts(anchor: str, heading: str, facts: Mapping[str, str]) -> Html:
    pairs = [
        element("div", {}, element("dt", {}, text(label)), element("dd", {}, text(value)))
        for label, value in facts.items()
    ]
    body = element("dl", {"class": anchor}, *pairs) if pairs else _note("Nothing was recorded.")
    return _section(anchor, heading, body)


def _again(command: str) -> Html:
    # One element for each word, so that a narrow page does not break a line after the hyphens of an option.
    words = [element("span", {}, text(word)) for word in command.split(" ")]
    return _section(
        "again",
        "Run it again",
        element("p", {}, text("The same command, the same versions and the same seed give the same numbers.")),
        element("pre", {}, element("code", {}, join(words, " "))),
    )


def page(inputs: ReportInputs) -> str:
    """Compose the report as one HTML document that needs nothing beside it.

    Args:
        inputs: Results that fit together (`pipelines.report.findings.check_inputs`).

    Returns:
        The document, the same for the same inputs: no date, no random names.

    Example:
        >>> import numpy as np
        >>> e = Evaluation(("Bag", "Coat"), np.array([[0.9, 0.1]]), np.array([0]), np.array([5]),
        ...                np.zeros((1, 784), np.uint8), np.array([[1, 0], [0, 0]]), 1.0, 0.1)
        >>> document = page(ReportInputs("Bags & coats", e, (), np.zeros((784, 1)), {}, {}, "bpfunc run"))
        >>> document[:15], "<title>Bags &amp; coats: 100.00" in document
        ('<!doctype html>', True)
    """
    evaluation = inputs.evaluation
    style = resources.files("pipelines.report").joinpath("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        # An empty icon keeps a browser from asking a server for one.
        element("link", {"rel": "icon", "href": "data:,"}),
        element("title", {}, text(f"{inputs.title}: {percent(evaluation.accuracy)} of test images right")),
        element("style", {}, trusted(style)),
    )
    sections = [
        _summary(inputs),
        element(
            "main",
            {},
            _classes(evaluation),
            _confusion(evaluation),
            _curves(inputs.history),
            _mistakes(evaluation),
            _weights(inputs.first_layer),
            _facts("facts", "Facts", inputs.facts),
            _facts("lineage", "Lineage", inputs.lineage),
            _again(inputs.command),
        ),
    ]
    document = element("html", {"lang": "en"}, head, element("body", {}, join(sections)))
    return f"<!doctype html>\n{document}\n"
