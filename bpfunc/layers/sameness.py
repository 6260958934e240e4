"""Whether two values are one and the same, functions included: how a part is told from one that looks like it.

Functions that a maker returns are made anew by each call, so they are not equal in Python's sense. They compute the
same where their code is the same and the values that the code encloses are.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType
from typing import Any

import attrs
import numpy as np


def same(left: Any, right: Any) -> bool:
    """Compare two values; functions by their code and by what it encloses.

    Args:
        left: A function, a record, an array, a number or a nest of them.
        right: Another one.

    Returns:
        True where they are known to be the same.

    Example:
        >>> def adder(n):
        ...     return lambda x: x + n
        >>> same(adder(1), adder(1)), same(adder(1), adder(2))
        (True, False)
    """
    return _same(left, right, frozenset())


def _same(left: Any, right: Any, met: frozenset[tuple[int, int]]) -> bool:
    if left is right or (id(left), id(right)) in met:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    met |= {(id(left), id(right))}  # a function may enclose the record that it stands in
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key], met) for key in left)
    if isinstance(left, FunctionType) and left.__code__ is not right.__code__:
        return False
    inside, other = _inside(left), _inside(right)
    if inside is None or other is None:
        return bool(left == right)
    return len(inside) == len(other) and all(_same(one, two, met) for one, two in zip(inside, other, strict=True))


def _inside(value: Any) -> list[Any] | None:
    """What a value is made of, or None where `==` compares it."""
    if isinstance(value, FunctionType):
        enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
        return [*enclosed, value.__defaults__, value.__kwdefaults__]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, tuple | list):
        return list(value)
    if attrs.has(type(value)):
        return [getattr(value, field.name) for field in attrs.fields(type(value)) if field.eq]
    return None
