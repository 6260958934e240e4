"""Parquet, written and read with checks: a file is believed only if hash, schema, size and page checksums agree."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.disk.seal import SEAL, _canonical
from pipelines.disk.untrusted.files import check_unfolding, read_file
from pipelines.errors import DataProblem, first_line

TABLE_LIMIT = 512 << 20
"""Most bytes that a sealed table may take, in the file and in memory."""


ScalarT = TypeVar("ScalarT", bound=np.generic)


MEMORY_LIMIT = 8 << 30
"""Most bytes that a file may unfold to, so that a small one cannot fill the memory."""


FOOTER_LIMIT = 10_000_000
"""Most bytes of a text in a Parquet file's footer; a list in it may have a hundredth as many entries."""


ROWS_AT_A_TIME = 512
"""When reading; of 784 numbers of four bytes they fill a processor's second cache."""


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


def numpy_dtype(kind: pa.DataType) -> np.dtype[Any]:
    """Name NumPy's type of the numbers of an Arrow array; Arrow's own way needs pandas in several of its versions.

    Args:
        kind: Arrow type of numbers.

    Returns:
        The type.

    Raises:
        ValueError: It is not a type of numbers.

    Example:
        >>> numpy_dtype(pa.uint8()), numpy_dtype(pa.float64())
        (dtype('uint8'), dtype('float64'))
    """
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ValueError(f"{kind} is not a type of numbers")
    letter = "f" if pa.types.is_floating(kind) else "i" if pa.types.is_signed_integer(kind) else "u"
    return np.dtype(f"{letter}{kind.bit_width // 8}")


def column_of(values: Sequence[float | None], kind: pa.DataType) -> pa.Array:
    """Make an Arrow array of numbers; as `numbers_of`, without pandas.

    Args:
        values: Numbers, and None where there is none.
        kind: Arrow type of the numbers.

    Returns:
        The array.

    Example:
        >>> column_of([1.5, None], pa.float64()).to_pylist()
        [1.5, None]
    """
    present = np.array([value is not None for value in values], np.bool_)
    numbers = np.array([0 if value is None else value for value in values], numpy_dtype(kind))
    valid = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(numbers)])


def numbers_of(array: pa.Array) -> NDArray[Any]:
    """View an Arrow array of numbers as a NumPy array, without a copy.

    Arrow's own ``to_numpy`` imports pandas where that is installed, which takes longer than reading the rows.

    Args:
        array: Numbers without nulls.

    Returns:
        (N,), read-only.

    Raises:
        ValueError: There are nulls.

    Example:
        >>> numbers_of(pa.array([1, 2], pa.uint8()))
        array([1, 2], dtype=uint8)
    """
    if array.null_count:
        raise ValueError(f"{array.null_count} numbers are missing")
    return np.from_dlpack(array)


def matrix_of(column: pa.ChunkedArray, dtype: type[ScalarT]) -> NDArray[ScalarT]:
    """Turn a column of rows back into a matrix.

    Args:
        column: N lists of W numbers.
        dtype: Data type of the numbers.

    Returns:
        (N, W), row-major, of that dtype.

    Example:
        >>> column = pa.chunked_array([fixed_size_rows(np.eye(2, dtype=np.uint8), pa.uint8())])
        >>> matrix_of(column, np.uint8).tolist()
        [[1, 0], [0, 1]]
    """
    chunks = [_rows_of(chunk) for chunk in column.chunks]
    return np.asarray(chunks[0] if len(chunks) == 1 else np.concatenate(chunks), dtype)


def _rows_of(array: pa.Array) -> NDArray[Any]:
    """View a column's part: (N, W) where it holds lists, (N,) where it holds numbers."""
    if pa.types.is_fixed_size_list(array.type):
        if array.null_count:
            raise ValueError(f"{array.null_count} rows are missing")
        width = array.type.list_size  # `flatten` would import pyarrow.compute
        return numbers_of(array.values.slice(array.offset * width, len(array) * width)).reshape(-1, width)
    return numbers_of(array)


def _room_for(kind: pa.DataType, rows: int) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(kind):
        return np.empty((rows, kind.list_size), numpy_dtype(kind.value_type))
    return np.empty(rows, numpy_dtype(kind))


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


def open_parquet(source: pa.NativeFile | BinaryIO) -> pq.ParquetFile:
    """Open a Parquet file from outside: its pages' checksums are verified, and a small footer opens to little memory.

    Args:
        source: The file.

    Returns:
        The file, nothing of it read but the footer.

    Raises:
        pyarrow.ArrowException: It is not a Parquet file.
        OSError: It cannot be read.
    """
    return pq.ParquetFile(
        source,
        page_checksum_verification=True,
        thrift_string_size_limit=FOOTER_LIMIT,
        thrift_container_size_limit=FOOTER_LIMIT // 100,
    )


def read_columns(path: Path, sha256: str, schema: pa.Schema, *, rows: int) -> dict[str, NDArray[Any]]:
    """Read a Parquet file that must hold exactly what is expected.

    A few rows at a time go from the file to their place: no column is in memory twice, and what was unpacked is still
    in the processor's cache when it is copied.

    Args:
        path: The file.
        sha256: Hash of its bytes.
        schema: Its columns, of numbers or of fixed-size lists of numbers, without nulls; metadata may differ.
        rows: How many there are.

    Returns:
        Name -> (N,), or (N, W) where a row is a list.

    Raises:
        DataProblem: It cannot be read, or hash, columns, rows or a page's checksum differ.
    """
    remedy = "remove it and let it be made again"
    try:
        data = read_file(path, limit=MEMORY_LIMIT)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else first_line(error)
        raise DataProblem(f"cannot read: {text}", where=str(path), remedy=remedy) from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataProblem(f"expected SHA-256 {sha256}, found {found}", where=str(path), remedy=remedy)
    try:
        file = open_parquet(pa.BufferReader(data))
        if not file.schema_arrow.equals(schema, check_metadata=False):
            raise DataProblem("the columns are not those expected", where=str(path), remedy=remedy)
        if file.metadata.num_rows != rows:
            raise DataProblem(f"expected {rows} rows, found {file.metadata.num_rows}", where=str(path), remedy=remedy)
        check_unfolding(len(data), rows * row_bytes(schema), limit=MEMORY_LIMIT)
        columns = {field.name: _room_for(field.type, rows) for field in schema}
        begin = 0
        for batch in file.iter_batches(ROWS_AT_A_TIME, use_threads=False):
            for name, column in columns.items():
                column[begin : begin + len(batch)] = _rows_of(batch[name])
            begin += len(batch)
        if begin != rows:
            raise ValueError(f"it says {rows} rows and holds {begin}")
        return columns
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DataProblem(f"damaged Parquet: {first_line(error)}", where=str(path), remedy=remedy) from None


def sealed_table(table: pa.Table) -> bytes:
    """Write a table as Parquet with page checksums, and a seal over columns and metadata.

    Args:
        table: Columns of numbers, or of fixed-size lists of numbers.

    Returns:
        The bytes of a Parquet file.

    Example:
        >>> len(sealed_table(pa.table({"a": [1, 2]}))) > 100
        True
    """
    metadata = {**(table.schema.metadata or {}), SEAL.encode(): _table_seal(table).encode()}
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), sink, write_page_checksum=True)
    return sink.getvalue()


def read_sealed_table(path: Path, *, remedy: str, widest: int) -> pa.Table:
    """Read a sealed table.

    Args:
        path: The file.
        remedy: What to do where it is damaged.
        widest: Most bytes that a row may take.

    Returns:
        The table; its columns are still to be checked.

    Raises:
        DataProblem: It cannot be read, is too large, has other types, or is not what was written.
    """
    try:
        data = read_file(path, limit=TABLE_LIMIT)
        file = open_parquet(pa.BufferReader(data))
        if not all(_is_plain(kind) for kind in file.schema_arrow.types) or row_bytes(file.schema_arrow) > widest:
            raise ValueError("its columns are other ones")
        if file.metadata.num_rows * widest > TABLE_LIMIT:
            raise ValueError(f"it unfolds to more than {TABLE_LIMIT} bytes")
        check_unfolding(len(data), file.metadata.num_rows * row_bytes(file.schema_arrow), limit=TABLE_LIMIT)
        table = file.read()
        metadata = table.schema.metadata or {}
        if metadata.get(SEAL.encode(), b"").decode("ascii", "replace") != _table_seal(table):
            raise ValueError("its content is not what was written")
        return table
    except (OSError, ValueError, pa.ArrowException, MemoryError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise DataProblem(f"cannot read: {text}", where=str(path), remedy=remedy) from None


def _is_plain(kind: pa.DataType) -> bool:
    number = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
    return bool(pa.types.is_integer(number) or pa.types.is_floating(number))


def _table_seal(table: pa.Table) -> str:
    about = {
        name.decode("utf-8", "replace"): text.decode("utf-8", "replace")
        for name, text in (table.schema.metadata or {}).items()
        if name not in (SEAL.encode(), b"ARROW:schema")
    }
    seal = hashlib.sha256(_canonical(about))
    for field, column in zip(table.schema, table.columns, strict=True):
        whole = column.combine_chunks()
        is_list = pa.types.is_fixed_size_list(field.type)
        flat = whole.flatten() if is_list else whole
        kind = f"{field.type.value_type}[{field.type.list_size}]" if is_list else str(field.type)
        present, numbers = _present(flat)
        seal.update(f"{field.name} {kind} {field.nullable} {len(column)}".encode())
        seal.update(present.tobytes())
        seal.update(numbers[present].tobytes())
    return seal.hexdigest()


def _present(array: pa.Array) -> tuple[NDArray[np.bool_], NDArray[np.generic]]:
    """Return where an array of numbers has one, and the value there; Arrow's own way imports its compute functions."""
    if not len(array):
        return np.empty(0, np.bool_), np.empty(0)
    valid, values = array.buffers()
    if array.null_count == 0 or valid is None:
        present = np.full(len(array), array.null_count == 0)
    else:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        present = bits[array.offset : array.offset + len(array)].astype(np.bool_)
    return present, numbers_of(pa.Array.from_buffers(array.type, len(array), [None, values], 0, array.offset))
