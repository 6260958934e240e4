"""Files that vouch for themselves: a hash of the content travels inside, and reading compares it.

A seal finds damage, as a bad disk, a cut-off copy or a stray edit makes it. It is no signature: whoever means to
deceive can seal anew, so a reader checks sizes, names, types and shapes as well, and never runs what it reads.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bpfunc.interop.safetensors import HEADER_LIMIT, from_safetensors, safetensors_metadata, to_safetensors
from bpfunc.tree import Tree, TreeT, tree_bytes, tree_leaves_with_path
from pipelines.errors import DataProblem, first_line
from pipelines.tables import numbers_of, row_bytes

SEAL = "sha256"
"""Name of the seal: in a JSON object, a safetensors header, or a Parquet file's metadata."""
JSON_LIMIT = 1_000_000
"""Largest JSON file that is read, in bytes."""
TABLE_LIMIT = 512 << 20
"""Most bytes that a sealed table may take, in the file and in memory."""


def _canonical(values: object) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def sealed_json(values: Mapping[str, object]) -> bytes:
    """Write a JSON object with its seal.

    Args:
        values: What JSON can hold.

    Returns:
        The text, in UTF-8.

    Raises:
        ValueError: A number is NaN or infinite.

    Example:
        >>> json.loads(sealed_json({"a": 1}))["sha256"][:8]
        '015abd7f'
    """
    json.dumps(values, allow_nan=False)
    sealed = {**values, SEAL: hashlib.sha256(_canonical(values)).hexdigest()}
    return (json.dumps(sealed, indent=2, ensure_ascii=False) + "\n").encode()


def read_sealed_json(path: Path, *, remedy: str) -> dict[str, object]:
    """Read a JSON object and check its seal.

    Args:
        path: The file.
        remedy: What to do where it is damaged.

    Returns:
        The values, without the seal.

    Raises:
        DataProblem: It cannot be read, is too large, no JSON object, or not what was written.
    """
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise ValueError(f"it is larger than {JSON_LIMIT} bytes")
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
        if values.pop(SEAL, None) != hashlib.sha256(_canonical(values)).hexdigest():
            raise ValueError("its content is not what was written")
        return values
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy) from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, brackets without end
        raise DataProblem(f"damaged {path.name}: {first_line(error)}", where=str(path), remedy=remedy) from None


def sealed_tensors(tree: Tree, metadata: Mapping[str, str]) -> bytes:
    """Write a tree as safetensors with a seal over tensors and metadata.

    Args:
        tree: Any tree of arrays and numbers.
        metadata: Text to carry along.

    Returns:
        The bytes of a safetensors file, the same for the same tree and text.

    Example:
        >>> sealed_tensors((np.ones(2),), {"format": "example"}) == sealed_tensors((np.ones(2),), {"format": "example"})
        True
    """
    return to_safetensors(tree, metadata={**metadata, SEAL: _tensor_seal(tree, metadata)})


def tensor_metadata(path: Path, *, remedy: str) -> dict[str, str]:
    """Read the text in a safetensors file's header, before anything is checked or any tensor read.

    Args:
        path: The file.
        remedy: What to do where it is damaged.

    Returns:
        The text; it is to be believed once `read_sealed_tensors` has read the file.

    Raises:
        DataProblem: It cannot be read, or has no such header.
    """
    try:
        with path.open("rb") as file:
            size = file.read(8)
            return safetensors_metadata(size + file.read(min(int.from_bytes(size, "little"), HEADER_LIMIT)))
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy) from None
    except ValueError as error:
        raise DataProblem(first_line(error), where=str(path), remedy=remedy) from None


def read_sealed_tensors(path: Path, like: TreeT, *, remedy: str) -> TreeT:
    """Read a tree from a safetensors file and check the seal.

    Args:
        path: The file.
        like: A tree of the structure, shapes and dtypes that it must hold.
        remedy: What to do where it is damaged.

    Returns:
        A tree like ``like``.

    Raises:
        DataProblem: It cannot be read, holds something else, or is not what was written.
    """
    try:
        if path.stat().st_size > tree_bytes(like) + HEADER_LIMIT:
            raise ValueError("the file is larger than such a network")
        data = path.read_bytes()
        tree = from_safetensors(data, like)
        metadata = safetensors_metadata(data)
        if metadata.pop(SEAL, None) != _tensor_seal(tree, metadata):
            raise ValueError("its content is not what was written")
        return tree
    except OSError as error:
        raise DataProblem(f"cannot read: {error.strerror}", where=str(path), remedy=remedy) from None
    except ValueError as error:
        raise DataProblem(first_line(error), where=str(path), remedy=remedy) from None


def _tensor_seal(tree: Tree, metadata: Mapping[str, str]) -> str:
    seal = hashlib.sha256(_canonical(dict(metadata)))
    for path, leaf in tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        seal.update(f"{path} {array.dtype.str} {np.shape(leaf)}".encode())
        seal.update(array.tobytes())
    return seal.hexdigest()


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
        if path.stat().st_size > TABLE_LIMIT:
            raise ValueError(f"it is larger than {TABLE_LIMIT} bytes")
        file = pq.ParquetFile(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        if not all(_is_plain(kind) for kind in file.schema_arrow.types) or row_bytes(file.schema_arrow) > widest:
            raise ValueError("its columns are other ones")
        if file.metadata.num_rows * widest > TABLE_LIMIT:
            raise ValueError(f"it unfolds to more than {TABLE_LIMIT} bytes")
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
    """Say where an array of numbers has one, and what stands there; Arrow's own way imports its compute functions."""
    if not len(array):
        return np.empty(0, np.bool_), np.empty(0)
    valid, values = array.buffers()
    if array.null_count == 0 or valid is None:
        present = np.full(len(array), array.null_count == 0)
    else:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        present = bits[array.offset : array.offset + len(array)].astype(np.bool_)
    return present, numbers_of(pa.Array.from_buffers(array.type, len(array), [None, values], 0, array.offset))
