"""The estimators are scikit-learn's kind: its own checks pass, and what they add is what it says."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from bpfunc.interop.sklearn import BackpropClassifier, BackpropRegressor


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([BackpropClassifier(), BackpropRegressor()])
def test_scikit_learns_own_checks(estimator: object, check: object) -> None:
    """Every check of scikit-learn passes with the default parameters; none is skipped or expected to fail by us."""
    check(estimator)
