"""Pytrees: one way to walk parameters, gradients and optimiser state.

A tree is a leaf or a node. Nodes are attrs records (any class, no registration), tuples, named tuples, dicts (visited
in sorted order of their keys; an OrderedDict in its own; also defaultdict and Counter) and None, which has no leaves.
Lists, and other classes of tuples and dicts, are refused. Everything else is a leaf: an array or a number. Fields
marked with `STATIC` belong to the structure and are never visited. Arithmetic is written for arrays and lifted to
trees here, once.

This is the only module that may say ``Any``: a tree's type is known to whoever made it.
"""

from __future__ import annotations

import math
import operator
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import attrs
import numpy as np
from numpy.typing import DTypeLike

from bpfunc.arrays.types import FloatArray, converted, readonly

Tree: TypeAlias = Any
"""A nest of attrs records, tuples, dicts and None with arrays or numbers at its ends."""

TreeT = TypeVar("TreeT")
ValueT = TypeVar("ValueT")


class TreeStructureError(ValueError):
    """Two trees that should have one structure differ; the message names the place and both sides."""


class _Differ(Exception):  # found while mapping; `tree_map` turns it into a TreeStructureError
    pass


STATIC: Final = MappingProxyType({"bpfunc_static": True})
"""Metadata for ``attrs.field`` that makes a field part of the structure: compared, never mapped over.

>>> @attrs.frozen
... class Scaled:
...     value: float
...     unit: str = attrs.field(default="s", metadata=STATIC)
>>> tree_map(lambda value: 2 * value, Scaled(3.0))
Scaled(value=6.0, unit='s')
"""


class _Kind(NamedTuple):
    """How nodes of one class come apart and together again; found once for each class."""

    labels: Callable[[Any], tuple[Any, ...]]
    """Field names, indices or dict keys of a node's children."""
    children: Callable[[Any], tuple[Any, ...]]
    static: Callable[[Any], tuple[Any, ...]]
    """Values of a node's static fields."""
    build: Callable[[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]], Any]
    """Makes a node of labels, children and static values."""


def _nothing(node: Any) -> tuple[Any, ...]:
    return ()


def _find_kind(cls: type[Any]) -> _Kind | None:
    """Return how a class comes apart, or None where its instances are leaves."""
    if cls is type(None):
        return _Kind(_nothing, _nothing, _nothing, lambda labels, children, static: None)
    if issubclass(cls, tuple):
        return _tuple_kind(cls)
    if issubclass(cls, dict):
        return _dict_kind(cls)
    if issubclass(cls, list):
        raise TypeError("a list in a tree: lists are mutable and so no part of a value; use a tuple")
    return _record_kind(cls) if attrs.has(cls) else None


_kind: Any = cache(_find_kind)


def _tuple_kind(cls: type[Any]) -> _Kind:
    if cls is not tuple and not hasattr(cls, "_make"):
        raise TypeError(f"a {cls.__name__} in a tree: of tuples only plain and named ones can be made again")
    make = (lambda children: children) if cls is tuple else cls._make
    return _Kind(lambda node: tuple(range(len(node))), tuple, _nothing, lambda labels, children, static: make(children))


def _dict_kind(cls: type[Any]) -> _Kind:
    keys = tuple if cls is OrderedDict else _sorted_keys  # the order of an OrderedDict is part of its value
    static: Callable[[Any], tuple[Any, ...]] = _nothing
    if cls is dict or cls is OrderedDict:

        def build(labels: tuple[Any, ...], children: tuple[Any, ...], static_values: tuple[Any, ...]) -> Any:
            return cls(zip(labels, children, strict=True))
    elif cls is defaultdict:
        static = _factory

        def build(labels: tuple[Any, ...], children: tuple[Any, ...], static_values: tuple[Any, ...]) -> Any:
            return cls(static_values[0], zip(labels, children, strict=True))
    elif cls is Counter:

        def build(labels: tuple[Any, ...], children: tuple[Any, ...], static_values: tuple[Any, ...]) -> Any:
            return cls(dict(zip(labels, children, strict=True)))  # of pairs it would count each
    else:
        raise TypeError(
            f"a {cls.__name__} in a tree: of dict classes only dict, OrderedDict, defaultdict and Counter can be made "
            "again; use one of them"
        )
    return _Kind(keys, lambda node: tuple([node[label] for label in keys(node)]), static, build)


def _factory(node: Any) -> tuple[Any, ...]:
    return (node.default_factory,)


def _sorted_keys(node: dict[Any, Any]) -> tuple[Any, ...]:
    """The keys of a dict in an order that does not depend on how it was filled; class by class if need be."""
    for place in (lambda key: key, lambda key: (type(key).__qualname__, key)):
        try:
            keys = sorted(node, key=place)
            if all(place(a) < place(b) for a, b in pairwise(keys)):  # sets, and NaN, have no one order
                return tuple(keys)
        except TypeError:
            continue
    found = ", ".join(sorted({type(key).__qualname__ for key in node}))
    name = type(node).__name__
    raise TypeError(f"a {name} in a tree: its keys, of the class {found}, cannot be put in order; use text or numbers")


def _record_kind(cls: type[Any]) -> _Kind:
    fields = attrs.fields(cls)
    dynamic = [field for field in fields if not field.metadata.get("bpfunc_static")]
    static = [field for field in fields if field.metadata.get("bpfunc_static")]
    visited = (*dynamic, *static)
    aliases = [field.alias for field in visited]
    names = tuple(field.name for field in dynamic)
    make = cls if not hasattr(cls, "__attrs_init__") else _made_by_attrs(cls)
    late = [field for field in visited if not field.init]
    in_order = visited == tuple(fields) and not any(field.kw_only for field in fields)

    def build(labels: tuple[Any, ...], children: tuple[Any, ...], static_values: tuple[Any, ...]) -> Any:
        if in_order and not late:
            return make(*children, *static_values)
        values = dict(zip(aliases, (*children, *static_values), strict=True))
        record = make(**{field.alias: values[field.alias] for field in visited if field.init})
        for field in late:
            object.__setattr__(record, field.name, converted(field, values[field.alias], record))
        return record

    children = _getter(names)
    return _Kind(
        lambda node: names,
        _refusing_unset(children) if late else children,
        _getter(tuple(field.name for field in static)),
        build,
    )


def _made_by_attrs(cls: Any) -> Callable[..., Any]:
    """The maker that attrs writes, of a class that has an ``__init__`` of its own."""

    def make(*positional: Any, **named: Any) -> Any:
        record = cls.__new__(cls)
        record.__attrs_init__(*positional, **named)
        return record

    return make


def _refusing_unset(children: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    def found(node: Any) -> tuple[Any, ...]:
        try:
            return children(node)
        except AttributeError as error:
            raise TypeError(f"a {type(node).__name__} in a tree: its field {error.name} was never set") from None

    return found


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) < 2:
        return (lambda node: (getattr(node, names[0]),)) if names else _nothing
    return operator.attrgetter(*names)


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
        """Print as the constructor call with ``*`` for each leaf."""
        if self.kind is None:
            return "*"
        if self.kind is type(None):
            return "None"
        inner = [
            f"{label}={child}" if isinstance(label, str) else str(child)
            for label, child in zip(self.labels, self.children, strict=True)
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
    paths = tuple(_paths(structure))
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

    Example:
        >>> leaves, structure = flatten({"b": (1, 2), "a": 3})
        >>> leaves
        (3, 1, 2)
        >>> print(structure)
        dict(a=*, b=(*, *))
    """
    leaves: list[Any] = []
    structure = _flatten_into(leaves, tree)
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
    return _unflatten_from(iter(items), structure)


def _unflatten_from(leaves: Any, structure: Structure) -> Tree:
    kind = None if structure.kind is None else _kind(structure.kind)
    if kind is None:
        return next(leaves)
    children = tuple([_unflatten_from(leaves, child) for child in structure.children])
    return kind.build(structure.labels, children, structure.static)


def tree_map(function: Callable[..., Any], tree: TreeT, *rest: Tree) -> TreeT:
    """Apply a function to each leaf, and to the leaves at the same place of further trees.

    Args:
        function: Takes one leaf of each tree, returns the new leaf.
        tree: Gives the structure of the result.
        rest: Trees of the same structure.

    Returns:
        A tree of the results.

    Raises:
        TreeStructureError: The trees differ; the message names the first place where they do.

    Example:
        >>> tree_map(lambda a, b: a + b, (1, {"x": 2}), (10, {"x": 20}))
        (11, {'x': 22})
    """
    try:
        result: TreeT = _map(function, tree, rest)
    except _Differ:
        raise next(_mismatch(tree, other) for other in rest if _first_difference("", tree, other)) from None
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
        if other_structure != structure:
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


def _same_node(kind: _Kind, left: Tree, right: Tree) -> bool:
    return (
        type(left) is type(right)
        and kind.labels(left) == kind.labels(right)
        and kind.static(left) == kind.static(right)
    )


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


def _mismatch(left: Tree, right: Tree) -> TreeStructureError:
    path, a, b = _first_difference("", left, right) or ("the root", left, right)
    return TreeStructureError(f"trees differ at {path or 'the root'}: {_describe(a)} against {_describe(b)}")


def _describe(node: Tree) -> str:
    if isinstance(node, np.ndarray):
        return f"an array of shape {node.shape}"
    return str(flatten(node)[1]) if _kind(type(node)) is not None else f"a leaf of type {type(node).__name__}"


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
    _collect(leaves, tree)
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
    except _Differ:
        raise next(_mismatch(tree, other) for other in rest if _first_difference("", tree, other)) from None
    return rows


def _collect_rows(rows: list[tuple[Any, ...]], nodes: tuple[Tree, ...]) -> None:
    first, kind = nodes[0], _kind(type(nodes[0]))
    for other in nodes[1:]:
        if kind is None:
            if _kind(type(other)) is not None:
                raise _Differ
        elif not _same_node(kind, first, other):
            raise _Differ
    if kind is None:
        rows.append(nodes)
        return
    for row in zip(*[kind.children(node) for node in nodes], strict=True):
        # Most children are arrays: a look at their classes is cheaper than a call.
        if all(type(child) is np.ndarray for child in row):
            rows.append(row)
        else:
            _collect_rows(rows, row)


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


def tree_cast_like(tree: TreeT, like: Tree) -> TreeT:
    """Convert each leaf to the dtype of the leaf at the same place of another tree.

    Args:
        tree: A tree of arrays or numbers.
        like: A tree of the same structure and shapes; gives the dtypes. Where it has a number, the leaf stays.

    Returns:
        The tree; itself where nothing has to be converted.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> import numpy as np
        >>> tree_cast_like((np.ones(2, np.float16),), (np.zeros(2, np.float32),))
        (array([1., 1.], dtype=float32),)
    """
    rows = matched_rows(tree, like)
    if all(_dtype(leaf) == _dtype(other) for leaf, other in rows):
        return tree
    return tree_fill(tree, [_cast_like(leaf, _dtype(other)) for leaf, other in rows])


def _cast_like(leaf: Any, dtype: Any) -> Any:
    if dtype is None:
        return leaf
    return leaf.astype(dtype, copy=False) if isinstance(leaf, np.ndarray) else dtype.type(leaf)


def _dtype(leaf: Any) -> Any:
    return getattr(leaf, "dtype", None)


def float_dtype(tree: Tree) -> np.dtype[np.floating] | None:
    """Find the dtype that a tree computes in: that of its first floating leaf.

    Args:
        tree: Any tree.

    Returns:
        The dtype; None where no leaf is a floating array.

    Example:
        >>> import numpy as np
        >>> float_dtype(((), np.arange(3), np.zeros(2, np.float32)))
        dtype('float32')
    """
    kind = None if type(tree) is np.ndarray else _kind(type(tree))
    if kind is None:
        dtype = _dtype(tree)
        return dtype if dtype is not None and dtype.kind == "f" else None
    for child in kind.children(tree):
        found = float_dtype(child)
        if found is not None:
            return found
    return None


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
    if next(remaining, _LEAF) is not _LEAF:
        raise TreeStructureError(f"too many leaves for {flatten(like)[1]}")
    return filled


def _fill(leaves: Iterator[Any], node: Tree) -> Tree:
    kind = _kind(type(node))
    if kind is None:
        return next(leaves)
    inner = [next(leaves) if type(child) is np.ndarray else _fill(leaves, child) for child in kind.children(node)]
    return kind.build(kind.labels(node), tuple(inner), kind.static(node))


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


def tree_add(left: TreeT, right: Tree) -> TreeT:
    """Add two trees leaf by leaf.

    Args:
        left: Any tree of arrays or numbers.
        right: A tree of the same structure and shapes.

    Returns:
        Their sum.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> tree_add((1, 2), (10, 20))
        (11, 22)
    """
    return tree_combine(operator.add, left, right)


def tree_scale(factor: float, tree: TreeT) -> TreeT:
    """Multiply each leaf by a number.

    Args:
        factor: The number.
        tree: Any tree of arrays or numbers.

    Returns:
        The scaled tree.

    Example:
        >>> tree_scale(3, (1, 2))
        (3, 6)
    """
    own = factor.item() if isinstance(factor, np.generic) else factor  # a float64 would make float64 of float32
    return tree_map(lambda leaf: own * leaf, tree)


def tree_zeros_like(tree: TreeT) -> TreeT:
    """Make a tree of zeros of the same structure, shapes and dtypes.

    Args:
        tree: Any tree of arrays.

    Returns:
        Fresh zero arrays.

    Example:
        >>> import numpy as np
        >>> tree_zeros_like((np.ones(2, np.float32),))
        (array([0., 0.], dtype=float32),)
    """
    return tree_map(np.zeros_like, tree)


def tree_cast(tree: TreeT, dtype: DTypeLike) -> TreeT:
    """Convert the floating leaves to another dtype; whole numbers stay as they are.

    Args:
        tree: Any tree of arrays or numbers.
        dtype: Such as ``np.float64``, to check gradients.

    Returns:
        A tree of fresh arrays.

    Example:
        >>> import numpy as np
        >>> tree_cast((np.ones(1, np.float32), np.ones(1, np.int64)), np.float64)
        (array([1.]), array([1]))
    """

    def cast(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else readonly(leaf)

    return tree_map(cast, tree)


def tree_dot(left: Tree, right: Tree) -> float:
    """Inner product of two trees: the sum of the products of their leaves, in float64.

    Args:
        left: A tree of arrays.
        right: A tree of the same structure and shapes.

    Returns:
        The inner product.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> import numpy as np
        >>> tree_dot((np.array([1.0, 2.0]),), (np.array([3.0, 4.0]),))
        11.0
    """

    def dot(a: Any, b: Any) -> float:
        return float(np.vdot(np.asarray(a, np.float64), np.asarray(b, np.float64)))

    return float(sum(dot(a, b) for a, b in matched_rows(left, right)))


def tree_norm(tree: Tree) -> float:
    """Euclidean norm over all leaves, in float64; squares that overflow or underflow do no harm.

    Args:
        tree: A tree of arrays.

    Returns:
        The norm; 0 for a tree without leaves.

    Example:
        >>> import numpy as np
        >>> tree_norm((np.array([3.0]), np.array([4.0])))
        5.0
        >>> bool(np.isclose(tree_norm((np.array([3e200, 4e200]),)), 5e200))
        True

    Reference: Blue, "A portable Fortran program to find the Euclidean norm of a vector" (1978), on the scaling.
    """
    return math.prod(norm_factors(tree))


def norm_factors(tree: Tree) -> tuple[float, float]:
    """Euclidean norm over all leaves as the product of two numbers, for those who divide by it.

    The first is 1 unless the squares of the leaves overflow or underflow, else the largest size of a number in them.

    Args:
        tree: A tree of arrays.

    Returns:
        The two factors; NaN among them where a leaf holds NaN.

    Example:
        >>> import numpy as np
        >>> norm_factors(np.array([3.0, 4.0])), norm_factors(np.array([1.5e308, 1.5e308]))
        ((1.0, 5.0), (1.5e+308, 1.4142135623730951))
    """
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in tree_leaves(tree)]
    with np.errstate(over="ignore", under="ignore"):
        squares = sum(float(leaf.dot(leaf)) for leaf in leaves)
        if _SAFE < squares < 1 / _SAFE:
            return 1.0, math.sqrt(squares)
        largest = float(np.max([np.abs(leaf).max(initial=0.0) for leaf in leaves], initial=0.0))
        if largest == 0 or not math.isfinite(largest):
            return 1.0, largest
        return largest, math.sqrt(sum(float(np.square(leaf / largest).sum()) for leaf in leaves))


_SAFE: Final = 1e-200
"""Sums of squares between this and its inverse have lost nothing, whatever the sizes of the squares."""


def with_norm(leaf: FloatArray, norm: tuple[float, float], wanted: tuple[float, float]) -> FloatArray:
    """Multiply by the quotient of two norms, where the quotient itself may be too large or too small for the dtype.

    Args:
        leaf: Array of any shape, floating.
        norm: `norm_factors` of it, or of the tree that it is of.
        wanted: Two factors of the norm that it should have.

    Returns:
        A fresh array of the same dtype.

    Example:
        >>> import numpy as np
        >>> with_norm(np.array([3e20, 4e20], np.float32), (1.0, 5e20), (1.0, 1.0)).round(4)
        array([0.6, 0.8], dtype=float32)
    """
    known, whole = np.finfo(np.result_type(leaf, np.float16)), math.prod(norm)
    factor = math.prod(wanted) / whole if whole else math.inf
    if float(known.tiny) <= factor <= float(known.max):
        return leaf * factor
    with np.errstate(invalid="ignore"):  # infinity over infinity
        return (np.asarray(leaf, np.float64) / norm[0] / norm[1] * wanted[1] * wanted[0]).astype(known.dtype)


def tree_allclose(left: Tree, right: Tree, *, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Whether two trees have one structure and nearly the same leaves; ``==`` on records of arrays is off.

    Args:
        left: A tree.
        right: A tree.
        rtol: Relative tolerance, as in ``numpy.allclose``.
        atol: Absolute tolerance.

    Returns:
        True where structure, shapes and values agree; NaN equals nothing.

    Example:
        >>> import numpy as np
        >>> tree_allclose((np.ones(2),), (np.ones(2) + 1e-9,)), tree_allclose((np.ones(2),), ())
        (True, False)
    """
    left_leaves, left_structure = flatten(left)
    right_leaves, right_structure = flatten(right)
    return left_structure == right_structure and all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=rtol, atol=atol)
        for a, b in zip(left_leaves, right_leaves, strict=True)
    )


def tree_size(tree: Tree) -> int:
    """Number of numbers in a tree.

    Args:
        tree: A tree of arrays.

    Returns:
        The sum of the leaves' sizes.

    Example:
        >>> import numpy as np
        >>> tree_size((np.zeros((2, 3)), np.zeros(4)))
        10
    """
    return int(sum(np.size(leaf) for leaf in tree_leaves(tree)))


def tree_bytes(tree: Tree) -> int:
    """Memory that the leaves take, in bytes.

    Args:
        tree: A tree of arrays.

    Returns:
        The sum of the leaves' sizes in bytes.

    Example:
        >>> import numpy as np
        >>> tree_bytes((np.zeros((2, 3), np.float32),))
        24
    """
    return int(sum(np.asarray(leaf).nbytes for leaf in tree_leaves(tree)))


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
        A tree whose arrays nobody else holds and nobody can write to.

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
    result: TreeT = _merge(selected, others)
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
