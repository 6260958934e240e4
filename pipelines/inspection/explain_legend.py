"""What every colour, line and number in the page of a step means."""

from __future__ import annotations

from pipelines.inspection.explain_numbers import Plan
from pipelines.report.drawing.markup import Html, element, text

_GROUND = ("circle", {"class": "ground", "cx": "14", "cy": "10", "r": "8"})
_TRACK = ("rect", {"class": "track", "width": "28", "height": "6", "y": "7"})
_COLOURS = (
    ("rect", {"class": "blot below", "width": "13", "height": "16", "y": "2"}),
    ("rect", {"class": "blot above", "width": "13", "height": "16", "y": "2", "x": "15"}),
)
_FILL = (_GROUND, ("circle", {"class": "fill above", "cx": "14", "cy": "10", "r": "5"}))
_RING = (_GROUND, ("circle", {"class": "ring below", "cx": "14", "cy": "10", "r": "8"}))
_CHOSEN = (("circle", {"class": "chosen", "cx": "14", "cy": "10", "r": "8"}),)
_LINE = (("path", {"class": "stroke", "d": "M2 10H26"}),)
_BAND = (("rect", {"class": "band lit", "width": "24", "height": "18", "x": "2", "y": "1", "rx": "4"}),)
_BAR = (_TRACK, ("rect", {"class": "bar", "width": "17", "height": "6", "y": "7"}))
_STRIP = (
    _TRACK,
    ("rect", {"class": "blot above", "width": "4", "height": "6", "x": "5", "y": "7"}),
    ("rect", {"class": "blot below", "width": "3", "height": "6", "x": "16", "y": "7"}),
)
_MAP = (("rect", {"class": "track", "width": "16", "height": "16", "x": "6", "y": "2"}),
        ("rect", {"class": "blot above", "width": "8", "height": "5", "x": "8", "y": "5"}),
        ("rect", {"class": "blot below", "width": "6", "height": "4", "x": "14", "y": "12"}))  # fmt: skip
_PICTURE = (("rect", {"class": "track", "width": "16", "height": "16", "x": "6", "y": "2"}),)

ALWAYS = (
    (
        _COLOURS,
        "Orange is below zero, blue above; the paler, the nearer to zero. Every column, picture and set of lines has a "
        "scale of its own.",
    ),
    (_FILL, "A circle is a unit. Its filling is its number on the way forward."),
    (
        _RING,
        "The ring around a unit is its delta: the derivative of the mean loss by that number. It appears on the "
        "way back.",
    ),
    (
        _LINE,
        "A line is a weight, coloured by its sign and as thick as it is large. Once the gradient has passed, it is the "
        "gradient of that weight for this example. Lines between units of one row carry the number itself.",
    ),
    (_BAND, "The shaded column is the operation at work; its lines move in the direction of the numbers."),
    (_CHOSEN, "The unit with the dark ring is the chosen one."),
    (
        _BAR,
        "At the right end: the probability of each class, or each output, the target underlined, and the loss of this "
        "example.",
    ),
)
OF_STRIPS = (
    "Of a wide layer a few units are drawn: those with the largest activation times delta. The strip at the "
    "foot of the column has all of them, in order: activations, and deltas once they are known."
)
OF_PICTURES = (
    "The small pictures are the weights that lead from the image to a unit; then their gradient for this "
    "example; then the step, and last the weights after it. Each line from the image stands for one weight per"
    " pixel, and has the colour of what it comes to."
)
OF_MAPS = (
    "A column of pictures is a layer that makes images: each picture is one of its channels, pixel by pixel; once the "
    "gradient has passed, the deltas of those pixels. Of many channels those with the largest activation times delta "
    "are drawn. Grey lines tell which channels are made of which, and carry no number."
)
NAMES = (
    "x: what goes into a layer; y: what comes out. d before a name: the derivative of the mean loss by it. W, "
    "w: weights; b: bias; z: outputs of the network; p: probabilities; t: targets; l: loss of an example; L: "
    "mean loss; B: number of examples; K: number of classes; g: gradient; r: learning rate; log: natural "
    "logarithm. Losses are in nats. 2e-5 is 2 divided by 10 five times. Examples, units, weights and "
    "operations are counted from 1, steps of the training from 0."
)
KEYS = (
    "Keys: arrow left and right for operations, Home and End for the first and last, space to play. On a touch"
    " screen: swipe over the drawing. Choose a unit by clicking it, a weight by clicking into a picture of "
    "weights, where a square marks it. Numbers have four digits; point at one for all of them. The address of "
    "the page leads back to what is shown."
)


def legend(drawn: Plan) -> Html:
    """Explain the drawing and the numbers.

    Args:
        drawn: What is drawn.

    Returns:
        A section.
    """
    image, items = drawn.first.image_shape is not None, list(ALWAYS)
    circles = {drawn.group_of(layer) for layer, of in enumerate(drawn.maps) if of is None}
    if any(0 < len(drawn.groups[number].units) < drawn.groups[number].width for number in circles):
        items.append((_STRIP, OF_STRIPS))
    if any(of is not None for of in drawn.maps):
        items.append((_MAP, OF_MAPS))
    if image and len(drawn.groups) > 1 and drawn.groups[1].dense is not None and not drawn.groups[0].units:
        items.append((_PICTURE, OF_PICTURES))
    rows = [
        element(
            "li",
            {},
            element(
                "svg",
                {"class": "sample", "viewBox": "0 0 28 20", "aria-hidden": "true"},
                *(element(name, attributes) for name, attributes in shapes),
            ),
            element("span", {}, text(words)),
        )
        for shapes, words in items
    ]
    return element(
        "section",
        {"id": "legend", "aria-labelledby": "legend-heading"},
        element("h2", {"id": "legend-heading"}, text("What is shown")),
        element("ul", {}, *rows),
        element("p", {}, text(NAMES)),
        element("p", {"class": "scripted"}, text(KEYS)),
    )
