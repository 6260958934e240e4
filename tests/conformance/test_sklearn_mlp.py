"""scikit-learn's own tests of its MLPs, run on the estimators of this library.

The tests are read from the installed scikit-learn when this file is collected; none of their text is kept here. In
what is read, MLPClassifier and MLPRegressor are `BackpropClassifier` and `BackpropRegressor`, the solver adam replaces
L-BFGS, and ``verbose`` is ``print``. `DIFFERENCES` names the tests that fail, each with the reason; a test that is
named there and passes is a failure too, and so is a name that scikit-learn does not have.
"""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("sklearn")

from sklearn.neural_network.tests import test_mlp as original

from bpfunc.interop.sklearn import BackpropClassifier, BackpropRegressor

PRIVATE = "reads attributes that are private in scikit-learn"
SLOWER = "asks what L-BFGS reaches in so few iterations on a whole table; adam replaces it and does not reach it"
WORDS = "the same refusal in other words"
DIFFERENCES = {
    "test_fit": "sets the weights and calls a private method; a fitted estimator here is read-only",
    "test_gradient": "calls the private gradient of L-BFGS; tests/conformance/test_gradient.py compares gradients",
    "test_lbfgs_regression": SLOWER,
    "test_lbfgs_classification_maxfun": "max_fun is of L-BFGS alone",
    "test_lbfgs_regression_maxfun": "max_fun is of L-BFGS alone",
    "test_learning_rate_warmstart": f"{PRIVATE}: the optimiser's rate",
    "test_multilabel_classification": SLOWER,
    "test_multioutput_regression": SLOWER,
    "test_partial_fit_unseen_classes": "one step from random weights must hit a class; other weights are drawn here",
    "test_partial_fit_regression": "R^2 after 100 steps lies on both sides of its bound, by the weights that are drawn",
    "test_partial_fit_errors": "asks that partial_fit is missing with L-BFGS",
    "test_nonfinite_params": WORDS,
    "test_predict_proba_multilabel": SLOWER,
    "test_verbose_sgd": "a line says `epoch`, not `Iteration`",
    "test_adaptive_learning_rate": f"{PRIVATE}: the optimiser's rate",
    "test_warm_start": WORDS,
    "test_n_iter_no_change": f"{PRIVATE}: the count of epochs without improvement",
    "test_n_iter_no_change_inf": f"{PRIVATE}: the count of epochs without improvement",
    "test_early_stopping_stratified": WORDS,
    "test_mlp_vs_poisson_glm_equivalent": "there is no Poisson loss here",
    "test_minimum_input_sample_size": WORDS,
}
"""Test -> why it fails."""

NAMES = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
CHANGES = {NAMES: "", '"lbfgs"': '"adam"', "verbose=10": "verbose=print"}


def adapted() -> str:
    """The source of scikit-learn's tests, changed as above; a change that finds nothing would test scikit-learn."""
    source = inspect.getsource(original)
    for text, replacement in CHANGES.items():
        assert text in source
        source = source.replace(text, replacement)
    return source


MLPClassifier, MLPRegressor = BackpropClassifier, BackpropRegressor
exec(compile(adapted(), str(original.__file__), "exec"), globals())
for _name, _reason in DIFFERENCES.items():
    globals()[_name] = pytest.mark.xfail(strict=True, reason=_reason)(globals()[_name])
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def global_random_seed() -> int:
    """The seed that scikit-learn's own fixture gives where none is asked for."""
    return 42
