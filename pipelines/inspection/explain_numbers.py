"""What the page of a step shows of its arrays: which examples and units, and each number by its name.

The page holds these numbers as they are in the step. `Numbers` finds them for the part that is readable without a
script; the page's script has a function of the same name that finds the same ones for the example and unit chosen.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import pairwise, product

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray
from pipelines.disk.untrusted.printable import printable
from pipelines.inspection.explain import DenseArrays, Explained

EXAMPLES = 16
"""Most examples of the batch that can be chosen; the first ones."""
NUMBERS = 2**18
"""Most numbers of a moment that the page holds; of a network that makes many of an image, fewer examples are shown."""
SMALL = 16
"""Up to so many units, a layer is drawn with all of them."""
CHOSEN = 12
"""Units that are drawn of a wider layer."""
CLASSES = 10
"""Up to so many outputs are listed one by one."""
MAPS = 5
"""Channels that are drawn, and held, of a layer that makes images."""
TERMS = 3
"""Terms of a sum that are written out, the largest ones."""
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


@attrs.frozen
class Group:
    """Columns of the drawing that have the same units: a layer with weights, and what follows it number by number."""

    width: int
    layers: tuple[int, ...]
    """Which layers of the network; none for the input."""
    dense: int | None
    """The layer whose weights lead to the units, where there is one."""
    units: tuple[int, ...]
    """Those drawn and to be chosen, all or a few."""
    strongest: int
    """The one shown first: of those, the one with the largest activation times delta for the first example."""


@attrs.frozen
class Maps:
    """The channels of a layer that makes images: those that are drawn are those that the page holds."""

    shape: tuple[int, int, int]
    """(height, width, channels)."""
    channels: tuple[int, ...]
    """Those drawn."""
    fresh: bool
    """Whether each channel is made of all channels before, as by a convolution; else of the one of its number."""

    def place(self, unit: int) -> int:
        """Find a unit, counted over all channels, among the numbers held."""
        pixel, channel = divmod(unit, self.shape[2])
        return pixel * len(self.channels) + self.channels.index(channel)

    def held(self, rows: FloatArray) -> FloatArray:
        """Take the channels drawn: (E, H * W * C) to (E, H * W * channels drawn)."""
        return rows.reshape(len(rows), *self.shape)[..., list(self.channels)].reshape(len(rows), -1)


@attrs.frozen
class Plan:
    """What is drawn, for all moments alike."""

    moments: tuple[Explained, ...]
    groups: tuple[Group, ...]
    maps: tuple[Maps | None, ...]
    """Of each layer that makes images."""
    examples: int
    """Examples of the largest batch that can be chosen."""

    @property
    def first(self) -> Explained:
        """The first moment."""
        return self.moments[0]

    @property
    def operations(self) -> int:
        """Number of operations: the input, both passes, the update, and the batch once more."""
        return len(self.first.operations) + 3

    def group_of(self, layer: int) -> int:
        """Number of the group that a layer belongs to."""
        return next(index for index, group in enumerate(self.groups) if layer in group.layers)


def plan(moments: Sequence[Explained]) -> Plan:
    """Choose what is drawn: the same units at every moment.

    A layer of more than `SMALL` units is drawn with the `CHOSEN` ones whose activation times delta is largest in size,
    summed over the examples shown and averaged over the moments.

    Args:
        moments: Steps of one training, at least one.

    Returns:
        The plan.

    Raises:
        ValueError: The sequence is empty, or they are steps of different networks.
    """
    if not moments:
        raise ValueError("expected at least one step")
    first = moments[0]
    shapes = [[(layer.layer, layer.x.shape[1], layer.y.shape[1]) for layer in one.layers] for one in moments]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("expected steps of one network, found different layers")
    rows = min(EXAMPLES, max(len(one.inputs) for one in moments))
    maps = _maps(moments, rows)
    held = [(one.y if of is None else of.held(one.y)).shape[1] for one, of in zip(first.layers, maps, strict=True)]
    each = sum(before + 2 * size for before, size in pairwise([first.layers[0].x.shape[1], *held]))
    most = min(EXAMPLES, max(NUMBERS // each, 1))
    examples = min(most, max(len(one.inputs) for one in moments))
    parts: list[list[int]] = [[]]
    for index, layer in enumerate(first.layers):
        if layer.dense is not None or layer.x.shape[1] != layer.y.shape[1]:
            parts.append([])
        parts[-1].append(index)
    groups = tuple(_group(moments, tuple(part), examples, [maps[index] for index in part]) for part in parts)
    return Plan(tuple(moments), groups, maps, examples)


def _maps(moments: Sequence[Explained], rows: int) -> tuple[Maps | None, ...]:
    """Choose channels: the same ones from a convolution on, as long as a channel goes on by itself."""
    first, runs = moments[0], list[list[int]]()
    shapes = [one.gives[1:] if one.gives else () for one in first.operations[: len(first.layers)]]
    fresh = [layer.layer.startswith("conv") for layer in first.layers]
    for index, shape in enumerate(shapes):
        if len(shape) != 3:
            continue
        if fresh[index] or not index or len(shapes[index - 1]) != 3 or shapes[index - 1][2] != shape[2]:
            runs.append([])
        runs[-1].append(index)
    found: list[Maps | None] = [None] * len(shapes)
    for run in runs:
        strength = np.zeros(shapes[run[0]][2])
        for one, index in product(moments, run):
            y, dy = (array[:rows].reshape(-1, len(strength)) for array in (one.layers[index].y, one.layers[index].dy))
            sizes = np.nan_to_num(np.abs(y * dy).astype(np.float64), posinf=0.0).sum(axis=0)
            strength += sizes / (sizes.sum() or 1.0)
        channels = tuple(sorted(np.argsort(-strength, kind="stable")[:MAPS].tolist()))
        for index in run:
            height, width, count = shapes[index]
            found[index] = Maps((height, width, count), channels, fresh[index])
    return tuple(found)


def _group(moments: Sequence[Explained], layers: tuple[int, ...], examples: int, maps: Sequence[Maps | None]) -> Group:
    first = moments[0]
    if layers:
        last = layers[-1]
        pairs = [(one.layers[last].y, one.layers[last].dy) for one in moments]
    else:
        pairs = [(one.layers[0].x, np.ones_like(one.layers[0].x)) for one in moments]
    strength = np.zeros(pairs[0][0].shape[1])
    sizes = [np.nan_to_num(np.abs(y[:examples] * dy[:examples]).astype(np.float64), posinf=0.0) for y, dy in pairs]
    for size in sizes:
        strength += size.sum(axis=0) / (size.sum() or 1.0)
    width = len(strength)
    there = np.ones(width, bool)
    for of in maps:
        there &= True if of is None else np.isin(np.arange(width) % of.shape[2], of.channels)
    order = [unit for unit in np.argsort(-strength, kind="stable").tolist() if there[unit]]
    image = not layers and first.image_shape is not None
    units = sorted(order if width <= SMALL else order[:CHOSEN])
    start = layers[0] if layers else None
    dense = start if start is not None and first.layers[start].dense is not None else None
    strongest = max(units, key=lambda unit: sizes[0][0, unit])
    return Group(width, layers, dense, () if image else tuple(units), strongest)


def figure(value: float) -> str:
    """Write a number with four significant digits, as the page's script does.

    Args:
        value: Any.

    Returns:
        Text, with a true minus sign.

    Example:
        >>> [figure(x) for x in (0.0, 1.0, 1 / 32, 0.000123456, 123456.0, 1 / 3, float("inf"))]
        ['0', '1', '0.03125', '1.235e-4', '1.235e5', '0.3333', 'inf']
        >>> figure(-0.5) == MINUS + "0.5"
        True
    """
    if not math.isfinite(value):
        return f"{value}".replace("-", MINUS)
    if not value:
        return "0"
    rounded = Context(prec=4, rounding=ROUND_HALF_UP).plus(Decimal(value))
    exponent = rounded.adjusted()
    words = f"{rounded:f}" if -3 <= exponent < 5 else f"{rounded.scaleb(-exponent):f}"
    if "." in words:
        words = words.rstrip("0").rstrip(".")
    return (words if -3 <= exponent < 5 else f"{words}e{exponent}").replace("-", MINUS, 1 if value < 0 else 0)


@attrs.frozen
class Found:
    """A number and the place in the step's arrays that it stands at."""

    value: float
    of: str
    """Such as ``y2[3,17]``; empty for what is computed from others."""


def arrays_of(drawn: Plan, one: Explained) -> dict[str, FloatArray]:
    """Name the arrays of a step that the page holds.

    ``x`` (E, D) inputs; ``y0``, ``d0``, ``s0`` (E, H) outputs of layer 0, the derivatives of the loss by them, and the
    slopes, of a layer that makes images those of the channels drawn; ``W0``, ``G0``, ``A0`` (D, C) weights, gradients
    and weights after the update, of the units that can be chosen; ``b0``, ``gb0``, ``ab0`` (H,) the same of the bias;
    ``O0`` (C, H) weights that lead from the chosen units before to all units of layer 0; ``p``, ``t``, ``l``, ``r``
    probabilities, targets, losses, weights of the examples.

    Args:
        drawn: Which examples and units.
        one: The step.

    Returns:
        Arrays by name.
    """
    rows, loss = drawn.examples, one.loss_arrays
    found: dict[str, FloatArray] = {"x": one.layers[0].x[:rows], "l": loss.losses[:rows], "r": loss.weights[:rows]}
    for name, array in (("p", loss.probabilities), ("t", loss.targets)):
        if array is not None:
            found[name] = array[:rows]
    for index, (layer, of) in enumerate(zip(one.layers, drawn.maps, strict=True)):
        for name, array in (("y", layer.y), ("d", layer.dy), ("s", layer.slope)):
            if array is not None:
                found[f"{name}{index}"] = array[:rows] if of is None else of.held(array[:rows])
        if layer.dense is not None:
            found |= _dense_arrays(drawn, index, layer.dense)
    return found


def _dense_arrays(drawn: Plan, index: int, dense: DenseArrays) -> dict[str, FloatArray]:
    group = drawn.group_of(index)
    units, before = list(drawn.groups[group].units), list(drawn.groups[group - 1].units)
    found = {
        f"W{index}": dense.weight[:, units],
        f"G{index}": dense.weight_gradient[:, units],
        f"A{index}": dense.weight_after[:, units],
    }
    if before:
        found[f"O{index}"] = dense.weight[before]
    for name, array in (("b", dense.bias), ("gb", dense.bias_gradient), ("ab", dense.bias_after)):
        if array is not None:
            found[f"{name}{index}"] = array
    return found


def encoded(array: FloatArray) -> dict[str, object]:
    """Write an array so that a script reads the same numbers.

    Args:
        array: Floating; half precision is widened, which changes no number.

    Returns:
        ``{"type": "f4" or "f8", "shape": [...], "data": base64 of the little-endian bytes}``.

    Example:
        >>> encoded(np.ones(1, np.float32))
        {'type': 'f4', 'shape': [1], 'data': 'AACAPw=='}
    """
    kind = "f8" if array.dtype.itemsize > 4 else "f4"
    data = base64.b64encode(np.ascontiguousarray(array, f"<{kind}").tobytes()).decode("ascii")
    return {"type": kind, "shape": list(array.shape), "data": data}


def page_data(drawn: Plan) -> dict[str, object]:
    """Gather what the page's script reads.

    Args:
        drawn: The plan.

    Returns:
        A JSON object.
    """
    first = drawn.first
    layers = [
        {
            "name": layer.layer,
            "group": drawn.group_of(index),
            "dense": layer.dense is not None,
            "slope": layer.slope is not None,
            "maps": None if (of := drawn.maps[index]) is None else attrs.asdict(of),
        }
        for index, layer in enumerate(first.layers)
    ]
    return {
        "layers": layers,
        "groups": [attrs.asdict(group) for group in drawn.groups],
        "examples": drawn.examples,
        "classes": list(map(printable, first.class_names)),  # the script puts them into the page as they are
        "image": None if first.image_shape is None else list(first.image_shape),
        "moments": [
            {
                "step": one.step,
                "rate": one.learning_rate,
                "rows": len(one.inputs),
                "arrays": {name: encoded(array) for name, array in arrays_of(drawn, one).items()},
            }
            for one in drawn.moments
        ],
    }


@attrs.frozen(eq=False)
class Numbers:
    """Finds numbers of one step, for one example and one unit of each group."""

    drawn: Plan
    one: Explained
    arrays: dict[str, FloatArray]
    example: int
    units: tuple[int, ...]
    """The chosen unit of each group."""

    def at(self, name: str, *place: int) -> Found:
        """Read an array."""
        return Found(float(self.arrays[name][place]), f"{name}[{','.join(map(str, place))}]")

    def into(self, layer: int, unit: int) -> Found:
        """Read what goes into a layer, of the chosen example."""
        return self.of("y", layer - 1, unit) if layer else self.at("x", self.example, unit)

    def of(self, letter: str, layer: int, unit: int) -> Found:
        """Read a unit's number of a layer, of the chosen example: output, delta or slope."""
        of = self.drawn.maps[layer]
        return self.at(f"{letter}{layer}", self.example, unit if of is None else of.place(unit))

    def column(self, group: int) -> int:
        """Place of the group's chosen unit among those drawn."""
        return self.drawn.groups[group].units.index(self.units[group])

    def weight(self, layer: int) -> int:
        """Choose the weight of the chosen unit that is followed: the one with the largest input times gradient."""
        name = f"y{layer - 1}" if layer else "x"
        gradient = self.arrays[f"G{layer}"][:, self.column(self.drawn.group_of(layer))]
        size = np.abs(self.arrays[name][self.example].astype(np.float64) * gradient.astype(np.float64))
        return int(np.nan_to_num(size, nan=0.0).argmax())

    def number(self, name: str, layer: int) -> Found:
        """Find a number of a layer by its name in a formula to fill."""
        group = self.drawn.group_of(layer)
        unit = self.units[group]
        if name == "x":
            return self.into(layer, unit)
        if name in {"y", "dy", "slope"}:
            return self.of({"y": "y", "dy": "d", "slope": "s"}[name], layer, unit)
        if name == "dx":
            before = self.units[self.drawn.group_of(layer - 1)] if layer else unit
            return self.of("d", layer - 1, before)
        if name in {"bias", "bias_gradient", "bias_after"}:
            return self.at({"bias": "b", "bias_gradient": "gb", "bias_after": "ab"}[name] + str(layer), unit)
        row = self.weight(layer)
        if name == "x_i":
            return self.into(layer, row)
        if name in {"w", "gradient", "after"}:
            letter = {"w": "W", "gradient": "G", "after": "A"}[name]
            return self.at(f"{letter}{layer}", row, self.column(group))
        share = self.into(layer, row).value * self.number("dy", layer).value
        if name == "share":
            return Found(share, "")
        if name == "others":
            return Found(self.number("gradient", layer).value - share, "")
        if name == "step":
            return Found(self.number("after", layer).value - self.number("w", layer).value, "")
        raise KeyError(name)

    def outcome(self, name: str) -> Found:
        """Find a number of the loss, of the target class where there is one."""
        last = len(self.one.layers) - 1
        if name == "loss":
            return self.at("l", self.example)
        if name == "weight":
            return self.at("r", self.example)
        if name == "rate":
            return Found(self.one.learning_rate or 0.0, "rate")
        if name == "exp_sum":
            with np.errstate(over="ignore"):
                return Found(float(np.exp(self.arrays[f"y{last}"][self.example].astype(np.float64)).sum()), "")
        letter = {"p": "p", "t": "t", "z": f"y{last}", "dz": f"d{last}"}[name]
        return self.at(letter, self.example, self.target)

    @property
    def target(self) -> int:
        """Which output the chosen example aims at."""
        return int(self.arrays["t"][self.example].argmax()) if "t" in self.arrays else 0

    def terms(self, name: str, layer: int) -> tuple[list[tuple[Found, Found]], Found]:
        """Take a sum of products apart: its largest terms in their order, and what the others come to.

        Args:
            name: ``inputs``: inputs times weights; ``deltas``: deltas of a layer times the weights that lead there.
            layer: Layer of the weights.

        Returns:
            Pairs of factors, and the rest.
        """
        group, example = self.drawn.group_of(layer), self.example
        if name == "inputs":
            column = self.column(group)
            pairs = [
                (self.into(layer, i), self.at(f"W{layer}", i, column)) for i in range(len(self.arrays[f"W{layer}"]))
            ]
        else:
            row = self.column(group - 1)
            width = self.arrays[f"d{layer}"].shape[1]
            pairs = [(self.at(f"O{layer}", row, k), self.at(f"d{layer}", example, k)) for k in range(width)]
        products = [one.value * other.value for one, other in pairs]
        order = sorted(range(len(pairs)), key=lambda k: -abs(products[k]))
        kept = sorted(order[:TERMS])
        rest = sum(products[k] for k in range(len(pairs)) if k not in set(kept))
        return [pairs[k] for k in kept], Found(rest, "")

    def factors(self, layer: int) -> list[tuple[str, int]]:
        """List the factors of the gradient of a weight, as (kind, layer): the chain rule from the weight to the loss.

        The first is the input; then the slope of each layer that follows number by number; the last is what comes back
        from there: a sum over the next layer's units, or the derivative of the loss.
        """
        found = [("x_i", layer)]
        for after in range(layer + 1, len(self.one.layers)):
            following = self.one.layers[after]
            if following.slope is None:
                return [*found, ("deltas" if following.dense is not None else "back", after)]
            found.append(("slope", after))
        return [*found, ("loss", len(self.one.layers))]

    def factor(self, kind: str, layer: int, of: int) -> Found:
        """Find the number of a factor of the gradient of a weight that leads to layer ``of``."""
        unit = self.units[self.drawn.group_of(of)]
        if kind == "x_i":
            return self.number("x_i", of)
        if kind == "slope":
            return self.of("s", layer, unit)
        return self.of("d", layer - 1, unit)


def numbers(drawn: Plan, moment: int = 0, example: int = 0) -> Numbers:
    """Open the numbers of a moment, with the strongest unit of each group.

    Args:
        drawn: The plan.
        moment: Which.
        example: Which.

    Returns:
        What finds them.
    """
    one = drawn.moments[moment]
    return Numbers(drawn, one, arrays_of(drawn, one), example, tuple(group.strongest for group in drawn.groups))
