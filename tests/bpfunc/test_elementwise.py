"""An elementwise chain in one pass over memory gives what its transforms give one after the other."""

from __future__ import annotations

import platform
import sys

import attrs
import numpy as np
import pytest

from bpfunc.arrays.aligned import CACHE_LINE, SMALL, empty
from bpfunc.arrays.types import FloatDType
from bpfunc.keys import Key
from bpfunc.layers import dense
from bpfunc.optimizers import (
    adadelta,
    adagrad,
    adam,
    adamax,
    adamw,
    amsgrad,
    lion,
    nadam,
    rmsprop,
    sgd,
    weights_only,
)
from bpfunc.transforms import (
    GradientTransform,
    add_decayed_weights,
    chain,
    clip_by_global_norm,
    clip_by_value,
    ema_of_params,
    masked,
    momentum,
    non_negative,
    scale,
    scale_by_adam,
    scale_by_schedule,
)
from bpfunc.transforms.elementwise import BLOCK, JOINED
from bpfunc.transforms.update import apply_updates, updated
from bpfunc.tree import Tree, TreeStructureError, tree_leaves, tree_map

CHAINS = {
    "sgd": sgd(0.1),
    "scheduled sgd": sgd(lambda step: 0.1 / (1 + step)),
    "momentum": sgd(0.1, momentum=0.9),
    "nesterov": sgd(0.1, momentum=0.9, nesterov=True),
    "coupled decay": sgd(0.1, momentum=0.9, weight_decay=0.01),
    "masked decay": sgd(0.1, weight_decay=0.01, decay_mask=weights_only),
    "adam": adam(1e-2),
    "adamw": adamw(1e-2, weight_decay=0.1, decay_mask=weights_only),
    "average": chain(adamw(1e-2, weight_decay=0.1), ema_of_params(0.99)),
    "adamw without decay": adamw(1e-2, weight_decay=0.0),
    "rmsprop": rmsprop(1e-2, momentum_decay=0.5),
    "centred rmsprop": rmsprop(1e-2, centred=True),
    "lion": lion(1e-2, weight_decay=0.1, decay_mask=weights_only),
    "adagrad": adagrad(1e-2),
    "adadelta": adadelta(),
    "adamax": adamax(1e-2),
    "amsgrad": amsgrad(1e-2),
    "nadam": nadam(1e-2),
    "clipped": chain(clip_by_value(0.5), sgd(0.1, momentum=0.9), non_negative()),
    "nested": chain(chain(scale(2.0), chain(momentum(0.5), scale_by_adam())), scale_by_schedule(lambda step: -0.01)),
}
"""Each is elementwise throughout, so `updated` runs it in one pass."""


def start(dtype: FloatDType) -> Tree:
    """Two layers: one leaf of several blocks and a part of one, others smaller than a block."""
    wide, _, _ = dense(300).init(Key(0), (2 * BLOCK // 300 + 1,))
    narrow, _, _ = dense(3).init(Key(1), (7,))
    assert wide.weight.size > 2 * BLOCK
    return tree_map(lambda leaf: leaf.astype(dtype), {"wide": wide, "narrow": narrow})


def gradients(params: Tree, step: int) -> Tree:
    return tree_map(lambda leaf: np.asarray(np.cos(leaf * 100 + step)), params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CHAINS)
def test_one_pass_equals_transform_by_transform(name: str, dtype: FloatDType) -> None:
    """Parameters and state agree bit for bit after several steps, in value and dtype."""
    transform = CHAINS[name]
    assert transform.elementwise is not None
    params = other_params = start(dtype)
    state = other_state = transform.init(params)
    for step in range(3):
        params, state = updated(transform, gradients(params, step), state, params, step)
        updates, other_state = transform.update(gradients(other_params, step), other_state, other_params, step)
        other_params = apply_updates(other_params, updates)
    for ours, theirs in zip(tree_leaves((params, state)), tree_leaves((other_params, other_state)), strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


def leaves_of_all_kinds() -> dict[str, object]:
    """Leaves that go through the kernels together, by dtype, and leaves that go alone."""
    numbers = np.linspace(-1, 1, JOINED + 1)
    small = {
        f"{dtype.__name__} {shape}": np.full(shape, 0.3, dtype)
        for dtype in (np.float32, np.float64)
        for shape in ((3,), (2, 5), (), (0, 4))
    }
    return small | {
        "transposed": numbers[:24].astype(np.float32).reshape(4, 6).T,
        "every second": numbers[:20:2],
        "joined": numbers[1:].astype(np.float32),
        "alone": numbers.astype(np.float32),
        "number": 0.5,
        "NumPy's number": np.float32(0.5),
    }


@pytest.mark.parametrize("name", CHAINS)
def test_a_leaf_does_not_depend_on_its_neighbours(name: str) -> None:
    """Leaves of one tree give what each gives in a tree of its own: in bits, dtype, shape and class."""
    transform, params = CHAINS[name], leaves_of_all_kinds()
    grads = {path: leaf * 3 for path, leaf in params.items()} | {"number": np.array(1.5)}
    state = transform.init(params)
    for step in range(2):
        params, state = updated(transform, grads, state, params, step)
    for path, leaf in leaves_of_all_kinds().items():
        own, grad = {path: leaf}, {path: grads[path]}
        own_state = transform.init(own)
        for step in range(2):
            own, own_state = updated(transform, grad, own_state, own, step)
        every = [*tree_leaves(own), *tree_leaves(own_state)]
        found = [tree[path] for tree in trees_in((params, state))]
        assert len(found) == len(every)
        for one, other in zip(found, every, strict=True):
            assert type(one) is type(other)
            assert np.asarray(one).dtype == np.asarray(other).dtype
            np.testing.assert_array_equal(one, other, strict=True)
            assert not isinstance(one, np.ndarray) or not one.flags.writeable


def trees_in(node: Tree) -> list[dict[str, object]]:
    """The dicts of leaves inside parameters and state, in their order."""
    if isinstance(node, dict):
        return [node]
    children = node if isinstance(node, tuple) else [getattr(node, field.name) for field in attrs.fields(type(node))]
    return [tree for child in children for tree in trees_in(child)]


def test_a_mask_holds_for_leaves_that_go_together() -> None:
    """A part that acts on some small leaves leaves the others of their dtype alone."""
    transform = chain(masked(scale(0.0), lambda path: "still" in path), scale(-1.0))
    params = {"still": np.ones(3), "moves": np.ones(2), "still too": np.ones(4), "moves too": np.ones(1)}
    moved, _ = updated(transform, params, transform.init(params), params, 0)
    assert {path: leaf.tolist() for path, leaf in moved.items()} == {
        "still": [1.0] * 3,
        "moves": [0.0] * 2,
        "still too": [1.0] * 4,
        "moves too": [0.0],
    }


def test_layout_does_not_matter() -> None:
    """A transposed gradient gives what its contiguous copy gives."""
    transform, params = sgd(0.1, momentum=0.9), (np.ones((700, 500)),)
    gradient = np.arange(350_000.0).reshape(500, 700).T
    state = transform.init(params)
    (ours,), _ = updated(transform, (gradient,), state, params, 0)
    (theirs,), _ = updated(transform, (np.ascontiguousarray(gradient),), state, params, 0)
    np.testing.assert_array_equal(ours, theirs)


def test_results_are_fresh_and_read_only() -> None:
    """No result shares memory with an argument, and none can be written."""
    assert_fresh(CHAINS["average"], start(np.float32))


def assert_fresh(transform: GradientTransform, params: Tree) -> None:
    grads, state = gradients(params, 0), transform.init(params)
    old = tree_leaves((params, grads, state))
    for leaf in tree_leaves(updated(transform, grads, state, params, 0)):
        assert not leaf.flags.writeable
        assert not any(np.shares_memory(leaf, other) for other in old)


@pytest.mark.parametrize(
    "transform",
    [
        chain(clip_by_global_norm(1.0), sgd(0.1)),
        masked(momentum(0.9), weights_only),
        chain(masked(add_decayed_weights(0.1), weights_only), clip_by_global_norm(1.0)),
    ],
)
def test_other_chains_are_composed(transform: GradientTransform) -> None:
    """A link that looks across numbers, or a masked state, keeps the chain out of the single pass."""
    assert transform.elementwise is None
    params = {"a": dense(3).init(Key(0), (2,))[0]}
    grads, state = gradients(params, 0), transform.init(params)
    ours, _ = updated(transform, grads, state, params, 0)
    theirs = apply_updates(params, transform.update(grads, state, params, 0)[0])
    for one, other in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_structures_must_agree() -> None:
    """The single pass names the place where gradients and parameters differ."""
    with pytest.raises(TreeStructureError, match="trees differ at the root"):
        updated(sgd(0.1), (1.0, 2.0), sgd(0.1).init((1.0,)), (1.0,), 0)


def test_arrays_begin_at_cache_lines() -> None:
    """Large arrays are aligned wherever the allocator put them; small ones are plain."""
    sizes = [SMALL // 4 + 13 * n for n in range(20)]
    kept = [empty((size,), np.float32) for size in sizes]
    assert [array.ctypes.data % CACHE_LINE for array in kept] == [0] * len(kept)
    assert [array.shape for array in kept] == [(size,) for size in sizes]
    assert empty((3, 0), np.float64).shape == (3, 0)


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="done there alone")
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_averages_do_not_linger_among_denormal_numbers(name: str) -> None:
    """An average decays to zero, and no number just above it, which would slow down every later step."""
    transform, params = CHAINS[name], (np.ones(4, np.float32),)
    _, state = transform.update((np.full(4, 1e-36, np.float32),), transform.init(params), params, 0)
    for step in range(1, 200):
        params, state = updated(transform, (np.zeros(4, np.float32),), state, params, step)
    assert all((leaf == 0).all() for leaf in tree_leaves(state))
    assert (np.full(4, 1e-40, np.float32) * np.float32(1)).all()
