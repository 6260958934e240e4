"""The section that shows how large the gradient is in each layer, before the first step and in the end."""

from __future__ import annotations

import math
from typing import Final

from pipelines.artifacts import ParameterFlow
from pipelines.report.drawing.layout import note, paragraph, scroll, section, table
from pipelines.report.drawing.markup import Html, element, text
from pipelines.report.drawing.strips import Dot, Strip, decades, strips_svg
from pipelines.report.drawing.wording import NO_VALUE, count
from pipelines.report.findings import parameter_names


def gradient_flow(flow: tuple[ParameterFlow, ...]) -> Html:
    """Show the gradient of each array of parameters as a picture and as a table.

    Args:
        flow: In the order of the network; empty where it was not measured.

    Returns:
        The section.

    Example:
        >>> gradient_flow((ParameterFlow("layers[0].weight", 6, (0.1, 0.01), (0.5, 0.6)),)).count("<circle")
        2
    """
    heading = "How the gradient flows"
    if not flow:
        return section("flow", heading, note("It was not measured."))
    names = parameter_names([entry.name for entry in flow])
    strips = [
        Strip(name, tuple(Dot(_log(g), style) for g, style in zip(entry.gradient, ("start", "end"), strict=True)))
        for name, entry in zip(names, flow, strict=True)
    ]
    drawn = strips_svg(
        strips,
        decades(strips),
        words="Size of the gradient of each array of parameters; the table below it holds the numbers",
        below="root mean square of the gradient",
        powers=True,
    )
    rows = [
        [name, count(entry.size), *(_small(v) for v in entry.gradient), _ratio(entry)]
        for name, entry in zip(names, flow, strict=True)
    ]
    said = (
        "The gradient of the training loss on the first training batch, by the same function that trained the "
        "network: before the first step, and with the trained network. Sizes that shrink by powers of ten towards "
        "the input would mean that the first layers learn last."
    )
    key = element(
        "p",
        {"class": "key"},
        element("span", {"class": "start"}, text("before the first step")),
        element("span", {"class": "end"}, text("trained")),
    )
    columns = ["Parameters", "Count", "First step", "Trained", "Ratio"]
    numbers = table("Sizes of gradients", columns, rows, style="figures")
    chart = scroll("Sizes of gradients, picture", drawn)
    return section("flow", heading, paragraph(said), key, chart, numbers, note(_NOTE))


_NOTE: Final = (
    "Sizes are root mean squares over the numbers of an array. Ratio: the trained gradient's size divided by that of "
    "the trained parameters."
)


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


def _small(value: float) -> str:
    if not math.isfinite(value):
        return NO_VALUE
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}" if value else "0"


def _ratio(entry: ParameterFlow) -> str:
    return _small(entry.gradient[1] / entry.parameter[1]) if entry.parameter[1] else NO_VALUE
