"""Intervals and tests for accuracies: Student's t, McNemar's test, the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bpfunc.keys import Key, generator

RESAMPLES = 10_000
FEWEST = 3
"""Fewest figures that get an interval: of two, Student's t takes half their distance times 12.7."""
Interval = tuple[float, float]
_EQUAL = 1e-12
"""Distance up to which two figures are equal: accuracies are fractions of whole numbers, and rounding is far below."""


def no_interval(count: int, unit: str = "seeds", values: str = "accuracies") -> str:
    """Return why there is no interval, in the words that replace it.

    Args:
        count: How many figures there are.
        unit: What each of them is of.
        values: What they are.

    Returns:
        A few words that follow "the interval".

    Example:
        >>> no_interval(2), no_interval(5, values="differences")
        ('needs three seeds', 'cannot be estimated: all 5 differences are equal')
    """
    return f"needs three {unit}" if count < FEWEST else f"cannot be estimated: all {count:,} {values} are equal"


def _bounded(figures: NDArray[np.floating]) -> bool:
    """Whether an interval can be told: of equal figures it would have no width, and claim to be certain."""
    return len(figures) >= FEWEST and float(np.ptp(figures)) > _EQUAL


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test: the discordant rows are coin tosses under equal error rates.

    Args:
        only_a: Rows that only A has right.
        only_b: Rows that only B has right.

    Returns:
        The p-value; 1 where no row differs.

    Example:
        >>> round(mcnemar(8, 1), 4)
        0.0391
    """
    total, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    # Python divides whole numbers of any size without overflow.
    return min(1.0, float(2 * tail / 2**total))


def bootstrap_interval(differences: NDArray[np.floating], *, seed: int) -> Interval | None:
    """95 % percentile interval of a mean over rows.

    Args:
        differences: (N,) of each row.
        seed: Seed of the resampling.

    Returns:
        Lower and upper end; None for fewer than `FEWEST` rows and where all differences are equal.

    Example:
        >>> bootstrap_interval(np.array([0.0, 0.0, 1.0, 1.0]), seed=0)
        (0.0, 1.0)
        >>> bootstrap_interval(np.ones(10), seed=0) is None
        True
    """
    if not _bounded(differences):
        return None
    random = generator(Key(seed))
    # Rows with equal differences are alike, so drawing their counts is drawing the rows.
    values, counts = np.unique(differences, return_counts=True)
    drawn = random.multinomial(len(differences), counts / counts.sum(), size=RESAMPLES)
    means = drawn @ values / len(differences)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mean_and_interval(
    values: Sequence[float], *, within: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float | None, Interval | None]:
    """Sum up figures of several seeds.

    Args:
        values: At least one.
        within: The least and the largest value that the figures can have, such as 0 and 1 for accuracies. The interval
            is cut off there: the mean cannot lie beyond, so what remains holds it as often as the whole does.

    Returns:
        Mean; standard deviation (n - 1 in the denominator), None for one value; 95 % confidence interval of the mean by
        Student's t, None for fewer than `FEWEST` values and where all values are equal.

    Example:
        >>> mean, deviation, (low, high) = mean_and_interval([0.7, 0.8, 0.9], within=(0.0, 1.0))
        >>> round(mean, 3), round(deviation, 3), round(low, 3), round(high, 3)
        (0.8, 0.1, 0.552, 1.0)
        >>> mean_and_interval([0.5]), mean_and_interval([0.5, 0.5, 0.5])
        ((0.5, None, None), (0.5, 0.0, None))
    """
    figures = np.array(values)
    mean, count = float(figures.mean()), len(figures)
    deviation = float(figures.std(ddof=1)) if count > 1 else None
    if deviation is None or not _bounded(figures):
        return mean, deviation, None
    half = student_t(0.975, count - 1) * deviation / math.sqrt(count)
    return mean, deviation, (max(mean - half, within[0]), min(mean + half, within[1]))


def student_t(probability: float, freedom: int) -> float:
    """Quantile of Student's t distribution, by bisection on its integral.

    Args:
        probability: In (0.5, 1).
        freedom: Degrees of freedom, at least 1.

    Returns:
        The quantile, to about six digits.

    Example:
        >>> round(student_t(0.975, 9), 3)
        2.262

    Reference: Student, "The probable error of a mean" (1908).
    """
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def below(t: float) -> float:
        x = np.linspace(0, t, 20001)
        density = scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
        return 0.5 + float(np.trapezoid(density, x))

    low, high = 0.0, 700.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return (low + high) / 2
