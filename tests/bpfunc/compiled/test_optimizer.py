"""A compiled optimiser gives the bits of the one it was made from."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("scipy")

from bpfunc.arrays.types import FloatArray, FloatDType
from bpfunc.compiled.loops import source
from bpfunc.interop.numba import compiled
from bpfunc.optimizers import adam, sgd
from bpfunc.transforms import GradientTransform, chain, clip_by_global_norm, scale
from bpfunc.transforms.base import elementwise
from bpfunc.transforms.elementwise import Arrays, Numbers
from bpfunc.transforms.formula import constants, traced
from bpfunc.transforms.update import apply_updates, updated
from bpfunc.tree import Tree, tree_leaves
from tests.bpfunc.test_elementwise import CHAINS, assert_fresh, gradients, start


def assert_same_bits(ours: Tree, theirs: Tree) -> None:
    for one, other in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CHAINS)
def test_compiled_equals_composed(name: str, dtype: FloatDType) -> None:
    """Parameters and state agree bit for bit after several steps, added up or as updates."""
    composed = CHAINS[name]
    fast = compiled(composed)
    params = other_params = start(dtype)
    state = other_state = composed.init(params)
    for step in range(3):
        grads = gradients(params, step)
        assert_same_bits(
            fast.update(grads, state, params, step), composed.update(grads, other_state, other_params, step)
        )
        params, state = updated(fast, grads, state, params, step)
        updates, other_state = composed.update(grads, other_state, other_params, step)
        other_params = apply_updates(other_params, updates)
    assert_same_bits((params, state), (other_params, other_state))


def test_infinities_and_zeros_are_numpys() -> None:
    """Where the formula divides by zero or meets infinity, the compiled loop gives what NumPy gives."""
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-38, 3e38], np.float32)
    params = (np.ones(7, np.float32),)
    transform = adam(0.1, eps=0.0)
    with np.errstate(all="ignore"):
        for step in range(2):
            state = transform.init(params)
            assert_same_bits(
                compiled(transform).update((odd,), state, params, step), transform.update((odd,), state, params, step)
            )


def test_results_are_fresh_and_read_only() -> None:
    """No result shares memory with an argument, and none can be written."""
    assert_fresh(compiled(CHAINS["average"]), start(np.float32))


def test_numbers_as_leaves() -> None:
    """A tree of plain numbers is as good as one of arrays."""
    transform = sgd(0.1, momentum=0.9)
    state = transform.init({"a": 1.0, "b": 2.0})
    grads, params = {"a": 3.0, "b": 4.0}, {"a": 1.0, "b": 2.0}
    ours, theirs = (kind.update(grads, state, params, 0) for kind in (compiled(transform), transform))
    assert tree_leaves(ours) == tree_leaves(theirs) == (3.0 * -0.1, 4.0 * -0.1, 3.0, 4.0)


def test_a_chain_compiles_what_it_can() -> None:
    """A norm looks at all numbers at once: it stays as it is, the rest of its chain is compiled."""
    whole, params = chain(clip_by_global_norm(1.0), adam(0.1)), start(np.float32)
    parts, grads = chain(clip_by_global_norm(1.0), compiled(adam(0.1))), gradients(params, 0)
    assert_same_bits(
        parts.update(grads, parts.init(params), params, 0), whole.update(grads, whole.init(params), params, 0)
    )
    mixed = chain(compiled(scale(2.0)), scale(3.0))
    assert mixed.elementwise is None  # one engine runs a chain, or each link its own
    assert_same_bits(mixed.update(grads, mixed.init(params), params, 0)[0], scale(6.0).update(grads, (), params, 0)[0])
    with pytest.raises(ValueError, match="compile the links that do not"):
        compiled(whole)


def test_the_loop_is_made_once() -> None:
    """Other steps and settings have other constants, and the same formula, hence the same loop."""
    form = adam(0.1).elementwise
    assert form is not None
    other = adam(0.2, beta1=0.5).elementwise
    assert other is not None
    formula, settings = traced(form.parts, True)
    assert traced(other.parts, True)[0] == formula
    assert traced(other.parts, True)[1] != settings
    assert constants(form.parts, settings, 0) != constants(form.parts, settings, 7)
    assert source(formula).count("for i in range") == 1


def _unfit(kernel: object) -> GradientTransform:
    return compiled(elementwise(lambda params: (), kernel))  # type: ignore[arg-type]


def _sorts(
    c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    return np.sort(g)


def _sums(
    c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    return np.add.reduce(g, out=out)


def _reads_nothing(
    c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    return np.add(g, work, out=out)


def _calls_its_own(
    c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    return np.frompyfunc(lambda x: x, 1, 1)(g, out=out)  # type: ignore[no-any-return]


def _adds_an_array(
    c: Numbers, g: FloatArray, p: FloatArray, old: Arrays, new: Arrays, out: FloatArray, work: FloatArray
) -> FloatArray:
    return np.add(g, np.ones(3), out=out)


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        (_sorts, "np.sort is not a universal function"),
        (_sums, "cannot be compiled: reduce"),
        (_reads_nothing, "has not filled"),
        (_calls_its_own, "none of NumPy's own functions"),
        (_adds_an_array, "takes arrays and numbers, found ndarray"),
    ],
)
def test_other_kernels_are_refused(kernel: object, told: str) -> None:
    """What is no sequence of universal functions of arguments and numbers is told apart, not computed wrongly."""
    with pytest.raises(TypeError, match=told):
        _unfit(kernel).update((np.ones(3),), (), (np.ones(3),), 0)


def test_scheduled_steps_differ() -> None:
    """A number that depends on the step is an argument of the loop, not part of it."""
    fast = compiled(scale(1.0))
    slow = compiled(sgd(lambda step: 1.0 + step))
    ones = (np.ones(2),)
    assert fast.update(ones, fast.init(ones), ones, 3)[0][0][0] == 1
    assert [slow.update(ones, slow.init(ones), ones, step)[0][0][0] for step in range(3)] == [-1, -2, -3]
