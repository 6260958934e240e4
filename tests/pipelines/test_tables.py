"""Parquet is believed only if hash, columns, rows and every page agree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.disk import parquet as tables
from pipelines.disk.parquet import column_of, fixed_size_rows, matrix_of, read_columns
from pipelines.errors import DataProblem

SCHEMA = pa.schema(
    [
        pa.field("image", pa.list_(pa.field("item", pa.uint8(), nullable=False), 4), nullable=False),
        pa.field("label", pa.uint8(), nullable=False),
    ]
)
MATRIX = np.arange(4000, dtype=np.uint8).reshape(1000, 4)


def _write(path: Path, schema: pa.Schema = SCHEMA) -> str:
    columns = [fixed_size_rows(MATRIX, pa.uint8()), pa.array(MATRIX[:, 0])]
    pq.write_table(pa.table(columns, names=schema.names).cast(schema), path, write_page_checksum=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_rows_come_back(tmp_path: Path) -> None:
    """What was written is read, and metadata may differ."""
    digest = _write(tmp_path / "t.parquet", SCHEMA.with_metadata({"note": "x"}))
    columns = read_columns(tmp_path / "t.parquet", digest, SCHEMA, rows=1000)
    np.testing.assert_array_equal(columns["image"], MATRIX)
    np.testing.assert_array_equal(columns["label"], MATRIX[:, 0])
    assert [column.dtype for column in columns.values()] == [np.uint8, np.uint8]


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda m: m[::-1], lambda m: m.T.copy().T, lambda m: m[:, ::-1]])
def test_any_layout_is_written_row_by_row(layout: Callable[[np.ndarray], np.ndarray]) -> None:
    """Transposed, reversed and Fortran-ordered matrices keep their values."""
    matrix = layout(MATRIX)
    column = pa.chunked_array([fixed_size_rows(matrix, pa.uint8())])
    np.testing.assert_array_equal(matrix_of(column, np.uint8), matrix)


def test_a_part_of_a_column_is_that_part() -> None:
    """An array that begins within its buffer gives its own rows."""
    part = fixed_size_rows(MATRIX, pa.uint8()).slice(3, 5)
    np.testing.assert_array_equal(matrix_of(pa.chunked_array([part]), np.uint8), MATRIX[3:8])


@pytest.mark.parametrize("rows", [0, 1, 511, 512, 513, 1000])
def test_any_number_of_rows_comes_back(tmp_path: Path, rows: int) -> None:
    """Row groups and the rows read at a time need not divide each other."""
    path = tmp_path / "t.parquet"
    columns = [fixed_size_rows(MATRIX[:rows], pa.uint8()), pa.array(MATRIX[:rows, 0])]
    pq.write_table(pa.table(columns, schema=SCHEMA), path, row_group_size=300, write_page_checksum=True)
    found = read_columns(path, hashlib.sha256(path.read_bytes()).hexdigest(), SCHEMA, rows=rows)
    np.testing.assert_array_equal(found["image"], MATRIX[:rows])


def test_nulls_where_none_may_be_are_refused(tmp_path: Path) -> None:
    """A file that says its column has no nulls, and has some, is damaged."""
    schema = SCHEMA.set(1, pa.field("label", pa.uint8()))
    columns = [fixed_size_rows(MATRIX[:2], pa.uint8()), pa.array([1, None], pa.uint8())]
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "t.parquet", write_page_checksum=True)
    digest = hashlib.sha256((tmp_path / "t.parquet").read_bytes()).hexdigest()
    with pytest.raises(DataProblem, match="damaged Parquet"):
        read_columns(tmp_path / "t.parquet", digest, schema, rows=2)


@pytest.mark.parametrize("values", [[], [1], [None], [1, None, 3], list(range(9)), [None] * 9], ids=str)
@pytest.mark.parametrize("kind", [pa.int32(), pa.float64()], ids=str)
def test_a_column_is_the_one_that_arrow_makes(values: list[int | None], kind: pa.DataType) -> None:
    """Numbers and missing ones, more than fit one byte of validity bits too."""
    column = column_of(values, kind)
    column.validate(full=True)
    assert column.equals(pa.array(values, kind))
    assert column.null_count == values.count(None)


@pytest.mark.parametrize(
    ("schema", "rows", "message"),
    [
        (SCHEMA.set(1, pa.field("label", pa.int64(), nullable=False)), 1000, "columns are not those expected"),
        (SCHEMA.set(1, pa.field("class", pa.uint8(), nullable=False)), 1000, "columns are not those expected"),
        (SCHEMA.set(1, pa.field("label", pa.uint8())), 1000, "columns are not those expected"),
        (SCHEMA, 999, "expected 999 rows, found 1000"),
    ],
)
def test_other_columns_or_rows_are_refused(tmp_path: Path, schema: pa.Schema, rows: int, message: str) -> None:
    """A file of another type, name, nullability or length is refused although its hash agrees."""
    digest = _write(tmp_path / "t.parquet")
    with pytest.raises(DataProblem, match=message):
        read_columns(tmp_path / "t.parquet", digest, schema, rows=rows)


def test_memory_is_bounded_before_anything_is_unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows times width is compared with the limit, so that a small file cannot fill the memory."""
    digest = _write(tmp_path / "t.parquet")
    monkeypatch.setattr(tables, "MEMORY_LIMIT", 5000)
    assert read_columns(tmp_path / "t.parquet", digest, SCHEMA, rows=1000)["label"].shape == (1000,)
    monkeypatch.setattr(tables, "MEMORY_LIMIT", 4999)
    with pytest.raises(DataProblem, match="unfolds to 5000 bytes"):
        read_columns(tmp_path / "t.parquet", digest, SCHEMA, rows=1000)


def test_damaged_pages_are_found_by_their_own_checksum(tmp_path: Path) -> None:
    """A damaged page is refused even where the hash that was asked for is that of the damaged file."""
    path = tmp_path / "t.parquet"
    _write(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataProblem, match="damaged Parquet"):
        read_columns(path, hashlib.sha256(data).hexdigest(), SCHEMA, rows=1000)


def test_missing_and_other_files_are_named(tmp_path: Path) -> None:
    """A missing file and one of another hash each give a message with the path."""
    with pytest.raises(DataProblem, match="cannot read"):
        read_columns(tmp_path / "none", "0" * 64, SCHEMA, rows=1)
    _write(tmp_path / "t.parquet")
    with pytest.raises(DataProblem, match="expected SHA-256 000"):
        read_columns(tmp_path / "t.parquet", "0" * 64, SCHEMA, rows=1000)
