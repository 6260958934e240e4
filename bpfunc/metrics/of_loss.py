"""Which metric goes with a loss: what a training measures unless it is given another one."""

from __future__ import annotations

from bpfunc.losses import Loss
from bpfunc.metrics.accuracy import accuracy, binary_accuracy
from bpfunc.metrics.base import Metric
from bpfunc.metrics.regression import mean_absolute_error, mean_squared_error

_METRICS = {
    metric.name: metric for metric in (accuracy(), binary_accuracy(), mean_absolute_error(), mean_squared_error())
}


def metric_for(loss: Loss) -> Metric:
    """Find the metric that a loss names as going with it.

    Args:
        loss: Any loss; its `metric` is ``accuracy``, ``binary accuracy``, ``mean absolute error`` or
            ``mean squared error``.

    Returns:
        The metric.

    Raises:
        ValueError: The loss names another one.

    Example:
        >>> from bpfunc.losses import cross_entropy, squared_error
        >>> metric_for(cross_entropy()).name, metric_for(squared_error()).name
        ('accuracy', 'mean squared error')
    """
    if loss.metric not in _METRICS:
        raise ValueError(
            f"{loss.name} names {loss.metric!r} as its metric, which is none of {', '.join(_METRICS)}; pass metric=..."
        )
    return _METRICS[loss.metric]
