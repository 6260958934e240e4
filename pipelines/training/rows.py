"""The rows that a training learns from, and those held out to choose by."""

from __future__ import annotations

from bpfunc import Batch
from bpfunc.batches.splits import train_validation_split
from pipelines.artifacts import PreparedTrain
from pipelines.dataset.streaming import Stream, open_stream, stream_validation
from pipelines.dataset.train_split import read_train
from pipelines.errors import UsageProblem
from pipelines.spec.run_spec import RunSpec, TrainSpec
from pipelines.training.replay import training_keys


def training_rows(
    prepared: PreparedTrain, spec: RunSpec, *, carried: bool = True
) -> tuple[Batch | Stream, Batch | None]:
    """Read the training split, or open the partitions to stream it from, and set the validation rows apart.

    Args:
        prepared: The training split in the cache.
        spec: Says from where, and what to hold out.
        carried: See `pipelines.dataset.streaming.open_stream`; false for a streamed run of an earlier version.

    Returns:
        Rows to learn from, and rows to choose by (None where none are held out).

    Raises:
        DataProblem: The rows are not what they were.
    """
    place, settings = spec.dataset.partitions, spec.train
    if not place:
        return training_split(read_training_rows(prepared), settings)
    fraction, key = settings.validation_fraction, training_keys(settings.seed)[2]
    stream = open_stream(prepared, place, held_out=fraction, key=key, carried=carried)
    return stream, stream_validation(stream)


def read_training_rows(prepared: PreparedTrain) -> Batch:
    """Read the training split.

    Args:
        prepared: Its handle.

    Returns:
        Inputs (N, 784) and one-hot targets (N, K).

    Raises:
        DataProblem: The cache entry is not what it was.
    """
    table = read_train(prepared)
    return Batch(table.pixels, table.target)


def training_split(data: Batch, spec: TrainSpec) -> tuple[Batch, Batch | None]:
    """Cut the validation rows off the training split.

    Args:
        data: All rows of the training split.
        spec: Fraction and seed.

    Returns:
        Rows to learn from, and rows to choose by (None where the fraction is 0).

    Raises:
        UsageProblem: The fraction sets no row aside, or leaves a class without a row to learn from.

    Example:
        >>> import numpy as np
        >>> data = Batch(np.zeros((10, 1)), np.zeros((10, 2)))
        >>> train_rows, validation_rows = training_split(data, TrainSpec(validation_fraction=0.2))
        >>> len(train_rows.inputs), len(validation_rows.inputs)
        (8, 2)
    """
    if spec.validation_fraction == 0:
        return data, None
    try:
        return train_validation_split(data, training_keys(spec.seed)[2], spec.validation_fraction)
    except ValueError as error:
        raise UsageProblem(
            f"the validation rows cannot be held out: {error}",
            where="train.validation_fraction",
            remedy="choose another fraction, or 0 and train.keep = 'last' to learn from all rows",
        ) from None
