"""What scikit-learn's multi-layer perceptrons do in their own way, as parts for the library's training: needs no extra.

Each is a function of plain values, so that a custom training may take it too.

Reference: Pedregosa et al., "Scikit-learn: machine learning in Python" (2011); its modules ``neural_network``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np

from bpfunc import layers
from bpfunc.arrays.ranges import number, times_power
from bpfunc.arrays.types import FloatArray, FloatDType, Shape
from bpfunc.keys import Key, uniform
from bpfunc.layers import DenseParams, Layer
from bpfunc.layers.combinators import SerialParams, serial
from bpfunc.training.consumers import EpochLike
from bpfunc.training.step import TrainState
from bpfunc.transforms import GradientTransform, chain, momentum, scale_by_learning_rate
from bpfunc.transforms.schedules import Schedule, constant

ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "identity": layers.identity,
    "logistic": layers.sigmoid,
    "tanh": layers.tanh,
    "relu": layers.relu,
    "leaky_relu": layers.leaky_relu,
    "elu": layers.elu,
    "selu": layers.selu,
    "gelu": layers.gelu,
    "silu": layers.silu,
}
"""What an activation may be called; the first four are scikit-learn's."""
SMALLEST_RATE = 1e-6
"""An adaptive learning rate at or below this falls no further."""

EpochT = TypeVar("EpochT", bound=EpochLike)
Stage: TypeAlias = Callable[[Schedule, TrainState, int], Iterator[EpochT]]
"""``(rate, state, epochs done) -> records``: a training that goes on from there with this learning rate."""


def network(sizes: Sequence[int], activation: str | Layer, *, dropout: float = 0.0, dtype: FloatDType) -> Layer:
    """Make the network: dense layers with activation and dropout between them.

    Weights and biases are drawn uniformly within ``sqrt(6 / (fan_in + fan_out))``, for logistic ``sqrt(2 / ...)``, in
    float64: a float32 network starts as the same one, rounded.

    Args:
        sizes: Units of each layer, inputs first; at least two.
        activation: A key of `ACTIVATIONS`, or a layer that keeps shapes.
        dropout: Probability that a hidden unit is dropped in training, in [0, 1).
        dtype: Data type of the parameters.

    Returns:
        A layer from (B, D) to (B, K).

    Raises:
        KeyError: There is no activation of that name.
        ValueError: A size is below 1, or the probability outside [0, 1).

    Example:
        >>> from bpfunc.keys import Key
        >>> params, _, out_shape = network((2, 5, 3), "relu", dtype=np.float64).init(Key(0), (2,))
        >>> out_shape, params.layers[0].bias.dtype
        ((3,), dtype('float64'))

    Reference: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    """
    dropout = number("network", "dropout", dropout, "[0, 1)")
    between = ACTIVATIONS[activation]() if isinstance(activation, str) else activation
    factor = 2.0 if activation == "logistic" else 6.0
    parts: list[Layer] = []
    for fan_in, width in pairwise(sizes):
        if parts:
            parts += [between, layers.dropout(dropout)] if dropout else [between]
        bound = math.sqrt(factor / (fan_in + width))
        start = partial(_drawn, bound, dtype)
        parts.append(layers.dense(width, weight_init=start, bias_init=start))
    return serial(*parts)


def _drawn(bound: float, dtype: FloatDType, key: Key, shape: Shape) -> FloatArray:
    """Drawn in float64 and rounded, so that one seed starts one network, whatever the dtype."""
    return uniform(key, shape, low=-bound, high=bound, dtype=np.float64).astype(dtype, copy=False)


def dense_params(params: SerialParams) -> list[DenseParams]:
    """Pick the parameters of the dense layers out of those of a network.

    Args:
        params: Parameters of a `network`.

    Returns:
        One entry for each dense layer, in order.

    Example:
        >>> from bpfunc.keys import Key
        >>> params, _, _ = network((2, 5, 3), "relu", dtype=np.float32).init(Key(0), (2,))
        >>> [layer.weight.shape for layer in dense_params(params)]
        [(2, 5), (5, 3)]
    """
    return [layer for layer in params.layers if isinstance(layer, DenseParams)]


def folded_momentum(rate: float | Schedule, decay: float, *, nesterov: bool = False) -> GradientTransform:
    """Make scikit-learn's sgd: the learning rate, then momentum, so that old gradients keep the rates of their time.

    While the rate does not change, this is `bpfunc.optimizers.sgd`.

    Args:
        rate: A number above 0, or a schedule.
        decay: Decay of the momentum, in [0, 1).
        nesterov: Whether the momentum looks one step ahead.

    Returns:
        A transform.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> transform = folded_momentum(lambda step: 0.1 ** step, 0.5)
        >>> first, state = transform.update(1.0, transform.init(0.0), 0.0, 0)
        >>> first, round(transform.update(1.0, state, 0.0, 1)[0], 6)
        (-1.0, -0.6)

    Reference: Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum" (2013).
    """
    if not callable(rate):
        rate = number("folded_momentum", "rate", rate, "(0, inf)", words="above 0, or a schedule")
    return chain(scale_by_learning_rate(rate), momentum(decay, nesterov=nesterov))


def inverse_scaling(
    first: float, power: float, *, rows: int, per_epoch: int, seen: int = 0, start: int = 0
) -> Schedule:
    """Make scikit-learn's ``invscaling``: ``first / (t + 1)^power`` with ``t`` the rows seen before this epoch.

    Args:
        first: Rate of the first epoch.
        power: At least 0.
        rows: Rows in an epoch.
        per_epoch: Steps in an epoch.
        seen: Rows seen before step ``start``.
        start: Step at which this training starts.

    Returns:
        A schedule.

    Raises:
        ValueError: The power is negative.

    Example:
        >>> rate = inverse_scaling(1.0, 0.5, rows=99, per_epoch=10)
        >>> [round(rate(step), 4) for step in (0, 9, 10)]
        [1.0, 1.0, 0.1]
    """
    power = number("inverse_scaling", "power", power, "[0, inf)")

    def value(step: int) -> float:
        done = seen + (step - start) // per_epoch * rows
        return times_power(first, done + 1, -power)

    return value


def falling(first: float) -> Iterator[Schedule]:
    """Yield the rates of scikit-learn's ``adaptive``: each a fifth of the one before, down to `SMALLEST_RATE`.

    Args:
        first: Where to start, above 0.

    Yields:
        Schedules that do not change.

    Raises:
        ValueError: The first rate is not above 0.

    Example:
        >>> [round(rate(0), 7) for rate in falling(2e-5)]
        [2e-05, 4e-06, 8e-07]
    """
    rate = number("falling", "first", first, "(0, inf)")
    yield constant(rate)
    while rate > SMALLEST_RATE:
        rate /= 5
        yield constant(rate)


def until_converged(
    stage: Stage[EpochT],
    rates: Iterable[Schedule],
    state: TrainState,
    score: Callable[[EpochT], float],
    *,
    done: int = 0,
    patience: float,
    tol: float,
) -> Iterator[EpochT]:
    """Train at one learning rate after another, each until more than ``patience`` records in a row were no better.

    This is scikit-learn's rule, which differs from `bpfunc.training.consumers.early_stopping` in two ways: it allows
    one more record, and many small steps that are each within ``tol`` count for nothing.

    Args:
        stage: Goes on from a state with a learning rate.
        rates: Learning rates, one after the other.
        state: Where to start.
        score: What should become small.
        done: Epochs that the state has behind it.
        patience: Records that may be no better than all before them; may be infinite.
        tol: By how much smaller a score must be to be better, at least 0. One that is NaN never is.

    Yields:
        The records of all stages.

    Raises:
        ValueError: The tolerance is negative.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.training.loop import Epoch
        >>> from bpfunc.metrics import Mean
        >>> from bpfunc.training.step import StepMetrics
        >>> start = TrainState((), (), (), 0, Key(0))
        >>> def level(rate, state, done):
        ...     for number in range(done, 9):
        ...         yield Epoch(number + 1, state, StepMetrics(Mean(1.0, 1.0), Mean(0.0, 1.0)))
        >>> def loss(record):
        ...     return record.metrics.loss.total
        >>> [record.number for record in until_converged(level, [constant(1.0)], start, loss, patience=2, tol=0.1)]
        [1, 2, 3, 4]
    """
    tol = number("until_settled", "tol", tol, "[0, inf)")
    best = math.inf
    for rate in rates:
        waited = 0
        for record in stage(rate, state, done):
            yield record
            found, state, done = score(record), record.state, record.number
            waited = 0 if found <= best - tol else waited + 1
            best = min(best, found) if found == found else best
            if waited > patience:
                break
        else:
            return
