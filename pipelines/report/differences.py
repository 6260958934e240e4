"""A section of differences with their intervals: a picture that shows which exclude zero, and the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pipelines.report.layout import note, paragraph, scroll, section, table
from pipelines.report.markup import Html
from pipelines.report.strips import Dot, Strip, linear_axis, strips_svg
from pipelines.report.wording import percent, points


@attrs.frozen
class Difference:
    """One row: a figure, and how far it lies from the one that it is compared with. All are fractions."""

    name: str
    mean: float
    deviation: float | None
    """Between the runs behind the mean; None where there is one."""
    difference: float | None
    """None for the row that the others are compared with."""
    interval: tuple[float, float] | None
    """Of the difference, 95 %."""


def differences(anchor: str, heading: str, said: str, rows: Sequence[Difference]) -> Html:
    """Show differences of accuracy.

    Args:
        anchor: Id of the section.
        heading: Of the section.
        said: What is compared with what.
        rows: In the order to show.

    Returns:
        A section: a strip for each row that has a difference, and a table of all.

    Example:
        >>> whole = Difference("whole", 0.99, 0.001, None, None)
        >>> markup = differences("ablation", "What each part is worth", "Without it.",
        ...                      [whole, Difference("no flip", 0.98, 0.002, -0.01, (-0.02, 0.0))])
        >>> markup.count("<circle"), markup.count("<tr>")
        (1, 3)
    """
    strips = [
        Strip(
            row.name,
            (Dot(100 * row.difference),),
            interval=None if row.interval is None else (100 * row.interval[0], 100 * row.interval[1]),
        )
        for row in rows
        if row.difference is not None
    ]
    cells = [
        [
            row.name,
            percent(row.mean, digits=3),
            points(row.deviation, digits=3).lstrip("+"),
            points(row.difference, digits=3),
            _interval(row.interval),
        ]
        for row in rows
    ]
    columns = ["", "Mean accuracy", "Deviation", "Difference", "95 % interval"]
    chart = strips_svg(
        strips,
        linear_axis(strips, include=(0.0,)),
        words=f"{heading}: differences and their intervals; the table below holds the numbers",
        below="difference in percentage points",
    )
    pictured = [scroll(f"{heading}, picture", chart)] if strips else []
    numbers = table(heading, columns, cells, style="figures")
    remark = note("Differences, deviations and intervals are in percentage points. A dash: there is none.")
    return section(anchor, heading, paragraph(said), *pictured, numbers, remark)


def _interval(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return points(None)
    return f"{points(interval[0], digits=3)} to {points(interval[1], digits=3)}"
