"""A network's structure as plain data, and its parameters part by part: what every other form is written from.

What a layer is can be read from its `Maker`; a layer without one, or with one unknown here, has no other form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from bpfunc import layers
from bpfunc.layers import Layer, Maker
from bpfunc.mirror import mirror_averaged
from bpfunc.model import NamedParams, ParallelParams, SerialParams, named, parallel, residual, serial
from bpfunc.tree import Tree

Description: TypeAlias = dict[str, object]
"""What JSON can hold: ``{"maker": name, "settings": {argument: value}, "parts": [description, ...]}``."""
ParamsT = TypeVar("ParamsT")

_FUNCTIONS: tuple[Callable[..., Layer], ...] = (
    layers.batch_norm,
    layers.dense,
    layers.dropout,
    layers.elu,
    layers.embedding,
    layers.flatten,
    layers.gelu,
    layers.gelu_tanh,
    layers.identity,
    layers.layer_norm,
    layers.leaky_relu,
    layers.log_softmax,
    layers.relu,
    layers.rms_norm,
    layers.selu,
    layers.sigmoid,
    layers.silu,
    layers.softmax,
    layers.softplus,
    layers.tanh,
    mirror_averaged,
    parallel,
    residual,
    serial,
)
MAKERS = {function.__name__: function for function in _FUNCTIONS}
"""The functions that make a layer, by name; `named` takes its parts in another way and is not among them."""


def maker_of(layer: Layer, path: str = "") -> Maker:
    """Find out how a layer was made.

    Args:
        layer: Any.
        path: Where it stands, for the message.

    Returns:
        Its maker, one that is known here.

    Raises:
        ValueError: It is a layer of one's own.

    Example:
        >>> maker_of(layers.relu())
        Maker(name='relu', settings=())
    """
    if layer.maker is None or layer.maker.name not in {*MAKERS, "named"}:
        raise ValueError(
            f"{path or 'the network'}: layer {layer.name} is none of bpfunc's own, so what it computes is not known "
            "here; put layers of bpfunc.layers in its place, or convert the parts before and after it by themselves"
        )
    return layer.maker


def inside(path: str, part: str) -> str:
    """Name a part of what stands at a path.

    Args:
        path: Of the whole; empty at the top.
        part: Of the part, as in `Layer.parts`.

    Returns:
        The part's path.

    Example:
        >>> inside("layers[0]", "inner")
        'layers[0].inner'
    """
    return f"{path}.{part}" if path else part


def describe(layer: Layer, path: str = "") -> Description:
    """Describe a network in plain data; initialisers are left out.

    Args:
        layer: The network.
        path: Where it stands, for the message.

    Returns:
        A description that `build` understands.

    Raises:
        ValueError: Part of it is a layer of one's own.

    Example:
        >>> describe(serial(layers.elu(alpha=0.5)))
        {'maker': 'serial', 'settings': {}, 'parts': [{'maker': 'elu', 'settings': {'alpha': 0.5}, 'parts': []}]}
    """
    maker = maker_of(layer, path)
    return {
        "maker": maker.name,
        "settings": {name: list(value) if isinstance(value, tuple) else value for name, value in maker.settings},
        "parts": [describe(part, inside(path, name)) for name, part in layer.parts],
    }


def build(description: object) -> Layer:
    """Make the network that a description is of, with the makers' own initialisers.

    Args:
        description: From `describe`, perhaps by way of a file.

    Returns:
        The network; `describe` gives the very description for it.

    Raises:
        ValueError: It is no description.

    Example:
        >>> build(describe(serial(layers.dense(4), layers.relu()))).name
        'serial(dense(4), relu)'
    """
    try:
        layer = _built(description)
        faithful = describe(layer) == description
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no description of a network: {type(error).__name__}: {error}") from None
    if not faithful:
        raise ValueError(f"no description of a network: it is not what {layer.name} is described by")
    return layer


def _built(description: object) -> Layer:
    if not isinstance(description, dict):
        raise TypeError(f"expected a dict, found {type(description).__name__}")
    parts = [_built(part) for part in description["parts"]]
    settings = {
        name: tuple(value) if isinstance(value, list) else value for name, value in description["settings"].items()
    }
    if description["maker"] == "named":
        return named(*zip(settings["names"], parts, strict=True))
    return MAKERS[description["maker"]](*parts, **settings)


def params_of(params: Tree, kind: type[ParamsT], path: str) -> ParamsT:
    """Hand on parameters, or state, of the kind that a layer has.

    Args:
        params: What is there.
        kind: What there should be.
        path: The layer's, for the message.

    Returns:
        The same.

    Raises:
        ValueError: They are of another kind.

    Example:
        >>> params_of((), layers.DenseParams, "layers[0]")
        Traceback (most recent call last):
            ...
        ValueError: layers[0]: expected DenseParams, found tuple
    """
    if not isinstance(params, kind):
        raise ValueError(f"{path or 'the network'}: expected {kind.__name__}, found {type(params).__name__}")
    return params


def parts_of(layer: Layer, params: Tree, state: Tree, path: str = "") -> tuple[tuple[Tree, Tree], ...]:
    """Take a combinator's parameters and state apart.

    Args:
        layer: The combinator.
        params: Its own.
        state: Its own; ``()`` where no part has any.
        path: Where it stands, for the message.

    Returns:
        (params, state) of each of ``layer.parts``.

    Raises:
        ValueError: They are another network's.

    Example:
        >>> from bpfunc.keys import Key
        >>> model = serial(layers.relu(), layers.tanh())
        >>> parts_of(model, *model.init(Key(0), (2,))[:2])
        (((), ()), ((), ()))
    """
    kind, count = maker_of(layer, path).name, len(layer.parts)
    if kind in ("residual", "mirror_averaged"):
        return ((params, state),)
    if kind == "named":
        by_name = params_of(params, NamedParams, path).parts
        found: Sequence[Tree] = [by_name[name] for name in _names(layer) if name in by_name]
    elif kind == "parallel":
        found = params_of(params, ParallelParams, path).branches
    else:
        found = params_of(params, SerialParams, path).layers
    states = params_of(state, tuple, path) or ((),) * count
    if not len(found) == len(states) == count:
        raise ValueError(
            f"{path or 'the network'}: expected parameters and state of {count} parts, "
            f"found those of {len(found)} and {len(states)}"
        )
    return tuple(zip(found, states, strict=True))


def joined(layer: Layer, parts: Sequence[tuple[Tree, Tree]]) -> tuple[Tree, Tree]:
    """Put a combinator's parameters and state together, as its `init` does.

    Args:
        layer: The combinator.
        parts: (params, state) of each part.

    Returns:
        (params, state) of the whole.

    Example:
        >>> joined(serial(layers.relu()), [((), ())])
        (SerialParams(layers=((),)), ((),))
    """
    kind = maker_of(layer).name
    if kind in ("residual", "mirror_averaged"):
        return parts[0]
    params, states = tuple(params for params, _ in parts), tuple(state for _, state in parts)
    if kind == "named":
        return NamedParams(dict(zip(_names(layer), params, strict=True))), states
    return ParallelParams(params) if kind == "parallel" else SerialParams(params), states


def _names(layer: Layer) -> tuple[str, ...]:
    return tuple(str(name) for name in dict(maker_of(layer).settings)["names"])  # type: ignore[union-attr]
