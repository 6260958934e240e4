"""On real tables the estimator does as well as scikit-learn's, settings equal."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

from tests.benchmarks.tabular import DATA, measure


def test_accuracy_is_that_of_mlp_classifier() -> None:
    """Twice five folds of each data set: no lower by more than three standard errors, and far above chance."""
    found = list(measure(repeats=2))
    assert [one.data for one in found] == list(DATA)
    for one in found:
        assert one.ours > 0.95
        assert one.difference > -3 * one.error, one
        assert one.difference == pytest.approx(one.ours - one.theirs)
