"""Seconds to fit seven tables of several kinds, `BackpropClassifier` and `BackpropRegressor` beside scikit-learn's own.

Equal settings and equal numbers of epochs. Machine code is made before the first turn, as it is kept between processes.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from tests.benchmarks.ours import ENGINES
from tests.benchmarks.settings import Settings
from tests.benchmarks.turns import interleaved
from tests.benchmarks.worker import load, started, timed

Data = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _digits() -> Data:
    from sklearn.datasets import load_digits
    from sklearn.preprocessing import StandardScaler

    x, y = load_digits(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def _classes(rows: int, inputs: int, classes: int, kind: type) -> Data:
    from sklearn.datasets import make_classification

    shape = {"n_samples": rows, "n_features": inputs, "n_classes": classes}
    x, y = make_classification(**shape, n_informative=inputs // 2, random_state=0)
    return x.astype(kind), y


def _numbers(rows: int, inputs: int) -> Data:
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(rows, inputs, noise=0.5, random_state=0)
    return x, (y - y.mean()) / y.std()


@attrs.frozen
class Table:
    """Rows, and what is fitted to them.

    Args:
        data: Makes the rows.
        settings: Of both estimators.
        regression: Whether numbers are predicted.
    """

    data: Callable[[], Data]
    settings: Mapping[str, object]
    regression: bool = False


TABLES = {
    "digits": Table(_digits, {"hidden_layer_sizes": (100,), "max_iter": 40}),
    "20,000 x 54, float32": Table(
        lambda: _classes(20_000, 54, 7, np.float32), {"hidden_layer_sizes": (128, 64), "max_iter": 8}
    ),
    "20,000 x 54, float64": Table(
        lambda: _classes(20_000, 54, 7, np.float64), {"hidden_layer_sizes": (128, 64), "max_iter": 8}
    ),
    "wide": Table(lambda: _classes(4_000, 200, 5, np.float64), {"hidden_layer_sizes": (1024,), "max_iter": 5}),
    "SGD, early stopping": Table(
        lambda: _classes(8_000, 30, 3, np.float64),
        {"hidden_layer_sizes": (64, 32), "solver": "sgd", "learning_rate_init": 0.05, "early_stopping": True}
        | {"max_iter": 20},
    ),
    "regression": Table(
        lambda: _numbers(8_000, 20), {"hidden_layer_sizes": (100, 50), "max_iter": 15}, regression=True
    ),
    "regression, tanh, batches of 32": Table(
        lambda: _numbers(4_000, 10),
        {"hidden_layer_sizes": (50,), "activation": "tanh", "batch_size": 32, "max_iter": 15},
        regression=True,
    ),
}
OURS = {name: f"tests.benchmarks.estimators:{engine}" for name, engine in ENGINES.items()}
PEERS = {"scikit-learn": "tests.benchmarks.estimators:scikit_learn"}
"""Name -> function that makes an unfitted estimator of a table's kind and settings."""
SCORE = 0.1
"""How far below scikit-learn's our score on the training rows may lie, accuracy or R^2."""


@attrs.frozen
class FitTime:
    """One runner on one table.

    Args:
        table: Name.
        runner: Name.
        kind: ``ours`` or ``peer``.
        seconds: Median of a fit.
        rounds: Every round's.
        cores: Kept busy.
        score: On the training rows, accuracy or R^2.
        epochs: That were trained.
    """

    table: str
    runner: str
    kind: str
    seconds: float
    rounds: tuple[float, ...]
    cores: float
    score: float
    epochs: int


def measure(settings: Settings) -> tuple[FitTime, ...]:
    """Fit every table in turns.

    Args:
        settings: Threads, rounds, peers.

    Returns:
        Times of every runner.

    Raises:
        WorkerFailedError: A runner failed.
        AssertionError: Somebody trained another number of epochs, or ours learned clearly less.
    """
    builds = {**OURS, **{name: build for name, build in PEERS.items() if settings.offers(name)}}
    found = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers = [stack.enter_context(started(name, Path(folder), settings.threads)) for name in builds]
        for table in TABLES:
            print(f"estimators: {table}", flush=True)
            for worker in workers:
                values = {"build": builds[worker.name], "table": table, "quick": settings.quick}
                worker.ask("open", tasks="tests.benchmarks.estimators:FitTasks", values=values)
            fitted = {worker.name: worker.ask("fitted") for worker in workers}
            best = max(score for score, _ in fitted.values())
            assert len({epochs for _, epochs in fitted.values()}) == 1, f"{table}: epochs differ: {fitted}"
            assert all(fitted[name][0] >= best - SCORE for name in OURS), f"{table}: learned less: {fitted}"
            for name, took in interleaved(workers, settings).items():
                kind = "ours" if name in OURS else "peer"
                found.append(FitTime(table, name, kind, took.median, took.rounds, took.cores, *fitted[name]))
    return tuple(found)


class FitTasks:
    """Fits of a table."""

    def __init__(self, folder: Path, *, build: str, table: str, quick: bool) -> None:
        chosen = TABLES[table]
        self.x, self.y = chosen.data()
        epochs = 2 if quick else int(str(chosen.settings["max_iter"]))
        # as many epochs for everybody: neither stops for want of progress
        values = {**chosen.settings, "max_iter": epochs, "n_iter_no_change": epochs, "random_state": 0}
        self.estimator = load(build)(values, regression=chosen.regression)

    def fit(self) -> object:
        """Fit from the beginning."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge is what was asked for
            return self.estimator.fit(self.x, self.y)

    def fitted(self) -> tuple[float, int]:
        """Score on the rows, and the number of epochs."""
        self.fit()
        return float(self.estimator.score(self.x, self.y)), int(self.estimator.n_iter_)

    def turn(self, repeats: int) -> dict[str, float]:
        """Fit again and again."""
        return timed(self.fit, repeats)


def numpy(values: dict[str, object], *, regression: bool) -> object:
    """Ours on NumPy."""
    return _ours({**values, "engine": "numpy"}, regression)


def compiled(values: dict[str, object], *, regression: bool) -> object:
    """Ours in machine code."""
    return _ours({**values, "engine": "compiled"}, regression)


def _ours(values: dict[str, object], regression: bool) -> object:
    from bpfunc.interop.sklearn import BackpropClassifier, BackpropRegressor

    return (BackpropRegressor if regression else BackpropClassifier)(**values)


def scikit_learn(values: dict[str, object], *, regression: bool) -> object:
    """scikit-learn's own."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return (MLPRegressor if regression else MLPClassifier)(**values)
