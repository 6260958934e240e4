"""Metrics: worked numbers, merging in any grouping, and edges."""

from __future__ import annotations

import inspect
import itertools
from typing import get_type_hints

import attrs
import numpy as np
import pytest
from hypothesis import given, strategies as st

import bpfunc.metrics
from bpfunc.arrays.types import BoolArray, FloatArray
from bpfunc.batches.batch import Batch, take
from bpfunc.layers import ShapeError
from bpfunc.losses import cross_entropy
from bpfunc.metrics import (
    Mean,
    Metric,
    accuracy,
    all_of,
    area_under_roc,
    averages,
    binary_accuracy,
    brier,
    class_figures,
    confusion,
    confusion_matrix,
    expected_calibration_error,
    f1,
    fit_temperature,
    log_loss,
    mean,
    mean_absolute_error,
    mean_metric,
    mean_squared_error,
    merge_means,
    precision,
    recall,
    roc_auc,
    top_k,
)
from bpfunc.tree import flatten, tree_add, tree_allclose

K = 3
ON_CLASSES = {
    "accuracy": accuracy(),
    "top_k": top_k(2),
    "confusion": confusion(K),
    "precision": precision(K),
    "recall": recall(K, average="weighted"),
    "f1": f1(K, average="micro"),
    "log_loss": log_loss(),
    "brier": brier(),
    "expected_calibration_error": expected_calibration_error(7),
    "roc_auc": roc_auc(average="none"),
}
ON_NUMBERS = {
    "binary_accuracy": binary_accuracy(),
    "mean_absolute_error": mean_absolute_error(),
    "mean_squared_error": mean_squared_error(),
}
COMBINED = {
    "all_of": all_of(accuracy(), roc_auc(), confusion(K)),
    "mean_metric": mean_metric("largest", lambda outputs, batch: outputs.max(axis=1)),
}
ALL = ON_CLASSES | ON_NUMBERS | COMBINED


def class_data(seed: int, rows: int, *, weighted: bool = False) -> tuple[FloatArray, Batch]:
    """Logits with ties, and classes that they half agree with."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, K, rows)
    outputs = np.round(2 * rng.normal(size=(rows, K)) + 1.5 * np.eye(K)[label]) / 2
    weights = rng.integers(0, 4, rows) / 2 if weighted else None
    return outputs, Batch(np.zeros((rows, 1)), label, weights)


def data_for(name: str, seed: int, rows: int, *, weighted: bool = False) -> tuple[FloatArray, Batch]:
    """Outputs and targets that a metric of the table takes."""
    outputs, batch = class_data(seed, rows, weighted=weighted)
    if name not in ON_NUMBERS:
        return outputs, batch
    targets = np.round(np.random.default_rng(seed).random((rows, K)))
    return outputs, attrs.evolve(batch, targets=targets)


def test_tables_name_every_metric() -> None:
    """A metric added later is tested too, or this fails."""
    public = {name: getattr(bpfunc.metrics, name) for name in bpfunc.metrics.__all__}
    makers = {
        name
        for name, thing in public.items()
        if inspect.isfunction(thing) and get_type_hints(thing).get("return") is Metric
    }
    assert makers == ALL.keys()


@pytest.mark.parametrize("name", ALL)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 20), max_size=5), weighted=st.booleans(), data=st.data())
def test_merged_parts_are_the_whole(name: str, seed: int, cuts: list[int], weighted: bool, data: st.DataObject) -> None:
    """However a data set is cut and whatever is merged first, the figure is that of the whole."""
    metric = ALL[name]
    outputs, batch = data_for(name, seed, 20, weighted=weighted)
    places = [0, *sorted(cuts), 20]
    parts = []
    for low, high in itertools.pairwise(places):
        rows = np.arange(low, high)
        parts.append(metric.measure(outputs[rows], take(batch, rows)))
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [metric.merge(parts[at], parts[at + 1])]
    whole, merged = (metric.value(state) for state in (metric.measure(outputs, batch), parts[0]))
    for expected, found in zip(flatten(whole)[0], flatten(merged)[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ALL)
def test_metric_leaves_its_arguments_alone_and_repeats(name: str) -> None:
    """Measuring writes to nothing, and twice gives the same bits."""
    metric = ALL[name]
    outputs, batch = data_for(name, 0, 9, weighted=True)
    copies = outputs.copy(), batch.inputs.copy(), batch.targets.copy()
    outputs.flags.writeable = False
    first, second = (flatten(metric.value(metric.measure(outputs, batch)))[0] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    for copy, array in zip(copies, (outputs, batch.inputs, batch.targets), strict=True):
        assert np.array_equal(copy, array)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("rows", [0, 1])
def test_metric_takes_few_rows(name: str, rows: int) -> None:
    """No row and one row are data sets too, and merging with no row changes nothing."""
    metric = ALL[name]
    outputs, batch = data_for(name, 1, 8)
    few = metric.measure(outputs[:rows], take(batch, np.arange(rows)))
    metric.value(few)
    whole = metric.measure(outputs, batch)
    if rows == 0:
        merged = metric.merge(whole, few)
        same = zip(flatten(metric.value(merged))[0], flatten(metric.value(whole))[0], strict=True)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in same)


@pytest.mark.parametrize("name", ALL)
def test_weights_of_one_change_nothing(name: str) -> None:
    """A row of weight 1 counts as a row without weight."""
    metric = ALL[name]
    outputs, batch = data_for(name, 2, 12)
    ones = attrs.evolve(batch, weights=np.ones(12, np.float32))
    plain, weighted = (flatten(metric.value(metric.measure(outputs, each)))[0] for each in (batch, ones))
    for a, b in zip(plain, weighted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("name", sorted(ON_CLASSES.keys() - {"confusion", "precision", "recall", "f1"}))
def test_a_row_of_weight_two_counts_twice(name: str) -> None:
    """A row of weight 2 counts as the row given twice."""
    metric = ALL[name]
    outputs, batch = class_data(3, 30)
    twice = np.sort(np.append(np.arange(30), np.arange(0, 30, 2)))
    weights = np.bincount(twice).astype(np.float64)
    repeated = metric.value(metric.measure(outputs[twice], take(batch, twice)))
    weighted = metric.value(metric.measure(outputs, attrs.evolve(batch, weights=weights)))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-13)


@pytest.mark.parametrize("name", ON_CLASSES)
def test_one_hot_rows_and_indices_are_the_same_targets(name: str) -> None:
    """A metric on classes takes both forms."""
    metric = ALL[name]
    outputs, batch = class_data(4, 10)
    rows = attrs.evolve(batch, targets=np.eye(K, dtype=np.float32)[batch.targets])
    assert tree_allclose(metric.value(metric.measure(outputs, batch)), metric.value(metric.measure(outputs, rows)))


@pytest.mark.parametrize("name", ON_CLASSES)
def test_metric_on_classes_refuses_what_are_no_classes(name: str) -> None:
    """Shapes that would broadcast to nonsense are an error that names both."""
    column = Batch(np.zeros((4, 1)), np.zeros((4, 1)))
    with pytest.raises(ShapeError, match=r"\(4, 3\) and (targets )?\(4, 1\)"):
        ALL[name].measure(np.zeros((4, K)), column)


@pytest.mark.parametrize("name", ON_CLASSES)
def test_metric_on_classes_refuses_floating_indices(name: str) -> None:
    """2.7 is no class: it is neither cut down to 2 nor counted as a mistake, and the message is that of the losses."""
    batch = Batch(np.zeros((2, 1)), np.array([0.0, 2.7]))
    with pytest.raises(TypeError, match=r"class indices are whole numbers, found float64.*targets\.astype\(np\.intp\)"):
        ALL[name].measure(np.zeros((2, K)), batch)


@pytest.mark.parametrize("name", ON_NUMBERS)
def test_metric_on_numbers_takes_a_column_against_a_vector(name: str) -> None:
    """(B, 1) against (B,) goes row by row, as in the losses, and is not broadcast to (B, B); the reverse is refused."""
    column, vector = np.array([[3.0], [0.0], [-1.0], [2.0]]), np.array([1.0, 0.0, 0.0, 1.0])
    inputs = np.zeros((4, 1))
    flat, whole = (ALL[name].measure(column, Batch(inputs, targets)) for targets in (vector, vector[:, None]))
    assert flat == whole
    with pytest.raises(ShapeError, match=r"found \(4,\) and \(4, 1\)"):
        ALL[name].measure(vector, Batch(inputs, column))
    with pytest.raises(ShapeError, match=r"found \(4, 1\) and \(3,\)"):
        ALL[name].measure(column, Batch(inputs, vector[:3]))


def test_sums_of_float32_are_float64_sums() -> None:
    """Sums over many float32 rows do not lose small terms, with and without weights."""
    tenth = mean_metric("a tenth", lambda outputs, batch: np.full(len(outputs), 0.1, np.float32))
    rows = np.zeros((100_003, 1), np.float32)
    for weights in (None, np.full(100_003, 0.3, np.float32)):
        assert mean(tenth.measure(rows, Batch(rows, rows, weights))) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_probabilities_of_float32_logits_are_float64() -> None:
    """The softmax is taken in float64, whatever the network computes in."""
    outputs = np.zeros((3, 3), np.float32)
    state = log_loss().measure(outputs, Batch(outputs, np.zeros(3, np.int64)))
    assert mean(state) == pytest.approx(np.log(3), rel=1e-14)


def test_mean_of_nothing_is_nan() -> None:
    """There is no mean of nothing."""
    assert np.isnan(mean(Mean(0.0, 0.0)))


def test_merging_means_is_adding_trees() -> None:
    """The shortcut gives what the tree function gives."""
    left, right = Mean(0.1, 2.0), Mean(0.7, 3.0)
    assert merge_means(left, right) == tree_add(left, right)


def test_top_1_is_accuracy_with_ties() -> None:
    """The first of several largest outputs is the one that counts, in both."""
    outputs, batch = class_data(5, 200)
    assert top_k(1).measure(outputs, batch) == accuracy().measure(outputs, batch)


def test_top_k_of_a_diverged_network_is_no_hit() -> None:
    """Outputs that are no numbers do not count as right."""
    outputs = np.full((4, 3), np.nan)
    assert top_k(2).value(top_k(2).measure(outputs, Batch(outputs, np.arange(4) % 3))) == 0.0


def test_top_k_refuses_a_class_that_is_not_there() -> None:
    """A negative index would wrap around and count another class."""
    with pytest.raises(ValueError, match="from 0 to 2, found -1 to 1"):
        top_k(2).measure(np.zeros((2, 3)), Batch(np.zeros((2, 1)), np.array([-1, 1])))


def test_binary_accuracy_of_several_labels() -> None:
    """Each example counts with the fraction of its labels that are right."""
    outputs = np.array([[1.0, -1.0], [1.0, 1.0]])
    state = binary_accuracy().measure(outputs, Batch(outputs, np.array([[1, 0], [0, 1]])))
    assert state == Mean(1.5, 2.0)


def test_class_figures_by_hand() -> None:
    """Two classes: 3 right of 4, 1 right of 2; class 2 never occurs, and its figures are 0."""
    counts = confusion_matrix(np.array([0, 0, 0, 1, 1, 0]), np.array([0, 0, 0, 0, 1, 1]), 3)
    assert counts.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    figures = class_figures(counts)
    assert figures.precision.tolist() == [0.75, 0.5, 0.0]
    assert figures.recall.tolist() == [0.75, 0.5, 0.0]
    assert figures.support.tolist() == [4, 2, 0]
    assert averages(counts, "micro").f1 == pytest.approx(4 / 6)
    assert averages(counts, "weighted").recall == pytest.approx(4 / 6)
    assert averages(counts, "macro").f1 == pytest.approx(1.25 / 3)


def test_confusion_counts_small_integer_types_right() -> None:
    """Labels of 8 bits do not overflow in the count."""
    label = np.full(5, 200, np.uint8)
    assert confusion_matrix(label, label, 201)[200, 200] == 5


@pytest.mark.parametrize(
    ("predicted", "label", "message"),
    [
        (np.array([0]), np.array([0, 1]), "one length"),
        (np.array([0, 2]), np.array([0, 1]), "predicted has an index outside 0..1"),
        (np.array([0, 1]), np.array([0, -1]), "label has an index outside 0..1"),
    ],
)
def test_confusion_matrix_names_what_is_wrong(predicted: np.ndarray, label: np.ndarray, message: str) -> None:
    """What cannot be counted is refused."""
    with pytest.raises(ValueError, match=message):
        confusion_matrix(predicted, label, 2)


def test_perfect_confidence_is_calibrated() -> None:
    """Always sure and always right: no gap; always sure and always wrong: a gap of 1."""
    outputs, metric = 1e4 * np.eye(2), expected_calibration_error()
    right, wrong = (metric.value(metric.measure(outputs, Batch(outputs, np.array(t)))) for t in ([0, 1], [1, 0]))
    assert (right, wrong) == (0.0, 1.0)


@given(seed=st.integers(0, 1000), levels=st.integers(1, 6))
def test_area_counts_pairs(seed: int, levels: int) -> None:
    """The area is the fraction of pairs in the right order, ties half: counted pair by pair here."""
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, levels, 12).astype(np.float64), np.arange(12) < rng.integers(1, 12)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[positive] for b in scores[~positive]]
    assert area_under_roc(scores, positive) == pytest.approx(np.mean(wins), rel=1e-13)


def test_area_takes_zeros_and_ones() -> None:
    """Numbers 0 and 1 are truth values here, whatever their type."""
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    truth: BoolArray = np.array([0, 0, 1, 1])
    assert area_under_roc(scores, truth) == 0.75


def test_class_without_rows_has_no_area() -> None:
    """A class that does not occur is NaN by itself and left out of averages."""
    outputs, batch = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0]]), Batch(np.zeros((2, 1)), np.array([0, 1]))
    each = roc_auc(average="none")
    np.testing.assert_array_equal(each.value(each.measure(outputs, batch)), [1.0, 1.0, np.nan])
    for metric in (roc_auc(), roc_auc(average="weighted")):
        assert metric.value(metric.measure(outputs, batch)) == 1.0
    assert np.isnan(roc_auc().value(roc_auc().measure(outputs[:1], take(batch, np.arange(1)))))


def test_area_refuses_vectors_of_two_lengths() -> None:
    """Scores and truth go together."""
    with pytest.raises(ValueError, match=r"scores \(2,\), positive \(3,\)"):
        area_under_roc(np.zeros(2), np.zeros(3, np.bool_))


@pytest.mark.parametrize(
    "make",
    [
        lambda: top_k(0),
        lambda: confusion(0),
        lambda: expected_calibration_error(0),
        lambda: all_of(),
        lambda: all_of(accuracy(), accuracy()),
        lambda: f1(3, average="mean"),
        lambda: averages(np.zeros((2, 3), np.int64)),
        lambda: averages(np.eye(2, dtype=np.int64), "mean"),
        lambda: roc_auc(average="micro"),
    ],
)
def test_settings_out_of_range_are_refused(make: object) -> None:
    """A setting that means nothing is an error where it is given."""
    assert callable(make)
    with pytest.raises(ValueError, match=r"got|found"):
        make()


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from([1e-3, 1.0, 1e3]))
def test_no_temperature_nearby_is_better(seed: int, classes: int, scale: float) -> None:
    """The mean loss at the fitted temperature is below that at 1 % more and at 1 % less, and its slope is zero."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 60)
    logits = scale * (rng.normal(size=(60, classes)) + 1.5 * np.eye(classes)[labels])
    best = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        losses, _ = cross_entropy().forward(logits / temperature, labels)
        return float(losses.mean())

    assert loss(best) < min(loss(1.01 * best), loss(best / 1.01))
    assert abs(loss(1.0001 * best) - loss(best / 1.0001)) < 1e-10


@given(st.floats(0.05, 20))
def test_temperature_scales_with_the_logits(factor: float) -> None:
    """Logits that are c times as large have a temperature that is c times as large."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    logits = rng.normal(size=(50, 3)) + np.eye(3)[labels]
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor * fit_temperature(logits, labels))


def test_temperature_of_two_classes_worked_by_hand() -> None:
    """Three of four right at one margin m: the best probability is 3/4, so m / T = log 3."""
    logits = np.array([[5.0, 0.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(5 / np.log(3))


@pytest.mark.parametrize(
    ("logits", "labels", "limit"),
    [
        ([[2.0, 0.0], [0.0, 1.0]], [0, 1], 0),
        ([[2.0, 0.0], [0.0, 1.0]], [1, 0], np.inf),
        ([[0.0, 0.0], [0.0, 0.0]], [0, 1], np.inf),
        ([[0.0987089, -0.02226405, -0.07644485]] * 12, [0, 1, 2] * 4, np.inf),
    ],
)
def test_where_no_temperature_is_best_it_gives_the_limit(
    logits: list[list[float]], labels: list[int], limit: float
) -> None:
    """Rows that are all right want to be ever surer, and useless ones ever less sure."""
    assert fit_temperature(np.array(logits), np.array(labels)) == limit


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        ([[np.inf, 0.0]], [1], "finite logits"),
        ([[1.0, 0.0]], [2], "whole numbers from 0 to 1"),
        ([[1.0, 0.0]], [-1], "whole numbers from 0 to 1"),
        ([[1.0, 0.0]], [0, 1], "expected logits"),
        (np.zeros((0, 2)), [], "expected logits"),
        (np.zeros((1, 1)), [0], "expected logits"),
    ],
)
def test_temperature_refuses_what_does_not_fit(logits: object, labels: object, said: str) -> None:
    """Shapes, labels and logits are checked before anything is computed."""
    with pytest.raises(ValueError, match=said):
        fit_temperature(np.asarray(logits, np.float64), np.asarray(labels, np.int64))


NAN = np.array([[np.nan, np.nan, np.nan], [np.nan, 0.0, 1.0], [0.0, 1.0, np.nan], [5.0, 0.0, 0.0]])


@pytest.mark.parametrize("name", ON_CLASSES)
@pytest.mark.parametrize("one_hot", [False, True])
def test_nan_is_never_right(name: str, one_hot: bool) -> None:
    """A row with NaN is a miss, or makes the figure NaN; it never raises a score."""
    label = np.array([0, 0, 2, 0])  # where NumPy finds the maximum
    metric, inputs = ALL[name], np.zeros((4, 1))
    found = metric.value(metric.measure(NAN, Batch(inputs, np.eye(3)[label] if one_hot else label)))
    worst = metric.value(metric.measure(np.array(NAN[3:]), Batch(inputs[3:], np.array([0]))))
    figures = found if isinstance(found, dict) else {name: found}
    bests = worst if isinstance(worst, dict) else {name: worst}
    for key, figure in figures.items():
        if np.ndim(figure) == 2:
            assert (np.trace(figure), figure.sum()) == (1, 4)
        elif np.ndim(figure) == 0 and "error" not in key and not np.isnan(bests[key]):
            assert np.isnan(figure) or figure <= bests[key] / 2


def test_a_network_that_diverged_scores_nothing() -> None:
    """Outputs that are all NaN: accuracies are 0, everything else NaN or 0."""
    nothing = np.full((3, 3), np.nan)
    for metric in (accuracy(), top_k(1), top_k(2), top_k(3), f1(3), recall(3), precision(3, average="micro")):
        assert metric.value(metric.measure(nothing, Batch(nothing, np.arange(3)))) == 0.0
    assert np.isnan(roc_auc().value(roc_auc().measure(nothing, Batch(nothing, np.arange(3)))))
    assert mean(binary_accuracy().measure(nothing, Batch(nothing, np.zeros((3, 3))))) == 0.0
    assert np.isnan(area_under_roc(np.array([np.nan, 1.0, 0.0]), np.array([True, True, False])))
    one_out = np.array([0.0, 1.0, 1.0])
    assert area_under_roc(np.array([np.nan, 1.0, 0.0]), np.array([True, True, False]), weights=one_out) == 1.0


@pytest.mark.parametrize("name", ON_CLASSES)
@pytest.mark.parametrize("label", [-1, K, 255])
def test_labels_outside_are_refused_by_every_metric(name: str, label: int) -> None:
    """A class that is not there is an error, not a miss."""
    with pytest.raises(ValueError, match=f"class indices run from 0 to {K - 1}, found 0 to|found -1 to 0"):
        ALL[name].measure(np.zeros((2, K)), Batch(np.zeros((2, 1)), np.array([0, label])))
