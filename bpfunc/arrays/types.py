"""Array aliases and the converter that keeps the arrays in records read-only.

Shape letters are the same everywhere: ``B`` batch, ``D`` inputs, ``H`` outputs of a layer, ``K`` classes.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating]
"""A float32 (to train) or float64 (to check gradients) array."""

IntArray: TypeAlias = NDArray[np.integer]
"""An array of whole numbers: class indices, row numbers, counts."""

BoolArray: TypeAlias = NDArray[np.bool_]
"""An array of truth values: masks."""

Shape: TypeAlias = tuple[int, ...]
"""The shape of one example, without the batch axis."""

FloatDType: TypeAlias = type[np.float32] | type[np.float64]
"""float32 to train, float64 to check gradients."""

ValueT = TypeVar("ValueT")


def readonly(value: ValueT) -> ValueT:
    """Return a read-only view of an array; hand anything else back as it is.

    The converter of every array field in a frozen record, put there by `readonly_arrays`. A view still follows
    the array it was taken from, so copy at the boundary (initialisation, loading) and let views do the rest.

    Args:
        value: An array of any shape and dtype, or any other object (a tree may hold paths or flags for a while).

    Returns:
        A view with ``writeable=False`` that shares memory with ``value``; ``value`` itself where it is not an array
        or is read-only already.

    Example:
        >>> import numpy as np
        >>> weight = readonly(np.zeros(2, np.float32))
        >>> weight[0] = 7
        Traceback (most recent call last):
            ...
        ValueError: assignment destination is read-only
    """
    if isinstance(value, np.ndarray) and value.flags.writeable:
        view = value.view()
        view.setflags(write=False)
        return view
    return value


def readonly_arrays(cls: type, fields: list[attrs.Attribute[object]]) -> list[attrs.Attribute[object]]:
    """Make every field of a record pass through `readonly`: a ``field_transformer`` for ``attrs.frozen``.

    Also when the record is copied or unpickled, for which NumPy makes writable arrays.

    Args:
        cls: The record's class.
        fields: Its fields.

    Returns:
        The fields, each with `readonly` as its converter where it had none.

    Example:
        >>> import attrs
        >>> import copy
        >>> import numpy as np
        >>> @attrs.frozen(eq=False, field_transformer=readonly_arrays)
        ... class Point:
        ...     at: np.ndarray
        >>> Point(np.zeros(2)).at.flags.writeable, copy.deepcopy(Point(np.zeros(2))).at.flags.writeable
        (False, False)
    """
    # attrs writes no __reduce__, and takes over those that there are when it makes the class anew with slots.
    cls.__reduce__ = _reduced  # type: ignore[assignment, method-assign]
    return [field if field.converter else field.evolve(converter=_ToReadonly(cls, field.name)) for field in fields]


class _ToReadonly:
    """`readonly` as the converter of a field; a list, which no part of a tree may be, is refused by name."""

    __slots__ = ("place",)

    def __init__(self, cls: type, name: str) -> None:
        self.place = f"{cls.__name__} takes an array as {name}"

    def __call__(self, value: ValueT) -> ValueT:
        if isinstance(value, list):
            raise TypeError(f"{self.place}, got a list; write numpy.asarray(...)")
        return readonly(value)


def _reduced(record: attrs.AttrsInstance) -> tuple[object, ...]:
    """What `copy` and `pickle` make a record of."""
    return _restored, (type(record), tuple(getattr(record, field.name) for field in attrs.fields(type(record))))


def _restored(cls: type[attrs.AttrsInstance], values: tuple[object, ...]) -> attrs.AttrsInstance:
    record = cls.__new__(cls)
    for field, value in zip(attrs.fields(cls), values, strict=True):
        object.__setattr__(record, field.name, kept(field, value))
    return record


def kept(field: attrs.Attribute[object], value: object) -> object:
    """Bring a value that a record had in a field into the form in which it has it again: arrays read-only.

    Other converters than `readonly` have done their work when the record was made.

    Args:
        field: A field of the record's class.
        value: The value.

    Returns:
        A read-only view where the field's arrays are read-only; else the value.

    Example:
        >>> import attrs
        >>> import numpy as np
        >>> @attrs.frozen(eq=False, field_transformer=readonly_arrays)
        ... class Point:
        ...     at: np.ndarray
        >>> kept(attrs.fields(Point).at, np.zeros(2)).flags.writeable
        False
    """
    converter: object = field.converter
    return readonly(value) if isinstance(converter, _ToReadonly) else value
