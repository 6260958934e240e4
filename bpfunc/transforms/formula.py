"""What kernels and ops compute, written down: found by running them on symbols instead of arrays.

A kernel says what it does in NumPy's universal functions alone. Run on symbols, which answer those functions by
taking a note, it leaves a list of operations on single numbers: enough for a compiler to make one loop of a chain.
The formulas of ops and losses (`bpfunc.ops.elementwise`) are run in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import attrs
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from bpfunc.transforms.elementwise import Part

Operand: TypeAlias = str
"""``g``, ``p``, ``old[i]``, or ``x[i]``: what goes in; ``v[i]``: what operation ``i`` gave; ``c[i]``: a constant."""


@attrs.frozen
class Operation:
    """One operation on single numbers.

    Args:
        name: Name of the universal function, such as ``multiply``.
        operands: In order.
        dtype: Name of the dtype that the operands are brought to; empty where all are of the arrays' own.
        gives: Name of the dtype of the result, in the same form.
    """

    name: str
    operands: tuple[Operand, ...]
    dtype: str = ""
    gives: str = ""


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
        parts: Parts of the chain, in order.
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


def traced_function(
    function: Callable[..., Sequence[Any]], inputs: int, dtype: np.dtype[Any]
) -> tuple[Formula, tuple[float, ...]]:
    """Write down what a function of arrays computes of each number.

    Args:
        function: Takes as many arrays as ``inputs`` says; returns a sequence of arrays or numbers, at least one. It
            calls NumPy's universal functions, `np.where`, and `clip`, `astype` and `dtype` of its arrays.
        inputs: Number of arrays.
        dtype: Data type of the arrays, and of what the function returns.

    Returns:
        The formula, whose ``result`` and ``new`` are what the function returns, and the numbers that stand in it.

    Raises:
        TypeError: The function does something else.

    Example:
        >>> formula, numbers = traced_function(lambda x: (np.where(x > 0, x, 0.5 * x),), 1, np.dtype(np.float32))
        >>> [operation.name for operation in formula.operations], numbers
        (['greater', 'multiply', 'where', 'astype'], (0.0, 0.5))

    Reference: Griewank and Walther, "Evaluating derivatives" (2008), on tracing by overloaded operators.
    """
    notes = _Notes([], [], 0, {})
    results = function(*[_Symbol(notes, f"x[{index}]", dtype) for index in range(inputs)])
    names = [notes.note("astype", (value,), dtype, dtype).read() for value in results]
    return Formula(tuple(notes.operations), names[0], tuple(names[1:]), len(notes.settings)), tuple(notes.settings)


def constants(parts: tuple[Part, ...], settings: tuple[float, ...], step: int) -> tuple[float, ...]:
    """Return the constants of a formula in a step.

    Args:
        parts: Parts of the chain.
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
    known: dict[Operation | str, int] | None = None
    """Where operations and numbers were met before, for functions, which write to no array; None for kernels."""

    def operand(self, value: Any) -> Operand:
        if isinstance(value, _Symbol):
            return value.read()
        if isinstance(value, _Number):
            return value.name
        if isinstance(value, bool | int | float | np.floating | np.integer):
            place = len(self.settings)
            if self.known is not None:
                place = self.known.setdefault(repr(float(value)), place)
            if place == len(self.settings):
                self.settings.append(float(value))
            return f"c[{self.told + place}]"
        raise TypeError(f"a compiled kernel takes arrays and numbers, found {type(value).__name__}")

    def note(self, name: str, operands: Sequence[Any], within: np.dtype[Any] | None, gives: Any) -> _Symbol:
        """Write down an operation of a function: computed in one dtype, its result of another."""
        if gives not in _DTYPES or within not in _DTYPES:
            raise TypeError(f"np.{name} of {within}, which gives {gives}, cannot be compiled")
        operation = Operation(name, tuple(self.operand(operand) for operand in operands), str(within), str(gives))
        place = len(self.operations)
        if self.known is not None:
            place = self.known.setdefault(operation, place)
        if place == len(self.operations):
            self.operations.append(operation)
        return _Symbol(self, f"v[{place}]", gives)


_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.bool_))
"""What functions compute in."""


def _kind(value: Any) -> Any:
    """What NumPy's rules of promotion go by: a dtype, or the type of one of Python's own numbers."""
    return value.dtype if isinstance(value, _Symbol | np.generic) else float


class _Symbol(NDArrayOperatorsMixin):
    """Stands for an array: remembers which value was last written to it, and in functions the dtype."""

    def __init__(self, notes: _Notes, holds: Operand = "", dtype: Any = None) -> None:
        self._notes, self._holds, self._dtype = notes, holds, dtype

    def read(self) -> Operand:
        if not self._holds:
            raise TypeError("a kernel reads or leaves an array that it has not filled")
        return self._holds

    @property
    def dtype(self) -> Any:
        if self._dtype is None:
            raise AttributeError("a compiled kernel has no dtype")
        return self._dtype

    def copy(self) -> _Symbol:
        return self

    def clip(self, low: Any, high: Any) -> Any:
        return np.minimum(cast(Any, np.maximum(cast(Any, self), low)), high)

    def astype(self, dtype: Any) -> _Symbol:
        return self._notes.note("astype", (self,), np.dtype(dtype), np.dtype(dtype))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> _Symbol:
        (out,) = options.pop("out", (None,))
        if method != "__call__" or options:
            raise TypeError(f"np.{ufunc.__name__} is called in a way that cannot be compiled: {method} {options}")
        if getattr(np, ufunc.__name__, None) is not ufunc:
            raise TypeError(f"{ufunc.__name__} is none of NumPy's own functions, and cannot be compiled")
        if self._dtype is not None and out is None and ufunc.nout == 1:
            within, *_, gives = cast(Any, ufunc).resolve_dtypes((*map(_kind, operands), None))
            return self._notes.note(ufunc.__name__, operands, within, gives)
        names = tuple(self._notes.operand(operand) for operand in operands)
        self._notes.operations.append(Operation(ufunc.__name__, names))
        target = _Symbol(self._notes) if out is None else out
        target._holds = f"v[{len(self._notes.operations) - 1}]"
        return target

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function is np.where and self._dtype is not None and len(arguments) == 3 and not options:
            condition, *values = arguments
            # An array of no number takes part in promotion as its dtype does.
            dtype = np.result_type(*[np.empty(0, v.dtype) if isinstance(v, _Symbol) else v for v in values])
            return self._notes.note("where", (condition, *values), dtype, dtype)
        raise TypeError(f"np.{function.__name__} is not a universal function, and cannot be compiled")
