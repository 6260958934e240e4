"""Stage `train`: prepared training split -> trained network. It cannot see the test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bpfunc import Batch, cross_entropy, evaluate, make_step
from bpfunc.gradient.modes import GradientMaker, value_and_grad
from bpfunc.metrics import mean
from bpfunc.training.loop import Epoch
from bpfunc.training.not_finite import finite_gradient, finite_step, fold_finite_steps
from bpfunc.training.step import StepFn, StepMetrics, TrainState
from pipelines.artifacts import EngineUsed, EpochRecord, Trained
from pipelines.dataset.streaming import Stream
from pipelines.spec.run_spec import RunSpec
from pipelines.training.build import Training, result_params
from pipelines.training.engine import compiled_training, engine_of, try_step
from pipelines.training.interrupts import Interrupted
from pipelines.training.progress import BestSoFar, Observer, Progress, never_stop, no_observer
from pipelines.training.replay import first_state, training_batches, training_on
from pipelines.training.threads import matrix_threads, threads_told


def fit(
    train_rows: Batch | Stream,
    validation_rows: Batch | None,
    spec: RunSpec,
    *,
    observe: Observer = no_observer,
    start: Progress | None = None,
    stop: Callable[[], bool] = never_stop,
    gradient: GradientMaker = value_and_grad,
) -> Trained:
    """Train on some rows and measure on others.

    Args:
        train_rows: Rows to learn from.
        validation_rows: Rows to judge by, or None.
        spec: Network and training.
        observe: What else happens after each epoch.
        start: Where an interrupted training stood.
        stop: Asked before each step whether to leave.
        gradient: How to get the gradient of a batch, such as one shared out among processes.

    Returns:
        The network of the last epoch or the best, as the spec says, and the history.

    Raises:
        ValueError: The best is asked for and there are no rows to judge by.
        NotFiniteError: A loss or gradient is not finite, and the spec says to stop then.
        Interrupted: ``stop`` said so.
    """
    last = start
    # What overflows is found by the check of the gradient; a warning would say it a second time, and less well.
    with np.errstate(over="ignore", invalid="ignore"):
        training = training_on(train_rows, spec)
        for progress in observe(_epochs(train_rows, validation_rows, training, start, stop, gradient)):
            last = progress
    if last is None:
        raise ValueError("a training needs at least one epoch")
    return Trained(
        model=spec.model,
        params=last.kept.params,
        layer_state=last.kept.layer_state,
        history=last.history,
        epoch=last.kept.epoch,
        train_seconds=sum(record.seconds for record in last.history),
        engine=last.engine,
    )


def _better(record: EpochRecord, other: EpochRecord) -> bool:
    if record.validation_loss is None or other.validation_loss is None:
        raise ValueError("keep = 'best' needs rows to judge by")
    return record.validation_loss < other.validation_loss or math.isnan(other.validation_loss)


def _epochs(
    train_rows: Batch | Stream,
    validation_rows: Batch | None,
    training: Training,
    start: Progress | None,
    stop: Callable[[], bool],
    gradient: GradientMaker,
) -> Iterator[Progress]:
    settings, model, loss, transform = training.spec.train, training.model, training.loss, training.transform
    state = first_state(training) if start is None else start.state
    skipped = 0

    def listen() -> None:
        if stop():
            raise Interrupted

    def attentive(step: StepFn, state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        listen()
        return step(state, batch)

    def counted(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        nonlocal skipped
        state, seen = careful(state, batch)
        skipped += seen.loss.weight == 0
        return state, seen

    checked = make_step(model, loss, transform, gradient=finite_gradient(gradient))
    careful = finite_step(partial(attentive, checked), on_nan=settings.on_nan)
    begun = settings.engine if start is None else start.engine.name  # what began a training goes on with it
    threads = threads_told() if start is None else start.engine.threads
    if engine_of(training, begun, gradient) == "compiled":
        plain, threads = compiled_training(training, threads=threads, listen=listen)
        try_step(plain, training)  # so that the seconds of the first epoch are those of its updates
        engine = EngineUsed("compiled", threads)
    else:
        plain = partial(attentive, make_step(model, loss, transform, gradient=gradient))
        engine = EngineUsed("numpy", matrix_threads())
    kept, history = (None, ()) if start is None else (start.kept, start.history)
    started = time.perf_counter()
    for number in range(len(history), settings.epochs):
        state, seen = fold_finite_steps(plain, counted, state, partial(training_batches, train_rows, training, number))
        epoch = Epoch(number + 1, state, seen)
        seconds = time.perf_counter() - started
        params = result_params(settings, epoch.state)
        figures = None
        if validation_rows is not None:
            found = evaluate(model, cross_entropy(), params, epoch.state.layer_state, validation_rows)
            figures = (mean(found.loss), mean(found.metric))
        record = _record(epoch, training.schedule(epoch.state.step - 1), figures, seconds, skipped)
        if kept is None or settings.keep == "last" or _better(record, history[kept.epoch - 1]):
            kept = BestSoFar(params, epoch.state.layer_state, epoch.number)
        history, skipped = (*history, record), 0
        yield Progress(epoch.state, kept, history, engine)
        started = time.perf_counter()


def _record(
    epoch: Epoch, rate: float, validation: tuple[float, float] | None, seconds: float, skipped: int
) -> EpochRecord:
    return EpochRecord(
        epoch=epoch.number,
        step=epoch.state.step,
        learning_rate=rate,
        train_loss=mean(epoch.metrics.loss),
        train_accuracy=mean(epoch.metrics.metric),
        validation_loss=None if validation is None else validation[0],
        validation_accuracy=None if validation is None else validation[1],
        seconds=seconds,
        skipped_steps=skipped,
    )
