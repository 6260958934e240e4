"""Arithmetic on trees: sums, products, norms, types of numbers and sizes; written for arrays, lifted once."""

from __future__ import annotations

import math
import operator
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from bpfunc.arrays.types import FloatArray, readonly
from bpfunc.tree.kinds import Tree, TreeT, _kind
from bpfunc.tree.mapping import matched_rows, tree_combine, tree_fill, tree_leaves, tree_map
from bpfunc.tree.structure import flatten, nested_too_deeply, same_structure


def tree_add(left: TreeT, right: Tree) -> TreeT:
    """Add two trees leaf by leaf.

    Args:
        left: Any tree of arrays or numbers.
        right: A tree of the same structure and shapes.

    Returns:
        Their sum.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> tree_add((1, 2), (10, 20))
        (11, 22)
    """
    return tree_combine(operator.add, left, right)


def tree_scale(factor: float, tree: TreeT) -> TreeT:
    """Multiply each leaf by a number.

    Args:
        factor: The number.
        tree: Any tree of arrays or numbers.

    Returns:
        The scaled tree.

    Example:
        >>> tree_scale(3, (1, 2))
        (3, 6)
    """
    own = factor.item() if isinstance(factor, np.generic) else factor  # a float64 would make float64 of float32
    return tree_map(lambda leaf: own * leaf, tree)


def tree_zeros_like(tree: TreeT) -> TreeT:
    """Make a tree of zeros of the same structure, shapes and dtypes.

    Args:
        tree: Any tree of arrays.

    Returns:
        Fresh zero arrays.

    Example:
        >>> import numpy as np
        >>> tree_zeros_like((np.ones(2, np.float32),))
        (array([0., 0.], dtype=float32),)
    """
    return tree_map(np.zeros_like, tree)


def tree_cast(tree: TreeT, dtype: DTypeLike) -> TreeT:
    """Convert the floating leaves to another dtype; whole numbers stay as they are.

    Args:
        tree: Any tree of arrays or numbers.
        dtype: Such as ``np.float64``, to check gradients.

    Returns:
        A tree of fresh arrays.

    Example:
        >>> import numpy as np
        >>> tree_cast((np.ones(1, np.float32), np.ones(1, np.int64)), np.float64)
        (array([1.]), array([1]))
    """

    def cast(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else readonly(leaf)

    return tree_map(cast, tree)


def tree_cast_like(tree: TreeT, like: Tree) -> TreeT:
    """Convert each leaf to the dtype of the leaf at the same place of another tree.

    Args:
        tree: A tree of arrays or numbers.
        like: A tree of the same structure and shapes; gives the dtypes. Where it has a number, the leaf stays.

    Returns:
        The tree; itself where nothing has to be converted.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> import numpy as np
        >>> tree_cast_like((np.ones(2, np.float16),), (np.zeros(2, np.float32),))
        (array([1., 1.], dtype=float32),)
    """
    rows = matched_rows(tree, like)
    if all(_dtype(leaf) == _dtype(other) for leaf, other in rows):
        return tree
    return tree_fill(tree, [_cast_like(leaf, _dtype(other)) for leaf, other in rows])


def _cast_like(leaf: Any, dtype: Any) -> Any:
    if dtype is None:
        return leaf
    return leaf.astype(dtype, copy=False) if isinstance(leaf, np.ndarray) else dtype.type(leaf)


def _dtype(leaf: Any) -> Any:
    return getattr(leaf, "dtype", None)


def float_dtype(tree: Tree) -> np.dtype[np.floating] | None:
    """Find the dtype that a tree computes in: that of its first floating leaf.

    Args:
        tree: Any tree.

    Returns:
        The dtype; None where no leaf is a floating array.

    Example:
        >>> import numpy as np
        >>> float_dtype(((), np.arange(3), np.zeros(2, np.float32)))
        dtype('float32')
    """
    kind = None if type(tree) is np.ndarray else _kind(type(tree))
    if kind is None:
        dtype = _dtype(tree)
        return dtype if dtype is not None and dtype.kind == "f" else None
    try:
        return next((found for child in kind.children(tree) if (found := float_dtype(child)) is not None), None)
    except RecursionError as error:
        raise nested_too_deeply(error, tree) from None


def tree_dot(left: Tree, right: Tree) -> float:
    """Inner product of two trees: the sum of the products of their leaves, in float64.

    Args:
        left: A tree of arrays.
        right: A tree of the same structure and shapes.

    Returns:
        The inner product.

    Raises:
        TreeStructureError: The trees differ in structure or shape.

    Example:
        >>> import numpy as np
        >>> tree_dot((np.array([1.0, 2.0]),), (np.array([3.0, 4.0]),))
        11.0
    """

    def dot(a: Any, b: Any) -> float:
        return float(np.vdot(np.asarray(a, np.float64), np.asarray(b, np.float64)))

    return float(sum(dot(a, b) for a, b in matched_rows(left, right)))


def tree_norm(tree: Tree) -> float:
    """Euclidean norm over all leaves, in float64; squares that overflow or underflow do no harm.

    Args:
        tree: A tree of arrays.

    Returns:
        The norm; 0 for a tree without leaves.

    Example:
        >>> import numpy as np
        >>> tree_norm((np.array([3.0]), np.array([4.0])))
        5.0
        >>> bool(np.isclose(tree_norm((np.array([3e200, 4e200]),)), 5e200))
        True

    Reference: Blue, "A portable Fortran program to find the Euclidean norm of a vector" (1978), on the scaling.
    """
    return math.prod(norm_factors(tree))


def norm_factors(tree: Tree) -> tuple[float, float]:
    """Euclidean norm over all leaves as the product of two numbers, for those who divide by it.

    The first is 1 unless the squares of the leaves overflow or underflow, else the largest size of a number in them.

    Args:
        tree: A tree of arrays.

    Returns:
        The two factors; NaN among them where a leaf holds NaN.

    Example:
        >>> import numpy as np
        >>> norm_factors(np.array([3.0, 4.0])), norm_factors(np.array([1.5e308, 1.5e308]))
        ((1.0, 5.0), (1.5e+308, 1.4142135623730951))
    """
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in tree_leaves(tree)]
    with np.errstate(over="ignore", under="ignore"):
        squares = sum(float(leaf.dot(leaf)) for leaf in leaves)
        if _SAFE < squares < 1 / _SAFE:
            return 1.0, math.sqrt(squares)
        largest = float(np.max([np.abs(leaf).max(initial=0.0) for leaf in leaves], initial=0.0))
        if largest == 0 or not math.isfinite(largest):
            return 1.0, largest
        return largest, math.sqrt(sum(float(np.square(leaf / largest).sum()) for leaf in leaves))


_SAFE: Final = 1e-200
"""Sums of squares between this and its inverse have lost nothing, whatever the sizes of the squares."""


def with_norm(leaf: FloatArray, norm: tuple[float, float], wanted: tuple[float, float]) -> FloatArray:
    """Multiply by the quotient of two norms, where the quotient itself may be too large or too small for the dtype.

    Args:
        leaf: Array of any shape, floating.
        norm: `norm_factors` of it, or of the tree that it is of.
        wanted: Two factors of the norm that it should have.

    Returns:
        A fresh array of the same dtype.

    Example:
        >>> import numpy as np
        >>> with_norm(np.array([3e20, 4e20], np.float32), (1.0, 5e20), (1.0, 1.0)).round(4)
        array([0.6, 0.8], dtype=float32)
    """
    known, whole = np.finfo(np.result_type(leaf, np.float16)), math.prod(norm)
    factor = math.prod(wanted) / whole if whole else math.inf
    if float(known.tiny) <= factor <= float(known.max):
        return leaf * factor
    with np.errstate(invalid="ignore"):  # infinity over infinity
        return (np.asarray(leaf, np.float64) / norm[0] / norm[1] * wanted[1] * wanted[0]).astype(known.dtype)


def tree_allclose(left: Tree, right: Tree, *, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Whether two trees have one structure and nearly the same leaves; ``==`` on records of arrays is off.

    Args:
        left: A tree.
        right: A tree.
        rtol: Relative tolerance, as in ``numpy.allclose``.
        atol: Absolute tolerance.

    Returns:
        True where structure, shapes and values agree; NaN equals nothing.

    Example:
        >>> import numpy as np
        >>> tree_allclose((np.ones(2),), (np.ones(2) + 1e-9,)), tree_allclose((np.ones(2),), ())
        (True, False)
    """
    left_leaves, left_structure = flatten(left)
    right_leaves, right_structure = flatten(right)
    return same_structure(left_structure, right_structure) and all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=rtol, atol=atol)
        for a, b in zip(left_leaves, right_leaves, strict=True)
    )


def tree_size(tree: Tree) -> int:
    """Number of numbers in a tree.

    Args:
        tree: A tree of arrays.

    Returns:
        The sum of the leaves' sizes.

    Example:
        >>> import numpy as np
        >>> tree_size((np.zeros((2, 3)), np.zeros(4)))
        10
    """
    return int(sum(np.size(leaf) for leaf in tree_leaves(tree)))


def tree_bytes(tree: Tree) -> int:
    """Memory that the leaves take, in bytes.

    Args:
        tree: A tree of arrays.

    Returns:
        The sum of the leaves' sizes in bytes.

    Example:
        >>> import numpy as np
        >>> tree_bytes((np.zeros((2, 3), np.float32),))
        24
    """
    return int(sum(np.asarray(leaf).nbytes for leaf in tree_leaves(tree)))
