"""What the page of a step shows of a unit: its numbers, pictures of its weights, and the chain rule for one of them."""

from __future__ import annotations

from pipelines.inspection.explain_drawing import grid, largest, signed_picture
from pipelines.inspection.explain_filled import data, facts, fill, terms
from pipelines.inspection.explain_numbers import MINUS, TIMES, Found, Maps, Numbers, Plan
from pipelines.report.drawing.markup import Html, element, text

PICTURES = {
    "w": "Weights that lead in, before",
    "share": "Their gradient, this example",
    "gradient": "Their gradient, whole batch",
    "step": "The step of the update",
    "after": "Weights after the update",
}


def unit_block(drawn: Plan, first: Numbers, layer: int) -> Html:
    """Show a unit: its numbers, pictures of its weights, the chain rule for one of them, and the update."""
    group = drawn.groups[drawn.group_of(layer)]
    names = {index: drawn.first.layers[index].layer.partition("(")[0].replace("_", " ") for index in group.layers}
    said = {
        f"Output of {names[layer]}": data(first.number("y", layer), f"number:y:{layer}"),
        "Its delta": data(first.number("dy", layer), f"number:dy:{layer}"),
    }
    if group.layers[-1] != layer:
        last = group.layers[-1]
        said |= {
            f"Output of {names[last]}": data(first.number("y", last), f"number:y:{last}"),
            "Its delta ": data(first.number("dy", last), f"number:dy:{last}"),
        }
    pictures = [_weight_picture(drawn, first, layer, kind, words) for kind, words in PICTURES.items()]
    heading = element(
        "h3",
        {"class": "unscripted"},
        text("Unit "),
        unit_number(drawn, drawn.group_of(layer)),
        text(f" of {drawn.first.layers[layer].layer}"),
    )
    place = {"class": "unit-block", "data-layer": str(layer), "data-group": str(drawn.group_of(layer))}
    return element(
        "article",
        place,
        heading,
        element("div", {"class": "said"}, facts(said)),
        element("div", {"class": "pictures"}, *pictures),
        element("div", {"class": "factors"}, *_chain(drawn, first, layer)),
    )


def unit_number(drawn: Plan, group: int) -> Html:
    """Name the unit of a group that is shown."""
    place = {"data-say": "unit", "data-group": str(group)}
    return element("span", place, text(str(drawn.groups[group].strongest + 1)))


def pixel(drawn: Plan, layer: int, maps: Maps) -> Html:
    """Name the unit that is shown of a layer that makes images: a pixel of a channel."""
    _, width, channels = maps.shape
    place, channel = divmod(drawn.groups[drawn.group_of(layer)].strongest, channels)
    words = f"channel {channel + 1}, row {place // width + 1}, column {place % width + 1}"
    return element("span", {"data-say": "pixel", "data-layer": str(layer)}, text(words))


def _weight_picture(drawn: Plan, first: Numbers, layer: int, kind: str, words: str) -> Html:
    column = first.column(drawn.group_of(layer))
    before = first.arrays[f"y{layer - 1}" if layer else "x"][first.example]
    w, g, a = (first.arrays[f"{letter}{layer}"][:, column] for letter in "WGA")
    values = {"w": w, "share": before * first.number("dy", layer).value, "gradient": g, "step": a - w, "after": a}[kind]
    shape = drawn.first.image_shape if drawn.group_of(layer) == 1 else None
    rows, columns = grid(len(values), shape)
    place = {"src": signed_picture(values, shape), "alt": words, "data-picture": kind, "width": str(columns)}
    limit = Found(largest(values), "")
    return element(
        "figure",
        {},
        element(
            "div",
            {"class": "frame"},
            element("img", place | {"height": str(rows)}),
            element("i", {"class": "mark scripted", "aria-hidden": "true"}),
        ),
        element("figcaption", {}, text(f"{words}; strongest colour: "), data(limit, f"largest:{kind}:{layer}")),
    )


def _chain(drawn: Plan, first: Numbers, layer: int) -> list[Html]:
    """The gradient of one weight as a product of factors, with their numbers; then the batch's; then the update."""
    parts: list[Html] = []
    product, tail = 1.0, None
    for index, (kind, of) in enumerate(first.factors(layer)):
        found = first.factor(kind, of, layer)
        product *= found.value
        number = data(found, f"factor:{kind}:{of}:{layer}")
        parts.append(_factor(TIMES if index else "", number, _factor_words(drawn, layer, kind, of)))
        tail = (kind, of)
    result = data(Found(product, ""), f"product:{layer}")
    parts.append(_factor("=", result, "gradient of this weight, this example"))
    row = first.weight(layer)
    shown = [
        element(
            "h4",
            {},
            text("The chain rule, for its weight from "),
            element("span", {"data-say": "source", "data-layer": str(layer)}, text(source(drawn, layer, row))),
        ),
        element("div", {"class": "chain"}, *parts),
    ]
    if tail is not None and tail[0] == "deltas":
        shown.append(
            element(
                "p",
                {"class": "sum"},
                text("What comes back: "),
                terms(first, "deltas", tail[1]),
                text(" = "),
                data(first.factor(*tail, layer), f"factor:deltas:{tail[1]}:{layer}"),
            )
        )
    batch = "Whole batch: this example {share}, with the others + {others} = {gradient}"
    update = "Update: {w} + {step} = {after}"
    if tuple(drawn.first.update_formulas) == ("w <- w - r g",) and drawn.first.learning_rate is not None:
        update = "Update: {w} - {rate} * {gradient} = {after}"

    def find(name: str) -> tuple[Found, str]:
        if name == "rate":
            return first.outcome("rate"), "outcome:rate"
        return first.number(name, layer), f"number:{name}:{layer}"

    return [
        *shown,
        element("p", {"class": "sum"}, fill(batch, find)),
        element("p", {"class": "sum"}, fill(update, find)),
    ]


def _factor(sign: str, number: Html, words: str) -> Html:
    box = element("div", {"class": "factor"}, element("b", {}, number), element("span", {}, text(words)))
    return element("div", {"class": "term"}, element("span", {"class": "sign"}, text(sign)) if sign else text(""), box)


def _factor_words(drawn: Plan, layer: int, kind: str, of: int) -> str:
    if kind == "x_i":
        return "what the weight is given: its input"
    if kind == "loss":
        whole = drawn.first.loss_arrays.probabilities is not None
        return "derivative of the loss by this output" + (f": (p {MINUS} t) / B" if whole else "")
    name = drawn.first.layers[of].layer.replace("_", " ")
    if kind == "slope":
        return f"slope of {name.partition('(')[0]} at this unit"
    return (
        f"what comes back from {name}: weights times deltas" if kind == "deltas" else f"what comes back through {name}"
    )


def source(drawn: Plan, layer: int, row: int) -> str:
    """Name the input of a weight: a pixel, an input, or a unit of the layer before."""
    shape = drawn.first.image_shape
    first = drawn.group_of(layer) == 1
    if first and shape is not None:
        return f"the pixel in row {row // shape[1] + 1}, column {row % shape[1] + 1}"
    return f"input {row + 1}" if first else f"unit {row + 1} of the layer before"
