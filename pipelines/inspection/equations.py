"""What each part of a training step computes: as formulas, in words, and as formulas to fill with numbers.

Names are those of the library: ``x`` goes in, ``y`` comes out, ``d`` + name is the derivative of the loss by it, and
products of arrays of one shape are taken number by number. In a formula to fill, ``{name}`` stands for a number of the
chosen example and unit; `pipelines.inspection.explain_numbers` finds it.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pipelines.spec.run_spec import TrainSpec


@attrs.frozen
class Formulas:
    """Of one layer or loss, forward and backward."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]
    words: tuple[str, str] = ("", "")
    """What happens, in a sentence each."""
    forward_numbers: tuple[str, ...] = ()
    backward_numbers: tuple[str, ...] = ()
    """Formulas to fill with numbers."""
    elementwise: bool = False
    """Whether each output depends on one input alone, so that there is a slope at each number."""


def _elementwise(forward: str, backward: str, filled: str) -> Formulas:
    return Formulas(
        (forward,),
        (backward,),
        (
            "Each number passes through the function by itself.",
            "What comes back to a unit is multiplied by the slope of the function at that unit's number.",
        ),
        (f"y = {filled} = {{y}}",),
        ("dx = {dy} * {slope} = {dx}",),
        elementwise=True,
    )


_SETTING = "<setting>"
"""Stands for what a layer's name has in brackets."""

LAYERS: Mapping[str, Formulas] = {
    "dense": Formulas(
        ("y = x W + b",),
        ("dW = x^T dy", "db = sum of the rows of dy", "dx = dy W^T"),
        (
            "Each unit adds up its inputs, each times a weight, and then its bias.",
            "The gradient of a weight is its input times the delta of its unit, added up over the batch. "
            "What goes back to an input is the sum of the deltas, each times the weight between.",
        ),
        ("y = {inputs} + {bias} = {y}",),
        (
            "dW, this example = {x_i} * {dy} = {share}",
            "dW, whole batch = {share} + {others} = {gradient}",
            "db, whole batch = {bias_gradient}",
            "dx of unit {unit_before} before = {deltas} = {dx}",
        ),
    ),
    "conv2d": Formulas(
        ("r = the pixels of a window as a row", "y = r W + b, at each place"),
        ("dW = sum over places of r^T dy", "db = sum over places of dy", "dx = sum over windows of dy W^T"),
        (
            "Each filter adds up the pixels of a window, each times a weight, and does so at every place of the image.",
            "All places share the weights, so the gradient of a weight is a sum over places and examples. "
            "A pixel is in several windows, so what goes back to it is a sum as well.",
        ),
    ),
    "batch_norm": Formulas(
        ("n = (x - mean) / sqrt(variance + e), by channel", "y = n scale + shift"),
        (
            "dscale = sum of dy n",
            "dshift = sum of dy",
            "dx = (scale / sqrt(variance + e)) (dy - mean of dy - n (mean of dy n))",
        ),
        (
            "Each channel is brought to mean 0 and variance 1 over the batch, then scaled and shifted as was learned.",
            "Mean and variance depend on every example, so what goes back to one depends on all of them.",
        ),
    ),
    "max_pool2d": Formulas(
        ("y = the largest x of each window",),
        ("dx = dy at the largest x of its window, else 0",),
        (
            "Of each window the largest number of each channel goes on.",
            "What comes back goes to the pixel that was the largest.",
        ),
    ),
    "avg_pool2d": Formulas(
        ("y = mean of each window",),
        ("dx = dy / pixels of the window",),
        ("Of each window the mean of each channel goes on.", "What comes back is shared by the window's pixels."),
    ),
    "reshape": Formulas(
        ("y = x in another shape",),
        ("dx = dy in the shape of x",),
        ("A row of pixels becomes an image.", "Each number goes back to its place."),
    ),
    "flatten": Formulas(
        ("y = x as a row",),
        ("dx = dy in the shape of x",),
        ("The image that comes out of the blocks is laid out as a row.", "Each number goes back to its place."),
    ),
    "dropout": Formulas(
        ("y = x m / (1 - rate), m = 0 or 1 at random",),
        ("dx = dy m / (1 - rate)",),
        (
            "Some numbers become zero at random; the others grow, so that the mean stays the same.",
            "Nothing comes back to what was dropped.",
        ),
        ("y = {x} * {slope} = {y}",),
        ("dx = {dy} * {slope} = {dx}",),
        elementwise=True,
    ),
    "relu": _elementwise("y = max(0, x)", "dx = dy where x > 0, else 0", "max(0, {x})"),
    "leaky_relu": _elementwise(
        f"y = x where x > 0, else {_SETTING} x", f"dx = dy where x > 0, else {_SETTING} dy", "leaky_relu({x})"
    ),
    "elu": _elementwise(
        f"y = x where x > 0, else {_SETTING} (e^x - 1)", f"dx = dy where x > 0, else {_SETTING} dy e^x", "elu({x})"
    ),
    "selu": _elementwise(
        "y = s x where x > 0, else s a (e^x - 1), s = 1.0507, a = 1.6733",
        "dx = dy s where x > 0, else dy s a e^x",
        "selu({x})",
    ),
    "gelu": _elementwise(
        "y = x P(x), P the normal distribution function",
        "dx = dy (P(x) + x p(x)), p the density of P",
        "{x} P({x})",
    ),
    "silu": _elementwise("y = x s, s = 1 / (1 + e^-x)", "dx = dy (s + x s (1 - s))", "silu({x})"),
    "tanh": _elementwise("y = tanh(x)", "dx = dy (1 - y^2)", "tanh({x})"),
    "sigmoid": _elementwise("y = 1 / (1 + e^-x)", "dx = dy y (1 - y)", "sigmoid({x})"),
    "softplus": _elementwise("y = log(1 + e^x)", "dx = dy / (1 + e^-x)", "softplus({x})"),
}
"""By the name of the layer, up to its first bracket."""


def layer_formulas(name: str) -> Formulas:
    """Find the formulas of a layer.

    Args:
        name: Such as ``dense(128)``.

    Returns:
        Its formulas; none for a layer that is not known.

    Example:
        >>> layer_formulas("dense(128)").forward
        ('y = x W + b',)
        >>> layer_formulas("leaky_relu(0.2)").forward
        ('y = x where x > 0, else 0.2 x',)
    """
    kind, _, setting = name.partition("(")
    found = LAYERS.get(kind, Formulas((), ()))
    forward, backward = (
        tuple(line.replace(_SETTING, setting.removesuffix(")")) for line in lines)
        for lines in (found.forward, found.backward)
    )
    return attrs.evolve(found, forward=forward, backward=backward)


def loss_formulas(spec: TrainSpec | None = None, name: str = "cross_entropy", *, whole: bool = False) -> Formulas:
    """Write the formulas of a training loss.

    Args:
        spec: For its label smoothing.
        name: Name of the loss.
        whole: Whether each target is a whole class.

    Returns:
        Softmax, cross-entropy, mean; and the derivative of all three at once. For another loss its numbers alone.

    Example:
        >>> loss_formulas(TrainSpec()).backward
        ('dz = (p - t) / B',)
    """
    begins = "The gradient begins here"
    if name != "cross_entropy":
        words = "The loss measures how far the outputs are from the targets."
        return Formulas((), (), (words, f"{begins}, with the derivative of the mean loss by each output."),
                        ("l = {loss}",), ("dz = {dz}",))  # fmt: skip
    smoothing = 0.0 if spec is None else spec.label_smoothing
    lines = ("p = e^z / (sum of the row of e^z)", "l = -(sum of the row of t log p)", "L = (sum of l) / B")
    return Formulas(
        (f"t <- (1 - {smoothing:g}) t + {smoothing:g} / K", *lines) if smoothing else lines,
        ("dz = (p - t) / B",),
        (
            "Softmax turns the last numbers into probabilities; the loss is large where the right class gets little.",
            f"{begins}: a class with too much probability gets a number above zero, one with too little below zero.",
        ),
        ("p = e^{z} / {exp_sum} = {p}", "l = -log({p}) = {loss}" if whole else "l = {loss}"),
        ("dz = ({p} - {t}) * {weight} = {dz}",),
    )


def update_formulas(spec: TrainSpec) -> tuple[str, ...]:
    """Write what the optimiser does with a gradient ``g`` of parameters ``w`` at a learning rate ``r``.

    Args:
        spec: Optimiser and its settings.

    Returns:
        Lines, in the order in which they are computed; ``n`` counts updates from 1.

    Example:
        >>> update_formulas(TrainSpec(optimizer="sgd", momentum=0.9))
        ('m <- 0.9 m + g', 'w <- w - r m')
    """
    decay = f"{spec.weight_decay:g}"
    lines: list[str] = []
    if spec.optimizer == "sgd":
        if spec.weight_decay:
            lines.append(f"g <- g + {decay} w, for weights and not for biases")
        if spec.momentum:
            lines.append(f"m <- {spec.momentum:g} m + g")
        lines.append(f"w <- w - r {'m' if spec.momentum else 'g'}")
    else:
        lines += [
            "m <- 0.9 m + 0.1 g",
            "v <- 0.999 v + 0.001 g^2",
            "u = (m / (1 - 0.9^n)) / (sqrt(v / (1 - 0.999^n)) + 0.00000001)",
        ]
        if spec.optimizer == "adamw" and spec.weight_decay:
            lines.append(f"u <- u + {decay} w, for weights and not for biases")
        lines.append("w <- w - r u")
    if spec.average:
        lines.append(f"a <- c a + (1 - c) w, c = min({spec.average:g}, (1 + n) / (10 + n))")
    return tuple(lines)
