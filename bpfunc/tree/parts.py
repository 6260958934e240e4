"""Trees cut and put together: as one vector, in halves by the paths of leaves, frozen, or with one leaf replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.tree.arithmetic import tree_size
from bpfunc.tree.kinds import Tree, TreeT, _kind
from bpfunc.tree.mapping import tree_leaves, tree_map, tree_map_with_path
from bpfunc.tree.structure import _mismatch, _same_node, nested_too_deeply, tree_leaves_with_path


def ravel(tree: Tree) -> FloatArray:
    """Lay all leaves end to end in one vector.

    Args:
        tree: A tree of floating arrays.

    Returns:
        (N,) array of the leaves' common dtype, a fresh copy; float32 and empty for a tree without leaves.

    Example:
        >>> import numpy as np
        >>> ravel((np.array([[1.0, 2.0]]), np.array([3.0])))
        array([1., 2., 3.])
    """
    leaves = tree_leaves(tree)
    if not leaves:
        return np.zeros(0, np.float32)
    vector: FloatArray = np.concatenate([np.ravel(leaf) for leaf in leaves])
    return vector


def unravel(vector: FloatArray, like: TreeT) -> TreeT:
    """Cut a vector into a tree; the inverse of `ravel`.

    Args:
        vector: (N,) array.
        like: A tree with N numbers that gives the structure, shapes and dtypes.

    Returns:
        A tree of fresh arrays.

    Raises:
        ValueError: The vector's length is not the tree's size.

    Example:
        >>> import numpy as np
        >>> unravel(np.array([1.0, 2.0, 3.0]), (np.zeros((1, 2)), np.zeros(1)))
        (array([[1., 2.]]), array([3.]))
    """
    if vector.shape != (tree_size(like),):
        raise ValueError(f"a vector of shape {vector.shape} for a tree of {tree_size(like)} numbers")
    offset = 0

    def cut(leaf: Any) -> Any:
        nonlocal offset
        piece = vector[offset : offset + np.size(leaf)]
        offset += np.size(leaf)
        return piece.reshape(np.shape(leaf)).astype(np.asarray(leaf).dtype)

    return tree_map(cut, like)


def freeze(tree: TreeT) -> TreeT:
    """Copy every array and make the copies read-only: what to do with arrays that come from outside.

    Args:
        tree: Any tree.

    Returns:
        A tree whose arrays are its own and cannot be written to.

    Example:
        >>> import numpy as np
        >>> outside = np.zeros(1)
        >>> inside = freeze((outside,))
        >>> outside[0] = 7
        >>> inside
        (array([0.]),)
    """
    return tree_map(lambda leaf: readonly(leaf.copy()) if isinstance(leaf, np.ndarray) else leaf, tree)


def partition(tree: TreeT, predicate: Callable[[str], bool]) -> tuple[TreeT, TreeT]:
    """Split a tree in two by the paths of its leaves; each half has None where the other has the leaf.

    Args:
        tree: Any tree.
        predicate: Takes a path such as ``layers[0].bias``.

    Returns:
        The leaves that satisfy the predicate, and the rest.

    Example:
        >>> partition({"w": 1, "b": 2}, lambda path: path == "['w']")
        ({'b': None, 'w': 1}, {'b': 2, 'w': None})
    """
    selected = tree_map_with_path(lambda path, leaf: leaf if predicate(path) else None, tree)
    others = tree_map_with_path(lambda path, leaf: None if predicate(path) else leaf, tree)
    return selected, others


def merge(selected: TreeT, others: TreeT) -> TreeT:
    """Put the two halves of `partition` back together.

    Args:
        selected: A tree with None in some places.
        others: A tree of the same structure with leaves in those places.

    Returns:
        The whole tree.

    Raises:
        TreeStructureError: Both halves have a leaf at one place, or their structures differ.

    Example:
        >>> merge(*partition({"w": 1, "b": 2}, lambda path: path == "['w']"))
        {'b': 2, 'w': 1}
    """
    try:
        result: TreeT = _merge(selected, others)
    except RecursionError as error:
        raise nested_too_deeply(error, selected, others) from None
    return result


def _merge(left: Tree, right: Tree) -> Tree:
    if left is None:
        return right
    if right is None:
        return left
    kind = _kind(type(left))
    if kind is None or not _same_node(kind, left, right):
        raise _mismatch(left, right)
    inner = [_merge(a, b) for a, b in zip(kind.children(left), kind.children(right), strict=True)]
    return kind.build(kind.labels(left), tuple(inner), kind.static(left))


def replace_leaf(tree: TreeT, path: str, value: Any) -> TreeT:
    """Return the tree with one leaf replaced.

    Args:
        tree: Any tree; it stays as it is.
        path: The leaf's path, such as ``layers[0].weight``.
        value: The new leaf.

    Returns:
        A tree that shares all other leaves.

    Raises:
        KeyError: No leaf has that path; the message lists those there are.

    Example:
        >>> replace_leaf({"w": 1, "b": 2}, "['w']", 7)
        {'b': 2, 'w': 7}
    """
    paths = [name for name, _ in tree_leaves_with_path(tree)]
    if path not in paths:
        raise KeyError(f"no leaf at {path}; the tree has {', '.join(paths)}")
    return tree_map_with_path(lambda name, leaf: value if name == path else leaf, tree)
