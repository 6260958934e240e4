"""What each part of a training step computes, as formulas that any terminal can show.

Names are those of the library: ``x`` goes in, ``y`` comes out, ``d`` + name is the derivative of the loss by it, and
products of arrays of one shape are taken number by number.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pipelines.spec.run_spec import TrainSpec


@attrs.frozen
class Formulas:
    """Of one layer or loss."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]


LAYERS: Mapping[str, Formulas] = {
    "dense": Formulas(("y = x W + b",), ("dW = x^T dy", "db = sum of the rows of dy", "dx = dy W^T")),
    "dropout": Formulas(("y = x m / (1 - rate), m = 0 or 1 at random",), ("dx = dy m / (1 - rate)",)),
    "relu": Formulas(("y = max(0, x)",), ("dx = dy where x > 0, else 0",)),
    "leaky_relu": Formulas(("y = x where x > 0, else 0.01 x",), ("dx = dy where x > 0, else 0.01 dy",)),
    "elu": Formulas(("y = x where x > 0, else e^x - 1",), ("dx = dy where x > 0, else dy e^x",)),
    "selu": Formulas(
        ("y = s x where x > 0, else s a (e^x - 1), s = 1.0507, a = 1.6733",),
        ("dx = dy s where x > 0, else dy s a e^x",),
    ),
    "gelu": Formulas(
        ("y = x P(x), P the normal distribution function",), ("dx = dy (P(x) + x p(x)), p the density of P",)
    ),
    "silu": Formulas(("y = x s, s = 1 / (1 + e^-x)",), ("dx = dy (s + x s (1 - s))",)),
    "tanh": Formulas(("y = tanh(x)",), ("dx = dy (1 - y^2)",)),
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
    """
    return LAYERS.get(name.partition("(")[0], Formulas((), ()))


def loss_formulas(spec: TrainSpec) -> Formulas:
    """Write the formulas of the training loss.

    Args:
        spec: Its label smoothing.

    Returns:
        Softmax, cross-entropy, mean; and the derivative of all three at once.

    Example:
        >>> loss_formulas(TrainSpec()).backward
        ('dz = (p - t) / B',)
    """
    smoothing = f"t <- (1 - {spec.label_smoothing:g}) t + {spec.label_smoothing:g} / K"
    forward = (
        "p = e^z / (sum of the row of e^z)",
        "l = -(sum of the row of t log p)",
        "L = (sum of l) / B",
    )
    return Formulas((smoothing, *forward) if spec.label_smoothing else forward, ("dz = (p - t) / B",))


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
