"""Applying an update."""

from __future__ import annotations

from bpfunc.arrays.types import readonly
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.elementwise import run
from bpfunc.tree import Tree, TreeT, tree_map


def apply_updates(params: TreeT, updates: Tree) -> TreeT:
    """Add updates to parameters: ``p + u``. The minus sign of descent is in the update already.

    Args:
        params: Any tree of arrays.
        updates: A tree of the same structure.

    Returns:
        New parameters.

    Raises:
        TreeStructureError: The structures differ.

    Example:
        >>> apply_updates((1.0,), (-0.25,))
        (0.75,)
    """
    return tree_map(lambda p, u: readonly(p + u), params, updates)


def updated(transform: GradientTransform, grads: Tree, state: Tree, params: TreeT, step: int) -> tuple[TreeT, Tree]:
    """Transform gradients and add the updates: ``transform.update``, then `apply_updates`.

    Where the transform treats each number by itself, both happen block by block in one pass over memory; the result is
    the same bit for bit.

    Args:
        transform: The optimiser.
        grads: A tree like ``params``.
        state: Of the transform.
        params: Any tree of arrays.
        step: Updates made so far.

    Returns:
        New parameters and new state.

    Raises:
        TreeStructureError: The structures differ.

    Example:
        >>> from bpfunc.optimizers import sgd
        >>> updated(sgd(0.5), (2.0,), ((),), (1.0,), 0)[0]
        (0.0,)
    """
    if transform.elementwise is not None:
        return run(transform.elementwise, grads, state, params, step, add=True)
    updates, new_state = transform.update(grads, state, params, step)
    return apply_updates(params, updates), new_state
