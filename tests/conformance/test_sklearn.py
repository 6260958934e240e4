"""The estimators against scikit-learn's own perceptrons: the same steps from the same weights, the same accuracy."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bpfunc.interop.sklearn import BackpropClassifier, BackpropRegressor
from bpfunc.layers import DenseParams
from bpfunc.layers.combinators import SerialParams

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def pair(
    ours: BaseEstimator, theirs: BaseEstimator, X: np.ndarray, y: np.ndarray, settings: dict[str, object]
) -> tuple[BaseEstimator, BaseEstimator]:
    """Both estimators, fitted from the same weights on the same batches in the same order."""
    shared = settings | {"shuffle": False, "warm_start": True, "random_state": 0}
    ours.set_params(**shared | {"max_iter": 1}).fit(X, y)
    theirs.set_params(**shared | {"max_iter": 1}).fit(X, y)
    drawn = iter([DenseParams(w.copy(), b.copy()) for w, b in zip(theirs.coefs_, theirs.intercepts_, strict=True)])
    layers = tuple(next(drawn) if isinstance(p, DenseParams) else p for p in ours.state_.params.layers)
    ours.state_ = attrs.evolve(ours.state_, params=SerialParams(layers))
    # What the first epoch left behind besides weights.
    ours.loss_curve_, ours.t_ = [], 0
    theirs.loss_curve_, theirs.best_loss_, theirs._no_improvement_count, theirs.t_ = [], np.inf, 0, 0
    return ours.set_params(**shared).fit(X, y), theirs.set_params(**shared).fit(X, y)


def rows(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Some rows with targets of a kind."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(90, 5))
    signal = X @ rng.normal(size=(5, 3)) + rng.normal(size=(90, 3)) / 2
    targets = {
        "two classes": np.where(signal[:, 0] > 0, "yes", "no"),
        "three classes": signal.argmax(axis=1) * 10,
        "labels": (signal > 0).astype(int),
        "number": signal[:, 0],
        "numbers": signal,
    }
    return X, targets[kind]


SETTINGS = {
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "heavy ball": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False, "momentum": 0.5},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.3, "power_t": 0.2},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.3,
        "tol": 0.02,
        "n_iter_no_change": 2,
    },
    "settled": {"solver": "sgd", "learning_rate_init": 0.1, "tol": 0.01, "n_iter_no_change": 3},
    "adam": {"learning_rate_init": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-13},
    "penalty": {"solver": "sgd", "learning_rate_init": 0.05, "alpha": 3.0},
    "logistic": {"solver": "sgd", "activation": "logistic", "learning_rate_init": 0.2},
    "tanh": {"solver": "sgd", "activation": "tanh", "hidden_layer_sizes": 7},
    "identity": {"solver": "sgd", "activation": "identity", "learning_rate_init": 0.02},
}


CASES = [
    *((kind, name) for kind in ("three classes", "number") for name in SETTINGS),
    *((kind, name) for kind in ("two classes", "labels") for name in ("sgd", "settled", "adam", "penalty")),
    *(("numbers", name) for name in ("sgd", "adam")),
]
"""scikit-learn reports the mean loss over several numbers, and takes the gradient of the sum; ours reports the sum, so
that the size of the loss is not the same there, and not the epoch in which it settles."""


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_same_steps_from_the_same_weights(kind: str, name: str) -> None:
    """Weights, predictions, losses and the epoch of stopping agree: a parameter of the same name means the same.

    To rounding, which Adam makes larger. Its epsilon is tiny here, because scikit-learn adds it before the bias is
    corrected.
    """
    X, y = rows(kind)
    number = kind.startswith("number")
    ours, theirs = (BackpropRegressor(), MLPRegressor()) if number else (BackpropClassifier(), MLPClassifier())
    settings = {"hidden_layer_sizes": (8, 6), "max_iter": 30, "batch_size": 30} | SETTINGS[name]
    if number:
        settings["learning_rate_init"] = settings.get("learning_rate_init", 0.01) / 5
    pair(ours, theirs, X, y, settings)
    tolerance = 1e-6 if name == "adam" else 1e-8
    assert ours.n_iter_ == theirs.n_iter_
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
    if kind != "numbers":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance)
    assert np.mean(ours.predict(X) == theirs.predict(X)) > 0.99 or number
    if not number:
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=tolerance, atol=tolerance)
    assert (ours.out_activation_, ours.n_outputs_, ours.n_layers_, ours.t_) == (
        theirs.out_activation_, theirs.n_outputs_, theirs.n_layers_, theirs.t_,
    )  # fmt: skip


DATA = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}
EQUAL = {"hidden_layer_sizes": (32,), "learning_rate_init": 0.01, "max_iter": 40}


def mean_score(estimator: BaseEstimator, X: np.ndarray, y: np.ndarray, seed: int) -> float:
    """Mean score of five folds, inputs standardised; folds and estimator have the same seed."""
    splitter = StratifiedKFold if hasattr(estimator, "predict_proba") else KFold
    folds = splitter(5, shuffle=True, random_state=seed)
    pipeline = make_pipeline(StandardScaler(), estimator.set_params(random_state=seed, **EQUAL))
    return float(cross_val_score(pipeline, X, y, cv=folds).mean())


@pytest.mark.parametrize("name", DATA)
def test_accuracy_is_that_of_mlp_classifier(name: str) -> None:
    """Five folds, the same for both, averaged over three seeds: no lower, but for what seeds do by chance.

    The accuracies of many seeds, ours and theirs, are 0.9732 and 0.9734 on digits (50 seeds, difference -0.0002 with a
    standard error of 0.0005), 0.9746 and 0.9750 on breast cancer, 0.9762 and 0.9739 on wine (20 seeds each). A seed's
    five-fold mean deviates by 0.003, 0.003 and 0.008, so a difference of means over three seeds does by 0.0025, 0.0025
    and 0.0066; twice that is allowed. That both take the same steps from the same weights is the test above.
    """
    X, y = DATA[name](return_X_y=True)
    seeds = range(3)
    ours, theirs = (
        np.mean([mean_score(kind(), X, y, seed) for seed in seeds]) for kind in (BackpropClassifier, MLPClassifier)
    )
    assert ours >= theirs - (0.0132 if name == "wine" else 0.005)
    assert ours > 0.96


def test_r2_is_that_of_mlp_regressor() -> None:
    """Diabetes, targets standardised, alpha 1 so that forty epochs do not overfit: the same, but for chance.

    R^2 of 20 seeds is 0.466 and 0.470; a seed's five-fold mean deviates by 0.015, so a difference of means over three
    seeds does by 0.0125; twice that is allowed.
    """
    X, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    ours, theirs = (
        np.mean([mean_score(kind(alpha=1.0), X, y, seed) for seed in range(3)])
        for kind in (BackpropRegressor, MLPRegressor)
    )
    assert ours >= theirs - 0.025
    assert ours > 0.4
