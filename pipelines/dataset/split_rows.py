"""The rows of one split of a cache entry; each split has a reader of its own in `train_split` and `sealed_split`."""

from __future__ import annotations

from pipelines.artifacts import EncodedSplit, PreparedTrain, SealedTest
from pipelines.dataset.entry import prepared_schema
from pipelines.disk.parquet import read_columns


def read_rows(handle: PreparedTrain | SealedTest) -> EncodedSplit:
    """Read the rows of a split, checked against the hash of its file.

    Args:
        handle: From `pipelines.dataset.entry.open_prepared`.

    Returns:
        The rows.

    Raises:
        DataProblem: The file is not what it was when the entry was opened.
    """
    columns = read_columns(handle.path, handle.sha256, prepared_schema(handle.classes), rows=handle.rows)
    return EncodedSplit(columns["pixels"], columns["target"], columns["label"], columns["source_index"])
