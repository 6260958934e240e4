"""The seal of a table is of what it holds, wherever Arrow keeps it."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from pipelines.disk.parquet import _present, _table_seal

ARRAYS = [
    pa.array([1.5, None, -2.0, None, 3.0]),
    pa.array([None, None], pa.float64()),
    pa.array([], pa.int32()),
    pa.array([1, 2, 3], pa.int64()),
    pa.array(range(20), pa.uint8()).slice(3, 9),
    pa.array([None, 1, None, 3, 4, None, 6, 7, 8, None, 10], pa.int32()).slice(3, 7),
    pa.array([None, 1, 2], pa.int32()).slice(1),
]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_present_numbers_are_those_that_arrow_finds(array: pa.Array) -> None:
    """Validity bits, offsets and nulls are read as Arrow reads them."""
    present, numbers = _present(array)
    np.testing.assert_array_equal(present, array.is_valid().to_numpy(zero_copy_only=False))
    np.testing.assert_array_equal(numbers[present], array.drop_null().to_numpy())


def test_the_seal_is_the_one_that_files_carry() -> None:
    """What was sealed before can still be read: the seal's bytes are fixed."""
    table = pa.table({"a": pa.array([1, None, 3], pa.int32())})
    parts = [b"{}", b"a int32 True 3", np.array([1, 0, 1], np.bool_).tobytes(), np.array([1, 3], np.int32).tobytes()]
    assert _table_seal(table) == hashlib.sha256(b"".join(parts)).hexdigest()
