"""Optimisers compiled: the whole chain, from gradient to parameter, as one loop of machine code.

NumPy goes over a block once for each operation; numbers that a loop of machine code keeps in registers travel to the
cache and back. Compiled, a chain reads each array once and writes each once. The operations, their order and their
rounding are the same, so the results are too, bit for bit. Needs the extra ``fast``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np

from bpfunc.transforms import GradientTransform
from bpfunc.transforms.base import fused
from bpfunc.transforms.elementwise import Arrays, FillFn, Kernel
from bpfunc.transforms.formula import Formula, Operand, traced
from bpfunc.types import FloatArray

try:
    import numba
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "bpfunc.interop.numba needs numba; add it with: pip install 'bpfunc[fast]'", name=missing.name
    ) from None

SYMBOLS = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}"}
"""Universal functions that have a sign of their own; all others are called by name."""


def compiled(transform: GradientTransform) -> GradientTransform:
    """Compile an optimiser. Same records, same numbers, less time.

    The first step takes about a second longer: that is when the loop is made.

    Args:
        transform: Any chain of transforms that treat each number by itself (its `elementwise` is not None): `sgd`,
            `adam`, `adamw` with all their settings, averages of the parameters, masks. Where a chain has other links
            (a norm to clip by), compile those that can be: ``chain(clip_by_global_norm(1), compiled(adam()))``.

    Returns:
        A transform with the same states and results.

    Raises:
        ValueError: The transform looks at more than one number at a time.

    Example:
        >>> from bpfunc.optimizers import adam
        >>> fast, params = compiled(adam(0.1)), (np.ones(3, np.float32),)
        >>> updates, state = fast.update((np.ones(3, np.float32),), fast.init(params), params, 0)
        >>> updates[0]
        array([-0.09999999, -0.09999999, -0.09999999], dtype=float32)

    Reference: Lam, Pitrou and Seibert, "Numba: a LLVM-based Python JIT compiler" (2015).
    """
    if transform.elementwise is None:
        raise ValueError("this transform looks at more than one number at a time; compile the links that do not")
    return fused(transform.init, attrs.evolve(transform.elementwise, engine=_compiled))


def _compiled(kernels: Sequence[tuple[Kernel, int]], add: bool) -> FillFn:
    """The `Engine`: trace the step's kernels, and hand their numbers to the loop of their formula."""
    formula, constants = traced(kernels, add)
    loop = _loop(formula)

    def fill(g: FloatArray, p: FloatArray, old: Arrays, out: FloatArray, new: Arrays) -> None:
        loop(np.array(constants, out.dtype), g, p, *old, out, *new)

    return fill


@lru_cache(maxsize=256)
def _loop(formula: Formula) -> Callable[..., None]:
    """Compile a formula; numba makes machine code for each precision when it is first asked for."""
    names: dict[str, Any] = {"np": np}
    exec(source(formula), names)
    # Without `fastmath`, LLVM neither reorders nor contracts; divisions by zero give infinity, as NumPy's do.
    njit: Any = numba.njit  # pyright: ignore[reportAttributeAccessIssue]  # without numba it takes this file for it
    loop: Callable[..., None] = njit(names["loop"], nogil=True, error_model="numpy")
    return loop


def source(formula: Formula) -> str:
    """Write a formula as the loop that is compiled.

    Args:
        formula: From `bpfunc.transforms.formula.traced`.

    Returns:
        Python.

    Example:
        >>> halve = lambda g, p, old, new, out, work: np.multiply(g, 0.5, out=out)
        >>> print(source(traced([(halve, 0)], add=True)[0]))
        def loop(constants, g, p, result):
            c0 = constants[0]
            for i in range(g.size):
                v0 = g[i] * c0
                v1 = p[i] + v0
                result[i] = v1
    """
    slots = range(len(formula.new))
    names = ["constants", "g", "p", *(f"old{slot}" for slot in slots), "result", *(f"new{slot}" for slot in slots)]
    used = [name for operation in formula.operations for name in operation.operands if name.startswith("c[")]
    lines = [f"def loop({', '.join(names)}):"]
    lines += [f"    {_name(name)} = constants[{index}]" for index, name in enumerate(used)]
    lines.append("    for i in range(g.size):")
    for index, operation in enumerate(formula.operations):
        form = SYMBOLS.get(operation.name, f"np.{operation.name}({', '.join('{}' for _ in operation.operands)})")
        lines.append(f"        v{index} = {form.format(*map(_name, operation.operands))}")
    lines += [f"        new{slot}[i] = {_name(name)}" for slot, name in zip(slots, formula.new, strict=True)]
    lines.append(f"        result[i] = {_name(formula.result)}")
    return "\n".join(lines)


def _name(operand: Operand) -> str:
    """``g`` -> ``g[i]``, ``old[1]`` -> ``old1[i]``, ``v[3]`` -> ``v3``, ``c[0]`` -> ``c0``."""
    name = re.sub(r"\[(\d+)\]", r"\1", operand)
    return f"{name}[i]" if name in ("g", "p") or name.startswith("old") else name
