"""The reader of the sealed test split: only `pipelines.stages.evaluate` may import it, by a contract.

The contract stands in ``pyproject.toml`` and is checked by ``lint-imports``.
"""

from __future__ import annotations

from pipelines.artifacts import EncodedSplit, SealedTest
from pipelines.dataset.split_rows import read_rows


def read_test(handle: SealedTest) -> EncodedSplit:
    """Read the sealed test split.

    Args:
        handle: From `pipelines.dataset.entry.open_prepared`.

    Returns:
        The rows.

    Raises:
        DataProblem: The file is not what it was when the entry was opened.
    """
    return read_rows(handle)
