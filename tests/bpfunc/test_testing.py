"""Assertions on trees name what differs."""

from __future__ import annotations

import numpy as np
import pytest

import bpfunc as bp
from bpfunc.testing import assert_trees_close, assert_trees_equal

PARAMS = bp.SerialParams((bp.DenseParams(np.arange(6.0).reshape(2, 3), np.zeros(3)), ()))
WEIGHT = PARAMS.layers[0].weight


def moved(place: tuple[int, int], by: float) -> bp.SerialParams:
    weight = WEIGHT.copy()
    weight[place] += by
    return bp.replace_leaf(PARAMS, "layers[0].weight", weight)


def test_equal_trees_pass() -> None:
    """Also with NaN in one place, whole numbers, and none at all."""
    for tree in (PARAMS, (np.array([np.nan, 1.0]),), (np.arange(3), None), ()):
        assert_trees_equal(tree, tree)
        assert_trees_close(tree, tree)
    assert_trees_close(bp.tree_cast(PARAMS, np.float32), PARAMS)
    assert_trees_close(moved((1, 2), 1e-9), PARAMS)


@pytest.mark.parametrize(
    ("check", "found", "message"),
    [
        (assert_trees_equal, moved((1, 2), 0.5), "layers[0].weight differs at [1, 2]: found 5.5, expected 5.0 "),
        (
            assert_trees_equal,
            moved((0, 1), -1e-9),
            "layers[0].weight differs at [0, 1]: found 0.999999999, expected 1.0 ",
        ),
        (assert_trees_close, moved((1, 0), np.nan), "layers[0].weight differs at [1, 0]: found nan, expected 3.0 "),
        (assert_trees_close, moved((1, 0), np.inf), "layers[0].weight differs at [1, 0]: found inf, expected 3.0 "),
        (
            assert_trees_equal,
            bp.tree_cast(PARAMS, np.float32),
            "layers[0].weight has the dtype float32, expected float64",
        ),
        (
            assert_trees_close,
            bp.replace_leaf(PARAMS, "layers[0].bias", np.zeros((1, 3))),
            "layers[0].bias has the shape (1, 3)",
        ),
        (assert_trees_close, PARAMS.layers, "trees differ at the root"),
    ],
)
def test_what_differs_is_named(check: object, found: object, message: str) -> None:
    """Leaf, index, both numbers; a broadcast is a difference."""
    with pytest.raises(AssertionError) as caught:
        check(found, PARAMS)  # type: ignore[operator]
    assert str(caught.value).startswith(message)
