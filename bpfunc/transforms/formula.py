"""What kernels compute, written down: found by running them on symbols in place of arrays.

A kernel says what it does in NumPy's universal functions alone. Run on symbols, which answer those functions by
taking a note, it leaves a list of operations on single numbers: enough for a compiler to make one loop of a chain.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import attrs
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from bpfunc.transforms.elementwise import Part

Operand: TypeAlias = str
"""``g``, ``p``, ``old[i]``: what goes in; ``v[i]``: what operation ``i`` gave; ``c[i]``: a constant."""


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
    """What a chain computes of each number. Chains that differ in their settings alone have equal formulas.

    Args:
        operations: In order; each may use what those before it gave.
        result: The update, or the parameter with it.
        new: The new state.
        constants: How many there are.
    """

    operations: tuple[Operation, ...]
    result: Operand
    new: tuple[Operand, ...]
    constants: int = 0


def traced(parts: tuple[Part, ...], add: bool) -> tuple[Formula, tuple[float, ...]]:
    """Write down what the kernels of a chain compute, one after the other.

    Args:
        parts: Of the chain, in order.
        add: Whether the update is added to the parameters.

    Returns:
        The formula, and the settings that stand in it. Its constants are the numbers that the parts tell of a step,
        and then these; see `constants`.

    Raises:
        TypeError: A kernel does something else than call universal functions, or leaves a slot of its state unfilled.

    Example:
        >>> halve = Part(lambda c, g, p, old, new, out, work: np.multiply(g, 0.5, out=out))
        >>> formula, settings = traced((halve,), add=True)
        >>> [(operation.name, *operation.operands) for operation in formula.operations], settings
        ([('multiply', 'g', 'c[0]'), ('add', 'p', 'v[0]')], (0.5,))

    Reference: Griewank and Walther, "Evaluating derivatives" (2008), on tracing by overloaded operators.
    """
    notes = _Notes([], [], sum(len(part.numbers(0)) for part in parts))
    u: Any = _Symbol(notes, "g")  # symbols stand in for arrays
    p, out, work = _Symbol(notes, "p"), _Symbol(notes), _Symbol(notes)
    every_new: list[_Symbol] = []
    told = 0
    for part in parts:
        first = len(every_new)
        old = [_Symbol(notes, f"old[{first + index}]") for index in range(part.slots)]
        new = [_Symbol(notes) for _ in range(part.slots)]
        numbers = [_Number(f"c[{told + index}]") for index in range(len(part.numbers(0)))]
        u = cast(Any, part.kernel)(numbers, u, p, old, new, out, work)
        every_new += new
        told += len(numbers)
    if add:
        u = np.add(cast(Any, p), u)
    return (
        Formula(
            tuple(notes.operations),
            u.read(),
            tuple([slot.read() for slot in every_new]),
            told + len(notes.settings),
        ),
        tuple(notes.settings),
    )


def constants(parts: tuple[Part, ...], settings: tuple[float, ...], step: int) -> tuple[float, ...]:
    """Say what the constants of a formula are in a step.

    Args:
        parts: Of the chain.
        settings: From `traced`.
        step: Updates made so far.

    Returns:
        The constants in the order of the formula.

    Example:
        >>> rise = lambda c, g, p, old, new, out, work: np.multiply(g, c[0], out=out)
        >>> constants((Part(rise, numbers=lambda step: (step,)),), (), 3)
        (3,)
    """
    return (*[number for part in parts for number in part.numbers(step)], *settings)


@attrs.frozen
class _Number:
    """Stands for a number of the step."""

    name: Operand


@attrs.frozen(eq=False)
class _Notes:
    """The only thing here that changes; it lives and dies within one call of `traced`."""

    operations: list[Operation]
    settings: list[float]
    told: int
    """How many numbers the parts tell of a step."""

    def operand(self, value: Any) -> Operand:
        if isinstance(value, _Symbol):
            return value.read()
        if isinstance(value, _Number):
            return value.name
        if isinstance(value, int | float | np.floating | np.integer):
            self.settings.append(float(value))
            return f"c[{self.told + len(self.settings) - 1}]"
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
