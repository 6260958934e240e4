"""The drawing of a network in the page of a step: every layer a column, from the input to the loss.

It is drawn once, with the first example's numbers; the page's script then changes colours and widths alone. There is
one drawing for wide screens and one for narrow ones, with fewer units.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray
from pipelines.inspection.explain_numbers import CLASSES, Group, Maps, Numbers, Plan, figure
from pipelines.report.drawing.bitmaps import data_uri, diverging_png, grey_png
from pipelines.report.drawing.markup import Html, element, text
from pipelines.report.drawing.wording import plural, shape_in_words


@attrs.frozen
class Size:
    """Measures of a drawing."""

    name: str
    width: float
    height: float
    ends: float
    """Width of the columns of the input and of the loss."""
    units: int
    """At most so many units in a column."""
    radius: float
    font: float


WIDE = Size("wide", 1600, 420, 260, 12, 11, 19)
NARROW = Size("narrow", 390, 250, 66, 6, 8, 9.5)
_TOP, _FOOT = 1.9, 2.3
"""Room above and below the units, in heights of a letter."""
LABELLED = 6
"""Where no layer has more units, their numbers stand below them."""


def drawing(drawn: Plan, found: Numbers, size: Size) -> Html:
    """Draw the network.

    Args:
        drawn: The plan.
        found: Numbers of the example that is drawn first.
        size: Measures.

    Returns:
        An ``svg`` element. Its parts carry what they stand for: ``data-column``, ``data-layer``, ``data-unit``.
    """
    one, columns = drawn.first, len(drawn.first.layers) + 2
    circles = {drawn.group_of(layer) for layer, of in enumerate(drawn.maps) if of is None}
    most = max((len(_shown(drawn.groups[number], size)) for number in circles), default=1)
    room = size.height - (_TOP + _FOOT) * size.font
    # Where there is room, units are larger, up to two and a half times.
    radius = float(np.clip(0.3 * room / max(most, 1), size.radius, 2.5 * size.radius))
    size = attrs.evolve(size, radius=min(radius, 0.4 * _width(size, 1, columns)))
    names = ["image" if one.image_shape else "input", *(layer.layer for layer in one.layers), "loss"]
    parts = [
        element(
            "rect",
            {
                "class": "band",
                "data-column": str(column),
                "x": f"{_left(size, column, columns):.1f}",
                "y": "1",
                "width": f"{_width(size, column, columns):.1f}",
                "height": f"{size.height - 2:.1f}",
                "rx": "8",
            },
        )
        for column in range(columns)
    ]
    parts += [_edges(drawn, found, size, layer) for layer in range(len(one.layers))]
    parts += [_outcome_edges(drawn, size)]
    parts += _headings(size, names)
    parts.append(_input(drawn, found, size))
    for layer in range(len(one.layers)):
        parts += _units(drawn, found, size, layer)
    parts.append(_loss(drawn, found, size))
    words = f"The network: {', '.join(names)}. Units can be chosen with a pointer here, or from the list below."
    view = {"class": f"network {size.name}", "viewBox": f"0 0 {size.width:g} {size.height:g}"}
    return element("svg", view | {"role": "img", "aria-label": words, "font-size": f"{size.font:g}"}, *parts)


def colour(value: float, limit: float) -> dict[str, str]:
    """Colour a number: by its sign, as strong as it is large.

    Args:
        value: Any; what is not finite has no colour.
        limit: The size that is drawn strongest.

    Returns:
        Attributes: a class, and how opaque.

    Example:
        >>> colour(-1.0, 2.0)
        {'class': 'below', 'opacity': '0.50'}
    """
    strength = min(abs(value) / limit, 1.0) if np.isfinite(value) and 0 < limit < np.inf else 0.0
    return {"class": "below" if value < 0 else "above", "opacity": f"{strength:.2f}"}


def _width(size: Size, column: int, columns: int) -> float:
    if column in {0, columns - 1}:
        return size.ends
    return (size.width - 2 * size.ends) / (columns - 2)


def _left(size: Size, column: int, columns: int) -> float:
    return 0.0 if column == 0 else size.ends + (column - 1) * _width(size, 1, columns) if columns > 2 else size.ends


def _middle(size: Size, column: int, columns: int) -> float:
    return _left(size, column, columns) + _width(size, column, columns) / 2


def _shown(group: Group, size: Size) -> tuple[int, ...]:
    """Units of a group that a drawing has room for, the strongest among them."""
    if len(group.units) <= size.units:
        return group.units
    kept = [unit for unit in group.units if unit != group.strongest][: size.units - 1]
    return tuple(sorted([*kept, group.strongest]))


def _places(group: Group, size: Size) -> dict[int, float]:
    """Height of each unit shown."""
    shown = _shown(group, size)
    room = size.height - (_TOP + _FOOT) * size.font
    pitch = min(room / max(len(shown), 1), 5.5 * size.radius)
    start = _TOP * size.font + (room - pitch * len(shown)) / 2 + pitch / 2
    return {unit: start + pitch * index for index, unit in enumerate(shown)}


_LETTER = 0.56
"""Mean width of a letter, in heights."""
_LEAST = 0.58
"""Words are written smaller where a column is narrow, down to this share; what does not fit then is crowded out."""


def _headings(size: Size, names: list[str]) -> list[Html]:
    """Name the columns: on a line each, or on two in smaller letters.

    Where even these do not fit, a column is named while its operation is at work.
    """
    columns = len(names)
    plain = [name.replace("_", " ") for name in names]
    inner, room = range(1, columns - 1), _width(size, 1, columns) - 4
    font, two = size.font, False
    if any(len(plain[column]) * font * _LETTER > room for column in inner):
        longest = max(len(part) for column in inner for part in plain[column].partition("("))
        two, (font, crowded) = True, _fitted(longest + 1, room, size)
        if crowded:
            font, two = size.font, False
    parts = []
    for column, name in enumerate(plain):
        x, place = _middle(size, column, columns), {"text-anchor": "middle", "data-heading": str(column)}
        if column not in inner or not two:
            if column in inner and len(name) * font * _LETTER > room:
                edge = len(name) * font * _LETTER / 2 + 4
                x, place = float(np.clip(x, edge, max(size.width - edge, edge))), place | {"class": "crowded"}
            parts.append(element("text", place | {"x": f"{x:.1f}", "y": f"{1.15 * size.font:.1f}"}, text(name)))
            continue
        first, bracket, rest = name.partition("(")
        lines = [first, bracket + rest] if rest else [first]
        spans = [
            element("tspan", {"x": f"{x:.1f}", "y": f"{(1.15 + 1.1 * number) * font:.1f}"}, text(line))
            for number, line in enumerate(lines)
        ]
        parts.append(element("text", place | {"font-size": f"{font:.1f}"}, *spans))
    return parts


def _fitted(letters: int, room: float, size: Size) -> tuple[float, bool]:
    """The height of letters with which words fit, and whether they do not at any that can be read."""
    font = min(size.font, room / (letters * _LETTER))
    return font, font < _LEAST * size.font


def _lines(
    pairs: Iterator[tuple[int, int, float, float, float, float, float]], limit: float, layer: int, kind: str = "edges"
) -> Html:
    drawn = []
    for i, j, x1, y1, x2, y2, value in pairs:
        shade = colour(value, limit)
        strength = float(shade["opacity"])
        drawn.append(
            element(
                "line",
                {
                    "class": shade["class"],
                    "data-i": str(i),
                    "data-j": str(j),
                    "x1": f"{x1:.1f}",
                    "y1": f"{y1:.1f}",
                    "x2": f"{x2:.1f}",
                    "y2": f"{y2:.1f}",
                    "stroke-width": f"{0.4 + 2.6 * strength:.2f}",
                    "stroke-opacity": f"{0.12 + 0.88 * strength:.2f}",
                },
            )
        )
    return element("g", {"class": kind, "data-layer": str(layer)}, *drawn)


def _edges(drawn: Plan, found: Numbers, size: Size, layer: int) -> Html:
    columns, number = len(drawn.first.layers) + 2, drawn.group_of(layer)
    group = drawn.groups[number]
    dense = drawn.first.layers[layer].dense
    if drawn.maps[layer] is not None or (layer and drawn.maps[layer - 1] is not None):
        return _lines(_map_edges(drawn, size, layer), 0.0, layer, "edges plain")
    x1, x2 = _middle(size, layer, columns) + size.radius, _middle(size, layer + 1, columns) - size.radius
    targets = _places(group, size)
    before = drawn.groups[number - 1] if number and layer == group.layers[0] else group

    def pairs() -> Iterator[tuple[int, int, float, float, float, float, float]]:
        if dense is not None and not before.units:
            edge, image = _image_box(size)[0] + _image_box(size)[2], _picture(size, group)
            for unit, y in targets.items():
                yield -1, unit, edge, size.height / 2, x2 - image - 4, y, 0.0
        elif dense is not None:
            for source, y1 in _places(before, size).items():
                for unit, y2 in targets.items():
                    weight = found.arrays[f"W{layer}"][source, group.units.index(unit)]
                    yield source, unit, x1, y1, x2, y2, float(weight)
        elif layer == 0 and drawn.first.image_shape is not None:
            for unit, y in targets.items():
                yield unit, unit, _image_box(size)[0] + _image_box(size)[2], size.height / 2, x2, y, 0.0
        elif before is group:
            for unit, y in targets.items():
                yield unit, unit, x1, y, x2, y, 0.0

    limit = 0.0 if dense is None else float(np.nan_to_num(np.abs(found.arrays[f"W{layer}"])).max())
    return _lines(pairs(), limit, layer)


def _map_edges(drawn: Plan, size: Size, layer: int) -> Iterator[tuple[int, int, float, float, float, float, float]]:
    """Lines to and from pictures of channels: they say what is made of what, and carry no number."""
    columns, group = len(drawn.first.layers) + 2, drawn.groups[drawn.group_of(layer)]
    here, before = drawn.maps[layer], drawn.maps[layer - 1] if layer else None
    x1, x2 = _middle(size, layer, columns), _middle(size, layer + 1, columns)
    ends = _map_places(size, here) if here else _places(group, size)
    x2 -= _map_side(size, here, columns) / 2 if here else size.radius
    if before is not None:
        starts, x1 = _map_places(size, before), x1 + _map_side(size, before, columns) / 2
    elif layer == 0 and drawn.first.image_shape is not None:
        starts, x1 = {-1: size.height / 2}, _image_box(size)[0] + _image_box(size)[2]
    else:
        starts, x1 = _places(drawn.groups[drawn.group_of(layer - 1) if layer else 0], size), x1 + size.radius
    for j, y2 in ends.items():
        for i, y1 in starts.items():
            own = i == (j if here is not None else j % before.shape[2]) if before is not None else True
            if own or (here is not None and here.fresh):
                yield i, j, x1, y1, x2, y2, 0.0


def _map_places(size: Size, maps: Maps) -> dict[int, float]:
    """Height of the middle of each channel's picture."""
    room = size.height - (_TOP + _FOOT) * size.font
    pitch = room / len(maps.channels)
    return {channel: _TOP * size.font + pitch * (index + 0.5) for index, channel in enumerate(maps.channels)}


def _map_side(size: Size, maps: Maps, columns: int) -> float:
    room = size.height - (_TOP + _FOOT) * size.font
    return min(room / len(maps.channels) - 4, 0.86 * _width(size, 1, columns), 0.4 * room)


def _map_column(drawn: Plan, found: Numbers, size: Size, layer: int, maps: Maps) -> list[Html]:
    """A column of pictures: channels of a layer that makes images."""
    columns, count = len(drawn.first.layers) + 2, len(maps.channels)
    values = found.arrays[f"y{layer}"][found.example]
    side, x, limit = _map_side(size, maps, columns), _middle(size, layer + 1, columns), largest(values) or 1.0
    height, width, channels = maps.shape
    tall, wide = side * min(1.0, height / width), side * min(1.0, width / height)
    parts = []
    for index, (channel, y) in enumerate(_map_places(size, maps).items()):
        place = {"class": "map", "data-column": str(layer + 1), "data-map": str(index)}
        place |= {
            "x": f"{x - wide / 2:.1f}",
            "y": f"{y - tall / 2:.1f}",
            "width": f"{wide:.1f}",
            "height": f"{tall:.1f}",
        }
        href = data_uri(diverging_png(values[index::count].reshape(height, width), limit=limit))
        title = element("title", {}, text(f"channel {channel + 1} of {channels}, {shape_in_words((height, width))}"))
        parts.append(element("image", place | {"href": href, "preserveAspectRatio": "none"}, title))
    words = f"{count} of {channels}" if count < channels else plural(channels, "channel", "channels")
    return [*parts, _foot(size, layer + 1, columns, words)]


def _outcome_edges(drawn: Plan, size: Size) -> Html:
    columns, layer = len(drawn.first.layers) + 2, len(drawn.first.layers)
    x1, x2 = _middle(size, layer, columns) + size.radius, _left(size, columns - 1, columns) + 6
    rows = _places(drawn.groups[-1], size)
    return _lines(((unit, unit, x1, y, x2, y, 0.0) for unit, y in rows.items()), 0.0, layer)


def _picture(size: Size, group: Group) -> float:
    """Side of the picture of weights beside a unit."""
    places = list(_places(group, size).values())
    pitch = places[1] - places[0] if len(places) > 1 else 6 * size.radius
    return min(pitch - 2, 3.4 * size.radius)


def _image_box(size: Size) -> tuple[float, float, float]:
    side = size.ends - 12
    return 6.0, size.height / 2 - side / 2, side


def _input(drawn: Plan, found: Numbers, size: Size) -> Html:
    shape = drawn.first.image_shape
    if shape is not None:
        x, y, side = _image_box(size)
        place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{side:g}", "height": f"{side:g}"}
        href = data_uri(grey_png(grey(found.arrays["x"][found.example], shape)))
        foot = _foot(size, 0, len(drawn.first.layers) + 2, f"{shape_in_words(shape)}")
        return element("g", {}, element("image", {"data-input": "", "href": href} | place), foot)
    return element("g", {}, *_column(drawn, size, 0, 0, found.arrays["x"][found.example], None))


def _units(drawn: Plan, found: Numbers, size: Size, layer: int) -> list[Html]:
    maps = drawn.maps[layer]
    if maps is not None:
        return _map_column(drawn, found, size, layer, maps)
    number = drawn.group_of(layer)
    values, deltas = found.arrays[f"y{layer}"][found.example], found.arrays[f"d{layer}"][found.example]
    parts = _column(drawn, size, layer + 1, number, values, deltas)
    group = drawn.groups[number]
    shape = drawn.first.image_shape
    if layer == group.dense and number == 1 and shape is not None:
        weights = found.arrays[f"W{layer}"]
        side, x = _picture(size, group), _middle(size, layer + 1, len(drawn.first.layers) + 2)
        for unit, y in _places(group, size).items():
            parts.append(
                element(
                    "image",
                    {
                        "data-weights": str(unit),
                        "data-group": str(number),
                        "data-unit": str(unit),
                        "href": signed_picture(weights[:, group.units.index(unit)], shape),
                        "x": f"{x - size.radius - side - 4:.1f}",
                        "y": f"{y - side / 2:.1f}",
                        "width": f"{side:.1f}",
                        "height": f"{side:.1f}",
                    },
                )
            )
    return parts


def _column(
    drawn: Plan, size: Size, column: int, number: int, values: FloatArray, deltas: FloatArray | None
) -> list[Html]:
    columns, group = len(drawn.first.layers) + 2, drawn.groups[number]
    x, parts = _middle(size, column, columns), []
    highest, steepest = largest(values), 0.0 if deltas is None else largest(deltas)
    for unit, y in _places(group, size).items():
        fill, middle = colour(float(values[unit]), highest), {"cx": f"{x:.1f}", "cy": f"{y:.1f}"}
        inner = [
            element("circle", {"class": "ground", "r": f"{size.radius:g}"} | middle),
            element(
                "circle",
                {
                    "class": f"fill {fill['class']}",
                    "fill-opacity": fill["opacity"],
                    "r": f"{max(size.radius - 3, 0.6 * size.radius):g}",
                }
                | middle,
            ),
        ]
        if deltas is not None:
            ring = colour(float(deltas[unit]), steepest)
            inner.append(
                element(
                    "circle",
                    {"class": f"ring {ring['class']}", "stroke-opacity": ring["opacity"], "r": f"{size.radius:g}"}
                    | middle,
                )
            )
        place = {"class": "unit", "data-column": str(column), "data-group": str(number), "data-unit": str(unit)}
        if all(each.width <= LABELLED for each in drawn.groups) and size.name == WIDE.name:
            words = figure(float(values[unit])) + (
                f", \N{GREEK SMALL LETTER DELTA} {figure(float(deltas[unit]))}" if deltas is not None else ""
            )
            below = {
                "class": "value",
                "x": f"{x:.1f}",
                "y": f"{y + size.radius + size.font:.1f}",
                "text-anchor": "middle",
            }
            inner.append(element("text", below, text(words)))
        parts.append(element("g", place, element("title", {}, text(f"unit {unit + 1}")), *inner))
    words = plural(group.width, "unit", "units") if column else plural(group.width, "input", "inputs")
    if len(_shown(group, size)) < group.width:
        left, width = _left(size, column, columns) + 8, _width(size, column, columns) - 16
        strip = {"x": f"{left:.1f}", "width": f"{width:.1f}", "height": f"{0.45 * size.font:.1f}"}
        strip |= {"y": f"{size.height - 2.1 * size.font:.1f}", "preserveAspectRatio": "none"}
        href = data_uri(diverging_png(values[None], limit=highest or 1.0))
        parts.append(element("image", {"class": "strip", "data-strip": str(column), "href": href} | strip))
    if size.name != WIDE.name or len(words) * 0.85 * size.font * _LETTER > _width(size, column, columns) - 2:
        words = f"{group.width:,}"
    return [*parts, _foot(size, column, columns, words)]


def _foot(size: Size, column: int, columns: int, words: str) -> Html:
    # The style sheet writes these 0.85 times as large as the heading.
    font, crowded = _fitted(len(words), (_width(size, column, columns) - 2) / 0.85, size)
    place = {"x": f"{_middle(size, column, columns):.1f}", "y": f"{size.height - 0.5 * size.font:.1f}"}
    if font < size.font and not crowded:
        place |= {"style": f"font-size: {0.85 * font:.1f}px"}
    kind = {"class": "foot crowded" if crowded else "foot", "data-foot": str(column), "text-anchor": "middle"}
    return element("text", place | kind, text(words))


def _loss(drawn: Plan, found: Numbers, size: Size) -> Html:
    columns, last = len(drawn.first.layers) + 2, len(drawn.first.layers) - 1
    left, width = _left(size, columns - 1, columns) + 8, size.ends - 16
    parts = []
    names = output_names(drawn)
    probable = "p" in found.arrays
    for unit, y in _places(drawn.groups[-1], size).items():
        if unit >= CLASSES:
            break
        value = found.arrays["p"][found.example, unit] if probable else found.arrays[f"y{last}"][found.example, unit]
        if probable:
            place = {"x": f"{left:.1f}", "y": f"{y + 2:.1f}", "height": f"{0.5 * size.font:.1f}"}
            parts += [
                element("rect", {"class": "track", "width": f"{width:.1f}"} | place),
                element(
                    "rect",
                    {"class": "bar", "data-bar": str(unit), "data-full": f"{width:.1f}"}
                    | {"width": f"{width * float(np.nan_to_num(value)):.1f}"}
                    | place,
                ),
            ]
        words = f"{names[unit]} {figure(float(value))}" if size.name == WIDE.name else names[unit][:10]
        place = {"x": f"{left:.1f}", "y": f"{y - 0.15 * size.font:.1f}"}
        parts.append(element("text", {"data-output": str(unit)} | place, text(words)))
    place = {"x": f"{left + width / 2:.1f}", "y": f"{size.height - 0.5 * size.font:.1f}", "text-anchor": "middle"}
    words = f"loss {figure(float(found.arrays['l'][found.example]))}"
    loss = element("text", {"class": "loss", "data-loss": ""} | place, text(words))
    return element("g", {"class": "outcome"}, *parts, loss)


def output_names(drawn: Plan) -> list[str]:
    """Name the outputs.

    Args:
        drawn: The plan.

    Returns:
        The classes' names, or numbers from 1.
    """
    width = drawn.groups[-1].width
    names = drawn.first.class_names
    return list(names) if len(names) == width else [f"output {index + 1}" for index in range(width)]


def largest(values: FloatArray) -> float:
    """Find the largest size among finite numbers.

    Args:
        values: Any shape.

    Returns:
        0.0 where there is none.

    Example:
        >>> largest(np.array([1.0, -3.0, np.inf]))
        3.0
    """
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def grey(row: FloatArray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale numbers to greys, the lowest black and the highest white.

    Args:
        row: (height * width,).
        shape: (height, width).

    Returns:
        (height, width).

    Example:
        >>> grey(np.array([0.0, 1.0]), (1, 2)).tolist()
        [[0, 255]]
    """
    row = np.where(np.isfinite(row), row, 0).astype(np.float64)
    low, high = float(row.min()), float(row.max())
    scaled = (row - low) / (high - low) if high > low else np.zeros_like(row)
    pixels: NDArray[np.uint8] = np.rint(255 * scaled).astype(np.uint8)
    return pixels.reshape(shape)


def grid(width: int, shape: tuple[int, int] | None = None) -> tuple[int, int]:
    """Choose rows and columns for a picture of so many numbers.

    Args:
        width: How many.
        shape: Shape of an image, where the numbers are its pixels.

    Returns:
        (rows, columns): the image's, one row for up to 12, else nearly a square.

    Example:
        >>> grid(784, (28, 28)), grid(5), grid(128)
        ((28, 28), (1, 5), (11, 12))
    """
    if shape is not None and shape[0] * shape[1] == width:
        return shape
    if width <= 12:
        return 1, width
    columns = int(np.ceil(np.sqrt(width)))
    return -(-width // columns), columns


def signed_picture(values: FloatArray, shape: tuple[int, int] | None) -> str:
    """Draw numbers of both signs as a picture.

    Args:
        values: (D,).
        shape: Shape of an image, where the numbers are its pixels.

    Returns:
        A URI that holds the picture.
    """
    rows, columns = grid(len(values), shape)
    cells = np.zeros(rows * columns)
    cells[: len(values)] = values
    return data_uri(diverging_png(cells.reshape(rows, columns), limit=largest(values) or 1.0))
