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
from bpfunc.interop.distinct import distinct
from bpfunc.tree import Tree, TreeT, tree_bytes, tree_leaves_with_path, tree_map_with_path

HEADER_LIMIT = 8_000_000
"""Largest header, in bytes, that is written and read: names, shapes and text."""
DTYPES = (
    "float64",
    "float32",
    "float16",
    *(f"{sign}int{bits}" for bits in (64, 32, 16, 8) for sign in ("", "u")),
    "bool",
)
"""Types of numbers that a file holds here."""


def to_safetensors(tree: Tree, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Write a tree of arrays and numbers as safetensors bytes.

    Args:
        tree: Any tree; numbers become 0-d arrays.
        metadata: Text to carry along.

    Returns:
        The bytes of a safetensors file, the same for the same tree.

    Raises:
        TypeError: The tree has a node that cannot be made again.
        ValueError: The file could not be read back: a leaf is of a type that it does not hold, two leaves have one
            path, or names and metadata are more than `HEADER_LIMIT`; the message names path or entry.

    Example:
        >>> data = to_safetensors((np.ones(2, np.float32),))
        >>> from_safetensors(data, (np.zeros(2, np.float32),))
        (array([1., 1.], dtype=float32),)
    """
    return save_tensors({path: _array(path, leaf) for path, leaf in tree_leaves_with_path(tree)}, metadata=metadata)


def save_tensors(tensors: Mapping[str, NDArray[np.generic]], *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Write arrays under names as safetensors bytes.

    Args:
        tensors: Name -> array, in any layout.
        metadata: Text to carry along.

    Returns:
        The bytes of a safetensors file, the same for the same arrays.

    Raises:
        ValueError: The file could not be read back: an array is of a type that it does not hold, or names and metadata
            are not text or more than `HEADER_LIMIT`; the message names the entry.

    Example:
        >>> from safetensors.numpy import load
        >>> load(save_tensors({"0.weight": np.ones(2)}))
        {'0.weight': array([1., 1.])}
    """
    text = dict(sorted((metadata or {}).items()))
    for name in tensors:
        _check_text("tensor", name, name)
    for name, value in text.items():
        _check_text("metadata", name, name, value)
    if "__metadata__" in tensors:
        raise ValueError("tensor __metadata__: this name is that of the metadata; call the tensor something else")
    # save() trusts the memory to be row-major, whatever the strides say: gradients of `x.T @ dy` form are not.
    arrays = {name: np.array(_array(name, array), order="C") for name, array in tensors.items()}
    return _with_metadata(save(arrays), text)


def _check_text(kind: str, name: object, *texts: object) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{kind} {name!r}: expected text, found {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{kind} {name!r}: not valid Unicode, so no file holds it") from None


def _array(name: str, leaf: object) -> NDArray[np.generic]:
    array = np.asarray(leaf)
    other = array.ndim > 0 and not isinstance(leaf, np.ndarray)  # a sequence would come back as an array, or not at all
    if isinstance(leaf, np.ma.MaskedArray) or other or array.dtype.name not in DTYPES:
        found = "a masked array" if isinstance(leaf, np.ma.MaskedArray) else f"{array.dtype} of {type(leaf).__name__}"
        raise ValueError(f"tensor {name}: expected numbers of {', '.join(DTYPES)}, found {found}")
    return array


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Put text into a file's header; save() would do so in an order that changes from call to call."""
    size = int.from_bytes(data[:8], "little")
    header = {"__metadata__": metadata} | json.loads(data[8 : 8 + size])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    padded = text + b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as save() has it
    if len(padded) + 8 > HEADER_LIMIT:
        longest = max(metadata, key=lambda name: len(metadata[name]), default="none")
        raise ValueError(
            f"names, shapes and metadata take {len(padded)} bytes, and a header of more than {HEADER_LIMIT} is not "
            f"read; the longest metadata are {longest!r}"
        )
    return len(padded).to_bytes(8, "little") + padded + data[8 + size :]


def from_safetensors(data: bytes, like: TreeT) -> TreeT:
    """Read a tree from safetensors bytes.

    Args:
        data: The bytes of a file; at most `HEADER_LIMIT` more than the tree takes.
        like: A tree of the structure, shapes and dtypes that the file must hold.

    Returns:
        A tree like ``like`` with read-only arrays; its numbers are numbers of the same type.

    Raises:
        ValueError: The bytes are not a safetensors file, or names, shapes or dtypes differ; the message names the first
            that does.

    Example:
        >>> from_safetensors(to_safetensors((np.ones(2),)), (np.zeros(3),))
        Traceback (most recent call last):
            ...
        ValueError: tensor [0]: expected float64 (3,), found float64 (2,)
    """
    if len(data) > tree_bytes(like) + HEADER_LIMIT:
        raise ValueError(f"{len(data)} bytes are more than {tree_bytes(like)} of tensors and a header can be")
    tensors = load_tensors(data)
    wanted = dict(tree_leaves_with_path(like))
    if tensors.keys() != wanted.keys():
        extra, missing = sorted(tensors.keys() - wanted.keys()), sorted(wanted.keys() - tensors.keys())
        raise ValueError(f"tensor names differ: missing {_some(missing)}, not expected {_some(extra)}")
    return tree_map_with_path(lambda path, leaf: _restored(path, tensors[path], leaf), like)


def load_tensors(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Read all arrays of a safetensors file by name.

    Args:
        data: The bytes of a file.

    Returns:
        Name -> array.

    Raises:
        ValueError: The bytes are not a safetensors file, or hold a type or a shape that NumPy does not have.

    Example:
        >>> load_tensors(save_tensors({"w": np.ones(2)}))
        {'w': array([1., 1.])}
    """
    _header(data)
    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file: {error}") from None
    except (KeyError, AttributeError, TypeError, ValueError) as error:  # a type or a shape that NumPy has not
        raise ValueError(f"not a safetensors file that NumPy can hold: {error}") from None


def _some(names: list[str]) -> str:
    """Some names for a message, in quotes."""
    shown = [repr(name[:200]) for name in names[:5]]
    return f"[{', '.join(shown)}{f', ... ({len(names)} in all)' if len(names) > len(shown) else ''}]"


def _restored(path: str, found: NDArray[np.generic], leaf: object) -> object:
    expected = np.asarray(leaf)
    # Files are little-endian; a tree may hold numbers the other way round.
    if (found.dtype, found.shape) != (expected.dtype.newbyteorder("="), expected.shape):
        raise ValueError(
            f"tensor {path}: expected {expected.dtype} {expected.shape}, found {found.dtype} {found.shape}"
        )
    if isinstance(leaf, np.ndarray):
        return readonly(found.astype(expected.dtype, copy=False))
    try:
        return type(leaf)(found.item())  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise ValueError(f"tensor {path}: {found.item()} is no {type(leaf).__name__}: {error}") from None


def safetensors_metadata(data: bytes) -> dict[str, str]:
    """Read the text that travels in a safetensors file's header.

    Args:
        data: The bytes of a file.

    Returns:
        The metadata; empty where there is none.

    Raises:
        ValueError: The bytes are not a safetensors file, or the header is larger than `HEADER_LIMIT`.

    Example:
        >>> safetensors_metadata(to_safetensors((), metadata={"seed": "0"}))
        {'seed': '0'}
    """
    metadata = _header(data).get("__metadata__", {})
    return {str(name): str(text) for name, text in metadata.items()} if isinstance(metadata, dict) else {}


def _header(data: bytes) -> dict[str, object]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(HEADER_LIMIT, len(data) - 8):
        raise ValueError("not a safetensors file: its header is cut off or too large")
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=distinct)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):  # bad syntax, brackets without end
        raise ValueError("not a safetensors file: its header is not JSON") from None
    except ValueError as twice:  # safetensors' own reader takes the last of them, others the first
        raise ValueError(f"not a safetensors file: in its header, {twice}") from None
    return header if isinstance(header, dict) else {}
