"""The page of a comparison: two runs or studies side by side, and the images on which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.disk.ownership import write_output
from pipelines.report.drawing.charts import tint
from pipelines.report.drawing.confusion import matrix_kind
from pipelines.report.drawing.gallery import sheet, tile
from pipelines.report.drawing.layout import (
    again,
    document,
    head_cell,
    header,
    note,
    paragraph,
    row,
    scroll,
    section,
    table,
)
from pipelines.report.drawing.markup import Html, element, text
from pipelines.report.drawing.strips import Dot, Strip, linear_axis, scaled, strips_svg
from pipelines.report.drawing.wording import NO_VALUE, count, nats, percent, plural, points, signed
from pipelines.runs.naming import STAMP
from pipelines.studies.comparison import Side, SideBySide
from pipelines.studies.statistics import RESAMPLES, no_interval

IMAGES_SHOWN: Final = 96
"""In each of the groups of images."""
SETTINGS_IN_TITLE: Final = 3
"""Of those that differ; the table has all."""


def write_comparison_page(path: Path, found: SideBySide, command: str) -> None:
    """Write the page of a comparison.

    Args:
        path: The file.
        found: Both sides.
        command: The command line that does it again.

    Raises:
        WorkFailed: It cannot be written.
    """
    write_output(path, comparison_page(found, command).encode())


def comparison_page(found: SideBySide, command: str) -> str:
    """Compose the page of a comparison as one HTML document that needs nothing beside it.

    Args:
        found: Both sides.
        command: The command line that does it again.

    Returns:
        The document, the same for the same results.
    """
    title = _title(found)
    said = "points of test accuracy, A minus B; 95\N{NO-BREAK SPACE}% bootstrap interval "
    said += f"{_interval(found)}. {_verdict(found)}"
    contents = [
        ("settings", "Settings"),
        ("figures", "Figures"),
        ("chance", "Chance"),
        ("confusion", "Confusion"),
        ("rows", "Images"),
    ]
    contents.append(("again", "Run it again"))
    opening = header(
        "bpfunc comparison",
        title,
        points(found.comparison.difference),
        said,
        f"On the same {plural(found.comparison.rows, 'test image', 'test images')}",
        contents,
    )
    main = element(
        "main",
        {},
        _settings(found),
        _figures(found),
        _chance(found),
        _confusion(found),
        _rows(found),
        again("The same files give the same page.", command),
    )
    return document(f"{title}: {points(found.comparison.difference)} points", opening, main)


def _interval(found: SideBySide) -> str:
    known = found.comparison
    if known.interval is None:
        return no_interval(known.rows, "test images", "differences")
    return " to ".join(points(end) for end in known.interval)


def _verdict(found: SideBySide) -> str:
    if found.comparison.interval is None:
        same = abs(found.comparison.difference) < 0.5 / found.comparison.rows
        return "These test images do not tell the two apart." if same else "So they say nothing of chance."
    low, high = found.comparison.interval
    if low <= 0 <= high:
        return "The interval holds zero: these test images do not tell the two apart."
    return f"The interval excludes zero: {'A' if low > 0 else 'B'} is better on images like these."


def _figures(found: SideBySide) -> Html:
    sides, accuracy = (found.a, found.b), found.comparison.accuracy
    rows = [
        ["Runs", *(count(side.runs) for side in sides)],
        ["Test accuracy", *(percent(value, digits=3) for value in accuracy)],
        ["Mistakes", *(_mistakes(side) for side in sides)],
        ["Test loss in nats", *(nats(side.loss) for side in sides)],
        ["Parameters", *(count(side.parameters) for side in sides)],
        ["Training time, a run", *(f"{side.train_seconds:.1f} s" for side in sides)],
    ]
    columns = ["Figure", found.a.name, found.b.name]
    return section("figures", "Figures side by side", table("Figures side by side", columns, rows, style="figures"))


def _mistakes(side: Side) -> str:
    return count((side.confusion_matrix.sum() - np.trace(side.confusion_matrix)).item())


def _chance(found: SideBySide) -> Html:
    known = found.comparison
    strips = [Strip("A minus B", (Dot(100 * known.difference),), interval=scaled(known.interval))]
    chart = strips_svg(
        strips,
        linear_axis(strips, include=(0.0,)),
        words=f"A minus B, {points(known.difference)} points, interval {_interval(found)}",
        below="difference of accuracy in percentage points",
    )
    said = (
        f"The interval is a percentile bootstrap: {count(RESAMPLES)} times, test images are drawn from the file with "
        "replacement, as many as it has, and both are judged on them. It tells how much of the difference could come "
        "of which images happen to be in the file; both are taken as they are, so another seed may change it further."
    )
    if known.interval is None:
        said = f"An interval {_interval(found)}."
    parts = [paragraph(said), scroll("Difference and its interval, picture", chart)]
    if known.p_value is None or known.only_a_right is None or known.only_b_right is None:
        parts.append(note("McNemar's test is for two runs; here a study is compared, so it is left out."))
    else:
        rows = [
            ["Only A right", count(known.only_a_right)],
            ["Only B right", count(known.only_b_right)],
            ["McNemar's exact test, p", "< 0.0001" if known.p_value < 1e-4 else f"{known.p_value:.4f}"],
        ]
        parts += [
            table("McNemar's test", ["Test images", "Number"], rows, style="figures narrow"),
            note(
                "McNemar's test looks at the images that one of the two has right and the other wrong: were both "
                "equally good, each would be a toss of a coin. p is how often so uneven a split, or a more uneven one, "
                "would then come about."
            ),
        ]
    return section("chance", "Is the difference more than chance?", *parts)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        between = "-" if all(isinstance(one, int) for one in value) else ", "
        return between.join(map(str, value)) or "none"
    if value is None:
        return NO_VALUE
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value) or "none"


def _title(found: SideBySide) -> str:
    """Name both sides and what differs, such as ``A: run (epochs 30) and B: run2 (epochs 6)``.

    A run's time of beginning is left out; it stands over the columns of the tables.
    """
    names = tuple(STAMP.sub("", name, count=1) for name in (found.a.name, found.b.name))
    differing = [entry for entry in found.settings if entry[0] != "name"]
    if not differing:
        return f"{' and '.join(names)}, the same settings"
    more = ", ..." if len(differing) > SETTINGS_IN_TITLE else ""
    sides = [
        ", ".join(f"{_short(name)} {_value(pair[k])}" for name, *pair in differing[:SETTINGS_IN_TITLE]) for k in (0, 1)
    ]
    return " and ".join(f"{name} ({words}{more})" for name, words in zip(names, sides, strict=True))


def _short(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")


def _settings(found: SideBySide) -> Html:
    heading = "What differs in the settings"
    if not found.settings:
        return section("settings", heading, paragraph("Nothing: both have the same settings."))
    rows = [[name, _value(a), _value(b)] for name, a, b in found.settings]
    return section(
        "settings",
        heading,
        table("Settings that differ", ["Setting", found.a.name, found.b.name], rows, style="figures"),
        note("All other settings are the same."),
    )


def _confusion(found: SideBySide) -> Html:
    """One matrix of differences: blue where A does better, the accent colour where B does."""
    names, (a, b) = found.class_names, found.matrices
    gains = np.where(np.eye(len(names), dtype=bool), a - b, b - a)  # how much better A does
    largest = float(np.abs(gains).max()) or 1.0
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j in range(len(names)):
            gain = float(gains[i, j])
            kind = {"class": "gain" if gain > 0 else "miss" if gain < 0 else "none"}
            kind |= {"style": f"--tint:{tint(abs(gain), largest)}"} if gain else {}
            number = element("span", {}, text(signed((a - b)[i, j].item())))
            both = element("small", {}, text(f"{count(a[i, j].item())} \N{MINUS SIGN} {count(b[i, j].item())}"))
            cells.append(element("td", kind, element("span", {}, number, text(" "), both)))
        rows.append(row(head_cell(name, scope="row"), *cells))
    said = "Rows: true class. Columns: predicted class. Each cell: images of A minus images of B."
    caption = element("caption", {}, element("span", {}, text(said)))
    head = element("thead", {}, row(head_cell("True class"), *map(head_cell, names)))
    matrix = element("table", matrix_kind(len(names)), caption, head, element("tbody", {}, *rows))
    means = " Counts of a study are means over its runs." if max(found.a.runs, found.b.runs) > 1 else ""
    return section(
        "confusion",
        "What is taken for what: A minus B",
        scroll("Difference of the confusion matrices, table", matrix),
        note(
            "On the diagonal are images named right, off it mistakes. Blue: A does better there. Orange: B does. "
            f"The deeper the colour, the larger the difference.{means}"
        ),
    )


def _rows(found: SideBySide) -> Html:
    better = found.a.right[found.differing] - found.b.right[found.differing]
    studies = max(found.a.runs, found.b.runs) > 1
    groups = [
        ("a-better", "A is right more often" if studies else "Only A is right", np.flatnonzero(better > 0)),
        ("b-better", "B is right more often" if studies else "Only B is right", np.flatnonzero(better < 0)),
        ("neither", "Equally right, but they name it differently", np.flatnonzero(better == 0)),
    ]
    said = (
        "Under each image: what it is, what either side says with what probability"
        + (" (the mean over its runs), and how many of its runs are right" if studies else "")
        + ", and its row in the original test file."
    )
    if not len(found.differing):
        said = "On every test image the two say the same."
    parts = [part for anchor, heading, places in groups for part in _group(found, anchor, heading, places.tolist())]
    return section("rows", "Images on which they differ", paragraph(said), *parts)


def _group(found: SideBySide, anchor: str, heading: str, places: Sequence[int]) -> list[Html]:
    if not places:
        return []
    shown = places[:IMAGES_SHOWN]
    words = f"{heading}: {plural(len(places), 'image', 'images')}"
    if len(shown) < len(places):
        words += f", {len(shown)} of them shown"
    tiles = element("div", {"id": anchor}, sheet([_tile(found, place) for place in shown]))
    return [element("h3", {}, text(words)), tiles]


def _tile(found: SideBySide, place: int) -> Html:
    at = int(found.differing[place])
    true, row = found.a.class_names[found.label[at]], int(found.source_index[at])
    lines = [element("span", {}, text(true))]
    for letter, side in (("A", found.a), ("B", found.b)):
        right = side.right[at] >= 0.5
        mark = element("span", {"class": "soft" if right else "arrow"}, text(f"{letter} → "))
        says = text(side.class_names[side.says[at]])
        share = element("span", {"class": "soft"}, text(percent(float(side.probability[at]), digits=1)))
        lines.append(element("span", {}, mark, says if right else element("strong", {}, says), text(" "), share))
        if side.runs > 1:
            runs = f"{letter}: {round(side.right[at] * side.runs)} of {side.runs} right"
            lines.append(element("span", {"class": "soft"}, text(runs)))
    lines.append(element("span", {"class": "soft"}, text(f"row {row}")))
    says_a, says_b = (side.class_names[side.says[at]] for side in (found.a, found.b))
    alt = f"Test image {row}: {true}; A says {says_a}, B says {says_b}"
    return tile(found.images[place], alt, *lines, facts={"data-row": str(row)})
