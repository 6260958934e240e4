"""The structure of a tree without its leaves: how it prints, compares and is filled, and the paths of its leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs
import numpy as np

from bpfunc.tree.kinds import Tree, _Kind, _kind


class TreeStructureError(ValueError):
    """Two trees that should have one structure differ; the message names the place and both sides."""

    __module__ = "bpfunc.tree"  # the name that tracebacks print, and that pickles hold


def nested_too_deeply(error: RecursionError, *trees: Tree) -> Exception:
    """Find what to raise where Python's limit of nested calls ended a walk over trees.

    Args:
        error: What ended the walk.
        trees: What was walked over.

    Returns:
        An error that speaks of the tree; the same error where no tree is deep, so that another function went too far.

    Example:
        >>> nested_too_deeply(RecursionError("maximum recursion depth exceeded"), (1, 2))
        RecursionError('maximum recursion depth exceeded')
    """
    level = list(trees)
    for _ in range(_DEEP):
        nodes = [(node, kind) for node in level if (kind := _kind(type(node))) is not None]
        children = [child for node, kind in nodes for child in kind.children(node)]
        level = list({id(child): child for child in children}.values())  # a part may stand in many places
    if not level:
        return error
    return TreeStructureError(
        "a tree is nested too deeply, or holds itself: Python allows some hundreds of levels; put the parts of a chain "
        "into one tuple"
    )


_DEEP: Final = 60
"""Levels that every walk takes, and that no tree of less than which ends one."""


@attrs.frozen
class Structure:
    """The shape of a tree without its leaves; hashable, comparable, and readable when printed."""

    kind: type | None
    """The node's class; None for a leaf."""
    labels: tuple[Any, ...] = ()
    """Field names, indices or dict keys of the children."""
    children: tuple[Structure, ...] = ()
    static: tuple[Any, ...] = ()
    """Values of the static fields."""
    size: int = 1
    """Number of leaves."""

    def __str__(self) -> str:
        """Print as the constructor call with ``*`` for each leaf, and dots for what lies very deep."""
        return self._shown(_DEEP)

    def _shown(self, levels: int) -> str:
        if self.kind is None:
            return "*"
        if self.kind is type(None):
            return "None"
        if not levels:
            return "..."
        shown = [child._shown(levels - 1) for child in self.children]
        inner = [
            f"{label}={child}" if isinstance(label, str) else child
            for label, child in zip(self.labels, shown, strict=True)
        ]
        return f"{'' if self.kind is tuple else self.kind.__name__}({', '.join(inner)})"


_LEAF = Structure(None)


def _extend(path: str, kind: type, label: Any) -> str:
    """Extend a path by one label: ``layers[0].weight``, ``parts['head']``."""
    if issubclass(kind, tuple):
        return f"{path}[{label}]"
    if issubclass(kind, dict):
        return f"{path}[{label!r}]"
    return f"{path}.{label}" if path else str(label)


def _paths(structure: Structure, path: str = "") -> Iterator[str]:
    if structure.kind is None:
        yield path
        return
    for label, child in zip(structure.labels, structure.children, strict=True):
        yield from _paths(child, _extend(path, structure.kind, label))


def _distinct_paths(structure: Structure) -> tuple[str, ...]:
    """The paths of all leaves; two leaves of one path could not be told apart."""
    try:
        paths = tuple(_paths(structure))
    except RecursionError as error:
        raise nested_too_deeply(error, structure) from None
    if len(set(paths)) < len(paths):
        twice = next(path for path, count in Counter(paths).items() if count > 1)
        raise TreeStructureError(f"two leaves of the tree have the path {twice}; use keys that print differently")
    return paths


def flatten(tree: Tree) -> tuple[tuple[Any, ...], Structure]:
    """Split a tree into its leaves and its structure.

    Args:
        tree: Any tree.

    Returns:
        The leaves from left to right, and the structure that `unflatten` needs to put them back.

    Raises:
        TypeError: A list stands in the tree, or another node that cannot be made again; the message names its class.
        TreeStructureError: The tree is nested hundreds of levels deep, as for all walks over trees.

    Example:
        >>> leaves, structure = flatten({"b": (1, 2), "a": 3})
        >>> leaves
        (3, 1, 2)
        >>> print(structure)
        dict(a=*, b=(*, *))
    """
    leaves: list[Any] = []
    try:
        structure = _flatten_into(leaves, tree)
    except RecursionError as error:
        raise nested_too_deeply(error, tree) from None
    return tuple(leaves), structure


def _flatten_into(leaves: list[Any], node: Tree) -> Structure:
    kind = _kind(type(node))
    if kind is None:
        leaves.append(node)
        return _LEAF
    before = len(leaves)
    inner = tuple([_flatten_into(leaves, child) for child in kind.children(node)])
    return Structure(type(node), kind.labels(node), inner, kind.static(node), len(leaves) - before)


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Tree:
    """Put leaves back into a structure; the inverse of `flatten`.

    Args:
        structure: What `flatten` returned.
        leaves: As many leaves as the structure has, in its order.

    Returns:
        The tree.

    Raises:
        TreeStructureError: Too few or too many leaves.

    Example:
        >>> leaves, structure = flatten((1, {"a": 2}))
        >>> unflatten(structure, [10 * leaf for leaf in leaves])
        (10, {'a': 20})
    """
    items = tuple(leaves)
    if len(items) != structure.size:
        raise TreeStructureError(f"the structure {structure} has {structure.size} leaves, got {len(items)}")
    try:
        return _unflatten_from(iter(items), structure)
    except RecursionError as error:
        raise nested_too_deeply(error, structure) from None


def _unflatten_from(leaves: Any, structure: Structure) -> Tree:
    kind = None if structure.kind is None else _kind(structure.kind)
    if kind is None:
        return next(leaves)
    children = tuple([_unflatten_from(leaves, child) for child in structure.children])
    return kind.build(structure.labels, children, structure.static)


def tree_leaves_with_path(tree: Tree) -> tuple[tuple[str, Any], ...]:
    """Return (path, leaf) pairs from left to right.

    Args:
        tree: Any tree.

    Returns:
        Pairs such as ``("layers[0].weight", array)``.

    Raises:
        TreeStructureError: Two leaves have one path.

    Example:
        >>> tree_leaves_with_path({"x": (1, 2)})
        (("['x'][0]", 1), ("['x'][1]", 2))
    """
    leaves, structure = flatten(tree)
    return tuple(zip(_distinct_paths(structure), leaves, strict=True))


def same_structure(left: Structure, right: Structure) -> bool:
    """Whether two structures are equal.

    Args:
        left: A structure.
        right: A structure.

    Returns:
        ``left == right``.

    Raises:
        TreeStructureError: They are nested too deeply to compare.

    Example:
        >>> same_structure(flatten((1, 2))[1], flatten((3, 4))[1])
        True
    """
    try:
        return left == right
    except RecursionError as error:
        raise nested_too_deeply(error, left) from None


def _same_node(kind: _Kind, left: Tree, right: Tree) -> bool:
    if type(left) is not type(right):
        return False
    if kind.make is not None:  # the number of the children is all that is left
        return len(kind.children(left)) == len(kind.children(right))
    return bool(kind.labels(left) == kind.labels(right) and kind.static(left) == kind.static(right))


def _first_difference(path: str, left: Tree, right: Tree) -> tuple[str, Tree, Tree] | None:
    kind = _kind(type(left))
    if kind is None and _kind(type(right)) is None:
        return None
    if kind is None or not _same_node(kind, left, right):
        return path, left, right
    for label, a, b in zip(kind.labels(left), kind.children(left), kind.children(right), strict=True):
        found = _first_difference(_extend(path, type(left), label), a, b)
        if found is not None:
            return found
    return None


def _mismatch(tree: Tree, *rest: Tree) -> Exception:
    """What to raise where a tree and one of the others differ: an error that names the first place."""
    try:
        found = next(filter(None, (_first_difference("", tree, other) for other in rest)), ("", tree, rest[0]))
        path, a, b = found
        return TreeStructureError(f"trees differ at {path or 'the root'}: {_describe(a)} against {_describe(b)}")
    except RecursionError as error:
        return nested_too_deeply(error, tree, *rest)


def _describe(node: Tree) -> str:
    if isinstance(node, np.ndarray):
        return f"an array of shape {node.shape}"
    return str(flatten(node)[1]) if _kind(type(node)) is not None else f"a leaf of type {type(node).__name__}"
