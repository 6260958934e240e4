"""Initialisers draw what they say: variance, bounds, orthogonality, and the same for the same key."""

from __future__ import annotations

import numpy as np
import pytest

from bpfunc.keys import Key
from bpfunc.layers import initializers
from bpfunc.layers.initializers import constant, orthogonal, truncated_normal, zeros

FAN_IN, FAN_OUT = 300, 200
VARIANCES = {
    "he_normal": 2 / FAN_IN,
    "he_uniform": 2 / FAN_IN,
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "lecun_normal": 1 / FAN_IN,
    "lecun_uniform": 1 / FAN_IN,
}


@pytest.mark.parametrize("name", VARIANCES)
def test_variance(name: str) -> None:
    """Of 60,000 numbers the variance is within 3 % of the stated one, the mean within 4 standard errors of 0."""
    init = getattr(initializers, name)
    weight = init(Key(0), (FAN_IN, FAN_OUT))
    assert weight.dtype == np.float32
    assert weight.var() == pytest.approx(VARIANCES[name], rel=0.03)
    assert abs(weight.mean()) < 4 * np.sqrt(VARIANCES[name] / weight.size)
    if name.endswith("uniform"):
        assert np.abs(weight).max() <= np.sqrt(3 * VARIANCES[name]) * (1 + 1e-6)
    np.testing.assert_array_equal(weight, init(Key(0), (FAN_IN, FAN_OUT)))
    assert not np.array_equal(weight, init(Key(1), (FAN_IN, FAN_OUT)))


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (4, 4)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    """The shorter side's vectors are orthonormal."""
    weight = orthogonal(Key(0), shape).astype(np.float64)
    gram = weight.T @ weight if shape[0] >= shape[1] else weight @ weight.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-6)
    with pytest.raises(ValueError, match="makes matrices"):
        orthogonal(Key(0), (3,))


def test_orthogonal_has_no_favourite_sign() -> None:
    """Over many keys the first entry's sign is positive about half of the time."""
    positive = np.mean([orthogonal(Key(seed), (2, 2))[0, 0] > 0 for seed in range(400)])
    assert 0.4 < positive < 0.6


def test_truncated_normal() -> None:
    """Nothing lies beyond the limit, and the deviation is that of the cut distribution."""
    weight = truncated_normal(0.5, limit=2.0)(Key(0), (200, 200))
    assert np.abs(weight).max() <= 1.0
    assert weight.std() == pytest.approx(0.5 * 0.8796, rel=0.02)
    with pytest.raises(ValueError, match="above 0"):
        truncated_normal(0.0)


def test_constants() -> None:
    """Zeros are zeros and a constant is that constant."""
    assert not zeros(Key(0), (3,)).any()
    np.testing.assert_array_equal(constant(2.5)(Key(0), (2, 2)), np.full((2, 2), 2.5, np.float32))


@pytest.mark.parametrize("limit", [1e-9, 0.3, 0.999, 1.0, 2.0])
def test_truncated_normal_is_one(limit: float) -> None:
    """However narrow the window, all draws lie in it and follow the normal density that is cut there."""
    draw = initializers.truncated_normal(3.0, limit=limit)(Key(1), (200, 500)).astype(float) / 3
    assert np.abs(draw).max() <= limit * (1 + 1e-6)
    grid = np.linspace(-limit, limit, 20001)
    density = np.exp(-(grid**2) / 2)
    expected = (density * grid**2).sum() / density.sum()
    assert np.square(draw).mean() == pytest.approx(expected, rel=0.02)
    assert abs(draw.mean()) < 0.01 * limit
