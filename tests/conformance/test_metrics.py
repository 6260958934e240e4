"""Metrics against scikit-learn, in float64."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import TypeAlias, get_type_hints

import attrs
import numpy as np
import pytest

sklearn_metrics = pytest.importorskip("sklearn.metrics")
calibration = pytest.importorskip("sklearn.calibration")

import bpfunc.metrics as ours  # noqa: E402
from bpfunc.arrays.types import FloatArray  # noqa: E402
from bpfunc.batches.batch import Batch  # noqa: E402
from bpfunc.ops import softmax  # noqa: E402

N, K = 300, 4
CLASSES = np.arange(K)
Oracle: TypeAlias = Callable[[FloatArray, Batch], object]
"""``(logits, batch) -> figure``."""


def averaged(function: Callable[..., object], average: str) -> Oracle:
    """A scikit-learn figure of classes, averaged over all of them, 0 where it divides by 0."""
    return lambda z, b: function(b.targets, z.argmax(1), labels=CLASSES, average=average, zero_division=0.0)


def calibration_error(bins: int) -> Oracle:
    """The expected calibration error from the points of scikit-learn's calibration curve."""

    def figure(z: FloatArray, b: Batch) -> float:
        p = softmax(z)[0].max(axis=1)
        hits = z.argmax(axis=1) == b.targets
        accuracy, confidence = calibration.calibration_curve(hits, p, n_bins=bins, strategy="uniform")
        edges = np.linspace(0, 1, bins + 1)
        counts = np.array([np.sum((p > low) & (p <= high)) for low, high in itertools.pairwise(edges)])
        return float(np.abs(accuracy - confidence) @ counts[counts > 0] / len(p))

    return figure


def area(average: str | None) -> Oracle:
    """One-versus-rest area under the curve of the probabilities."""
    return lambda z, b: sklearn_metrics.roc_auc_score(
        b.targets, softmax(z)[0], multi_class="ovr", average=average, labels=CLASSES, sample_weight=b.weights
    )


UNWEIGHTED: dict[str, list[tuple[ours.Metric, Oracle]]] = {
    "confusion": [
        (ours.confusion(K), lambda z, b: sklearn_metrics.confusion_matrix(b.targets, z.argmax(1), labels=CLASSES))
    ],
    "precision": [
        (ours.precision(K, average=how), averaged(sklearn_metrics.precision_score, how))
        for how in ("macro", "micro", "weighted")
    ],
    "recall": [
        (ours.recall(K, average=how), averaged(sklearn_metrics.recall_score, how))
        for how in ("macro", "micro", "weighted")
    ],
    "f1": [
        (ours.f1(K, average=how), averaged(sklearn_metrics.f1_score, how)) for how in ("macro", "micro", "weighted")
    ],
    "expected_calibration_error": [
        (ours.expected_calibration_error(bins), calibration_error(bins)) for bins in (1, 10, 15)
    ],
}
WEIGHTED: dict[str, list[tuple[ours.Metric, Oracle]]] = {
    "accuracy": [
        (
            ours.accuracy(),
            lambda z, b: sklearn_metrics.accuracy_score(b.targets, z.argmax(1), sample_weight=b.weights),
        )
    ],
    "top_k": [
        (
            ours.top_k(k),
            lambda z, b, k=k: sklearn_metrics.top_k_accuracy_score(
                b.targets, z, k=k, labels=CLASSES, sample_weight=b.weights
            ),
        )
        for k in (1, 2, 3)
    ],
    "log_loss": [
        (
            ours.log_loss(),
            lambda z, b: sklearn_metrics.log_loss(b.targets, softmax(z)[0], labels=CLASSES, sample_weight=b.weights),
        )
    ],
    "brier": [
        (
            ours.brier(),
            lambda z, b: sklearn_metrics.brier_score_loss(
                b.targets, softmax(z)[0], labels=CLASSES, scale_by_half=False, sample_weight=b.weights
            ),
        )
    ],
    "roc_auc": [(ours.roc_auc(average=how), area(how)) for how in ("macro", "weighted")]
    + [(ours.roc_auc(average="none"), area(None))],
}
NUMBERS: dict[str, list[tuple[ours.Metric, Oracle]]] = {
    "binary_accuracy": [
        (
            ours.binary_accuracy(),
            lambda z, b: 1 - sklearn_metrics.hamming_loss(b.targets > 0.5, z > 0, sample_weight=b.weights),
        )
    ],
    "mean_absolute_error": [
        (
            ours.mean_absolute_error(),
            lambda z, b: sklearn_metrics.mean_absolute_error(b.targets, z, sample_weight=b.weights),
        )
    ],
    "mean_squared_error": [
        (
            ours.mean_squared_error(),
            lambda z, b: sklearn_metrics.mean_squared_error(b.targets, z, sample_weight=b.weights),
        )
    ],
}


def cases(*tables: dict[str, list[tuple[ours.Metric, Oracle]]]) -> list[tuple[ours.Metric, Oracle]]:
    """Every metric of the tables with its oracle."""
    return [case for table in tables for members in table.values() for case in members]


def name_of(value: object) -> str | None:
    """The name of a case in the list of tests."""
    return value.name if isinstance(value, ours.Metric) else ""


def class_data(seed: int) -> tuple[FloatArray, Batch]:
    """Logits that half agree with the classes, no class missing."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(N) % K)
    return 2 * rng.normal(size=(N, K)) + 1.5 * np.eye(K)[label], Batch(np.zeros((N, 1)), label)


def weights(seed: int) -> FloatArray:
    """Positive weights."""
    return 0.1 + np.random.default_rng(seed).random(N)


def check(metric: ours.Metric, oracle: Oracle, outputs: FloatArray, batch: Batch) -> None:
    """Hold a metric's figure against its oracle's."""
    found = metric.value(metric.measure(outputs, batch))
    np.testing.assert_allclose(found, oracle(outputs, batch), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("metric", "oracle"), cases(UNWEIGHTED, WEIGHTED), ids=name_of)
@pytest.mark.parametrize("seed", [0, 1])
def test_metric_on_classes_agrees(metric: ours.Metric, oracle: Oracle, seed: int) -> None:
    """The figure is scikit-learn's."""
    check(metric, oracle, *class_data(seed))


@pytest.mark.parametrize(("metric", "oracle"), cases(WEIGHTED), ids=name_of)
def test_weighted_metric_on_classes_agrees(metric: ours.Metric, oracle: Oracle) -> None:
    """Weights mean what scikit-learn's sample weights mean."""
    outputs, batch = class_data(2)
    check(metric, oracle, outputs, attrs.evolve(batch, weights=weights(2)))


@pytest.mark.parametrize(("metric", "oracle"), cases(NUMBERS), ids=name_of)
@pytest.mark.parametrize("weighted", [False, True])
def test_metric_on_numbers_agrees(metric: ours.Metric, oracle: Oracle, weighted: bool) -> None:
    """The figure is scikit-learn's, with and without weights, over several outputs."""
    rng = np.random.default_rng(3)
    outputs, targets = rng.normal(size=(N, 2)), rng.integers(0, 2, (N, 2)).astype(np.float64)
    check(metric, oracle, outputs, Batch(outputs, targets, weights(3) if weighted else None))


@pytest.mark.parametrize("average", ["macro", "weighted", "none"])
def test_roc_auc_agrees_with_ties(average: str) -> None:
    """Many rows with one score change nothing."""
    outputs, batch = class_data(4)
    metric = ours.roc_auc(average=average)
    check(metric, area(None if average == "none" else average), np.round(outputs / 2), batch)


@pytest.mark.parametrize(
    ("metric", "oracle"), cases({name: UNWEIGHTED[name] for name in ("precision", "recall", "f1")}), ids=name_of
)
def test_classes_never_found_agree(metric: ours.Metric, oracle: Oracle) -> None:
    """Where a class never occurs and another is never predicted, figures are 0 as with ``zero_division=0``."""
    outputs, batch = class_data(5)
    outputs[:, 0] = -100.0
    check(metric, oracle, outputs, attrs.evolve(batch, targets=np.where(batch.targets == 1, 2, batch.targets)))


def test_class_figures_agree() -> None:
    """Precision, recall, F1 and support of each class are scikit-learn's."""
    outputs, batch = class_data(6)
    predicted = outputs.argmax(axis=1)
    figures = ours.class_figures(ours.confusion_matrix(predicted, batch.targets, K))
    expected = sklearn_metrics.precision_recall_fscore_support(batch.targets, predicted, labels=CLASSES)
    for found, wanted in zip((figures.precision, figures.recall, figures.f1, figures.support), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_every_metric_has_an_oracle() -> None:
    """A metric added later is compared too, or this fails; combinators of metrics have nothing to compare."""
    makers = {
        name
        for name in ours.__all__
        if inspect.isfunction(getattr(ours, name)) and get_type_hints(getattr(ours, name)).get("return") is ours.Metric
    }
    assert makers - {"all_of", "mean_metric"} == UNWEIGHTED.keys() | WEIGHTED.keys() | NUMBERS.keys()


@pytest.mark.parametrize("seed", range(5))
def test_temperature_is_the_one_that_scipy_finds(seed: int) -> None:
    """A search along the line, by a library that knows nothing of our slope, ends at the same temperature."""
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    label = rng.integers(0, K, N)
    logits = 4 * rng.normal(size=(N, K)) + 2 * np.eye(K)[label]

    def loss(inverse: float) -> float:
        return float(sklearn_metrics.log_loss(label, softmax(inverse * logits)[0], labels=CLASSES))

    found = optimize.minimize_scalar(loss, bounds=(1e-3, 10), method="bounded", options={"xatol": 1e-10})
    assert ours.fit_temperature(logits, label) == pytest.approx(1 / found.x, rel=1e-5)
