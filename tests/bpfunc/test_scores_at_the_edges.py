"""Metrics of probabilities and ranks at the edges: right against an oracle, or NaN; NaN never disappears."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bpfunc import metrics
from bpfunc.batches.batch import Batch
from bpfunc.metrics import Metric, area_under_roc, fit_temperature

EXTREMES = [0.0, -0.0, 5e-324, 1e-38, -1e-38, 1.0, 1e38, -1e38, 1e154, 1e308, -1e308, np.inf, -np.inf]
WEIGHTS = [0.0, 5e-324, 1e-200, 1e-38, 1.0, 3.0, 1e200, 1e308]

SCORES = {"probability": ("log_loss", "brier"), "calibration": ("expected_calibration_error",), "ranking": ("roc_auc",)}


NOT_METRICS = ("area_under_roc", "fit_temperature", "CalibrationState", "RankingState")


def scores() -> dict[str, Metric]:
    """Every metric whose module speaks of probabilities or ranks, found in the package."""
    makers = {name: getattr(metrics, name) for name in metrics.__all__ if name not in NOT_METRICS}
    modules = {name: str(getattr(maker, "__module__", "")).rpartition(".")[2] for name, maker in makers.items()}
    return {name: maker() for name, maker in makers.items() if modules[name] in SCORES}


SCORED = scores()


def test_all_scores_are_found() -> None:
    """What the laws below go through."""
    assert sorted(SCORED) == sorted(name for names in SCORES.values() for name in names)


def exact_area(scores: list[float], positive: list[bool], weights: list[float]) -> float:
    """The definition, pair by pair, in fractions."""
    counted = [Fraction(weight) for weight in weights]
    won = total = Fraction(0)
    for i, j in product(range(len(scores)), repeat=2):
        if positive[i] and not positive[j]:
            weight = counted[i] * counted[j]
            total += weight
            won += weight * (Fraction(scores[i] > scores[j]) + Fraction(int(scores[i] == scores[j]), 2))
    return float(won / total) if total else float("nan")


ROWS = st.lists(st.tuples(st.sampled_from(EXTREMES), st.booleans(), st.sampled_from(WEIGHTS)), min_size=1, max_size=8)


@given(rows=ROWS)
def test_area_under_roc_is_exact(rows: list[tuple[float, bool, float]]) -> None:
    """Scores and weights of any size; a weight of less than 1e-290 of the largest may count for nothing."""
    scores, positive, weights = map(list, zip(*rows, strict=True))
    largest = max(weights)
    kept = [weight if weight > largest * 1e-290 else 0.0 for weight in weights]
    found = area_under_roc(np.array(scores), np.array(positive), weights=np.array(kept))
    assert found == pytest.approx(exact_area(scores, positive, kept), rel=1e-12, nan_ok=True)


@given(rows=ROWS, place=st.integers(0, 7))
def test_a_score_that_is_nan_makes_the_area_nan(rows: list[tuple[float, bool, float]], place: int) -> None:
    """It has no rank; where its row does not count, neither does it."""
    scores, positive, weights = (np.array(column) for column in zip(*rows, strict=True))
    place %= len(scores)
    expected = area_under_roc(scores, positive, weights=weights)
    scores[place] = np.nan
    found = area_under_roc(scores, positive, weights=weights)
    assert found == pytest.approx(np.nan if weights[place] else expected, nan_ok=True)


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [[np.nan, 0.0], [0.0, np.nan], [np.nan, np.nan], [np.inf, np.inf], [-np.inf, -np.inf]])
def test_outputs_without_probabilities_make_the_figure_nan(name: str, dtype: type, bad: list[float]) -> None:
    """One row of many is enough, alone or merged with parts that are whole."""
    rng, metric = np.random.default_rng(0), SCORED[name]
    outputs, targets = rng.normal(size=(20, 2)).astype(dtype), np.arange(20) % 2
    parts = [slice(0, 10), slice(10, 20)]

    def figure() -> float:
        with np.errstate(invalid="ignore"):
            first, second = (metric.measure(outputs[part], Batch(outputs[part], targets[part])) for part in parts)
        return metric.value(metric.merge(first, second))

    assert np.isfinite(figure())
    outputs[7] = bad
    assert np.isnan(figure())


@pytest.mark.parametrize("average", ["macro", "weighted", "none"])
def test_no_average_leaves_nan_out(average: str) -> None:
    """A class without a curve is left out of an average; a row that is no number is not."""
    metric = metrics.roc_auc(average=average)  # type: ignore[arg-type]
    outputs, targets = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.0], [2.0, 1.0, 0.0]]), np.array([0, 1, 0])
    batch = Batch(outputs, targets)
    assert np.nanmin(metric.value(metric.measure(outputs, batch))) == 1.0
    outputs[2, 2] = np.nan
    assert np.all(np.isnan(metric.value(metric.measure(outputs, batch))))


@pytest.mark.parametrize("size", [1e-300, 1e-38, 1.0, 1e200, 1e308])
def test_weights_of_any_size_give_one_average(size: float) -> None:
    """The weighted average goes by proportions."""
    outputs = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 1.5], [0.0, 1.0, 0.5], [2.0, 0.0, 1.0]])
    targets, weights = np.array([0, 1, 2, 1]), np.array([0.5, 0.25, 0.75, 1.0])
    metric = metrics.roc_auc(average="weighted")
    found, expected = (
        metric.value(metric.measure(outputs, Batch(outputs, targets, weights * factor))) for factor in (size, 1.0)
    )
    assert 0 < expected < 1
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, -np.inf])
def test_weights_out_of_range_are_refused(weight: float) -> None:
    """A negative weight would count pairs backwards."""
    with pytest.raises(ValueError, match="finite weights of at least 0"):
        area_under_roc(np.arange(2.0), np.array([True, False]), weights=np.array([1.0, weight]))


@pytest.mark.parametrize("other", [np.nan, 2, -1, 0.5])
def test_what_is_no_truth_value_is_not_positive(other: float) -> None:
    """NaN would count as true."""
    with pytest.raises(ValueError, match="truth values"):
        area_under_roc(np.arange(3.0), np.array([0, 1, other]))
    assert area_under_roc(np.arange(3.0), np.array([0, 0, 1])) == 1.0


@pytest.mark.parametrize("exponent", [-1060, -1000, -300, 0, 300, 1000, 1022])
def test_temperature_goes_with_the_logits(exponent: int) -> None:
    """Logits of any size have the temperature of the same logits, times their size."""
    logits, labels = np.array([[0.75, -0.875], [0.625, -0.75], [-0.5, 0.25]]), np.array([0, 1, 1])
    expected = fit_temperature(logits, labels)
    assert fit_temperature(np.ldexp(logits, exponent), labels) == pytest.approx(
        np.ldexp(expected, exponent), rel=1e-12 if exponent > -1000 else 1e-3
    )


def test_temperature_of_logits_whose_difference_overflows() -> None:
    """``2 z / T = log 19`` where 19 of 20 rows are right, also for the largest numbers there are."""
    z = 1.7e308
    labels = np.array([1, *[0] * 19])
    assert fit_temperature(np.array([[z, -z]] * 20), labels) == pytest.approx(z / (np.log(19) / 2), rel=1e-9)
