"""Formulas as compiled loops: one for fresh results, one in place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from bpfunc.compiled.machine import Precision, njit, numba, types
from bpfunc.transforms.formula import Formula, Operand, traced

SYMBOLS = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}"}
"""Universal functions that have a sign of their own; all others are called by name."""

REFUSAL = 'raise ValueError("a compiled loop takes arrays of one size and all its constants")'


traced_once = lru_cache(maxsize=256)(traced)
"""`bpfunc.transforms.formula.traced`, which has to run once for each chain."""


def counted(numbers: Sequence[float], formula: Formula) -> Sequence[float]:
    """Check the constants of a step, which machine code reads without looking how many there are.

    Args:
        numbers: From `bpfunc.transforms.formula.constants`.
        formula: That they belong to.

    Returns:
        The same.

    Raises:
        ValueError: They are not as many numbers as at the first step.

    Example:
        >>> counted((0.5,), Formula((), "g", (), constants=1))
        (0.5,)
    """
    if len(numbers) != formula.constants or any(np.ndim(number) for number in numbers):
        raise ValueError(
            f"the transform's formula has {formula.constants} numbers at step 0, and another time {numbers}; "
            "they are always as many"
        )
    return numbers


@contextmanager
def refused_by_name() -> Iterator[None]:
    """Turn numba's own errors into one that says whose fault it is.

    Yields:
        Nothing.

    Raises:
        TypeError: numba cannot compile a formula.

    Example:
        >>> with refused_by_name():
        ...     numba.njit(lambda x: np.spacing("x"))(1.0)
        Traceback (most recent call last):
            ...
        TypeError: numba cannot compile the formula of this transform; use it as it is
    """
    try:
        yield
    except numba.core.errors.NumbaError as error:
        raise TypeError("numba cannot compile the formula of this transform; use it as it is") from error


@lru_cache(maxsize=256)
def loop_of(formula: Formula) -> Callable[..., None]:
    """Compile a formula; numba makes machine code for each precision when it is first asked for.

    Args:
        formula: From `bpfunc.transforms.formula.traced`.

    Returns:
        ``(constants, g, p, *old, result, *new)``, which fills the last ones.

    Example:
        >>> from bpfunc.transforms.formula import Operation
        >>> result = np.empty(2)
        >>> loop_of(Formula((Operation("add", ("g", "p")),), "v[0]", ()))(np.zeros(0), np.ones(2), np.ones(2), result)
        >>> result
        array([2., 2.])
    """
    # Without `fastmath`, LLVM neither reorders nor contracts; divisions by zero give infinity, as NumPy's do.
    loop: Callable[..., None] = njit(_defined(source(formula), "loop"), nogil=True, error_model="numpy")
    return loop


@lru_cache(maxsize=256)
def update_of(formulas: tuple[Formula, ...], dtype: Precision) -> Any:
    """Compile formulas that work in place on packed arrays.

    Args:
        formulas: With one number of slots.
        dtype: Of the arrays.

    Returns:
        A function for compiled code: ``(which, constants, g, p, state, start, stop)`` updates ``p`` and the rows of
        ``state`` from ``start`` to ``stop`` by the formula ``which``, whose constants follow those of the ones before.

    Example:
        >>> from bpfunc.transforms.formula import Operation
        >>> halve = Formula((Operation("multiply", ("g", "c[0]")), Operation("add", ("p", "v[0]"))), "v[1]", (), 1)
        >>> update_of((halve,), np.dtype(np.float32)).native_name.startswith("cfunc")
        True
    """
    number = numba.from_dtype(dtype)
    vector, table = number[::1], number[:, ::1]
    signature = types.void(types.int64, vector, vector, vector, table, types.int64, types.int64)
    # As a function by address, so that the compiled epoch is the same for all optimisers.
    with refused_by_name():
        return numba.cfunc(signature, error_model="numpy")(_defined(source_in_place(formulas), "update"))


def _defined(text: str, name: str) -> Any:
    names: dict[str, Any] = {"np": np}
    exec(text, names)
    return names[name]


def source(formula: Formula) -> str:
    """Write a formula as the loop that is compiled.

    Args:
        formula: From `bpfunc.transforms.formula.traced`.

    Returns:
        Python.

    Example:
        >>> from bpfunc.transforms.formula import Operation
        >>> double = Operation("multiply", ("g", "c[0]"))
        >>> print(source(Formula((double, Operation("add", ("p", "v[0]"))), "v[1]", (), 1)))  # doctest: +ELLIPSIS
        def loop(constants, g, p, result):
            ...
            c0 = constants[0]
            for i in range(g.size):
                v0 = g[i] * c0
                v1 = p[i] + v0
                result[i] = v1
    """
    slots = range(len(formula.new))
    names = ["constants", "g", "p", *(f"old{slot}" for slot in slots), "result", *(f"new{slot}" for slot in slots)]
    sizes = " == ".join([f"{name}.size" for name in names[1:]])
    body = [
        f"if not (constants.size == {formula.constants} and {sizes}):",
        f"    {REFUSAL}",
        *_loop_lines(formula, 0, "result", [f"new{slot}" for slot in slots]),
    ]
    return "\n".join([f"def loop({', '.join(names)}):", *(f"    {line}" for line in body)])


def source_in_place(formulas: Sequence[Formula]) -> str:
    """Write formulas as the function that `update_of` compiles.

    Args:
        formulas: With one number of slots.

    Returns:
        Python.

    Example:
        >>> from bpfunc.transforms.formula import Operation
        >>> print(source_in_place([Formula((Operation("multiply", ("g", "c[0]")),), "v[0]", ())]))
        def update(which, constants, g, p, state, start, stop):
            g = g[start:stop]
            p = p[start:stop]
            if which == 0:
                c0 = constants[0]
                for i in range(g.size):
                    v0 = g[i] * c0
                    p[i] = v0
    """
    lines = [
        "def update(which, constants, g, p, state, start, stop):",
        "    g = g[start:stop]",
        "    p = p[start:stop]",
    ]
    slots = [f"old{slot}" for slot in range(len(formulas[0].new))]
    lines += [f"    {name} = state[{slot}, start:stop]" for slot, name in enumerate(slots)]
    first = 0
    for which, formula in enumerate(formulas):
        lines.append(f"    if which == {which}:")
        lines += [f"        {line}" for line in _loop_lines(formula, first, "p", slots)]
        first += formula.constants
    return "\n".join(lines)


def _loop_lines(formula: Formula, first: int, result: str, new: Sequence[str]) -> list[str]:
    """The loop over one formula, its constants found from ``first`` on."""
    used = sorted({name for operation in formula.operations for name in operation.operands if name.startswith("c[")})
    lines = [f"{_name(name)} = constants[{first + int(name[2:-1])}]" for name in used]
    lines.append("for i in range(g.size):")
    for index, operation in enumerate(formula.operations):
        form = SYMBOLS.get(operation.name, f"np.{operation.name}({', '.join('{}' for _ in operation.operands)})")
        lines.append(f"    v{index} = {form.format(*map(_name, operation.operands))}")
    # All is read before anything is written: in place, results take the place of what they are made from.
    outcome = [_name(name) for name in (*formula.new, formula.result)]
    kept = {value: f"w{index}" for index, value in enumerate(outcome) if value.endswith("]")}
    lines += [f"    {name} = {value}" for value, name in kept.items()]
    lines += [
        f"    {place}[i] = {kept.get(value, value)}" for place, value in zip((*new, result), outcome, strict=True)
    ]
    return lines


def _name(name: Operand) -> str:
    """``g`` -> ``g[i]``, ``old[1]`` -> ``old1[i]``, ``v[3]`` -> ``v3``, ``c[0]`` -> ``c0``."""
    plain = re.sub(r"\[(\d+)\]", r"\1", name)
    return f"{plain}[i]" if plain in ("g", "p") or plain.startswith("old") else plain
