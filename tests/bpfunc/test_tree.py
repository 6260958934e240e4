"""The laws of trees, under hypothesis, and agreement with optree."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np
import optree
import pytest
from hypothesis import given, strategies as st

from bpfunc.keys import Key, normal
from bpfunc.layers import DenseParams
from bpfunc.tree import (
    STATIC,
    Tree,
    TreeStructureError,
    flatten,
    freeze,
    merge,
    partition,
    ravel,
    replace_leaf,
    tree_add,
    tree_allclose,
    tree_bytes,
    tree_cast,
    tree_dot,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    tree_norm,
    tree_reduce,
    tree_scale,
    tree_size,
    tree_zeros_like,
    unflatten,
    unravel,
)


@attrs.frozen
class Pair:
    """A class of a user's own: a tree with no registration."""

    left: object
    right: object
    unit: str = attrs.field(default="m", metadata=STATIC)


class Point(NamedTuple):
    """A named tuple."""

    x: object
    y: object


LEAVES = st.integers(-100, 100)
TREES = st.recursive(
    LEAVES | st.none(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
        st.builds(Pair, inner, inner),
        st.builds(Point, inner, inner),
    ),
    max_leaves=12,
)


def as_optree(tree: Tree) -> Tree:
    """The same tree for optree, attrs records as tuples."""
    if isinstance(tree, Pair):
        return (as_optree(tree.left), as_optree(tree.right))
    if isinstance(tree, Point):
        return Point(as_optree(tree.x), as_optree(tree.y))
    if isinstance(tree, tuple):
        return tuple(as_optree(child) for child in tree)
    return {name: as_optree(child) for name, child in tree.items()} if isinstance(tree, dict) else tree


@given(TREES)
def test_map_of_the_identity_is_the_identity(tree: Tree) -> None:
    """Mapping nothing changes nothing."""
    assert tree_map(lambda leaf: leaf, tree) == tree


@given(TREES)
def test_map_composes(tree: Tree) -> None:
    """Mapping twice is mapping the composition once."""
    assert tree_map(lambda a: 2 * (a + 1), tree) == tree_map(lambda a: 2 * a, tree_map(lambda a: a + 1, tree))


@given(TREES)
def test_unflatten_undoes_flatten(tree: Tree) -> None:
    """Leaves and structure hold all there is, and structures compare and hash."""
    leaves, structure = flatten(tree)
    assert unflatten(structure, leaves) == tree
    assert flatten(unflatten(structure, leaves)) == (leaves, structure)
    assert hash(structure) == hash(flatten(tree)[1])
    assert structure.size == len(leaves)


@given(TREES)
def test_leaves_agree_with_optree(tree: Tree) -> None:
    """The leaves, in their order, and their number are optree's; None has none in both."""
    assert list(tree_leaves(tree)) == optree.tree_leaves(as_optree(tree))
    doubled = optree.tree_map(lambda leaf: 2 * leaf, as_optree(tree))
    assert as_optree(tree_map(lambda leaf: 2 * leaf, tree)) == doubled


@given(TREES, TREES)
def test_structures_agree_with_equality_of_shape(one: Tree, other: Tree) -> None:
    """Mapping over two trees works exactly where their structures are equal, and says where they differ."""
    if flatten(one)[1] == flatten(other)[1]:
        assert len(tree_leaves(tree_map(lambda a, b: a + b, one, other))) == len(tree_leaves(one))
        return
    with pytest.raises(TreeStructureError, match=r"trees differ at .+: .+ against .+"):
        tree_map(lambda a, b: a, one, other)
    with pytest.raises(TreeStructureError, match="trees differ at"):
        tree_map_with_path(lambda path, a, b: a, one, other)


@given(TREES, st.sampled_from(["a", "left", "[0]", "x"]))
def test_merge_undoes_partition(tree: Tree, part: str) -> None:
    """The two halves of a partition make the whole, each leaf being in one of them."""
    selected, others = partition(tree, lambda path: part in path)
    assert merge(selected, others) == tree
    assert len(tree_leaves(selected)) + len(tree_leaves(others)) == len(tree_leaves(tree))
    assert all(part in path for path, _ in tree_leaves_with_path(tree) if _in(path, tree, selected))


def _in(path: str, tree: Tree, half: Tree) -> bool:
    return path in dict(tree_leaves_with_path(half)) and path in dict(tree_leaves_with_path(tree))


@given(TREES)
def test_paths_are_distinct_and_lead_to_their_leaves(tree: Tree) -> None:
    """Each path names one leaf, and replacing there changes that leaf alone."""
    pairs = tree_leaves_with_path(tree)
    assert len({path for path, _ in pairs}) == len(pairs)
    for path, _ in pairs:
        changed = dict(tree_leaves_with_path(replace_leaf(tree, path, 1000)))
        assert changed == {**dict(pairs), path: 1000}


@given(TREES)
def test_reduce_folds_from_the_left(tree: Tree) -> None:
    """Folding a list gathers the leaves in order."""
    assert tree_reduce(lambda seen, leaf: [*seen, leaf], tree, []) == list(tree_leaves(tree))


def arrays(dtype: type = np.float32) -> Tree:
    """A tree of arrays."""
    return {"a": DenseParams(normal(Key(0), (2, 3), dtype=dtype), None), "b": (normal(Key(1), (4,), dtype=dtype), ())}


def test_paths_read_as_code() -> None:
    """Fields by dot, indices in brackets, keys in quotes."""
    tree = Pair({"k": (1, 2)}, Point(3, None))
    assert [path for path, _ in tree_leaves_with_path(tree)] == ["left['k'][0]", "left['k'][1]", "right[0]"]


def test_static_fields_are_structure() -> None:
    """They are kept, compared, and never mapped over."""
    assert tree_map(lambda leaf: -leaf, Pair(1, 2, unit="s")) == Pair(-1, -2, unit="s")
    with pytest.raises(TreeStructureError, match="the root"):
        tree_map(lambda a, b: a, Pair(1, 2), Pair(1, 2, unit="s"))


def test_structure_prints_as_a_call() -> None:
    """Records by name, tuples and leaves by signs."""
    assert str(flatten(Pair((1, 2), None))[1]) == "Pair(left=(*, *), right=None)"


def test_mismatch_names_the_first_place() -> None:
    """The message has the path and both sides, shapes of arrays included."""
    other = {"a": DenseParams(np.zeros((2, 3)), np.zeros(3)), "b": (np.zeros(4), ())}
    with pytest.raises(
        TreeStructureError, match=r"trees differ at \['a'\].bias: None against an array of shape \(3,\)"
    ):
        tree_add(arrays(), other)


def test_lists_are_refused() -> None:
    """A list is mutable, so it is no part of a value."""
    with pytest.raises(TypeError, match="use a tuple"):
        tree_leaves({"a": [1, 2]})


def test_wrong_number_of_leaves_is_refused() -> None:
    """Unflatten counts."""
    with pytest.raises(TreeStructureError, match="has 2 leaves, got 1"):
        unflatten(flatten((1, 2))[1], [1])


def test_missing_path_is_refused() -> None:
    """The message lists what there is."""
    with pytest.raises(KeyError, match=r"no leaf at c; the tree has a, b"):
        replace_leaf(attrs.make_class("AB", ["a", "b"])(1, 2), "c", 3)


def test_overlapping_halves_are_refused() -> None:
    """Two leaves at one place cannot be merged."""
    with pytest.raises(TreeStructureError):
        merge((1,), (2,))


def test_ravel_and_unravel() -> None:
    """A vector holds all numbers in order, and comes back with shapes and dtypes."""
    vector = ravel(arrays())
    assert vector.shape == (10,)
    assert vector.dtype == np.float32
    back = unravel(vector, arrays())
    assert tree_allclose(back, arrays(), rtol=0, atol=0)
    assert flatten(back)[1] == flatten(arrays())[1]
    assert ravel(()).shape == (0,)
    with pytest.raises(ValueError, match=r"shape \(9,\) for a tree of 10 numbers"):
        unravel(vector[:9], arrays())


def test_arithmetic() -> None:
    """Sums, multiples, zeros, products and norms agree with those of the raveled vector."""
    tree, vector = arrays(np.float64), ravel(arrays(np.float64))
    np.testing.assert_array_equal(ravel(tree_add(tree, tree)), 2 * vector)
    np.testing.assert_array_equal(ravel(tree_scale(3, tree)), 3 * vector)
    assert not ravel(tree_zeros_like(tree)).any()
    assert tree_dot(tree, tree) == pytest.approx(vector @ vector)
    assert tree_norm(tree) == pytest.approx(np.linalg.norm(vector))
    assert (tree_size(tree), tree_bytes(tree)) == (10, 80)
    assert tree_norm(()) == 0


def test_cast_leaves_whole_numbers_alone() -> None:
    """Floats change, counts do not."""
    cast = tree_cast((np.ones(2, np.float32), np.ones(2, np.int32), 3), np.float64)
    assert (cast[0].dtype, cast[1].dtype, cast[2]) == (np.float64, np.int32, 3)


def test_allclose_needs_structure_shape_and_values() -> None:
    """Other structure, other shape, another value, or NaN: not close."""
    one = (np.ones(2),)
    assert tree_allclose(one, (np.ones(2) + 1e-9,))
    assert not tree_allclose(one, (np.ones(2) + 1e-3,))
    assert not tree_allclose(one, (np.ones(1),))
    assert not tree_allclose(one, (np.ones(2), np.ones(2)))
    assert not tree_allclose((np.array([np.nan]),), (np.array([np.nan]),))
    assert tree_allclose(one, (np.ones(2) + 0.1,), atol=0.2)


def test_freeze_copies() -> None:
    """What comes from outside can no longer change what is inside."""
    outside = np.zeros(2)
    inside = freeze((outside, 3))
    outside[0] = 7
    assert inside[0][0] == 0
    with pytest.raises(ValueError, match="read-only"):
        inside[0][0] = 1


def test_records_with_arrays_do_not_compare() -> None:
    """`==` on a record of arrays is identity, so nobody compares by mistake with half an answer."""
    assert arrays()["a"] != arrays()["a"]
