"""How far off numbers are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from bpfunc.arrays.calls import recorded
from bpfunc.arrays.types import FloatArray
from bpfunc.losses.base import Targets, paired
from bpfunc.metrics.base import Metric, mean_metric_of_targets, row_means


@recorded
def mean_absolute_error() -> Metric:
    """Mean of ``|y - t|``, in the unit of the targets; an example with several outputs counts with their mean.

    Returns:
        A metric on outputs and targets of one shape, or (B, 1) and (B,), whose state is a `Mean`. Its measure raises
        ShapeError where the shapes do not fit.

    Example:
        >>> from bpfunc.batches.batch import Batch
        >>> mean_absolute_error().measure(np.array([1.0, 5.0]), Batch(np.zeros((2, 1)), np.array([2.0, 2.0])))
        Mean(total=4.0, weight=2.0)
    """
    return _error_metric("mean absolute error", np.abs)


@recorded
def mean_squared_error() -> Metric:
    """Mean of ``(y - t)^2``, in the squared unit of the targets; several outputs count with their mean.

    Returns:
        A metric on outputs and targets of one shape, or (B, 1) and (B,), whose state is a `Mean`. Its measure raises
        ShapeError where the shapes do not fit.

    Example:
        >>> from bpfunc.batches.batch import Batch
        >>> mean_squared_error().measure(np.array([1.0, 5.0]), Batch(np.zeros((2, 1)), np.array([2.0, 2.0])))
        Mean(total=10.0, weight=2.0)
    """
    return _error_metric("mean squared error", np.square)


def _error_metric(name: str, size: Callable[[FloatArray], FloatArray]) -> Metric:
    return mean_metric_of_targets(name, partial(_errors, name, size))


def _errors(name: str, size: Callable[[FloatArray], FloatArray], outputs: FloatArray, targets: Targets) -> FloatArray:
    wide = outputs.astype(np.float64)
    return row_means(size(wide - paired(name, wide, targets)))
