"""What kernels compute, written down: found by running them on symbols in place of arrays.

A kernel says what it does in NumPy's universal functions alone. Run on symbols, which answer those functions by
taking a note, it leaves a list of operations on single numbers: enough for a compiler to make one loop of a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import attrs
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from bpfunc.transforms.elementwise import Kernel

Operand: TypeAlias = str
"""``g``, ``p``, ``old[i]``: what goes in; ``v[i]``: what operation ``i`` gave; ``c[i]``: a number of this step."""


@attrs.frozen
class Operation:
    """One operation on single numbers.

    Args:
        name: Of the universal function, such as ``multiply``.
        operands: In order.
    """

    name: str
    operands: tuple[Operand, ...]


@attrs.frozen
class Formula:
    """What a chain computes of each number. Two steps of one chain have equal formulas; only constants differ.

    Args:
        operations: In order; each may use what those before it gave.
        result: The update, or the parameter with it.
        new: The new state.
    """

    operations: tuple[Operation, ...]
    result: Operand
    new: tuple[Operand, ...]


def traced(kernels: Sequence[tuple[Kernel, int]], add: bool) -> tuple[Formula, tuple[float, ...]]:
    """Write down what kernels compute, one after the other.

    Args:
        kernels: In order, each with its number of slots.
        add: Whether the update is added to the parameters.

    Returns:
        The formula, and the constants that it speaks of: those of this step.

    Raises:
        TypeError: A kernel does something else than call universal functions, or leaves a slot of its state unfilled.

    Example:
        >>> halve = lambda g, p, old, new, out, work: np.multiply(g, 0.5, out=out)
        >>> formula, constants = traced([(halve, 0)], add=True)
        >>> [(operation.name, *operation.operands) for operation in formula.operations], constants
        ([('multiply', 'g', 'c[0]'), ('add', 'p', 'v[0]')], (0.5,))

    Reference: Griewank and Walther, "Evaluating derivatives" (2008), on tracing by overloaded operators.
    """
    notes = _Notes([], [])
    u: Any = _Symbol(notes, "g")  # symbols stand in for arrays
    p, out, work = _Symbol(notes, "p"), _Symbol(notes), _Symbol(notes)
    every_new: list[_Symbol] = []
    for kernel, slots in kernels:
        first = len(every_new)
        old = [_Symbol(notes, f"old[{first + index}]") for index in range(slots)]
        new = [_Symbol(notes) for _ in range(slots)]
        u = cast(Any, kernel)(u, p, old, new, out, work)
        every_new += new
    if add:
        u = np.add(cast(Any, p), u)
    return (
        Formula(tuple(notes.operations), u.read(), tuple(slot.read() for slot in every_new)),
        tuple(notes.constants),
    )


@attrs.frozen(eq=False)
class _Notes:
    """The only thing here that changes; it lives and dies within one call of `traced`."""

    operations: list[Operation]
    constants: list[float]

    def operand(self, value: Any) -> Operand:
        if isinstance(value, _Symbol):
            return value.read()
        if isinstance(value, int | float | np.floating | np.integer):
            self.constants.append(float(value))
            return f"c[{len(self.constants) - 1}]"
        raise TypeError(f"a compiled kernel takes arrays and numbers, found {type(value).__name__}")


class _Symbol(NDArrayOperatorsMixin):
    """Stands for an array: remembers which value was last written to it."""

    def __init__(self, notes: _Notes, holds: Operand = "") -> None:
        self._notes, self._holds = notes, holds

    def read(self) -> Operand:
        if not self._holds:
            raise TypeError("a kernel reads or leaves an array that it has not filled")
        return self._holds

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> _Symbol:
        (out,) = options.pop("out", (None,))
        if method != "__call__" or options:
            raise TypeError(f"np.{ufunc.__name__} is called in a way that cannot be compiled: {method} {options}")
        if getattr(np, ufunc.__name__, None) is not ufunc:
            raise TypeError(f"{ufunc.__name__} is none of NumPy's own functions, and cannot be compiled")
        names = tuple(self._notes.operand(operand) for operand in operands)
        self._notes.operations.append(Operation(ufunc.__name__, names))
        target = _Symbol(self._notes) if out is None else out
        target._holds = f"v[{len(self._notes.operations) - 1}]"
        return target

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        raise TypeError(f"np.{function.__name__} is no universal function, and cannot be compiled")
