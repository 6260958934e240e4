"""A trained image network in one safetensors file: from its bytes to the probability of each class.

A run of the pipeline writes such a file, ``params.safetensors``. To use it takes this library alone. The header
describes the network (see `bpfunc.interop.structure.describe`) and names its classes; the tensors are parameters,
layer state, and the statistics that turn pixels into inputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc.arrays.types import FloatArray, readonly_arrays
from bpfunc.interop.distinct import distinct
from bpfunc.interop.safetensors import load_tensors, safetensors_metadata
from bpfunc.interop.structure import build, check_arrays, describe, from_tensors
from bpfunc.layers import INFERENCE, Layer, ShapeError
from bpfunc.ops import softmax
from bpfunc.tree import STATIC, Tree, tree_leaves_with_path

ENTRY = "network"
"""Name of the header's entry that describes the network."""


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class SavedNetwork:
    """A trained network of images.

    Args:
        model: The functions, from (B, D) inputs to (B, K) logits.
        params: Its parameters.
        layer_state: Running statistics of its layers; empty tuples for most.
        mean: (D,) is taken off ``pixel / 255``.
        scale: (D,) divides the difference.
        class_names: K names, in the order of the outputs.
    """

    model: Layer = attrs.field(metadata=STATIC)
    params: Tree
    layer_state: Tree
    mean: FloatArray
    scale: FloatArray
    class_names: tuple[str, ...] = attrs.field(metadata=STATIC)


def network_entry(model: Layer, class_names: Sequence[str]) -> dict[str, str]:
    """Describe a network for the header of its file.

    Args:
        model: Made of layers of this library.
        class_names: K names, in the order of the outputs.

    Returns:
        Text to join to the file's metadata.

    Raises:
        ValueError: Part of it is a custom layer.

    Example:
        >>> from bpfunc import relu
        >>> network_entry(relu(), ["A", "B"])
        {'network': '{"class_names": ["A", "B"], "layers": {"maker": "relu", "settings": {}, "parts": []}}'}
    """
    return {ENTRY: json.dumps({"class_names": list(class_names), "layers": describe(model)}, allow_nan=False)}


def read_network(data: bytes) -> SavedNetwork:
    """Read a trained network.

    The checksum in the header is not checked here; `pipelines.runs.network.read_network` does so.

    Args:
        data: The bytes of a run's ``params.safetensors``.

    Returns:
        The network; its arrays are read-only.

    Raises:
        ValueError: The bytes are not such a file, or their parts do not go together; or the file was written before
            networks were described in it.

    Example:
        >>> from bpfunc import dense
        >>> from bpfunc.interop.safetensors import save_tensors
        >>> arrays = {"params.weight": np.eye(2), "scaling.mean": np.zeros(2), "scaling.scale": np.ones(2)}
        >>> data = save_tensors(arrays, metadata=network_entry(dense(2, use_bias=False), ["A", "B"]))
        >>> network = read_network(data)
        >>> probabilities(network, np.array([[255, 0]], np.uint8)).round(3)
        array([[0.731, 0.269]])
    """
    text = safetensors_metadata(data).get(ENTRY)
    if text is None:
        raise ValueError(
            "the file does not describe its network: it was not written by a run, or by one of an older version; "
            "pipelines.runs.network.read_network reads the latter"
        )
    try:
        facts = json.loads(text, object_pairs_hook=distinct)
        layers, names = facts["layers"], facts["class_names"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise ValueError("the description of the network is not JSON with layers and class_names") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names are not a list of text")
    if text.count('"mirror_averaged"') > 1:
        raise ValueError("the network averages over mirror images more than once, and each doubles the time")
    model, tensors = build(layers), _numbers(data)
    params, state = _arranged(model, tensors)
    network = SavedNetwork(model, params, state, *_statistics(tensors), tuple(names))
    _check_outputs(network)
    return network


def _numbers(data: bytes) -> dict[str, FloatArray]:
    found: dict[str, FloatArray] = {}
    for name, array in load_tensors(data).items():
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"tensor {name[:200]!r}: expected float32 or float64, found {array.dtype}")
        found[name] = cast(FloatArray, array)
    return found


def _arranged(model: Layer, tensors: Mapping[str, FloatArray]) -> tuple[Tree, Tree]:
    """Parameters and state, from tensors under their tree paths."""
    asked: list[str] = []

    class Places(dict[str, FloatArray]):
        """Numbers what a network asks for, so that the trees show where each belongs."""

        def get(self, name: str, default: object = None) -> FloatArray:
            asked.append(name)
            return np.array(float(len(asked) - 1))

    numbered = SavedNetwork(model, *from_tensors(model, Places()), np.zeros(0), np.zeros(0), ())
    leaves = tree_leaves_with_path(numbered)
    paths = {asked[int(leaf)]: path for path, leaf in leaves if path not in ("mean", "scale")}
    unknown = sorted(tensors.keys() - {*paths.values(), "scaling.mean", "scaling.scale"})
    if unknown:
        raise ValueError(f"tensors that are not of the network: {unknown[:3]}")
    found = {name: tensors[path] for name, path in paths.items() if path in tensors}
    return from_tensors(model, check_arrays(model, found))


def _statistics(tensors: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    try:
        mean, scale = tensors["scaling.mean"], tensors["scaling.scale"]
    except KeyError as missing:
        raise ValueError(f"there is no tensor {missing}") from None
    if mean.ndim != 1 or mean.shape != scale.shape or not (np.isfinite(mean).all() and (scale > 0).all()):
        raise ValueError("scaling.mean and scaling.scale are not numbers of each pixel that can be divided by")
    return mean, scale


def _check_outputs(network: SavedNetwork) -> None:
    """Ask the network about one black image: all shapes must fit, down to the names of the classes."""
    try:
        shape = probabilities(network, np.zeros((1, len(network.mean)), np.uint8)).shape
    except (ShapeError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the tensors are not those of {network.model.name}: {error}") from None
    if shape != (1, len(network.class_names)):
        raise ValueError(f"the network has outputs {shape[1:]}, and {len(network.class_names)} classes are named")


def probabilities(network: SavedNetwork, images: NDArray[np.uint8]) -> FloatArray:
    """Compute the probability of each class for each image.

    Args:
        network: From `read_network`.
        images: (B, D) uint8, row by row, bright on dark as in the data that it was trained on.

    Returns:
        (B, K) of the parameters' dtype; rows sum to 1.

    Raises:
        ShapeError: The images have another number of pixels.

    Example:
        >>> from bpfunc.layers import identity
        >>> network = SavedNetwork(identity(), (), (), np.zeros(2), np.ones(2), ("A", "B"))
        >>> probabilities(network, np.array([[255, 255]], np.uint8))
        array([[0.5, 0.5]], dtype=float32)
    """
    if images.ndim != 2 or images.shape[1:] != network.mean.shape:
        raise ShapeError(f"expected images (B, {len(network.mean)}), found {images.shape}")
    inputs = ((images / 255 - network.mean) / network.scale).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        logits, _, _ = network.model.forward(network.params, network.layer_state, inputs, INFERENCE)
        return softmax(logits)[0]
