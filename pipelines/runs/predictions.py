"""The predictions table of a run: what it said of every test row, so that each mistake can be traced to its image."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpfunc.arrays.types import readonly_arrays
from pipelines.artifacts import Evaluation, predicted_classes
from pipelines.disk.atomic import write_bytes
from pipelines.disk.parquet import fixed_size_rows, matrix_of, numbers_of, read_sealed_table, row_bytes, sealed_table
from pipelines.errors import DataProblem

NAME = "predictions.parquet"


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Predictions:
    """A row for each test image."""

    source_index: NDArray[np.uint32]
    """(N,) row in the original test file."""
    label: NDArray[np.uint8]
    """(N,) true class index."""
    probabilities: NDArray[np.float32]
    """(N, K), rows sum to 1."""
    class_names: tuple[str, ...]
    """K names."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the most probable class is the true one; never where a probability is NaN."""
        return np.asarray(predicted_classes(self.probabilities, self.label) == self.label)


def predictions_schema(classes: int) -> pa.Schema:
    """Name the columns.

    Args:
        classes: K.

    Returns:
        ``source_index`` uint32, ``label`` uint8, ``probabilities`` float32[K]; no nulls.

    Example:
        >>> predictions_schema(3).names
        ['source_index', 'label', 'probabilities']
    """
    number = pa.field("item", pa.float32(), nullable=False)
    return pa.schema(
        [
            pa.field("source_index", pa.uint32(), nullable=False),
            pa.field("label", pa.uint8(), nullable=False),
            pa.field("probabilities", pa.list_(number, classes), nullable=False),
        ]
    )


def write_predictions(run: Path, evaluation: Evaluation) -> None:
    """Write ``predictions.parquet``.

    Args:
        run: The run directory.
        evaluation: What the network says of the test rows.

    Raises:
        WorkFailed: The file cannot be written.
    """
    columns = [
        pa.array(evaluation.source_index, pa.uint32()),
        pa.array(evaluation.label, pa.uint8()),
        fixed_size_rows(evaluation.probabilities, pa.float32()),
    ]
    schema = predictions_schema(len(evaluation.class_names))
    metadata = {"class_names": "\n".join(evaluation.class_names)}
    write_bytes(run / NAME, sealed_table(pa.table(columns, schema=schema.with_metadata(metadata))))


def read_predictions(run: Path) -> Predictions:
    """Read the predictions table of a run.

    Args:
        run: The run directory.

    Returns:
        Its rows.

    Raises:
        DataProblem: There is none, or it is damaged.
    """
    path, remedy = run / NAME, "run `bpfunc evaluate` on it again"
    table = read_sealed_table(path, remedy=remedy, widest=row_bytes(predictions_schema(10)))
    kind = table.schema.field("probabilities").type if "probabilities" in table.schema.names else pa.null()
    classes = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
    if not 2 <= classes <= 10 or not table.schema.equals(predictions_schema(classes)):
        raise DataProblem("the columns are not those of predictions", where=str(path), remedy=remedy)
    names = (table.schema.metadata or {}).get(b"class_names", b"").decode(errors="replace").split("\n")
    if len(names) != classes:
        raise DataProblem(f"it names {len(names)} classes, not {classes}", where=str(path), remedy=remedy)
    return Predictions(
        numbers_of(table["source_index"].combine_chunks()),
        numbers_of(table["label"].combine_chunks()),
        matrix_of(table["probabilities"], np.float32),
        tuple(names),
    )
