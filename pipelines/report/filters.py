"""The section of a convolutional network: the filters of its first layer, and what each block makes of an image."""

from __future__ import annotations

from typing import Final

import numpy as np

from bpfunc.arrays.types import FloatArray
from pipelines.artifacts import IMAGE_SIDE, FeatureMaps, ReportInputs
from pipelines.report.drawing.bitmaps import diverging_png, grey_png
from pipelines.report.drawing.gallery import picture
from pipelines.report.drawing.layout import paragraph, section
from pipelines.report.drawing.markup import Html, element, text
from pipelines.report.drawing.wording import count
from pipelines.report.findings import strongest_units

FILTERS_SHOWN: Final = 48
MAPS_SHOWN: Final = 16
"""Of each block."""


def filters(inputs: ReportInputs) -> Html:
    """Draw the filters of the first convolution, and the feature maps of an example image block by block.

    Args:
        inputs: Its ``first_layer`` is (KH, KW, C, F).

    Returns:
        The section, in the place of the weights of a dense network.

    Example:
        >>> from pipelines.artifacts import Evaluation
        >>> e = Evaluation(("Bag", "Coat"), np.array([[0.9, 0.1]]), np.array([0]), np.array([5]),
        ...                np.zeros((1, 784), np.uint8), np.array([[1, 0], [0, 0]]), 1.0, 0.1)
        >>> maps = (FeatureMaps("conv 2", np.ones((28, 28, 2))),)
        >>> drawn = filters(ReportInputs("bags", e, (), np.ones((3, 3, 1, 2)), {}, {}, "bpfunc run", maps=maps))
        >>> drawn.count('alt="Filter '), drawn.count('alt="Map ')
        (2, 2)
    """
    height, width, _, total = inputs.first_layer.shape
    # A filter of several channels is drawn by their mean.
    units = strongest_units(inputs.first_layer.mean(axis=2).reshape(height * width, total), most=FILTERS_SHOWN)
    which = (
        "All filters" if len(units.index) == total else f"The {len(units.index)} strongest of {count(total)} filters"
    )
    said = (
        f"{which} of the first convolution, the strongest first, each of {height} x {width} pixels. A filter is laid "
        "on every place of the image: a blue pixel asks for a bright one there, an orange pixel for a dark one."
    )
    drawn = [
        (diverging_png(weight.reshape(height, width), limit=units.limit), f"Filter {index}", str(index))
        for index, weight in zip(units.index, units.weight, strict=True)
    ]
    return section("weights", "What the first layer looks for", paragraph(said), _pictures(drawn), *_maps(inputs))


def _maps(inputs: ReportInputs) -> list[Html]:
    if not inputs.maps:
        return []
    evaluation = inputs.evaluation
    name, row = evaluation.class_names[evaluation.label[0]], evaluation.source_index[0]
    shown = (
        f"What each block makes of one test image, row {row} of the original test file ({name}). A map holds "
        f"the outputs of one filter at all places; of each block up to {MAPS_SHOWN} maps are shown, the strongest "
        "first, on one scale for the block."
    )
    example = grey_png(evaluation.images[0].reshape(IMAGE_SIDE, IMAGE_SIDE))
    parts = [element("h3", {}, text("Feature maps")), paragraph(shown)]
    parts.append(_pictures([(example, f"Test image {row}: {name}", "image")]))
    for number, found in enumerate(inputs.maps, start=1):
        rows, columns, channels = found.maps.shape
        parts.append(element("h4", {}, text(f"Block {number}, {found.block}: {channels} maps of {rows} x {columns}")))
        parts.append(_pictures(_block_maps(found)))
    return parts


def _block_maps(found: FeatureMaps) -> list[tuple[bytes, str, str]]:
    values: FloatArray = np.where(np.isfinite(found.maps), found.maps, 0)
    strength = np.abs(values).sum(axis=(0, 1))
    order = np.argsort(-strength, kind="stable")[:MAPS_SHOWN].tolist()
    limit = float(np.abs(values[:, :, order]).max()) or 1.0
    return [
        (diverging_png(values[:, :, channel], limit=limit), f"Map {channel} of {found.block}", str(channel))
        for channel in order
    ]


def _pictures(drawn: list[tuple[bytes, str, str]]) -> Html:
    """Lay out pictures, each with what it shows and the number below it."""
    tiles = [
        element("li", {}, picture(png, alt), element("span", {"class": "soft", "aria-hidden": "true"}, text(caption)))
        for png, alt, caption in drawn
    ]
    return element("ul", {"class": "units"}, *tiles)
