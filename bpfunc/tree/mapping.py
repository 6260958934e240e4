"""Walking trees: functions of one leaf lifted to all of them, leaves side by side, and folds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from bpfunc.arrays.arguments import described
from bpfunc.tree.kinds import Tree, TreeT, _kind
from bpfunc.tree.structure import (
    _LEAF,
    TreeStructureError,
    _describe,
    _distinct_paths,
    _mismatch,
    _same_node,
    flatten,
    nested_too_deeply,
    same_structure,
    tree_leaves_with_path,
    unflatten,
)

ValueT = TypeVar("ValueT")


class _Differ(Exception):  # found while mapping; `tree_map` turns it into a TreeStructureError
    pass


def tree_map(function: Callable[..., Any], tree: TreeT, *rest: Tree) -> TreeT:
    """Apply a function to each leaf, and to the leaves at the same place of further trees.

    Args:
        function: Takes one leaf of each tree, returns the new leaf.
        tree: Gives the structure of the result.
        rest: Trees of the same structure.

    Returns:
        A tree of the results.

    Raises:
        TypeError: The first argument is not a function.
        TreeStructureError: The trees differ; the message names the first place where they do.

    Example:
        >>> tree_map(lambda a, b: a + b, (1, {"x": 2}), (10, {"x": 20}))
        (11, {'x': 22})
    """
    given: Any = function
    if not callable(given):
        swapped = "; the function comes first" if callable(tree) else ""
        raise TypeError(f"tree_map takes a function as function, got {described(given)}{swapped}")
    try:
        result: TreeT = _map(function, tree, rest)
    except _Differ:
        raise _mismatch(tree, *rest) from None
    except RecursionError as error:
        raise nested_too_deeply(error, tree) from None
    return result


def tree_map_with_path(function: Callable[..., Any], tree: TreeT, *rest: Tree) -> TreeT:
    """Apply ``function(path, leaf, ...)`` to each leaf.

    Args:
        function: Takes the leaf's path, such as ``layers[0].weight``, and one leaf of each tree.
        tree: Gives the structure of the result.
        rest: Trees of the same structure.

    Returns:
        A tree of the results.

    Raises:
        TreeStructureError: The trees differ; the message names the first place where they do.

    Example:
        >>> tree_map_with_path(lambda path, leaf: f"{path}={leaf}", {"x": (1, 2)})
        {'x': ("['x'][0]=1", "['x'][1]=2")}
    """
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in rest:
        other_leaves, other_structure = flatten(other)
        if not same_structure(other_structure, structure):
            raise _mismatch(tree, other)
        columns.append(other_leaves)
    rows = zip(_distinct_paths(structure), *columns, strict=True)
    result: TreeT = unflatten(structure, [function(*row) for row in rows])
    return result


def _map(function: Callable[..., Any], node: Tree, rest: tuple[Tree, ...]) -> Tree:
    kind = _kind(type(node))
    if kind is None:
        for other in rest:
            if _kind(type(other)) is not None:
                raise _Differ
        return function(node, *rest)
    children = kind.children(node)
    if not rest:
        inner = [_map(function, child, ()) for child in children]
        return kind.build(kind.labels(node), tuple(inner), kind.static(node))
    for other in rest:
        if not _same_node(kind, node, other):
            raise _Differ
    rows = zip(*[kind.children(other) for other in rest], strict=True)
    inner = [_map(function, child, row) for child, row in zip(children, rows, strict=True)]
    return kind.build(kind.labels(node), tuple(inner), kind.static(node))


def tree_leaves(tree: Tree) -> tuple[Any, ...]:
    """Return the leaves from left to right.

    Args:
        tree: Any tree.

    Returns:
        Its leaves.

    Example:
        >>> tree_leaves((1, None, {"x": 2}))
        (1, 2)
    """
    leaves: list[Any] = []
    try:
        _collect(leaves, tree)
    except RecursionError as error:
        raise nested_too_deeply(error, tree) from None
    return tuple(leaves)


def _collect(leaves: list[Any], node: Tree) -> None:
    kind = _kind(type(node))
    if kind is None:
        leaves.append(node)
    else:
        for child in kind.children(node):
            _collect(leaves, child)


def tree_rows(tree: Tree, *rest: Tree) -> list[tuple[Any, ...]]:
    """Lay the leaves of trees side by side.

    Args:
        tree: Any tree.
        rest: Trees of the same structure.

    Returns:
        For each place a tuple with the leaf of each tree.

    Raises:
        TreeStructureError: The trees differ; the message names the first place where they do.

    Example:
        >>> tree_rows((1, {"a": 2}), (10, {"a": 20}))
        [(1, 10), (2, 20)]
    """
    rows: list[tuple[Any, ...]] = []
    trees = (tree, *rest)
    try:
        _collect_rows(rows, trees)
    except (_Differ, ValueError):
        raise _mismatch(tree, *rest) from None
    except RecursionError as error:
        raise nested_too_deeply(error, *trees) from None
    return rows


def _collect_rows(rows: list[tuple[Any, ...]], nodes: tuple[Tree, ...]) -> None:
    first, cls = nodes[0], type(nodes[0])
    kind = _kind(cls)
    if kind is None:
        if any(_kind(type(other)) is not None for other in nodes):
            raise _Differ
        rows.append(nodes)
        return
    for other in nodes:
        # Where the children are all that there is, `zip` below sees whether they are as many.
        if type(other) is not cls or (kind.make is None and not _same_node(kind, first, other)):
            raise _Differ
    for row in zip(*map(kind.children, nodes), strict=True):
        # Most children are arrays: a look at their classes is cheaper than a call.
        for child in row:
            if type(child) is not np.ndarray:
                _collect_rows(rows, row)
                break
        else:
            rows.append(row)


def matched_rows(tree: Tree, *rest: Tree) -> list[tuple[Any, ...]]:
    """Lay the leaves of trees side by side, and refuse leaves of different shapes: what arithmetic on trees goes over.

    Args:
        tree: A tree of arrays or numbers.
        rest: Trees of the same structure and shapes.

    Returns:
        For each place a tuple with the leaf of each tree.

    Raises:
        TreeStructureError: The trees differ in structure or shape; the message names the first place where they do.

    Example:
        >>> import numpy as np
        >>> matched_rows((1, {"a": 2}), (10, {"a": 20}))
        [(1, 10), (2, 20)]
        >>> matched_rows({"w": np.zeros((1, 3))}, {"w": np.zeros(3)})
        Traceback (most recent call last):
            ...
        bpfunc.tree.TreeStructureError: trees differ at ['w']: an array of shape (1, 3) against an array of shape (3,)
    """
    rows = tree_rows(tree, *rest)
    for index, row in enumerate(rows):
        try:
            shapes = list(map(_shape_of, row))
        except AttributeError:  # numbers
            shapes = [np.shape(leaf) for leaf in row]
        if shapes.count(shapes[0]) < len(row):
            other = next(leaf for leaf, shape in zip(row, shapes, strict=True) if shape != shapes[0])
            path = tree_leaves_with_path(tree)[index][0] or "the root"
            raise TreeStructureError(f"trees differ at {path}: {_describe(row[0])} against {_describe(other)}")
    return rows


_shape_of = operator.attrgetter("shape")


def tree_combine(function: Callable[..., Any], tree: TreeT, *rest: Tree) -> TreeT:
    """Apply a function to the leaves at one place of several trees, all of one shape: `tree_map` for arithmetic.

    Args:
        function: Takes one leaf of each tree, returns the new leaf.
        tree: Gives the structure of the result.
        rest: Trees of the same structure and shapes.

    Returns:
        A tree of the results.

    Raises:
        TreeStructureError: The trees differ in structure or shape; the message names the first place where they do.

    Example:
        >>> tree_combine(lambda a, b: a - b, (11, 22), (10, 20))
        (1, 2)
    """
    return tree_fill(tree, [function(*row) for row in matched_rows(tree, *rest)])


def tree_fill(like: TreeT, leaves: Iterable[Any]) -> TreeT:
    """Put leaves into the structure of a tree.

    Args:
        like: Gives the structure.
        leaves: As many as ``like`` has, from left to right.

    Returns:
        A tree like ``like`` with other leaves.

    Raises:
        TreeStructureError: Too few or too many leaves.

    Example:
        >>> tree_fill((1, {"a": 2}), [10, 20])
        (10, {'a': 20})
    """
    remaining = iter(leaves)
    try:
        filled: TreeT = _fill(remaining, like)
    except StopIteration:
        raise TreeStructureError(f"too few leaves for {flatten(like)[1]}") from None
    except RecursionError as error:
        raise nested_too_deeply(error, like) from None
    if next(remaining, _LEAF) is not _LEAF:
        raise TreeStructureError(f"too many leaves for {flatten(like)[1]}")
    return filled


def _fill(leaves: Iterator[Any], node: Tree) -> Tree:
    kind = _kind(type(node))
    if kind is None:
        return next(leaves)
    inner = [next(leaves) if type(child) is np.ndarray else _fill(leaves, child) for child in kind.children(node)]
    return kind.make(*inner) if kind.make else kind.build(kind.labels(node), tuple(inner), kind.static(node))


def tree_reduce(function: Callable[[ValueT, Any], ValueT], tree: Tree, initial: ValueT) -> ValueT:
    """Fold the leaves from left to right.

    Args:
        function: Takes the value so far and a leaf.
        tree: Any tree.
        initial: The value to start from.

    Returns:
        The last value; ``initial`` for a tree without leaves.

    Example:
        >>> tree_reduce(lambda total, leaf: total + leaf, (1, (2, 3)), 0)
        6
    """
    value = initial
    for leaf in tree_leaves(tree):
        value = function(value, leaf)
    return value
