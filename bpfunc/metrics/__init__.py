"""Metrics that merge: each batch gives a small state, states combine, and a state gives the figure.

A `Metric` is a triple of pure functions. Merging the states of the parts of a data set gives the state of the whole,
however it was cut. All take a model's raw outputs; those that speak of probabilities apply the softmax themselves.
"""

from bpfunc.batches.batch import class_indices
from bpfunc.metrics.accuracy import accuracy, binary_accuracy, top_k
from bpfunc.metrics.base import Mean, Measure, Metric, all_of, mean, mean_metric, merge_means
from bpfunc.metrics.calibration import CalibrationState, expected_calibration_error, fit_temperature
from bpfunc.metrics.confusion import (
    Averages,
    Averaging,
    ClassFigures,
    ConfusionState,
    averages,
    class_figures,
    confusion,
    confusion_matrix,
    f1,
    precision,
    recall,
)
from bpfunc.metrics.probability import brier, log_loss
from bpfunc.metrics.ranking import RankingState, area_under_roc, roc_auc
from bpfunc.metrics.regression import mean_absolute_error, mean_squared_error

__all__ = [
    # what a metric is
    "Metric",
    "Measure",
    "Mean",
    "mean",
    "mean_metric",
    "merge_means",
    "all_of",
    "class_indices",
    # right or wrong
    "accuracy",
    "binary_accuracy",
    "top_k",
    # which class for which
    "confusion",
    "confusion_matrix",
    "ConfusionState",
    "ClassFigures",
    "class_figures",
    "Averages",
    "Averaging",
    "averages",
    "precision",
    "recall",
    "f1",
    # how probable
    "log_loss",
    "brier",
    "expected_calibration_error",
    "CalibrationState",
    "fit_temperature",
    "roc_auc",
    "area_under_roc",
    "RankingState",
    # how far off
    "mean_absolute_error",
    "mean_squared_error",
]
