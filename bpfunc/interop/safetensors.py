"""Trees as safetensors bytes: tensors named by their tree paths, no code in the file.

Format: the safetensors specification, version 0.8 (2026): an 8-byte length, a JSON header, raw little-endian tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bpfunc.arrays.types import readonly
from bpfunc.tree import Tree, TreeT, tree_bytes, tree_leaves_with_path, tree_map_with_path

HEADER_LIMIT = 1_000_000
"""Largest header, in bytes, that is read."""


def to_safetensors(tree: Tree, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Write a tree of arrays and numbers as safetensors bytes.

    Args:
        tree: Any tree; numbers become 0-d arrays.
        metadata: Text to carry along.

    Returns:
        The bytes of a safetensors file, the same for the same tree.

    Example:
        >>> data = to_safetensors((np.ones(2, np.float32),))
        >>> from_safetensors(data, (np.zeros(2, np.float32),))
        (array([1., 1.], dtype=float32),)
    """
    return save_tensors({path: np.asarray(leaf) for path, leaf in tree_leaves_with_path(tree)}, metadata=metadata)


def save_tensors(tensors: Mapping[str, NDArray[np.generic]], *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Write arrays under names as safetensors bytes.

    Args:
        tensors: Name -> array, in any layout.
        metadata: Text to carry along.

    Returns:
        The bytes of a safetensors file, the same for the same arrays.

    Example:
        >>> from safetensors.numpy import load
        >>> load(save_tensors({"0.weight": np.ones(2)}))
        {'0.weight': array([1., 1.])}
    """
    # save() trusts the memory to be row-major, whatever the strides say: gradients of `x.T @ dy` form are not.
    return _with_metadata(save({name: np.array(array, order="C") for name, array in tensors.items()}), metadata or {})


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Put text into a file's header; save() would do so in an order that changes from call to call."""
    size = int.from_bytes(data[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items()))} | json.loads(data[8 : 8 + size])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    padded = text + b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as save() has it
    return len(padded).to_bytes(8, "little") + padded + data[8 + size :]


def from_safetensors(data: bytes, like: TreeT) -> TreeT:
    """Read a tree from safetensors bytes.

    Args:
        data: The bytes of a file.
        like: A tree of the structure, shapes and dtypes that the file must hold.

    Returns:
        A tree like ``like`` with read-only arrays; its numbers are numbers of the same type.

    Raises:
        ValueError: The bytes are no safetensors file, or names, shapes or dtypes differ; the message names the first
            that does.

    Example:
        >>> from_safetensors(to_safetensors((np.ones(2),)), (np.zeros(3),))
        Traceback (most recent call last):
            ...
        ValueError: tensor [0]: expected float64 (3,), found float64 (2,)
    """
    if len(data) > tree_bytes(like) + HEADER_LIMIT:
        raise ValueError(f"{len(data)} bytes are more than {tree_bytes(like)} of tensors and a header can be")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ValueError(f"no safetensors file: {error}") from None
    except (KeyError, AttributeError, TypeError) as error:  # a type of number that NumPy has not
        raise ValueError(f"no safetensors file that NumPy can hold: {error}") from None
    wanted = dict(tree_leaves_with_path(like))
    if tensors.keys() != wanted.keys():
        extra, missing = sorted(tensors.keys() - wanted.keys()), sorted(wanted.keys() - tensors.keys())
        raise ValueError(f"tensor names differ: missing {missing}, not expected {extra}")

    def restore(path: str, leaf: object) -> object:
        found, expected = tensors[path], np.asarray(leaf)
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            raise ValueError(
                f"tensor {path}: expected {expected.dtype} {expected.shape}, found {found.dtype} {found.shape}"
            )
        return readonly(found) if isinstance(leaf, np.ndarray) else type(leaf)(found.item())  # type: ignore[call-arg]

    return tree_map_with_path(restore, like)


def safetensors_metadata(data: bytes) -> dict[str, str]:
    """Read the text that travels in a safetensors file's header.

    Args:
        data: The bytes of a file.

    Returns:
        The metadata; empty where there is none.

    Raises:
        ValueError: The bytes are no safetensors file, or the header is larger than `HEADER_LIMIT`.

    Example:
        >>> safetensors_metadata(to_safetensors((), metadata={"seed": "0"}))
        {'seed': '0'}
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(HEADER_LIMIT, len(data) - 8):
        raise ValueError("no safetensors file: its header is cut off or too large")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):  # bad syntax, brackets without end
        raise ValueError("no safetensors file: its header is no JSON") from None
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return {str(name): str(text) for name, text in metadata.items()} if isinstance(metadata, dict) else {}
