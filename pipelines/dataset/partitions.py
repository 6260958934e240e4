"""Prepared rows as a partitioned Parquet directory, on a disk or any other file system that `pyarrow.fs` knows.

A directory holds ``part-00000.parquet`` and so on, and ``partitions.json``, which is written last and names every part
with its hash, its size and the rows of its row groups. What it does not name is not there. Any other tool may write
such a directory too: `partition_schema` says what a part holds.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipelines.artifacts import PIXELS, PreparedMeta, RawSplit
from pipelines.disk.atomic import make_directory, write_bytes
from pipelines.disk.file_names import file_name_fault
from pipelines.disk.json_text import json_text
from pipelines.disk.ownership import check_new_directory
from pipelines.disk.untrusted.documents import parse_json
from pipelines.disk.untrusted.files import remedy_for
from pipelines.errors import DataProblem, UsageProblem, first_line

MANIFEST = "partitions.json"
FORMAT = "bpfunc-partitions-1"
MANIFEST_LIMIT = 1 << 28
"""Largest manifest that is read, in bytes: enough for a million parts."""
CHUNK = 1 << 20


@attrs.frozen
class Part:
    """One file of a partitioned directory."""

    path: str
    """Within the file system."""
    sha256: str
    size: int
    """In bytes."""
    groups: tuple[int, ...]
    """Rows of each of its row groups."""


@attrs.frozen(eq=False)
class Partitions:
    """A partitioned directory, opened."""

    filesystem: fs.FileSystem
    parts: tuple[Part, ...]


def file_system(place: str) -> tuple[fs.FileSystem, str]:
    """Find the file system of a place.

    Args:
        place: A local path, or a URI such as ``s3://bucket/folder`` or ``gs://bucket/folder``.

    Returns:
        The file system, and the path within it.

    Raises:
        UsageProblem: The URI is of no known kind.

    Example:
        >>> file_system("/data/rows")[1]
        '/data/rows'
    """
    try:
        local = str(Path(place).absolute())
        local.encode()  # Arrow names files in UTF-8 alone
        if "://" not in place:
            return fs.LocalFileSystem(), local
        filesystem, path = fs.FileSystem.from_uri(place)
    except UnicodeEncodeError:
        raise UsageProblem("the path is not UTF-8", where=place, remedy="choose another directory") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageProblem(
            f"cannot open the file system: {first_line(error)}",
            where=place,
            remedy="write, for example, s3://bucket/folder",
        ) from None
    return filesystem, path


def new_place(place: str) -> tuple[fs.FileSystem, str]:
    """Find the file system of a place where nothing is yet.

    Args:
        place: A local path or a URI.

    Returns:
        The file system, and the path within it.

    Raises:
        UsageProblem: The URI is of no known kind, or the directory is not empty or lies in that of a run or such.
        DataProblem: The place cannot be looked at.
    """
    filesystem, root = file_system(place)
    if isinstance(filesystem, fs.LocalFileSystem):
        check_new_directory(Path(root), "partitioned data")
    try:
        found = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
    except (pa.ArrowException, OSError) as error:
        raise DataProblem(
            f"cannot look at the place: {first_line(error)}", where=place, remedy="check the place"
        ) from None
    if found:
        raise UsageProblem(
            "there are partitions already, or other files", where=place, remedy="choose another directory"
        )
    return filesystem, root


def partition_schema(meta: PreparedMeta) -> pa.Schema:
    """Name the columns of a part, and what its rows mean.

    Args:
        meta: Class names, and the scaling that turns pixels into inputs.

    Returns:
        ``pixels`` fixed_size_binary[784] (a byte each, 0..255, row-major), ``label`` uint8 (index into the class
        names), ``source_index`` uint32; no nulls. Such bytes are read several times as fast as lists of float32, and
        are a quarter of their size in memory; the scaling in the metadata is applied to each batch.
    """
    scaling = {"kind": meta.scaling.kind, "mean": meta.scaling.mean.tolist(), "scale": meta.scaling.scale.tolist()}
    about = {"class_names": list(meta.class_names), "scaling": scaling}
    return pa.schema(
        [
            pa.field("pixels", pa.binary(PIXELS), nullable=False),
            pa.field("label", pa.uint8(), nullable=False),
            pa.field("source_index", pa.uint32(), nullable=False),
        ],
        metadata={"bpfunc": json_text(about)},
    )


def write_partitions(
    rows: RawSplit, meta: PreparedMeta, place: str, *, group_rows: int = 8192, groups_per_part: int = 8, copies: int = 1
) -> int:
    """Write training rows as a partitioned directory, one part at a time.

    Args:
        rows: Training images and labels, as `pipelines.stages.select` gives them.
        meta: Class names and scaling.
        place: A new directory: a local path or a URI.
        group_rows: Rows in a row group, at least 1.
        groups_per_part: Row groups in a file, at least 1.
        copies: How many times the rows are written, at least 1: more than once is for measuring.

    Returns:
        The number of rows written.

    Raises:
        UsageProblem: The directory holds anything already, or lies in that of a run or such.
        DataProblem: The place cannot be written to.
    """
    filesystem, root = new_place(place)
    table = _table(rows, meta)
    groups = [table.slice(start, group_rows) for _ in range(copies) for start in range(0, len(table), group_rows)]
    try:
        filesystem.create_dir(root, recursive=True)
        parts = {}
        for start in range(0, len(groups), groups_per_part):
            own = groups[start : start + groups_per_part]
            name, data = f"part-{start // groups_per_part:05d}.parquet", _part_bytes(own)
            _write(filesystem, f"{root}/{name}", data)
            digest = hashlib.sha256(data).hexdigest()
            parts[name] = {"sha256": digest, "size": len(data), "groups": [len(group) for group in own]}
        _write(filesystem, f"{root}/{MANIFEST}", json_text({"format": FORMAT, "parts": parts}, indent=1).encode())
    except (pa.ArrowException, OSError) as error:
        remedy = remedy_for(error) if isinstance(error, OSError) else "check the place"
        raise DataProblem(f"cannot write partitions: {first_line(error)}", where=place, remedy=remedy) from None
    return len(table) * copies


def _table(rows: RawSplit, meta: PreparedMeta) -> pa.Table:
    pixels = pa.py_buffer(np.ascontiguousarray(rows.images))
    columns = [
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(PIXELS), len(rows.images), [None, pixels]),
        pa.array(rows.labels),
        pa.array(rows.source_index),
    ]
    return pa.table(columns, schema=partition_schema(meta))


def _part_bytes(groups: list[pa.Table]) -> bytes:
    sink = io.BytesIO()
    options = {"compression": "zstd", "compression_level": 1, "use_dictionary": False, "write_page_checksum": True}
    with pq.ParquetWriter(sink, groups[0].schema, **options) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=len(group))
    return sink.getvalue()


def _write(filesystem: fs.FileSystem, path: str, data: bytes) -> None:
    if isinstance(filesystem, fs.LocalFileSystem):
        make_directory(Path(path).parent)
        write_bytes(Path(path), data)
        return
    with filesystem.open_output_stream(path) as stream:  # object stores show a file when it is whole
        stream.write(data)


def open_partitions(place: str) -> Partitions:
    """Open a partitioned directory: read what its manifest names, and see that every part is there in full length.

    Args:
        place: A local path or a URI.

    Returns:
        The parts in the order of the manifest.

    Raises:
        UsageProblem: The URI is of no known kind.
        DataProblem: There is no manifest, it is damaged, or a part is missing or of another length.
    """
    filesystem, root = file_system(place)
    remedy = "write the partitions again"
    try:
        found = filesystem.get_file_info(f"{root}/{MANIFEST}").type
        if found not in (fs.FileType.File, fs.FileType.NotFound):
            raise OSError(f"{root}/{MANIFEST} is not a regular file")
        with filesystem.open_input_stream(f"{root}/{MANIFEST}") as stream:
            text = stream.read(MANIFEST_LIMIT + 1)
        table = cast("dict[str, Any]", parse_json(text, limit=MANIFEST_LIMIT))
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']}, expected {FORMAT}")
        parts = tuple(
            Part(f"{root}/{_plain(name)}", str(part["sha256"]), _whole([part["size"]])[0], _whole(part["groups"]))
            for name, part in table["parts"].items()
        )
        if not parts:
            raise ValueError("it names no part")
        sizes = [info.size if info.is_file else None for info in filesystem.get_file_info([p.path for p in parts])]
    except FileNotFoundError:
        raise DataProblem(f"no partitions: {MANIFEST} not found", where=root, remedy=_find(place)) from None
    except (pa.ArrowException, OSError) as error:
        raise DataProblem(f"no partitions: {first_line(error)}", where=place, remedy=remedy) from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        where = f"{place}/{MANIFEST}"
        raise DataProblem(f"damaged manifest: {first_line(error)}", where=where, remedy=remedy) from None
    for part, size in zip(parts, sizes, strict=True):
        if size != part.size:
            found = "it is not there" if size is None else f"found {size}"
            raise DataProblem(f"expected {part.size} bytes, {found}", where=part.path, remedy=remedy)
    return Partitions(filesystem, parts)


def _find(place: str) -> str:
    """Return what to do where a place holds no partitions."""
    if "://" in place or Path(place).is_absolute():
        return "check the path, or write the partitions again"
    return f"{place!r} is relative to the current directory: run the command where the training began"


def _plain(name: str) -> str:
    if fault := file_name_fault(name):
        raise ValueError(f"the name {name[:100]!r} of a part {fault}")
    return name


def _whole(numbers: list[object]) -> tuple[int, ...]:
    whole = tuple(count for count in numbers if type(count) is int and 0 < count < 1 << 62)
    if len(whole) != len(numbers) or not whole:
        raise ValueError(f"expected sizes of at least 1, found {str(numbers)[:100]}")
    return whole


def check_partitions(partitions: Partitions) -> dict[str, str | None]:
    """Hash every part, in pieces, so that memory stays small.

    Args:
        partitions: From `open_partitions`.

    Returns:
        Path -> what is wrong with it, or None.
    """
    return {part.path: _damage(partitions.filesystem, part) for part in partitions.parts}


def _damage(filesystem: fs.FileSystem, part: Part) -> str | None:
    digest = hashlib.sha256()
    try:
        with filesystem.open_input_stream(part.path) as stream:
            while data := stream.read(CHUNK):
                digest.update(data)
    except (pa.ArrowException, OSError) as error:
        return f"cannot read: {first_line(error)}"
    found = digest.hexdigest()
    return None if found == part.sha256 else f"expected SHA-256 {part.sha256}, found {found}"
