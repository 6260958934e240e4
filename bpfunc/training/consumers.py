"""What to do with the records of a training: ordinary functions from iterators to iterators, which nest.

They are lazy: a training runs while its consumer asks for records, and stops when it does not. What one of them adds
is in the type of its records. A custom rule is a generator function with the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, Protocol, TypeAlias, TypeVar

import attrs
import numpy as np

from bpfunc.arrays.calls import one_line
from bpfunc.arrays.ranges import number, whole
from bpfunc.batches.batch import Batch
from bpfunc.layers import Layer
from bpfunc.losses import Loss
from bpfunc.metrics import Metric, accuracy, mean
from bpfunc.training.loop import Epoch, evaluate
from bpfunc.training.step import StepMetrics, TrainState
from bpfunc.tree import Tree

Mode: TypeAlias = Literal["min", "max"]
"""Whether small or large scores are better."""


class EpochLike(Protocol):
    """What `bpfunc.training.loop.Epoch` and every record made from it have; a custom record may have more."""

    @property
    def number(self) -> int:
        """Epochs finished, from 1."""
        ...

    @property
    def state(self) -> TrainState:
        """The state after this epoch."""
        ...

    @property
    def metrics(self) -> StepMetrics:
        """Of the epoch's steps, merged."""
        ...


RecordT = TypeVar("RecordT")
EpochT = TypeVar("EpochT", bound=EpochLike)


@attrs.frozen(eq=False)
class ValidatedEpoch:
    """An epoch, and how its state does on rows that it did not learn from.

    Args:
        number: Epochs finished, from 1.
        state: The state after this epoch.
        metrics: Metrics of the epoch's steps, merged.
        validation: Of the validation rows.
    """

    number: int
    state: TrainState
    metrics: StepMetrics
    validation: StepMetrics

    __repr__ = one_line


def validated(
    epochs: Iterable[Epoch],
    model: Layer,
    loss: Loss,
    data: Batch,
    *,
    metric: Metric | None = None,
    batch_size: int = 1024,
    params: Callable[[TrainState], Tree] | None = None,
) -> Iterator[ValidatedEpoch]:
    """Measure each epoch's state on validation rows.

    Args:
        epochs: Records of a training.
        model: Any layer.
        loss: The loss to report.
        data: The validation rows.
        metric: What else to measure; where None what goes with the loss.
        batch_size: Rows at a time.
        params: Which parameters to measure, such as an average that the optimiser's state keeps; those of the state
            where None.

    Yields:
        A record for each record.

    Raises:
        ValueError: There is no validation row.
        ShapeError: The rows do not fit the model.

    Example:
        >>> from bpfunc import Key, cross_entropy, dense, epoch_batches, init_train_state, make_step, sgd, train
        >>> model, transform = dense(2), sgd(0.5)
        >>> step = make_step(model, cross_entropy(), transform)
        >>> state = init_train_state(model, transform, Key(0), (2,))
        >>> data = Batch(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> epochs = train(step, state, lambda epoch: epoch_batches(data, Key(1), epoch, 2), epochs=9)
        >>> [mean(epoch.validation.metric) for epoch in validated(tuple(epochs), model, cross_entropy(), data)][-1]
        1.0
    """
    for epoch in epochs:
        state = epoch.state
        measured = state.params if params is None else params(state)
        found = evaluate(model, loss, measured, state.layer_state, data, metric=metric, batch_size=batch_size)
        yield ValidatedEpoch(epoch.number, state, epoch.metrics, found)


def validation_loss(record: ValidatedEpoch) -> float:
    """Mean validation loss in nats: a score for `early_stopping` and `best`.

    Args:
        record: From `validated`.

    Returns:
        The loss.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.metrics import Mean
        >>> figures = StepMetrics(Mean(3.0, 4.0), Mean(1.0, 4.0))
        >>> validation_loss(ValidatedEpoch(1, TrainState((), (), (), 0, Key(0)), figures, figures))
        0.75
    """
    return mean(record.validation.loss)


def early_stopping(
    records: Iterable[RecordT],
    score: Callable[[RecordT], float],
    *,
    patience: int,
    min_delta: float = 0.0,
    mode: Mode = "min",
) -> Iterator[RecordT]:
    """Go on until ``patience`` records in a row were no better than the best before them.

    Args:
        records: Records of a training, or any others.
        score: What should become small or large, such as `validation_loss`.
        patience: At least 1.
        min_delta: By how much a record must be better than the best to count, at least 0.
        mode: Whether small or large scores are better. A score that is NaN is never better.

    Returns:
        An iterator of the records up to the one that exhausts the patience, this one included.

    Raises:
        ValueError: Patience or delta is out of range, or the mode is unknown.

    Example:
        >>> list(early_stopping([5.0, 3.0, 4.0, 3.5, 1.0], lambda loss: loss, patience=2))
        [5.0, 3.0, 4.0, 3.5]

    Reference: Prechelt, "Early stopping - but when?" (1998).
    """
    patience = whole("early_stopping", "patience", patience, "[1, inf)")
    min_delta = number("early_stopping", "min_delta", min_delta, "[0, inf)")
    sign = _sign(mode)

    def until_exhausted() -> Iterator[RecordT]:
        lowest, waited = math.inf, 0
        for record in records:
            yield record
            found = sign * score(record)
            lowest, waited = (found, 0) if found < lowest - min_delta else (lowest, waited + 1)
            if waited >= patience:
                return

    return until_exhausted()


def best(records: Iterable[RecordT], score: Callable[[RecordT], float], *, mode: Mode = "min") -> RecordT:
    """Run through all records and return the one with the best score; its state is the one to keep.

    Args:
        records: Records of a training, or any others. Only the best so far is held.
        score: What should become small or large, such as `validation_loss`.
        mode: Whether small or large scores are better. A score that is NaN is never better.

    Returns:
        The first record with the best score.

    Raises:
        ValueError: No record has a score that is a number, or the mode is unknown.

    Example:
        >>> best([5.0, 3.0, 4.0], lambda loss: loss)
        3.0
    """
    sign = _sign(mode)
    kept: tuple[float, RecordT] | None = None
    for record in records:
        found = sign * score(record)
        if not math.isnan(found) and (kept is None or found < kept[0]):
            kept = found, record
    if kept is None:
        raise ValueError("no record has a score that is a number, so none is the best")
    return kept[1]


def _sign(mode: Mode) -> int:
    if mode not in ("min", "max"):
        raise ValueError(f"the mode is min or max, got {mode!r}")
    return 1 if mode == "min" else -1


def every(records: Iterable[EpochT], count: int, action: Callable[[EpochT], None]) -> Iterator[EpochT]:
    """Do something at every ``count``-th epoch: a checkpoint, a picture, a message.

    Args:
        records: Records of a training.
        count: At least 1. Epochs are counted by their numbers, so a resumed training keeps the rhythm.
        action: Takes the record; what it does is the caller's.

    Returns:
        An iterator of the same records, each passed on after the action.

    Raises:
        ValueError: The count is below 1.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.metrics import Mean
        >>> none = StepMetrics(Mean(0.0, 1.0), Mean(0.0, 1.0))
        >>> epochs = [Epoch(number, TrainState((), (), (), 0, Key(0)), none) for number in (1, 2, 3, 4)]
        >>> len(list(every(epochs, 2, lambda epoch: print("epoch", epoch.number))))
        epoch 2
        epoch 4
        4
    """
    count = whole("every", "count", count, "[1, inf)")

    def acted() -> Iterator[EpochT]:
        for record in records:
            if record.number % count == 0:
                action(record)
            yield record

    return acted()


def logged(
    records: Iterable[EpochT], write: Callable[[str], None], *, metric: Metric | None = None
) -> Iterator[EpochT]:
    """Write a line for each epoch; see `describe`. For other lines, use `every`.

    Args:
        records: Records of a training.
        write: Takes the line, such as ``print``.
        metric: The metric that was measured, where the records do not carry it; accuracy where None.

    Returns:
        An iterator of the same records.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.metrics import Mean
        >>> epoch = Epoch(1, TrainState((), (), (), 0, Key(0)), StepMetrics(Mean(1.0, 4.0), Mean(3.0, 4.0)))
        >>> len(list(logged([epoch], print)))
        epoch 1: loss 0.2500, accuracy 0.7500
        1
    """
    return every(records, 1, lambda record: write(describe(record, metric=metric)))


def describe(record: EpochLike, *, metric: Metric | None = None) -> str:
    """Return one line about an epoch.

    Args:
        record: Record of a training, validated or not.
        metric: The metric that was measured, where the record does not carry it; accuracy where None. Of a figure with
            several parts, those that are single numbers are told.

    Returns:
        Such as ``epoch 3: loss 0.1234, accuracy 0.9712; validation loss 0.1301, accuracy 0.9650``.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.metrics import Mean
        >>> figures = StepMetrics(Mean(1.0, 4.0), Mean(3.0, 4.0))
        >>> describe(ValidatedEpoch(2, TrainState((), (), (), 0, Key(0)), figures, figures))
        'epoch 2: loss 0.2500, accuracy 0.7500; validation loss 0.2500, accuracy 0.7500'
    """
    measured = accuracy() if metric is None else metric
    line = f"epoch {record.number}: {_told(record.metrics, measured)}"
    return f"{line}; validation {_told(record.validation, measured)}" if isinstance(record, ValidatedEpoch) else line


def _told(metrics: StepMetrics, metric: Metric) -> str:
    known = metrics.measured_by or metric
    figure = known.value(metrics.metric)
    figures = figure if isinstance(figure, Mapping) else {known.name: figure}
    numbers = {"loss": mean(metrics.loss)} | {name: found for name, found in figures.items() if np.ndim(found) == 0}
    return ", ".join(f"{name} {found:.4f}" for name, found in numbers.items())
