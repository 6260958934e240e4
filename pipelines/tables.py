"""Parquet, written and read with checks: a file is believed only if hash, schema, size and page checksums agree."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.errors import DataProblem, first_line

ScalarT = TypeVar("ScalarT", bound=np.generic)

MEMORY_LIMIT = 8 << 30
"""Most bytes that a file may unfold to, so that a small one cannot fill the memory."""


def fixed_size_rows(matrix: NDArray[np.generic], item: pa.DataType) -> pa.FixedSizeListArray:
    """Turn a matrix into a column of rows.

    Args:
        matrix: (N, W), any layout.
        item: Arrow type of its numbers.

    Returns:
        N lists of W numbers.

    Example:
        >>> len(fixed_size_rows(np.zeros((2, 3), np.uint8), pa.uint8()))
        2
    """
    width = matrix.shape[1]
    values = pa.array(np.ascontiguousarray(matrix).reshape(-1), item)
    return pa.FixedSizeListArray.from_arrays(values, type=pa.list_(pa.field("item", item, nullable=False), width))


def matrix_of(column: pa.ChunkedArray, dtype: type[ScalarT]) -> NDArray[ScalarT]:
    """Turn a column of rows back into a matrix.

    Args:
        column: N lists of W numbers.
        dtype: Of the numbers.

    Returns:
        (N, W), row-major, of that dtype.

    Example:
        >>> column = pa.chunked_array([fixed_size_rows(np.eye(2, dtype=np.uint8), pa.uint8())])
        >>> matrix_of(column, np.uint8).tolist()
        [[1, 0], [0, 1]]
    """
    width = column.type.list_size
    chunks = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks]
    return np.asarray(chunks[0] if len(chunks) == 1 else np.concatenate(chunks), dtype)


def row_bytes(schema: pa.Schema) -> int:
    """Count the bytes that a row takes in memory.

    Args:
        schema: Columns of numbers, or of fixed-size lists of numbers.

    Returns:
        Bytes.

    Example:
        >>> row_bytes(pa.schema([("pixels", pa.list_(pa.float32(), 784)), ("label", pa.uint8())]))
        3137
    """
    return sum(
        kind.list_size * kind.value_type.bit_width // 8 if pa.types.is_fixed_size_list(kind) else kind.bit_width // 8
        for kind in schema.types
    )


def read_table(path: Path, sha256: str, schema: pa.Schema, *, rows: int) -> pa.Table:
    """Read a Parquet file that must hold exactly what is expected.

    Args:
        path: The file.
        sha256: Hash of its bytes.
        schema: Its columns; metadata may differ.
        rows: How many there are.

    Returns:
        The table.

    Raises:
        DataProblem: It cannot be read, or hash, columns, rows or a page's checksum differ.
    """
    remedy = "remove it and let it be made again"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy) from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataProblem(f"expected SHA-256 {sha256}, found {found}", where=str(path), remedy=remedy)
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        if not file.schema_arrow.equals(schema, check_metadata=False):
            raise DataProblem("the columns are not those expected", where=str(path), remedy=remedy)
        if file.metadata.num_rows != rows:
            raise DataProblem(f"expected {rows} rows, found {file.metadata.num_rows}", where=str(path), remedy=remedy)
        size = rows * row_bytes(schema)
        if size > MEMORY_LIMIT:
            raise DataProblem(
                f"it unfolds to {size} bytes, more than the limit of {MEMORY_LIMIT}",
                where=str(path),
                remedy="take fewer rows",
            )
        return file.read()
    except (pa.ArrowException, OSError) as error:
        raise DataProblem(f"damaged Parquet: {first_line(error)}", where=str(path), remedy=remedy) from None
