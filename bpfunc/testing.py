"""Assertions on trees, for tests: what differs is named by leaf, index and size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfunc.tree import Tree, TreeStructureError, tree_leaves_with_path, tree_map


def assert_trees_equal(found: Tree, expected: Tree) -> None:
    """Assert that two trees have one structure, and leaves of one shape, dtype and value; NaN equals NaN.

    Args:
        found: What a test computed.
        expected: What it should be.

    Returns:
        None.

    Raises:
        AssertionError: They differ; the message names the first leaf that does, the index, both numbers and how many
            others differ.

    Example:
        >>> assert_trees_equal((np.ones(2),), (np.ones(2),))
        >>> assert_trees_equal({"w": np.array([1.0, 2.0])}, {"w": np.array([1.0, 3.0])})
        Traceback (most recent call last):
            ...
        AssertionError: ['w'] differs at [1]: found 2.0, expected 3.0 (difference -1); 1 of 2 numbers differ
    """
    _compare(found, expected, 0.0, 0.0, dtypes=True)


def assert_trees_close(found: Tree, expected: Tree, *, rtol: float = 1e-5, atol: float = 1e-8) -> None:
    """Assert that two trees have one structure and leaves that are nearly the same, as by ``numpy.allclose``.

    Args:
        found: What a test computed.
        expected: What it should be; dtypes may differ, NaN is close to NaN.
        rtol: Relative tolerance, as in ``numpy.allclose``.
        atol: Absolute tolerance.

    Returns:
        None.

    Raises:
        AssertionError: They differ; the message names the first leaf that does, the index of the largest difference,
            both numbers and how many others differ.

    Example:
        >>> assert_trees_close((np.ones(2),), (np.ones(2) + 1e-9,))
        >>> assert_trees_close((np.ones(2),), (np.ones(3),))
        Traceback (most recent call last):
            ...
        AssertionError: [0] has the shape (2,), expected (3,)
    """
    _compare(found, expected, rtol, atol, dtypes=False)


def _compare(found: Tree, expected: Tree, rtol: float, atol: float, *, dtypes: bool) -> None:
    __tracebackhide__ = True
    try:
        tree_map(lambda left, right: None, found, expected)
    except TreeStructureError as error:
        raise AssertionError(str(error)) from None
    for (path, left), (_, right) in zip(tree_leaves_with_path(found), tree_leaves_with_path(expected), strict=True):
        problem = _difference(np.asarray(left), np.asarray(right), rtol, atol, dtypes=dtypes)
        if problem:
            raise AssertionError(f"{path or 'the tree'} {problem}")


def _difference(left: NDArray[Any], right: NDArray[Any], rtol: float, atol: float, *, dtypes: bool) -> str:
    if left.shape != right.shape:
        return f"has the shape {left.shape}, expected {right.shape}"
    if dtypes and left.dtype != right.dtype:
        return f"has the dtype {left.dtype}, expected {right.dtype}"
    if left.dtype.kind not in "fiub" or right.dtype.kind not in "fiub":
        return "" if np.array_equal(left, right) else f"is {left!r}, expected {right!r}"
    exact = rtol == atol == 0
    both = (left == right) | (np.isnan(left) & np.isnan(right))
    near = both if exact else both | np.isclose(left, right, rtol=rtol, atol=atol)
    if near.all():
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.where(near, -1.0, np.nan_to_num(np.abs(left.astype(float) - right), nan=np.inf))
        place = np.unravel_index(int(gaps.argmax()), gaps.shape)
        gap = float(left[place]) - float(right[place])
    index = f" at [{', '.join(str(int(number)) for number in place)}]" if place else ""
    many = f"{int((~near).sum()):,} of {near.size:,} numbers differ"
    return f"differs{index}: found {left[place]}, expected {right[place]} (difference {gap:.3g}); {many}"
