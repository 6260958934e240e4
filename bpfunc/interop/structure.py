"""A network's structure as plain data, and its arrays by name: what every other form is written from.

What a layer is can be read from its `Maker`; a layer without one, or with one unknown here, has no other form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray, Shape
from bpfunc.layers import BatchStatistics, ConvParams, DenseParams, EmbeddingParams, Layer, NormParams
from bpfunc.layers.combinators import NamedParams, ParallelParams, SerialParams
from bpfunc.layers.recognition import inside, made_by, maker_of
from bpfunc.tree import Tree

Description: TypeAlias = dict[str, object]
"""What JSON can hold: ``{"maker": name, "settings": {argument: value}, "parts": [description, ...]}``."""
KindT = TypeVar("KindT")

RECORDS: dict[str, tuple[type, type]] = {
    "batch_norm": (NormParams, BatchStatistics),
    "conv2d": (ConvParams, tuple),
    "dense": (DenseParams, tuple),
    "embedding": (EmbeddingParams, tuple),
    "layer_norm": (NormParams, tuple),
    "rms_norm": (NormParams, tuple),
}
"""What parameters and state of the layers are that have some."""
FIELDS: dict[str, tuple[str, ...]] = {
    "batch_norm": ("scale", "shift", "mean", "variance"),
    "conv2d": ("weight", "bias"),
    "dense": ("weight", "bias"),
    "embedding": ("table",),
    "layer_norm": ("scale", "shift"),
    "rms_norm": ("scale",),
}
"""Names of the arrays of these layers."""
NORMS = ("batch_norm", "layer_norm", "rms_norm")
"""Layers whose arrays have one number to a feature."""
TRANSPARENT = ("mirror_averaged", "residual")
"""Combinators whose parameters and state are those of their only part."""
COMBINATORS = (*TRANSPARENT, "named", "parallel", "serial")
"""Layers made of layers."""


def describe(layer: Layer, path: str = "") -> Description:
    """Describe a network in plain data; initialisers are left out.

    Args:
        layer: The network.
        path: Where it stands, for the message.

    Returns:
        A description that `build` understands.

    Raises:
        ValueError: Part of it is a custom layer.

    Example:
        >>> from bpfunc import elu, serial
        >>> describe(serial(elu(alpha=0.5)))
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
        ValueError: It is not a description.

    Example:
        >>> from bpfunc import dense, relu, serial
        >>> build(describe(serial(dense(4), relu()))).name
        'serial(dense(4), relu)'
    """
    try:
        layer = _built(description)
        faithful = describe(layer) == description
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
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
    return made_by(description["maker"], parts, settings)


def of_kind(value: object, kind: type[KindT], path: str = "") -> KindT:
    """Return what must be of a kind: parameters, state or a setting.

    Args:
        value: What is there.
        kind: What there should be.
        path: The layer's, for the message.

    Returns:
        The same.

    Raises:
        ValueError: It is of another kind.

    Example:
        >>> of_kind((), DenseParams, "layers[0]")
        Traceback (most recent call last):
            ...
        ValueError: layers[0]: expected DenseParams, found tuple
    """
    if not isinstance(value, kind):
        raise ValueError(f"{path or 'the network'}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def setting(layer: Layer, name: str, kind: type[KindT]) -> KindT:
    """Read a setting of a layer.

    Args:
        layer: The layer.
        name: Name of its maker's argument.
        kind: Kind of the value.

    Returns:
        The value.

    Example:
        >>> from bpfunc import dropout
        >>> setting(dropout(0.2), "rate", float)
        0.2
    """
    return of_kind(dict(maker_of(layer).settings)[name], kind)


def to_tensors(layer: Layer, params: Tree, state: Tree = (), path: str = "") -> dict[str, FloatArray]:
    """Name all arrays of a network by the path of their layer and their field.

    Args:
        layer: The network.
        params: Its parameters.
        state: Its layer state; ``()`` where it has none.
        path: Where it stands.

    Returns:
        Parameters and state by name, in the order of the layers.

    Raises:
        ValueError: Part of the network is a custom layer, or parameters or state are another network's; the
            message names the path.

    Example:
        >>> from bpfunc import Key, batch_norm, dense, serial
        >>> model = serial(dense(3), batch_norm())
        >>> list(to_tensors(model, *model.init(Key(0), (2,))[:2]))[1:]
        ['layers[0].bias', 'layers[1].scale', 'layers[1].shift', 'layers[1].mean', 'layers[1].variance']
    """
    kind = maker_of(layer, path).name
    if kind not in COMBINATORS:
        records = zip((params, state), RECORDS.get(kind, (tuple, tuple)), strict=True)
        return {
            inside(path, name): array
            for value, record in records
            for name, array in _fields(of_kind(value, record, path))
            if array is not None
        }
    found: dict[str, FloatArray] = {}
    values = _parts(layer, params, state, path)
    for (name, part), (part_params, part_state) in zip(layer.parts, values, strict=True):
        found |= to_tensors(part, part_params, part_state, inside(path, name))
    return found


def from_tensors(layer: Layer, tensors: Mapping[str, FloatArray], path: str = "") -> tuple[Tree, Tree]:
    """Find a network's parameters and state among tensors that are named as by `to_tensors`.

    Args:
        layer: The network.
        tensors: By name.
        path: Where the layer stands.

    Returns:
        (params, state), with None where there is no such tensor.

    Raises:
        ValueError: Part of the network is a custom layer.

    Example:
        >>> from bpfunc import rms_norm
        >>> from_tensors(rms_norm(), {"scale": np.ones(2)})
        (NormParams(scale=float64[2], shift=None), ())
    """
    kind = maker_of(layer, path).name
    if kind not in COMBINATORS:
        params, state = (
            record(**{name: tensors.get(inside(path, name)) for name in _names(record)}) if _names(record) else ()
            for record in RECORDS.get(kind, (tuple, tuple))
        )
        return params, state
    return _whole(layer, [from_tensors(part, tensors, inside(path, name)) for name, part in layer.parts])


def check_arrays(layer: Layer, tensors: Mapping[str, FloatArray], path: str = "") -> Mapping[str, FloatArray]:
    """Refuse tensors that are not those of a network: each layer must have its arrays, of its shape.

    Args:
        layer: The network.
        tensors: By name, as by `to_tensors`.
        path: Where the layer stands.

    Returns:
        The same.

    Raises:
        ValueError: An array is missing, not expected, or of another shape or dtype; the message names it.

    Example:
        >>> from bpfunc import dense
        >>> check_arrays(dense(3), {"weight": np.zeros((2, 4)), "bias": np.zeros(3)})
        Traceback (most recent call last):
            ...
        ValueError: weight: expected float32 or float64 (2, 3), found float64 (2, 4)
    """
    kind = maker_of(layer, path).name
    if kind in COMBINATORS:
        for name, part in layer.parts:
            check_arrays(part, tensors, inside(path, name))
        return tensors
    shapes = _shapes(layer, kind, tensors, path)
    for field in ("weight", "bias", "table", "scale", "shift", "mean", "variance"):
        name = inside(path, field)
        array, shape = tensors.get(name), shapes.get(field)
        if array is None and shape is None:
            continue
        found = "none" if array is None else f"{array.dtype} {array.shape}"
        if array is None or array.shape != shape or array.dtype not in (np.float32, np.float64):
            expected = "none" if shape is None else f"float32 or float64 {shape}"
            raise ValueError(f"{name}: expected {expected}, found {found}")
    return tensors


def _shapes(layer: Layer, kind: str, tensors: Mapping[str, FloatArray], path: str) -> dict[str, Shape]:
    """Shape of each array of a layer; how many inputs it takes is read off its first one."""
    if kind == "embedding":
        return {"table": (setting(layer, "categories", int), setting(layer, "width", int))}
    if kind == "dense":
        width, weight = setting(layer, "width", int), tensors.get(inside(path, "weight"))
        weights = {"weight": (1 if weight is None or weight.ndim != 2 else len(weight), width)}
        return weights | ({"bias": (width,)} if setting(layer, "use_bias", bool) else {})
    if kind == "conv2d":
        features = setting(layer, "features", int)
        weight = tensors.get(inside(path, "weight"))
        channels = 1 if weight is None or weight.ndim != 4 else weight.shape[2]
        weights = {"weight": (*setting(layer, "kernel", tuple), channels, features)}
        return weights | ({"bias": (features,)} if setting(layer, "use_bias", bool) else {})
    scale = tensors.get(inside(path, "scale"))
    return dict.fromkeys(FIELDS[kind] if kind in NORMS else (), (1 if scale is None else scale.size,))


def _names(record: type) -> list[str]:
    return [] if record is tuple else [field.name for field in attrs.fields(record)]


def _fields(record: object) -> list[tuple[str, FloatArray | None]]:
    return [(name, getattr(record, name)) for name in _names(type(record))]


def _parts(layer: Layer, params: Tree, state: Tree, path: str) -> list[tuple[Tree, Tree]]:
    """Parameters and state of each of a combinator's parts."""
    kind, count = maker_of(layer).name, len(layer.parts)
    if kind in TRANSPARENT:
        return [(params, state)]
    if kind == "named":
        by_name = of_kind(params, NamedParams, path).parts
        found: Sequence[Tree] = [by_name[name] for name in setting(layer, "names", tuple) if name in by_name]
    elif kind == "parallel":
        found = of_kind(params, ParallelParams, path).branches
    else:
        found = of_kind(params, SerialParams, path).layers
    states = of_kind(state, tuple, path) or ((),) * count
    if not len(found) == len(states) == count:
        raise ValueError(
            f"{path or 'the network'}: expected parameters and state of {count} parts, "
            f"found those of {len(found)} and {len(states)}"
        )
    return list(zip(found, states, strict=True))


def _whole(layer: Layer, parts: list[tuple[Tree, Tree]]) -> tuple[Tree, Tree]:
    """Parameters and state of a combinator, from those of its parts."""
    kind = maker_of(layer).name
    if kind in TRANSPARENT:
        return parts[0]
    params, states = tuple(params for params, _ in parts), tuple(state for _, state in parts)
    if kind == "named":
        return NamedParams(dict(zip(setting(layer, "names", tuple), params, strict=True))), states
    return ParallelParams(params) if kind == "parallel" else SerialParams(params), states
