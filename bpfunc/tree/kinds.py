"""Which classes are nodes of a tree, and how nodes of each come apart and together again.

This package is the only one that may say ``Any``: the type of a tree is known to the caller that made it.
"""

from __future__ import annotations

import operator
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import attrs

from bpfunc.arrays.types import kept

Tree: TypeAlias = Any
"""A nest of attrs records, tuples, dicts and None with arrays or numbers at its ends."""
TreeT = TypeVar("TreeT")
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
    make: Callable[..., Any] | None = None
    """Makes a node of its children alone, where their number and the class are all that there is of its structure."""


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
    make = cls if cls is tuple else getattr(cls, "_make", None)
    if make is None:
        raise TypeError(f"a {cls.__name__} in a tree: of tuples only plain and named ones can be made again")
    return _Kind(
        lambda node: tuple(range(len(node))),
        tuple,
        _nothing,
        lambda labels, children, static: make(children),
        lambda *children: make(children),
    )


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

    def build(labels: tuple[Any, ...], children: tuple[Any, ...], static_values: tuple[Any, ...]) -> Any:
        return make(*children, *static_values)

    def build_by_name(labels: tuple[Any, ...], children: tuple[Any, ...], static_values: tuple[Any, ...]) -> Any:
        values = dict(zip(aliases, (*children, *static_values), strict=True))
        record = make(**{field.alias: values[field.alias] for field in visited if field.init})
        for field in late:
            object.__setattr__(record, field.name, kept(field, values[field.alias]))
        return record

    in_order = visited == tuple(fields) and not late and not any(field.kw_only for field in fields)
    children = _getter(names)
    return _Kind(
        lambda node: names,
        _refusing_unset(children) if late else children,
        _getter(tuple(field.name for field in static)),
        build if in_order else build_by_name,
        make if in_order and not static else None,
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
