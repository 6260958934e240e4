"""The reader of the training split: `pipelines.training` calls it."""

from __future__ import annotations

from pipelines.artifacts import EncodedSplit, PreparedTrain
from pipelines.dataset.split_rows import read_rows


def read_train(handle: PreparedTrain) -> EncodedSplit:
    """Read the training split.

    Args:
        handle: From `pipelines.dataset.entry.open_prepared`.

    Returns:
        The rows.

    Raises:
        DataProblem: The file is not what it was when the entry was opened.
    """
    return read_rows(handle)
