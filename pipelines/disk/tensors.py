"""Trees of arrays as safetensors files that carry a checksum of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bpfunc.interop.safetensors import HEADER_LIMIT, from_safetensors, safetensors_metadata, to_safetensors
from bpfunc.tree import Tree, TreeT, tree_bytes, tree_leaves_with_path
from pipelines.disk.seal import SEAL, _canonical
from pipelines.disk.untrusted.files import open_file, read_file
from pipelines.errors import DataProblem, first_line


def sealed_tensors(tree: Tree, metadata: Mapping[str, str]) -> bytes:
    """Write a tree as safetensors with a seal over tensors and metadata.

    Args:
        tree: Any tree of arrays and numbers.
        metadata: Text to carry along.

    Returns:
        The bytes of a safetensors file, the same for the same tree and text.

    Example:
        >>> sealed_tensors((np.ones(2),), {"format": "example"}) == sealed_tensors((np.ones(2),), {"format": "example"})
        True
    """
    return to_safetensors(tree, metadata={**metadata, SEAL: _tensor_seal(tree, metadata)})


def tensor_metadata(path: Path, *, remedy: str) -> dict[str, str]:
    """Read the text in a safetensors file's header, before anything is checked or any tensor read.

    Args:
        path: The file.
        remedy: What to do where it is damaged.

    Returns:
        The text; it is to be believed once `read_sealed_tensors` has read the file.

    Raises:
        DataProblem: It cannot be read, or has no such header.
    """
    try:
        with open_file(path) as file:
            size = file.read(8)
            return safetensors_metadata(size + file.read(min(int.from_bytes(size, "little"), HEADER_LIMIT)))
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy) from None
    except ValueError as error:
        raise DataProblem(first_line(error), where=str(path), remedy=remedy) from None


def read_sealed_tensors(path: Path, like: TreeT, *, remedy: str) -> TreeT:
    """Read a tree from a safetensors file and check the seal.

    Args:
        path: The file.
        like: A tree of the structure, shapes and dtypes that it must hold.
        remedy: What to do where it is damaged.

    Returns:
        A tree like ``like``.

    Raises:
        DataProblem: It cannot be read, holds something else, or is not what was written.
    """
    try:
        limit = tree_bytes(like) + HEADER_LIMIT
        if path.stat().st_size > limit:
            raise ValueError("the file is larger than such a network")
        data = read_file(path, limit=limit)
        tree = from_safetensors(data, like)
        metadata = safetensors_metadata(data)
        if metadata.pop(SEAL, None) != _tensor_seal(tree, metadata):
            raise ValueError("its content is not what was written")
        return tree
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy) from None
    except ValueError as error:
        raise DataProblem(first_line(error), where=str(path), remedy=remedy) from None


def _tensor_seal(tree: Tree, metadata: Mapping[str, str]) -> str:
    seal = hashlib.sha256(_canonical(dict(metadata)))
    for path, leaf in tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        seal.update(f"{path} {array.dtype.str} {np.shape(leaf)}".encode())
        seal.update(array.tobytes())
    return seal.hexdigest()
