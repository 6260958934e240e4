"""Transforms that treat each number by itself: one formula, run leaf by leaf or block by block.

A chain of such transforms, the addition to the parameters included, goes over memory once: a block of each array
passes all of them while it is in the cache. The operations and their order are those of the chain run one transform
after the other, so the numbers are the same bit for bit. What is written was allocated here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import attrs
import numpy as np

from bpfunc.arrays.aligned import empty
from bpfunc.arrays.denormals import denormals_as_zero
from bpfunc.arrays.types import FloatArray
from bpfunc.tree import (
    Tree,
    TreeStructureError,
    matched_rows,
    tree_fill,
    tree_leaves,
    tree_leaves_with_path,
    tree_rows,
)

BLOCK = 102400
"""Numbers in a block: small enough for a core's caches, large enough that calls cost little beside it."""

JOINED = 16384
"""Numbers in a leaf up to which it goes through the kernels with others: copying costs less than calls."""

Arrays: TypeAlias = Sequence[FloatArray]
Numbers: TypeAlias = Sequence[float]
"""What a kernel knows of the step: a learning rate, a correction. The kernel uses them as they are."""
Kernel: TypeAlias = Callable[[Numbers, FloatArray, FloatArray, Arrays, Arrays, FloatArray, FloatArray], FloatArray]
"""``(c, g, p, old, new, out, work) -> u``, all arrays of one shape. Reads the step's numbers, the incoming gradient,
the parameters and the old state; fills the new state; may fill ``out`` and ``work``. It reads ``g`` before it writes
``out``: they may be one. Returns where the update is: ``out``, a state or ``g``."""


def no_numbers(step: int) -> Numbers:
    """Tell nothing of the step: what a formula needs that is the same at every step.

    Args:
        step: Not used.

    Returns:
        ``()``.

    Example:
        >>> no_numbers(3)
        ()
    """
    return ()


@attrs.frozen
class Part:
    """One transform of an elementwise chain.

    Args:
        kernel: The formula.
        slots: How many arrays of state there are for each leaf.
        reads_params: Whether the kernel reads the parameters.
        applies: Which leaves it acts on, by their paths; all where None. Only for parts without state.
        numbers: ``step -> numbers``: what the kernel is told of the step.
    """

    kernel: Kernel
    slots: int = 0
    reads_params: bool = False
    applies: Callable[[str], bool] | None = None
    numbers: Callable[[int], Numbers] = no_numbers

    def __attrs_post_init__(self) -> None:
        """Refuse a part whose state would have holes."""
        if self.slots and self.applies is not None:
            raise ValueError("a part with state acts on all leaves; give `applies` to parts without state alone")


FillFn: TypeAlias = Callable[[FloatArray, FloatArray, Arrays, FloatArray, Arrays], None]
"""``(g, p, old, out, new)``, flat and of one length: fills ``out``, the update or the new parameters, and ``new``."""
Engine: TypeAlias = Callable[[tuple[Part, ...], int, bool], FillFn]
"""``(parts, step, add) -> FillFn``: runs the parts' kernels, and adds the update where asked to."""


def _in_blocks(parts: tuple[Part, ...], step: int, add: bool) -> FillFn:
    """Run kernels with NumPy, block by block: the `Engine` that a chain has unless it is given another one."""
    kernels = [(part.kernel, part.numbers(step), part.slots) for part in parts]

    def fill(g: FloatArray, p: FloatArray, old: Arrays, out: FloatArray, new: Arrays) -> None:
        work = empty(min(g.size, BLOCK), out.dtype)
        if g.size <= BLOCK:
            _run_block(kernels, g, p, old, new, out, work, add=add)
            return
        for start in range(0, g.size, BLOCK):
            block = slice(start, start + BLOCK)
            old_blocks, new_blocks = [slot[block] for slot in old], [slot[block] for slot in new]
            _run_block(kernels, g[block], p[block], old_blocks, new_blocks, out[block], work[: g.size - start], add=add)

    return fill


@attrs.frozen
class Elementwise:
    """A chain of transforms that treat each number by itself.

    Args:
        parts: In order.
        open: ``state -> trees``: the slots of all parts, each a tree like the parameters.
        close: ``trees -> state``, the way back.
        engine: What runs the kernels; `bpfunc.interop.numba.compiled` puts a compiler here.
        dtypes: What the engine computes in; all leaves at one place are then of one of them. Any where ``()``.
    """

    parts: tuple[Part, ...]
    open: Callable[[Tree], tuple[Tree, ...]]
    close: Callable[[tuple[Tree, ...]], Tree]
    engine: Engine = _in_blocks
    dtypes: tuple[np.dtype[Any], ...] = ()


def run(chain: Elementwise, grads: Tree, state: Tree, params: Tree, step: int, *, add: bool) -> tuple[Tree, Tree]:
    """Run an elementwise chain over whole trees.

    The numbers are those of the parameters' dtype: gradients of another one are brought to it. State keeps its own.

    Args:
        chain: What to run.
        grads: The gradients.
        state: State of the chain.
        params: The parameters; may be ``()`` where no part reads them and nothing is added. The dtype is then the
            state's, or the gradients' where there is none.
        step: Updates made so far.
        add: Whether to add the updates to the parameters.

    Returns:
        The new parameters, or the updates; and the new state.

    Raises:
        TreeStructureError: The trees differ, or the shapes of their leaves; the message names the leaf.
        TypeError: The engine does not compute in a leaf's dtype.

    Example:
        >>> halve = Part(lambda c, g, p, old, new, out, work: np.divide(g, 2, out=out))
        >>> chain = Elementwise((halve,), lambda state: (), lambda trees: ())
        >>> run(chain, (np.array([4.0]),), (), (np.array([1.0]),), 0, add=True)[0]
        (array([3.]),)
    """
    slots = slots_of(chain, state)
    has_params = add or any(part.reads_params for part in chain.parts)
    if not has_params:
        check_alike(grads, params)
    like = params if has_params else slots[0] if slots else grads
    rows = fitting_rows(chain.dtypes, grads, like, *slots)
    chosen = acting(chain.parts, grads, len(rows))
    runs = _runs(rows, chosen)
    fills = [chain.engine(chosen[run[0]], step, add) for run in runs]
    opened = [_opened([rows[place] for place in run]) for run in runs]
    with denormals_as_zero() if slots else nullcontext():  # what averages end among
        for fill, (g, p, old, fresh) in zip(fills, opened, strict=True):
            fill(g, p, old, fresh[0], fresh[1:])
    closed: list[Any] = [()] * len(rows)
    for run, (*_, fresh) in zip(runs, opened, strict=True):
        start = 0
        for place in run:
            like = rows[place][has_params]
            closed[place] = _closed(like, fresh, start)
            start += np.size(like)
    columns = zip(*closed, strict=True) if closed else [()] * (1 + len(slots))
    result, *new_slots = map(tree_fill, (grads, *slots), columns)
    return result, chain.close(tuple(new_slots))


def check_alike(grads: Tree, params: Tree) -> None:
    """Refuse parameters that the gradients are not those of; ``()`` stands for parameters that are not looked at.

    Args:
        grads: The gradients.
        params: The parameters, or a tree without leaves.

    Returns:
        None.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> check_alike((np.zeros(3),), ())
    """
    if tree_leaves(params):
        matched_rows(grads, params)


def slots_of(chain: Elementwise, state: Tree) -> tuple[Tree, ...]:
    """Take the state of a chain apart.

    Args:
        chain: Whose state it is.
        state: The state.

    Returns:
        The slots of all parts, each a tree like the parameters.

    Raises:
        TreeStructureError: It is not a state of this chain.

    Example:
        >>> slots_of(Elementwise((), lambda state: state, lambda trees: trees), ())
        ()
    """
    try:
        slots = tuple(chain.open(state))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise TreeStructureError(
            f"the optimiser's state is not one that its init makes: found {type(state).__name__} ({error})"
        ) from None
    expected = sum(part.slots for part in chain.parts)
    if len(slots) != expected:
        raise TreeStructureError(f"the optimiser's state holds {len(slots)} trees, expected {expected}")
    return slots


def fitting_rows(dtypes: tuple[np.dtype[Any], ...], *trees: Tree) -> list[tuple[Any, ...]]:
    """Lay the leaves of trees side by side, as `tree_rows` does, and check that those of a row fit one another.

    Args:
        dtypes: Data types, of which each row has one; any where ``()``.
        trees: Gradients, parameters, and the slots of the optimiser's state.

    Returns:
        For each place a tuple with the leaf of each tree.

    Raises:
        TreeStructureError: The trees differ, or the shapes of the leaves at one place; the message names it.
        TypeError: A leaf is not a plain array or number, or its dtype is another one.

    Example:
        >>> fitting_rows((), (1.0,), (2.0,))
        [(1.0, 2.0)]
    """
    rows = tree_rows(*trees)
    for index, row in enumerate(rows):
        if _fits(dtypes, row):
            continue
        for n, leaf in enumerate(row):
            error = _misfit(dtypes, row[0], leaf)
            if error is not None:
                path = tree_leaves_with_path(trees[0])[index][0] or "the only leaf"
                name = ("the gradient", "the parameter")[n] if n < 2 else f"the optimiser's state, tree {n - 2} of it,"
                raise type(error)(f"{path}: {name} has {error}")
    return rows


def _fits(dtypes: tuple[np.dtype[Any], ...], row: tuple[Any, ...]) -> bool:
    """Whether a row is of plain arrays that fit one another, as most are; a quick look, once a leaf and step."""
    first = row[0]
    if type(first) is not np.ndarray or (dtypes and first.dtype not in dtypes):
        return False
    shape, dtype = first.shape, first.dtype
    for leaf in row:
        if type(leaf) is not np.ndarray or leaf.shape != shape or (dtypes and leaf.dtype is not dtype):
            return False
    return True


def _misfit(dtypes: tuple[np.dtype[Any], ...], first: Any, leaf: Any) -> TreeStructureError | TypeError | None:
    """What keeps a leaf from standing in a row that starts with another one."""
    if np.shape(leaf) != np.shape(first):
        return TreeStructureError(f"shape {np.shape(leaf)}, expected {np.shape(first)}")
    if not dtypes:
        return None
    dtype, expected = np.asarray(leaf).dtype, np.asarray(first).dtype
    if dtype not in dtypes or dtype != expected:
        allowed = str(expected) if expected in dtypes else " or ".join(map(str, dtypes))
        return TypeError(f"dtype {dtype}, compiled code expected {allowed}; convert with tree_cast")
    if isinstance(leaf, np.ndarray) and type(leaf) not in (np.ndarray, np.memmap):
        return TypeError(f"class {type(leaf).__name__}, compiled code expected a plain array")
    return None


def acting(parts: tuple[Part, ...], tree: Tree, leaves: int) -> list[tuple[Part, ...]]:
    """For each leaf, find the parts that act on it.

    Args:
        parts: Parts of a chain.
        tree: Its paths decide.
        leaves: How many it has.

    Returns:
        For each leaf from left to right the parts, in order.

    Example:
        >>> halve = lambda c, g, p, old, new, out, work: np.divide(g, 2, out=out)
        >>> first = Part(halve, applies=lambda path: path == "[0]")
        >>> [len(parts) for parts in acting((first,), (1.0, 2.0), 2)]
        [1, 0]
    """
    if all(part.applies is None for part in parts):
        return [parts] * leaves
    known: dict[tuple[Part, ...], tuple[Part, ...]] = {}  # leaves with the same parts get one tuple
    chosen = [
        tuple([part for part in parts if part.applies is None or part.applies(path)])
        for path, _ in tree_leaves_with_path(tree)
    ]
    return [known.setdefault(acts, acts) for acts in chosen]


def _runs(rows: Sequence[tuple[Any, ...]], chosen: Sequence[tuple[Part, ...]]) -> list[list[int]]:
    """Which leaves go through the kernels at once: small arrays of like dtypes and parts, whose calls cost the most."""
    runs: dict[Any, list[int]] = {}
    for place, (row, parts) in enumerate(zip(rows, chosen, strict=True)):
        small = type(row[0]) is np.ndarray and row[0].size <= JOINED and len(set(map(type, row))) == 1
        key = (id(parts), *[leaf.dtype for leaf in row]) if small else place
        runs.setdefault(key, []).append(place)
    return list(runs.values())


def _opened(rows: Sequence[tuple[Any, ...]]) -> tuple[FloatArray, FloatArray, list[FloatArray], list[FloatArray]]:
    """The leaves of a run as flat arrays, and fresh ones for their results."""
    g, p, *old = [_flat(leaves) for leaves in zip(*rows, strict=True)]
    dtype, size = p.dtype, p.size
    if dtype.kind != "f":
        dtype = np.result_type(dtype, 1.0)  # whole numbers give floating results
    if g.dtype != dtype:
        g = g.astype(dtype)
    return g, p, old, [empty(size, dtype), *[empty(size, slot.dtype) for slot in old]]


def _flat(leaves: Sequence[Any]) -> FloatArray:
    """Arrays end to end; a number as an array of one."""
    if len(leaves) > 1:
        return np.concatenate(leaves, axis=None)
    array: FloatArray = leaves[0].ravel() if isinstance(leaves[0], np.ndarray) else np.array(leaves)
    return array


def _closed(like: Any, results: Sequence[FloatArray], start: int) -> Sequence[Any]:
    """A leaf's results in the form of its parameter, or of its gradient where parameters do not matter."""
    if isinstance(like, np.ndarray):
        stop, shape = start + like.size, like.shape
        shaped = [result[start:stop].reshape(shape) for result in results]
        for view in shaped:
            view.setflags(write=False)
        return shaped
    plain = isinstance(like, int | float) and not isinstance(like, np.floating)
    return [result.item() if plain else result[0] for result in results]


def _run_block(
    kernels: Sequence[tuple[Kernel, Numbers, int]],
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
    for kernel, numbers, slots in kernels:
        if slots:
            last = first + slots
            u = kernel(numbers, u, p, old[first:last], new[first:last], out, work)
            first = last
        else:
            u = kernel(numbers, u, p, (), (), out, work)
    if add:
        np.add(p, u, out=out)
    elif u is not out:
        np.copyto(out, u)
