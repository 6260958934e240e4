"""The page of one training step: a stage for each operation, in type that a room can read; arrow keys turn over."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray
from pipelines.artifacts import IMAGE_SIDE
from pipelines.disk.ownership import write_output
from pipelines.inspection.explain import Explained, Operation, Spread
from pipelines.report.drawing.bitmaps import data_uri, diverging_png, grey_png
from pipelines.report.drawing.layout import table
from pipelines.report.drawing.markup import Html, element, join, text, trusted
from pipelines.report.drawing.wording import count, percent, shape_in_words, time_in_words

EXAMPLES = 8
"""Examples of the batch, and units of the first layer, that are pictured."""
_WIDTH, _HEIGHT = 340, 96


def write_explain_page(path: Path, found: Explained) -> None:
    """Write the page of a step.

    Args:
        path: The file.
        found: The step.

    Raises:
        UsageProblem: The file is not to be written, see `pipelines.disk.ownership.check_output`.
        WorkFailed: The file cannot be written.
    """
    write_output(path, explain_page(found).encode())


def explain_page(found: Explained) -> str:
    """Compose the page of a step.

    Args:
        found: The step.

    Returns:
        One HTML document that fetches nothing.
    """
    stages = [_batch_stage(found)]
    stages += [_operation_stage(one, found) for one in found.operations]
    stages += [_update_stage(found), _after_stage(found)]
    numbered = [
        element("section", {"class": "stage", "id": f"stage-{number}", "tabindex": "-1"}, *parts)
        for number, parts in enumerate(stages, 1)
    ]
    place = element("div", {"class": "place", "id": "place", "aria-hidden": "true"})
    return _document(f"A step of {found.recipe}", element("main", {}, *numbered), place)


def _document(title: str, *body: Html) -> str:
    here = resources.files("pipelines.inspection")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("explain.css", "explain.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("link", {"rel": "icon", "href": "data:,"}),
        element("title", {}, text(title)),
        element("style", {}, trusted(style)),
    )
    whole = element("html", {"lang": "en"}, head, element("body", {}, *body, element("script", {}, trusted(script))))
    return f"<!doctype html>\n{whole}\n"


def _batch_stage(found: Explained) -> list[Html]:
    tiles = []
    for row, target, probability in list(zip(found.inputs, found.targets, found.probabilities, strict=True))[:EXAMPLES]:
        truth, guess = found.class_names[int(target.argmax())], found.class_names[int(probability.argmax())]
        said = f"{truth}; network: {guess}, {percent(float(probability.max()), digits=0)}"
        picture = element("img", {"src": data_uri(grey_png(_grey(row))), "alt": truth})
        tiles.append(element("li", {}, picture, element("span", {}, text(said))))
    shown = f"The first {len(tiles)} of {len(found.inputs)} examples" if len(tiles) < len(found.inputs) else "The batch"
    return [
        _kicker(f"{found.recipe}, seed {found.seed}"),
        element("h1", {}, text(f"Step {count(found.step)} of {count(found.steps)}")),
        element("p", {}, text(f"{shown}, as the network sees them and names them before the update.")),
        element("ul", {"class": "tiles"}, *tiles),
        _facts(
            {
                "Shape": shape_in_words(found.inputs.shape),
                "Epoch": str(found.epoch),
                "Loss": f"{found.loss:.4g} nats",
                "Accuracy": percent(found.accuracy, digits=1),
                "Learning rate": f"{found.learning_rate:.4g}",
            }
        ),
        element("p", {"class": "soft"}, text("Turn over with the arrow keys, left and right.")),
    ]


def _grey(row: FloatArray) -> NDArray[np.uint8]:
    row = np.where(np.isfinite(row), row, 0).astype(np.float64)
    low, high = float(row.min()), float(row.max())
    scaled = (row - low) / (high - low) if high > low else np.zeros_like(row)
    pixels: NDArray[np.uint8] = np.rint(255 * scaled).astype(np.uint8)
    return pixels.reshape(IMAGE_SIDE, IMAGE_SIDE)


def _operation_stage(one: Operation, found: Explained) -> list[Html]:
    letters = ("x", "y") if one.stage == "forward" else ("dy", "dx")
    if one.place == "loss":
        letters = ("z", "l") if one.stage == "forward" else ("dl", "dz")
    ends = "the derivative of the input is not needed" if one.gives is None else shape_in_words(one.gives)
    facts = {
        f"Norm of {letters[1]}": None if one.norm is None else f"{one.norm:.4g}",
        "FLOPs": None if one.flops is None else count(one.flops),
        "Time": time_in_words(one.seconds),
        **{f"Norm of d{g.name}": f"{g.norm:.4g} ({shape_in_words(g.shape)})" for g in one.gradients},
    }
    place = "" if one.place == "loss" else f", {one.place}"
    parts = [
        _kicker(f"{one.stage}{place}"),
        element("h2", {}, text(one.layer.replace("_", " "))),
        _formulas(one.formulas),
        element("p", {"class": "shape"}, text(f"{letters[0]}: {shape_in_words(one.takes)}, {letters[1]}: {ends}")),
        _facts({name: value for name, value in facts.items() if value is not None}),
    ]
    if one.spread is not None:
        parts.append(_histogram(letters[1], one.spread))
    if one.stage == "backward" and one.gives is None and one.gradients:
        parts.append(_first_weights(found.first_gradient))
    return parts


def _first_weights(gradient: FloatArray) -> Html:
    limit = float(np.abs(gradient).max())
    if len(gradient) != IMAGE_SIDE**2 or not 0 < limit < np.inf:
        return text("")
    tiles = [
        element(
            "li",
            {},
            element(
                "img",
                {
                    "src": data_uri(diverging_png(column.reshape(IMAGE_SIDE, IMAGE_SIDE), limit=limit)),
                    "alt": f"Gradient of the weights of unit {unit}",
                },
            ),
        )
        for unit, column in enumerate(gradient.T[:EXAMPLES])
    ]
    said = f"Gradient of the weights that lead to the first {len(tiles)} units: orange below zero, blue above."
    return element("figure", {}, element("ul", {"class": "tiles"}, *tiles), element("figcaption", {}, text(said)))


def _histogram(letter: str, spread: Spread) -> Html:
    most, bars = max(int(spread.counts.max()), 1), len(spread.counts)
    width = _WIDTH / bars
    drawn = []
    for index, number in enumerate(spread.counts.tolist()):
        height = (_HEIGHT - 22) * number / most
        place = {"x": f"{index * width:.2f}", "y": f"{_HEIGHT - 18 - height:.2f}"}
        drawn.append(element("rect", place | {"width": f"{width - 1:.2f}", "height": f"{height:.2f}"}))
    ends = [
        element("text", {"x": "0", "y": str(_HEIGHT - 4)}, text(f"{spread.low:.3g}")),
        element("text", {"x": str(_WIDTH), "y": str(_HEIGHT - 4), "text-anchor": "end"}, text(f"{spread.high:.3g}")),
    ]
    words = f"Histogram of the numbers in {letter}, from {spread.low:.3g} to {spread.high:.3g}"
    picture = element("svg", {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img", "aria-label": words}, *drawn, *ends)
    return element("figure", {}, picture, element("figcaption", {}, text(f"How the numbers in {letter} are spread.")))


def _update_stage(found: Explained) -> list[Html]:
    rows = [
        [
            one.path,
            shape_in_words(one.shape),
            f"{one.gradient:.3g}",
            f"{one.step:.3g}",
            f"{one.parameters:.3g}",
            f"{one.step / one.parameters:.1e}" if one.parameters else "-",
        ]
        for one in found.updates
    ]
    columns = ["Parameters w", "Shape", "Norm of g", "Norm of the step", "Norm of w", "Step / w"]
    return [
        _kicker("update"),
        element("h2", {}, text("The optimiser")),
        _formulas(found.update_formulas),
        table("Every array of parameters", columns, rows),
        _facts({"Learning rate r": f"{found.learning_rate:.4g}", "Time": time_in_words(found.update_seconds)}),
    ]


def _after_stage(found: Explained) -> list[Html]:
    change = found.loss_after - found.loss
    verdict = "It fell" if change < 0 else "It rose" if change > 0 else "It stayed"
    return [
        _kicker("after the update"),
        element("h2", {}, text("The same batch once more")),
        element("p", {"class": "shape"}, text(f"loss {found.loss:.5g} -> {found.loss_after:.5g} nats")),
        element("p", {}, text(f"{verdict}: {change:+.3g} nats, with the same dropout where there is some.")),
        _facts(
            {
                "Whole step": time_in_words(found.seconds),
                "FLOPs counted": count(found.flops),
                "Work": f"{found.flops / found.seconds / 1e9:.1f} GFLOP/s",
            }
        ),
        element("p", {"class": "soft"}, text("FLOPs are those of the layers; loss and update are not counted.")),
    ]


def _kicker(words: str) -> Html:
    return element("p", {"class": "kicker"}, text(words))


def _facts(pairs: Mapping[str, str]) -> Html:
    return element(
        "dl",
        {},
        *(
            element("div", {}, element("dt", {}, text(name)), element("dd", {}, text(value)))
            for name, value in pairs.items()
        ),
    )


def _formulas(lines: Sequence[str]) -> Html:
    return element("ul", {"class": "formulas"}, *(element("li", {}, formula(line)) for line in lines))


def formula(line: str) -> Html:
    """Set a formula: what stands after ``^`` is raised, arrows and minus signs are drawn.

    Args:
        line: As in `pipelines.inspection.equations`.

    Returns:
        Markup.

    Example:
        >>> formula("dW = x^T dy")
        'dW = x<sup>T</sup> dy'
        >>> formula("w <- w - r e^-x")
        'w ← w − r e<sup>−x</sup>'
    """
    drawn = line.replace("<-", "\N{LEFTWARDS ARROW}")
    drawn = re.sub(r"(?<=[\s^(])-(?=[\s\w(])", "\N{MINUS SIGN}", drawn)
    parts = []
    for index, piece in enumerate(re.split(r"\^([\N{MINUS SIGN}-]?\w+)", drawn)):
        parts.append(element("sup", {}, text(piece)) if index % 2 else text(piece))
    return join(parts)
