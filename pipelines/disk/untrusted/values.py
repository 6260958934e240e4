"""Plain values of a document, checked against the types that a program declares for them."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import attrs

RecordT = TypeVar("RecordT")


def record(kind: type[RecordT], table: object, path: str = "") -> RecordT:
    """Make a record of a table, strictly: no value is converted, no name is guessed.

    Args:
        kind: An attrs class whose fields have the types that `checked` knows.
        table: Field -> value, nested as the class is; other fields are passed over.
        path: Name of the table in messages, such as ``train.``.

    Returns:
        The record.

    Raises:
        ValueError: A field without a default is missing, or has a value of another type or out of range.

    Example:
        >>> record(attrs.make_class("Size", {"rows": attrs.field(type=int)}), {"rows": 3})
        Size(rows=3)
    """
    if not isinstance(table, Mapping):
        raise _wrong(path.rstrip(".") or "the document", "a table", table)
    types, values = get_type_hints(kind), {}
    for field in attrs.fields(kind):  # type: ignore[arg-type]
        if field.name in table:
            values[field.name] = checked(types[field.name], table[field.name], path + field.name)
        elif field.default is attrs.NOTHING:
            raise ValueError(f"{path}{field.name} is missing")
    return kind(**values)


def checked(wanted: Any, value: object, path: str) -> Any:
    """Return the value if it has the wanted type; whole numbers may stand for real ones, lists for tuples.

    Args:
        wanted: ``int``, ``float``, ``str``, ``bool``, ``object`` (anything), a Literal, ``tuple[X, ...]``,
            ``Mapping[str, X]``, ``X | None``, or an attrs class.
        value: From a document.
        path: Name of the value in messages, such as ``train.epochs``.

    Returns:
        The value; of a list a tuple, of a table a dict or a record.

    Raises:
        ValueError: It has another type.

    Example:
        >>> checked(tuple[float, ...], [1, 0.5], "rates")
        (1.0, 0.5)
    """
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is UnionType:
        return None if value is None else checked(next(kind for kind in inner if kind is not NoneType), value, path)
    if origin is Literal:
        if value not in inner:
            raise _wrong(path, f"one of {', '.join(map(repr, inner))}", value)
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(path, "a list", value)
        return tuple(checked(inner[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(path, "a table", value)
        return {str(name): checked(inner[1], item, f"{path}.{name}") for name, item in value.items()}
    if attrs.has(wanted):
        return record(wanted, value, f"{path}.")
    return value if wanted is object else _plain(wanted, value, path)


def _plain(wanted: type, value: object, path: str) -> object:
    if wanted is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _wrong(path, "a number that a float can hold", value) from None
    if type(value) is int and wanted is int and not -(2**63) <= value < 2**63:
        raise _wrong(path, "a whole number of at most 64 bits", value)
    if type(value) is not wanted:
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise _wrong(path, names[wanted], value)
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise _wrong(path, "a text in UTF-8", value)
    return value


def _wrong(path: str, expected: str, value: object) -> ValueError:
    return ValueError(f"{path[:200]}: expected {expected}, found {_shown(value)}")


def _shown(value: object) -> str:
    """A value as it is written, unless it is too long for a message."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number without end"
    return text if len(text) <= 200 else f"{text[:200]}..."
