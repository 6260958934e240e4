"""The page of a study: how far its seeds spread, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bpfunc.metrics import class_figures
from pipelines.disk.atomic import write_bytes
from pipelines.disk.ownership import seed_directories
from pipelines.report.drawing.confusion import confusion_figure
from pipelines.report.drawing.layout import again, document, facts, header, note, paragraph, scroll, section, table
from pipelines.report.drawing.markup import Html, element
from pipelines.report.drawing.strips import Dot, Strip, linear_axis, scaled, strips_svg
from pipelines.report.drawing.wording import percent, plural, points
from pipelines.runs.naming import began
from pipelines.runs.wording import title_in_words
from pipelines.spec.run_spec import RECORDED
from pipelines.spec.toml import load_config
from pipelines.studies.ablation import AblationRow
from pipelines.studies.ablation_section import ablation_section
from pipelines.studies.statistics import no_interval
from pipelines.studies.study import Study


def write_study_page(directory: Path, study: Study, command: str, *, ablation: Sequence[AblationRow] = ()) -> Path:
    """Write ``study.html``.

    Args:
        directory: Directory of the study; its ``study.json`` is written before.
        study: All its seeds.
        command: The command line that does it again.
        ablation: What the recipe comes to without each of its ingredients, or nothing.

    Returns:
        The file.

    Raises:
        WorkFailed: It cannot be written.
    """
    path = directory / "study.html"
    title = ""
    if (directory / "config.toml").is_file():
        spec = load_config(directory / "config.toml", RECORDED)
        first = min(map(began, seed_directories(directory)), default=began(directory))
        title = title_in_words(spec, first, seeds=len(study.results))
    write_bytes(path, study_page(study, command, ablation=ablation, title=title).encode())
    return path


def study_page(study: Study, command: str, *, ablation: Sequence[AblationRow] = (), title: str = "") -> str:
    """Compose the page of a study as one HTML document that needs nothing beside it.

    Args:
        study: All its seeds.
        command: The command line that does it again.
        ablation: What the recipe comes to without each of its ingredients, or nothing.
        title: The study in words; empty for its name and the number of its seeds.

    Returns:
        The document, the same for the same study.

    Example:
        >>> from pipelines.studies.study import SeedResult, summarised
        >>> seeds = [SeedResult(k, 0.9, None, 1.0, ((5, 0), (1, 4))) for k in range(2)]
        >>> page = study_page(summarised("small", ("Bag", "Coat"), seeds), "bpfunc study --seeds 2")
        >>> "<title>small, 2 seeds: 90.000" in page
        True
    """
    title = title or f"{study.name}, {plural(len(study.results), 'seed', 'seeds')}"
    mean = percent(study.mean, digits=3)
    main = element(
        "main",
        {},
        _distribution(study),
        *([ablation_section(ablation)] if ablation else []),
        _seeds(study),
        _confusion(study),
        _recall(study),
        _time(study),
        again("A finished seed is read, not trained again.", command),
    )
    contents = [("distribution", "Distribution"), *([("ablation", "Ablation")] if ablation else [])]
    contents += [("seeds", "Seeds"), ("confusion", "Confusion"), ("recall", "Recall"), ("time", "Time")]
    contents += [("again", "Run it again")]
    interval = no_interval(len(study.results))
    if study.interval is not None:
        interval = " to ".join(percent(end, digits=3) for end in study.interval)
    said = (
        f"mean test accuracy of {plural(len(study.results), 'seed', 'seeds')}. Standard deviation "
        f"{points(study.deviation, digits=3).lstrip('+')} points; "
        f"95\N{NO-BREAK SPACE}% interval of the mean {interval}."
    )
    if len(study.results) == 1:
        said = "test accuracy of one seed, which tells nothing of how far seeds spread."
    kicker = "bpfunc study and ablation" if ablation else "bpfunc study"
    opening = header(kicker, title, mean, said, f"{', '.join(study.class_names)}; recipe {study.name}", contents)
    return document(f"{title}: {mean} of test images right", opening, main)


def _distribution(study: Study) -> Html:
    strips = [
        Strip(
            "test",
            tuple(Dot(100 * result.test_accuracy) for result in study.results),
            middle=100 * study.mean,
            interval=scaled(study.interval),
        )
    ]
    validation = [r.validation_accuracy for r in study.results if r.validation_accuracy is not None]
    if validation:
        dots = tuple(Dot(100 * accuracy, "start") for accuracy in validation)
        strips.append(Strip("validation", dots, middle=100 * float(np.mean(validation))))
    chart = strips_svg(
        strips,
        linear_axis(strips),
        words="Accuracy of every seed; the table below holds the numbers",
        below="accuracy in %",
    )
    said = (
        "A dot is a seed: it decides the first weights, the order of the batches and which rows are held out. The "
        "upright line is the mean"
    )
    if study.interval is None:
        said += f". Its 95 % interval {no_interval(len(study.results))}."
    else:
        said += ", the grey bar its 95 % confidence interval by Student's t, with the test images taken as given."
    caption = element("figcaption", {}, note(said))
    figure = element("figure", {}, scroll("Accuracy of every seed, picture", chart), caption)
    return section("distribution", "How far seeds spread", figure)


def _seeds(study: Study) -> Html:
    rows = []
    for result in study.results:
        matrix = np.array(result.confusion_matrix)
        rows.append(
            [
                str(result.seed),
                percent(result.test_accuracy),
                str(int(matrix.sum() - np.trace(matrix))),
                percent(result.validation_accuracy),
                f"{result.train_seconds:.1f} s",
            ]
        )
    columns = ["Seed", "Test", "Mistakes", "Validation", "Time"]
    said = "Accuracies on test and validation images, mistakes among the test images, and the time of training."
    return section("seeds", "Every seed", table("Every seed", columns, rows, style="figures"), note(said))


def _confusion(study: Study) -> Html:
    figure = confusion_figure(study.confusion_matrix, study.class_names, linked=False)
    said = "Counts are means over the seeds."
    return section("confusion", "What is taken for what, on average", paragraph(said), figure)


def _recall(study: Study) -> Html:
    each = np.array([class_figures(np.array(result.confusion_matrix)).recall for result in study.results])
    strips = [
        Strip(name, tuple(Dot(100 * value) for value in column), middle=100 * study.recall[name])
        for name, column in zip(study.class_names, each.T.tolist(), strict=True)
    ]
    chart = strips_svg(
        strips,
        linear_axis(strips),
        words="Recall of every class and seed; the table below holds the numbers",
        below="recall in %",
    )
    rows = [
        [name, percent(study.recall[name]), percent(min(column)), percent(max(column))]
        for name, column in zip(study.class_names, each.T.tolist(), strict=True)
    ]
    numbers = table("Recall per class", ["Class", "Recall", "Lowest seed", "Highest seed"], rows, style="figures")
    said = "Of the images that belong to a class, the part given it. The first column is of the mean matrix."
    return section(
        "recall", "Class by class", scroll("Recall of every class and seed, picture", chart), numbers, note(said)
    )


def _time(study: Study) -> Html:
    seconds = [result.train_seconds for result in study.results]
    pairs = {
        "Training, all seeds": f"{sum(seconds):.1f} s",
        "Training, a seed": f"{np.mean(seconds):.1f} s, from {min(seconds):.1f} to {max(seconds):.1f} s",
    }
    return facts("time", "Time", pairs)
