"""Galleries, calibration, gradient flow, pages of studies and comparisons: what they say is what was measured."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipelines.artifacts import Calibration, Evaluation, ParameterFlow, Reliability, Temperature
from pipelines.dataset.places import Places
from pipelines.errors import DataProblem
from pipelines.report.calibration import calibration
from pipelines.report.drawing.charts import reliability_svg
from pipelines.report.drawing.gallery import HITS_SHOWN, galleries
from pipelines.report.drawing.layout import table
from pipelines.report.drawing.strips import Dot, Strip, decades, levels, linear_axis, strips_svg
from pipelines.report.flow import gradient_flow
from pipelines.runs.predictions import read_predictions
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.stages.evaluate import images_of_rows
from pipelines.studies.ablation import AblationRow
from pipelines.studies.comparison import SideBySide, side_by_side
from pipelines.studies.comparison_page import IMAGES_SHOWN, comparison_page
from pipelines.studies.study import SeedResult, run_study, seed_directory, study_table, summarised
from pipelines.studies.study_page import study_page
from pipelines.studies.text import comparison_lines, study_lines
from tests.pipelines.pages import Node, parsed, table_of

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
HOSTILE = "<script>alert('x')</script> & \"quoted\""


# Galleries


def evaluation_of(says: list[int], label: list[int], classes: int) -> Evaluation:
    """Test rows with these predictions, in rising certainty."""
    rows, predicted = len(label), np.array(says)
    sure = np.linspace(0.6, 0.9, rows)
    probabilities = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    probabilities[np.arange(rows), predicted] = sure
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (label, predicted), 1)
    return Evaluation(
        class_names=("Bag", "Coat", HOSTILE)[:classes],
        probabilities=probabilities.astype(np.float32),
        label=np.array(label),
        source_index=1000 + np.arange(rows),
        images=np.random.default_rng(0).integers(0, 256, (rows, 784), np.uint8),
        confusion_matrix=confusion,
        accuracy=float(confusion.trace() / rows),
        loss=0.1,
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=90))
def test_galleries_hold_the_rows_of_their_cells(cells: list[tuple[int, int]]) -> None:
    """Off the diagonal every row of the cell, on it at most a few; no row twice, no empty gallery."""
    label, says = [true for true, _ in cells], [predicted for _, predicted in cells]
    root = parsed(galleries(evaluation_of(says, label, 3), back="confusion"))
    found = {gallery.attributes["id"]: gallery for gallery in root.all("div", "gallery")}
    assert set(found) == {f"cell-{true}-{predicted}" for true, predicted in cells}
    for anchor, gallery in found.items():
        true, predicted = map(int, anchor.split("-")[1:])
        rows = [1000 + i for i, cell in enumerate(cells) if cell == (true, predicted)]
        shown = [int(tile.attributes["data-row"]) for tile in gallery.all("li")]
        assert len(set(shown)) == len(shown)
        if true == predicted and len(rows) > HITS_SHOWN:
            assert len(shown) == HITS_SHOWN
            assert (shown[0], shown[-1]) == (rows[-1], rows[0])
            assert f"{HITS_SHOWN} of them" in gallery.one("h3").text + gallery.all("p")[0].text
        else:
            assert shown == rows[::-1]
            assert "All of them" in gallery.all("p")[0].text
        assert re.search(rf"\b{len(rows)} images?$", gallery.one("h3").text)


# Calibration


def reliability_of(accuracy: float, error: float, loss: float) -> Reliability:
    """Two bins, the upper one with four rows."""
    full = np.array([np.nan, 0.75])
    return Reliability(np.array([0, 4]), full, np.array([np.nan, accuracy]), error, loss)


FITTED = Calibration(
    Temperature(1.6, "", 20, reliability_of(0.5, 0.25, 0.8), reliability_of(0.5, 0.125, 0.7)),
    reliability_of(0.5, 0.2, 0.9),
    reliability_of(1.0, 0.1, 0.6),
)


def test_calibration_shows_both_splits_before_and_after() -> None:
    """Four lines: validation and test, as trained and divided; two pictures; every filled bin in the tables."""
    root = parsed(calibration(FITTED))
    first, *bins = root.all("table")
    assert table_of(Node("div", {}, [first])) == [
        ["Measured on", "Images", "Error", "Loss"],
        ["Validation, as trained", "4", "25.00 %", "0.800"],
        ["Validation, divided", "4", "12.50 %", "0.700"],
        ["Test, as trained", "4", "20.00 %", "0.900"],
        ["Test, divided", "4", "10.00 %", "0.600"],
    ]
    assert [table_of(Node("div", {}, [b]))[1:] for b in bins] == [
        [["50 to 100 %", "4", "75.0 %", "50.0 %"]],
        [["50 to 100 %", "4", "75.0 %", "100.0 %"]],
    ]
    said = root.all("p")[0].text
    assert "A temperature of 1.6" in said
    assert "less sure than it was" in said
    assert "20 validation images alone" in said
    assert "makes the loss smaller" in said
    assert len(root.all("svg")) == 2


def test_calibration_says_where_the_temperature_does_harm() -> None:
    """A temperature that makes the test loss larger is not sold as a gain."""
    worse = attrs.evolve(FITTED, after=reliability_of(1.0, 0.1, 1.2))
    assert "larger, so the network is better left as trained" in parsed(calibration(worse)).all("p")[0].text


def test_calibration_without_validation_shows_none() -> None:
    """One picture, one line, and the reason."""
    why = "No validation images are held out, so there is nothing to fit it on."
    root = parsed(calibration(Calibration(Temperature(None, why, 0, None, None), FITTED.before, None)))
    assert why in root.all("p")[0].text
    assert len(root.all("svg")) == 1
    assert [row[0] for row in table_of(Node("div", {}, [root.all("table")[0]]))[1:]] == ["Test, as trained"]


def test_reliability_dots_lie_at_certainty_and_accuracy() -> None:
    """A bin that is as right as it is sure touches the dotted line; one that claims too much lies below it."""
    picture = parsed(reliability_svg(FITTED.before, "As trained")).one("svg")
    (dot,), (gap,), (ideal,) = picture.all("circle"), picture.all("line", "gap"), picture.all("line", "ideal")
    x, y = float(dot.attributes["cx"]), float(dot.attributes["cy"])
    x1, y1, x2, y2 = (float(ideal.attributes[name]) for name in ("x1", "y1", "x2", "y2"))
    assert (x - x1) / (x2 - x1) == pytest.approx(0.75, abs=0.001)
    assert (y - y1) / (y2 - y1) == pytest.approx(0.5, abs=0.001)
    assert float(gap.attributes["y2"]) == y > float(gap.attributes["y1"])


# Gradient flow


def test_gradient_flow_draws_and_lists_every_array() -> None:
    """Two dots a strip, a power of ten the same width everywhere, and a dash where there is nothing to divide by."""
    flow = (
        ParameterFlow("layers[0].weight", 1200, (0.1, 0.001), (0.5, 0.25)),
        ParameterFlow("layers[2].bias", 3, (0.01, 0.01), (0.0, 0.0)),
        ParameterFlow("layers[2].scale", 3, (0.0, float("nan")), (1.0, float("nan"))),
    )
    root = parsed(gradient_flow(flow))
    assert table_of(root) == [
        ["Parameters", "Count", "First step", "Trained", "Ratio"],
        ["layer 1, weight", "1,200", "1.0e-1", "1.0e-3", "4.0e-3"],
        ["layer 2, bias", "3", "1.0e-2", "1.0e-2", "\N{EN DASH}"],
        ["layer 2, scale", "3", "0", "\N{EN DASH}", "\N{EN DASH}"],
    ]
    dots = [(d.attributes["class"], float(d.attributes["cx"])) for d in root.all("circle")]
    assert [style for style, _ in dots] == ["dot start", "dot end"] * 2
    (_, first), (_, last), (_, middle), _ = dots
    assert first - middle == pytest.approx(middle - last, abs=0.02)
    assert not re.search(r"\bnan\b", root.text)


# Strips


@given(st.lists(st.floats(0, 100), max_size=30))
def test_stacked_dots_never_touch(places: list[float]) -> None:
    """Two dots of a level are a pitch apart, and no dot floats above an empty place."""
    found = levels(places, 8.0)
    for i, j in itertools.combinations(range(len(places)), 2):
        assert found[i] != found[j] or abs(places[i] - places[j]) >= 8.0
    assert set(found) == set(range(len(set(found))))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_everything_on_a_strip_is_inside_the_picture(values: list[float]) -> None:
    """Whatever the values, dots, middle and interval stay between the axis' ends."""
    strips = [Strip("a strip", tuple(map(Dot, values)), middle=values[0], interval=(min(values), max(values)))]
    picture = parsed(strips_svg(strips, linear_axis(strips), words="w", below="b")).one("svg")
    *_, width, height = map(float, picture.attributes["viewbox"].split())
    for dot in picture.all("circle"):
        assert 0 < float(dot.attributes["cx"]) < width
        assert 0 < float(dot.attributes["cy"]) < height
    for line in picture.all("line"):
        assert 0 <= float(line.attributes["x1"]) <= float(line.attributes["x2"]) <= width


def test_decades_hold_their_values_whatever_their_span() -> None:
    """Equal values have an axis with length; forty powers of ten have few ticks."""
    assert decades([Strip("", (Dot(-2.0),))]).ticks == (-2.0, -1.0)
    wide = decades([Strip("", (Dot(-39.5), Dot(0.5)))])
    assert wide.low <= -39.5
    assert wide.high >= 0.5
    assert len(wide.ticks) < 9
    assert decades([]).ticks == (0.0, 1.0)


def test_a_table_refuses_rows_of_other_lengths() -> None:
    """A cell too few would shift all that follow under wrong heads."""
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        table("t", ["a", "b"], [["1", "2"], ["3"]])


# Studies

SEEDS = [
    SeedResult(0, 0.9, 0.95, 2.0, ((4, 1), (0, 5))),
    SeedResult(1, 1.0, 0.85, 4.0, ((5, 0), (0, 5))),
]


def test_study_page_tells_every_seed() -> None:
    """Mean, deviation and interval lead; each seed has a line and a dot, each class its recall."""
    root = parsed(study_page(summarised("small", ("Bag", HOSTILE), SEEDS), "bpfunc study --seeds 2"))
    assert root.one("h1").text == "small, 2 seeds"
    assert root.one("p", "headline").text.startswith("95.000 %mean test accuracy of 2 seeds. Standard deviation 7.071")
    assert table_of(root.section("seeds")) == [
        ["Seed", "Test", "Mistakes", "Validation", "Time"],
        ["0", "90.00 %", "1", "95.00 %", "2.0 s"],
        ["1", "100.00 %", "0", "85.00 %", "4.0 s"],
    ]
    assert table_of(root.section("confusion"))[1:] == [
        ["Bag", "4.5 90.0 %", "0.5 10.0 %", "5"],
        [HOSTILE, "0 0.0 %", "5 100.0 %", "5"],
    ]
    assert table_of(root.section("recall"))[1:] == [
        ["Bag", "90.00 %", "80.00 %", "100.00 %"],
        [HOSTILE, "100.00 %", "100.00 %", "100.00 %"],
    ]
    distribution = root.section("distribution")
    assert [len(distribution.all("circle", style)) for style in ("seed", "start")] == [2, 2]
    assert not distribution.all("a")
    assert root.section("again").one("code").text == "bpfunc study --seeds 2"
    links = [a.attributes["href"] for a in root.one("nav").all("a")]
    assert links == ["#" + s.attributes["id"] for s in root.all("section")]
    assert len(root.all("script")) == 1


def test_study_page_of_one_seed_claims_no_spread() -> None:
    """Without a second seed there is neither interval nor deviation."""
    one = [attrs.evolve(SEEDS[0], validation_accuracy=None)]
    root = parsed(study_page(summarised("small", ("A", "B"), one), "bpfunc study"))
    assert "tells nothing of how far seeds spread" in root.one("p", "headline").text
    assert not root.section("distribution").all("line", "interval")
    assert not root.section("distribution").all("circle", "start")
    assert not re.search(r"\bnan\b", root.one("body").text)


def test_equal_seeds_have_words_in_place_of_an_interval() -> None:
    """Three equal accuracies do not prove that every seed reaches them; page, terminal and JSON tell the same."""
    study = summarised("small", ("A", "B"), [attrs.evolve(SEEDS[0], seed=seed) for seed in range(3)])
    why = "cannot be estimated: all 3 accuracies are equal"
    root = parsed(study_page(study, "bpfunc study"))
    assert root.one("p", "headline").text.endswith(f"95 % interval of the mean {why}.")
    assert f"Its 95 % interval {why}." in root.section("distribution").text
    assert not root.section("distribution").all("line", "interval")
    assert f"95 % interval of the mean {why}" in study_lines(study)
    assert study_table(study)["confidence_interval_95"] is None


def test_ablation_is_a_section_of_the_study() -> None:
    """Ingredients keep their order, zero is on the axis; one seed, or equal differences, have words and no interval."""
    rows = [
        AblationRow("flips", 0.985, 0.001, 0.005, (0.002, 0.008), (0.984, 0.986)),
        AblationRow("dropout", 0.991, None, -0.001, None, (0.991,)),
        AblationRow("mixup", 0.98, 0.0, 0.01, None, (0.98, 0.98, 0.98)),
    ]
    root = parsed(study_page(summarised("small", ("A", "B"), SEEDS), "bpfunc study", ablation=rows))
    section, dash = root.section("ablation"), "\N{EN DASH}"
    assert table_of(section)[1:] == [
        ["flips", "98.500 %", "0.100", "+0.500", "+0.200 to +0.800"],
        ["dropout", "99.100 %", dash, "\N{MINUS SIGN}0.100", "needs three seeds"],
        ["mixup", "98.000 %", "0.000", "+1.000", "cannot be estimated: all 3 differences are equal"],
    ]
    assert (len(section.all("circle")), len(section.all("line", "interval"))) == (3, 1)
    assert any(float(t.text.replace("\N{MINUS SIGN}", "-")) == 0 for t in section.all("text", "tick")[3:-1])
    assert "#ablation" in [a.attributes["href"] for a in root.one("nav").all("a")]


# Comparisons

SPEC = RunSpec(
    name="small",
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(8,)),
    train=TrainSpec(epochs=1, batch_size=16, learning_rate=0.01, validation_fraction=0.2),
)


@pytest.fixture
def places(tmp_path: Path, own_data: Path) -> Places:
    """Where runs take from."""
    return Places(source=own_data, cache=tmp_path / "cache", raw=tmp_path)


@pytest.fixture
def study(tmp_path: Path, places: Places) -> Path:
    """A study of three seeds on noise, which differ."""
    with ThreadPoolExecutor(1) as pool:
        list(run_study(SPEC, range(3), tmp_path / "study", places, pool))
    return tmp_path / "study"


def shown(root: Node, anchor: str) -> list[int]:
    """Rows of the images of a group."""
    groups = [node for node in root.section("rows").all("div") if node.attributes.get("id") == anchor]
    return sorted(int(tile.attributes["data-row"]) for group in groups for tile in group.all("li"))


def test_comparison_of_two_runs_shows_the_rows_that_differ(study: Path, places: Places, own_data: Path) -> None:
    """Groups, counts and McNemar's numbers agree with the two predictions tables; images are those rows'."""
    a, b = seed_directory(study, 0), seed_directory(study, 1)
    found = side_by_side(a, b, places)
    says_a, says_b = read_predictions(a), read_predictions(b)
    rows = says_a.source_index
    only_a, only_b = says_a.right & ~says_b.right, says_b.right & ~says_a.right
    neither = (says_a.probabilities.argmax(1) != says_b.probabilities.argmax(1)) & ~says_a.right & ~says_b.right
    assert only_a.sum() + only_b.sum() + neither.sum() > 0, "the two runs say the same"
    root = parsed(comparison_page(found, "bpfunc compare A B"))
    for anchor, expected in (("a-better", only_a), ("b-better", only_b), ("neither", neither)):
        assert shown(root, anchor) == rows[expected].tolist()
    assert table_of(root.section("chance"))[1:3] == [
        ["Only A right", str(only_a.sum())],
        ["Only B right", str(only_b.sum())],
    ]
    figures = {row[0]: row[1:] for row in table_of(root.section("figures"))}
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (a, b)]
    assert figures["Mistakes"] == [str(m["test_mistakes"]) for m in metrics]
    assert figures["Parameters"] == [f"{m['parameters']:,}" for m in metrics]
    assert figures["Test accuracy"] == [f"{100 * m['test_accuracy']:.3f} %" for m in metrics]
    assert root.one("h1").text == "A: seed-000 (seed 0) and B: seed-001 (seed 1)"
    assert table_of(root.section("settings")) == [
        ["Setting", "A: seed-000", "B: seed-001"],
        ["train.seed", "0", "1"],
    ]
    counts = [np.array(m["confusion_matrix"]) for m in metrics]
    assert len(root.section("confusion").all("table")) == 1
    for i, row in enumerate(table_of(root.section("confusion"))[1:]):
        for j, cell in enumerate(row[1:]):
            told, both = cell.replace("\N{MINUS SIGN}", "-").split(maxsplit=1)
            assert int(told) == counts[0][i, j] - counts[1][i, j]
            assert both == f"{counts[0][i, j]} - {counts[1][i, j]}"
    original = np.frombuffer((own_data / "t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(30, 784)
    np.testing.assert_array_equal(found.images, original[found.source_index[found.differing]])


def test_comparison_with_a_study_counts_its_runs(study: Path, places: Places) -> None:
    """Each image says how many of the study's runs are right; McNemar's test is left out, and it says so."""
    found = side_by_side(seed_directory(study, 0), study, places)
    assert (found.a.runs, found.b.runs) == (1, 3)
    tables = [read_predictions(seed_directory(study, k)) for k in range(3)]
    np.testing.assert_allclose(found.b.right, np.mean([t.right for t in tables], axis=0))
    root = parsed(comparison_page(found, "bpfunc compare A B"))
    at = {int(row): k for k, row in enumerate(found.source_index.tolist())}
    tiles = root.section("rows").all("li")
    assert tiles
    for tile in tiles:
        right = sum(bool(t.right[at[int(tile.attributes["data-row"])]]) for t in tables)
        assert f"B: {right} of 3 right" in tile.text
    assert "McNemar's test is for two runs" in root.section("chance").text


def test_a_comparison_tells_what_differs_in_the_settings(study: Path, places: Places, tmp_path: Path) -> None:
    """Every differing setting is in the table, the first three in the title; equal settings are told to be so."""
    other = attrs.evolve(
        SPEC,
        model=ModelSpec(hidden=(4, 5), activation="tanh"),
        train=attrs.evolve(SPEC.train, epochs=2, momentum=0.5, flip=True),
    )
    with ThreadPoolExecutor(1) as pool:
        list(run_study(other, range(1), tmp_path / "other", places, pool))
    root = parsed(comparison_page(side_by_side(study, tmp_path / "other", places), "c"))
    assert root.one("h1").text == (
        "A: study (hidden 8, activation relu, epochs 1, ...) and B: other (hidden 4-5, activation tanh, epochs 2, ...)"
    )
    assert root.one("title").text.startswith(root.one("h1").text)
    assert root.all("section")[0].attributes["id"] == "settings"
    assert table_of(root.section("settings"))[1:] == [
        ["model.hidden", "8", "4-5"],
        ["model.activation", "relu", "tanh"],
        ["train.epochs", "1", "2"],
        ["train.momentum", "0.0", "0.5"],
        ["train.flip", "no", "yes"],
    ]
    plain = side_by_side(study, study, places)
    dated = attrs.evolve(plain, a=attrs.evolve(plain.a, name="A: 20261125-144053-880432-report-seed0"))
    assert parsed(comparison_page(dated, "c")).one("h1").text.startswith("A: report-seed0 and B: study")
    same = parsed(comparison_page(side_by_side(study, study, places), "c"))
    assert same.one("h1").text == "A: study and B: study, the same settings"
    assert "both have the same settings" in same.section("settings").text


def test_a_difference_matrix_is_coloured_by_who_does_better(study: Path, places: Places) -> None:
    """More hits and fewer mistakes are blue, the opposite is orange; classes are matched by name, not by place."""
    base = side_by_side(seed_directory(study, 0), seed_directory(study, 1), places)
    a = attrs.evolve(base.a, class_names=("0", "1", "2"), confusion_matrix=np.array([[8, 2, 0], [1, 9, 0], [0, 0, 9]]))
    b = attrs.evolve(base.b, class_names=("1", "0", "2"), confusion_matrix=np.array([[9, 1, 0], [5, 5, 0], [0, 3, 6]]))
    found = attrs.evolve(base, a=a, b=b)
    section = parsed(comparison_page(found, "c")).section("confusion")
    cells = [[cell.attributes["class"] for cell in row.all("td")] for row in section.one("tbody").all("tr")]
    assert cells == [["gain", "gain", "none"], ["none", "none", "none"], ["gain", "none", "gain"]]
    turned = parsed(comparison_page(attrs.evolve(base, a=b, b=a), "c")).section("confusion")
    found_styles = sorted(cell.attributes["class"] for cell in turned.one("tbody").all("td"))
    assert found_styles == ["miss"] * 4 + ["none"] * 5


def test_a_run_compared_with_itself_differs_nowhere(study: Path, places: Places) -> None:
    """No image, no difference, and no interval: one without width would claim to be certain."""
    found = side_by_side(seed_directory(study, 0), seed_directory(study, 0), places)
    root = parsed(comparison_page(found, "c"))
    why = "cannot be estimated: all 30 differences are equal"
    assert found.comparison.interval is None
    assert f"95 % bootstrap interval {why}" in comparison_lines(found.comparison)
    assert f"95 % bootstrap interval {why}." in root.one("p", "headline").text
    assert not root.section("chance").all("line", "interval")
    assert "On every test image the two say the same." in root.section("rows").text
    assert "do not tell the two apart" in root.one("p", "headline").text
    assert not root.section("rows").all("li")


def test_many_differing_rows_are_cut_and_it_says_so(study: Path, places: Places) -> None:
    """A group shows so many images and still tells how many there are."""
    base = side_by_side(seed_directory(study, 0), seed_directory(study, 1), places)
    many, half = IMAGES_SHOWN + 5, np.zeros(IMAGES_SHOWN + 5)
    said = {"says": np.zeros(many, np.int64), "probability": half + 0.5}
    found: SideBySide = attrs.evolve(
        base,
        a=attrs.evolve(base.a, right=half + 1, **said),
        b=attrs.evolve(base.b, right=half, **said),
        source_index=np.arange(many),
        label=np.zeros(many, np.int64),
        differing=np.arange(many),
        images=np.zeros((many, 784), np.uint8),
    )
    section = parsed(comparison_page(found, "c")).section("rows")
    assert [h.text for h in section.all("h3")] == [f"Only A is right: {many} images, {IMAGES_SHOWN} of them shown"]
    assert len(section.all("li")) == IMAGES_SHOWN


def test_images_of_rows_refuses_rows_that_are_not_there(study: Path, places: Places) -> None:
    """A row of other data is no other row's image."""
    from pipelines.stages.prepare import prepare

    prepared, _ = prepare(SPEC.dataset, source=places.source, cache=places.cache, raw=places.raw)
    back = images_of_rows(prepared.test, prepared.meta, np.array([29, 3, 7]))
    forth = images_of_rows(prepared.test, prepared.meta, np.array([3, 7, 29]))
    np.testing.assert_array_equal(back, forth[[2, 0, 1]])
    assert len({row.tobytes() for row in forth}) == 3
    with pytest.raises(DataProblem, match="does not hold the rows"):
        images_of_rows(prepared.test, prepared.meta, np.array([30]))


def test_commands_write_their_pages(tmp_path: Path, own_data: Path, cli: Cli) -> None:
    """`study` leaves study.html, `compare --out` its page; both name them, and the page's command repeats."""
    common = ("--source", str(own_data), "--unpinned", "--classes", "0,1,2", "--hidden", "4", "--epochs", "1")
    done = cli("study", *common, "--seeds", "2", "--out", "s", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["page"] == "s/study.html"
    root = parsed((tmp_path / told["page"]).read_text())
    assert re.fullmatch(r"784-4-3, SGD 0\.05, 1 epoch, 2 seeds, \d{1,2} [A-Z][a-z]{2} \d{4}", root.one("h1").text)
    assert root.one("title").text.startswith(root.one("h1").text)
    command = root.section("again").one("code").text
    assert command == f"bpfunc study --config s/config.toml --seeds 2 --source {own_data} --out s"
    again = cli(*command.split()[1:], "--quiet", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == told
    seed = json.loads((tmp_path / "s" / "seed-000" / "metrics.json").read_text())
    assert seed["command"] == f"bpfunc run --config s/seed-000/config.toml --source {own_data}"
    compare = ("compare", "s/seed-000", "s/seed-001", "--source", str(own_data))
    plain = cli(*compare, "--json")
    assert json.loads(plain.stdout)["page"] is None
    done = cli(*compare, "--out", "c.html", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(plain.stdout) | {"page": "c.html"}
    assert "bpfunc compare s/seed-000 s/seed-001" in parsed((tmp_path / "c.html").read_text()).section("again").text
    missing = cli(*compare, "--out", "no/such/c.html")
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr
