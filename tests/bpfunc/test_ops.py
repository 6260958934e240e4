"""What holds for every op: dtype, extremes, purity; and its derivatives by central differences."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from bpfunc import ops
from bpfunc.keys import Key, normal
from bpfunc.ops.special import erfc, logistic, normal_cdf

NAMES = [
    name
    for name, member in vars(ops).items()
    if inspect.isfunction(member) and hasattr(ops, f"{name}_vjp") and not name.endswith("_vjp")
]


def quadruple(name: str) -> tuple[object, ...]:
    """An op and its derivatives."""
    return tuple(getattr(ops, name + suffix) for suffix in ("", "_vjp", "_jvp", "_vjp_jvp"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(name: str, dtype: type) -> None:
    """What goes in as float32 comes out as float32, from all four functions; so does float64."""
    f, f_vjp, f_jvp, f_vjp_jvp = quadruple(name)
    x, x_dot, dy, dy_dot = (normal(Key(n), (3, 4), dtype=dtype) for n in range(4))
    y, residual = f(x)
    for result in (y, f_vjp(residual, dy), f_jvp(residual, x_dot), f_vjp_jvp(residual, x_dot, dy, dy_dot)):
        assert result.dtype == dtype
        assert result.shape == (3, 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_stay_finite(name: str, dtype: type) -> None:
    """Inputs of +-1e4 give finite values and derivatives, and no warning (warnings are errors here)."""
    f, f_vjp, f_jvp, f_vjp_jvp = quadruple(name)
    x = np.array([[-1e4, -50.0, 0.5, 50.0, 1e4]], dtype)
    one = np.ones_like(x)
    y, residual = f(x)
    for result in (y, f_vjp(residual, one), f_jvp(residual, one), f_vjp_jvp(residual, one, one, one)):
        assert np.isfinite(result).all()


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_by_central_differences(name: str) -> None:
    """jvp is the slope of the function and vjp_jvp that of vjp, without any outside oracle."""
    f, f_vjp, f_jvp, f_vjp_jvp = quadruple(name)
    x, x_dot, dy, dy_dot = (normal(Key(9, (n,)), (3, 4), dtype=np.float64) for n in range(4))
    x = x + 0.1 * np.sign(x)
    h = 1e-6
    _, residual = f(x)
    slope = (f(x + h * x_dot)[0] - f(x - h * x_dot)[0]) / (2 * h)
    np.testing.assert_allclose(f_jvp(residual, x_dot), slope, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(np.vdot(f_vjp(residual, dy), x_dot), np.vdot(dy, slope), rtol=1e-7, atol=1e-8)
    above = f_vjp(f(x + h * x_dot)[1], dy + h * dy_dot)
    below = f_vjp(f(x - h * x_dot)[1], dy - h * dy_dot)
    second = f_vjp_jvp(residual, x_dot, dy, dy_dot)
    np.testing.assert_allclose(second, (above - below) / (2 * h), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_changed(name: str) -> None:
    """All four functions work on read-only arrays, so none writes to what it is given."""
    f, f_vjp, f_jvp, f_vjp_jvp = quadruple(name)
    arrays = [normal(Key(n), (3, 4), dtype=np.float64) for n in range(4)]
    for array in arrays:
        array.flags.writeable = False
    x, x_dot, dy, dy_dot = arrays
    _, residual = f(x)
    first = f_vjp(residual, dy)
    f_jvp(residual, x_dot)
    f_vjp_jvp(residual, x_dot, dy, dy_dot)
    np.testing.assert_array_equal(f_vjp(residual, dy), first)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("relu", -2.0, 0.0),
        ("relu", 3.0, 3.0),
        ("leaky_relu", -2.0, -0.02),
        ("elu", -1.0, np.expm1(-1.0)),
        ("selu", 1.0, 1.0507009873554805),
        ("gelu", 1.0, 0.8413447460685429),
        ("gelu_tanh", 1.0, 0.8411919906082768),
        ("silu", 1.0, 1 / (1 + np.exp(-1.0))),
        ("softplus", 0.0, np.log(2.0)),
        ("softsign", 3.0, 0.75),
        ("tanh", 0.5, np.tanh(0.5)),
        ("sigmoid", 0.0, 0.5),
        ("identity", 2.5, 2.5),
    ],
)
def test_worked_numbers(name: str, x: float, y: float) -> None:
    """Known values, computed outside."""
    assert quadruple(name)[0](np.array([[x]]))[0][0, 0] == pytest.approx(y, rel=1e-15)


def test_parameters_of_ops_count() -> None:
    """A slope and an alpha of one's own change value and derivative."""
    x = np.array([-2.0])
    y, residual = ops.leaky_relu(x, slope=0.5)
    assert (y[0], ops.leaky_relu_vjp(residual, np.ones(1))[0]) == (-1.0, 0.5)
    y, residual = ops.elu(x, alpha=2.0)
    assert y[0] == pytest.approx(2 * np.expm1(-2.0))
    assert ops.elu_vjp(residual, np.ones(1))[0] == pytest.approx(2 * np.exp(-2.0))


def test_relu_is_flat_at_its_kink() -> None:
    """The subgradient at 0 is 0, as documented."""
    assert ops.relu_vjp(ops.relu(np.zeros(1))[1], np.ones(1))[0] == 0


def test_softmax_rows_sum_to_one_however_large() -> None:
    """A shift by the maximum keeps rows of +-1e4 exact."""
    y, _ = ops.softmax(np.array([[1e4, 1e4, -1e4]]))
    np.testing.assert_array_equal(y, [[0.5, 0.5, 0.0]])


def test_erfc_is_accurate_in_the_far_tail() -> None:
    """Relative error below 2e-15 from -6 to 26, against the C library."""
    import math

    x = np.linspace(-6, 26, 4001)
    expected = np.array([math.erfc(value) for value in x])
    np.testing.assert_allclose(erfc(x), expected, rtol=2e-15)
    assert normal_cdf(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
    assert logistic(np.array([-1e4], np.float32)).dtype == np.float32


def test_unscaled_standardize_keeps_the_mean() -> None:
    """Not centred, a constant row becomes ones."""
    y, _ = ops.standardize(np.full((1, 4), 3.0), eps=0.0, centred=False)
    np.testing.assert_array_equal(y, np.ones((1, 4)))


@pytest.mark.parametrize(
    ("name", "slope"),
    [("relu", 0.0), ("leaky_relu", 0.01), ("elu", 1.0), ("selu", 1.0507009873554805 * 1.6732632423543772)],
)
def test_slope_at_the_kink(name: str, slope: float) -> None:
    """At 0 the slope is that from below, as documented for each op that has a kink there."""
    f, f_vjp, _, f_vjp_jvp = quadruple(name)
    y, residual = f(np.zeros(1))
    assert y[0] == 0
    assert f_vjp(residual, np.ones(1))[0] == pytest.approx(slope)
    second = f_vjp_jvp(residual, np.ones(1), np.ones(1), np.zeros(1))[0]
    assert second == pytest.approx(slope if name in ("elu", "selu") else 0)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "standardize"])
def test_last_axis_is_the_one(name: str) -> None:
    """In three dimensions each row along the last axis is taken on its own, however different the others."""
    functions = quadruple(name)
    x = normal(Key(0), (2, 3, 4), dtype=np.float64) + np.array([0.0, 1e4])[:, None, None]
    others = [normal(Key(n), (2, 3, 4), dtype=np.float64) for n in (1, 2, 3)]
    y, residual = functions[0](x)
    flat_y, flat = functions[0](x.reshape(6, 4))
    np.testing.assert_allclose(y.reshape(6, 4), flat_y, rtol=1e-12)
    x_dot, dy, dy_dot = others
    flat_others = [other.reshape(6, 4) for other in others]
    pairs = [
        (functions[1](residual, dy), functions[1](flat, flat_others[1])),
        (functions[2](residual, x_dot), functions[2](flat, flat_others[0])),
        (functions[3](residual, x_dot, dy, dy_dot), functions[3](flat, *flat_others)),
    ]
    for cube, rows in pairs:
        np.testing.assert_allclose(cube.reshape(6, 4), rows, rtol=1e-9, atol=1e-12)


def test_leaky_relu_takes_zero_tangents() -> None:
    """Zeros in tangents and cotangents divide nothing."""
    _, _, _, f = quadruple("leaky_relu")
    zero = np.zeros(2)
    residual = ops.leaky_relu(np.array([-1.0, 1.0]))[1]
    np.testing.assert_array_equal(f(residual, zero, zero, np.ones(2)), [0.01, 1.0])


def test_special_functions_take_float32_and_whole_ranges() -> None:
    """float32 in, float32 out at full float32 precision; borders of the approximations join; tails reach 0."""
    import math

    x = np.array([0.46875, -0.46875, 4.0, -4.0, 0.0, 1.0, 5.5, -30.0, 30.0])
    expected = np.array([math.erfc(value) for value in x])
    np.testing.assert_allclose(erfc(x), expected, rtol=1e-14)
    single = erfc(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-6)
    from bpfunc.ops.special import normal_pdf

    assert normal_pdf(np.array([-1e4, 0.0, 1e4])) == pytest.approx([0, 1 / math.sqrt(2 * math.pi), 0])
    assert normal_pdf(np.array([38.0]))[0] == pytest.approx(math.exp(-722) / math.sqrt(2 * math.pi))


def test_elu_below_and_above_one() -> None:
    """With an alpha other than 1 the slope is 1 for every positive input, however small."""
    _, residual = ops.elu(np.array([0.5, 2.0, -0.5]), alpha=3.0)
    np.testing.assert_allclose(ops.elu_vjp(residual, np.ones(3)), [1.0, 1.0, 3 * np.exp(-0.5)])
    second = ops.elu_vjp_jvp(residual, np.ones(3), np.ones(3), np.zeros(3))
    np.testing.assert_allclose(second, [0.0, 0.0, 3 * np.exp(-0.5)])
    zero = np.zeros(3)
    _, plain = ops.identity(zero)
    np.testing.assert_array_equal(ops.identity_vjp_jvp(plain, zero, zero, np.ones(3)), np.ones(3))
    _, kink = ops.elu(np.zeros(1), alpha=3.0)
    assert ops.elu_vjp(kink, np.ones(1))[0] == 3.0
    assert ops.elu_vjp_jvp(kink, np.ones(1), np.ones(1), np.zeros(1))[0] == 3.0
