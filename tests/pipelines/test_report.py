"""The report stage: what the page says, that it stands alone, and that the pictures are what they claim."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
import struct
import subprocess
import sys
import zlib
from datetime import datetime
from importlib import resources
from pathlib import Path

import attrs
import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from pipelines.artifacts import EpochRecord, Evaluation, ReportInputs
from pipelines.disk.untrusted.printable import printable
from pipelines.errors import WorkFailed
from pipelines.report import figures
from pipelines.report.drawing import bitmaps
from pipelines.report.drawing.bitmaps import diverging_png, grey_png
from pipelines.report.drawing.charts import curves_svg, tint
from pipelines.report.drawing.confusion import confusion_figure
from pipelines.report.drawing.markup import element, text
from pipelines.report.drawing.wording import nats, percent
from pipelines.report.figures import confusion_png, curves_png
from pipelines.report.findings import (
    EPOCHS_TOLD,
    Curve,
    Panel,
    check_inputs,
    mistakes,
    panels,
    per_class,
    row_shares,
    strongest_units,
    told_epochs,
    worst_confusion,
)
from pipelines.report.page import MISTAKES_SHOWN, SUREST_SHOWN, UNITS_SHOWN, page
from pipelines.runs.wording import course_accuracy, title_in_words
from pipelines.spec.run_spec import ModelSpec, RunSpec, TrainSpec
from pipelines.stages.report import report
from tests.pipelines.pages import Node, parsed, table_of

TEN = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
HOSTILE = "<script>alert('x')</script> & \"$\\frac$\""
CSS = resources.files("pipelines.report").joinpath("style.css").read_text(encoding="utf-8")


def confusion_of(*rows: list[int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64)


def evaluation_of(confusion: NDArray[np.int64], names: tuple[str, ...] = TEN) -> Evaluation:
    """Test rows that give this confusion matrix, each row more confident than the one before."""
    classes = len(confusion)
    label, predicted = (np.repeat(index.ravel(), confusion.ravel()) for index in np.indices(confusion.shape))
    rows = len(label)
    sure = np.linspace(0.6, 0.95, rows)
    probabilities = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    probabilities[np.arange(rows), predicted] = sure
    return Evaluation(
        class_names=names[:classes],
        probabilities=probabilities.astype(np.float32),
        label=label,
        source_index=1000 + np.arange(rows),
        images=np.random.default_rng(rows).integers(0, 256, (rows, 784), np.uint8),
        confusion_matrix=confusion,
        accuracy=float(np.trace(confusion) / rows),
        loss=0.0512,
    )


def epoch(number: int, *, validated: bool = True) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        step=10 * number,
        learning_rate=0.1,
        train_loss=1 / number,
        train_accuracy=1 - 0.4 / number,
        validation_loss=0.5 + (number - 3) ** 2 / 10 if validated else None,
        validation_accuracy=0.9 if validated else None,
        seconds=0.2,
    )


def inputs_of(confusion: NDArray[np.int64], names: tuple[str, ...] = TEN, *, units: int = 5) -> ReportInputs:
    return ReportInputs(
        title="report, seed 0",
        evaluation=evaluation_of(confusion, names),
        history=tuple(epoch(n) for n in range(1, 6)),
        first_layer=np.random.default_rng(units).normal(0, 0.1, (784, units)).astype(np.float32),
        facts={"Network": "784 -> 5 -> 3", "Seed": "0"},
        lineage={"train_images": "c59f468a", "numpy": "2.4"},
        command="bpfunc run --recipe report --seed 0",
    )


THREE = confusion_of([8, 2, 0], [1, 9, 0], [0, 0, 5])


def page_of(inputs: ReportInputs) -> Node:
    check_inputs(inputs)
    return parsed(page(inputs))


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    return chunks


def png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", png_chunks(data)[b"IHDR"])
    return width, height


def unfiltered_pixels(data: bytes) -> NDArray[np.uint8]:
    width, height = png_size(data)
    rows = np.frombuffer(zlib.decompress(png_chunks(data)[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def inline_png(image: Node) -> bytes:
    return base64.b64decode(image.attributes["src"].removeprefix("data:image/png;base64,"), validate=True)


confusions = st.integers(2, 10).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), min_size=k, max_size=k).map(np.array)
)


# Findings


def test_per_class_gives_the_figures_worked_by_hand() -> None:
    """Hits over given, hits over support, and twice the hits over both."""
    found = per_class(confusion_of([8, 2, 0], [1, 9, 0], [0, 1, 4]))
    assert [(f.precision, f.recall, f.support) for f in found] == [
        (8 / 9, 8 / 10, 10),
        (9 / 12, 9 / 10, 10),
        (4 / 4, 4 / 5, 5),
    ]
    assert [f.f1 for f in found] == [16 / 19, 18 / 22, 8 / 9]


def test_per_class_has_no_figure_where_there_is_nothing_to_divide_by() -> None:
    """A class never predicted has no precision, one without images no recall; both together no F1."""
    never_given, _, absent = per_class(confusion_of([0, 3, 0], [0, 5, 0], [0, 0, 0]))
    assert (never_given.precision, never_given.recall, never_given.f1) == (None, 0.0, 0.0)
    assert (absent.precision, absent.recall, absent.f1, absent.support) == (None, None, None, 0)


@given(confusions)
def test_row_shares_sum_to_one_or_nothing(confusion: NDArray[np.int64]) -> None:
    """Each row of a confusion matrix is divided by its own sum; an empty row stays zero."""
    support = confusion.sum(axis=1)
    np.testing.assert_allclose(row_shares(confusion).sum(axis=1), support > 0)
    np.testing.assert_allclose(row_shares(confusion) * support[:, None], confusion)


def test_worst_confusion_ignores_the_diagonal() -> None:
    """Hits are not mistakes however many there are, and a perfect matrix has no worst mistake."""
    worst = worst_confusion(confusion_of([90, 1], [2, 80]))
    assert worst is not None
    assert (worst.true, worst.predicted, worst.count) == (1, 0, 2)
    assert worst_confusion(confusion_of([3, 0], [0, 3])) is None


def test_mistakes_come_most_confident_first_and_ties_in_row_order() -> None:
    """The sheet's order is decided by probability, then by row, so that it is the same on every machine."""
    evaluation = attrs.evolve(
        evaluation_of(confusion_of([0, 3], [1, 0])),
        probabilities=np.array([[0.2, 0.8], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]),
        label=np.array([0, 1, 0, 0]),
        source_index=np.array([9, 4, 2, 1]),
    )
    found = [(m.source_index, m.true, m.predicted) for m in mistakes(evaluation)]
    assert found == [(4, 1, 0), (2, 0, 1), (9, 0, 1), (1, 0, 1)]


def test_units_share_a_scale_and_come_strongest_first() -> None:
    """Units are ordered by norm; the scale is positive even where every weight is zero or not a number."""
    layer = np.zeros((784, 4))
    layer[0], layer[:, 3] = (1, -3, 2, 0), np.nan
    units = strongest_units(layer, most=3)
    assert (units.index, units.total) == ((1, 2, 0), 4)
    assert strongest_units(np.full((784, 2), np.nan), most=2).limit == 1.0
    assert strongest_units(np.full((784, 1), -0.25), most=1).limit == 0.25


def test_panels_leave_gaps_where_a_training_diverged() -> None:
    """Infinite and missing values become gaps; a curve without any value is left out."""
    diverged = attrs.evolve(epoch(2, validated=False), train_loss=math.inf)
    loss, accuracy = panels((epoch(1, validated=False), diverged))
    assert [c.name for c in loss.curves] == ["training"]
    assert loss.curves[0].values[0] == 1.0
    assert math.isnan(loss.curves[0].values[1])
    assert accuracy.curves[0].values == (60.0, 80.0)


# Wording and markup


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(0, 2))
def test_percent_says_all_or_nothing_only_where_it_is(part: int, more: int, digits: int) -> None:
    """Neither a few mistakes round to 100 % nor a few hits to 0 %."""
    fraction = part / (part + more)
    assert percent(fraction, digits=digits) not in {percent(0.0, digits=digits), percent(1.0, digits=digits)}


@given(st.text(st.characters(exclude_characters="\N{NO-BREAK SPACE}")))
def test_markup_gives_back_any_text(value: str) -> None:
    """What goes in as text or attribute comes out of a parser as the same characters, or as their numbers."""
    node = parsed(element("p", {"title": value}, text(value))).one("p")
    assert (node.text, node.attributes["title"]) == (printable(value), printable(value))


def test_a_void_element_refuses_children() -> None:
    """An image cannot hold text, and silence would lose it."""
    with pytest.raises(ValueError, match="<img> holds no children"):
        element("img", {}, text("lost"))


# Pictures


def test_grey_png_holds_the_pixels() -> None:
    """A picture decodes to the bytes that went in."""
    pixels = np.arange(784).astype(np.uint8).reshape(28, 28)
    np.testing.assert_array_equal(unfiltered_pixels(grey_png(pixels)), pixels)


def test_diverging_png_is_symmetric_around_a_transparent_zero() -> None:
    """Equal magnitudes are equally opaque in the two colours; zero and what is no number are blank."""
    data = diverging_png(np.array([[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, np.nan, np.inf]]), limit=1.0)
    index, chunks = unfiltered_pixels(data)[0], png_chunks(data)
    colour = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)[index].tolist()
    opacity = np.frombuffer(chunks[b"tRNS"], np.uint8)[index].tolist()
    assert opacity == [255, 255, opacity[2], 0, opacity[2], 255, 255, 0, 0]
    assert 120 < opacity[2] < 135
    assert {tuple(c) for c in colour[:3]} == {bitmaps.NEGATIVE_RGB}
    assert {tuple(c) for c in colour[4:7]} == {bitmaps.POSITIVE_RGB}


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf])
def test_diverging_png_refuses_a_scale_without_length(limit: float) -> None:
    """A limit that cannot divide is an error, not a blank picture."""
    with pytest.raises(ValueError, match="finite number above zero"):
        diverging_png(np.zeros((2, 2)), limit=limit)


@settings(max_examples=20, deadline=None)
@given(confusions)
def test_every_filled_cell_is_a_coloured_link(confusion: NDArray[np.int64]) -> None:
    """For 2 to 10 classes: one matrix, a link in each cell that has images, a tint where they are mistakes."""
    classes = len(confusion)
    figure = parsed(confusion_figure(confusion, TEN[:classes], linked=True))
    cells = [cell for row in figure.one("table", "confusion").one("tbody").all("tr") for cell in row.all("td")[:-1]]
    assert not figure.all("svg")
    for cell, (true, predicted) in zip(cells, np.ndindex(classes, classes), strict=True):
        images = int(confusion[true, predicted])
        links = [link.attributes["href"] for link in cell.all("a")]
        assert links == ([f"#cell-{true}-{predicted}"] if images else [])
        kind = "hit" if true == predicted else "miss" if images else "none"
        assert cell.attributes["class"] == kind
        assert cell.attributes.get("style", "").startswith("--tint:0.") == (kind == "miss")
    assert not parsed(confusion_figure(confusion, TEN[:classes], linked=False)).all("a")


def test_the_commonest_mistake_has_the_deepest_tint() -> None:
    """Opacity grows with the share and stops where ink would drown."""
    depths = [float(tint(share, 0.2)) for share in (0.0, 0.001, 0.1, 0.2)]
    assert depths == sorted(set(depths))
    assert (depths[0], depths[-1]) == (0, 0.5)


def points_of(path: Node) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+) (\S+)", path.attributes["d"])]


def test_curves_svg_places_values_on_its_own_scale() -> None:
    """A value that equals a tick lies on that tick's line, epochs are evenly spaced, and a gap lifts the pen."""
    values = (0.0, 1.0, math.nan, 2.0, 4.0)
    svg = parsed(curves_svg(Panel("Loss in nats", False, (1, 2, 3, 4, 5), (Curve("training", values),)))).one("svg")
    ticks = [t for t in svg.all("text", "tick") if t.attributes["text-anchor"] == "end"]
    height = {float(t.text): float(t.attributes["y"]) - 4 for t in ticks}
    line = svg.one("path", "line")
    points = points_of(line)
    assert [y for _, y in points] == pytest.approx([height[0], height[1], height[2], height[4]])
    steps = np.diff([x for x, _ in points])
    assert steps.tolist() == pytest.approx([steps[0], 2 * steps[0], steps[0]])
    assert line.attributes["d"].count("M") == 2
    assert svg.one("text", "name").text == "training"


@pytest.mark.parametrize("ends", [(0.0, 0.0), (0.01, 0.0), (0.0, 0.01), (1.0, 1.0), (0.0, 1.0)])
def test_curve_names_do_not_overlap(ends: tuple[float, float]) -> None:
    """Where two lines end together, their names still stand apart, in the lines' order and above the axis."""
    curves = (Curve("training", (1.0, ends[0])), Curve("validation", (1.0, ends[1])))
    svg = parsed(curves_svg(Panel("Loss in nats", False, (1, 2), curves))).one("svg")
    first, second = (float(t.attributes["y"]) for t in svg.all("text", "name"))
    assert abs(first - second) >= 14 - 0.02
    assert (first > second) == (ends[0] < ends[1])
    assert max(first, second) <= float(svg.one("line", "base").attributes["y1"])


def test_the_kept_epoch_is_marked() -> None:
    """A dashed line and a ring on each curve at the kept epoch, in the page; another picture in the PNG file."""
    marked, plain = (panels(tuple(epoch(n) for n in range(1, 6)), kept) for kept in (3, None))
    for panel in marked:
        svg = parsed(curves_svg(panel)).one("svg")
        mark, rings = svg.one("line", "kept"), svg.all("circle", "ring")
        assert mark.attributes["x1"] == mark.attributes["x2"]
        assert [ring.attributes["cx"] for ring in rings] == [mark.attributes["x1"]] * 2
        on_curves = [f"{ring.attributes['cx']} {ring.attributes['cy']}" for ring in rings]
        assert all(any(point in line.attributes["d"] for line in svg.all("path", "line")) for point in on_curves)
        assert svg.one("g", "on").one("text", "value").text.startswith("epoch 3, kept: ")
    assert not parsed(curves_svg(plain[0])).all("line", "kept")
    assert curves_png(marked) != curves_png(plain)
    assert panels((epoch(1),), 7)[0].kept is None


@pytest.mark.parametrize("epochs", [1, 2, 5, 100, 1000])
def test_every_epoch_tells_its_values(epochs: int) -> None:
    """Columns lie side by side without a gap, each with the values that the history has; of long ones, some."""
    history = tuple(epoch(n) for n in range(1, epochs + 1))
    loss, accuracy = panels(history, kept=epochs // 3 or None)
    for panel in (loss, accuracy):
        groups = parsed(curves_svg(panel)).one("svg").all("g", "epoch")
        assert len(groups) == min(epochs, len(told_epochs(panel)))
        assert len(groups) <= EPOCHS_TOLD + 1
        edges = [[float(g.one("rect").attributes[k]) for k in ("x", "width")] for g in groups]
        assert all(abs(x + w - after) < 0.02 for (x, w), (after, _) in itertools.pairwise(edges))
        for group in groups:
            x, width = (float(group.one("rect").attributes[k]) for k in ("x", "width"))
            assert x <= float(group.one("line", "cursor").attributes["x1"]) <= x + width
            number = int(re.findall(r"epoch (\d+)", group.one("text").text)[0])
            assert f"training {nats(1 / number)}," in group.one("text").text or panel.percent
    section = page_of(attrs.evolve(inputs_of(THREE), history=history, kept=epochs)).section("curves")
    rows = table_of(section)
    assert rows[0] == ["Epoch", "Loss, training", "Loss, validation", "Accuracy, training", "Accuracy, validation"]
    assert rows[-1][0] == f"{epochs}, kept"
    assert len(rows) - 1 == len(section.all("svg")[0].all("g", "epoch"))
    assert len(page(attrs.evolve(inputs_of(THREE), history=history))) < 300_000


@pytest.mark.parametrize("value", [0.0, 0.3, 50.0, 100.0])
def test_a_single_epoch_is_a_dot_inside_the_panel(value: float) -> None:
    """One epoch has no line to draw and no span to divide by, and no accuracy scale passes 100 %."""
    svg = parsed(curves_svg(Panel("Accuracy in percent", True, (1,), (Curve("training", (value,)),)))).one("svg")
    (point,) = points_of(svg.one("path", "line"))
    width, height = (float(n) for n in svg.attributes["viewbox"].split()[2:])
    assert 0 < point[0] < width
    assert 0 < point[1] < height
    scale = [float(t.text.removesuffix(" %")) for t in svg.all("text", "tick") if "%" in t.text]
    assert min(scale) <= value <= max(scale) <= 100


@pytest.mark.parametrize("loss", [1e30, 3e-7, 123456.0])
def test_a_scale_of_any_magnitude_stays_short(loss: float) -> None:
    """A loss that explodes or vanishes is still labelled in the room beside the axis."""
    panel = Panel("Loss in nats", False, (1, 2), (Curve("training", (loss, loss / 2)),))
    labels = [t.text for t in parsed(curves_svg(panel)).all("text", "tick")]
    assert max(len(label) for label in labels) <= 6
    assert max(float(label) for label in labels if label != "epochs") >= min(loss, 2)
    assert png_size(curves_png((panel, panel))) == (1440, 528)


def test_png_pictures_have_the_sizes_they_promise() -> None:
    """The curves have a fixed size; a matrix of more classes is larger."""
    assert png_size(curves_png(panels(tuple(epoch(n) for n in range(1, 4))))) == (1440, 528)
    small = png_size(confusion_png(np.eye(2, dtype=np.int64), TEN[:2]))
    large = png_size(confusion_png(np.eye(10, dtype=np.int64), TEN))
    assert 300 < small[0] < large[0]
    assert 300 < small[1] < large[1]


def test_png_pictures_carry_no_date_and_no_version() -> None:
    """Only what is needed to decode the picture is in the file."""
    for data in (confusion_png(THREE, TEN[:3]), curves_png(panels((epoch(1),)))):
        assert png_chunks(data).keys() <= {b"IHDR", b"IDAT", b"IEND", b"pHYs"}


@pytest.mark.parametrize("names", [("$\\frac$", "a$b$c"), ("\u88d9\u5b50", "\u957f\u88e4"), (HOSTILE, " ")])
def test_class_names_are_drawn_as_they_are(names: tuple[str, str]) -> None:
    """Dollar signs are no mathematics, and a script that the font lacks neither fails nor warns."""
    assert png_size(confusion_png(THREE[:2, :2], names)) > (300, 300)


@pytest.mark.parametrize("history", [(), (epoch(1),), (epoch(1, validated=False),), (epoch(1), epoch(2))])
def test_curves_png_draws_short_histories(history: tuple[EpochRecord, ...]) -> None:
    """No epoch, one epoch and no validation are all drawn without a warning."""
    assert png_size(curves_png(panels(history))) == (1440, 528)


def test_figures_change_no_setting_of_matplotlib() -> None:
    """A caller's own plots look the same after a report as before it."""
    before = dict(mpl.rcParams)
    confusion_png(THREE, TEN[:3])
    curves_png(panels((epoch(1),)))
    assert dict(mpl.rcParams) == before


def test_report_does_not_import_pyplot() -> None:
    """No figure manager and no window system come with the stage."""
    code = "import sys, pipelines.stages.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Style


def themes() -> tuple[dict[str, str], dict[str, str]]:
    light, dark = (
        dict(re.findall(r"--([\w-]+):\s*([^;]+);", block))
        for block in re.findall(r":root \{([^}]+)\}", CSS)
        if "--paper" in block
    )
    return light, light | dark


def rgb(colour: str) -> NDArray[np.float64]:
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if colour.startswith("#") else colour.split()
    return np.array([float(part) for part in parts]) / 255


def contrast(ink: NDArray[np.float64], paper: NDArray[np.float64]) -> float:
    """Ratio of WCAG 2: relative luminances of sRGB colours."""

    def luminance(colour: NDArray[np.float64]) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    bright, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(theme: int) -> None:
    """Every colour of text reaches 4.5 : 1 on every ground that it stands on, in both themes."""
    colours = themes()[theme]
    paper, hit = rgb(colours["paper"]), rgb(colours["hit"])
    tinted = [0.5 * rgb(colours[name]) + 0.5 * paper for name in ("accent-rgb", "gain-rgb")]
    for ink, grounds in {"ink": (paper, hit, *tinted), "soft": (paper, hit), "accent": (paper,)}.items():
        for ground in grounds:
            assert contrast(rgb(colours[ink]), ground) >= 4.5, (ink, ground * 255)


def test_pictures_and_page_share_their_colours() -> None:
    """The PNG files are drawn in the page's light theme, and the scale of the weights in the weights' colours."""
    light, _ = themes()
    names = ("paper", "ink", "soft", "rule", "accent", "hit")
    assert [light[n] for n in names] == [getattr(figures, n.upper()) for n in names]
    assert rgb(light["accent-rgb"]).tolist() == rgb(light["accent"]).tolist()
    for red, green, blue in (bitmaps.NEGATIVE_RGB, bitmaps.POSITIVE_RGB):
        assert CSS.count(f"rgb({red} {green} {blue}") == 2


# Page


def test_page_is_a_whole_document_for_people_and_readers() -> None:
    """Language, title, viewport and both colour schemes are declared; every picture is described."""
    root = page_of(inputs_of(THREE))
    assert page(inputs_of(THREE)).startswith('<!doctype html>\n<html lang="en">')
    assert root.one("title").text == "report, seed 0: 88.00 % of test images right"
    meta = {m.attributes.get("name"): m.attributes.get("content") for m in root.all("meta")}
    assert meta["viewport"] == "width=device-width, initial-scale=1"
    assert meta["color-scheme"] == "light dark"
    assert all(image.attributes["alt"] for image in root.all("img"))
    assert all(svg.attributes["role"] == "img" and svg.attributes["aria-label"] for svg in root.all("svg"))
    assert all(th.attributes["scope"] in {"row", "col"} for th in root.all("th"))
    style = root.one("style").text
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_page_has_one_title_and_its_sections_in_order() -> None:
    """One h1, the sections as h2, and every link of the contents leads to one of them."""
    root = page_of(inputs_of(THREE))
    assert [h.text for h in root.all("h1")] == ["report, seed 0"]
    assert [h.text for h in root.all("h2")] == [
        "Class by class",
        "What is taken for what",
        "How it learned",
        "How far its certainty can be trusted",
        "Its most confident mistakes",
        "What the first layer looks for",
        "How the gradient flows",
        "Facts",
        "Lineage",
        "Run it again",
    ]
    links = [a.attributes["href"] for a in root.one("nav").all("a")]
    assert links == ["#" + s.attributes["id"] for s in root.all("section")]
    ids = [n.attributes["id"] for n in root.all("*") if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    assert all(s.attributes["aria-labelledby"] in ids for s in root.all("section"))


def test_page_reaches_for_nothing_outside_itself() -> None:
    """No address of anywhere else, nothing that the style sheet imports, one script, and a policy that says so."""
    document = page(inputs_of(THREE))
    root = parsed(document)
    places = ("src", "href", "srcset", "action", "data", "poster")
    addresses = [n.attributes[place] for n in root.all("*") for place in places if place in n.attributes]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "://" not in document
    assert not re.search(r"url\(|@import|@font-face", document)
    script = root.one("script")
    assert not script.attributes
    assert not [name for n in root.all("*") for name in n.attributes if name.startswith("on")]
    (policy,) = (m for m in root.all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert policy.attributes["content"] == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_page_leads_with_the_accuracy() -> None:
    """The headline is the accuracy, with the counts behind it and the loss in nats."""
    headline = page_of(inputs_of(THREE)).one("p", "headline")
    assert headline.one("strong").text == "88.00 %"
    assert headline.one("span").text == (
        "accuracy: 22 of 25 test images named right, 3 named wrong. Mean loss 0.0512 nats."
    )


def test_first_screen_compares_with_the_course_report() -> None:
    """What it was compared with stands under the headline, and only for the classes that it is of."""
    assert not page_of(inputs_of(THREE)).all("p", "compared")
    told = {published: attrs.evolve(inputs_of(THREE), published=published) for published in (0.8, 0.9848)}
    said = {name: page_of(inputs).one("header").one("p", "compared").text for name, inputs in told.items()}
    assert "reached 80.00 % on the same three classes" in said[0.8]
    assert "8.00 percentage points above it" in said[0.8]
    assert "10.48 percentage points below it" in said[0.9848]
    names = ("Sneaker", "Dress", "Trouser")
    assert course_accuracy(names, pinned=True) == 0.9848
    assert course_accuracy(names, pinned=False) is None
    assert course_accuracy((*names, "Bag"), pinned=True) is None


def test_first_screen_shows_the_surest_mistakes() -> None:
    """The strip holds the first of the sheet of mistakes, in its order; without a mistake there is none."""
    root = page_of(inputs_of(confusion_of([10, 15], [0, 20])))
    strip = [item.attributes["data-row"] for item in root.one("header").one("ul", "strip").all("li")]
    sheet = [item.attributes["data-row"] for item in root.section("mistakes").all("li")]
    assert strip == sheet[:SUREST_SHOWN]
    assert len(strip) == SUREST_SHOWN < len(sheet)
    assert not page_of(inputs_of(np.diag([3, 4]))).one("header").all("ul", "strip")


@pytest.mark.parametrize(
    ("train", "hidden", "seeds", "title"),
    [
        ({"learning_rate": 0.05, "epochs": 30}, (128, 64), None, "784-128-64-3, SGD 0.05, 30 epochs, 25 Nov 2026"),
        ({"momentum": 0.9, "epochs": 1}, (), None, "784-3, SGD 0.1 with momentum 0.9, 1 epoch, 25 Nov 2026"),
        (
            {"optimizer": "adamw", "learning_rate": 0.002},
            (8,),
            10,
            "784-8-3, AdamW 0.002, 40 epochs, 10 seeds, 25 Nov 2026",
        ),
    ],
)
def test_titles_are_words(train: dict[str, object], hidden: tuple[int, ...], seeds: int | None, title: str) -> None:
    """Network, optimiser and rate, epochs, seeds and date."""
    spec = RunSpec(model=ModelSpec(hidden=hidden), train=attrs.evolve(TrainSpec(), **train))
    assert title_in_words(spec, datetime(2026, 11, 25, 12).timestamp(), seeds=seeds) == title


def test_class_table_holds_precision_recall_f1_and_support() -> None:
    """One row for each class, in their order, worked by hand; a dash where there is nothing to divide by."""
    inputs = inputs_of(confusion_of([8, 2, 0], [1, 9, 0], [0, 1, 0]), ("Dress", "Trouser", "Bag"))
    assert table_of(page_of(inputs).section("classes")) == [
        ["Class", "Precision", "Recall", "F1", "Images"],
        ["Dress", "88.89 %", "80.00 %", "84.21 %", "10"],
        ["Trouser", "75.00 %", "90.00 %", "81.82 %", "10"],
        ["Bag", "\N{EN DASH}", "0.00 %", "0.00 %", "1"],
    ]


@pytest.mark.parametrize("classes", range(2, 11))
def test_confusion_table_holds_counts_and_row_percentages(classes: int) -> None:
    """For 2 to 10 classes, every cell has the count and the percentage of its row, hits and mistakes marked."""
    confusion = np.random.default_rng(classes).integers(0, 5, (classes, classes)) + 4 * np.eye(classes, dtype=np.int64)
    section = page_of(inputs_of(confusion)).section("confusion")
    expected = [
        [name, *(f"{c} {100 * c / sum(counts):.1f} %" for c in counts), str(sum(counts))]
        for name, counts in zip(TEN[:classes], confusion.tolist(), strict=True)
    ]
    assert table_of(section) == [["True class", *TEN[:classes], "Images"], *expected]
    assert len(section.one("table").all("td", "hit")) == classes
    assert len(section.one("table").all("td", "miss")) == np.count_nonzero(confusion) - classes
    assert not section.all("svg")


def test_confusion_caption_names_the_commonest_mistake() -> None:
    """The words under the picture say what is to be seen in it."""
    section = page_of(inputs_of(THREE, ("Dress", "Trouser", "Sneaker"))).section("confusion")
    said = "Commonest mistake: Dress taken for Trouser, 2 times (20.0 % of all Dress images)."
    assert section.all("figcaption")[0].text.startswith(said)


def test_mistake_sheet_shows_the_surest_with_their_rows_and_pixels() -> None:
    """Image, true and predicted class, probability and row belong together, and the total is stated."""
    inputs = inputs_of(THREE, ("Dress", "Trouser", "Sneaker"))
    evaluation = inputs.evaluation
    section = page_of(inputs).section("mistakes")
    assert section.one("p").text.startswith("3 mistakes in 25 test images; here all of them")
    found = []
    for item in section.one("ul", "sheet").all("li"):
        parts = [part.text for part in item.one("figcaption").children if isinstance(part, Node)]
        (true, of_truth), (predicted, probability), (row,) = (re.split(r" (?=[\d.<>]+ %)", part) for part in parts)
        at = int(row.removeprefix("row ")) - 1000
        found.append((at, true, predicted))
        image = item.one("img")
        np.testing.assert_array_equal(unfiltered_pixels(inline_png(image)).ravel(), evaluation.images[at])
        assert probability == f"{100 * evaluation.probabilities[at].max():.1f} %"
        assert of_truth == f"{100 * evaluation.probabilities[at, evaluation.label[at]]:.1f} %"
        assert image.attributes["alt"] == f"Test image {at + 1000}: {true}, taken for {predicted[2:]}"
    assert found == [(10, "Trouser", "→ Dress"), (9, "Dress", "→ Trouser"), (8, "Dress", "→ Trouser")]


def test_mistake_sheet_is_cut_and_says_so() -> None:
    """Of many mistakes the sheet shows the surest, and still tells how many there are."""
    section = page_of(inputs_of(confusion_of([10, 1500], [0, 20]))).section("mistakes")
    assert len(section.all("li")) == MISTAKES_SHOWN == 24
    assert section.one("p").text.startswith("1,500 mistakes in 1,530 test images; here the 24 it was surest of")
    rows = [item.text.rpartition("row ")[2] for item in section.all("li")]
    assert rows == [str(1000 + 1509 - i) for i in range(24)]


def test_page_without_a_mistake_says_so() -> None:
    """Zero mistakes leave no empty sheet and no commonest mistake."""
    root = page_of(inputs_of(np.diag([3, 4])))
    assert root.one("p", "headline").one("strong").text == "100.00 %"
    assert root.section("mistakes").one("p").text == "None: all of the 7 test images are named right."
    assert not root.section("mistakes").all("ul")
    assert "there is no mistake" in root.section("confusion").all("figcaption")[0].text


def test_curve_caption_tells_the_last_and_the_best_epoch() -> None:
    """The caption gives final losses and accuracies and the epoch of the lowest validation loss."""
    section = page_of(inputs_of(THREE)).section("curves")
    assert section.one("figcaption").text == (
        "After 5 epochs the training loss is 0.200 nats and the training accuracy 92.00 %; on validation images, "
        "held out from training, they are 0.900 nats and 90.00 %. The validation loss is lowest after epoch 3, at "
        "0.500 nats."
    )
    assert [h.text for h in section.all("h3")] == ["Loss in nats", "Accuracy in percent"]
    assert [len(s.all("path", "line")) for s in section.all("svg")] == [2, 2]


def test_page_without_validation_shows_training_alone() -> None:
    """With no validation split there is one line, and the caption says why."""
    inputs = attrs.evolve(inputs_of(THREE), history=(epoch(1, validated=False),))
    section = page_of(inputs).section("curves")
    assert [len(s.all("path", "line")) for s in section.all("svg")] == [1, 1]
    assert section.one("figcaption").text == (
        "After 1 epoch the training loss is 1.00 nats and the training accuracy 60.00 %. No validation images were "
        "held out."
    )


def test_page_of_a_diverged_training_is_still_a_page() -> None:
    """Losses and weights that are no numbers show as dashes, gaps and blanks."""
    lost = attrs.evolve(epoch(1), train_loss=math.nan, validation_loss=math.inf)
    inputs = attrs.evolve(
        inputs_of(THREE), history=(lost, attrs.evolve(lost, epoch=2)), first_layer=np.full((784, 2), np.nan)
    )
    root = page_of(attrs.evolve(inputs, evaluation=attrs.evolve(inputs.evaluation, loss=math.nan)))
    assert "Mean loss \N{EN DASH} nats" in root.one("p", "headline").text
    assert "lowest" not in root.section("curves").one("figcaption").text
    assert [len(s.all("path", "line")) for s in root.section("curves").all("svg")] == [0, 2]
    assert not re.search(r"\b(nan|inf)\b", root.one("body").text)


def test_page_without_history_facts_and_lineage_says_so() -> None:
    """What was not recorded is named as missing, not left blank."""
    root = page_of(attrs.evolve(inputs_of(THREE), history=(), facts={}, lineage={}))
    assert root.section("curves").one("figcaption").text == "No epoch was run, so there is nothing to draw."
    assert [root.section(s).one("p").text for s in ("facts", "lineage")] == ["Nothing was recorded."] * 2


@pytest.mark.parametrize(
    ("units", "said"),
    [(1, "The only unit."), (7, "All 7 units, the strongest first."), (60, "The 48 strongest of 60 units")],
)
def test_weights_are_shown_strongest_first_up_to_a_limit(units: int, said: str) -> None:
    """One image for each unit shown, named by its number, in the order of the norms, blue where positive."""
    inputs = inputs_of(THREE, units=units)
    section = page_of(inputs).section("weights")
    assert section.one("p").text.startswith(said)
    expected = np.argsort(-np.linalg.norm(inputs.first_layer, axis=0))[:UNITS_SHOWN].tolist()
    assert [item.one("span").text for item in section.one("ul").all("li")] == [str(i) for i in expected]
    images = [inline_png(image) for image in section.all("img")]
    assert {png_size(image) for image in images} == {(28, 28)}
    strongest = inputs.first_layer[:, expected[0]].reshape(28, 28)
    clear = np.abs(strongest) > 0.01
    signs = np.sign(unfiltered_pixels(images[0]).astype(int) - 127)
    np.testing.assert_array_equal(signs[clear], np.sign(strongest)[clear])


def test_facts_lineage_and_command_are_given_as_they_came() -> None:
    """Labels and values keep their order and their characters; the command can be copied."""
    inputs = inputs_of(THREE)
    root = page_of(inputs)
    for anchor, expected in (("facts", inputs.facts), ("lineage", inputs.lineage)):
        section = root.section(anchor)
        pairs = zip(section.all("dt"), section.all("dd"), strict=True)
        assert [(label.text, value.text) for label, value in pairs] == list(expected.items())
    assert root.section("again").one("code").text == inputs.command


def test_nothing_from_outside_becomes_markup() -> None:
    """Tags in a title, a class name, a fact, a hash or a command are text on the page."""
    names = ("Dress", HOSTILE, "<b>")
    inputs = attrs.evolve(
        inputs_of(THREE, names),
        title=HOSTILE,
        facts={HOSTILE: HOSTILE},
        lineage={HOSTILE: HOSTILE},
        command=HOSTILE,
    )
    root = page_of(inputs)
    assert {n.tag for n in root.all("*")} == {n.tag for n in page_of(inputs_of(THREE)).all("*")}
    assert root.one("h1").text == root.section("again").one("code").text == HOSTILE
    assert [n.text for tag in ("dt", "dd") for n in root.all(tag)] == [HOSTILE] * 4
    assert [row[0] for row in table_of(root.section("classes"))[1:]] == list(names)
    assert any(HOSTILE in image.attributes["alt"] for image in root.all("img"))


# The stage


def test_report_writes_its_three_files_and_nothing_else(tmp_path: Path) -> None:
    """The run directory gains the files that the result names: a page and two PNG files."""
    inputs = inputs_of(THREE)
    files = report(inputs, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "confusion_matrix.png", "curves.png"}
    assert files.html.read_text(encoding="utf-8") == page(inputs)
    evaluation = inputs.evaluation
    assert files.confusion_matrix.read_bytes() == confusion_png(evaluation.confusion_matrix, evaluation.class_names)
    assert files.curves.read_bytes() == curves_png(panels(inputs.history))


def test_report_replaces_an_older_report_by_the_same_bytes(tmp_path: Path) -> None:
    """Equal inputs give equal files: no date, no chance."""
    first = [path.read_bytes() for path in attrs.astuple(report(inputs_of(THREE), tmp_path))]
    second = [path.read_bytes() for path in attrs.astuple(report(inputs_of(THREE), tmp_path))]
    assert first == second


def test_report_leaves_its_inputs_alone(tmp_path: Path) -> None:
    """Drawing changes no array, even where the caller's own is writable underneath."""
    fields = attrs.asdict(evaluation_of(THREE), recurse=False)
    arrays = {name: np.array(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
    layer = np.random.default_rng(3).normal(size=(784, 4))
    kept = {name: value.copy() for name, value in arrays.items()}
    layer_kept = layer.copy()
    report(attrs.evolve(inputs_of(THREE), evaluation=Evaluation(**(fields | arrays)), first_layer=layer), tmp_path)
    assert len(arrays) == 5
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, kept[name], err_msg=name)
    np.testing.assert_array_equal(layer, layer_kept)


MISFITS = {
    "probabilities": np.zeros((24, 3)),
    "label": np.zeros((25, 1), np.int64),
    "source_index": np.zeros(3, np.int64),
    "images": np.zeros((25, 28, 28), np.uint8),
    "confusion_matrix": THREE[:2],
    "accuracy": 0.9,
}


@pytest.mark.parametrize("name", MISFITS)
def test_report_refuses_results_that_do_not_fit(name: str, tmp_path: Path) -> None:
    """A wrong shape or a figure that contradicts another is named in one message, and nothing is written."""
    inputs = inputs_of(THREE)
    bad = attrs.evolve(inputs, evaluation=attrs.evolve(inputs.evaluation, **{name: MISFITS[name]}))
    with pytest.raises(WorkFailed) as caught:
        report(bad, tmp_path)
    assert caught.value.where == name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(784,), (3, 784), (784, 0), (784, 2, 2), ()])
def test_report_refuses_a_first_layer_of_another_shape(shape: tuple[int, ...]) -> None:
    """Weights that are no (784, H) matrix cannot be shown as images."""
    with pytest.raises(WorkFailed) as caught:
        check_inputs(attrs.evolve(inputs_of(THREE), first_layer=np.zeros(shape)))
    assert caught.value.where == "first_layer"


@pytest.mark.parametrize("confusion", [np.zeros((2, 2), np.int64), np.array([[3]])])
def test_report_refuses_to_report_on_nothing(confusion: NDArray[np.int64]) -> None:
    """No test row, or a single class, leaves nothing to tell apart."""
    evaluation = attrs.evolve(
        evaluation_of(THREE),
        class_names=TEN[: len(confusion)],
        probabilities=np.ones((int(confusion.sum()), len(confusion))),
        label=np.zeros(int(confusion.sum()), np.int64),
    )
    with pytest.raises(WorkFailed, match="nothing to report on"):
        check_inputs(attrs.evolve(inputs_of(THREE), evaluation=evaluation))


def test_report_refuses_a_confusion_matrix_of_other_results() -> None:
    """A matrix that another evaluation gave would make the page contradict its own mistakes."""
    inputs = inputs_of(THREE)
    other = attrs.evolve(inputs.evaluation, confusion_matrix=THREE.T)
    with pytest.raises(WorkFailed, match="other counts than labels and probabilities give"):
        check_inputs(attrs.evolve(inputs, evaluation=other))


def test_report_refuses_a_label_without_a_class() -> None:
    """A label past the last class has no name to show."""
    inputs = inputs_of(THREE)
    label = inputs.evaluation.label.copy()
    label[0] = 3
    with pytest.raises(WorkFailed, match="give the index of a class name"):
        check_inputs(attrs.evolve(inputs, evaluation=attrs.evolve(inputs.evaluation, label=label)))


def test_report_says_what_is_wrong_where_the_directory_is_missing(tmp_path: Path) -> None:
    """A run directory that is not there is one clear failure."""
    with pytest.raises(WorkFailed, match="cannot write"):
        report(inputs_of(THREE), tmp_path / "gone")
