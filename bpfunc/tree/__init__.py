"""Pytrees: one way to walk parameters, gradients and optimiser state.

A tree is a leaf or a node. Nodes are attrs records (any class, no registration), tuples, named tuples, dicts (visited
in sorted order of their keys; an OrderedDict in its own; also defaultdict and Counter) and None, which has no leaves.
Lists, and other classes of tuples and dicts, are refused. Everything else is a leaf: an array or a number. Fields
marked with `STATIC` belong to the structure and are never visited. Arithmetic is written for arrays and lifted to
trees here, once.
"""

from bpfunc.tree.arithmetic import (
    float_dtype,
    norm_factors,
    tree_add,
    tree_allclose,
    tree_bytes,
    tree_cast,
    tree_cast_like,
    tree_dot,
    tree_norm,
    tree_scale,
    tree_size,
    tree_zeros_like,
    with_norm,
)
from bpfunc.tree.kinds import STATIC, Tree, TreeT
from bpfunc.tree.mapping import (
    matched_rows,
    tree_combine,
    tree_fill,
    tree_leaves,
    tree_map,
    tree_map_with_path,
    tree_reduce,
    tree_rows,
)
from bpfunc.tree.parts import freeze, merge, partition, ravel, replace_leaf, unravel
from bpfunc.tree.structure import Structure, TreeStructureError, flatten, tree_leaves_with_path, unflatten

__all__ = [
    "STATIC",
    "Structure",
    "Tree",
    "TreeStructureError",
    "TreeT",
    "flatten",
    "float_dtype",
    "freeze",
    "matched_rows",
    "merge",
    "norm_factors",
    "partition",
    "ravel",
    "replace_leaf",
    "tree_add",
    "tree_allclose",
    "tree_bytes",
    "tree_cast",
    "tree_cast_like",
    "tree_combine",
    "tree_dot",
    "tree_fill",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_norm",
    "tree_reduce",
    "tree_rows",
    "tree_scale",
    "tree_size",
    "tree_zeros_like",
    "unflatten",
    "unravel",
    "with_norm",
]
