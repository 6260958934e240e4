"""Transforms that treat each number by itself: one formula, run leaf by leaf or block by block.

A chain of such transforms, the addition to the parameters included, goes over memory once: a block of each array
passes all of them while it is in the cache. The operations and their order are those of the chain run one transform
after the other, so the numbers are the same bit for bit. What is written was allocated here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

from bpfunc.memory import empty
from bpfunc.tree import Tree, tree_fill, tree_leaves_with_path, tree_rows
from bpfunc.types import FloatArray, readonly

BLOCK = 65536
"""Numbers in a block: small enough for a core's second cache, large enough that calls cost little beside it."""

Arrays: TypeAlias = Sequence[FloatArray]
Kernel: TypeAlias = Callable[[FloatArray, FloatArray, Arrays, Arrays, FloatArray, FloatArray], FloatArray]
"""``(g, p, old, new, out, work) -> u``, all of one shape. Reads the incoming gradient, the parameters and the old
state; fills the new state; may fill ``out`` and ``work``. It reads ``g`` before it writes ``out``: they may be one.
Returns where the update is: ``out``, a state or ``g``."""


@attrs.frozen
class Part:
    """One transform of an elementwise chain.

    Args:
        kernel: ``step -> Kernel``.
        slots: How many arrays of state there are for each leaf.
        reads_params: Whether the kernel reads the parameters.
        applies: Which leaves it acts on, by their paths; all where None. Only for parts without state.
    """

    kernel: Callable[[int], Kernel]
    slots: int = 0
    reads_params: bool = False
    applies: Callable[[str], bool] | None = None


LeafFn: TypeAlias = Callable[[FloatArray, FloatArray, Arrays], tuple[FloatArray, list[FloatArray]]]
"""``(g, p, old) -> (result, new)`` for one leaf: the new parameters or the update, and the new state, all fresh."""
Engine: TypeAlias = Callable[[Sequence[tuple[Kernel, int]], bool], LeafFn]
"""``(kernels, add) -> LeafFn``: what runs kernels, each with its number of slots, over the leaves that they act on."""


def in_blocks(kernels: Sequence[tuple[Kernel, int]], add: bool) -> LeafFn:
    """Run kernels with NumPy, block by block. The `Engine` that a chain has unless it is given another one.

    Args:
        kernels: In order, each with its number of slots.
        add: Whether to add the update to the parameters.

    Returns:
        What treats one leaf.

    Example:
        >>> halve = lambda g, p, old, new, out, work: np.divide(g, 2, out=out)
        >>> in_blocks([(halve, 0)], True)(np.array([4.0]), np.array([1.0]), [])[0]
        array([3.])
    """

    def leaf(g: FloatArray, p: FloatArray, old: Arrays) -> tuple[FloatArray, list[FloatArray]]:
        result, new = fresh_results(g, old)
        if g.size <= BLOCK:
            _run_block(kernels, g, p, old, new, result, empty(g.shape, result.dtype), add=add)
        else:
            _run_blocks(kernels, g, p, old, new, result, add=add)
        return result, new

    return leaf


def fresh_results(g: FloatArray, old: Arrays) -> tuple[FloatArray, list[FloatArray]]:
    """Allocate what a leaf's result and new state go into.

    Args:
        g: The gradient; whole numbers give floating results.
        old: The state.

    Returns:
        An array like the gradient, and one like each of the state's; not filled.

    Example:
        >>> fresh_results(np.ones(2, np.float32), [np.ones(2)])[0].dtype
        dtype('float32')
    """
    dtype = g.dtype if g.dtype.kind == "f" else np.result_type(g.dtype, 1.0)
    return empty(g.shape, dtype), [empty(slot.shape, slot.dtype) for slot in old]


@attrs.frozen
class Elementwise:
    """A chain of transforms that treat each number by itself.

    Args:
        parts: In order.
        open: ``state -> trees``: the slots of all parts, each a tree like the parameters.
        close: ``trees -> state``, the way back.
        engine: What runs the kernels; `bpfunc.interop.numba.compiled` puts a compiler here.
    """

    parts: tuple[Part, ...]
    open: Callable[[Tree], tuple[Tree, ...]]
    close: Callable[[tuple[Tree, ...]], Tree]
    engine: Engine = in_blocks


def run(chain: Elementwise, grads: Tree, state: Tree, params: Tree, step: int, *, add: bool) -> tuple[Tree, Tree]:
    """Run an elementwise chain over whole trees.

    Args:
        chain: What to run.
        grads: The gradients.
        state: Of the chain.
        params: The parameters; not looked at where no part reads them and nothing is added.
        step: Updates made so far.
        add: Whether to add the updates to the parameters.

    Returns:
        The new parameters, or the updates; and the new state.

    Raises:
        TreeStructureError: The trees differ.

    Example:
        >>> halve = Part(lambda step: lambda g, p, old, new, out, work: np.divide(g, 2, out=out))
        >>> chain = Elementwise((halve,), lambda state: (), lambda trees: ())
        >>> run(chain, (np.array([4.0]),), (), (np.array([1.0]),), 0, add=True)[0]
        (array([3.]),)
    """
    slots = chain.open(state)
    has_params = add or any(part.reads_params for part in chain.parts)
    rows = tree_rows(grads, params if has_params else grads, *slots)
    kernels = [(part.kernel(step), part.slots) for part in chain.parts]
    chosen = _chosen(chain.parts, grads, len(rows))
    engines = {which: chain.engine([kernels[index] for index in which], add) for which in set(chosen)}
    results: list[Any] = []
    columns: list[list[Any]] = [[] for _ in slots]
    for row, which in zip(rows, chosen, strict=True):
        result, new = _run_leaf(engines[which], row[0], row[1], row[2:])
        results.append(result)
        for column, slot in zip(columns, new, strict=True):
            column.append(slot)
    return tree_fill(grads, results), chain.close(
        tuple(tree_fill(slot, column) for slot, column in zip(slots, columns, strict=True))
    )


def _chosen(parts: tuple[Part, ...], grads: Tree, leaves: int) -> list[tuple[int, ...]]:
    """For each leaf the parts that act on it."""
    if all(part.applies is None for part in parts):
        return [tuple(range(len(parts)))] * leaves
    return [
        tuple(index for index, part in enumerate(parts) if part.applies is None or part.applies(path))
        for path, _ in tree_leaves_with_path(grads)
    ]


def _run_leaf(leaf: LeafFn, g: Any, p: Any, old: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    if not isinstance(g, np.ndarray):
        return _run_number(leaf, g, p, old)
    result, new = leaf(g, p, old)
    return readonly(result), [readonly(slot) for slot in new]


def _run_blocks(
    kernels: Sequence[tuple[Kernel, int]],
    g: FloatArray,
    p: FloatArray,
    old: Arrays,
    new: Arrays,
    result: FloatArray,
    *,
    add: bool,
) -> None:
    flat_g, flat_p, flat_result = g.reshape(-1), p.reshape(-1), result.reshape(-1)
    flat_old, flat_new = [slot.reshape(-1) for slot in old], [slot.reshape(-1) for slot in new]
    work = empty((BLOCK,), result.dtype)
    for start in range(0, g.size, BLOCK):
        block = slice(start, start + BLOCK)
        old_blocks, new_blocks = [slot[block] for slot in flat_old], [slot[block] for slot in flat_new]
        out = flat_result[block]
        _run_block(kernels, flat_g[block], flat_p[block], old_blocks, new_blocks, out, work[: len(out)], add=add)


def _run_block(
    kernels: Sequence[tuple[Kernel, int]],
    g: FloatArray,
    p: FloatArray,
    old: Arrays,
    new: Arrays,
    out: FloatArray,
    work: FloatArray,
    *,
    add: bool,
) -> None:
    """Run the kernels and leave their update, or the parameters with it, in ``out``."""
    u, first = g, 0
    for kernel, slots in kernels:
        u = kernel(u, p, old[first : first + slots], new[first : first + slots], out, work)
        first += slots
    if add:
        np.add(p, u, out=out)
    elif u is not out:
        np.copyto(out, u)


def _run_number(leaf: LeafFn, g: Any, p: Any, old: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """Run a leaf that is a number, as an array of one."""
    result, new = leaf(np.array([g]), np.array([p]), [np.array([slot]) for slot in old])
    plain = isinstance(g, int | float) and not isinstance(g, np.floating)
    return (result.item() if plain else result[0]), [slot.item() if plain else slot[0] for slot in new]
