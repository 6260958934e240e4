"""Parameters under the names and in the layout of torch, as plain arrays: torch itself is not needed.

`serial` is ``torch.nn.Sequential``, so a parameter is called by the number of its layer, ``2.weight``; the parts of
`named` are called by their names. A matrix of `dense` is (in, out), that of ``torch.nn.Linear`` (out, in); a kernel of
`conv2d` is (KH, KW, in, out), that of ``torch.nn.Conv2d`` (out, in, KH, KW).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfunc.arrays.types import Shape
from bpfunc.interop.channels_first import kernels_first, kernels_last, rows_first, rows_last
from bpfunc.interop.structure import COMBINATORS, FIELDS, NORMS, check_arrays, from_tensors, setting, to_tensors
from bpfunc.keys import Key
from bpfunc.layers import Layer
from bpfunc.layers.recognition import inside, maker_of
from bpfunc.tree import Tree

COUNT = "num_batches_tracked"
"""What torch's batch normalisation has besides; with a momentum it is not used."""
TORCH_NAMES: Mapping[str, str] = {
    "table": "weight",
    "scale": "weight",
    "shift": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
"""Name of an array here -> its name in torch's module, where that is another."""
IMAGES = ("avg_pool2d", "conv2d", "global_avg_pool", "max_pool2d")
"""Layers whose input are images: (B, H, W, C) here, (B, C, H, W) in torch."""


def to_torch_state_dict(
    model: Layer,
    params: Tree,
    state: Tree = (),
    *,
    in_shape: Shape | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, NDArray[np.generic]]:
    """Name and lay out parameters as ``torch.nn.Sequential(...).state_dict()`` does.

    Layers without parameters take up a number and have no entry. `mirror_averaged` has no twin in torch, but no
    parameters either: the names are those of the network in it.

    Images are (B, H, W, C) here, and (B, C, H, W) in torch, which turns the kernels of `conv2d`, and reorders the
    parameters of the layers after `flatten`, until the next `dense`. `global_avg_pool` takes up one number, where torch
    has ``AdaptiveAvgPool2d(1)`` and ``Flatten``, which take up two: put both into a Sequential, or give ``names``.

    Args:
        model: `serial` or `named` of dense, conv2d, batch_norm, layer_norm, rms_norm, embedding, and layers without
            parameters; nested or not.
        params: Its parameters.
        state: Its layer state; ``()`` where it has none.
        in_shape: Shape of one example; needed only where images come in and are flattened without a convolution before.
        names: Module of the Sequential -> what it is called instead, such as ``{"0": "fc1", "2": "fc2"}``.

    Returns:
        Name -> a copy of the array, for ``load_state_dict`` once each is a tensor.

    Raises:
        ValueError: There is a layer that Sequential has no twin of; or parameters are another network's, or neither
            float32 nor float64; or the order of their numbers in torch is not known; the message names the path. Or
            two modules would have one name.

    Example:
        >>> from bpfunc import Key, dense, relu, serial
        >>> network = serial(dense(4), relu(), dense(3))
        >>> params, _, _ = network.init(Key(0), (2,))
        >>> {name: array.shape for name, array in to_torch_state_dict(network, params).items()}
        {'0.weight': (4, 2), '0.bias': (4,), '2.weight': (3, 4), '2.bias': (3,)}

    Reference: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html
    """
    tensors = to_tensors(model, params, state)
    check_arrays(model, tensors)
    found: dict[str, NDArray[np.generic]] = {}
    twins = _twins(model, names or {}, in_shape)
    if len({twin.name for twin in twins.values()}) < len(twins):
        raise ValueError(f"names give two modules one name: {dict(names or {})}")
    for ours, twin in twins.items():
        if ours in tensors:  # a bias may be missing
            found[twin.name] = _fitting(ours, twin, tensors[ours])
        if twin.field == "variance":
            found[twin.name.removesuffix("running_var") + COUNT] = np.array(0)
    return found


def from_torch_state_dict(
    model: Layer,
    state_dict: Mapping[str, ArrayLike],
    *,
    in_shape: Shape,
    names: Mapping[str, str] | None = None,
) -> tuple[Tree, Tree]:
    """Read parameters that are named and laid out as ``torch.nn.Sequential(...).state_dict()`` has them.

    Args:
        model: The network, as in `to_torch_state_dict`.
        state_dict: Arrays or tensors by name; ``num_batches_tracked`` may be left out.
        in_shape: Shape of one example.
        names: As in `to_torch_state_dict`.

    Returns:
        (params, state), copies, in the types that they come in.

    Raises:
        ValueError: Names are missing or not expected, or a shape is another; the message lists them.

    Example:
        >>> from bpfunc import dense, relu, serial
        >>> theirs = {"fc1.weight": np.ones((3, 2), np.float32), "fc1.bias": np.zeros(3, np.float32)}
        >>> params, _ = from_torch_state_dict(serial(relu(), dense(3)), theirs, in_shape=(2,), names={"1": "fc1"})
        >>> params.layers[1].weight.shape
        (2, 3)
    """
    params, state, _ = model.init(Key(0), in_shape)
    expected = to_torch_state_dict(model, params, state, in_shape=in_shape, names=names)
    arrays = {name: _array(name, value) for name, value in state_dict.items()}
    missing = [name for name in expected if name not in arrays and not name.endswith(COUNT)]
    unexpected = [name for name in arrays if name not in expected]
    if missing or unexpected:
        raise ValueError(f"names differ: missing {missing}, not expected {unexpected}")
    wrong = [
        f"{name}: expected {expected[name].shape}, found {array.shape}"
        for name, array in arrays.items()
        if array.shape != expected[name].shape
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
    twins = _twins(model, names or {}, in_shape).items()
    return from_tensors(model, {ours: twin.back(arrays[twin.name]) for ours, twin in twins if twin.name in arrays})


@attrs.frozen
class _Twin:
    """An array in torch.

    Args:
        name: In torch.
        kind: Maker of the layer that it belongs to.
        field: Its field there.
        channels: Channels of the images that the layer's rows were flattened from; 1 where the rows are in one order.
    """

    name: str
    kind: str
    field: str
    channels: int

    def there(self, array: NDArray[np.floating]) -> NDArray[np.floating]:
        """A copy as torch has it."""
        if self.kind == "conv2d" and self.field == "weight":
            return np.array(kernels_first(array), order="C")
        if self.kind == "dense" and self.field == "weight":
            return np.array(rows_first(array, self.channels).T, order="C")
        return np.array(rows_first(array, self.channels) if self.kind in NORMS else array, order="C")

    def back(self, array: NDArray[np.floating]) -> NDArray[np.floating]:
        """A copy as it is here: the way back of `there`."""
        if self.kind == "conv2d" and self.field == "weight":
            return np.array(kernels_last(array), order="C")
        if self.kind == "dense" and self.field == "weight":
            return np.array(rows_last(array.T, self.channels), order="C")
        return np.array(rows_last(array, self.channels) if self.kind in NORMS else array, order="C")


def _twins(layer: Layer, names: Mapping[str, str], in_shape: Shape | None) -> dict[str, _Twin]:
    """Each tensor here -> its twin there."""
    leaves = list(_leaves(layer))
    found: dict[str, _Twin] = {}
    order = _first_order(leaves, in_shape)
    for path, module, leaf in leaves:
        kind, called = maker_of(leaf).name, names.get(module, module)
        for ours in FIELDS.get(kind, ()):
            reordered = order.flat and (kind in NORMS or (kind, ours) == ("dense", "weight"))
            channels = order.channels if reordered else 1
            if channels is None:
                raise ValueError(
                    f"{path or 'the network'}: its rows are flattened images, and how many channels these have is not "
                    "known; give in_shape, (H, W, C)"
                )
            theirs = TORCH_NAMES.get(ours, ours)
            found[inside(path, ours)] = _Twin(inside(called, theirs), kind, ours, channels)
        order = _order_after(order, leaf, path)
    return found


def _fitting(path: str, twin: _Twin, array: NDArray[np.floating]) -> NDArray[np.floating]:
    if twin.channels > 1 and len(array) % twin.channels:
        raise ValueError(f"{path}: expected rows of images of {twin.channels} channels, found {array.shape}")
    return twin.there(array)


def _leaves(layer: Layer, path: str = "", module: str = "") -> Iterator[tuple[str, str, Layer]]:
    """The layers of a network, each with its path here and the name of its module there."""
    kind = maker_of(layer, path).name
    if kind in ("residual", "parallel"):
        raise ValueError(f"{path or 'the network'}: {layer.name} has no twin in torch.nn.Sequential")
    if kind not in COMBINATORS:
        yield path, module, layer
        return
    own = setting(layer, "names", tuple) if kind == "named" else range(len(layer.parts))
    for (name, part), number in zip(layer.parts, own, strict=True):
        inner = module if kind == "mirror_averaged" else inside(module, str(number))
        yield from _leaves(part, inside(path, name), inner)


@attrs.frozen
class _Order:
    """Whether the axes of a value are in another order in torch.

    Args:
        channels: Channels of images, which come first there; 1 where the order is the same, None if unknown.
        flat: Whether the images were flattened to rows.
    """

    channels: int | None = 1
    flat: bool = False


def _first_order(leaves: list[tuple[str, str, Layer]], in_shape: Shape | None) -> _Order:
    """The order of the input: that of images, if what first depends on it is a layer of images."""
    kinds = (maker_of(leaf).name for _, _, leaf in leaves)
    decides = next((kind for kind in kinds if kind in (*IMAGES, "flatten", "reshape", "dense", "embedding")), "")
    if decides not in IMAGES:
        return _Order()
    return _Order(in_shape[2] if in_shape is not None and len(in_shape) == 3 else None)


def _order_after(order: _Order, layer: Layer, path: str) -> _Order:
    kind = maker_of(layer).name
    if kind == "conv2d":
        return _Order(setting(layer, "features", int))
    if kind in ("dense", "embedding", "global_avg_pool"):
        return _Order()
    if kind == "flatten":
        return attrs.evolve(order, flat=order.channels != 1)
    if kind != "reshape":
        return order
    shape = setting(layer, "shape", tuple)
    trivial = len(shape) != 3 or shape[2] == 1 or shape[:2] == (1, 1)
    if order.channels != 1 or not trivial:
        raise ValueError(
            f"{path or 'the network'}: {layer.name} orders the numbers of an image (H, W, C), and torch (C, H, W), so "
            "that it has no twin; leave it out, and give the network images"
        )
    return _Order()


def _array(name: str, value: ArrayLike) -> NDArray[np.floating]:
    detach = getattr(value, "detach", None)  # a tensor's, which may lie elsewhere or take part in derivatives
    try:
        array = np.asarray(value if detach is None else detach().cpu())
    except TypeError as error:  # a type of number that NumPy has not, such as bfloat16
        raise ValueError(f"{name}: {error}") from None
    if array.dtype not in (np.float32, np.float64) and not name.endswith(COUNT):
        raise ValueError(f"{name}: expected float32 or float64, found {array.dtype}")
    return array
