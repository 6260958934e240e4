"""Formulas as compiled loops: one for fresh results, one in place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from bpfunc.compiled.kept import kept, kept_by_address
from bpfunc.compiled.machine import Precision, njit, numba, types
from bpfunc.transforms.formula import Formula, Operand, traced

SYMBOLS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "astype": "{}",
    "where": "{1} if {0} else {2}",
}
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
    if len(numbers) != formula.constants or any(np.ndim(number) for number in numbers if type(number) is not float):
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
    loop: Callable[..., None] = kept(njit(_defined(source(formula), "loop"), nogil=True, error_model="numpy"))
    return loop


@lru_cache(maxsize=256)
def update_of(formulas: tuple[Formula, ...], dtype: Precision) -> Any:
    """Compile formulas that work in place on packed arrays.

    Args:
        formulas: With one number of slots.
        dtype: Data type of the arrays.

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
        return kept_by_address(_defined(source_in_place(formulas), "update"), signature)


def _defined(text: str, name: str) -> Any:
    """Run the text of a function, under a name that no other text has: machine code on disk is found by names."""
    own = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    names: dict[str, Any] = {"np": np, "np_carray": numba.carray, "__name__": __name__}
    exec(text.replace(f"def {name}(", f"def {own}(", 1), names)
    return names[own]


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
    plain = _plain(name)
    return f"{plain}[i]" if plain in ("g", "p") or plain.startswith("old") else plain


@lru_cache(maxsize=256)
def activate_of(formulas: tuple[Formula, ...], dtype: Precision) -> Any:
    """Compile what stands between dense layers.

    Args:
        formulas: Formulas of the values before, and of the masks of dropout; each gives values after, and the slope.
        dtype: Data type of the arrays.

    Returns:
        A function for compiled code: ``(which, constants, z, slope, masks, r0, r1, c0, c1)`` replaces a block of the
        values ``z`` and fills that of ``slope``, by the formula ``which``, whose constants follow those of the ones
        before.

    Example:
        >>> from bpfunc.transforms.formula import traced_function
        >>> formula, _ = traced_function(lambda z: (np.tanh(z), 1.0), 1, np.dtype(np.float32))
        >>> activate_of((formula,), np.dtype(np.float32)).native_name.startswith("cfunc")
        True
    """
    number = numba.from_dtype(dtype)
    place = types.int64
    values, masks, told = number[:, ::1], number[:, :, ::1], types.float64[::1]
    signature = types.void(place, told, values, values, masks, place, place, place, place)
    lines = ["def activate(which, constants, z, slope, masks, r0, r1, c0, c1):", "    pass"]
    first = 0
    for which, formula in enumerate(formulas):
        inputs = 1 + _largest("x", formula)
        lines += [f"    if which == {which}:", *[f"        {line}" for line in _constant_lines(formula, first)]]
        lines += ["        for r in range(r0, r1):", "            x0 = z[r, c0:c1]", "            y1 = slope[r, c0:c1]"]
        lines += [f"            x{mask} = masks[{mask - 1}, r, c0:c1]" for mask in range(1, inputs)]
        lines += [f"            {line}" for line in _function_lines(formula, dtype, ["x0", "y1"])]
        first += formula.constants
    return kept_by_address(_defined("\n".join(lines), "activate"), signature)


@lru_cache(maxsize=256)
def derive_of(formula: Formula, dtype: Precision) -> Any:
    """Compile a derivative of a loss, one row at a time.

    Args:
        formula: Formula of three numbers of each output, as `bpfunc.compiled.losses` names them.
        dtype: Data type of the arrays.

    Returns:
        A function for compiled code: ``(constants, x0, x1, x2, out)`` fills ``out``.

    Example:
        >>> from bpfunc.transforms.formula import traced_function
        >>> formula, _ = traced_function(lambda z, p, t: (z - t,), 3, np.dtype(np.float32))
        >>> derive_of(formula, np.dtype(np.float32)).native_name.startswith("cfunc")
        True
    """
    number = numba.from_dtype(dtype)
    vector, fixed = number[::1], types.Array(number, 1, "C", readonly=True)
    signature = types.void(types.float64[::1], vector, vector, fixed, vector)
    lines = ["def derive(constants, x0, x1, x2, out):"]
    lines += [f"    {line}" for line in (*_constant_lines(formula, 0), *_function_lines(formula, dtype, ["out"]))]
    return kept_by_address(_defined("\n".join(lines), "derive"), signature)


@lru_cache(maxsize=256)
def apply_of(formula: Formula, dtype: Precision) -> Any:
    """Compile a function of single numbers that works in place.

    Args:
        formula: Formula of one number.
        dtype: Data type of the numbers.

    Returns:
        A function for compiled code: ``(constants, z, count)`` replaces ``count`` numbers from the address ``z`` on;
        ``constants`` is the address of its own, float64.

    Example:
        >>> from bpfunc.transforms.formula import traced_function
        >>> formula, _ = traced_function(lambda z: (np.tanh(z),), 1, np.dtype(np.float32))
        >>> apply_of(formula, np.dtype(np.float32)).native_name.startswith("cfunc")
        True
    """
    number = numba.from_dtype(dtype)
    signature = types.void(types.CPointer(types.float64), types.CPointer(number), types.int64)
    lines = ["def apply(told, z, count):", f"    constants = np_carray(told, ({max(formula.constants, 1)},))"]
    lines += ["    x0 = np_carray(z, (count,))", *[f"    {line}" for line in _constant_lines(formula, 0)]]
    lines += [f"    {line}" for line in _function_lines(formula, dtype, ["x0"])]
    with refused_by_name():
        return kept_by_address(_defined("\n".join(lines), "apply"), signature)


def _largest(kind: str, formula: Formula) -> int:
    """The largest number behind a letter among the operands, at least 0."""
    names = [name for operation in formula.operations for name in operation.operands if name.startswith(f"{kind}[")]
    return max([int(name[2:-1]) for name in names], default=0)


def _used_constants(formula: Formula) -> set[tuple[str, str]]:
    return {
        (name, operation.dtype)
        for operation in formula.operations
        for name in operation.operands
        if name.startswith("c[")
    }


def _constant_lines(formula: Formula, first: int) -> list[str]:
    """Bring each constant to the dtypes that it is used in, once before the loops."""
    used = sorted(_used_constants(formula))
    return [f"{_plain(name)}_{dtype} = np.{dtype}(constants[{first + int(name[2:-1])}])" for name, dtype in used]


def _function_lines(formula: Formula, dtype: Precision, results: Sequence[str]) -> list[str]:
    """The loop over one row of a function's formula."""
    kinds = {f"x[{index}]": str(dtype) for index in range(1 + _largest("x", formula))}
    lines = ["for i in range(x0.size):"]
    for index, operation in enumerate(formula.operations):
        form = SYMBOLS.get(operation.name, f"np.{operation.name}({', '.join('{}' for _ in operation.operands)})")
        wanted = [operation.dtype] * len(operation.operands)
        if operation.name == "where":
            wanted[0] = "bool"
        brought = [
            _brought(name, kinds.get(name, ""), want) for name, want in zip(operation.operands, wanted, strict=True)
        ]
        lines.append(f"    v{index} = {form.format(*brought)}")
        kinds[f"v[{index}]"] = operation.gives
    values = [_plain(name) for name in (formula.result, *formula.new)]
    return [*lines, *(f"    {place}[i] = {value}" for place, value in zip(results, values, strict=True))]


def _brought(name: Operand, kind: str, dtype: str) -> str:
    """An operand, in a dtype."""
    if name.startswith("c["):
        return f"{_plain(name)}_{dtype}"
    plain = f"{_plain(name)}[i]" if name.startswith("x[") else _plain(name)
    if kind == dtype:
        return plain
    if kind == "bool":
        return f"(np.{dtype}(1) if {plain} else np.{dtype}(0))"
    return f"({plain} != 0)" if dtype == "bool" else f"np.{dtype}({plain})"


def _plain(name: Operand) -> str:
    """``v[3]`` -> ``v3``."""
    return re.sub(r"\[(\d+)\]", r"\1", name)
