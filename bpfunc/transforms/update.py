"""Applying an update."""

from __future__ import annotations

from bpfunc.arrays.types import readonly
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.elementwise import run
from bpfunc.tree import Tree, TreeT, tree_cast_like, tree_combine


def apply_updates(params: TreeT, updates: Tree) -> TreeT:
    """Add updates to parameters: ``p + u``. The minus sign of descent is in the update already.

    Args:
        params: Any tree of arrays.
        updates: A tree of the same structure and shapes.

    Returns:
        New parameters of the same dtypes.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> apply_updates((1.0,), (-0.25,))
        (0.75,)
    """
    return tree_combine(lambda p, u: readonly(p + u), params, tree_cast_like(updates, params))


def updated(transform: GradientTransform, grads: Tree, state: Tree, params: TreeT, step: int) -> tuple[TreeT, Tree]:
    """Transform gradients and add the updates: ``transform.update``, then `apply_updates`.

    Parameters and state keep their dtypes: gradients of another one are brought to the parameters' first. Where the
    transform treats each number by itself, all happens block by block in one pass over memory; the result is the same
    bit for bit.

    Args:
        transform: The optimiser.
        grads: A tree like ``params``.
        state: State of the transform.
        params: Any tree of arrays.
        step: Updates made so far.

    Returns:
        New parameters and new state.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> from bpfunc.optimizers import sgd
        >>> updated(sgd(0.5), (2.0,), ((),), (1.0,), 0)[0]
        (0.0,)
    """
    if transform.elementwise is not None:
        return run(transform.elementwise, grads, state, params, step, add=True)
    updates, new_state = transform.update(tree_cast_like(grads, params), state, params, step)
    return apply_updates(params, updates), new_state
