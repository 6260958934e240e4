"""The page of training steps: the network drawn whole, and each operation with the numbers of an example in it.

Without a script it is read from top to bottom, for the first example. With it, one operation is shown at a time, and the
example, the unit and the moment can be chosen; each view has its address behind the ``#``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from pipelines.disk.atomic import write_bytes
from pipelines.inspection.equations import Formulas, layer_formulas, loss_formulas
from pipelines.inspection.explain import Explained, Operation, Spread
from pipelines.inspection.explain_drawing import NARROW, WIDE, drawing, grey, grid, output_names, signed_picture
from pipelines.inspection.explain_numbers import (
    CLASSES,
    EXAMPLES,
    MINUS,
    TIMES,
    Found,
    Numbers,
    Plan,
    figure,
    numbers,
    page_data,
    plan,
)
from pipelines.report.drawing.bitmaps import data_uri, grey_png
from pipelines.report.drawing.layout import page_document, table
from pipelines.report.drawing.markup import Html, element, join, text
from pipelines.report.drawing.wording import count, percent, plural, shape_in_words, time_in_words

_WIDTH, _HEIGHT = 340, 84
_ONLY_SCRIPT = {"class": "scripted"}


def write_explain_page(path: Path, found: Explained | Sequence[Explained]) -> None:
    """Write the page of one step, or of several steps of one training.

    Args:
        path: The file.
        found: The step, or the steps in their order.

    Raises:
        WorkFailed: The file cannot be written.
        ValueError: There is no step, or they are steps of different networks.
    """
    write_bytes(path, explain_page(found).encode())


def explain_page(found: Explained | Sequence[Explained]) -> str:
    """Compose the page of one step, or of several steps of one training.

    Args:
        found: The step, or the steps in their order, from `pipelines.inspection.explain.explain_step`.

    Returns:
        One HTML document that fetches nothing.

    Raises:
        ValueError: There is no step, or they are steps of different networks.
    """
    drawn = plan([found] if isinstance(found, Explained) else found)
    first = numbers(drawn)
    sections = [_input_section(drawn, first)]
    sections += [_operation_section(drawn, first, number) for number in range(len(drawn.first.operations))]
    sections += [_update_section(drawn, first), _after_section(drawn, first)]
    body = element(
        "main",
        {},
        _top(drawn, first),
        element(
            "div",
            {"id": "stage"},
            element("div", {"id": "drawing"}, drawing(drawn, first, WIDE), drawing(drawn, first, NARROW)),
            _controls(drawn),
        ),
        element(
            "div", {"id": "panels"}, element("div", {"id": "operations"}, *sections), _unit_panel(), _legend(drawn)
        ),
    )
    here = resources.files("pipelines.inspection")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("explain.css", "explain.js"))
    data = json.dumps(page_data(drawn), allow_nan=False)
    return page_document(f"A step of {drawn.first.recipe}", style, script, body, data=data)


def _top(drawn: Plan, first: Numbers) -> Html:
    several = len(drawn.moments) > 1
    moments = [
        _choice("moment", index, element("span", {}, text(f"step {count(one.step)}")), several)
        for index, one in enumerate(drawn.moments)
    ]
    facts = [element("p", {"class": "when", "data-moment": str(i)} | _hidden(i), text(_when(one)))
             for i, one in enumerate(drawn.moments)]  # fmt: skip
    examples = [_choice("example", index, _example(drawn, first, index), True) for index in range(drawn.examples)]
    shown = [
        element(
            "span", {"data-moment": str(i)} | _hidden(i), text(f"{min(EXAMPLES, len(one.inputs))} of {len(one.inputs)}")
        )
        for i, one in enumerate(drawn.moments)
    ]
    return element(
        "header",
        {},
        element("div", {}, element("h1", {}, text(f"One training step of {drawn.first.recipe}")), *facts),
        _chooser("moments", text("Moment of the training"), moments, several),
        _chooser("examples", join([text("Example of the batch, "), *shown]), examples, True),
    )


def _when(one: Explained) -> str:
    parts = [] if one.seed is None else [f"seed {one.seed}"]
    parts.append(f"step {count(one.step)}" + ("" if one.steps is None else f" of 0..{count(one.steps - 1)}"))
    parts += [] if one.epoch is None else [f"epoch {one.epoch}"]
    parts.append(plural(len(one.inputs), "example", "examples"))
    parts += [] if one.learning_rate is None else [f"learning rate {figure(one.learning_rate)}"]
    return ", ".join(parts)


def _hidden(index: int) -> Mapping[str, str]:
    return {"hidden": ""} if index else {}


def _chooser(anchor: str, legend: Html, choices: Sequence[Html], wanted: bool) -> Html:
    kind = {"id": anchor, "class": "chooser scripted"} | ({} if wanted else {"hidden": ""})
    row = element("div", {"class": "choices"}, *choices)
    return element("fieldset", kind, element("legend", {}, legend), row)


def _choice(name: str, index: int, shown: Html, wanted: bool) -> Html:
    box = {"type": "radio", "name": name, "value": str(index)} | ({} if index else {"checked": ""})
    return element("label", {}, element("input", box), shown) if wanted else text("")


def _example(drawn: Plan, first: Numbers, index: int) -> Html:
    shape = drawn.first.image_shape
    most = max(drawn.moments, key=lambda one: len(one.inputs))
    row, aim = most.layers[0].x[index], _target_name(most, output_names(drawn), index)
    if shape is None:
        inputs = ", ".join(figure(float(value)) for value in row[:4]) + (", ..." if len(row) > 4 else "")
        return element("span", {"class": "row"}, text(f"{index + 1}: {inputs}{f' to {aim}' if aim else ''}"))
    words = f"example {index + 1}" + (f", {aim}" if aim else "")
    return element("img", {"src": data_uri(grey_png(grey(row, shape))), "alt": words, "title": words})


def _target_name(one: Explained, names: Sequence[str], index: int) -> str:
    targets = one.loss_arrays.targets
    if targets is None:
        return ""
    return names[int(targets[index].argmax())] if len(names) > 1 else figure(float(targets[index, 0]))


def _controls(drawn: Plan) -> Html:
    forward = len(drawn.first.layers) + 2
    slider = {"id": "scrubber", "type": "range", "min": "1", "max": str(drawn.operations), "value": "1", "step": "1"}
    return element(
        "div",
        {"id": "controls", "class": "scripted"},
        element("button", {"id": "previous", "type": "button", "aria-label": "Previous operation"}, text("Prev")),
        element("button", {"id": "next", "type": "button", "aria-label": "Next operation"}, text("Next")),
        element("button", {"id": "play", "type": "button", "aria-pressed": "false"}, text("Play")),
        element(
            "div",
            {"class": "track"},
            element("input", slider | {"aria-label": "Operation"}),
            element(
                "div",
                {
                    "class": "halves",
                    "aria-hidden": "true",
                    "style": f"grid-template-columns: {forward}fr {forward - 1}fr 2fr",
                },
                element("span", {}, text("forward \N{RIGHTWARDS ARROW}")),
                element("span", {}, text("\N{LEFTWARDS ARROW} gradient")),
                element("span", {}, text("update")),
            ),
        ),
        element("output", {"id": "place", "for": "scrubber"}),
    )


def _operation_section(drawn: Plan, first: Numbers, number: int) -> Html:
    one = drawn.first.operations[number]
    layers = len(drawn.first.layers)
    if one.place == "loss":
        rows = [moment.loss_arrays.targets for moment in drawn.moments]
        whole = all(row is not None and (row.max(axis=-1) == 1).all() for row in rows)
        known = loss_formulas(None, "cross_entropy" if "p" in first.arrays else "another", whole=whole)
        layer, filled = layers, _loss_lines(one, known, first)
    else:
        layer = number if one.stage == "forward" else 2 * layers + 1 - number
        known = layer_formulas(one.layer)
        filled = _layer_lines(one, known, drawn, first, layer)
    words = known.words[0 if one.stage == "forward" else 1]
    parts = [
        element("p", {"class": "words"}, text(words or "There is no formula here for a layer of this kind.")),
        _formulas(one.formulas),
        *([] if not filled else [_filled(drawn, layer, filled)]),
    ]
    if one.place == "loss":
        parts.append(_outputs_table(drawn, first, one))
    parts += [_facts_of(drawn, number)]
    if one.place != "loss" and one.stage == "backward" and drawn.first.layers[layer].dense is not None:
        parts.append(_unit_block(drawn, first, layer))
    title = f"{one.stage}: {one.layer.replace('_', ' ')}"
    return _section(drawn, number + 2, one.stage, layer + 1, title, *parts)


def _section(drawn: Plan, number: int, stage: str, column: int, title: str, *parts: Html) -> Html:
    kicker = f"operation {number} of {drawn.operations}"
    place = {"class": "operation", "id": f"operation-{number}", "data-pass": stage, "data-column": str(column)}
    heading = element("h2", {"tabindex": "-1"}, text(title))
    return element("section", place, element("p", {"class": "kicker"}, text(kicker)), heading, *parts)


def _input_section(drawn: Plan, first: Numbers) -> Html:
    shape, width = drawn.first.image_shape, drawn.groups[0].width
    words = (
        f"An image of {shape_in_words(shape)} pixels goes in as {count(width)} numbers, scaled as the network is given "
        "them: the lowest is drawn black, the highest white."
        if shape is not None
        else f"An example goes in as {plural(width, 'number', 'numbers')}."
    )
    row = first.arrays["x"][first.example]
    parts = [element("p", {"class": "words"}, text(words))]
    if shape is None and width <= CLASSES:
        cells = [
            [f"input {index + 1}", _data(first.at("x", first.example, index), f"at:x:{index}")]
            for index in range(width)
        ]
        parts.append(_table("The inputs", ["Input", "x"], cells))
    elif shape is not None:
        picture = {"src": data_uri(grey_png(grey(row, shape))), "alt": "The image of the example", "data-input": ""}
        parts.append(element("img", picture | {"class": "unscripted"}))
    aim = _target_name(drawn.first, output_names(drawn), 0)
    said = [text("Example "), _say("example", str(first.example + 1))]
    if aim:
        said += [text(". It is to become: "), _say("target", aim), text(".")]
    return _section(drawn, 1, "forward", 0, "The input", element("p", {}, *said), *parts)


def _filled(drawn: Plan, layer: int, lines: Sequence[Html]) -> Html:
    said = [text("Example "), _say("example", "1")]
    if layer < len(drawn.first.layers):
        group = drawn.group_of(layer)
        place = {"data-say": "unit", "data-group": str(group)}
        said += [text(", unit "), element("span", place, text(str(drawn.groups[group].strongest + 1)))]
    elif drawn.first.loss_arrays.targets is not None:
        said += [text(", "), _say("target", _target_name(drawn.first, output_names(drawn), 0))]
    items = [element("li", {}, line) for line in lines]
    return element(
        "div",
        {"class": "filled"},
        element("p", {"class": "kicker"}, *said),
        element("ul", {"class": "formulas"}, *items),
    )


def _layer_lines(one: Operation, known: Formulas, drawn: Plan, first: Numbers, layer: int) -> list[Html]:
    here = drawn.first.layers[layer]
    lines = known.forward_numbers if one.stage == "forward" else known.backward_numbers
    if "dense" in one.layer and here.dense is None:
        return []
    if here.dense is not None and here.dense.bias is None:
        lines = tuple(line.replace(" + {bias}", "") for line in lines if not line.startswith("db"))
    if layer == 0 or (one.gives is None) or not drawn.groups[drawn.group_of(layer) - 1].units:
        lines = tuple(line for line in lines if not line.startswith("dx"))

    def find(name: str) -> tuple[Found, str] | Html:
        if name in {"inputs", "deltas"}:
            return _terms(first, name, layer)
        return first.number(name, layer), f"number:{name}:{layer}"

    return [_fill(line, find) for line in lines]


def _loss_lines(one: Operation, known: Formulas, first: Numbers) -> list[Html]:
    lines = known.forward_numbers if one.stage == "forward" else known.backward_numbers
    return [_fill(line, lambda name: (first.outcome(name), f"outcome:{name}")) for line in lines]


def _fill(line: str, find: Callable[[str], tuple[Found, str] | Html]) -> Html:
    """Put numbers into a formula; one behind ``^`` is raised, one below zero behind a sign stands in brackets."""
    parts: list[Html] = []
    pieces = re.split(r"\{(\w+)\}", line)
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            parts.append(formula(piece.removesuffix("^").replace(" * ", f" {TIMES} ")))
            continue
        found, before = find(piece), pieces[index - 1]
        shown = found if isinstance(found, str) else _data(*found, signed=before.endswith(("+ ", "- ")))
        parts.append(element("sup", {}, shown) if before.endswith("^") else shown)
    return join(parts)


def _data(found: Found, find: str = "", *, signed: bool = False) -> Html:
    """Show a number, with what the script finds it by for another example; ``signed`` brackets what is below zero."""
    place = {"value": repr(found.value)} | ({"data-find": find} if find else {})
    place |= ({"data-of": found.of} if found.of else {}) | ({"data-signed": ""} if signed else {})
    words = figure(found.value)
    return element("data", place, text(f"({words})" if signed and found.value < 0 else words))


def _say(what: str, words: str) -> Html:
    return element("span", {"data-say": what}, text(words))


def _terms(first: Numbers, name: str, layer: int) -> Html:
    """Write a sum of products out, as the script does."""
    pairs, rest = first.terms(name, layer)
    parts: list[Html] = []
    for index, (one, other) in enumerate(pairs):
        parts += [text(" + " if index else ""), _data(one, signed=bool(index)), text(f" {TIMES} "), _data(other)]
    total = _total_terms(first, name, layer) - len(pairs)
    if total:
        parts += [text(" + "), _data(rest, signed=True), text(f" ({count(total)} more)")]
    return element("span", {"class": "terms", "data-terms": f"{name}:{layer}"}, *parts)


def _total_terms(first: Numbers, name: str, layer: int) -> int:
    return len(first.arrays[f"W{layer}"]) if name == "inputs" else first.arrays[f"d{layer}"].shape[1]


def _table(name: str, columns: Sequence[str], rows: Sequence[Sequence[str | Html]]) -> Html:
    head = element("tr", {}, *(element("th", {"scope": "col"}, text(column)) for column in columns))
    body = []
    for first, *rest in rows:
        cells = [element("td", {}, Html(str(cell))) for cell in rest]
        body.append(element("tr", {}, element("th", {"scope": "row"}, text(str(first))), *cells))
    inner = element("table", {}, element("thead", {}, head), element("tbody", {}, *body))
    return element("div", {"class": "scroll", "role": "region", "aria-label": name, "tabindex": "0"}, inner)


def _outputs_table(drawn: Plan, first: Numbers, one: Operation) -> Html:
    """List the outputs of the example, up to `CLASSES` of them."""
    last, rows = len(drawn.first.layers) - 1, []
    letters = [("Output z", f"y{last}"), ("Probability p", "p"), ("Target t", "t")]
    if one.stage == "backward":
        letters.append(("Gradient dz", f"d{last}"))
    letters = [(words, letter) for words, letter in letters if letter in first.arrays]
    for unit, name in list(enumerate(output_names(drawn)))[:CLASSES]:
        cells = [_data(first.at(letter, first.example, unit), f"at:{letter}:{unit}") for _, letter in letters]
        rows.append([name, *cells])
    return _table(f"Outputs, {one.stage}", ["", *(words for words, _ in letters)], rows)


def _facts_of(drawn: Plan, number: int) -> Html:
    """What an operation did to the whole batch, for each moment."""
    parts = []
    for index, moment in enumerate(drawn.moments):
        one = moment.operations[number]
        letters = ("x", "y") if one.stage == "forward" else ("dy", "dx")
        if one.place == "loss":
            letters = ("z", "l") if one.stage == "forward" else ("dl", "dz")
        ends = "not needed" if one.gives is None else shape_in_words(one.gives)
        facts = {
            f"{letters[0]} of the whole batch": shape_in_words(one.takes),
            letters[1]: ends,
            f"Norm of {letters[1]}": None if one.norm is None else figure(one.norm),
            **{f"Norm of d{g.name}": f"{figure(g.norm)} ({shape_in_words(g.shape)})" for g in one.gradients},
            "FLOPs": None if one.flops is None else count(one.flops),
            "Time": time_in_words(one.seconds),
        }
        if one.place == "loss" and one.stage == "forward":
            facts["Mean loss L"] = f"{figure(moment.loss)} nats"
        inner = [_facts({name: value for name, value in facts.items() if value is not None})]
        inner += [] if one.spread is None else [_histogram(letters[1], one.spread)]
        parts.append(element("div", {"class": "moment", "data-moment": str(index)} | _hidden(index), *inner))
    return element("details", {"open": ""}, element("summary", {}, text("The whole batch")), *parts)


def _histogram(letter: str, spread: Spread) -> Html:
    most, bars = max(int(spread.counts.max()), 1), len(spread.counts)
    width = _WIDTH / bars
    drawn = []
    for index, number in enumerate(spread.counts.tolist()):
        height = (_HEIGHT - 22) * number / most
        place = {"x": f"{index * width:.2f}", "y": f"{_HEIGHT - 18 - height:.2f}"}
        drawn.append(element("rect", place | {"width": f"{width - 1:.2f}", "height": f"{height:.2f}"}))
    low, high = figure(spread.low), figure(spread.high)
    ends = [
        element("text", {"x": "0", "y": str(_HEIGHT - 4)}, text(low)),
        element("text", {"x": str(_WIDTH), "y": str(_HEIGHT - 4), "text-anchor": "end"}, text(high)),
    ]
    words = f"Histogram of the numbers in {letter}, from {low} to {high}; the highest bar stands for {most}"
    place = {"class": "histogram", "viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img", "aria-label": words}
    caption = element(
        "figcaption", {}, text(f"How many numbers of {letter} lie where; the highest bar is {count(most)}.")
    )
    return element("figure", {}, element("svg", place, *drawn, *ends), caption)


def _unit_panel() -> Html:
    chooser = element(
        "p",
        {},
        element("label", {"for": "unit"}, text("Unit ")),
        element("select", {"id": "unit"}),
        element("label", {"for": "weight"}, text(" its weight number ")),
        element("input", {"id": "weight", "type": "number", "min": "1", "value": "1"}),
    )
    return element("div", {"id": "units", **_ONLY_SCRIPT}, chooser)


PICTURES = {
    "w": "Weights that lead in, before",
    "share": "Their gradient, this example",
    "gradient": "Their gradient, whole batch",
    "step": "The step of the update",
    "after": "Weights after the update",
}


def _unit_block(drawn: Plan, first: Numbers, layer: int) -> Html:
    """What there is to see of a unit: its numbers, pictures of its weights, the chain rule of one of them, the update."""
    group = drawn.groups[drawn.group_of(layer)]
    names = {index: drawn.first.layers[index].layer.partition("(")[0].replace("_", " ") for index in group.layers}
    facts = {
        f"Output of {names[layer]}": _data(first.number("y", layer), f"number:y:{layer}"),
        "Its delta": _data(first.number("dy", layer), f"number:dy:{layer}"),
    }
    if group.layers[-1] != layer:
        last = group.layers[-1]
        facts |= {
            f"Output of {names[last]}": _data(first.number("y", last), f"number:y:{last}"),
            "Its delta ": _data(first.number("dy", last), f"number:dy:{last}"),
        }
    pictures = [_weight_picture(drawn, first, layer, kind, words) for kind, words in PICTURES.items()]
    heading = element(
        "h3",
        {"class": "unscripted"},
        text("Unit "),
        _unit_number(drawn, layer),
        text(f" of {drawn.first.layers[layer].layer}"),
    )
    place = {"class": "unit-block", "data-layer": str(layer), "data-group": str(drawn.group_of(layer))}
    return element(
        "article",
        place,
        heading,
        element("div", {"class": "said"}, _facts(facts)),
        element("div", {"class": "pictures"}, *pictures),
        element("div", {"class": "factors"}, *_chain(drawn, first, layer)),
    )


def _unit_number(drawn: Plan, layer: int) -> Html:
    group = drawn.group_of(layer)
    return element("span", {"data-say": "unit", "data-group": str(group)}, text(str(drawn.groups[group].strongest + 1)))


def _weight_picture(drawn: Plan, first: Numbers, layer: int, kind: str, words: str) -> Html:
    column = first.column(drawn.group_of(layer))
    before = first.arrays[f"y{layer - 1}" if layer else "x"][first.example]
    w, g, a = (first.arrays[f"{letter}{layer}"][:, column] for letter in "WGA")
    values = {"w": w, "share": before * first.number("dy", layer).value, "gradient": g, "step": a - w, "after": a}[kind]
    shape = drawn.first.image_shape if layer == 0 else None
    rows, columns = grid(len(values), shape)
    place = {"src": signed_picture(values, shape), "alt": words, "data-picture": kind, "width": str(columns)}
    limit = Found(float(abs(values).max()), "")
    return element(
        "figure",
        {},
        element(
            "div",
            {"class": "frame"},
            element("img", place | {"height": str(rows)}),
            element("i", {"class": "mark scripted", "aria-hidden": "true"}),
        ),
        element("figcaption", {}, text(f"{words}; strongest colour: "), _data(limit, f"largest:{kind}:{layer}")),
    )


def _chain(drawn: Plan, first: Numbers, layer: int) -> list[Html]:
    """The gradient of one weight as a product of factors, with their numbers; then the batch's; then the update."""
    parts: list[Html] = []
    product, tail = 1.0, None
    for index, (kind, of) in enumerate(first.factors(layer)):
        found = first.factor(kind, of, layer)
        product *= found.value
        if index:
            parts.append(element("span", {"class": "sign"}, text(TIMES)))
        parts.append(_factor(_data(found, f"factor:{kind}:{of}:{layer}"), _factor_words(drawn, layer, kind, of)))
        tail = (kind, of)
    parts += [
        element("span", {"class": "sign"}, text("=")),
        _factor(_data(Found(product, ""), f"product:{layer}"), [text("gradient of this weight, this example")]),
    ]
    row = first.weight(layer)
    found = [
        element(
            "h4",
            {},
            text("The chain rule, for its weight from "),
            element("span", {"data-say": "source", "data-layer": str(layer)}, text(_source(drawn, layer, row))),
        ),
        element("div", {"class": "chain"}, *parts),
    ]
    if tail is not None and tail[0] == "deltas":
        found.append(
            element(
                "p",
                {"class": "sum"},
                text("What comes back: "),
                _terms(first, "deltas", tail[1]),
                text(" = "),
                _data(first.factor(*tail, layer), f"factor:deltas:{tail[1]}:{layer}"),
            )
        )
    others = len(drawn.first.inputs) - 1
    batch = "Whole batch: this example {share} + the other " + plural(others, "one", "ones") + " {others} = {gradient}"
    update = "Update: {w} + {step} = {after}"
    if tuple(drawn.first.update_formulas) == ("w <- w - r g",) and drawn.first.learning_rate is not None:
        update = f"Update: {{w}} - {{rate}} * {{gradient}} = {{after}}"

    def find(name: str) -> tuple[Found, str]:
        if name == "rate":
            return first.outcome("rate"), "outcome:rate"
        return first.number(name, layer), f"number:{name}:{layer}"

    return [
        *found,
        element("p", {"class": "sum"}, _fill(batch, find)),
        element("p", {"class": "sum"}, _fill(update, find)),
    ]


def _factor(number: Html, words: Sequence[Html]) -> Html:
    return element("div", {"class": "factor"}, element("b", {}, number), element("span", {}, *words))


def _factor_words(drawn: Plan, layer: int, kind: str, of: int) -> list[Html]:
    if kind == "x_i":
        return [text("what the weight is given: its input")]
    if kind == "slope":
        return [text(f"slope of {drawn.first.layers[of].layer.partition('(')[0].replace('_', ' ')} at this unit")]
    if kind == "deltas":
        return [text(f"what comes back from {drawn.first.layers[of].layer}: weights times deltas")]
    if kind == "loss":
        return [
            text(
                "derivative of the loss by this output"
                + (": (p - t) / B".replace("-", MINUS) if drawn.first.loss_arrays.probabilities is not None else "")
            )
        ]
    return [text(f"what comes back through {drawn.first.layers[of].layer.replace('_', ' ')}")]


def _source(drawn: Plan, layer: int, row: int) -> str:
    shape = drawn.first.image_shape
    if layer == 0 and shape is not None:
        return f"the pixel in row {row // shape[1] + 1}, column {row % shape[1] + 1}"
    return f"{'input' if layer == 0 else 'unit'} {row + 1}" + ("" if layer == 0 else " of the layer before")


def _update_section(drawn: Plan, first: Numbers) -> Html:
    layer = next((index for index, one in enumerate(drawn.first.layers) if one.dense is not None), None)
    parts = [element("p", {"class": "words"}, text("Each weight takes a step against its gradient. This is what the optimiser computes.")),
             _formulas(drawn.first.update_formulas)]  # fmt: skip
    if layer is not None:
        line = "w = {w}, gradient {gradient}, step {step}, then w = {after}"

        def find(name: str) -> tuple[Found, str]:
            return first.number(name, layer), f"number:{name}:*"

        kicker = [text("Unit "), _say("current-unit", str(first.units[drawn.group_of(layer)] + 1)), text(" of "),
                  _say("current-layer", drawn.first.layers[layer].layer), text(", its weight from "),
                  _say("current-source", _source(drawn, layer, first.weight(layer)))]  # fmt: skip
        filled = element("ul", {"class": "formulas"}, element("li", {}, _fill(line, find)))
        parts.append(element("div", {"class": "filled"}, element("p", {"class": "kicker"}, *kicker), filled))
    columns = ["Parameters w", "Shape", "Norm of g", "Norm of the step", "Norm of w", "Step / w"]
    for index, moment in enumerate(drawn.moments):
        rows = [
            [one.path, shape_in_words(one.shape), figure(one.gradient), figure(one.step), figure(one.parameters),
             figure(one.step / one.parameters) if one.parameters else "-"]
            for one in moment.updates
        ]  # fmt: skip
        facts = {"Time": time_in_words(moment.update_seconds)}
        if moment.learning_rate is not None:
            facts = {"Learning rate r": figure(moment.learning_rate)} | facts
        inner = [table("Every array of parameters", columns, rows), _facts(facts)]
        parts.append(element("div", {"class": "moment", "data-moment": str(index)} | _hidden(index), *inner))
    return _section(drawn, drawn.operations - 1, "update", -1, "update: the optimiser", *parts)


def _after_section(drawn: Plan, first: Numbers) -> Html:
    parts = []
    for index, one in enumerate(drawn.moments):
        change = one.loss_after - one.loss
        verdict = "fell" if change < 0 else "rose" if change > 0 else "stayed the same"
        facts = {
            "Mean loss before": f"{figure(one.loss)} nats",
            "Mean loss after": f"{figure(one.loss_after)} nats",
            "Right before the update": None if one.accuracy is None else percent(one.accuracy, digits=1),
            "Whole step": time_in_words(one.seconds),
            "FLOPs of the layers": count(one.flops),
            "Work": f"{one.flops / one.seconds / 1e9:.1f} GFLOP/s",
        }
        words = (
            f"The loss of the same batch {verdict}, by {figure(abs(change))} nats; what was dropped is dropped again."
        )
        inner = [
            element("p", {"class": "words"}, text(words)),
            _facts({k: v for k, v in facts.items() if v is not None}),
        ]
        parts.append(element("div", {"class": "moment", "data-moment": str(index)} | _hidden(index), *inner))
    return _section(
        drawn, drawn.operations, "after", len(drawn.first.layers) + 1, "after: the same batch once more", *parts
    )


def _legend(drawn: Plan) -> Html:
    def sample(kind: str, *children: Html) -> Html:
        return element("svg", {"class": "sample", "viewBox": "0 0 28 20", "aria-hidden": "true"}, *children)

    def circle(kind: str, radius: str, **more: str) -> Html:
        return element("circle", {"class": kind, "cx": "14", "cy": "10", "r": radius} | more)

    def line(kind: str) -> Html:
        return element("line", {"class": kind, "x1": "2", "y1": "10", "x2": "26", "y2": "10", "stroke-width": "3"})

    ground = circle("ground", "8")
    items = [
        (sample("", element("rect", {"class": "blot below", "width": "13", "height": "16", "y": "2"}), element("rect", {"class": "blot above", "x": "15", "width": "13", "height": "16", "y": "2"})),
         "Orange is below zero, blue above; the paler, the nearer to zero. Every column, picture and set of lines has a scale of its own."),
        (sample("", ground, circle("fill above", "5")), "A circle is a unit. Its filling is its number on the way forward."),
        (sample("", ground, circle("ring below", "8")), "The ring around a unit is its delta: the derivative of the loss by that number. It appears on the way back."),
        (sample("", element("g", {"class": "edges"}, line("above"))),
         "A line is a weight, coloured and as thick as it is large. Once the gradient has passed, it is the gradient of that weight for this example."),
        (sample("", element("rect", {"class": "band lit", "width": "24", "height": "18", "x": "2", "y": "1", "rx": "4"})), "The shaded column is the operation at work; its lines move in the direction of the numbers."),
        (sample("", ground, circle("chosen", "8")), "The unit with the dark ring is the chosen one."),
    ]  # fmt: skip
    wide = [
        group
        for group in drawn.groups
        if len(group.units) < group.width and (group.layers or drawn.first.image_shape is None)
    ]
    if wide:
        items.append((sample("", element("rect", {"class": "band lit", "width": "28", "height": "6", "y": "7"})),
                      f"Of a wide layer, {len(wide[0].units)} units are drawn (on a phone 6): those with the largest activation times delta. "
                      "The strip at the foot of the column has all of them, in order."))  # fmt: skip
    if drawn.first.image_shape is not None:
        items.append((sample("", element("rect", {"class": "track", "width": "16", "height": "16", "x": "6", "y": "2"})),
                      "The small pictures are the weights that lead from the image to a unit, then their gradient, last their step. Each line from the image stands for one weight per pixel."))  # fmt: skip
    items.append((sample("", element("rect", {"class": "track", "width": "28", "height": "6", "y": "7"}), element("rect", {"class": "bar", "width": "17", "height": "6", "y": "7"})),
                  "At the right end: the probability of each class, or each output, the target underlined, and the loss of this example."))  # fmt: skip
    rows = [element("li", {}, picture, element("span", {}, text(words))) for picture, words in items]
    keys = ("Keys: arrow left and right for operations, Home and End for the first and last, space to play. On a touch screen: "
            "swipe over the drawing. Choose a unit by clicking it, a weight by clicking into a picture of weights, where a square marks it. "
            "Numbers have four digits; point at one for all of them. The address of the page always leads back to what is shown.")  # fmt: skip
    names = ("x: what goes into a layer; y: what comes out. d before a name: the derivative of the mean loss by it. W, w: weights; "
             "b: bias; z: the network's outputs; p: probabilities; t: targets; B: number of examples; g: gradient; r: learning rate. "
             "Examples, units, weights and operations are counted from 1, steps of the training from 0.")  # fmt: skip
    return element(
        "section",
        {"id": "legend", "aria-labelledby": "legend-heading"},
        element("h2", {"id": "legend-heading"}, text("What is shown")),
        element("ul", {}, *rows),
        element("p", {}, text(names)),
        element("p", _ONLY_SCRIPT, text(keys)),
    )


def _facts(pairs: Mapping[str, str | Html]) -> Html:
    return element(
        "dl",
        {},
        *(
            element(
                "div",
                {},
                element("dt", {}, text(name)),
                element("dd", {}, Html(value) if value.startswith("<data") else text(value)),
            )
            for name, value in pairs.items()
        ),
    )


def _formulas(lines: Sequence[str]) -> Html:
    if not lines:
        return text("")
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
