"""Applying an update."""

from __future__ import annotations

from bpfunc.tree import Tree, TreeT, tree_map
from bpfunc.types import readonly


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
