"""The section that shows what each ingredient of a recipe is worth, with intervals that may or may not hold zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipelines.report.drawing.layout import note, paragraph, scroll, section, table
from pipelines.report.drawing.markup import Html
from pipelines.report.drawing.strips import Dot, Strip, linear_axis, scaled, strips_svg
from pipelines.report.drawing.wording import percent, points
from pipelines.studies.ablation import AblationRow
from pipelines.studies.statistics import no_interval

_SAID: Final = (
    "The recipe with one of its ingredients removed, seed by seed: what an ingredient is worth is the mean test "
    "accuracy with it less that without it. The bar is its 95 % confidence interval by Student's t over the pairs of "
    "seeds."
)


def _interval(row: AblationRow) -> str:
    if row.interval is None:
        return no_interval(len(row.every), values="differences")
    return " to ".join(points(end, digits=3) for end in row.interval)


def ablation_section(rows: Sequence[AblationRow]) -> Html:
    """Show what each ingredient is worth.

    Args:
        rows: In the order to show.

    Returns:
        A section: a strip and a line of a table for each ingredient.

    Example:
        >>> markup = ablation_section([AblationRow("momentum", 0.98, 0.002, 0.01, (0.0, 0.02), (0.98, 0.98))])
        >>> markup.count("<circle"), markup.count("<tr>")
        (1, 2)
    """
    heading = "What each ingredient is worth"
    strips = [Strip(row.ingredient, (Dot(100 * row.difference),), interval=scaled(row.interval)) for row in rows]
    cells = [
        [
            row.ingredient,
            percent(row.mean, digits=3),
            points(row.deviation, digits=3).lstrip("+"),
            points(row.difference, digits=3),
            _interval(row),
        ]
        for row in rows
    ]
    columns = ["Ingredient", "Without it", "Deviation", "Worth", "95 % interval"]
    chart = strips_svg(
        strips,
        linear_axis(strips, include=(0.0,)),
        words="Worth of each ingredient; the table below holds the numbers",
        below="worth in percentage points",
    )
    numbers = table(heading, columns, cells, style="figures")
    remark = note("Deviations between seeds, worth and intervals are in percentage points.")
    return section("ablation", heading, paragraph(_SAID), scroll(f"{heading}, picture", chart), numbers, remark)
