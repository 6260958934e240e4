"""Every transform and recipe: same structure, same dtype, nothing changed, and the laws of combination."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bpfunc import optimizers, transforms
from bpfunc.keys import Key, normal
from bpfunc.layers import DenseParams
from bpfunc.optimizers import adamw, sgd, weights_only
from bpfunc.transforms import (
    EmaState,
    GradientTransform,
    accumulate,
    add_decayed_weights,
    add_noise,
    centralize,
    chain,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    ema_of_params,
    find_state,
    identity,
    lookahead,
    masked,
    max_norm,
    momentum,
    non_negative,
    partitioned,
    projected,
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
)
from bpfunc.transforms.update import apply_updates
from bpfunc.tree import Tree, flatten, tree_add, tree_allclose, tree_cast, tree_leaves, tree_map, tree_norm

ARGUMENTS: dict[str, tuple[object, ...]] = {
    "add_decayed_weights": (0.1,),
    "add_noise": (Key(3), 0.1),
    "clip_by_global_norm": (0.5,),
    "clip_by_norm": (0.5,),
    "clip_by_value": (0.5,),
    "ema_of_params": (0.9,),
    "max_norm": (0.5,),
    "momentum": (0.9,),
    "projected": (lambda p: np.maximum(p, 0),),
    "scale": (0.5,),
    "scale_by_learning_rate": (0.5,),
    "scale_by_schedule": (lambda step: 1 / (1 + step),),
    "accumulate": (scale(1.0), 3),
    "lookahead": (scale(-0.1),),
    "masked": (scale(2.0), weights_only),
    "partitioned": (lambda path: "all", {"all": scale(2.0)}),
    "chain": (momentum(0.9), scale(0.5)),
    "stateless": (lambda grads, params, step: tree_map(lambda g: 2 * g, grads),),
}
"""What each maker takes that has no default."""


def makers() -> dict[str, object]:
    """Every public function of the two modules that makes a transform, found by looking."""
    found = {}
    for module in (transforms, optimizers):
        for name, function in vars(module).items():
            if not inspect.isfunction(function) or name.startswith("_") or name != function.__name__:
                continue
            if "GradientTransform" in str(inspect.signature(function).return_annotation):
                found[name] = function
    return found


def make(name: str) -> GradientTransform:
    """Make a transform with the arguments of the table; optimisers take a learning rate."""
    function = makers()[name]
    arguments = ARGUMENTS.get(name, (0.01,) if function.__module__.startswith("bpfunc.optimizers") else ())
    return function(*arguments)


def params_of(dtype: type = np.float64) -> Tree:
    """A tree with a record, a tuple, a dict, a None and an empty node."""
    weight, bias, other = normal(Key(0), (4, 3)), normal(Key(1), (3,)), normal(Key(2), (2, 2))
    return tree_cast({"a": DenseParams(weight, bias), "b": (other, (), DenseParams(other, None))}, dtype)


def grads_at(step: int, dtype: type = np.float64) -> Tree:
    """Gradients of a step."""
    return tree_map(lambda p: normal(Key(10 + step), p.shape, dtype=dtype), params_of(dtype))


def run(transform: GradientTransform, steps: int, dtype: type = np.float64) -> tuple[Tree, Tree]:
    """Take some steps; return parameters and state."""
    params, state = params_of(dtype), transform.init(params_of(dtype))
    for step in range(steps):
        updates, state = transform.update(grads_at(step, dtype), state, params, step)
        params = apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("name", makers())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_structure_and_dtype_are_kept(name: str, dtype: type) -> None:
    """Updates look like the parameters in structure, shapes and dtype, and so does the state's structure over steps."""
    transform = make(name)
    params, state = params_of(dtype), transform.init(params_of(dtype))
    for step in range(4):
        updates, new_state = transform.update(grads_at(step, dtype), state, params, step)
        assert flatten(updates)[1] == flatten(params)[1]
        assert flatten(new_state)[1] == flatten(state)[1]
        for update, param in zip(tree_leaves(updates), tree_leaves(params), strict=True):
            assert (update.shape, update.dtype) == (param.shape, param.dtype)
        for before, after in zip(tree_leaves(state), tree_leaves(new_state), strict=True):
            assert (before.shape, before.dtype) == (after.shape, after.dtype)
        params, state = apply_updates(params, updates), new_state


@pytest.mark.parametrize("name", makers())
def test_update_changes_nothing_and_repeats(name: str) -> None:
    """Gradients, state and parameters are the same after as before, and the same call gives the same bits."""
    transform = make(name)
    params, grads = params_of(), grads_at(0)
    _, state = transform.update(grads, transform.init(params), params, 0)
    before = [leaf.copy() for leaf in tree_leaves((grads, state, params))]
    first, second = transform.update(grads, state, params, 1), transform.update(grads, state, params, 1)
    for was, now in zip(before, tree_leaves((grads, state, params)), strict=True):
        np.testing.assert_array_equal(was, now)
    for a, b in zip(tree_leaves(first), tree_leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", makers())
def test_no_writable_memory_is_shared(name: str) -> None:
    """Bare writable arrays go in, and nothing that comes out lets anybody write to them."""
    transform = make(name)
    params, grads = (np.ones((2, 3)),), (np.full((2, 3), 0.01),)
    state = transform.init(params)
    for step in range(3):
        updates, new_state = transform.update(grads, state, params, step)
        for leaf in (*tree_leaves(updates), *tree_leaves(new_state), *tree_leaves(state)):
            shared = any(np.shares_memory(leaf, array) for array in (*params, *grads))
            assert not (shared and leaf.flags.writeable)
        state = new_state


@pytest.mark.parametrize("name", [name for name, f in makers().items() if f.__module__.startswith("bpfunc.optimizers")])
def test_every_optimiser_descends(name: str) -> None:
    """On a bowl, a hundred steps of every recipe bring the parameters nearer to the bottom."""
    transform = makers()[name](0.01)
    params = params_of()
    state = transform.init(params)
    for step in range(100):
        updates, state = transform.update(params, state, params, step)
        params = apply_updates(params, updates)
    assert tree_norm(params) < tree_norm(params_of())


PARTS = st.sampled_from(
    [
        scale(0.5),
        momentum(0.9),
        momentum(0.5, nesterov=True),
        clip_by_global_norm(1.0),
        clip_by_value(0.3),
        add_decayed_weights(0.1),
        centralize(),
        add_noise(Key(1), 0.1),
        makers()["scale_by_adam"](),
        ema_of_params(0.5),
    ]
)


@given(PARTS, PARTS, PARTS)
def test_chain_is_associative(a: GradientTransform, b: GradientTransform, c: GradientTransform) -> None:
    """How a chain is bracketed does not matter."""
    left, _ = run(chain(chain(a, b), c), 3)
    right, _ = run(chain(a, chain(b, c)), 3)
    flat, _ = run(chain(a, b, c), 3)
    assert tree_allclose(left, right, rtol=0, atol=0)
    assert tree_allclose(left, flat, rtol=0, atol=0)


@given(PARTS, st.sampled_from([scale(1.0), identity(), chain()]))
def test_chain_has_an_identity(a: GradientTransform, one: GradientTransform) -> None:
    """scale(1), identity() and the empty chain change nothing, before or after."""
    plain, _ = run(a, 3)
    assert tree_allclose(run(chain(one, a), 3)[0], plain, rtol=0, atol=0)
    assert tree_allclose(run(chain(a, one), 3)[0], plain, rtol=0, atol=0)


@given(PARTS)
def test_masked_out_leaves_come_back_untouched(a: GradientTransform) -> None:
    """The very gradients of the masked-out leaves come back; the others are what the part makes of them alone."""
    transform = masked(a, weights_only)
    params, grads = params_of(), grads_at(0)
    updates, _ = transform.update(grads, transform.init(params), params, 0)
    np.testing.assert_array_equal(updates["a"].bias, grads["a"].bias)
    assert np.shares_memory(updates["b"][0], grads["b"][0])


def test_partition_gives_each_leaf_to_its_part() -> None:
    """A partition is the sum of masks over its labels."""
    parts = {"weight": momentum(0.9), "rest": scale(3.0)}
    split = partitioned(lambda path: "weight" if weights_only(path) else "rest", parts)
    both = chain(masked(parts["weight"], weights_only), masked(parts["rest"], lambda path: not weights_only(path)))
    assert tree_allclose(run(split, 4)[0], run(both, 4)[0], rtol=0, atol=0)


def test_partition_names_a_label_without_a_part() -> None:
    """A leaf that belongs nowhere is named."""
    with pytest.raises(KeyError, match=r"leaf .* has label 'b'; the transforms are a"):
        partitioned(lambda path: "b", {"a": scale(1.0)}).init((1.0,))


def test_momentum_by_hand() -> None:
    """Two steps of each form: v = g + d v; u = v, and g + d v for Nesterov."""
    for nesterov, second in ((False, 2 + 0.9 * 1), (True, 2 + 0.9 * (2 + 0.9 * 1))):
        transform = momentum(0.9, nesterov=nesterov)
        first, state = transform.update(1.0, transform.init(np.float64(0)), 0.0, 0)
        assert first == pytest.approx(1 + 0.9 * 1 if nesterov else 1)
        assert transform.update(2.0, state, 0.0, 1)[0] == pytest.approx(second)


def test_adam_by_hand() -> None:
    """Two steps of Adam on a number, computed from the paper's formulas."""
    transform = makers()["scale_by_adam"](beta1=0.9, beta2=0.99, eps=0.0)
    state = transform.init(np.float64(0))
    first, state = transform.update(np.float64(2.0), state, 0.0, 0)
    assert first == pytest.approx(1.0)
    second, _ = transform.update(np.float64(-1.0), state, 0.0, 1)
    mean = (0.9 * 0.1 * 2 + 0.1 * -1) / (1 - 0.81)
    square = (0.99 * 0.01 * 4 + 0.01 * 1) / (1 - 0.9801)
    assert second == pytest.approx(mean / np.sqrt(square))


def test_adamax_by_hand() -> None:
    """Two steps of AdaMax on a number, computed from the paper's formulas."""
    transform = makers()["scale_by_adamax"](beta1=0.9, beta2=0.4, eps=0.0)
    first, state = transform.update(np.float64(2.0), transform.init(np.float64(0)), 0.0, 0)
    assert first == pytest.approx(1.0)
    second, _ = transform.update(np.float64(-1.0), state, 0.0, 1)
    assert second == pytest.approx((0.9 * 0.1 * 2 + 0.1 * -1) / (1 - 0.81) / max(0.4 * 2, 1.0))


def test_accumulate_equals_the_mean_gradient() -> None:
    """Every third update is what the inner transform makes of the mean of three gradients; the others are zero."""
    transform, inner = accumulate(momentum(0.9), 3), momentum(0.9)
    params = params_of()
    state, inner_state = transform.init(params), inner.init(params)
    for turn in range(2):
        three = [grads_at(3 * turn + k) for k in range(3)]
        for k in range(3):
            updates, state = transform.update(three[k], state, params, 3 * turn + k)
            if k < 2:
                assert tree_norm(updates) == 0
        mean = tree_map(lambda a, b, c: (a + b + c) / 3, *three)
        expected, inner_state = inner.update(mean, inner_state, params, turn)
        assert tree_allclose(updates, expected, rtol=1e-12)


def test_lookahead_pulls_the_slow_parameters() -> None:
    """After k steps the parameters are the slow ones, half-way to where the fast ones went."""
    fast, _ = run(scale_by_learning_rate(0.1), 5)
    slow, state = run(lookahead(scale_by_learning_rate(0.1), every=5, rate=0.5), 5)
    halfway = tree_map(lambda a, b: (a + b) / 2, params_of(), fast)
    assert tree_allclose(slow, halfway, rtol=1e-12)
    assert tree_allclose(state.slow, slow, rtol=1e-12)


def test_ema_is_found_wherever_it_lies() -> None:
    """The averaged parameters are read from any depth; none or two are an error."""
    _, state = run(chain(adamw(0.01), chain(masked(ema_of_params(0.5), weights_only))), 3)
    assert tree_leaves(find_state(state, EmaState).average)
    with pytest.raises(LookupError, match="found 0"):
        find_state(sgd(0.1).init(params_of()), EmaState)
    with pytest.raises(LookupError, match="found 2"):
        find_state((EmaState(1.0), EmaState(2.0)), EmaState)


def test_ema_follows_its_formula() -> None:
    """The average starts at the parameters and forgets them at the stated pace."""
    transform = chain(scale_by_learning_rate(0.1), ema_of_params(0.999))
    params = params_of()
    state, average = transform.init(params), params
    for step in range(5):
        updates, state = transform.update(grads_at(step), state, params, step)
        params = apply_updates(params, updates)
        d = min(0.999, (2 + step) / (11 + step))
        average = tree_map(lambda a, p, d=d: d * a + (1 - d) * p, average, params)
    assert tree_allclose(find_state(state, EmaState).average, average, rtol=1e-12)


def test_projections_hold() -> None:
    """After each step the parameters are in the set."""
    params, _ = run(chain(scale_by_learning_rate(0.5), non_negative()), 3)
    assert all((leaf >= 0).all() for leaf in tree_leaves(params))
    params, _ = run(chain(scale_by_learning_rate(0.5), max_norm(0.7)), 3)
    norms = [np.linalg.norm(leaf, axis=0).max() for leaf in tree_leaves(params) if leaf.ndim == 2]
    assert max(norms) <= 0.7 + 1e-12
    params, _ = run(chain(scale_by_learning_rate(0.5), projected(lambda p: np.clip(p, 0, 0.1))), 1)
    assert all(((leaf >= -1e-16) & (leaf <= 0.1 + 1e-16)).all() for leaf in tree_leaves(params))


def test_clipping_limits_what_it_says() -> None:
    """By value each number, by norm each leaf, by global norm the whole; smaller ones pass unchanged."""
    big = tree_map(lambda g: 100 * g, grads_at(0))
    by_value = clip_by_value(0.5).update(big, (), (), 0)[0]
    assert max(np.abs(leaf).max() for leaf in tree_leaves(by_value)) == 0.5
    by_norm = clip_by_norm(0.5).update(big, (), (), 0)[0]
    np.testing.assert_allclose([np.linalg.norm(leaf) for leaf in tree_leaves(by_norm)], 0.5)
    assert tree_norm(clip_by_global_norm(0.5).update(big, (), (), 0)[0]) == pytest.approx(0.5)
    small = tree_map(lambda g: g * 1e-3, grads_at(0))
    for transform in (clip_by_value(0.5), clip_by_norm(0.5), clip_by_global_norm(0.5)):
        assert tree_allclose(transform.update(small, (), (), 0)[0], small, rtol=0, atol=0)


def test_noise_depends_on_key_and_step_alone() -> None:
    """The same key and step give the same noise; its size falls as stated."""
    zero = (np.zeros(20_000),)
    noise = [add_noise(Key(0), 4.0, decay=1.0).update(zero, (), (), step)[0][0] for step in (0, 0, 3)]
    np.testing.assert_array_equal(noise[0], noise[1])
    assert noise[0].std() == pytest.approx(2.0, rel=0.03)
    assert noise[2].std() == pytest.approx(1.0, rel=0.03)


def test_decay_spares_what_the_mask_spares() -> None:
    """AdamW with a mask and no gradient shrinks weights and leaves biases."""
    transform = adamw(0.1, weight_decay=0.5, decay_mask=weights_only)
    params = params_of()
    nothing = tree_map(np.zeros_like, params)
    updates, _ = transform.update(nothing, transform.init(params), params, 0)
    after = apply_updates(params, updates)
    np.testing.assert_allclose(after["a"].weight, params["a"].weight * (1 - 0.1 * 0.5))
    np.testing.assert_array_equal(after["a"].bias, params["a"].bias)


@pytest.mark.parametrize(
    ("maker", "arguments"),
    [
        ("momentum", (1.0,)),
        ("momentum", (-0.1,)),
        ("add_decayed_weights", (-1.0,)),
        ("clip_by_value", (0.0,)),
        ("clip_by_norm", (0.0,)),
        ("clip_by_global_norm", (-1.0,)),
        ("max_norm", (0.0,)),
        ("add_noise", (Key(0), -1.0)),
        ("ema_of_params", (1.0,)),
        ("accumulate", (scale(1.0), 0)),
    ],
)
def test_arguments_out_of_range_are_refused(maker: str, arguments: tuple[object, ...]) -> None:
    """A setting that makes no sense is an error where it is given, with the value in the message."""
    with pytest.raises(ValueError, match=r"got|above"):
        makers()[maker](*arguments)


@pytest.mark.parametrize(
    "name", ["adam", "adamax", "amsgrad", "nadam", "adamw", "lamb", "rmsprop", "adadelta", "adagrad"]
)
def test_negative_eps_is_refused(name: str) -> None:
    """Every preconditioner checks its eps."""
    with pytest.raises(ValueError, match="takes eps of at least 0"):
        makers()[name](0.1, eps=-1.0)


def test_scale_by_schedule_sees_the_step() -> None:
    """The schedule is called with the step that update is given."""
    transform = scale_by_schedule(float)
    assert [transform.update(2.0, (), (), step)[0] for step in (0, 3)] == [0.0, 6.0]


def test_updates_are_added() -> None:
    """Applying an update is addition, and the sign is the transform's."""
    params, grads = params_of(), grads_at(0)
    updates, _ = sgd(0.5).update(grads, sgd(0.5).init(params), params, 0)
    assert tree_allclose(apply_updates(params, updates), tree_add(params, tree_map(lambda g: -0.5 * g, grads)))
