"""Keys name streams: equal keys the same, different keys independent ones, the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bpfunc.keys import Key, fold_in, generator, normal, permutation, split, uniform

SEEDS = st.integers(0, 2**70)
NUMBERS = st.integers(0, 2**40)
PINNED = [[266, 595, 874], [334, 648, 998], [4, 5, 0, 2, 3, 1]]


@given(SEEDS, st.lists(NUMBERS, max_size=4))
def test_equal_keys_give_equal_numbers(seed: int, path: list[int]) -> None:
    """A key is a value: built twice, it draws the same."""
    keys = []
    for _ in range(2):
        key = Key(seed)
        for number in path:
            key = fold_in(key, number)
        keys.append(key)
    assert keys[0] == keys[1]
    assert hash(keys[0]) == hash(keys[1])
    np.testing.assert_array_equal(normal(keys[0], (3,)), normal(keys[1], (3,)))


@given(SEEDS, st.lists(NUMBERS, min_size=2, max_size=8, unique=True))
def test_folded_keys_are_distinct(seed: int, numbers: list[int]) -> None:
    """Different numbers give different keys and different draws, and none is the key itself."""
    keys = [Key(seed), *(fold_in(Key(seed), number) for number in numbers), *split(Key(seed), 3)]
    assert len(set(keys)) == len(keys)
    draws = {generator(key).integers(2**63) for key in keys}
    assert len(draws) == len(keys)


def test_paths_do_not_run_together() -> None:
    """(1, 23) and (12, 3) are different paths, and so are seeds and paths that read alike."""
    keys = [fold_in(fold_in(Key(0), 1), 23), fold_in(fold_in(Key(0), 12), 3), fold_in(Key(1), 23), Key(123), Key(0)]
    assert len({normal(key, (1,)).item() for key in keys}) == len(keys)


def test_split_streams_are_independent() -> None:
    """Correlations of 50 pairs of split streams of 10,000 draws stay within 4.5 standard errors (chance 1e-3)."""
    draws = np.stack([normal(key, (10_000,), dtype=np.float64) for key in split(Key(3), 10)])
    correlations = np.corrcoef(draws)[np.triu_indices(10, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(10_000)


def test_streams_are_pinned() -> None:
    """A change of the stream would change every result ever recorded; it has to be noticed."""
    assert generator(Key(0)).integers(1000, size=3).tolist() == PINNED[0]
    assert generator(fold_in(split(Key(7))[1], 5)).integers(1000, size=3).tolist() == PINNED[1]
    assert permutation(Key(1), 6).tolist() == PINNED[2]


def test_draws_have_the_distribution_they_say() -> None:
    """Mean and deviation of 40,000 draws within four standard errors; bounds kept; dtype as asked."""
    draw = normal(Key(0), (40_000,))
    assert draw.dtype == np.float32
    assert abs(draw.mean()) < 4 / 200
    assert abs(draw.std() - 1) < 4 / (200 * np.sqrt(2))
    flat = uniform(Key(0), (40_000,), low=-1.0, high=3.0, dtype=np.float64)
    assert flat.dtype == np.float64
    assert -1 <= flat.min() < -0.99 < 2.99 < flat.max() < 3
    assert abs(flat.mean() - 1) < 4 * (4 / np.sqrt(12)) / 200
    np.testing.assert_array_equal(np.sort(permutation(Key(0), 100)), np.arange(100))


@pytest.mark.parametrize("seed", [-1, 1.0, True, "0"])
def test_seeds_are_whole_numbers(seed: object) -> None:
    """Anything else is refused by name."""
    with pytest.raises(ValueError, match="takes a seed of at least 0, got"):
        Key(seed)


def test_negative_numbers_are_refused() -> None:
    """They are where split puts its keys."""
    with pytest.raises(ValueError, match="at least 0, got -1"):
        fold_in(Key(0), -1)
    with pytest.raises(ValueError, match="at least 0, got -2"):
        split(Key(0), -2)


@pytest.mark.parametrize("number", [2.5, 2.0, np.float64(2), "2", None, True, float("nan")])
def test_numbers_to_fold_in_are_whole(number: object) -> None:
    """2.5 would be the key of 2; whole numbers of NumPy are taken."""
    with pytest.raises(ValueError, match=r"fold_in takes a number of at least 0, got .*not a whole number"):
        fold_in(Key(0), number)
    assert fold_in(Key(0), np.uint8(2)) == fold_in(Key(0), 2)
    assert type(fold_in(Key(0), np.int64(2)).path[0]) is int
    assert Key(np.int64(3)) == Key(3)


ENDS = [
    (1.0, 2.0),
    (1000.0, 1001.0),
    (0.0, 0.1),
    (-0.3, 0.7),
    (1e6, 1e6 + 1),
    (-3e38, 3e38),
    (1e-40, 3e-40),
    (-1.0, 0.0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), ENDS)
def test_uniform_numbers_stay_between_their_ends(low: float, high: float, dtype: type) -> None:
    """The upper end is never drawn, though numbers near it may round to it; nor is anything below the lower one."""
    draw = uniform(Key(0), (300_000,), low=low, high=high, dtype=dtype).astype(np.longdouble)
    assert low <= draw.min() <= draw.max() < high
    spread = np.longdouble(high) - np.longdouble(low)
    assert abs(draw.mean() - (low + spread / 2)) < spread / 100
    wide = uniform(Key(0), (9,), low=-1.5e308, high=1.5e308, dtype=np.float64)
    assert np.isfinite(wide).all()


def test_ends_of_uniform_are_checked() -> None:
    """Ends that are equal give that number; others have a number between them, in order."""
    np.testing.assert_array_equal(uniform(Key(0), (3,), low=0.5, high=0.5), np.full(3, 0.5, np.float32))
    for low, high in ((1.0, 0.0), (0.1, 0.1 + 1e-12), (np.nan, 1.0), (0.0, np.inf)):
        with pytest.raises(ValueError, match=r"uniform takes a (low|high)"):
            uniform(Key(0), (3,), low=low, high=high)
