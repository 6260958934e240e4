"""Accuracy on scikit-learn's own data sets, beside `MLPClassifier` with equal settings.

To measure: ``python -m tests.benchmarks.tabular``. Both estimators see the same folds and scaling. Their first weights
differ, because their random numbers do, so each fold is trained from several seeds, and the difference is given with
its standard error over folds and seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import attrs
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bpfunc.interop.sklearn import BackpropClassifier

DATA = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}
SETTINGS = {"hidden_layer_sizes": (32, 16), "learning_rate_init": 0.01, "max_iter": 100}
FOLDS, REPEATS = 5, 40


@attrs.frozen
class Accuracies:
    """One data set.

    Args:
        data: Name.
        ours: Mean accuracy of `BackpropClassifier` on rows left out.
        theirs: Of `MLPClassifier`.
        difference: Mean over folds and seeds of ours less theirs.
        error: Standard error of the difference.
    """

    data: str
    ours: float
    theirs: float
    difference: float
    error: float


def measure(repeats: int = REPEATS) -> Iterator[Accuracies]:
    """Cross-validate both on every data set, each repeat with folds and a seed of its own.

    Args:
        repeats: How many.

    Yields:
        Accuracies, data set by data set.
    """
    for name, load in DATA.items():
        x, y = load(return_X_y=True)
        ours, theirs = (
            np.concatenate([_scores(kind, x, y, seed) for seed in range(repeats)])
            for kind in (BackpropClassifier, MLPClassifier)
        )
        difference = ours - theirs
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        yield Accuracies(name, float(ours.mean()), float(theirs.mean()), float(difference.mean()), float(error))


def _scores(kind: type, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    model = make_pipeline(StandardScaler(), kind(**SETTINGS, random_state=seed))
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=1, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(cross_val_score(model, x, y, cv=folds, error_score="raise"))


def main() -> None:
    """Print a Markdown table."""
    print(f"settings: {SETTINGS}; {FOLDS} folds, {REPEATS} times")
    print("| data | `BackpropClassifier` | `MLPClassifier` | difference, with its standard error |\n|---|---|---|---|")
    for one in measure():
        print(
            f"| {one.data} | {one.ours:.4f} | {one.theirs:.4f} | {one.difference:+.4f} ± {one.error:.4f} |", flush=True
        )


if __name__ == "__main__":
    main()
