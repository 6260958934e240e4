"""What a layer was made of: its maker, believed only where the layer computes what the maker's layers compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bpfunc import layers
from bpfunc.layers.base import Layer, Maker, Setting
from bpfunc.layers.combinators import named, parallel, residual, serial
from bpfunc.layers.mirror import mirror_averaged
from bpfunc.layers.sameness import same

_FUNCTIONS: tuple[Callable[..., Layer], ...] = (
    layers.avg_pool2d,
    layers.batch_norm,
    layers.channel_dropout,
    layers.conv2d,
    layers.dense,
    layers.dropout,
    layers.elu,
    layers.embedding,
    layers.flatten,
    layers.gelu,
    layers.gelu_tanh,
    layers.global_avg_pool,
    layers.identity,
    layers.layer_norm,
    layers.leaky_relu,
    layers.log_softmax,
    layers.max_pool2d,
    layers.relu,
    layers.reshape,
    layers.rms_norm,
    layers.selu,
    layers.sigmoid,
    layers.silu,
    layers.softmax,
    layers.softplus,
    layers.softsign,
    layers.tanh,
    mirror_averaged,
    parallel,
    residual,
    serial,
)
MAKERS: dict[str, Callable[..., Layer]] = {function.__name__: function for function in _FUNCTIONS}
"""The functions that make a layer, by name; `named` takes its parts in another way and is not among them."""


def maker_of(layer: Layer, path: str = "") -> Maker:
    """Find out how a layer was made.

    Args:
        layer: Any.
        path: Where it stands, for the message.

    Returns:
        Its maker, one that is known here.

    Raises:
        ValueError: It is a custom layer.

    Example:
        >>> maker_of(layers.relu())
        Maker(name='relu', settings=())
    """
    if layer.maker is None or not _is_own(layer, layer.maker):
        raise ValueError(
            f"{path or 'the network'}: layer {layer.name} is none of bpfunc's own, so what it computes is not known "
            "here; use layers of bpfunc.layers instead, or convert the parts before and after it by themselves"
        )
    return layer.maker


COMPUTES = ("forward", "backward", "backward_params", "jvp", "backward_jvp", "example_grads", "example_norms")
"""Functions of a layer that its maker's arguments settle, initialisers apart."""


def _is_own(layer: Layer, maker: Maker) -> bool:
    """Whether a layer computes what its maker's layers compute: a record may name a maker and have other functions."""
    try:
        made = made_by(maker.name, [part for _, part in layer.parts], dict(maker.settings))
    except (KeyError, TypeError, ValueError):
        return False
    return made.maker == maker and all(same(getattr(layer, name), getattr(made, name)) for name in COMPUTES)


def inside(path: str, part: str) -> str:
    """Name a part of what stands at a path.

    Args:
        path: Path of the whole; empty at the top.
        part: Name of the part, as in `Layer.parts`.

    Returns:
        The part's path.

    Example:
        >>> inside("layers[0]", "inner")
        'layers[0].inner'
    """
    return f"{path}.{part}" if path else part


def made_by(name: str, parts: list[Layer], settings: dict[str, Setting]) -> Layer:
    """Make a layer by its maker's name.

    Args:
        name: Name of a maker.
        parts: What a combinator is made of.
        settings: By the names of the maker's arguments.

    Returns:
        The layer, with the maker's own initialisers.

    Raises:
        KeyError: There is no such maker, or a setting is missing.
        TypeError: The maker does not take these parts or settings.

    Example:
        >>> made_by("leaky_relu", [], {"slope": 0.5}).name
        'leaky_relu(0.5)'
    """
    if name == "named":
        names: Any = settings["names"]
        return named(*zip(names, parts, strict=True))
    return MAKERS[name](*parts, **settings)
