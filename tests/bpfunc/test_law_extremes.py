"""The law of extremes: at the edges of what a dtype holds the result is right, or NaN where mathematics has none.

The oracle is the same formula in longdouble, whose range no square of a float64 leaves. NaN never disappears.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import erfc
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, strategies as st

import bpfunc as bp
from bpfunc import ops
from bpfunc.tree import norm_factors, tree_norm
from tests.bpfunc.members import makers
from tests.bpfunc.test_ops import NAMES as OPS

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


@given(arrays(least=3), st.booleans())
def test_norms_of_single_gradients(x: np.ndarray, bias: bool) -> None:
    """A gradient whose square overflows or vanishes has a norm all the same (in float64 down to 1e-150)."""
    x = x[:3][None]
    x = np.where((np.abs(x) < 1e-150) & (x.dtype == np.float64), 0, x)
    model = bp.dense(2, use_bias=bias)
    params, state, _ = model.init(bp.Key(0), (3,))
    params = attrs.evolve(bp.tree_cast(params, x.dtype), weight=np.zeros((3, 2), x.dtype))
    data = bp.Batch(x, np.array([0]))
    _, norms = bp.example_grad_norms(model, bp.cross_entropy(), params, state, data, bp.INFERENCE)
    assert_right(norms, np.sqrt((np.square(exact(x)).sum(axis=1) + bias) / 2))


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


# Ops, one number after the other.

Wide = np.longdouble
EDGES = (0.0, -0.0, 5e-324, -5e-324, 1e-310, 1e-45, 1e-38, -1e-38, 1e-8, 0.5, -0.5, 1.0, -1.0, 20.0, -20.0, 88.0, -88.0)
EDGES += (104.0, -104.0, 709.0, -709.0, -746.0, 1e4, -1e4, 1e38, -1e38, 3e38, 1e154, -1e154, 1e200, 1e308, -1e308)
EDGES += (np.inf, -np.inf, np.nan)


def edges(dtype: Any) -> np.ndarray:
    """All edges that a dtype holds, infinities and NaN among them."""
    most = float(np.finfo(dtype).max)
    return np.array([value for value in EDGES if not np.isfinite(value) or abs(value) <= most], dtype)


def product(a: Any, b: Any) -> Any:
    """The limit of a product in which one factor vanishes faster than the other grows."""
    return np.where((a == 0) & np.isinf(b) | (b == 0) & np.isinf(a), 0, a * b)


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return np.where(x > 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def normal_cdf(x: Any) -> Any:
    """Standard normal distribution function; float64's own complement is exact enough."""
    return np.array([Wide(erfc(float(-value) / 2**0.5)) / 2 if value == value else np.nan for value in x], Wide)


def positive(x: Any, there: Any, below: Any) -> Any:
    """One formula above 0, another at and below it; NaN stays."""
    return np.where(np.isnan(x), np.nan, np.where(x > 0, there, below))


SELU_ALPHA, SELU_SCALE = Wide("1.67326324235437728481704"), Wide("1.05070098735548049341934")
TANH_ARGUMENT = np.sqrt(2 / Wide("3.14159265358979323846264"))
ONE_BY_ONE: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "relu": lambda x: positive(x, x, 0 * np.sign(x)),
    "leaky_relu": lambda x: positive(x, x, Wide(0.01) * x),
    "elu": lambda x: positive(x, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: SELU_SCALE * positive(x, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: product(x, normal_cdf(x)),
    "gelu_tanh": lambda x: product(x, logistic(2 * TANH_ARGUMENT * (x + Wide(0.044715) * x * x * x))),
    "silu": lambda x: product(x, logistic(x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "softsign": lambda x: np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x))),
    "tanh": np.tanh,
    "sigmoid": logistic,
}
ALONG_A_ROW = {"softmax", "log_softmax"}
ELSEWHERE = {"standardize": "looks at a whole axis, with settings of its own: see test_standardize"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name",
    sorted(set(OPS) - ALONG_A_ROW - ELSEWHERE.keys()),
)
def test_ops(name: str, dtype: Any) -> None:
    """An op that looks at one number at a time is right at every edge."""
    x = edges(dtype)
    with np.errstate(all="ignore"):
        found, _ = getattr(ops, name)(x)
        expected = ONE_BY_ONE[name](exact(x))
    assert found.dtype == dtype
    assert_right_or_rounded(name, x, found, expected)


def assert_right_or_rounded(name: str, x: np.ndarray, found: np.ndarray, expected: np.ndarray) -> None:
    """Compare one by one, so that a message names the number; NaN is right exactly where the oracle has it."""
    kind = np.finfo(found.dtype)
    with np.errstate(all="ignore"):
        rounded = expected.astype(found.dtype)
        off = np.abs(found - rounded) > 512 * kind.eps * np.abs(rounded) + float(kind.eps) ** 2
    wrong = np.where(
        np.isfinite(rounded), off | ~np.isfinite(found), ~((found == rounded) | np.isnan(found) & np.isnan(rounded))
    )
    assert not wrong.any(), f"{name}: {[(a, b, c) for a, b, c, w in zip(x, found, rounded, wrong, strict=True) if w]}"


LOGITS = st.lists(st.sampled_from([v for v in EDGES if np.isnan(v) or v < np.inf]), min_size=3, max_size=3)


def softmax_oracle(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and probabilities; -inf is a probability of 0."""
    shifted = exact(z) - exact(z).max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p, np.exp(log_p)


@given(LOGITS, DTYPES)
def test_softmax(z: list[float], dtype: Any) -> None:
    """Probabilities and their logarithms are right for all logits, and NaN where there are none."""
    with np.errstate(all="ignore"):
        logits = np.array([z], np.float64).astype(dtype)
        logits[np.isposinf(logits)] = np.finfo(dtype).max
        expected = softmax_oracle(logits)
        found = ops.log_softmax(logits)[0], ops.softmax(logits)[0]
    for one, other in zip(found, expected, strict=True):
        assert_right_or_rounded("softmax", logits[0], one[0], other[0])


# Losses.

LOSSES = {name: maker for name, maker in makers("Loss").items() if name != "scaled"}  # that one is made of others
TARGETS = st.sampled_from([0.0, 1.0, 0.5, 1e-38, 1e-310])


def cross_entropy_oracle(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The definition."""
    return -product(exact(t), softmax_oracle(z)[0]).sum(axis=1)


def sigmoid_oracle(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The definition, averaged over the labels."""
    z, t = exact(z), exact(t)
    softplus = ONE_BY_ONE["softplus"]
    return (product(t, softplus(-z)) + product(1 - t, softplus(z))).mean(axis=1)


def focal_oracle(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The definition at gamma = 2."""
    log_p, _ = softmax_oracle(z)
    return -product(exact(t) * np.expm1(log_p) ** 2, log_p).sum(axis=1)


def kl_oracle(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The definition; a target of 0 adds nothing."""
    t = exact(t)
    return cross_entropy_oracle(z, t) + np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), t * 0).sum(axis=1)


def errors_oracle(size: Callable[[Any], Any], y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A mean over the outputs."""
    return size(exact(y) - exact(t)).mean(axis=1)


def huber_oracle(error: Any) -> Any:
    """The definition at delta = 1."""
    return np.where(np.abs(error) <= 1, error * error / 2, np.abs(error) - Wide(0.5))


OF_LOSSES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cross_entropy": cross_entropy_oracle,
    "kl_divergence": kl_oracle,
    "focal": focal_oracle,
    "binary_cross_entropy": sigmoid_oracle,
    "multilabel_cross_entropy": sigmoid_oracle,
    "squared_error": partial(errors_oracle, np.square),
    "absolute_error": partial(errors_oracle, np.abs),
    "huber": partial(errors_oracle, huber_oracle),
}


def mean_slope(slope: Callable[[Any], Any], y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A slope in the error, averaged over the outputs."""
    return slope(exact(y) - exact(t)) / y.shape[1]


SLOPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cross_entropy": lambda z, t: softmax_oracle(z)[1] * exact(t).sum(axis=1, keepdims=True) - exact(t),
    "kl_divergence": lambda z, t: softmax_oracle(z)[1] * exact(t).sum(axis=1, keepdims=True) - exact(t),
    "binary_cross_entropy": lambda z, t: (logistic(exact(z)) - exact(t)) / z.shape[1],
    "multilabel_cross_entropy": lambda z, t: (logistic(exact(z)) - exact(t)) / z.shape[1],
    "squared_error": partial(mean_slope, lambda error: 2 * error),
    "absolute_error": partial(mean_slope, np.sign),
    "huber": partial(mean_slope, lambda error: np.clip(error, -1, 1)),
}
"""Of the losses whose slope is a formula of one line."""


@given(st.data(), DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, data: Any, dtype: Any) -> None:
    """A loss is right for all outputs and targets; a gradient is NaN only where the loss is, or where a logit is."""
    width = 1 if name.startswith("binary") else 2
    on_logits = "error" not in name and name != "huber"
    drawn = data.draw(st.lists(st.sampled_from(EDGES), min_size=width, max_size=width))
    targets = data.draw(st.lists(TARGETS if on_logits else st.sampled_from(EDGES), min_size=width, max_size=width))
    with np.errstate(all="ignore"):
        y, t = np.array([drawn], np.float64).astype(dtype), np.array([targets], np.float64).astype(dtype)
        if on_logits and not name.startswith(("binary", "multi")):
            y[np.isposinf(y)] = np.nan  # +inf has no softmax
        found, residual = LOSSES[name]().forward(y, t)
        expected = OF_LOSSES[name](y, t)
        gradient = LOSSES[name]().vjp(residual, np.ones(1, dtype))
    total = expected * width
    if np.isfinite(expected).all() and np.abs(total)[0] > np.finfo(dtype).max:
        return  # the sum over the outputs is not a number of the dtype, though its mean may be
    kind = np.finfo(dtype)
    scale = 0.0 if not on_logits or name.startswith(("binary", "multi")) else 8 * kind.eps * float(np.abs(t).sum())
    with np.errstate(all="ignore"):
        close = (
            np.abs(found - expected.astype(dtype)) <= 32 * kind.eps * np.abs(expected).astype(dtype) + scale + kind.tiny
        )
    assert close.all() or np.array_equal(found, expected.astype(dtype), equal_nan=True), (y, t, found, expected)
    if not np.isnan(expected).any():
        assert not np.isnan(gradient).any(), (y, t, gradient)
    if name in SLOPES:
        with np.errstate(all="ignore"):
            slope = SLOPES[name](y, t).astype(dtype)
            near = np.abs(gradient - slope) <= 32 * kind.eps * (np.abs(slope) + (1 if on_logits else 0)) + kind.tiny
        assert (near | (gradient == slope) | np.isnan(gradient) & np.isnan(slope)).all(), (y, t, gradient, slope)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("place", ["outputs", "targets", "weights"])
def test_nan_never_disappears_from_a_loss(name: str, place: str) -> None:
    """NaN in outputs or targets is in the loss, and in the mean though the row does not count; weights refuse it."""
    width = 1 if name.startswith("binary") else 2
    arrays_given = {"outputs": np.zeros((2, width)), "targets": np.zeros((2, width)), "weights": np.array([1.0, 0.0])}
    arrays_given[place].reshape(2, -1)[1, -1] = np.nan
    params = arrays_given["outputs"]
    own = bp.Layer("own", lambda key, s: ((), (), s), lambda p, s, x, c: (params, s, ()), lambda p, r, dy: ((), dy))
    batch = bp.Batch(np.zeros((2, 1)), arrays_given["targets"], arrays_given["weights"])
    if place == "weights":
        with pytest.raises(ValueError, match="weights of a batch are finite numbers"):
            bp.value(own, LOSSES[name](), (), (), batch, bp.INFERENCE)
        return
    value = bp.value(own, LOSSES[name](), (), (), batch, bp.INFERENCE)
    assert np.isnan(value.losses[1])
    assert np.isnan(value.loss)


# Metrics.

METRICS = makers("Metric")
ON_NUMBERS = {"mean_absolute_error": np.abs, "mean_squared_error": np.square}
PROPER = {
    "log_loss": cross_entropy_oracle,
    "brier": lambda z, t: np.square(softmax_oracle(z)[1] - exact(t)).sum(axis=1),
}


@given(st.data(), DTYPES)
@pytest.mark.parametrize("name", sorted({*ON_NUMBERS, *PROPER}))
def test_metrics_on_numbers(name: str, data: Any, dtype: Any) -> None:
    """Errors and proper scores are right for all outputs, computed in float64 whatever their dtype."""
    logits = [v for v in EDGES if name in ON_NUMBERS or v != np.inf]
    with np.errstate(all="ignore"):
        y = np.array([data.draw(st.lists(st.sampled_from(logits), min_size=3, max_size=3))], np.float64).astype(dtype)
        if name in PROPER:
            y[np.isposinf(y)] = np.nan
        t = np.eye(3, dtype=dtype)[[data.draw(st.integers(0, 2))]]
        metric = METRICS[name]()
        found = np.array([metric.value(metric.measure(y, bp.Batch(y, t)))])
        expected = PROPER[name](y, t) if name in PROPER else errors_oracle(ON_NUMBERS[name], y, t)
    if np.isfinite(expected).all() and abs(expected[0]) * 3 > np.finfo(np.float64).max:
        return
    assert_right_or_rounded(name, y[0], found + 0.0, np.where(np.abs(expected) < 1e-15, found, expected))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", METRICS)
def test_outputs_that_are_not_finite(name: str, bad: float) -> None:
    """NaN never scores: its figure is NaN or the worst there is; infinities raise nothing raw."""
    metric = METRICS[name]()
    outputs, targets = np.full((3, 3), bad), np.eye(3)
    with np.errstate(all="ignore"):
        figure = metric.value(metric.measure(outputs, bp.Batch(outputs, targets)))
    figures = list(figure.values()) if isinstance(figure, dict) else [figure]
    for one in figures:
        if np.isnan(bad):
            assert np.trace(one) == 0 if np.ndim(one) == 2 else np.isnan(one) or one == 0


def test_oracles_name_every_member() -> None:
    """An op, a loss or a metric that is added needs an oracle, or a reason why it has none."""
    assert set(OPS) == ONE_BY_ONE.keys() | ALONG_A_ROW | ELSEWHERE.keys()
    assert LOSSES.keys() == OF_LOSSES.keys()
    assert len(METRICS) >= 14


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-10, 1.0, 1e10, 1e20, 1e30])
@pytest.mark.parametrize("centred", [True, False])
def test_standardize(centred: bool, size: float, dtype: Any) -> None:
    """Rows of any size come out as the same rows of size 1, where eps does not matter."""
    x = (np.array([[1.0, 3.0, -2.0]]) * size).astype(dtype)
    found, _ = ops.standardize(x, eps=0.0, centred=centred)
    wide = exact(x) - (exact(x).mean() if centred else 0)
    assert_right_or_rounded("standardize", x[0], found[0], wide[0] / np.sqrt(np.square(wide).mean()))


def test_planted_violations_are_found() -> None:
    """An op that loses its sign at -inf, and one that turns NaN into 0, are caught."""
    x = edges(np.float64)
    with np.errstate(all="ignore"):
        expected = ONE_BY_ONE["silu"](exact(x))
        naive, silent = x / (1 + np.exp(-x)), np.nan_to_num(expected.astype(np.float64))
    for found in (naive, silent):
        with pytest.raises(AssertionError, match="planted"):
            assert_right_or_rounded("planted", x, found, expected)


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1.0, 1e200, 9e307, 1.7e308])
def test_proportions_are_what_matters(size: float) -> None:
    """Weights of a sampler, weights of a ranking and logits to fit a temperature to may have any size."""
    counts = np.bincount(bp.weighted(np.array([size, 0.0, size]))(bp.Key(0), 3), minlength=3)
    assert counts[1] == 0
    assert counts.sum() == 3
    scores, positive = np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False])
    assert bp.metrics.area_under_roc(scores, positive, weights=np.full(4, size)) == 0.75
    if 1e-200 <= size < 1e308:
        logits, label = np.array([[1.0, -1.0], [1.0, -1.0], [1.0, -1.0], [1.0, -1.0]]), np.array([0, 0, 0, 1])
        one, other = bp.fit_temperature(logits, label), bp.fit_temperature(logits * size, label)
        assert other / size == pytest.approx(one, rel=1e-9)
