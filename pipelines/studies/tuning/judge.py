"""The judge of settings: trains with them, and measures the network on rows that it did not learn from.

Search and sweep train nowhere else, so a training that diverges is treated alike: it has no figures, only a problem.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs

from bpfunc import Batch
from bpfunc.training.not_finite import NotFiniteError
from pipelines.artifacts import Prepared
from pipelines.dataset.data_hashes import TRAIN_ROLES, DataHashes, data_hashes, differences
from pipelines.dataset.places import Places
from pipelines.dataset.streaming import Stream
from pipelines.errors import DataProblem
from pipelines.spec.run_spec import DatasetSpec, RunSpec
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.training.progress import Observer, Progress, never_stop, no_observer

TrainData: TypeAlias = tuple[Prepared, DataHashes]
"""Prepared data, and the hashes of its training split and of the partitions behind that."""


@attrs.frozen
class Judged:
    """The result of one training."""

    accuracy: float | None
    """On the rows held out, a fraction; None where the training diverged."""
    loss: float | None
    """On the rows held out, in nats; None where the training diverged."""
    train_seconds: float
    problem: str | None = None
    """How the training diverged; None where it did not."""


class _Diverged(Exception):
    """A validation loss is not finite."""


def judge(
    rows: tuple[Batch | Stream, Batch | None],
    spec: RunSpec,
    *,
    observe: Observer = no_observer,
    stop: Callable[[], bool] = never_stop,
) -> Judged:
    """Train, and measure the network that the recipe keeps; a training that diverges is a result too.

    A training diverges where a loss or a gradient is not finite, or the validation loss after any epoch is not.

    Args:
        rows: Rows to learn from, and rows to judge by.
        spec: Network and training.
        observe: What else happens after each epoch; it sees finite losses alone.
        stop: Asked before each step whether to leave.

    Returns:
        The figures, or the problem.

    Raises:
        DataProblem: There are no rows to judge by.
        Interrupted: ``stop`` said so.
    """
    train_rows, validation_rows = rows
    if validation_rows is None:
        raise DataProblem(
            "settings are judged by validation rows, and none are held out",
            where="train.validation_fraction",
            remedy="hold some out",
        )

    def finite(epochs: Iterator[Progress]) -> Iterator[Progress]:
        for progress in epochs:
            if not math.isfinite(progress.record.validation_loss or 0.0):
                raise _Diverged(f"the validation loss is not finite after epoch {progress.record.epoch}")
            yield progress

    started = time.perf_counter()
    try:
        trained = fit(train_rows, validation_rows, spec, observe=lambda epochs: observe(finite(epochs)), stop=stop)
    except (NotFiniteError, _Diverged) as problem:
        return Judged(None, None, time.perf_counter() - started, str(problem))
    kept = trained.history[trained.epoch - 1]
    return Judged(kept.validation_accuracy, kept.validation_loss, trained.train_seconds)


def train_data(
    dataset: DatasetSpec, places: Places, *, read: bool = False, expected: tuple[str, DataHashes] | None = None
) -> TrainData:
    """Prepare data, or find it in the cache; the test split is not read.

    Args:
        dataset: The data of a training.
        places: Where data and cache lie, seen from here.
        read: Whether each part of partitions is read and hashed, and not only looked up in the manifest.
        expected: At a worker, which may be on another machine: the work, and the hashes of its data.

    Returns:
        The data, and the hashes of all that trainings learn from and are judged on.

    Raises:
        DataProblem: The data here are not those expected, or damaged, or there are none.
    """
    prepared, _ = prepare(dataset, source=places.source, cache=places.cache, raw=places.raw)
    hashes = data_hashes(prepared, dataset, read=read)
    hashes = attrs.evolve(hashes, sources={role: hashes.sources[role] for role in TRAIN_ROLES})
    if expected is not None and (other := differences(expected[1], hashes)):
        raise DataProblem(
            f"this worker has other rows than the {expected[0]}: {other}",
            where=str(prepared.path),
            remedy="give every machine the same source",
        )
    return prepared, hashes
