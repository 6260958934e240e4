"""The law of extremes: at the edges of what a dtype holds the result is right, or NaN where mathematics has none.

The oracle is the same formula in longdouble, whose range no square of a float64 leaves. NaN never disappears.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpfunc as bp
from bpfunc.tree import norm_factors, tree_norm

SIZES = (0.0, 5e-324, 1e-310, 1e-200, 1e-160, 1e-45, 1e-38, 1e-30, 1e-20, 1e-8, 1.0, 3.0, 1e4, 1e8, 1e19, 1e20, 1e30)
SIZES += (1e38, 3e38, 1e150, 1e154, 1e155, 1e200, 1e308, 1.7e308)
NUMBERS = st.sampled_from([sign * size for size in SIZES for sign in (1, -1)])
DTYPES = st.sampled_from([np.float32, np.float64])


@st.composite
def arrays(draw: Callable[..., Any], *, least: int = 1) -> np.ndarray:
    """A vector of extreme numbers that its dtype holds."""
    dtype = draw(DTYPES)
    most = float(np.finfo(dtype).max)
    values = [value for value in draw(st.lists(NUMBERS, min_size=least, max_size=5)) if abs(value) <= most]
    return np.array(values + [0.0] * (least - len(values)), dtype)


def exact(array: np.ndarray) -> np.ndarray:
    """The numbers in the oracle's type."""
    return array.astype(np.longdouble)


def norm(array: np.ndarray) -> np.longdouble:
    """Euclidean norm in the oracle's type."""
    return np.sqrt(np.square(exact(array)).sum())


def assert_right(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare to the rounding of the dtype found, relative, and absolute among its denormal numbers."""
    kind = np.finfo(found.dtype)
    with np.errstate(over="ignore"):
        rounded = expected.astype(found.dtype)
    np.testing.assert_allclose(found, rounded, rtol=16 * kind.eps, atol=16 * float(kind.smallest_subnormal))


@given(arrays(), arrays())
def test_norm_of_a_tree(left: np.ndarray, right: np.ndarray) -> None:
    """Squares that overflow or vanish do no harm to a norm."""
    expected = np.hypot(norm(left), norm(right))
    assert_right(np.array(tree_norm((left, {"right": right}))), np.array(expected))
    scale, rest = norm_factors((left, right))
    assert_right(np.array(rest), np.array(expected / scale))


@given(arrays(), st.sampled_from([1e-30, 1e-3, 1.0, 1e20]))
def test_clipping(g: np.ndarray, limit: float) -> None:
    """A gradient that is too long is shrunk to the limit, however long it is; another stays."""
    factor = min(np.longdouble(1), limit / norm(g)) if norm(g) > 0 else 1
    for clip in (bp.clip_by_norm, bp.clip_by_global_norm):
        (found,), _ = clip(limit).update((g,), (), (), 0)
        assert found.dtype == g.dtype
        assert_right(found, exact(g) * factor)


@given(arrays(), st.sampled_from([1e-30, 1e-3, 1.0, 1e20]))
def test_norms_of_weights(p: np.ndarray, limit: float) -> None:
    """Weights that are too long are shrunk to the limit, each output by itself."""
    table = np.stack([p, np.zeros_like(p)], axis=1)
    (update,), _ = bp.max_norm(limit).update((np.zeros_like(table),), (), (table,), 0)
    factor = min(np.longdouble(1), limit / norm(p)) if norm(p) > 0 else 1
    assert_right(update, exact(table) * factor - exact(table))


@given(arrays(least=3), arrays(least=3), st.sampled_from([0.0, 1e-6]))
def test_trust_ratio(g: np.ndarray, p: np.ndarray, eps: float) -> None:
    """An update gets the norm of its parameters, whatever the two are, or the infinity that is too large to write."""
    g, p = g[:3], p[:3]
    with np.errstate(over="ignore"):
        (found,), _ = bp.scale_by_trust_ratio(eps=eps).update((g,), (), (p,), 0)
    factor = norm(p) / (norm(g) + eps) if norm(p) > 0 and norm(g) > 0 else 1
    assert_right(found, exact(g) * factor)


@given(arrays(least=3), DTYPES)
def test_norms_of_single_gradients(x: np.ndarray, dtype: Any) -> None:
    """A gradient whose square overflows has a norm all the same."""
    x = x[:3][None]
    model = bp.dense(2)
    params, state, _ = model.init(bp.Key(0), (3,))
    params = attrs.evolve(bp.tree_cast(params, x.dtype), weight=np.zeros((3, 2), x.dtype))
    data = bp.Batch(x, np.array([0]))
    _, norms = bp.example_grad_norms(model, bp.cross_entropy(), params, state, data, bp.INFERENCE)
    assert_right(norms, np.sqrt((np.square(exact(x)).sum(axis=1) + 1) / 2))


@pytest.mark.parametrize("maker", [bp.clip_by_norm, bp.clip_by_global_norm, bp.clip_by_value, bp.max_norm])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_visible(maker: Callable[[float], bp.GradientTransform], bad: float) -> None:
    """Clipping makes no finite gradient of NaN; infinity becomes the limit of a value, and no direction of a norm."""
    g = np.array([[bad, 1.0]])
    (found,), _ = maker(1.0).update((g,), (), (np.zeros_like(g),), 0)
    if np.isnan(bad):
        assert np.isnan(found).any()
    else:
        assert found[0, 0] == 1.0 if maker is bp.clip_by_value else not np.isfinite(found[0, 0])


@given(arrays(least=2))
def test_sharpness_looks_as_far_as_it_is_told(g: np.ndarray) -> None:
    """The step uphill has the length rho for gradients of any size."""
    seen: list[np.ndarray] = []

    def maker(model: bp.Layer, loss: bp.Loss) -> Any:
        def gradient(params: Any, state: Any, batch: bp.Batch, ctx: bp.Context) -> Any:
            seen.append(params[0])
            return None, (g,)

        return gradient

    aware = bp.sharpness_aware(0.5, gradient=maker)(bp.dense(1), bp.squared_error())
    aware((np.zeros_like(g),), (), bp.Batch(np.zeros((1, 1)), np.zeros(1)), bp.INFERENCE)
    if norm(g) > 0:
        assert_right(seen[1], exact(g) / norm(g) * 0.5)
