"""The report of a run: one self-contained HTML file, section by section in the order that a reader meets them."""

from __future__ import annotations

from typing import Final

import numpy as np

from bpfunc.arrays.types import FloatArray
from pipelines.artifacts import IMAGE_SIDE, EpochRecord, Evaluation, ReportInputs
from pipelines.report.calibration import calibration
from pipelines.report.drawing.bitmaps import diverging_png
from pipelines.report.drawing.charts import curves_svg
from pipelines.report.drawing.confusion import confusion_figure
from pipelines.report.drawing.gallery import galleries, picture, said_of, sheet
from pipelines.report.drawing.layout import again, details, document, facts, header, note, paragraph, section, table
from pipelines.report.drawing.markup import Html, element, text, text_lines
from pipelines.report.drawing.wording import count, nats, percent, plural, points
from pipelines.report.filters import filters
from pipelines.report.findings import Panel, mistakes, panels, per_class, strongest_units, told_epochs
from pipelines.report.flow import gradient_flow

MISTAKES_SHOWN: Final = 24
SUREST_SHOWN: Final = 8
"""Mistakes on the first screen."""
UNITS_SHOWN: Final = 48


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
    main = element(
        "main",
        {},
        _classes(evaluation),
        _confusion(evaluation),
        _curves(inputs),
        calibration(evaluation.calibration),
        _mistakes(evaluation),
        filters(inputs) if inputs.first_layer.ndim == 4 else _weights(inputs.first_layer),
        gradient_flow(inputs.flow),
        facts("facts", "Facts", inputs.facts),
        facts("lineage", "Lineage", inputs.lineage),
        _again(inputs),
    )
    title = f"{inputs.title}: {percent(evaluation.accuracy)} of test images right"
    return document(title, _summary(inputs), main)


def _summary(inputs: ReportInputs) -> Html:
    evaluation = inputs.evaluation
    rows = len(evaluation.label)
    hits = int(evaluation.confusion_matrix.trace())
    said = (
        f"accuracy: {count(hits)} of {plural(rows, 'test image', 'test images')} named right, "
        f"{count(rows - hits)} named wrong. Mean loss {nats(evaluation.loss)} nats."
    )
    return header(
        "bpfunc training report",
        inputs.title,
        percent(evaluation.accuracy),
        said,
        "; ".join(filter(None, (", ".join(evaluation.class_names), inputs.recipe))),
        [
            ("classes", "Classes"),
            ("confusion", "Confusion"),
            ("curves", "Curves"),
            ("calibration", "Calibration"),
            ("mistakes", "Mistakes"),
            ("weights", "Weights"),
            ("flow", "Gradients"),
            ("facts", "Facts"),
            ("lineage", "Lineage"),
            ("again", "Run it again"),
        ],
        *_compared(inputs),
        *_surest(evaluation),
    )


def _compared(inputs: ReportInputs) -> list[Html]:
    if inputs.published is None:
        return []
    better = inputs.evaluation.accuracy - inputs.published
    place = f"{points(abs(better)).lstrip('+')} percentage points {'above' if better >= 0 else 'below'} it"
    said = (
        f"Compared with: the course report, which reached {percent(inputs.published)} on the same three classes with "
        f"two hidden layers. This run is {place}. The report does not say which test images it took."
    )
    return [element("p", {"class": "compared"}, text(said))]


def _surest(evaluation: Evaluation) -> list[Html]:
    found = mistakes(evaluation)
    if not found:
        return []
    said = "Its most confident mistakes: what it is, → what the network says. "
    link = element("a", {"class": "screen", "href": "#mistakes"}, text("More of them"))
    tiles = [said_of(sample, evaluation.class_names) for sample in found[:SUREST_SHOWN]]
    return [element("p", {"class": "lead"}, text(said), link), sheet(tiles, style="sheet strip")]


def _classes(evaluation: Evaluation) -> Html:
    rows = [
        [name, *(percent(ratio) for ratio in (f.precision, f.recall, f.f1)), count(f.support)]
        for name, f in zip(evaluation.class_names, per_class(evaluation.confusion_matrix), strict=True)
    ]
    said = (
        "Precision: of the images given a class, the part that belongs to it. Recall: of the images that belong "
        "to a class, the part given it. F1: their harmonic mean. A dash: nothing to divide by."
    )
    columns = ["Class", "Precision", "Recall", "F1", "Images"]
    return section("classes", "Class by class", table("Figures per class", columns, rows), note(said))


def _confusion(evaluation: Evaluation) -> Html:
    return section(
        "confusion",
        "What is taken for what",
        element("p", {"class": "screen"}, text("A cell leads to the images behind it.")),
        confusion_figure(evaluation.confusion_matrix, evaluation.class_names, linked=True),
        galleries(evaluation, back="confusion"),
    )


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
    chart = element("div", {"class": "chart", "data-name": panel.title}, curves_svg(panel))
    return element("div", {}, element("h3", {}, text(panel.title)), chart)


def _curves(inputs: ReportInputs) -> Html:
    loss, accuracy = panels(inputs.history, inputs.kept)
    charts = element("div", {"class": "pair"}, _panel(loss), _panel(accuracy))
    figure = element("figure", {}, charts, element("figcaption", {}, text(_curves_said(inputs.history))))
    if not inputs.history:
        return section("curves", "How it learned", figure)
    return section("curves", "How it learned", figure, details("The numbers, epoch by epoch", _numbers(loss, accuracy)))


def _numbers(loss: Panel, accuracy: Panel) -> Html:
    columns = ["Epoch"]
    columns += [f"{name}, {c.name}" for name, panel in (("Loss", loss), ("Accuracy", accuracy)) for c in panel.curves]
    rows = [
        [
            f"{loss.epochs[place]}{', kept' * (loss.epochs[place] == loss.kept)}",
            *(nats(curve.values[place]) for curve in loss.curves),
            *(percent(curve.values[place] / 100) for curve in accuracy.curves),
        ]
        for place in told_epochs(loss)
    ]
    return table("Epoch by epoch", columns, rows, style="figures")


def _mistakes(evaluation: Evaluation) -> Html:
    found = mistakes(evaluation)
    rows = plural(len(evaluation.label), "test image", "test images")
    if not found:
        return section(
            "mistakes",
            "Its most confident mistakes",
            paragraph(f"None: all of the {rows} are named right."),
        )
    shown = found[:MISTAKES_SHOWN]
    which = "all of them" if len(shown) == len(found) else f"the {len(shown)} it was surest of"
    said = (
        f"{plural(len(found), 'mistake', 'mistakes')} in {rows}; here {which}, the surest first. Under each image: "
        "what it is, → what the network says, both with the probability it gave, and the row of the image in the "
        "original test file (the first is row 0). "
    )
    body = element(
        "p",
        {},
        text(said),
        element("a", {"class": "screen", "href": "#confusion"}, text("The matrix leads to all of them.")),
    )
    tiles = [said_of(sample, evaluation.class_names) for sample in shown]
    return section("mistakes", "Its most confident mistakes", body, sheet(tiles))


def _weights(first_layer: FloatArray) -> Html:
    units = strongest_units(first_layer, most=UNITS_SHOWN)
    tiles = [
        element(
            "li",
            {},
            picture(
                diverging_png(weight.reshape(IMAGE_SIDE, IMAGE_SIDE), limit=units.limit), f"Weights of unit {index}"
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
    return section(
        "weights",
        "What the first layer looks for",
        element("p", {}, text(said)),
        scale,
        element("ul", {"class": "units"}, *tiles),
    )


def _again(inputs: ReportInputs) -> Html:
    said = "The same command, the same versions and the same seed give the same numbers."
    if not inputs.config:
        return again(said, inputs.command)
    whole = element("pre", {}, element("code", {}, text_lines(inputs.config)))
    return again(said, inputs.command, details("config.toml, which the command reads", whole))
