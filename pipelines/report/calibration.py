"""The section that says how far a network's certainty can be trusted, as trained and with the temperature."""

from __future__ import annotations

from pipelines.artifacts import Calibration, Reliability
from pipelines.report.drawing.charts import reliability_svg
from pipelines.report.drawing.layout import details, note, paragraph, section, table
from pipelines.report.drawing.markup import Html, element, join, text
from pipelines.report.drawing.wording import count, nats, percent, plural


def calibration(found: Calibration | None) -> Html:
    """Show reliability before and after the temperature, and what the temperature was chosen on.

    Args:
        found: On validation and test rows, or None.

    Returns:
        The section.

    Example:
        >>> "It was not measured." in calibration(None)
        True
    """
    heading = "How far its certainty can be trusted"
    if found is None:
        return section("calibration", heading, note("It was not measured."))
    panels = [_reliability("As trained", found.before)]
    columns, chosen = [("As trained", found.before)], found.temperature
    if found.after is not None:
        name = f"Divided by {chosen.value:.3g}"
        panels.append(_reliability(name, found.after))
        columns.append((name, found.after))
    figure = element(
        "figure",
        {},
        element("div", {"class": "pair"}, *panels),
        element(
            "figcaption",
            {},
            text(
                "Test images in bins of how sure the network is: on the dotted line it is right as often as it claims, "
                "below it it claims too much. A dot's area grows with the images in its bin."
            ),
        ),
    )
    return section(
        "calibration",
        heading,
        paragraph(_said(found)),
        _table(found),
        figure,
        details("The numbers behind the dots", *(_bins(name, known) for name, known in columns)),
    )


def _said(found: Calibration) -> str:
    chosen = found.temperature
    if chosen.value is None or found.after is None:
        return f"Test images, as trained. No temperature was fitted. {chosen.why_none}"
    direction = "less sure than it was" if chosen.value > 1 else "surer than it was"
    said = (
        f"A temperature of {chosen.value:.3g}, by which the logits are divided, makes the network {direction} and "
        f"changes no decision. It is chosen on {plural(chosen.rows, 'validation image', 'validation images')} alone, "
        "so that the test images can judge it: there it makes the loss "
    )
    better = found.after.loss < found.before.loss
    said += "smaller." if better else "larger, so the network is better left as trained."
    return said + " All other figures on this page are of the network as trained."


def _reliability(name: str, found: Reliability) -> Html:
    return element("div", {}, element("h3", {}, text(name)), reliability_svg(found, name))


def _table(found: Calibration) -> Html:
    chosen = found.temperature
    rows = [
        ("Validation, as trained", chosen.before),
        ("Validation, divided", chosen.after),
        ("Test, as trained", found.before),
        ("Test, divided", found.after),
    ]
    cells = [
        [name, count(int(known.rows.sum())), percent(known.error), nats(known.loss)]
        for name, known in rows
        if known is not None
    ]
    said = (
        "Error: expected calibration error, how far accuracy and certainty lie apart, averaged over the images in "
        f"{len(found.before.rows)} bins. Loss: mean negative log-likelihood, in nats."
    )
    columns = ["Measured on", "Images", "Error", "Loss"]
    return join([table("Calibration", columns, cells, style="figures"), note(said)])


def _bins(name: str, found: Reliability) -> Html:
    width = 1 / len(found.rows)
    rows = [
        [
            f"{100 * i * width:.0f} to {100 * (i + 1) * width:.0f} %",
            count(rows),
            percent(confidence, digits=1),
            percent(accuracy, digits=1),
        ]
        for i, (rows, confidence, accuracy) in enumerate(
            zip(found.rows.tolist(), found.confidence.tolist(), found.accuracy.tolist(), strict=True)
        )
        if rows
    ]
    columns = [name, "Images", "Mean certainty", "Accuracy"]
    return table(f"Bins of certainty, {name}", columns, rows, style="figures")
