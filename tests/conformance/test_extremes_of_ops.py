"""Elementwise ops at the edges of what a dtype holds, in value, slope and curvature, against mpmath with 60 digits.

Zeros of both signs, denormal numbers, squares and cubes that overflow, the largest numbers and the infinities. NaN is
right nowhere here, and no warning is given unless the right value itself overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bpfunc import ops
from bpfunc.ops.elementwise import formulas_of

mp: Any = pytest.importorskip("mpmath")
mp.mp.dps = 60

ALPHA, SCALE = mp.mpf("1.6732632423543772"), mp.mpf("1.0507009873554805")
ROOT, CUBIC = mp.sqrt(2 / mp.pi), mp.mpf("0.044715")
FAR = 10**5
"""Beyond it all that is exponentially small is 0 in both dtypes."""


def near(function: Callable[[Any], Any], below: Callable[[Any], Any], above: Callable[[Any], Any]) -> Any:
    """A function with what it is far out on both sides."""
    return lambda x: below(x) if x < -FAR else above(x) if x > FAR else function(x)


def zero(x: Any) -> Any:
    return mp.mpf(0)


def one(x: Any) -> Any:
    return mp.mpf(1)


def same(x: Any) -> Any:
    return x


def s(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def t(x: Any) -> Any:
    return mp.tanh(ROOT * (x + CUBIC * x**3))


def inner(x: Any) -> Any:
    return ROOT * (1 + 3 * CUBIC * x * x)


ORACLES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "relu": (lambda x: max(x, 0), lambda x: x > 0, zero),
    "leaky_relu": (
        lambda x: x if x > 0 else x * mp.mpf(0.01),
        lambda x: one(x) if x > 0 else mp.mpf(0.01),
        zero,
    ),
    "elu": (
        near(lambda x: x if x > 0 else mp.expm1(x), lambda x: -one(x), same),
        near(lambda x: 1 if x > 0 else mp.exp(x), zero, one),
        near(lambda x: 0 if x > 0 else mp.exp(x), zero, zero),
    ),
    "selu": (
        near(lambda x: SCALE * (x if x > 0 else ALPHA * mp.expm1(x)), lambda x: -SCALE * ALPHA, lambda x: SCALE * x),
        near(lambda x: SCALE * (1 if x > 0 else ALPHA * mp.exp(x)), zero, lambda x: SCALE),
        near(lambda x: 0 if x > 0 else SCALE * ALPHA * mp.exp(x), zero, zero),
    ),
    "gelu": (
        near(lambda x: x * mp.ncdf(x), zero, same),
        near(lambda x: mp.ncdf(x) + x * mp.npdf(x), zero, one),
        near(lambda x: mp.npdf(x) * (2 - x * x), zero, zero),
    ),
    "gelu_tanh": (
        near(lambda x: x * (1 + t(x)) / 2, zero, same),
        near(lambda x: (1 + t(x)) / 2 + x * (1 - t(x) ** 2) * inner(x) / 2, zero, one),
        near(
            lambda x: (1 - t(x) ** 2) * (inner(x) + x / 2 * (6 * ROOT * CUBIC * x - 2 * t(x) * inner(x) ** 2)),
            zero,
            zero,
        ),
    ),
    "silu": (
        near(lambda x: x * s(x), zero, same),
        near(lambda x: s(x) * (1 + x * (1 - s(x))), zero, one),
        near(lambda x: s(x) * (1 - s(x)) * (2 + x * (1 - 2 * s(x))), zero, zero),
    ),
    "softplus": (
        near(lambda x: mp.log(1 + mp.exp(x)), zero, same),
        near(s, zero, one),
        near(lambda x: s(x) * (1 - s(x)), zero, zero),
    ),
    "softsign": (
        lambda x: mp.sign(x) if mp.isinf(x) else x / (1 + abs(x)),
        lambda x: 1 / (1 + abs(x)) ** 2,
        lambda x: -2 * mp.sign(x) / (1 + abs(x)) ** 3,
    ),
    "tanh": (
        near(mp.tanh, lambda x: -one(x), one),
        near(lambda x: mp.sech(x) ** 2, zero, zero),
        near(lambda x: -2 * mp.tanh(x) * mp.sech(x) ** 2, zero, zero),
    ),
    "sigmoid": (
        near(s, zero, one),
        near(lambda x: s(x) * (1 - s(x)), zero, zero),
        near(lambda x: s(x) * (1 - s(x)) * (1 - 2 * s(x)), zero, zero),
    ),
    "identity": (same, one, zero),
}
NAMES = [name for name in ops.__all__ if not name.endswith("_jvp") and formulas_of(getattr(ops, name)) is not None]


def points(dtype: Any) -> np.ndarray:
    """The edges that a dtype holds, of both signs."""
    kind = np.finfo(dtype)
    sizes = [0.0, kind.smallest_subnormal, 3 * kind.smallest_subnormal, kind.tiny, 1e-30, 1e-20, 1e-8, 1e-3, 0.5, 1.0]
    sizes += [3.0, 9.0, 17.0, 40.0, 88.0, 104.0, 709.0, 746.0, 1e4, 1e10, 1.9e19, 1e30, 1e38]
    sizes += [] if dtype is np.float32 else [1e77, 1e103, 1e154, 1e155, 1e200, 1e308]
    largest = [kind.max / 1.06, np.inf]
    return np.array([sign * float(size) for size in (*sizes, *largest) for sign in (1, -1)], dtype)


def exact(oracle: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """The oracle's numbers, rounded once to the dtype."""
    found = [mp.mpf(oracle(mp.mpf(float(value)))) for value in x]
    return np.array([float(value) for value in found]).astype(x.dtype)


def check(name: str, quadruple: tuple[Callable[..., Any], ...], dtype: Any) -> None:
    """Compare value, slope and curvature at the edges, to a few roundings of numbers of size 1 and of small ones."""
    f, f_vjp, f_jvp, f_vjp_jvp = quadruple
    x = points(dtype)
    x.flags.writeable = False
    one_, zero_ = np.ones_like(x), np.zeros_like(x)
    y, residual = f(x)
    found = (y, f_vjp(residual, one_), f_vjp_jvp(residual, one_, one_, zero_))
    kind = np.finfo(dtype)
    for result, oracle in zip(found, ORACLES[name], strict=True):
        assert result.dtype == dtype
        expected = exact(oracle, x)
        np.testing.assert_allclose(result, expected, rtol=16 * kind.eps, atol=16 * kind.eps, err_msg=name)
        if name == "sigmoid" and result is found[2]:
            continue  # the output, which is kept, tells inputs about 0 apart to a rounding of 0.5
        small = np.abs(x) < 1e-3
        least = 4 * float(kind.smallest_subnormal)
        np.testing.assert_allclose(result[small], expected[small], rtol=16 * kind.eps, atol=least, err_msg=name)
    np.testing.assert_array_equal(f_jvp(residual, one_), found[1])


def quadruple(name: str) -> tuple[Callable[..., Any], ...]:
    """An op and its derivatives."""
    return tuple(getattr(ops, name + suffix) for suffix in ("", "_vjp", "_jvp", "_vjp_jvp"))


def test_every_elementwise_op_has_an_oracle() -> None:
    """An op added without an oracle fails here."""
    assert set(NAMES) == ORACLES.keys()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_edges(name: str, dtype: Any) -> None:
    """Value, slope and curvature are right at the edges; warnings are errors here."""
    check(name, quadruple(name), dtype)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu"])
def test_planted_product_of_zero_and_infinity_is_found(name: str) -> None:
    """A derivative that multiplies its input without a bound fails."""
    f, f_vjp, f_jvp, f_vjp_jvp = quadruple(name)

    def unbounded(residual: Any, dy: np.ndarray) -> np.ndarray:
        x = residual.arguments[0]
        return f_vjp(residual, dy) + 0 * x

    with pytest.raises((AssertionError, RuntimeWarning)):
        check(name, (f, unbounded, f_jvp, f_vjp_jvp), np.float64)


def test_rows_of_softmax_at_the_edges() -> None:
    """Differences that overflow leave 0 and -inf; one infinity takes all; two have no softmax, nor a row of -inf."""
    for dtype in (np.float32, np.float64):
        most = np.finfo(dtype).max
        x = np.array([[most, -most, 0], [np.inf, 0, most], [-np.inf, 1, 1], [0, 0, -np.inf]], dtype)
        y, residual = ops.softmax(x)
        np.testing.assert_array_equal(y, np.array([[1, 0, 0], [1, 0, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]], dtype))
        half = np.log(dtype(0.5))
        log_y, p = ops.log_softmax(x)
        never = -dtype(np.inf)
        expected = [[0, never, -most], [0, never, never], [never, half, half], [half, half, never]]
        np.testing.assert_allclose(log_y, np.array(expected, dtype), rtol=4 * np.finfo(dtype).eps)
        for found in (ops.softmax_vjp(residual, np.ones_like(x)), p):
            assert np.isfinite(found).all()
        with np.errstate(invalid="ignore"):
            for row in ([np.inf, np.inf, 0], [-np.inf] * 3, [np.nan, 0, 0]):
                assert np.isnan(ops.softmax(np.array([row], dtype))[0]).any()


@pytest.mark.parametrize("axis", [-1, 0])
def test_standardize_of_equal_numbers_whose_sum_overflows(axis: int) -> None:
    """Numbers without variance come out as zeros, also the largest, and eps alone is in their scale."""
    for dtype in (np.float32, np.float64):
        y, residual = ops.standardize(np.full((2, 2), np.finfo(dtype).max), axis=axis, eps=1e-5)
        assert not y.any()
        np.testing.assert_allclose(residual.inverse, 1 / np.sqrt(1e-5), rtol=1e-5)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("axis", [-1, 0])
def test_standardize_of_numbers_whose_squares_overflow(axis: int, centred: bool) -> None:
    """Rows of any size are standardised, beside rows of size 1, and so are their derivatives."""
    for dtype, sizes in ((np.float32, (1, 1e20, 1e38)), (np.float64, (1, 1e154, 1e160, 1e308))):
        base = np.array([1.0, -0.5, 0.25, 0.9])
        x = np.array([base * size for size in sizes], dtype)
        x = x if axis == -1 else np.ascontiguousarray(x.T)
        y, residual = ops.standardize(x, axis=axis, eps=1e-5, centred=centred)
        wide = x.astype(np.longdouble)
        centre = wide - wide.mean(axis=axis, keepdims=True) if centred else wide
        inverse = 1 / np.sqrt(np.square(centre).mean(axis=axis, keepdims=True) + np.longdouble(1e-5))
        eps = 32 * np.finfo(dtype).eps
        np.testing.assert_allclose(y, (centre * inverse).astype(dtype), rtol=eps, atol=eps)
        np.testing.assert_allclose(residual.inverse, inverse.astype(dtype), rtol=eps)
        assert np.isfinite(ops.standardize_vjp(residual, np.ones_like(y))).all()
