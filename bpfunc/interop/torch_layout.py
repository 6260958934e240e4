"""Parameters under the names and in the layout of torch, as plain arrays: torch itself is not needed.

`serial` is ``torch.nn.Sequential``, so a parameter is called by the number of its layer, ``2.weight``; the parts of
`named` are called by their names. A matrix of `dense` is (in, out), that of ``torch.nn.Linear`` (out, in).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfunc.arrays.types import Shape
from bpfunc.interop.structure import COMBINATORS, check_arrays, from_tensors, setting, to_tensors
from bpfunc.keys import Key
from bpfunc.layers import Layer
from bpfunc.layers.recognition import inside, maker_of
from bpfunc.tree import Tree

COUNT = "num_batches_tracked"
"""What torch's batch normalisation has besides; with a momentum it is not used."""
TWINS: dict[str, dict[str, str]] = {
    "dense": {"weight": "weight", "bias": "bias"},
    "embedding": {"table": "weight"},
    "layer_norm": {"scale": "weight", "shift": "bias"},
    "rms_norm": {"scale": "weight"},
    "batch_norm": {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"},
}
"""Of the layers that have parameters or state: field here -> name in torch's module."""
ON_IMAGES = ("conv2d", "max_pool2d", "avg_pool2d", "global_avg_pool", "reshape", "channel_dropout")
"""Layers of images: torch has the channels first, so that weights before and after them would be in another order."""


def to_torch_state_dict(
    model: Layer, params: Tree, state: Tree = (), *, names: Mapping[str, str] | None = None
) -> dict[str, NDArray[np.generic]]:
    """Name and lay out parameters as ``torch.nn.Sequential(...).state_dict()`` does.

    Layers without parameters take up a number and have no entry. `mirror_averaged` has no twin in torch, but no
    parameters either: the names are those of the network in it.

    Args:
        model: `serial` or `named` of dense, batch_norm, layer_norm, rms_norm, embedding, and layers without
            parameters; nested or not.
        params: Its parameters.
        state: Its layer state; ``()`` where it has none.
        names: Module of the Sequential -> what it is called instead, such as ``{"0": "fc1", "2": "fc2"}``.

    Returns:
        Name -> a copy of the array, for ``load_state_dict`` once each is a tensor.

    Raises:
        ValueError: There is a layer that Sequential has no twin of; or parameters are another network's, or neither
            float32 nor float64; the message names the path. Or two modules would have one name.

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
    twins = _twins(model, names or {})
    if len(set(twins.values())) < len(twins):
        raise ValueError(f"names give two modules one name: {dict(names or {})}")
    for ours, theirs in twins.items():
        if ours in tensors:  # a bias may be missing
            found[theirs] = _turned(ours, tensors[ours])
        if theirs.endswith("running_var"):
            found[theirs.removesuffix("running_var") + COUNT] = np.array(0)
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
        in_shape: Of one example.
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
    expected = to_torch_state_dict(model, params, state, names=names)
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
    twins = _twins(model, names or {}).items()
    return from_tensors(model, {ours: _turned(ours, arrays[theirs]) for ours, theirs in twins if theirs in arrays})


def _twins(layer: Layer, names: Mapping[str, str], path: str = "", module: str = "") -> dict[str, str]:
    """Name of each tensor here -> its name there."""
    kind = maker_of(layer, path).name
    if kind in ("residual", "parallel", *ON_IMAGES):
        raise ValueError(f"{path or 'the network'}: {layer.name} has no twin in torch.nn.Sequential")
    if kind not in COMBINATORS:
        called = names.get(module, module)
        return {inside(path, ours): inside(called, theirs) for ours, theirs in TWINS.get(kind, {}).items()}
    own = setting(layer, "names", tuple) if kind == "named" else range(len(layer.parts))
    found: dict[str, str] = {}
    for (name, part), number in zip(layer.parts, own, strict=True):
        inner = module if kind == "mirror_averaged" else inside(module, str(number))
        found |= _twins(part, names, inside(path, name), inner)
    return found


def _turned(name: str, array: NDArray[np.floating]) -> NDArray[np.floating]:
    """A copy of an array as the other side has it: the matrix of `dense` is transposed."""
    return np.array(array.T if name.rpartition(".")[2] == "weight" else array, order="C")


def _array(name: str, value: ArrayLike) -> NDArray[np.floating]:
    detach = getattr(value, "detach", None)  # a tensor's, which may lie elsewhere or take part in derivatives
    try:
        array = np.asarray(value if detach is None else detach().cpu())
    except TypeError as error:  # a type of number that NumPy has not, such as bfloat16
        raise ValueError(f"{name}: {error}") from None
    if array.dtype not in (np.float32, np.float64) and not name.endswith(COUNT):
        raise ValueError(f"{name}: expected float32 or float64, found {array.dtype}")
    return array
