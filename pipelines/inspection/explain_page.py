"""The page of training steps: the network drawn whole, and each operation with the numbers of an example in it.

Without a script it is read from top to bottom, for the first example. With it, one operation is shown at a time,
and the example, the unit and the moment can be chosen; each view has its address behind the ``#``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pipelines.disk.json_text import json_text
from pipelines.disk.ownership import write_output
from pipelines.inspection.equations import Formulas, layer_formulas, loss_formulas
from pipelines.inspection.explain import Explained, Operation, Spread
from pipelines.inspection.explain_drawing import NARROW, WIDE, drawing, grey, output_names
from pipelines.inspection.explain_filled import data, facts, fill, formula, say, terms
from pipelines.inspection.explain_legend import legend
from pipelines.inspection.explain_numbers import CLASSES, Found, Numbers, Plan, figure, numbers, page_data, plan
from pipelines.inspection.explain_unit import pixel, source, unit_block, unit_number
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
        UsageProblem: The file is not to be written, see `pipelines.disk.ownership.check_output`.
        WorkFailed: The file cannot be written.
        ValueError: The sequence is empty, or they are steps of different networks.
    """
    write_output(path, explain_page(found).encode())


def explain_page(found: Explained | Sequence[Explained]) -> str:
    """Compose the page of one step, or of several steps of one training.

    Args:
        found: The step, or the steps in their order, from `pipelines.inspection.explain.explain_step`.

    Returns:
        One HTML document that fetches nothing.

    Raises:
        ValueError: The sequence is empty, or they are steps of different networks.
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
        element("div", {"id": "panels"}, element("div", {"id": "operations"}, *sections), _unit_panel(), legend(drawn)),
    )
    here = resources.files("pipelines.inspection")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("explain.css", "explain.js"))
    kept = json_text(page_data(drawn))
    return page_document(f"A step of {drawn.first.recipe}", style, script, body, data=kept)


def _top(drawn: Plan, first: Numbers) -> Html:
    several = len(drawn.moments) > 1
    moments = [
        _choice("moment", index, element("span", {}, text(f"step {count(one.step)}")), several)
        for index, one in enumerate(drawn.moments)
    ]
    when = [element("p", {"class": "when", "data-moment": str(i)} | _hidden(i), text(_when(one)))
             for i, one in enumerate(drawn.moments)]  # fmt: skip
    examples = [_choice("example", index, _example(drawn, first, index), True) for index in range(drawn.examples)]
    shown = [
        element(
            "span",
            {"data-moment": str(i)} | _hidden(i),
            text(f"{min(drawn.examples, len(one.inputs))} of {len(one.inputs)}"),
        )
        for i, one in enumerate(drawn.moments)
    ]
    return element(
        "header",
        {},
        element("div", {}, element("h1", {}, text(f"One training step of {drawn.first.recipe}")), *when),
        _chooser("moments", text("Moment of the training"), moments, several),
        _chooser("examples", join([text("Example of the batch, "), *shown]), examples, True),
    )


def _when(one: Explained) -> str:
    parts = [] if one.seed is None else [f"seed {one.seed}"]
    parts.append(f"step {count(one.step)}" + ("" if one.steps is None else f" of 0 to {count(one.steps - 1)}"))
    parts += [] if one.epoch is None else [f"epoch {one.epoch}"]
    parts.append(plural(len(one.inputs), "example", "examples"))
    parts += [] if one.learning_rate is None else [f"learning rate {figure(one.learning_rate)}"]
    return ", ".join(parts)


def _hidden(index: int) -> dict[str, str]:
    return {"hidden": ""} if index else {}


def _chooser(anchor: str, title: Html, choices: Sequence[Html], wanted: bool) -> Html:
    kind = {"id": anchor, "class": "chooser scripted"} | ({} if wanted else {"hidden": ""})
    row = element("div", {"class": "choices"}, *choices)
    return element("fieldset", kind, element("legend", {}, title), row)


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
        _formulas(one.formulas),
        *([] if not filled else [_filled(drawn, layer, filled)]),
        element("p", {"class": "words"}, text(words or "A formula for a layer of this kind is not known here.")),
    ]
    if one.place == "loss":
        parts.append(_outputs_table(drawn, first, one))
    parts += [_facts_of(drawn, number)]
    if one.place != "loss" and one.stage == "backward" and drawn.first.layers[layer].dense is not None:
        parts.append(unit_block(drawn, first, layer))
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
            (f"input {index + 1}", [data(first.at("x", first.example, index), f"at:x:{index}")])
            for index in range(width)
        ]
        parts.append(_table("The inputs", ["Input", "x"], cells))
    elif shape is not None:
        picture = {"src": data_uri(grey_png(grey(row, shape))), "alt": "The image of the example", "data-input": ""}
        parts.append(element("img", picture | {"class": "unscripted"}))
    aim = _target_name(drawn.first, output_names(drawn), 0)
    said = [text("Example "), say("example", str(first.example + 1))]
    if aim:
        said += [text(". It is to become: "), say("target", aim), text(".")]
    return _section(drawn, 1, "forward", 0, "The input", element("p", {}, *said), *parts)


def _filled(drawn: Plan, layer: int, lines: Sequence[Html]) -> Html:
    said = [text("Example "), say("example", "1")]
    if layer < len(drawn.first.layers):
        maps = drawn.maps[layer]
        said += (
            [text(", unit "), unit_number(drawn, drawn.group_of(layer))]
            if maps is None
            else [text(", "), pixel(drawn, layer, maps)]
        )
    elif drawn.first.loss_arrays.targets is not None:
        said += [text(", "), say("target", _target_name(drawn.first, output_names(drawn), 0))]
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
    if one.gives is None or (here.dense is not None and not drawn.groups[drawn.group_of(layer) - 1].units):
        lines = tuple(line for line in lines if not line.startswith("dx"))

    def find(name: str) -> tuple[Found, str] | Html:
        if name in {"inputs", "deltas"}:
            return terms(first, name, layer)
        if name == "unit_before":
            return unit_number(drawn, drawn.group_of(layer) - 1)
        return first.number(name, layer), f"number:{name}:{layer}"

    return [fill(line, find) for line in lines]


def _loss_lines(one: Operation, known: Formulas, first: Numbers) -> list[Html]:
    lines = known.forward_numbers if one.stage == "forward" else known.backward_numbers
    return [fill(line, lambda name: (first.outcome(name), f"outcome:{name}")) for line in lines]


def _table(name: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Html]]]) -> Html:
    head = element("tr", {}, *(element("th", {"scope": "col"}, text(column)) for column in columns))
    body = [
        element("tr", {}, element("th", {"scope": "row"}, text(first)), *(element("td", {}, cell) for cell in rest))
        for first, rest in rows
    ]
    inner = element("table", {}, element("thead", {}, head), element("tbody", {}, *body))
    return element("div", {"class": "scroll", "role": "region", "aria-label": name, "tabindex": "0"}, inner)


def _outputs_table(drawn: Plan, first: Numbers, one: Operation) -> Html:
    """List the outputs of the example, up to `CLASSES` of them."""
    last, rows = len(drawn.first.layers) - 1, []
    letters = [("Value z", f"y{last}"), ("Probability p", "p"), ("Target t", "t")]
    if one.stage == "backward":
        letters.append(("Gradient dz", f"d{last}"))
    letters = [(words, letter) for words, letter in letters if letter in first.arrays]
    for unit, name in list(enumerate(output_names(drawn)))[:CLASSES]:
        cells = [data(first.at(letter, first.example, unit), f"at:{letter}:{unit}") for _, letter in letters]
        rows.append((name, cells))
    return _table(f"Outputs, {one.stage}", ["Output", *(words for words, _ in letters)], rows)


def _facts_of(drawn: Plan, number: int) -> Html:
    """What an operation did to the whole batch, for each moment."""
    parts = []
    for index, moment in enumerate(drawn.moments):
        one = moment.operations[number]
        letters = ("x", "y") if one.stage == "forward" else ("dy", "dx")
        if one.place == "loss":
            letters = ("z", "l") if one.stage == "forward" else ("dl", "dz")
        ends = "not needed" if one.gives is None else shape_in_words(one.gives)
        told = {
            f"{letters[0]} of the whole batch": shape_in_words(one.takes),
            letters[1]: ends,
            f"Norm of {letters[1]}": None if one.norm is None else figure(one.norm),
            **{f"Norm of d{g.name}": f"{figure(g.norm)} ({shape_in_words(g.shape)})" for g in one.gradients},
            "FLOPs": None if one.flops is None else count(one.flops),
            "Time": time_in_words(one.seconds),
        }
        if one.place == "loss" and one.stage == "forward":
            told["Mean loss L"] = f"{figure(moment.loss)} nats"
        inner = [facts({name: text(value) for name, value in told.items() if value is not None})]
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


def _update_section(drawn: Plan, first: Numbers) -> Html:
    layer = next((index for index, one in enumerate(drawn.first.layers) if one.dense is not None), None)
    words = "Each weight takes a step against its gradient. This is what the optimiser computes."
    parts = [element("p", {"class": "words"}, text(words)), _formulas(drawn.first.update_formulas)]
    if layer is not None:
        line = "w = {w}, gradient {gradient}, step {step}, then w = {after}"

        def find(name: str) -> tuple[Found, str]:
            return first.number(name, layer), f"number:{name}:*"

        kicker = [text("Unit "), say("current-unit", str(first.units[drawn.group_of(layer)] + 1)), text(" of "),
                  say("current-layer", drawn.first.layers[layer].layer), text(", its weight from "),
                  say("current-source", source(drawn, layer, first.weight(layer)))]  # fmt: skip
        filled = element("ul", {"class": "formulas"}, element("li", {}, fill(line, find)))
        parts.append(element("div", {"class": "filled"}, element("p", {"class": "kicker"}, *kicker), filled))
    columns = ["Parameters w", "Shape", "Norm of g", "Norm of the step", "Norm of w", "Step / w"]
    for index, moment in enumerate(drawn.moments):
        rows = [
            [one.path, shape_in_words(one.shape), figure(one.gradient), figure(one.step), figure(one.parameters),
             figure(one.step / one.parameters) if one.parameters else "-"]
            for one in moment.updates
        ]  # fmt: skip
        told = {"Time": time_in_words(moment.update_seconds)}
        if moment.learning_rate is not None:
            told = {"Learning rate r": figure(moment.learning_rate)} | told
        inner = [
            table("Every array of parameters", columns, rows),
            facts({name: text(value) for name, value in told.items()}),
        ]
        parts.append(element("div", {"class": "moment", "data-moment": str(index)} | _hidden(index), *inner))
    return _section(drawn, drawn.operations - 1, "update", -1, "update: the optimiser", *parts)


def _after_section(drawn: Plan, first: Numbers) -> Html:
    parts = []
    for index, one in enumerate(drawn.moments):
        change = one.loss_after - one.loss
        verdict = "fell" if change < 0 else "rose" if change > 0 else "stayed the same"
        told = {
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
            facts({name: text(value) for name, value in told.items() if value is not None}),
        ]
        parts.append(element("div", {"class": "moment", "data-moment": str(index)} | _hidden(index), *inner))
    return _section(
        drawn, drawn.operations, "after", len(drawn.first.layers) + 1, "after: the same batch once more", *parts
    )


def _formulas(lines: Sequence[str]) -> Html:
    if not lines:
        return text("")
    return element("ul", {"class": "formulas"}, *(element("li", {}, formula(line)) for line in lines))
